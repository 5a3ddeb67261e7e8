"""`mlsdk/companion/data.py` and `mlsdk/capture/datasets.py`: the data sets of a run, in memory and in files."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mlsdk
from mlsdk.capture.datasets import is_data, pending
from mlsdk.data import files, listing
from mlsdk.errors import UsageError
from mlsdk.log.values import encode
from tests import programs

FEW = {"MLSDK_CAPTURE": "process"}
"""Nothing is asked of the other captures here."""


@pytest.fixture(autouse=True)
def _few_captures(_own_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FEW.items():
        monkeypatch.setenv(name, value)


def _iris() -> pd.DataFrame:
    """A table of 150 rows, with numbers and texts."""
    names = ("setosa", "versicolor", "virginica")
    return pd.DataFrame(
        {
            **{
                name: np.arange(150.0) * factor % 7
                for name, factor in (("a", 0.5), ("b", 1.25), ("c", 3.0), ("d", 0.1))
            },
            "target": np.repeat(names, 50),
        }
    )


def test_arguments_that_are_data() -> None:
    """Frames, arrays and paths among the arguments become data sets of the run, with their fingerprints of before."""
    frame = _iris()
    frame.to_csv("iris.csv", index=False)

    @mlsdk.track
    def train(table: pd.DataFrame, weights: np.ndarray, file: Path, text: str, lr: float = 0.1) -> None:
        table.iloc[0, 0] = 99.0  # what the body does to its data is not what it was given

    before = mlsdk.fingerprint(frame)
    train(frame, np.ones(3), Path("iris.csv"), "iris.csv")
    run = mlsdk.get_run("latest")

    assert sorted(run.datasets) == ["file", "table", "weights"]
    assert run.datasets["table"].fingerprint == before.id
    assert (run.datasets["table"].rows, run.datasets["table"].columns) == (150, 5)
    assert mlsdk.fingerprint(run.datasets["table"]).compare(mlsdk.fingerprint(frame)).changed_rows == 1
    assert len(mlsdk.runs("data.table.rows = 150 and data.weights.rows < 10")) == 1


def test_what_is_data() -> None:
    """Plain values, text and folders are not taken for data."""
    Path("a.csv").write_text("a\n1\n")

    assert not any(map(is_data, (1, "a.csv", [1, 2], {"a": 1}, None, Path(), Path("missing.csv"), np.float64(1))))
    assert all(map(is_data, (Path("a.csv"), np.ones(2), pd.DataFrame(), pd.Series([1]))))


def test_files_are_read_beside() -> None:
    """A file named as data, in the middle of a run too, gets bytes and content; equal content has one fingerprint."""
    frame = _iris()
    frame.to_csv("iris.csv", index=False)
    frame.to_parquet("iris.parquet")
    programs.execute(
        """
        import time
        @mlsdk.track(data="path", name="it")
        def train(path):
            mlsdk.log(loss=1.0)
            time.sleep(0.3)
            mlsdk.current_run().use_data("iris.parquet", name="later")
        train("iris.csv")
        """,
        **FEW,
    )
    found = mlsdk.get_run(mlsdk.runs()[0].id).datasets

    assert found["path"].digest == hashlib.sha256(Path("iris.csv").read_bytes()).hexdigest()
    assert found["path"].fingerprint == found["later"].fingerprint == mlsdk.fingerprint(frame).id
    assert found["path"].digest != found["later"].digest
    assert mlsdk.fingerprint(found["path"]).compare(mlsdk.fingerprint("iris.csv")).level == "same bytes"


def test_a_file_that_was_changed_meanwhile() -> None:
    """What was changed after it was named is not claimed, and the run says so."""
    Path("a.csv").write_text("a\n" + "1\n" * 1_000_000)
    programs.execute(
        """
        with mlsdk.run(name="it") as run:
            run.use_data("a.csv")
            with open("a.csv", "a") as file:
                file.write("2\\n")
        """,
        **FEW,
    )
    found = mlsdk.get_run("it").datasets["a.csv"]

    assert "changed after the run named it" in str(found.note)
    assert (found.fingerprint, found.digest) == (None, None)


@pytest.mark.parametrize("store", ["memory:data", "files"])
def test_without_a_companion(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no companion the files are read all the same: at once, or when the run ends."""
    monkeypatch.setenv("MLSDK_COMPANION", "0")
    Path("a.csv").write_text("a,b\n1,x\n2,y\n")
    Path("folder").mkdir()
    Path("folder/b.bin").write_bytes(b"\0\1")
    with mlsdk.run("it", store=store) as run:
        run.use_data("a.csv")
        run.use_data("folder")
        run.use_data(os.path.join("folder", "*.bin"), name="pattern")
    found = mlsdk.runs(store=store)[0].datasets

    assert found["a.csv"].rows == 2
    assert found["a.csv"].fingerprint == mlsdk.fingerprint("a.csv").id
    assert found["folder"].rows == found["pattern"].rows == 1


