"""A comparison as people read it: lines with styles, for a terminal, plain text and a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mlsdk.compare.difference import Difference
from mlsdk.compare.effect import Effect
from mlsdk.compare.values import ABSENT, LONGEST, both_shown, change, plain_line, shown
from mlsdk.table import counted, duration

if TYPE_CHECKING:
    from mlsdk.compare.comparison import Comparison

Span = tuple[str, str]
"""Text and its style: `bold`, `dim`, `red`, `green`, or none."""

Line = tuple[Span, ...]

MOST_CAUSES = 100
MOST_ROWS = 100
"""Metrics, and other things that differ."""
MOST_DETAILS = 40
"""Lines below one cause; `to_dict` has all of each."""
_MOST_FILES = 10
_KIND_WIDTH = 11
WIDTH = 160
"""Columns where nobody knows how many there are."""
_LEAST = 16
"""Letters of a value that are shown in any case."""
_COLOURS = {"red": "#b3261e", "green": "#1a7f37"}


def lines_of(found: Comparison, width: int = WIDTH) -> Iterator[Line]:
    """A comparison, line by line; values are shortened so that lines of causes do not take many more columns."""
    for label, run in (("A", found.a), ("B", found.b)):
        yield (
            (f"{label}  ", "bold"),
            (f"{plain_line(run.name)}  {run.status}  ", ""),
            (f"{run.id}  took {duration(run.duration_s)}", "dim"),
        )
    yield ()
    yield ((headline(found), "bold"),)
    if found.causes:
        yield from _heading("causes")
    room = max((len(plain_line(one.what)) for one in found.causes), default=0)
    for one in found.causes[:MOST_CAUSES]:
        yield from _cause(one, min(room, 40), width)
    yield from _more(len(found.causes), MOST_CAUSES, "causes")
    if found.effects:
        yield from _heading("effects")
        yield from _effects(found.effects, width)
    if found.unknown:
        yield from _heading("not known")
        yield from (((f"  {plain_line(line)}", "dim"),) for line in found.unknown)
    yield from _rest(found, width)


def headline(found: Comparison) -> str:
    """What there is to say in one sentence; that only one thing differs, where that is certain."""
    only, beside = found.only, found.but_for_chance
    if only is not None:
        return f"only {only.kind} {plain_line(only.what)} differs"
    if beside is not None:
        return f"only {beside.kind} {plain_line(beside.what)} differs, but for random generators"
    doubt = "; what is not known is listed below" if found.unknown else ""
    if not found.causes and found.effects:
        verify = ": what was captured is the same; `mlsdk verify` tells whether the program comes to the same twice"
        return f"no cause is known{doubt or verify}"
    if not found.causes:
        rest = "nothing differs that is known to matter" if _differs_besides(found) else "nothing differs"
        return f"{rest}{doubt}"
    return f"{counted(len(found.causes), 'cause')}{doubt}"


def _differs_besides(found: Comparison) -> bool:
    return bool(found.other_files) or any(found.differs.values())


def _heading(text: str) -> Iterator[Line]:
    yield ()
    yield ((text, "bold"),)


def _more(count: int, most: int, what: str) -> Iterator[Line]:
    if count > most:
        yield ((f"  … and {count - most:,} more {what}", "dim"),)


def _longest(width: int, room: int) -> int:
    """Letters that each of two values may take beside a name with so much room."""
    return max(min((width - room - _KIND_WIDTH) // 2, LONGEST), _LEAST)


def _cause(one: Difference, room: int, width: int) -> Iterator[Line]:
    name = f"  {one.kind:<{_KIND_WIDTH}} {plain_line(one.what):<{room}}  "
    indirect = () if one.direct else ((" (not imported)", "dim"),)
    if one.kind == "function" and one.facts.get("how") in ("changed", "added", "removed"):
        yield ((name, ""), (str(one.facts["how"]), ""))
    else:
        left, right = both_shown(one.a, one.b, _longest(width, len(name)))
        moved = "" if one.kind == "seed" else change(one.a, one.b)
        yield (
            (name, ""),
            (left, "red"),
            (" → ", "dim"),
            (right, "green"),
            (f"  {moved}" if moved else "", "dim"),
            *indirect,
        )
    for line in one.details[:MOST_DETAILS]:
        yield ((f"    {plain_line(line)}", _style(line)),)
    if len(one.details) > MOST_DETAILS:
        yield ((f"    … and {len(one.details) - MOST_DETAILS:,} more lines", "dim"),)


def _style(line: str) -> str:
    return {"- ": "red", "+ ": "green", "  ": ""}.get(line[:2], "dim")


def _effects(found: Sequence[Effect], width: int) -> Iterator[Line]:
    room = min(max(len(plain_line(one.metric)) for one in found), 40)
    for one in found[:MOST_ROWS]:
        left, right = ("—" if value is None else value for value in (one.a, one.b))
        longest = _longest(width, room)
        sides = both_shown(left, right, longest) if left != right else (shown(left), shown(right))
        moved = change(one.a, one.b)
        spans: list[Span] = [(f"  {plain_line(one.metric):<{room}}  ", ""), (sides[0], "red"), (" → ", "dim")]
        spans += [(sides[1], "green"), (f"  {moved}" if moved else "", "dim")]
        if one.step is not None:
            at = both_shown(one.a_at, one.b_at)
            spans.append((f"  parts at step {one.step}: {at[0]} → {at[1]}", "dim"))
        yield tuple(spans)
    yield from _more(len(found), MOST_ROWS, "metrics")


def _rest(found: Comparison, width: int) -> Iterator[Line]:
    """What differs besides, and how much is the same."""
    told = {one.what for one in found.causes if one.kind in ("param", "data")}
    rows = [
        (f"{kind}.{name}" if kind != "run" else name, x, y)
        for kind, pairs in found.differs.items()
        for name, (x, y) in pairs.items()
        if kind != "metrics" and not (kind == "params" and name in told)
    ]
    if rows or found.other_files:
        yield from _heading("also differs")
    room = min(max((len(plain_line(name)) for name, _, _ in rows), default=0), 40)
    for name, x, y in rows[:MOST_ROWS]:
        left, right = ("—" if value is None or value is ABSENT else value for value in (x, y))
        sides = both_shown(left, right, _longest(width, room))
        yield ((f"  {plain_line(name):<{room}}  ", ""), (sides[0], "red"), (" → ", "dim"), (sides[1], "green"))
    yield from _more(len(rows), MOST_ROWS, "things")
    if found.other_files:
        files = ", ".join(map(plain_line, found.other_files[:_MOST_FILES]))
        more = len(found.other_files) - _MOST_FILES
        rest = f" and {more} more" if more > 0 else ""
        yield (("  other files  ", ""), (f"{files}{rest}", ""), (" (nothing is known to have read them)", "dim"))
    counts = ", ".join(
        f"{count:,} {kind.removesuffix('s') if count == 1 else kind}"
        for kind, count in found.same.items()
        if count and kind != "run"
    )
    yield ()
    yield ((f"same otherwise: {counts}" if counts else "nothing is the same", "dim"),)


def text_of(found: Comparison) -> str:
    """A comparison as plain text."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines_of(found))


def html_of(found: Comparison) -> str:
    """A comparison for a notebook: the same lines, coloured."""
    return f"<pre>{chr(10).join(''.join(map(_html, line)) for line in lines_of(found))}</pre>"


def _html(span: Span) -> str:
    text, style = html.escape(span[0]), span[1]
    if style == "bold":
        return f"<b>{text}</b>"
    css = "opacity:.65" if style == "dim" else f"color:{_COLOURS[style]}" if style in _COLOURS else ""
    return f'<span style="{css}">{text}</span>' if css else text
