"""Finding what is new by the markers: two catalogs on one store, days, clocks, markers and logs without each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlsdk.log.ids import new_id
from mlsdk.store import markers
from mlsdk.store.base import open_file
from mlsdk.store.layout import utc_day
from mlsdk.store.target import FileTarget
from mlsdk.store.writer import LogWriter
from mlsdk.testing import MadeLog
from tests.conftest import ROOT

DAY_S = 86_400


def target() -> FileTarget:
    return FileTarget("file:store", os.path.abspath("store"))


def short_run(name: str = "a", run: str | None = None) -> str:
    """Write a whole run as a process would, quickly; returns its id."""
    writer = LogWriter(target(), run or new_id(), "main")
    writer.announce()
    writer.facts({"run": {"name": name, "status": "finished", "ended_ns": time.time_ns()}})
    writer.close()
    return writer.run


def names(store) -> list[str]:
    return sorted(run.name for run in store.find().runs)


def another(number: int = 2):
    """A catalog of its own on the same store."""
    return open_file("file:store", catalog=os.path.abspath(f"catalog-{number}.db"))


WRITER = """
import os, sys, time
from mlsdk.log.ids import new_id
from mlsdk.store.target import FileTarget
from mlsdk.store.writer import LogWriter
target = FileTarget("file:store", os.path.abspath("store"))
for number in range(int(sys.argv[1])):
    writer = LogWriter(target, new_id(), "main")
    writer.announce()
    writer.facts({"run": {"name": str(number), "status": "finished", "ended_ns": time.time_ns()}})
    writer.close()
"""

READER = """
import sys, time
from mlsdk.store.base import open_file
store = open_file("file:store", catalog=sys.argv[1])
until, most = time.monotonic() + 100, 0
while most < int(sys.argv[2]) and time.monotonic() < until:
    store.refresh()
    found = store.catalog.count()
    assert found >= most
    most = found
print(most, len(store.find().runs), {run.status.value for run in store.find().runs})
"""


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.slow
def test_two_catalogs_while_runs_come_and_go() -> None:
    """Two readers with catalogs of their own, and one that comes late, find every one of 2,400 short runs."""
    target()
    readers = [python(READER, os.path.abspath(f"{number}.db"), 2_400) for number in range(2)]
    writers = [python(WRITER, 1_200) for _ in range(2)]
    ended = [writer.communicate(timeout=100)[0] or writer.returncode for writer in writers]
    found = [reader.communicate(timeout=110)[0].split(" ", 2) for reader in readers]
    late = open_file("file:store")

    assert ended == [0, 0]
    assert found == [["2400", "2400", "{'finished'}\n"]] * 2
    assert len(late.find().runs) == 2_400
    assert os.listdir("store/open") == []


def test_a_closed_log_is_found_at_once() -> None:
    """Runs that begin and end between two looks are all found, however quickly one look follows the other."""
    store, other = open_file("file:store"), another()
    for number in range(30):
        short_run(f"{number:02}")

        assert len(names(store)) == number + 1
        assert number % 7 or len(names(other)) == number + 1


def test_a_log_is_read_on_while_it_is_open() -> None:
    """What an open log says is seen at the next look; when it closes, its end is not missed."""
    writer = LogWriter(target(), new_id(), "main")
    writer.facts({"run": {"name": "a", "status": "running"}, "params": {"lr": 1}})
    writer.announce()
    store = open_file("file:store")
    seen = [store.find().runs[0].params]
    writer.facts({"params": {"lr": 2}})
    seen.append(store.find().runs[0].params)
    writer.facts({"params": {"lr": 3}, "run": {"status": "finished"}})
    writer.close()

    assert [*seen, store.find().runs[0].params] == [{"lr": 1}, {"lr": 2}, {"lr": 3}]
    assert store.find().runs[0].status == "finished"


def test_a_log_met_before_its_marker() -> None:
    """A log that a new catalog meets in the moment before it is announced is read on afterwards."""
    writer = LogWriter(target(), new_id(), "main")
    writer.facts({"run": {"name": "a", "status": "running"}})
    store = open_file("file:store")
    early = names(store)
    writer.announce()
    writer.facts({"run": {"name": "b"}})
    between = names(store)
    writer.facts({"run": {"name": "c"}})
    writer.close()

    assert [early, between, names(store)] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize("days", [-400, -2, -1, 1, 3, 400])
def test_clocks_of_writers_may_be_wrong(days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer whose clock is wrong by days puts its marker into another day's folder: it is found all the same."""
    store = open_file("file:store")
    short_run("right")
    names(store)
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + days * DAY_S)
        short_run("wrong")
        folders = sorted(os.listdir("store/closed"))
        second = another()

    assert len(folders) == 2
    assert names(store) == names(second) == ["right", "wrong"]
    short_run("later")
    assert names(store) == names(second) == ["later", "right", "wrong"]


def test_the_border_of_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that begin before midnight and end after it, and looks on both sides, miss nothing."""
    midnight = 1_800_000_000 // DAY_S * DAY_S
    clock = [midnight - 1.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    store = open_file("file:store")
    short_run("before")
    writer = LogWriter(target(), new_id(), "main")
    writer.announce()
    writer.facts({"run": {"name": "across", "status": "running"}})
    first = names(store)
    clock[0] = midnight + 1.0
    writer.close()
    short_run("after")

    assert first == ["across", "before"]
    assert names(store) == ["across", "after", "before"]
    assert sorted(os.listdir("store/closed")) == [utc_day(midnight - 1), utc_day(midnight)]


def test_a_catalog_older_than_the_oldest_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog whose last look was before the oldest folder of markers that is kept looks at every log."""
    store = open_file("file:store")
    short_run("first")
    names(store)
    short_run("second")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 50 * DAY_S)
    for day in os.listdir("store/closed"):
        for marker in os.listdir(f"store/closed/{day}"):
            os.unlink(f"store/closed/{day}/{marker}")
        os.rmdir(f"store/closed/{day}")
    short_run("third")

    assert names(store) == ["first", "second", "third"]


