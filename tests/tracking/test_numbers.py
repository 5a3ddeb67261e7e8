"""Values and names of metrics: what comes back exactly, and what is refused."""

from __future__ import annotations

import decimal
import math
from typing import Any

import numpy as np
import pytest

import mlsdk
from mlsdk.errors import MetricError


def points(run: mlsdk.ActiveRun, metric: str) -> list[tuple[int, float]]:
    """(step, value) of each point."""
    series = mlsdk.get_run(run.id).history(metric)
    return list(zip(list(series.steps), list(series.values), strict=True))


@pytest.mark.parametrize(
    "value",
    [
        0.1,
        -0.0,
        math.inf,
        -math.inf,
        7,
        True,
        -(2**63),
        2**63 - 1,
        2**64 - 1,
        2**53 + 1,
        np.float64(0.1),
        np.float32(0.1),
        np.float16(0.5),
        np.int64(-(2**63)),
        np.uint64(2**64 - 1),
        np.int8(3),
        np.bool_(True),
        np.array(2.5),
        np.array([2.5]),
        np.array([[7]]),
        decimal.Decimal("0.5"),
    ],
    ids=repr,
)
def test_numbers_come_back_exactly(value: Any) -> None:
    """Every kind of number comes back as it was, to the last bit and of its kind; also when it comes again."""
    with mlsdk.run() as run:
        run.log(a=value)
        run.log(a=value)
    series = mlsdk.get_run(run.id).history("a")
    item = value.item() if hasattr(value, "item") else value
    kind = int if isinstance(item, int) else float

    assert [kind(v) for v in series.values] == [item, item]
    assert mlsdk.get_run(run.id).metrics["a"].last == item


def test_nan_is_a_value() -> None:
    """NaN is recorded and read back; it is no minimum and no maximum."""
    with mlsdk.run() as run:
        for value in (1.0, math.nan, 3.0, math.nan):
            run.log(a=value)
    summary = mlsdk.get_run(run.id).metrics["a"]

    assert math.isnan(summary.last)
    assert (summary.min, summary.max, summary.count) == (1.0, 3.0, 4)


class Tensor:
    """What a tensor of one element looks like."""

    def __init__(self, value: float, elements: int = 1) -> None:
        self._value = value
        self._elements = elements

    def numel(self) -> int:
        return self._elements

    def item(self) -> float:
        return self._value


def test_tensors() -> None:
    """A tensor of one element is its number; one of several is refused with what to do."""
    with mlsdk.run() as run:
        run.log(a=Tensor(0.25))
        with pytest.raises(MetricError, match=r"3 elements.*mean"):
            run.log(a=Tensor(0.5, 3))

    assert points(run, "a") == [(0, 0.25)]


@pytest.mark.parametrize(
    "value",
    [1j, np.complex64(1j), "0.5", b"1", None, 2**64, -(2**63) - 1, decimal.Decimal("0.1"), [1.0], {1, 2}, object()],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_number(value: Any) -> None:
    """What is no number, or would lose precision, is refused by name; the other values of the call are recorded."""
    with mlsdk.run() as run:
        run.log(good=1.0, bad=1.0)
        with pytest.raises(MetricError, match=r"'bad'.*the other values of the call were recorded"):
            run.log(good=2.0, bad=value)
        run.log(good=3.0, bad=3.0)

    assert points(run, "good") == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert points(run, "bad") == [(0, 1.0), (1, 3.0)]


def test_changing_types_of_one_metric() -> None:
    """A metric may be an integer at first and a float later, alone and among others; its steps go on."""
    with mlsdk.run() as run:
        run.log(a=0)
        run.log(a=0.5)
        run.log(a=2**64 - 1, b=1)
        run.log(a=np.float32(0.25), b=1.5)
        run.log(a=3)

    assert points(run, "a") == [(0, 0), (1, 0.5), (2, 2**64 - 1), (3, 0.25), (4, 3)]
    assert points(run, "b") == [(0, 1), (1, 1.5)]


def test_thousands_of_metrics_in_one_call() -> None:
    """Two thousand metrics in one call are recorded, twice."""
    values = {f"layer/{i}": i / 7 for i in range(2_000)}
    with mlsdk.run() as run:
        run.log(values)
        run.log(values)
    metrics = mlsdk.get_run(run.id).metrics

    assert {name: summary.last for name, summary in metrics.items()} == values
    assert {summary.count for summary in metrics.values()} == {2}


@pytest.mark.parametrize("name", ["x" * 10_000, "a\nb", "a b/c.d`\\", "ü\udc80", "step", "self", "values", " "])
def test_odd_names(name: str) -> None:
    """Names may be long, have newlines, and be words of the call."""
    with mlsdk.run() as run:
        run.log({name: 1.5})
        mlsdk.log({name: 2.5})

    assert points(run, name) == [(0, 1.5), (1, 2.5)]


@pytest.mark.parametrize("name", ["", "x" * 10_001, 7, None])
def test_names_that_are_none(name: Any) -> None:
    """A name that is empty, endless or no text is refused; the others of the call are recorded."""
    with mlsdk.run() as run, pytest.raises(MetricError, match="name"):
        run.log({name: 1.0, "good": 2.0})

    assert set(mlsdk.get_run(run.id).metrics) == {"good"}


def test_nested_metrics() -> None:
    """Nested mappings are joined by `/`, and meet the same names written out."""
    with mlsdk.run() as run:
        run.log({"train": {"loss": 1.0, "deep": {"er": 2}}}, acc=0.5)
        run.log({"train/loss": 2.0})

    assert points(run, "train/loss") == [(0, 1.0), (1, 2.0)]
    assert points(run, "train/deep/er") == [(0, 2)]
    assert points(run, "acc") == [(0, 0.5)]
