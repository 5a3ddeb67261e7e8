"""Data as they lie at their paths now: folders and patterns by their files, tables by what they say."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import mlsdk
from tests.stale import replace, start

PROGRAM = """
import csv
from pathlib import Path

import mlsdk

with mlsdk.run("parts", name="parts") as run:
    run.use_data("parts/*.csv", name="tables")
    run.use_data("images", name="images")
    run.use_data("one.csv", name="one")
    mlsdk.log(rows=sum(len(list(csv.reader(path.open()))) for path in sorted(Path("parts").glob("*.csv"))))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a pattern whose files it read, a folder that it did not look into, and a table."""
    folder = tmp_path_factory.mktemp("parts") / "project"
    for name in ("parts", "images"):
        (folder / name).mkdir(parents=True)
    for number in range(3):
        (folder / "parts" / f"{number}.csv").write_text(f"a,b\n{number},2\n3,4\n")
        (folder / "images" / f"{number}.png").write_bytes(bytes([number] * 9))
    (folder / "one.csv").write_text("a\n1\n2\n")
    (folder / "program.py").write_text(PROGRAM)
    start(folder, "program.py")
    return folder


def _write_again(folder: Path) -> None:
    (folder / "parts" / "1.csv").write_bytes(b'"a","b"\r\n"1","2"\r\n3,4\r\n')


def _change_and_erase(folder: Path) -> None:
    replace(folder / "one.csv", "2\n", "3\n")
    shutil.rmtree(folder / ".mlsdk" / "blobs")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_write_again, ()),
        (lambda folder: (folder / "parts" / "notes.txt").write_text("fits no pattern"), ()),
        (
            lambda folder: (_write_again(folder), replace(folder / "parts" / "2.csv", "3,4", "3,5")),
            ("data.tables: changed: 1.csv, 2.csv",),
        ),
        (
            lambda folder: (folder / "parts" / "9.csv").write_text("a,b\n"),
            ("data.tables: 4 files instead of 3 (added: 9.csv)",),
        ),
        (
            lambda folder: (_write_again(folder), (folder / "parts" / "0.csv").unlink()),
            ("data.tables: 2 files instead of 3 (removed: 0.csv; changed: 1.csv)",),
        ),
        (
            lambda folder: (folder / "images" / "1.png").rename(folder / "images" / "7.png"),
            ("data.images: added: 7.png; removed: 1.png",),
        ),
        (
            lambda folder: (folder / "one.csv").write_bytes(b"\0\1"),
            ("data.one: 2 bytes instead of 2 rows (it can no longer be read as a table)",),
        ),
        (_change_and_erase, ("data.one: what changed cannot be said: its fingerprint is not in the store",)),
    ],
    ids=["written again", "beside", "changed", "added", "removed", "renamed", "no table", "erased"],
)
def test_what_became_of_data(
    base: Path, tmp_path: Path, change: Callable[[Path], object], expected: tuple[str, ...]
) -> None:
    """Of files it is said which have changed; tables among them that say the same have not."""
    folder = Path(shutil.copytree(base, tmp_path / "it"))
    change(folder)
    (found,) = mlsdk.status(folder=folder, store=folder / ".mlsdk")

    assert found.lines == expected
    assert found.unknown == ()
