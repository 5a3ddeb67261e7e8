"""`mlsdk/capture/listed.py`: in which order the folders lay that a run listed."""

from __future__ import annotations

import glob
import importlib
import os
import sys
from pathlib import Path

import pytest

import mlsdk
from mlsdk.capture import listed


@pytest.fixture(autouse=True)
def _alone(_own_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSDK_COMPANION", "0")
    monkeypatch.setenv("MLSDK_CAPTURE", "listings")


def _folder(name: str, files: int = 3) -> list[str]:
    """A folder of files; their names in the order of the system."""
    Path(name).mkdir(parents=True)
    for number in range(files):
        Path(f"{name}/{number}.txt").touch()
    return os.listdir(name)


def _found(run: mlsdk.ActiveRun) -> dict[str, object]:
    found = mlsdk.get_run(run.id).code.get("listings", {})
    assert isinstance(found, dict)
    return found


def test_every_way_to_list() -> None:
    """What lists a folder through Python is seen, once, with the names in the order in which the system gives them."""
    ways = {"a": os.listdir, "b": os.scandir, "c": lambda name: glob.glob(f"{name}/*.txt"), "d": os.walk}
    orders = {name: _folder(name) for name in [*ways, "e", "f/deep"]}
    with mlsdk.run() as run:
        for name, way in ways.items():
            list(way(name))
            list(way(name))
        list(Path("e").iterdir())
        os.listdir(os.path.abspath("f/deep").encode())
    found = _found(run)

    assert found == orders


def test_the_working_folder(tmp_path: Path) -> None:
    """The working folder is `.`; what lies elsewhere has its whole path; no store is in them, nor bytecode."""
    elsewhere = Path(f"{tmp_path}-else")
    _folder(str(elsewhere))
    _folder("data")
    Path("__pycache__").mkdir()
    with mlsdk.run() as run:
        os.listdir()
        os.listdir(elsewhere)
    Path("x.py").touch()
    found = _found(run)

    assert found.keys() == {str(elsewhere)}  # in the working folder nothing but `data` counts, and one has one order


def test_what_is_left_out() -> None:
    """Nothing is told of what is imported, of the interpreter's folders, of files that the run wrote, of one name."""
    _folder("one", 1)
    Path("made").mkdir()
    Path("pack").mkdir()
    for name in ("__init__", "first", "second"):
        Path(f"pack/{name}.py").touch()
    sys.path.insert(0, os.getcwd())
    try:
        with mlsdk.run() as run:
            importlib.import_module("pack.first")
            os.listdir(sys.prefix)
            os.listdir("one")
            for number in range(3):
                Path(f"made/{number}").write_text("x")
            os.listdir("made")
            with pytest.raises(FileNotFoundError):
                os.listdir("gone")
    finally:
        sys.path.remove(os.getcwd())

    assert _found(run) == {}


def test_large_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many names a number and a digest of their order are kept; of very many, those of the first."""
    _folder("large", listed.MOST_NAMES + 1)
    with mlsdk.run() as run:
        os.listdir("large")
    monkeypatch.setattr(listed, "MOST_LOOKED_AT", 205)
    _folder("huge", 300)
    with mlsdk.run() as second:
        os.listdir("huge")
    order, first = str(_found(run)["large"]), str(_found(second)["huge"])

    assert order.startswith("201 names, sha256 ")
    assert first.startswith("the first 205 names, sha256 ")


def test_many_folders() -> None:
    """Of more than a hundred folders the first are kept."""
    for number in range(listed.MOST_FOLDERS + 5):
        _folder(f"data/{number}", 2)
    with mlsdk.run() as run:
        for number in range(listed.MOST_FOLDERS + 5):
            os.listdir(f"data/{number}")

    assert len(_found(run)) == listed.MOST_FOLDERS


def test_not_asked_for() -> None:
    """A run whose captures do not name it keeps no listings."""
    _folder("data")
    with mlsdk.run(capture="python") as run:
        os.listdir("data")

    assert _found(run) == {}
