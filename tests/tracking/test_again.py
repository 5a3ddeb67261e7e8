"""The order of a rerun, on the side of the program that is run again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import mlsdk
from mlsdk.capture.arguments import bind
from mlsdk.errors import RerunError
from mlsdk.log.values import encode
from mlsdk.tracking.again import VARIABLE, Order, is_same
from tests.programs import execute
from tests.reproduce.again import start, write


def order(**values: object) -> dict[str, object]:
    """An order as it is written."""
    known = {"id": "1" * 32, "of": "2" * 32, "number": 0, "store": "memory:", "experiment": None, "name": None}
    more = {"params": {}, "shown": [], "seed": None, "code": {}, "without": [], "answer": "answer.json", "parent": 0}
    return {**known, **more, **values}


@pytest.mark.parametrize(
    ("params", "args", "kwargs"),
    [
        ({"a": 9}, (9, 2, 3, 4), {"c": 5}),
        ({"b": 9}, (1, 9, 3, 4), {"c": 5}),
        ({"c": (9,)}, (1, 2, 3, 4), {"c": (9,)}),
        ({"d": 9}, (1, 2, 3, 4), {"c": 5, "d": 9}),
        ({"rest": (7, 8)}, (1, 2, 7, 8), {"c": 5}),
        ({"new": 9}, (1, 2, 3, 4), {"c": 5, "new": 9}),
        ({}, (1, 2, 3, 4), {"c": 5}),
    ],
)
def test_arguments_in_their_places(params: dict[str, object], args: object, kwargs: object) -> None:
    """Arguments are replaced where they stand, by place or by name, also those of `*args` and `**kwargs`."""

    def function(a, b=0, *rest, c, d=1, **more): ...  # pragma: no cover

    changed = Order(order(params=encode(params))).arguments(bind(function), (1, 2, 3, 4), {"c": 5}, "m:function")

    assert changed == (args, kwargs)


def test_what_a_command_line_can_say() -> None:
    """A value is what was asked for also where a command line has made a text or a float of it."""
    assert is_same(1, 1.0)
    assert is_same("5", 5)
    assert is_same(Path("a/b"), "a/b")
    assert not is_same(0.1, 0.2)


def test_an_order_for_another_process() -> None:
    """A process that the order is not for, a child say, runs as ever; no child of it sees the order."""
    Path("order.json").write_text(json.dumps(order(parent=1)))
    done = execute(
        """
        import os, subprocess, sys
        with mlsdk.run("own"):
            code = f"import os; print({'MLSDK_RERUN'!r} in os.environ)"
            subprocess.run([sys.executable, "-c", code], check=True)
        with mlsdk.run("second"):
            pass
        """,
        **{VARIABLE: str(Path("order.json").resolve()), "MLSDK_COMPANION": "0"},
    )

    assert done.stdout.strip() == "False"
    assert [run.experiment for run in mlsdk.runs()] == ["second", "own"]
    assert mlsdk.runs()[0].code["ordinal"] == 1
    assert not os.path.exists("answer.json")


def test_a_run_that_goes_on_with_another() -> None:
    """A program that resumes where it was begun anew is refused: what it goes on with is not made again by it."""
    write(
        """
        import sys, mlsdk
        with mlsdk.run("long", resume="latest" if list(mlsdk.runs()) else None) as run:
            mlsdk.log(x=1)
        """
    )
    old = start("train.py")

    with pytest.raises(RerunError, match="resume=") as error:
        mlsdk.rerun(old, env="same")
    assert error.value.why == "entry"
