"""Logging from within logging: signal handlers and finalisers that interrupt a call."""

from __future__ import annotations

import gc
import signal
from types import FrameType
from typing import Any

import pytest

import mlsdk
from mlsdk.errors import MetricError
from mlsdk.tracking.points import PointWriter


def test_a_signal_handler_that_logs() -> None:
    """A handler that logs, sets params and prints in the middle of calls loses nothing, of its own or of theirs."""
    heard = 0

    def on_alarm(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        mine = heard = heard + 1
        run.log(alarm=mine)
        run.log_params({"heard": mine})
        print("alarm", mine)

    before = signal.signal(signal.SIGALRM, on_alarm)
    count = 0
    with mlsdk.run() as run:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            while heard < 30:
                run.log(a=count, b=0.5)
                run.log(c=float(count))
                if not count % 50:
                    run.set_tags({"count": count})
                count += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    found = mlsdk.get_run(run.id)

    assert list(found.history("a").values) == list(range(count))
    assert list(found.history("c").values) == list(range(count))
    assert sorted(found.history("alarm").values) == list(range(1, heard + 1))
    assert [problem.kind for problem in found.problems if problem.kind != "companion"] == []


def test_a_long_handler() -> None:
    """Thousands of calls that were put off are all written, also behind one that is a mistake."""

    class Slow:
        def __float__(self) -> float:
            run.log(bad="text")
            for number in range(5000):
                run.log(put_off=number)
            return 1.0

    with mlsdk.run() as run:
        with pytest.raises(MetricError, match="'bad'"):
            run.log(a=Slow())
        run.log(a=2.0)
    found = mlsdk.get_run(run.id)

    assert list(found.history("put_off").values) == list(range(5000))
    assert list(found.history("a").values) == [2.0]


def test_every_moment_of_a_call() -> None:
    """Interrupted between any two lines of a call, both calls are recorded."""
    import sys

    moments = 0

    def tracer(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal moments
        name = frame.f_code.co_filename
        if "mlsdk/tracking" not in name and "mlsdk/log/segment" not in name and "mlsdk/store/writer" not in name:
            return None
        if event == "line":
            sys.settrace(None)
            moments += 1
            run.log(inner=moments)
            run.log_params({"moment": moments})
            sys.settrace(tracer)
        return tracer

    with mlsdk.run() as run:
        run.log(a=-1.0)
        run.log(inner=0)
        for number in range(5):
            sys.settrace(tracer)
            run.log(a=float(number))
            run.log_params({"p": number})
            sys.settrace(None)
    found = mlsdk.get_run(run.id)

    assert list(found.history("a").values) == [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    assert sorted(found.history("inner").values) == list(range(moments + 1))
    assert (found.params["p"], found.params["moment"]) == (4, moments)


def test_a_finaliser_that_logs() -> None:
    """An object that logs when it is thrown away, in the middle of a call, is recorded too."""

    class Loud:
        def __init__(self) -> None:
            self.me = self  # only the collector can throw it away

        def __del__(self) -> None:
            run.log(deleted=1)

    with mlsdk.run() as run:
        threshold = gc.get_threshold()
        gc.set_threshold(3)
        try:
            for number in range(2000):
                Loud()
                run.log({"a": number, "b": [number][0]})
        finally:
            gc.set_threshold(*threshold)
        gc.collect()
    found = mlsdk.get_run(run.id)

    assert list(found.history("a").values) == list(range(2000))
    assert found.metrics["deleted"].count == 2000


def test_a_mistake_in_between_spoils_nothing() -> None:
    """A value whose conversion raises an unexpected error leaves the writer usable."""

    class Broken:
        def __float__(self) -> float:
            raise RuntimeError("broken")

    with mlsdk.run() as run:
        for _ in range(3):
            try:
                run.log(a=Broken())
            except RuntimeError:
                run.log(b=1.0)
    found = mlsdk.get_run(run.id)

    assert found.metrics["b"].count == 3
    assert isinstance(run._points, PointWriter | None)
