"""Several runs side by side: a table with only the columns that differ."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import attrs

from mlsdk.compare.cause import found_causes
from mlsdk.compare.effect import effects
from mlsdk.compare.side import Side
from mlsdk.compare.unknown import NEEDED, unknown_of
from mlsdk.compare.values import LONGEST, all_shown, cut, plain_line, shown
from mlsdk.records import Run

_WIDTH = 140
"""Columns that a table may take where nobody knows how many there are."""
_LEAST = 9
"""Letters of a value that are shown in any case."""


@attrs.frozen
class ComparisonTable:
    """Several runs by what differs among them. Shows itself as a table in a terminal and a notebook.

    Attributes:
        runs: in the order in which they were given.
        columns: values by column, one for each run: `param lr`, `function helpers:scale`, `package numpy`,
            `metric acc`; None where a run does not have it, or has not captured it. Causes come first, in causal order.
        unknown: what the records cannot tell, a line each.
    """

    runs: tuple[Run, ...]
    columns: Mapping[str, tuple[object, ...]] = attrs.field(factory=dict)
    unknown: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """All of it as plain mappings and lists."""
        return {
            "runs": [run.id for run in self.runs],
            "columns": {name: list(values) for name, values in self.columns.items()},
            "unknown": list(self.unknown),
        }

    def cells(self, longest: int = LONGEST) -> tuple[list[str], list[list[str]]]:
        """Names of the columns, and a row of texts for each run; values of so many letters at most."""
        head = ["run", "name", *map(plain_line, self.columns)]
        columns = [all_shown(values, longest) for values in self.columns.values()]
        rows = [
            [run.short_id, shown(run.name), *(column[at] for column in columns)] for at, run in enumerate(self.runs)
        ]
        return head, rows

    def __str__(self) -> str:
        return text_of_table(self, _WIDTH)

    def _repr_html_(self) -> str:
        head, rows = self.cells()
        names = "".join(f"<th>{html.escape(name)}</th>" for name in head)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def text_of_table(found: ComparisonTable, width: int) -> str:
    """A table as plain text for so many columns: on its side, but where it has more runs than have room so."""
    head, rows = found.cells()
    upright = _aligned([head, *rows], rule_after=1)
    ways = [_turned(found, LONGEST), upright, _turned(found, max(width // (len(rows) + 2) - 2, _LEAST))]
    lines = next((lines for lines in ways if _width(lines) <= width), min(ways, key=_width))
    lines += [] if found.columns else ["nothing differs"]
    doubt = ["", "not known", *(f"  {plain_line(line)}" for line in found.unknown)] if found.unknown else []
    return "\n".join([*lines, *doubt])


def _turned(found: ComparisonTable, longest: int) -> list[str]:
    head, rows = found.cells(longest)
    names = [cut(name, 2 * longest) for name in head]
    return _aligned([[name, *(cut(row[at], longest) for row in rows)] for at, name in enumerate(names)], rule_after=2)


def _width(lines: list[str]) -> int:
    return max(map(len, lines))


def _aligned(rows: list[list[str]], *, rule_after: int) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(rule_after, "  ".join("─" * width for width in widths))
    return lines


def compare_many(runs: Sequence[Run]) -> ComparisonTable:
    """Each run against one of them, the first of those of which most was captured.

    A run that does not differ from it has its value, unless nothing of that kind was captured of the run.
    """
    sides = [Side(run) for run in runs]
    lacking = [
        {kind for kind, (facts, name, _) in NEEDED.items() if name not in getattr(side, facts)} for side in sides
    ]
    base = min(range(len(runs)), key=lambda at: len(lacking[at]))
    values: dict[tuple[tuple[int, bool, str], str], list[object]] = {}
    unknown: list[str] = []
    metrics: dict[str, list[object]] = {}
    for at, side in enumerate(sides):
        if at == base:
            continue
        found = found_causes(sides[base], side)
        unknown += found.unknown
        for one in found.causes:
            start = [None if one.kind in lacks and one.kind != "param" else one.a for lacks in lacking]
            values.setdefault((one.rank, f"{one.kind} {one.what}"), start)[at] = one.b
        for effect in effects(runs[base], runs[at]):
            metrics.setdefault(effect.metric, [effect.a] * len(runs))[at] = effect.b
    columns = {name: tuple(column) for (_, name), column in sorted(values.items())}
    columns |= {f"metric {name}": tuple(metrics[name]) for name in sorted(metrics)}
    names = {
        run.name if [one.name for one in runs].count(run.name) == 1 else run.short_id: side
        for run, side in zip(runs, sides, strict=True)
    }
    return ComparisonTable(tuple(runs), columns, tuple(dict.fromkeys([*unknown_of(names), *unknown])))
