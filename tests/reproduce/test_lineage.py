"""Runs that made the data of others: which they are, and what becomes stale by them."""

from __future__ import annotations

from pathlib import Path

import pytest

import mlsdk
from tests.stale import copy_of, make_pipeline, start


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that makes features, and one that uses them."""
    return make_pipeline(tmp_path_factory.mktemp("pipeline") / "project")


def _states(folder: Path) -> dict[str, list[str]]:
    return {one.run.name: list(one.lines) for one in mlsdk.status(folder=folder, store=folder / ".mlsdk")}


def test_a_parent_that_is_stale(pipeline: Path, tmp_path: Path) -> None:
    """A run is stale by the run that made its data, as soon as that one would be made of something else."""
    folder = copy_of(pipeline, tmp_path / "it")
    before = _states(folder)
    (folder / "raw.csv").write_text("x\n1\n2\n3\n")
    after = _states(folder)
    (folder / "features.csv").unlink()  # the store has it: nobody needs it here

    assert before == {"prepare": [], "model": []}
    assert after["prepare"] == ["data.raw: 3 rows instead of 2 (1 added)"]
    (told,) = after["model"]
    assert told.startswith("features.csv: prepare")
    assert told.endswith("which made it, is stale itself: data.raw: 3 rows instead of 2 (1 added)")
    assert _states(folder) == after


@pytest.mark.slow
def test_a_parent_that_was_made_anew(pipeline: Path, tmp_path: Path) -> None:
    """A newer run of the same kind that made another artifact of the same name makes the run that used it stale."""
    folder = copy_of(pipeline, tmp_path / "it")
    (folder / "raw.csv").write_text("x\n1\n2\n3\n")
    start(folder, "prepare.py")
    states = _states(folder)

    assert states["prepare"] == []
    (told,) = states["model"]
    assert told.startswith("features.csv: prepare")
    assert told.endswith("has made another one since")


def test_makers_of_several_things(tmp_path: Path) -> None:
    """The newest run that made a thing of that name counts: one that made something else is none of it."""
    for name in ("train", "test"):
        with mlsdk.run("split", name=name, capture=("python", "process")) as run:
            run.log_artifact(f"data of {name}".encode(), name=f"{name}.txt")
    Path("train.txt").write_text("data of train")
    with mlsdk.run("model", name="model", capture=("python", "process")) as run:
        run.use_data("train.txt", name="train")
    (before,) = mlsdk.status("model")
    with mlsdk.run("split", name="train again", params={"seed": 2}, capture=("python", "process")) as run:
        run.log_artifact(b"other data", name="train.txt")
    (after,) = mlsdk.status("model")

    assert before.lines == ()
    assert [one.split(" (", 1)[0] for one in after.lines] == ["train.txt: train again"]
    assert after.lines[0].endswith(" has made another one since (seed = 2 instead of None)")


def test_what_was_passed_on_as_it_was(tmp_path: Path) -> None:
    """A copy that a run put elsewhere was made by it, even if its bytes are those that it read; the original was not.

    Of a chain the line names the run that is stale first.
    """
    captures = ("python", "process")
    Path("raw.csv").write_text("x\n1\n")
    with mlsdk.run("clean", name="clean", capture=captures) as run:
        run.use_data("raw.csv", name="raw")
        run.log_artifact("raw.csv", name="kept")
        Path("clean.csv").write_text(Path("raw.csv").read_text())
        run.log_artifact("clean.csv")
    with mlsdk.run("features", name="features", capture=captures) as run:
        run.use_data("clean.csv", name="data")
        run.log_artifact(b"features", name="features.txt")
    Path("features.txt").write_text("features")
    with mlsdk.run("model", name="model", capture=captures) as run:
        run.use_data("features.txt", name="data")
        run.use_data("raw.csv", name="test")
    before = [one.lines for one in mlsdk.status()]
    Path("raw.csv").write_text("x\n1\n2\n")
    model, features, clean = mlsdk.status()

    assert before == [(), (), ()]
    why = "data.raw: 6 bytes instead of 4 (other bytes)"
    assert clean.lines == (why,)
    assert [text.partition(" (")[2][11:] for text in features.lines] == [f"which made it, is stale itself: {why}"]
    assert model.lines[0].startswith("data.test: 6 bytes")
    assert model.lines[1].endswith(f"is stale itself: clean ({clean.run.short_id}): {why}")
