"""From what a person names to the runs that are meant."""

from __future__ import annotations

from pathlib import Path

import pytest

import mlsdk
from mlsdk.errors import NotFoundError, QueryError, UsageError


def test_which_runs_are_meant(tmp_path: Path) -> None:
    """By default the newest finished run of each kind; a name, an experiment, a filter, an id, several of them."""
    for number in range(3):
        for experiment in ("a", "b"):
            with mlsdk.run(experiment, name=f"{experiment}-nightly", params={"n": number}, capture=()):
                pass
    with pytest.raises(ValueError, match="boom"), mlsdk.run("a", name="broken", capture=()):
        raise ValueError("boom")
    every = [run.id for run in mlsdk.runs("status = 'finished'")]

    def meant(runs: object) -> list[str]:
        return [one.run.id for one in mlsdk.status(runs)]  # type: ignore[arg-type]

    assert meant(None) == every[:2]
    assert meant("a") == meant("a-nightly") == [every[1]]
    assert meant("params.n = 0") == every[4:]
    assert meant(every[3][-8:]) == meant(mlsdk.get_run(every[3])) == [every[3]]
    assert meant(["a", every[5], "a-nightly"]) == [every[1], every[5]]
    with pytest.raises(NotFoundError, match="nightl"):
        meant("a-nightl")
    with pytest.raises(QueryError):
        meant("params.n == ")
    with pytest.raises(UsageError, match="not 7"):
        meant(7)
