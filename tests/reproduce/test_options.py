"""The command line of a program with other params: options of all forms, flags, positions."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from mlsdk.errors import RerunError
from mlsdk.records import Dataset, Run, RunStatus
from mlsdk.reproduce.program.options import shows, with_params


def run_with(**facts: Any) -> Run:
    """A run with these params and facts of its code."""
    code, datasets = facts.pop("code", {}), facts.pop("datasets", {})
    now = datetime.now(timezone.utc)
    return Run("0" * 32, "made", "options", RunStatus.FINISHED, now, params=facts, code=code, datasets=datasets)


@pytest.mark.parametrize(
    ("params", "line", "changes", "sources", "expected"),
    [
        ({"lr": 0.1}, "--lr 0.1 --x 1", {"lr": 0.5}, "", "--lr 0.5 --x 1"),
        ({"lr": 0.1}, "--lr=0.1", {"lr": -0.5}, "", "--lr=-0.5"),
        ({"lr": -0.1}, "--lr -0.1 --x 1", {"lr": 0.5}, "", "--lr 0.5 --x 1"),
        ({"lr": 0.1}, "-lr 0.1", {"lr": 0.5}, "", "-lr 0.5"),
        ({"batch_size": 8}, "--batch-size 8", {"batch_size": 16}, "", "--batch-size 16"),
        ({"sizes": [1, 2]}, "--sizes 1 2 --x", {"sizes": [3]}, "", "--sizes 3 --x"),
        ({"fast": True}, "--fast --x 1", {"fast": False}, "", "--x 1"),
        ({"fast": True}, "--fast", {"fast": True}, "", "--fast"),
        ({"fast": False}, "--no-fast", {"fast": True}, "", "--fast"),
        ({"fast": True}, "--fast true", {"fast": False}, "", "--fast false"),
        ({"lr": 0.1}, "lr=0.1 model.depth=2", {"model.depth": 3}, "", "lr=0.1 model.depth=3"),
        ({"lr": 0.1}, "+lr=0.1", {"lr": 0.5}, "", "+lr=0.5"),
        ({"name": "a", "lr": 0.1}, "a 0.1", {"lr": 0.5}, "", "a 0.5"),
        ({"lr": 0.1}, "--x 1", {"lr": 0.5}, "add_argument('--lr')", "--x 1 --lr=0.5"),
        ({"lr": 0.1}, "--x 1 -- rest", {"lr": 0.5}, 'option("--lr")', "--x 1 --lr=0.5 -- rest"),
        ({"fast": False}, "", {"fast": True}, '"--fast"', "--fast"),
        ({"fast": True}, "", {"fast": False}, '"--fast"', "--no-fast"),
        ({"batch_size": 8}, "", {"batch_size": 16}, "import typer", "--batch-size=16"),
        ({"sizes": [1]}, "", {"sizes": [2, 3]}, "'--sizes'", "--sizes 2 3"),
    ],
)
def test_other_params(params: Any, line: str, changes: Any, sources: str, expected: str) -> None:
    """Each form of an option is replaced where it stands; one that is not there is added if the sources know it."""
    found = with_params(run_with(**params), line.split(), changes, lambda: sources)

    assert (" ".join(found.words), found.shown) == (expected, tuple(changes))


@pytest.mark.parametrize(
    ("params", "line", "changes", "words"),
    [
        ({"lr": 0.1}, "", {"lr": 0.5}, "which the program sets to 0.1 by itself"),
        ({"rate": 0.1}, "", {"rat": 0.5}, "did you mean 'rate'?"),
        ({"a": 1, "b": 1}, "1 1", {"a": 2}, "an option --a"),
        ({"a": 1}, "--b 1", {"a": 2}, "an option --a"),
    ],
)
def test_params_that_no_option_gives(params: Any, line: str, changes: Any, words: str) -> None:
    """What stands nowhere, or in several places, is refused, with the nearest name."""
    with pytest.raises(RerunError) as error:
        with_params(run_with(**params), line.split(), changes, str)

    assert (error.value.why, words in str(error.value)) == ("arguments", True)


def test_arguments_of_a_tracked_function() -> None:
    """They are left to the call, and replaced on the command line too where they stand there."""
    run = run_with(lr=0.1, deep=1, code={"function": "m:train"})
    found = with_params(run, ["--lr", "0.1"], {"lr": 0.5, "deep": 2, "unknown": 3}, str)

    assert found == (["--lr", "0.5"], ("lr",))


def test_whether_a_run_shows_a_param() -> None:
    """Params by name or by path count, and data by the name of their file."""
    run = run_with(lr=0.5, model={"depth": 3}, datasets={"data": Dataset("data", "file", path="/x/e.csv")})

    assert shows(run, "lr", "0.5")
    assert shows(run, "model.depth", 3)
    assert shows(run, "data", "e.csv")
    assert not shows(run, "data", "d.csv")
    assert not shows(run, "model.width", 3)
