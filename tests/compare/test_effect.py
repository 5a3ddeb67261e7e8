"""What came of it: metrics that differ, and the first step at which curves part."""

from __future__ import annotations

import math
from array import array

import pytest

import mlsdk
from mlsdk.compare import effects
from mlsdk.compare.effect import first_parting
from mlsdk.records import Series


def _series(points: dict[int, float], *, numpy: bool = False) -> Series:
    steps, values = array("q", points), array("d", points.values())
    if numpy:
        import numpy as np

        return Series("x", np.asarray(steps), np.asarray(values), list)
    return Series("x", steps, values, list)


@pytest.mark.parametrize("numpy", [False, True])
def test_curves_part_at_the_first_step_that_differs(numpy: bool) -> None:
    """The first step is named at which values differ, with both; NaN is no difference from NaN."""
    one = {0: 1.0, 1: math.nan, 2: 0.5, 3: 0.25}
    pairs = [
        (one, None),
        ({**one, 2: 0.75, 3: 9.0}, (2, 0.5, 0.75)),
        ({**one, 1: 0.0}, (1, math.nan, 0.0)),
        ({0: 1.0, 1: math.nan}, (2, 0.5, None)),
        ({0: 1.0, 5: 2.0}, (1, math.nan, None)),
        ({}, (0, 1.0, None)),
    ]
    found = [first_parting(_series(one, numpy=numpy), _series(other, numpy=numpy)) for other, _ in pairs]

    assert str(found) == str([expected for _, expected in pairs])


def test_effects_are_the_metrics_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics that differ anywhere are effects, also those of one run alone; what was sampled of the machine is not."""
    monkeypatch.setenv("MLSDK_COMPANION", "0")
    ids = []
    for number in range(2):
        with mlsdk.run("docs", capture=()) as run:
            for step in range(5):
                run.log({"same": step, "loss": step + number * (step >= 3), "system/x": number})
            run.log({f"only-{number}": 7})
            ids.append(run.id)
    found = {one.metric: one for one in effects(*map(mlsdk.get_run, ids))}

    assert set(found) == {"loss", "only-0", "only-1"}
    assert (found["loss"].a, found["loss"].b, found["loss"].change) == (4, 5, 1.0)
    assert (found["loss"].step, found["loss"].a_at, found["loss"].b_at) == (3, 3, 4)
    assert (found["only-0"].a, found["only-0"].b, found["only-0"].step) == (7, None, None)
