"""A store with runs for the command line, made in the test's own folder and without a helper process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

import mlsdk
from mlsdk.cli import main


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSDK_COMPANION", "0")
    monkeypatch.setenv("MLSDK_OUTPUT", "0")
    monkeypatch.setenv("MLSDK_CAPTURE", "process,python,host,git")  # the others take their time, and put blobs away
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def runs() -> list[str]:
    """Ids of three runs: two that finished, better by the number, and one that failed."""
    made = []
    for i in range(2):
        with mlsdk.run("digits", name=f"run-{i}", params={"lr": 0.1 * (i + 1), "model": {"depth": 3}}) as run:
            for step in range(40):
                run.log(loss=1 / (step + 1 + i), acc=step / 40 + i / 100)
            run.set_tags({"team": "vision"})
            made.append(run.id)
    broken = mlsdk.run("digits", name="broken", params={"lr": 9})
    with pytest.raises(ValueError, match="boom"), broken:
        raise ValueError("boom")
    return [*made, broken.id]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command; returns the exit code, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def ask(call: Callable[..., tuple[int, str, str]]) -> Callable[..., Any]:
    """Run a command with --json; returns what it printed, parsed strictly."""

    def run(*words: str) -> Any:
        _, out, err = call(*words, "--json")
        assert err == ""
        return json.loads(out, parse_constant=pytest.fail)

    return run


def age(path: str, seconds: float = 7200.0) -> None:
    """Make a file look as if it had been written long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))