def test_folders_whose_time_does_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the times of folders are coarse, a log that closes right after a look is found by the next one."""
    target()
    day = f"store/closed/{utc_day(time.time())}"
    os.makedirs(day)
    store = open_file("file:store")
    for number in range(5):
        short_run(f"{number}")
        os.utime(day, (1_000_000_000, 1_000_000_000))

        assert len(names(store)) == number + 1


def test_a_quiet_folder_is_not_listed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a folder has not changed for a while it is not read: a look then costs nothing for old runs."""
    store = open_file("file:store")
    short_run("a")
    names(store)
    real, listed = time.time, []

    def noting(read):
        def noted(folder: str):
            listed.append(os.path.basename(folder))
            return read(folder)

        return noted

    monkeypatch.setattr(markers, "_names", noting(markers._names))
    monkeypatch.setattr(markers, "_numbered", noting(markers._numbered))
    monkeypatch.setattr(time, "time", lambda: real() + 10)
    names(store)
    first, listed[:] = listed[:], []
    names(store)

    assert first == ["open", "closed", utc_day(real())]
    assert listed == ["open", "closed"]


def test_markers_without_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A marker without its log hides nothing; for a while the log may come, as on a network file system."""
    store = open_file("file:store")
    run, late = new_id(), MadeLog()
    target().announce(run, new_id())
    target().retire(run, new_id())
    target().retire(*late.name.split("/")[1:])
    open("store/open/what is this", "w").close()
    open("store/closed/a file", "w").close()
    short_run("a")
    before = names(store)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 60)
    late.facts({"run": {"name": "late"}})
    store.logs.append(late.name, 0, late.data)
    after = names(store)
    monkeypatch.setattr(time, "time", lambda: real() + 600)
    names(store)
    remembered = json.loads(store.catalog.memo("looked"))["days"]

    assert (before, after) == (["a"], ["a", "late"])
    assert all(settled for _, _, settled in remembered.values())


def test_logs_without_markers() -> None:
    """Logs that somebody copied in are found by a new catalog, and by `rebuild`."""
    store = open_file("file:store")
    short_run("a")
    names(store)
    copied = MadeLog().facts({"run": {"name": "copied"}}).close()
    path = Path(store.layout.log_path(copied.name))
    path.parent.mkdir()
    path.write_bytes(copied.data)
    unnoticed, new = names(store), names(another())
    store.catalog.rebuild()

    assert (unnoticed, new, names(store)) == (["a"], ["a", "copied"], ["a", "copied"])


def test_a_log_that_grows_after_its_marker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that ends without a close frame is read on when its marker comes again: the frame is the authority."""
    store = open_file("file:store")
    log = MadeLog().facts({"run": {"name": "a"}})
    run, writer = log.name.split("/")[1:]
    store.logs.append(log.name, 0, log.data)
    target().retire(run, writer)
    first = names(store)
    log.facts({"run": {"name": "b"}}).close()
    store.logs.append(log.name, 0, log.data)
    os.makedirs("store/closed/2030-01-01")
    open(f"store/closed/2030-01-01/{run}.{writer}", "w").close()

    assert (first, names(another()), names(open_file("file:store"))) == (["a"], ["b"], ["b"])


def test_sealed_logs_are_found() -> None:
    """A log is found, and read on nowhere, whether it was sealed before or after the first look."""
    log = MadeLog().facts({"run": {"name": "a"}}).points(["acc"], [(step, 0.5) for step in range(300)]).close()
    store, second = open_file("file:store"), another()
    target()
    store.logs.append(log.name, 0, log.data)
    target().retire(*log.name.split("/")[1:])
    before = store.find().runs[0].metrics["acc"]
    sealed = store.logs.seal(log.name)

    assert sealed
    assert store.find().runs[0].metrics["acc"] == second.find().runs[0].metrics["acc"] == before
    assert len(second.find().runs[0].history("acc")) == 300


def test_damage_is_passed_when_the_log_is_over() -> None:
    """What looks damaged in an open log may be half written and is waited for; later, what follows is read."""
    log = MadeLog().facts({"run": {"name": "a"}}).facts({"params": {"x": 1}}).facts({"run": {"name": "b"}})
    data = bytearray(log.data)
    data[log.borders[1] + 20] ^= 0xFF
    run, writer = log.name.split("/")[1:]
    store = open_file("file:store")
    target().announce(run, writer)
    store.logs.append(log.name, 0, bytes(data))
    waiting = names(store)
    target().retire(run, writer)
    found = store.find().runs[0]

    assert waiting == ["a"]
    assert (found.name, found.params) == ("b", {})
    assert [problem.kind for problem in found.problems] == ["damage"]


def test_closed_again_between_two_looks() -> None:
    """A log that was closed, grows and is closed again before anybody looks is read on."""
    log = MadeLog().facts({"run": {"name": "before"}})
    first = len(log.data)
    log.facts({"run": {"name": "after"}})
    here, store = target(), open_file("file:store")
    here.layout.make()
    store.logs.append(log.name, 0, log.data[:first])
    here.retire(log.run, log.name.split("/")[2])
    before = names(store)
    store.logs.append(log.name, first, log.data[first:])
    here.retire(log.run, log.name.split("/")[2])

    assert before == ["before"]
    assert names(store) == ["after"]
