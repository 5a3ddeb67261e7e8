"""`mlsdk.retrain`: the stale runs again, on what is there now, parents first; what it leaves alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import mlsdk
from mlsdk.errors import UsageError
from tests.conftest import require
from tests.stale import make_pipeline, make_project, replace

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are made again have all captures done when they end."""
    require(shutil.which("git"), "git")
    monkeypatch.setenv("MLSDK_COMPANION", "0")
    monkeypatch.setenv("MLSDK_CAPTURE", "process,python,source,git,tree,functions,packages")


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if not {".mlsdk", ".git"} & {*path.parts})
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


def test_a_stale_run_is_made_again(tmp_path: Path) -> None:
    """The new run is a child in the same experiment, made of what is there now; afterwards all is up to date."""
    project = make_project(tmp_path / "project")
    store = project / ".mlsdk"
    before = mlsdk.retrain("churn", store=store)
    replace(project / "data" / "train.csv", "\n17,3,b\n", "\n17,3,b\n1,1,a\n")
    replace(project / "helpers.py", "[x, x]", "[x, x, x]")
    files = _files(project)
    (made,) = mlsdk.retrain("churn", store=store)
    new = made.new
    assert new is not None

    assert (before, made.problem) == ((), None)
    assert (new.parent, new.experiment, new.metrics["rows"].last) == (made.old.run.id, "churn", 1203)
    assert new.metrics["loss"].last != made.old.run.metrics["loss"].last
    assert _files(project) == files
    assert [(one.run.id, one.state, one.unknown) for one in mlsdk.status(store=store)] == [(new.id, "up to date", ())]
    (old,) = mlsdk.status(made.old.run.id, store=store)
    every = mlsdk.status("experiment = 'churn'", store=store)
    assert (old.state, old.replaced_by) == ("replaced", new)
    assert [(one.run.id, one.state) for one in every] == [(new.id, "up to date"), (old.run.id, "replaced")]
    assert mlsdk.retrain(["churn", "experiment = 'churn'"], store=store) == ()


def test_a_pipeline(tmp_path: Path) -> None:
    """Parents come first, and what they make is the data of others; of a run that was made again the new one counts.

    Where the data come out the same nothing follows, and where they cannot be made what needs them is not made.
    """
    folder = make_pipeline(tmp_path / "project")
    store, prepare = folder / ".mlsdk", folder / "prepare.py"
    first = mlsdk.runs(experiment="features", store=store)[0]
    (folder / "raw.csv").write_text("x\n1\n2\n3\n")
    files = _files(folder)
    made = mlsdk.retrain("models", store=store)
    kept, states = _files(folder), [one.state for one in mlsdk.status(store=store)]
    replace(prepare, "def prepare(raw: Path):\n", "def prepare(raw: Path):\n    size = 3\n")
    same = mlsdk.retrain(["models", first], store=store)
    replace(prepare, "    size = 3\n", "    raise OSError('no room')\n")
    failed, skipped = mlsdk.retrain(["models", "features"], store=store)
    second, third = made[0].new, made[1].new
    assert second is not None
    assert third is not None

    assert [(one.old.run.experiment, one.problem) for one in made] == [("features", None), ("models", None)]
    assert third.metrics["size"].last == len("feature\n1\n2\n3\n")
    assert (kept, states) == (files, ["up to date", "up to date"])
    assert [(one.old.run, one.new is None, one.problem) for one in same] == [(second, False, None), (third, True, None)]
    assert "no room" in str(failed.problem)
    assert (skipped.new, skipped.problem) == (None, "what makes features.csv could not be made again")


def test_an_environment_that_is_none() -> None:
    """There is no environment but the present one and that of the lock."""
    with mlsdk.run("models", capture=()):
        pass

    with pytest.raises(UsageError, match="'fresh'"):
        mlsdk.retrain("models", env="fresh")  # type: ignore[arg-type]
