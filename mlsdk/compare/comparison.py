"""`mlsdk.diff`: two runs side by side, causes and effects; or several, by what differs among them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, overload

import attrs

from mlsdk.compare.cause import found_causes
from mlsdk.compare.difference import Difference
from mlsdk.compare.effect import Effect, effects
from mlsdk.compare.side import Side
from mlsdk.compare.table import ComparisonTable, compare_many
from mlsdk.compare.unknown import unknown_of
from mlsdk.compare.values import ABSENT, Values, differing, flat, given, mapping
from mlsdk.finding import get_run
from mlsdk.records import Run


@attrs.frozen
class Comparison:
    """Two runs side by side. Shows itself as a tree in a terminal and a notebook.

    Attributes:
        a: the first run.
        b: the second.
        causes: what may be why they differ, in causal order.
        effects: metrics that differ, with the first step at which their curves part.
        unknown: what the records cannot tell, a line each: where there is such a line, something else may differ.
        other_files: files of the code that differ, and that nothing is known to have read.
        differs: other things that differ (params, metrics, tags, artifacts, the runs themselves), by kind and name.
        same: how many things are the same, by kind.
    """

    a: Run
    b: Run
    causes: tuple[Difference, ...] = ()
    effects: tuple[Effect, ...] = ()
    unknown: tuple[str, ...] = ()
    other_files: tuple[str, ...] = ()
    differs: Mapping[str, Mapping[str, tuple[object, object]]] = attrs.field(factory=dict)
    same: Mapping[str, int] = attrs.field(factory=dict)

    @property
    def only(self) -> Difference | None:
        """The one cause, where exactly one differs and nothing that matters is unknown; None otherwise."""
        return self.causes[0] if len(self.causes) == 1 and not self.unknown else None

    @property
    def but_for_chance(self) -> Difference | None:
        """The one cause beside random generators that nobody has set to the same state; None where there are others."""
        others = [one for one in self.causes if not one.facts.get("global")]
        is_so = len(others) == 1 and len(self.causes) > 1 and not self.unknown
        return others[0] if is_so else None

    def to_dict(self) -> dict[str, object]:
        """All of it as plain mappings and lists."""
        only = self.only
        return {
            "a": self.a.id,
            "b": self.b.id,
            "only": None if only is None else {"kind": only.kind, "what": only.what},
            "causes": [_cause(one) for one in self.causes],
            "effects": [attrs.asdict(one) for one in self.effects],
            "unknown": list(self.unknown),
            "other_files": list(self.other_files),
            "differs": {
                kind: {name: _both(x, y) for name, (x, y) in pairs.items()} for kind, pairs in self.differs.items()
            },
            "same": dict(self.same),
        }

    def __str__(self) -> str:
        from mlsdk.compare.shown import text_of

        return text_of(self)

    def _repr_html_(self) -> str:
        from mlsdk.compare.shown import html_of

        return html_of(self)


def _cause(one: Difference) -> dict[str, object]:
    found: dict[str, Any] = attrs.asdict(one, recurse=False)
    return {**found, "details": list(one.details), "facts": dict(one.facts)}


def _both(a: object, b: object) -> dict[str, object]:
    return {side: value for side, value in (("a", a), ("b", b)) if value is not ABSENT}


StorePath = str | os.PathLike[str]


@overload
def diff(a: Run | str, b: Run | str, /, *, store: StorePath | None = None) -> Comparison: ...


@overload
def diff(
    a: Run | str, b: Run | str, third: Run | str, /, *more: Run | str, store: StorePath | None = None
) -> ComparisonTable: ...


def diff(
    a: Run | str, b: Run | str, /, *more: Run | str, store: StorePath | None = None
) -> Comparison | ComparisonTable:
    """What changed between runs: causes in causal order, and what came of it.

    Args:
        a: a run, or what `get_run` takes.
        b: another.
        more: further ones: then the answer is a table of all, with only the columns that differ.
        store: folder or URI; by default the settings' store.

    Returns:
        A `Comparison` of two runs, a `ComparisonTable` of more.

    Raises:
        NotFoundError: there is no such run; the message names the nearest.

    >>> import mlsdk
    >>> @mlsdk.track(experiment="docs")
    ... def train(lr: float = 0.1) -> dict[str, float]:
    ...     return {"acc": 1 - lr}
    >>> _ = train(), train(lr=0.2)
    >>> after, before = mlsdk.runs(experiment="docs", limit=2)
    >>> [(one.kind, one.what, one.a, one.b) for one in mlsdk.diff(before, after).causes]
    [('param', 'lr', 0.1, 0.2)]
    """
    found = [run if isinstance(run, Run) else get_run(run, store=store) for run in (a, b, *more)]
    if more:
        return compare_many(found)
    return compare(*found)


def compare(a: Run, b: Run) -> Comparison:
    """Two runs side by side."""
    then, now = Side(a), Side(b)
    causes, between, other_files = found_causes(then, now)
    unknown = (*unknown_of({"A": then, "B": now}), *between)
    sides = [_others(run) for run in (a, b)]
    pairs = {kind: differing(sides[0][kind], sides[1][kind]) for kind in sides[0]}
    counted = {kind: len(sides[0][kind].keys() | sides[1][kind].keys()) - len(pairs[kind]) for kind in pairs}
    return Comparison(
        a,
        b,
        causes,
        effects(a, b),
        unknown,
        other_files,
        {kind: {name: (x, y) for name, x, y in found} for kind, found in pairs.items()},
        {**counted, **_counted(a, b)},
    )


def _others(run: Run) -> dict[str, dict[str, object]]:
    """What else is compared of a run, by kind and path."""
    about = {
        "experiment": run.experiment,
        "status": run.status.value,
        "note": run.note,
        "user": run.user,
        "host": run.host,
        "commit": run.code.get("commit"),
    }
    kinds: dict[str, Values] = {
        "run": about,
        "params": run.params,
        "metrics": {name: one.last for name, one in run.metrics.items() if not name.startswith("system/")},
        "tags": run.tags,
        "artifacts": {name: one.digest for name, one in run.artifacts.items()},
    }
    return {kind: flat(values) for kind, values in kinds.items()}


def _counted(a: Run, b: Run) -> dict[str, int]:
    """How many functions, data sets and packages are the same in both."""
    pairs = {
        "functions": (mapping(a.code.get("functions")), mapping(b.code.get("functions"))),
        "data sets": tuple({name: one.fingerprint for name, one in run.datasets.items()} for run in (a, b)),
        "packages": tuple(mapping(run.environment.get("distributions")) for run in (a, b)),
    }
    return {kind: sum(name in y and given(y[name]) == x[name] for name in x) for kind, (x, y) in pairs.items()}
