"""What came of it: metrics at the end, and the first step at which two curves part."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import attrs

from mlsdk.compare.values import same
from mlsdk.errors import NotFoundError
from mlsdk.records import MetricSummary, Number, Run, Series
from mlsdk.table import SAMPLED


@attrs.frozen
class Effect:
    """A metric that is not the same in two runs.

    Attributes:
        metric: its name.
        a: its last value in the first run; None where the run does not have it.
        b: the same of the second.
        change: how far the last value moved; None where it cannot be said.
        step: the first step at which the curves part; None where they do not, or one of the runs has no history of it.
        a_at: the value of the first run there; None where its curve has ended.
        b_at: the same of the second.
    """

    metric: str
    a: Number | None = None
    b: Number | None = None
    change: float | None = None
    step: int | None = None
    a_at: Number | None = None
    b_at: Number | None = None


def effects(a: Run, b: Run) -> tuple[Effect, ...]:
    """The metrics that differ, by name. What was sampled of the machine is none.

    Where the summaries of both are equal in every number, the histories are taken for equal too.
    """
    sides = [{name: one for name, one in run.metrics.items() if not name.startswith(_SAMPLES)} for run in (a, b)]
    names = sorted({*sides[0], *sides[1]})
    found = [_effect(a, b, name, sides[0].get(name), sides[1].get(name)) for name in names]
    return tuple(one for one in found if one is not None)


_SAMPLES = SAMPLED.partition(".")[2]


def _effect(a: Run, b: Run, name: str, x: MetricSummary | None, y: MetricSummary | None) -> Effect | None:
    if x is None or y is None:
        return Effect(name, None if x is None else x.last, None if y is None else y.last)
    if same([*attrs.astuple(x)], [*attrs.astuple(y)]):
        return None
    parting = None
    if x.count and y.count:
        with contextlib.suppress(NotFoundError):  # a log that is not here: the summaries still are
            parting = first_parting(a.history(name), b.history(name))
    if parting is None and same(x.last, y.last):
        return None  # they were counted otherwise: a step logged twice, say
    return Effect(name, x.last, y.last, _moved(x.last, y.last), *(parting or (None, None, None)))


def _moved(x: Number, y: Number) -> float | None:
    try:
        return float(y - x)
    except OverflowError:
        return None


def first_parting(x: Series, y: Series) -> tuple[int, Number | None, Number | None] | None:
    """The first step at which two histories differ, with both values there; None where they are equal.

    Values are compared in the order in which they were logged, exactly; NaN is the same as NaN. Where one ends first,
    that is where they part.
    """
    count = min(len(x), len(y))
    at = _first_difference(x, y, count)
    if at is None and len(x) == len(y):
        return None
    at = count if at is None else at
    left, right = _point(x, at), _point(y, at)
    step = (left or right or (0, 0))[0]
    if left and right and left[0] != right[0]:  # one has logged a step that the other has not
        step = min(left[0], right[0])
        left, right = (left, None) if left[0] == step else (None, right)
    return step, left and left[1], right and right[1]


def _point(series: Series, at: int) -> tuple[int, Number] | None:
    if at >= len(series):
        return None
    value: Any = series.values[at]
    return int(series.steps[at]), value.item() if hasattr(value, "item") else value


def _first_difference(x: Series, y: Series, count: int) -> int | None:
    steps, values = (x.steps[:count], y.steps[:count]), (x.values[:count], y.values[:count])
    if all(hasattr(part, "dtype") for part in (*steps, *values)):
        import numpy as np

        one, other = np.asarray(values[0]), np.asarray(values[1])
        equal = (np.asarray(steps[0]) == np.asarray(steps[1])) & ((one == other) | ((one != one) & (other != other)))
        return None if equal.all() else int(np.argmin(equal))
    return next(_differing(steps, values), None)


def _differing(steps: tuple[Any, Any], values: tuple[Any, Any]) -> Iterator[int]:
    for at, (i, j, v, w) in enumerate(zip(*steps, *values, strict=True)):
        if i != j or (v != w and (v == v or w == w)):
            yield at
