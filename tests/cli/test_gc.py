"""`gc`: what is erased, and above all what is not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import mlsdk
from mlsdk.cli.care import seconds
from mlsdk.errors import UsageError
from mlsdk.store import open_store
from mlsdk.store.layout import utc_day
from tests.cli.conftest import age

DAY_S = 86_400


def _blobs() -> set[str]:
    return set(open_store().blobs.list())


def _age_blobs() -> None:
    for folder, _, names in os.walk(".mlsdk/blobs"):
        for name in names:
            age(os.path.join(folder, name), 2 * DAY_S)


def _put(content: bytes) -> str:
    return open_store().blobs.put(content)[0]


def test_a_dry_run_changes_nothing(call, ask, runs):
    """A dry run says what would go, with its size, and touches nothing."""
    call("delete", "run-0")
    _put(b"nobody wants me")
    _age_blobs()
    before = {str(path): path.stat().st_size for path in Path(".mlsdk/runs").rglob("*")}
    found = ask("gc", "--dry-run", "--older-than", "0")

    assert [item["kind"] for item in found["erased"]] == ["run", "blob"]
    assert found["bytes"] > 0
    assert {str(path): path.stat().st_size for path in Path(".mlsdk/runs").rglob("*")} == before
    assert len(_blobs()) == 1


def test_a_deleted_run_is_erased_and_stays_known(call, ask, runs):
    """Of a deleted run one small log is left: it stays known as deleted, and cannot be restored."""
    call("delete", "run-0")
    ask("gc", "--older-than", "0")
    left = list(Path(".mlsdk/runs", runs[0]).iterdir())
    run = mlsdk.get_run(runs[0])
    content = b"".join(path.read_bytes() for path in left)

    assert len(left) == 1
    assert (run.deleted, run.erased, run.name, run.status.value) == (True, True, "run-0", "finished")
    assert (dict(run.params), dict(run.metrics), dict(run.tags)) == ({}, {}, {})
    assert b"vision" not in content
    assert [one["name"] for one in ask("ls")] == ["broken", "run-1"]
    assert "was erased" in call("undelete", runs[0])[2]
    assert ask("gc", "--older-than", "0")["erased"] == []
    assert ask("doctor")["findings"] == []


def test_no_copy_brings_an_erased_run_back(call, ask, runs):
    """Logs of an erased run that come back from elsewhere show nothing of it, in a catalog built anew either."""
    kept = {path: path.read_bytes() for path in Path(".mlsdk/runs", runs[0]).iterdir()}
    call("delete", "run-0")
    ask("gc", "--older-than", "0")
    for path, content in kept.items():
        path.write_bytes(content)
    call("reindex")
    run = mlsdk.get_run(runs[0])
    again = ask("gc", "--older-than", "0")

    assert (run.deleted, run.erased, dict(run.params)) == (True, True, {})
    assert [item["kind"] for item in again["erased"]] == ["run"]
    assert len(list(Path(".mlsdk/runs", runs[0]).iterdir())) == 1


def test_what_was_deleted_lately_stays(call, ask, runs):
    """A run deleted less than --older-than ago is kept, and that is said."""
    call("delete", "run-0")
    found = ask("gc")

    assert found["erased"] == []
    assert "was deleted only" in found["kept"][0]
    assert call("undelete", runs[0])[0] == 0


def test_a_live_run_is_not_erased(ask):
    """A deleted run whose process still writes is kept."""
    with mlsdk.run("live", name="alive") as run:
        mlsdk.edit(run.id).delete()
        found = ask("gc", "--older-than", "0")
        run.log(loss=1.0)

    assert found["erased"] == []
    assert "may still be written" in found["kept"][0]
    assert len(mlsdk.get_run(run.id).history("loss")) == 1


def test_references_are_counted(call, ask, tmp_path):
    """Artifacts, the files and the list of a folder, long values, and what only a deleted run refers to: all stay."""
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "a.txt").write_text("a", "utf-8")
    (tmp_path / "folder" / "sub" / "b.txt").write_text("b", "utf-8")
    with mlsdk.run("refs", name="one", params={"long": "x" * 100_000}) as run:
        run.log_artifact(b"weights", name="weights")
        run.log_artifact(tmp_path / "folder")
    with mlsdk.run("refs", name="two") as run:
        run.log_artifact(b"only here", name="mine")
    mlsdk.edit("two").delete()
    wanted = _blobs()
    orphan = _put(b"orphan")
    _age_blobs()
    found = ask("gc")

    assert [(item["kind"], item["name"]) for item in found["erased"]] == [("blob", orphan)]
    assert _blobs() == wanted
    with mlsdk.get_run("one").open("folder/sub/b.txt") as file:
        assert file.read() == b"b"
    assert len(wanted) == 6


def test_a_folder_of_many_files(ask, tmp_path):
    """A folder of so many files that their list is long can be found and opened, whatever they are called."""
    (tmp_path / "many").mkdir()
    for i in range(700):
        (tmp_path / "many" / f"password of user number {i}.txt").write_text(str(i), "utf-8")
    with mlsdk.run("refs", name="one") as run:
        run.log_artifact(tmp_path / "many")
    _age_blobs()
    found = ask("gc")

    assert found["erased"] == []
    with mlsdk.get_run("one").open("many/password of user number 7.txt") as file:
        assert file.read() == b"7"


def test_shared_content_goes_with_its_last_run(ask, call):
    """Bytes that two runs refer to stay until both are erased."""
    for name in ("one", "two"):
        with mlsdk.run("shared", name=name) as run:
            run.log_artifact(b"the same", name="weights")
    _age_blobs()
    left = []
    for run in [mlsdk.get_run("one").id, mlsdk.get_run("two").id]:
        call("delete", run)
        ask("gc", "--older-than", "0")
        left.append(len(_blobs()))

    assert left == [1, 0]


def test_a_manifest_refers_to_its_files(ask):
    """A blob that is a list keeps what it lists, though no log names that."""
    inside = _put(b"deep inside")
    with mlsdk.run("refs") as run:
        run.log_artifact(b'{"files": {"x": "' + inside.encode() + b'"}}', name="manifest")
    _age_blobs()
    ask("gc")

    assert inside in _blobs()


def test_young_blobs_stay(ask, runs):
    """A blob younger than --older-than stays, as does one that is put again; while a run lives, a day is the least."""
    young = _put(b"young")
    first = ask("gc")["erased"]
    with mlsdk.run("live"):
        second = ask("gc", "--older-than", "0")["erased"]
    _age_blobs()
    _put(b"young")
    third = ask("gc")["erased"]

    assert first == second == third == []
    assert ask("gc", "--older-than", "0")["erased"] == [{"kind": "blob", "name": young, "size_bytes": 5}]


def test_an_unreadable_log_keeps_all_blobs(ask, call, runs):
    """Where a log cannot be read, no blob goes: it may be the one that names it."""
    call("seal", "run-0")
    sealed = next(Path(".mlsdk/runs", runs[0]).glob("*.seal"))
    sealed.write_bytes(b"rubbish")
    _put(b"orphan")
    _age_blobs()
    found = ask("gc")

    assert found["erased"] == []
    assert "cannot be read" in found["kept"][0]


def test_old_markers_go_once_they_were_read(ask, runs):
    """Folders of markers older than thirty days go; newer ones stay, and nothing is forgotten by it."""
    today = utc_day(time.time())
    old = utc_day(time.time() - 40 * DAY_S)
    ask("ls")
    os.rename(f".mlsdk/closed/{today}", f".mlsdk/closed/{old}")
    found = ask("gc")

    assert [(item["kind"], item["name"]) for item in found["erased"]] == [("markers", old)]
    assert os.listdir(".mlsdk/closed") == []
    assert len(ask("ls")) == 3
    assert len(ask("ls", "--store", ".mlsdk")) == 3


@pytest.mark.parametrize(("text", "wanted"), [("0", 0), ("90s", 90), ("1.5h", 5400), ("1d", 86_400), ("2w", 1_209_600)])
def test_ages(text, wanted):
    """Ages are numbers with a unit."""
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "d", "-1d", "1 year", "nan"])
def test_wrong_ages(text):
    """Anything else is refused with an example."""
    with pytest.raises(UsageError, match="such as 12h"):
        seconds(text)
