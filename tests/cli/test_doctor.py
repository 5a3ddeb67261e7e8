"""`doctor`: each kind of damage is found, said in a line, and mended without losing content."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mlsdk
from mlsdk.log.frames import Frame, frames
from mlsdk.log.identity import writer_identity
from mlsdk.store import mending, open_store
from mlsdk.store.layout import Layout, utc_day
from mlsdk.testing import MadeLog
from tests.cli.conftest import age
from tests.conftest import ROOT


def _log(run: str) -> Path:
    """The main log of a run: the one with the points."""
    return max(Path(".mlsdk/runs", run).glob("*.log"), key=lambda path: path.stat().st_size)


def _kinds(ask, *words: str) -> list[str]:
    return [finding["kind"] for finding in ask("doctor", *words)["findings"]]


def _mended(ask) -> list[str]:
    return [finding["kind"] for finding in ask("doctor", "--fix")["mended"]]


@pytest.fixture
def dead() -> tuple[str, Path]:
    """A run whose process died without a word: its id and its log, with the allocated space behind it."""
    code = (
        "import mlsdk, os\n"
        "run = mlsdk.run('dead', name='dead')\n"
        "for step in range(20): run.log(loss=1.0)\n"
        "print(run.id, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    run = done.stdout.strip()
    for folder, _, names in os.walk(".mlsdk"):
        for name in names:
            age(os.path.join(folder, name))
    return run, _log(run)


def test_a_sound_store(call, runs):
    """A store in order has no findings, and the exit code says so; deep looks agree."""
    code, out, _ = call("doctor")

    assert code == 0
    assert "all is well with 3 runs" in out
    assert call("doctor", "--deep")[0] == 0
    assert call("doctor", "--fix")[0] == 0


def test_a_live_run_is_no_finding(ask):
    """A run that is being written is left alone, whatever its log looks like, and mending does not touch it."""
    with mlsdk.run("live") as run:
        run.log(loss=1.0)
        log = next(Path(".mlsdk/runs", run.id).glob("*.log"))
        size = log.stat().st_size
        age(str(log))
        found = ask("doctor", "--fix")
        run.log(loss=2.0)

        assert found == {"findings": [], "mended": []}
        assert log.stat().st_size == size

    assert list(mlsdk.get_run(run.id).history("loss").values) == [1.0, 2.0]


def test_what_a_dead_process_leaves(ask, call, dead):
    """Allocated space and the markers of a killed run are found and given back; no point is lost, it reads killed."""
    run, log = dead
    size = log.stat().st_size
    code, out, _ = call("doctor")
    _mended(ask)

    assert code == 1
    assert "oversized" in out
    assert "stale" in out
    assert _kinds(ask) == []
    assert log.stat().st_size < size
    assert not Path(".mlsdk/mended").exists()
    assert os.listdir(".mlsdk/open") == []
    assert mlsdk.get_run(run).metrics["loss"].count == 20
    assert mlsdk.get_run(run).status.value == "killed"
    assert any(problem.kind == "companion" for problem in mlsdk.get_run(run).problems)


def test_a_torn_log(ask, dead):
    """A frame that was cut off is taken off the log, kept aside, and what stands before is all there."""
    run, log = dead
    whole = log.read_bytes().rstrip(b"\0")
    log.write_bytes(whole + b"\x20\0\0\0\x04half")
    age(str(log))
    before = _kinds(ask)
    mended = _mended(ask)
    aside = [path.read_bytes() for path in Path(".mlsdk/mended").iterdir()]

    assert "torn" in before
    assert "torn" in mended
    assert _kinds(ask) == []
    assert aside == [whole + b"\x20\0\0\0\x04half"]
    assert mlsdk.get_run(run).metrics["loss"].count == 20


def test_damage_in_the_middle(ask, runs):
    """Bytes that are no frame are found; mending goes on with the rest and keeps the file as it was."""
    log = _log(runs[0])
    raw = log.read_bytes()
    victim = [frame for frame in frames(raw) if isinstance(frame, Frame)][20]
    broken = raw[: victim.start] + b"\xff" * (victim.end - victim.start) + raw[victim.end :]
    log.write_bytes(broken)
    before = ask("doctor")["findings"]
    mended = _mended(ask)
    aside = [path.read_bytes() for path in Path(".mlsdk/mended").iterdir()]
    open_store().catalog.discard()

    assert before[0]["kind"] == "damaged"
    assert f"{victim.end - victim.start} bytes" in before[0]["message"]
    assert "damaged" in mended
    assert aside == [broken]
    assert len(mlsdk.get_run(runs[0]).history("loss")) == 39
    assert _kinds(ask) == []


def test_a_log_without_a_frame(ask, runs):
    """A file in which nothing can be read is put aside."""
    empty = Path(".mlsdk/runs", runs[0], "0" * 32 + ".log")
    empty.write_bytes(b"not a log at all")
    age(str(empty))

    assert _kinds(ask)[0] == "empty"
    assert "empty" in _mended(ask)
    assert not empty.exists()
    assert next(Path(".mlsdk/mended").iterdir()).read_bytes() == b"not a log at all"


def test_a_lost_log(ask, call, runs):
    """A run that was copied into the folder without its markers gets them, so that every catalog sees it."""
    ask("ls")
    os.rename(f".mlsdk/runs/{runs[0]}", "away")
    for marker in Path(".mlsdk/closed").rglob(f"{runs[0]}.*"):
        marker.unlink()
    open_store().catalog.forget(runs[0])
    os.rename("away", f".mlsdk/runs/{runs[0]}")
    for path in Path(".mlsdk/runs", runs[0]).iterdir():
        age(str(path), 120)
    before = _kinds(ask)
    mended = _mended(ask)

    assert "lost" in before
    assert "lost" in mended
    assert len(ask("ls")) == 3
    assert list(Path(".mlsdk/closed", utc_day(time.time())).glob(f"{runs[0]}.*"))


def test_markers_of_nothing(ask, runs):
    """A marker in open/ of a log that is not there is removed; one of a closed log is moved."""
    layout = Layout(os.path.abspath(".mlsdk"))
    log = _log(runs[0]).stem
    Path(layout.open, f"{runs[0]}.{log}").touch()
    Path(layout.open, f"{'0' * 32}.{'1' * 32}").touch()
    for marker in Path(layout.open).iterdir():
        age(str(marker))

    assert _kinds(ask) == ["stale", "stale"]
    assert _mended(ask) == ["stale", "stale"]
    assert os.listdir(layout.open) == []
    assert _kinds(ask) == []


def test_leftover_files(ask, runs):
    """Temporary files of dead processes are removed; young ones may be at work."""
    old, young = Path(".mlsdk/blobs/.1-ab.part"), Path(".mlsdk/runs", runs[0], "x.seal.1-ab.part")
    for path in (old, young):
        path.write_bytes(b"x")
    age(str(old))

    assert _kinds(ask) == ["leftover"]
    assert _mended(ask) == ["leftover"]
    assert (old.exists(), young.exists()) == (False, True)


def test_missing_and_damaged_blobs(ask, call):
    """Bytes of an artifact that are gone or changed are named; a damaged file makes room for the right one."""
    with mlsdk.run("blobs", name="one") as run:
        run.log_artifact(b"good", name="kept")
        run.log_artifact(b"gone", name="lost")
    store = open_store()
    digests = {name: found.digest for name, found in mlsdk.get_run("one").artifacts.items()}
    store.blobs.delete(digests["lost"])
    Path(".mlsdk/blobs", digests["kept"][:2], digests["kept"]).write_bytes(b"evil")
    quick, deep = _kinds(ask), _kinds(ask, "--deep")
    code, out, _ = call("doctor")
    ask("doctor", "--deep", "--fix")
    store.blobs.put(b"good")
    store.blobs.put(b"gone")

    assert quick == ["missing"]
    assert sorted(deep) == ["damaged", "missing"]
    assert code == 1
    assert f"artifact lost are gone; put blobs/{digests['lost'][:2]}/{digests['lost']}" in out
    assert _kinds(ask, "--deep") == []


def test_missing_long_value(ask):
    """A value that was too long for a fact is looked for too."""
    with mlsdk.run("blobs", params={"long": "x" * 100_000}):
        pass
    for digest in list(open_store().blobs.list()):
        open_store().blobs.delete(digest)

    assert "params long" in ask("doctor")["findings"][0]["message"]


def test_a_damaged_catalog(ask, call, runs):
    """A catalog that is no database is said to be a cache, and built anew."""
    ask("ls")
    open_store().catalog.close()
    Path(".mlsdk/catalog.db").write_bytes(b"rubbish" * 1000)
    found = ask("doctor")["findings"]
    mended = _mended(ask)

    assert [(finding["kind"], "damaged" in finding["message"]) for finding in found] == [("catalog", True)]
    assert mended == ["catalog"]
    assert len(ask("ls")) == 3


def test_a_catalog_out_of_step(ask, runs):
    """A catalog that knows runs which are not there, or says something else than the logs, is built anew."""
    ask("ls")
    os.rename(f".mlsdk/runs/{runs[2]}", "away")
    gone = ask("doctor")["findings"]
    mended = _mended(ask)
    open_store().catalog.close()
    with sqlite3.connect(".mlsdk/catalog.db") as db:
        for _, column, kind, *_ in db.execute("PRAGMA table_info(runs)").fetchall():
            if kind == "TEXT" and column != "id":
                db.execute(f"UPDATE runs SET {column} = replace({column}, 'run-0', 'run-9')")
    db.close()
    for path in Path(".mlsdk/runs").rglob("*.log"):
        age(str(path), 120)
    different = ask("doctor", "--deep")["findings"]

    assert "runs without logs" in gone[0]["message"]
    assert "catalog" in mended
    assert "1 runs other than their logs say" in different[0]["message"]
    assert _kinds(ask) == []


def test_reindex(call, ask, runs):
    """`reindex` builds a catalog that says the same."""
    before = ask("ls")
    said = ask("reindex")

    assert said["runs"] == 3
    assert ask("ls") == before
    assert call("reindex")[1].startswith("3 runs from ")


def test_raw_and_sealed(ask, call, runs):
    """A log that is there twice, because sealing was interrupted, is kept once."""
    log = _log(runs[0])
    raw = log.read_bytes()
    call("seal", "run-0")
    log.write_bytes(raw)
    age(str(log))

    assert "double" in _kinds(ask)
    assert "double" in _mended(ask)
    assert log.read_bytes() == raw
    assert not log.with_suffix(".seal").exists()


def test_a_damaged_seal(ask, call, runs):
    """A sealed log that cannot be read stays a finding: only a copy helps."""
    call("seal", "run-0")
    sealed = next(Path(".mlsdk/runs", runs[0]).glob("*.seal"))
    sealed.write_bytes(sealed.read_bytes()[:-20])
    found = ask("doctor", "--fix")["findings"]

    assert "damaged" in [finding["kind"] for finding in found]
    assert any("from a copy" in finding["advice"] for finding in found)


def test_a_log_of_a_newer_mlsdk(ask, runs):
    """A log in a newer format is named, not touched."""
    from mlsdk.log.frames import OPEN, encode

    newer = Path(".mlsdk/runs", runs[0], "f" * 32 + ".log")
    newer.write_bytes(encode(OPEN, 0, b'{"format": 99, "log": "x"}'))
    age(str(newer))
    found = ask("doctor", "--fix")["findings"]

    assert "newer" in [finding["kind"] for finding in found]
    assert newer.exists()


def test_mending_that_fails_is_said(ask, call, runs, monkeypatch):
    """What cannot be mended stays a finding, with the reason."""
    log = _log(runs[0])
    log.write_bytes(log.read_bytes() + b"\0" * 100)
    age(str(log))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mending, "cut", full)
    code, out, _ = call("doctor", "--fix")

    assert code == 1
    assert "No space left on device" in out
    assert "1 finding left" in out


def test_a_schema_at_the_end_stays(ask):
    """Of a log that ends with a schema, because its writer died before the point, only what is no frame is cut."""
    log = MadeLog(identity={**writer_identity(), "pid": 2**22 + 1}).points(["a"], [(0, 1.0)])
    whole = log.data[: log.borders[-2]]  # without the points
    path = Path(Layout(".mlsdk").log_path(log.name))
    Layout(".mlsdk").make()
    path.parent.mkdir()
    path.write_bytes(whole + b"torn")
    age(str(path))
    mended = _mended(ask)

    assert "torn" in mended
    assert path.read_bytes() == whole
