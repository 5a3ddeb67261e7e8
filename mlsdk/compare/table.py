"""Several runs side by side: a table with only the columns that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from mlsdk.compare.cause import found_causes
from mlsdk.compare.effect import effects
from mlsdk.compare.values import shown
from mlsdk.records import Run


@attrs.frozen
class ComparisonTable:
    """Several runs by what differs among them. Shows itself as a table in a terminal and a notebook.

    Attributes:
        runs: in the order in which they were given.
        columns: values by column, one for each run: `param lr`, `function helpers:scale`, `package numpy`,
            `metric acc`; None where a run does not have it. Causes come first, in causal order.
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

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Names of the columns, and a row of texts for each run."""
        head = ["run", "name", *self.columns]
        rows = [
            [run.short_id, shown(run.name), *(shown(values[at]) for values in self.columns.values())]
            for at, run in enumerate(self.runs)
        ]
        return head, rows

    def __str__(self) -> str:
        from mlsdk.compare.shown import text_of_table

        return text_of_table(self)

    def _repr_html_(self) -> str:
        from mlsdk.compare.shown import html_of_table

        return html_of_table(self)


def compare_many(runs: Sequence[Run]) -> ComparisonTable:
    """Each run against the first: where one does not differ from it, it has the first one's value."""
    first, *others = runs
    values: dict[tuple[tuple[int, bool, str], str], list[object]] = {}
    unknown: list[str] = []
    metrics: dict[str, list[object]] = {}
    for at, other in enumerate(others, 1):
        found = found_causes(first, other, (first.name, other.name))
        unknown += found.unknown
        for one in found.causes:
            column = values.setdefault((one.rank, f"{one.kind} {one.what}"), [one.a] * len(runs))
            column[at] = one.b
        for effect in effects(first, other):
            metric = metrics.setdefault(effect.metric, [effect.a] * len(runs))
            metric[at] = effect.b
    columns = {name: tuple(column) for (_, name), column in sorted(values.items())}
    columns |= {f"metric {name}": tuple(metrics[name]) for name in sorted(metrics)}
    return ComparisonTable(tuple(runs), columns, tuple(dict.fromkeys(unknown)))