def test_a_fingerprint_taken_before() -> None:
    """A fingerprint can be handed over: of a query, with a key, rounded."""
    with sqlite3.connect("a.db") as connection:
        connection.execute("create table t (id integer, x real)")
        connection.executemany("insert into t values (?, ?)", [(1, 0.5), (2, 0.25)])
    taken = mlsdk.fingerprint("a.db", query="select * from t order by id", key="id")
    connection.close()
    with mlsdk.run("it") as run:
        run.use_data(taken, name="rows")
    found = mlsdk.get_run(run.id).datasets["rows"]

    assert (found.fingerprint, found.rows) == (taken.id, 2)
    assert mlsdk.fingerprint(found).key == ("id",)


def test_what_cannot_be_read() -> None:
    """An object that is no data, a file that is gone, data beyond the limit: described, noted, never an error."""
    Path("a.bin").write_bytes(bytes(2_000_000))
    with mlsdk.run("it") as run:
        run.use_data(object(), name="thing")
        mlsdk.configure(capture_limit_s=0.001)
        run.use_data(np.zeros(1_000_000), name="large")
        mlsdk.configure(capture_limit_s=None)
    programs.execute(
        """
        import os
        with mlsdk.run(name="other") as run:
            run.use_data("a.bin")
            os.unlink("a.bin")
        """,
        **FEW,
    )
    found = mlsdk.get_run(run.id).datasets

    assert found["thing"].fingerprint is None
    assert "no data that can be fingerprinted" in str(found["thing"].note)
    assert "8,000,000 bytes may take more than" in str(found["large"].note)
    assert programs.eventually(lambda: "could not be read" in str(mlsdk.get_run("other").datasets["a.bin"].note))


def test_data_of_unknown_size_are_read_within_the_limit() -> None:
    """Rows that take long to make, and frames that do not say how large they are, are given up when time is over."""
    asked = []

    class Slow:
        def __len__(self):
            return 10_000

        def __getitem__(self, place):
            asked.append(place)
            time.sleep(0.001)
            return place, place

    with mlsdk.run("it") as run:
        mlsdk.configure(capture_limit_s=0.02)
        run.use_data(Slow(), name="slow")
        mlsdk.configure(capture_limit_s=0.0001)
        run.use_data(pd.DataFrame({"a": np.zeros(1_000_000)}), name="frame")
        mlsdk.configure(capture_limit_s=None)
    found = mlsdk.get_run(run.id).datasets

    assert len(asked) < 1000
    assert found["slow"].note == "not read to its end: that takes more than 0.02 s"
    assert (found["frame"].fingerprint, found["slow"].fingerprint) == (None, None)


def test_an_input_that_is_written_to_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """An observed file of which no digest holds is noted, and the facts of the others come all the same."""
    from mlsdk.companion.data import Reading

    Path("log.txt").write_text("a")
    Path("fine.txt").write_text("b")

    def note_of(path: str, *_: object) -> listing.Note:
        if path.endswith("log.txt"):
            raise UsageError("changed while it was read")
        return listing.hash_file(path)

    assert files.note_of is listing.note_of  # imported before it is replaced: it would keep what it finds
    monkeypatch.setattr(listing, "note_of", note_of)
    reading = Reading(lambda data: ("", 0), "cache/data")
    reading.ask({"inputs": {name: encode({**pending(name)}) for name in ("log.txt", "fine.txt")}})
    found = reading.done(wait=True)["inputs"]

    assert "changed while it was read" in str(found["log.txt"]["note"])
    assert found["fine.txt"]["digest"] == hashlib.sha256(b"b").hexdigest()


def test_a_file_read_before_costs_little() -> None:
    """A data set whose file is unchanged is known from the last time, also to another companion."""
    Path("a.csv").write_text("a\n" + "1\n" * 500_000)
    code = """
        with mlsdk.run() as run:
            run.use_data("a.csv")
        """
    os.utime("a.csv", (time.time() - 10, time.time() - 10))
    programs.execute(code, **FEW)
    programs.execute(code, **FEW)
    first, second = (run.datasets["a.csv"] for run in mlsdk.runs())

    assert first.fingerprint == second.fingerprint is not None
    assert any(Path(".mlsdk/cache/data").iterdir())
