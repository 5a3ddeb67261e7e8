"""Runs as a table: for people in a terminal and in a notebook, and by columns for frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from mlsdk.query.names import clean_text, escape_segment
from mlsdk.records import MetricSummary, Run

MOST_ROWS = 40
MOST_COLUMNS = 12

_STATUS_MARKS = {"running": "▸", "finished": "✓", "failed": "✗", "interrupted": "■", "killed": "†", "lost": "?"}


def number(value: object) -> str:
    """A number in at most four significant digits; other values as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return text(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10_000_000 else f"{value:.3e}"
    return f"{value:.4g}"


def text(value: object, longest: int = 24) -> str:
    """A value on one line, shortened in the middle."""
    plain = " ".join(("" if value is None else str(value)).split())
    plain = "".join(character if character.isprintable() else "�" for character in plain)
    if len(plain) <= longest:
        return plain
    half = (longest - 1) // 2
    return f"{plain[: longest - 1 - half]}…{plain[-half:]}"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """How long ago, in one unit: `12 s`, `3 min`, `5 h`, `2 d`."""
    seconds = ((now or datetime.now(timezone.utc)) - moment).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def duration(seconds: float | None) -> str:
    """A length of time: `0.42 s`, `3.1 min`, `2.0 h`."""
    if seconds is None:
        return ""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


Column = tuple[str, Callable[[Run], str]]


def columns(runs: Sequence[Run], most: int = MOST_COLUMNS) -> list[Column]:
    """What to show: who and when, then params that differ, then metrics."""
    shown: list[Column] = [
        ("run", lambda run: run.short_id),
        ("name", lambda run: text(run.name, 28)),
        ("status", lambda run: f"{_STATUS_MARKS[run.status.value]} {run.status.value}"),
        ("took", lambda run: duration(run.duration_s)),
        ("ago", lambda run: ago(run.started_at)),
    ]
    if len({run.experiment for run in runs}) > 1:
        shown.insert(1, ("experiment", lambda run: text(run.experiment)))
    left = max(most - len(shown), 2)
    metrics = _by_frequency(name for run in runs for name in run.metrics)
    params = [name for name in _by_frequency(name for run in runs for name in run.params) if _differs(runs, name)]
    for_metrics = min(len(metrics), max(left - len(params), (left + 1) // 2))
    shown += [(name, _param(name)) for name in params[: left - for_metrics]]
    shown += [(name, _metric(name)) for name in metrics[:for_metrics]]
    return shown


def _by_frequency(names: object) -> list[str]:
    from collections import Counter

    counted = Counter(names)  # type: ignore[call-overload]
    return sorted(counted, key=lambda name: (name.startswith("system/"), -counted[name]))


def _differs(runs: Sequence[Run], name: str) -> bool:
    return len(runs) == 1 or len({repr(run.params.get(name)) for run in runs}) > 1


def _param(name: str) -> Callable[[Run], str]:
    return lambda run: number(run.params[name]) if name in run.params else ""


def _metric(name: str) -> Callable[[Run], str]:
    def cell(run: Run) -> str:
        summary: MetricSummary | None = run.metrics.get(name)
        return "" if summary is None else number(summary.last)

    return cell


def text_table(runs: Sequence[Run], width: int | None = None) -> str:
    """A table in plain text, cut to the terminal's width, with a line that says what is not shown."""
    if not len(runs):
        return "no runs"
    import shutil

    width = width or shutil.get_terminal_size((120, 24)).columns
    shown = runs[:MOST_ROWS]
    all_columns = columns(shown)
    cells = [[text(name), *(cell(run) for run in shown)] for name, cell in all_columns]
    widths = [max(map(len, column)) for column in cells]
    count = len(cells)
    while count > 4 and sum(widths[:count]) + 2 * (count - 1) > width:
        count -= 1
    numeric = [all(_is_number(cell) for cell in column[1:]) for column in cells]
    lines = []
    for row in range(len(shown) + 1):
        parts = [
            column[row].rjust(size) if right else column[row].ljust(size)
            for column, size, right in zip(cells[:count], widths[:count], numeric[:count], strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    lines.insert(1, "  ".join("─" * size for size in widths[:count]))
    rest = [f"{len(runs) - len(shown):,} more runs"] if len(runs) > len(shown) else []
    rest += [f"{len(cells) - count} more columns"] if count < len(cells) else []
    return "\n".join([*lines, *([f"… and {', '.join(rest)}"] if rest else [])])


def _is_number(cell: str) -> bool:
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True


def html_table(runs: Sequence[Run]) -> str:
    """A table for a notebook."""
    if not len(runs):
        return "<p>no runs</p>"
    import html

    shown = runs[:MOST_ROWS]
    all_columns = columns(shown, most=20)
    head = "".join(f"<th>{html.escape(text(name))}</th>" for name, _ in all_columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell(run))}</td>" for _, cell in all_columns) + "</tr>" for run in shown
    )
    more = f"<p>… and {len(runs) - len(shown):,} more runs</p>" if len(runs) > len(shown) else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}"


# for frames

_ATTRIBUTES = ("id", "name", "experiment", "status", "started_at", "ended_at", "duration_s", "parent")
_KINDS = ("params", "metrics", "tags")
_SCALARS = frozenset({bool, int, float, str, type(None)})

_EXACT = 2**53


def flat(run: Run) -> dict[str, object]:
    """A run as one flat row: plain attributes, then params, last values of metrics, and tags by name."""
    row: dict[str, object] = {name: getattr(run, name) for name in _ATTRIBUTES}
    row["status"] = run.status.value
    _put_all(row, "params", run.params)
    for key, summary in run.metrics.items():
        row["metrics." + key] = summary.last
    _put_all(row, "tags", run.tags)
    return row


def _put_all(row: dict[str, object], prefix: str, values: Mapping[str, object]) -> None:
    """Nested mappings leaf by leaf. Where a name with a dot is the same as a path, its dot is escaped."""
    for key, value in values.items():
        name = f"{prefix}.{key}"
        if name in row:
            name = f"{prefix}.{escape_segment(key)}"
        if type(value) in _SCALARS:
            row[name] = value
        elif isinstance(value, Mapping) and value:
            _put_all(row, name, value)
        else:
            row[name] = value if isinstance(value, (int, float, str)) else str(value)


def flat_columns(runs: Iterable[Run]) -> dict[str, list[Any]]:
    """Columns of `flat` rows by name; None where a run has no such value."""
    rows = [flat(run) for run in runs]
    names: dict[str, None] = dict.fromkeys(_ATTRIBUTES)
    for row in rows:
        names.update(dict.fromkeys(row))
    return {name: [row.get(name) for row in rows] for name in sorted(names, key=_place)}


def _place(name: str) -> tuple[int, int, str]:
    if name in _ATTRIBUTES:
        return 0, _ATTRIBUTES.index(name), name
    return 1, _KINDS.index(name.split(".", maxsplit=1)[0]), name


def as_objects(column: list[Any]) -> bool:
    """Whether numbers of a column would become inexact in an array: large integers beside floats or missing values."""
    types = set(map(type, column))
    if int not in types or types == {int}:
        return False
    return any(type(value) is int and abs(value) > _EXACT for value in column)


def of_one_type(column: list[Any]) -> list[Any]:
    """A column for engines of one type: integers beside floats become floats where that is exact, all else text."""
    types = {type(value) for value in column if value is not None}
    if types == {int}:
        if all(value is None or -(2**63) <= value < 2**63 for value in column):
            return column
    elif types == {int, float}:
        if not as_objects(column):
            return [None if value is None else float(value) for value in column]
    elif len(types) <= 1 and str not in types:
        return column
    return [None if value is None else clean_text(str(value)) for value in column]
