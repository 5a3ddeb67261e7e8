"""Runs as a table: for people in a terminal and in a notebook, and by columns for frames."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from itertools import zip_longest
from typing import Any, NamedTuple

from mlsdk.log.standins import printable
from mlsdk.query.names import clean_text, escape_segment
from mlsdk.records import Run

MOST_ROWS = 40
MOST_COLUMNS = 12

_STATUS_MARKS = {"running": "▸", "finished": "✓", "failed": "✗", "interrupted": "■", "killed": "†", "lost": "?"}


def number(value: object) -> str:
    """A number in at most four significant digits; other values as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return text(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10_000_000 else _large(value)
    return f"{value:.4g}"


def _large(value: int) -> str:
    try:
        return f"{value:.3e}"
    except OverflowError:
        from decimal import Decimal

        return f"{Decimal(value):.3e}"


def as_text(value: object) -> str:
    """A value as text; Python refuses to write integers of thousands of digits."""
    try:
        return str(value)
    except ValueError:
        return _large(value) if isinstance(value, int) else f"<{type(value).__name__} too long to show>"


def text(value: object, longest: int = 24) -> str:
    """A value on one line, shortened in the middle."""
    plain = " ".join(("" if value is None else as_text(value)).split())
    plain = "".join(character if character.isprintable() else "�" for character in plain)
    if len(plain) <= longest:
        return plain
    half = (longest - 1) // 2
    return f"{plain[: longest - 1 - half]}…{plain[-half:]}"


def counted(count: int, noun: str) -> str:
    """A number of things: `1 run`, `2,000 runs`.

    >>> counted(1, "run"), counted(2000, "run")
    ('1 run', '2,000 runs')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


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


class _Shown(NamedTuple):
    """A column as it is printed."""

    name: str
    cells: list[str]
    right: bool


SAMPLED = "metrics.system/"
"""What was sampled of the machine: shown when it is asked for."""


def columns(runs: Sequence[Run], most: int = MOST_COLUMNS) -> tuple[list[Column], list[Column], list[Column]]:
    """What to show: who and when; params that differ; metrics."""
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
    rows = {run.id: flat(run) for run in runs}
    metrics = [name for name in _by_frequency(rows.values(), "metrics.") if not name.startswith(SAMPLED)]
    params = [name for name in _by_frequency(rows.values(), "params.") if _differs(rows.values(), name)]
    for_metrics = min(len(metrics), max(left - len(params), (left + 1) // 2))
    made = [[(name.partition(".")[2], _cell(rows, name)) for name in names] for names in (params, metrics)]
    return shown, made[0][: left - for_metrics], made[1][:for_metrics]


def _by_frequency(rows: Iterable[dict[str, object]], prefix: str) -> list[str]:
    """Names of fields that begin so, what most runs have first."""
    from collections import Counter

    counted = Counter(name for row in rows for name in row if name.startswith(prefix))
    return sorted(counted, key=lambda name: -counted[name])


def _differs(rows: Collection[dict[str, object]], name: str) -> bool:
    return len(rows) == 1 or len({as_text(row.get(name)) for row in rows}) > 1


def _cell(rows: Mapping[str, dict[str, object]], name: str) -> Callable[[Run], str]:
    return lambda run: number(rows[run.id].get(name))


def text_table(runs: Sequence[Run], width: int | None = None) -> str:
    """A table in plain text, cut to the terminal's width, with a line that says what is not shown.

    Where not all columns have room, those that tell the least go first: when it was, how long it took, then the last
    params and metrics.
    """
    if not len(runs):
        return "no runs"
    import shutil

    width = width or shutil.get_terminal_size((120, 24)).columns
    shown = runs[:MOST_ROWS]
    about, params, metrics = ([_shown(column, shown) for column in part] for part in columns(shown))
    table = [*about, *params, *metrics]
    kept = _fitting(about, params, metrics, width)
    lines = [[_padded(column.name, column) for column in kept], ["─" * _width(column) for column in kept]]
    lines += [[_padded(column.cells[row], column) for column in kept] for row in range(len(shown))]
    rest = [f"{len(runs) - len(shown):,} more runs"] if len(runs) > len(shown) else []
    rest += [f"{len(table) - len(kept)} more columns"] if len(kept) < len(table) else []
    said = [f"… and {', '.join(rest)}"] if rest else []
    return "\n".join(["  ".join(line).rstrip() for line in lines] + said)


def _shown(column: Column, runs: Sequence[Run]) -> _Shown:
    name, cell = column
    cells = [cell(run) for run in runs]
    return _Shown(text(name), cells, name != "run" and all(map(_is_number, cells)))


def _fitting(about: list[_Shown], params: list[_Shown], metrics: list[_Shown], width: int) -> list[_Shown]:
    """The columns that have room, in their order."""
    by_name = {column.name: column for column in about}
    needed = [by_name.pop("status"), by_name.pop("run"), by_name.pop("name")]
    turns = zip_longest(params[::-1], metrics[::-1])
    least = [*reversed(by_name.values()), *(column for turn in turns for column in turn if column), *needed[:2]]
    kept = [*about, *params, *metrics]
    for column in least:
        if sum(map(_width, kept)) + 2 * (len(kept) - 1) <= width:
            break
        kept = [one for one in kept if one is not column]
    return kept


def _width(column: _Shown) -> int:
    return max(map(_cells_wide, (column.name, *column.cells)))


def _cells_wide(line: str) -> int:
    """How many cells of a terminal a text takes."""
    if line.isascii():
        return len(line)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in line)


def _padded(cell: str, column: _Shown) -> str:
    space = " " * (_width(column) - _cells_wide(cell))
    return space + cell if column.right else cell + space


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
    all_columns = [column for part in columns(shown, most=20) for column in part]
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

_EXACT, _LARGEST = 2**53, 2**63 - 1


def flat(run: Run) -> dict[str, object]:
    """A run as one flat row: plain attributes, then params, last values of metrics, and tags by name."""
    row: dict[str, object] = {name: getattr(run, name) for name in _ATTRIBUTES}
    row["status"] = run.status.value
    _put_all(row, "params", run.params)
    for key, summary in run.metrics.items():
        row["metrics." + printable(key)] = summary.last
    _put_all(row, "tags", run.tags)
    return row


def _put_all(row: dict[str, object], prefix: str, values: Mapping[str, object]) -> None:
    """Nested mappings leaf by leaf. Where a name with a dot is the same as a path, its dot is escaped."""
    for key, value in values.items():
        name = f"{prefix}.{printable(str(key))}"
        if name in row:
            name = f"{prefix}.{escape_segment(printable(str(key)))}"
        if type(value) in _SCALARS:
            row[name] = value
        elif isinstance(value, Mapping) and value:
            _put_all(row, name, value)
        else:
            row[name] = value if isinstance(value, (int, float, str)) else as_text(value)


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
    """Whether an array would spoil a column: large integers beside floats or missing ones, text that is no Unicode."""
    types = set(map(type, column))
    if str in types and any(type(value) is str and printable(value) != value for value in column):
        return True
    most = _LARGEST if types == {int} else _EXACT
    return int in types and any(type(value) is int and abs(value) > most for value in column)


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
    return [None if value is None else clean_text(as_text(value)) for value in column]
