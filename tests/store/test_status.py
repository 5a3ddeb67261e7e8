"""What became of a run, derived from its logs when it is read; and the order of what logs say."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

import mlsdk
from mlsdk.log.identity import start_ticks, writer_identity
from mlsdk.store.base import open_file
from mlsdk.store.memory import MemoryBlobs, MemoryLogs
from mlsdk.store.sqlite import SQLiteCatalog
from mlsdk.store.status import OVERDUE_NS
from mlsdk.testing import MadeLog
from mlsdk.testing.made import START_NS
from tests.conftest import ROOT, require

RUNNING = {"run": {"name": "a", "status": "running"}}
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names a process by what only Linux tells")


def catalog_of(*logs: MadeLog) -> SQLiteCatalog:
    catalog = SQLiteCatalog(":memory:", MemoryLogs(), MemoryBlobs())
    for log in logs:
        catalog._logs.append(log.name, 0, log.data)
    catalog.rebuild()
    return catalog


def status_of(*logs: MadeLog) -> str:
    catalog = catalog_of(*logs)
    (run,) = catalog.find().runs
    catalog.close()
    assert run.id == logs[0].run
    return run.status.value


def mine(run: str | None = None, role: str = "main", **identity) -> MadeLog:
    """An open log of this very process, or of one that differs from it in what is told."""
    return MadeLog(run, role, identity={**writer_identity(), **identity})


def gone_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_live_writer() -> None:
    """A run whose writing process is there is running."""
    assert status_of(mine().facts(RUNNING)) == "running"


@LINUX
@pytest.mark.parametrize("what", ["pid", "start", "boot"])
def test_a_writer_that_is_gone(what: str) -> None:
    """A process that is no more, whose number is another's now, or whose host was restarted, was killed: for good."""
    found = {"pid": gone_pid(), "start": (start_ticks(os.getpid()) or 0) - 1, "boot": "another-boot"}
    catalog = catalog_of(mine(**{what: found[what]}).facts(RUNNING, order=START_NS + 5))
    (run,) = catalog.find().runs
    live = catalog.database.do(lambda db: db.execute("SELECT live FROM runs").fetchone()[0])
    catalog.close()

    assert run.status == "killed"
    assert run.ended_at is not None
    assert run.duration_s < 1
    assert live == 0


@LINUX
@pytest.mark.parametrize("identity", [{"host": "another"}, {"pidns": "pid:[1]"}, {"host": None}, {"pid": "x"}])
def test_a_writer_of_which_nothing_can_be_known(identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another host, or in another container, a run is running until its sign of life is overdue; then lost."""
    now = [START_NS + 1]
    monkeypatch.setattr(time, "time_ns", lambda: now[0])
    log = mine(**identity).facts(RUNNING, order=START_NS)
    catalog = catalog_of(log)
    seen = [catalog.find().runs[0].status.value]
    for later in (OVERDUE_NS - 1, OVERDUE_NS + 1):
        now[0] = START_NS + later
        catalog.look_at_living()
        seen.append(catalog.find().runs[0].status.value)
    sign = MadeLog(log.run, "companion", order=now[0]).facts({"signs": {"alive_ns": now[0]}}, order=now[0])
    catalog._logs.append(sign.name, 0, sign.data)
    catalog.ingest(sign.name, 0, sign.data)
    seen.append(catalog.find().runs[0].status.value)
    catalog.close()

    assert seen == ["running", "running", "lost", "running"]


def test_an_edit_is_no_sign_of_life() -> None:
    """Somebody who edits a lost run a week later does not bring it to life."""
    log = MadeLog().facts(RUNNING)

    assert status_of(log, MadeLog(log.run, "edit", order=time.time_ns()).close()) == "lost"


def test_the_companion_saw_it_die() -> None:
    """What the companion of another host has seen is known: the run was killed then."""
    log = MadeLog().facts(RUNNING)
    witness = MadeLog(log.run, "companion").facts({"gone": {log.name: START_NS + 7_000_000_000}}).close()
    catalog = catalog_of(log, witness)
    (run,) = catalog.find().runs
    catalog.close()

    assert (run.status, run.duration_s) == ("killed", pytest.approx(7.0))


def test_closed_without_a_word() -> None:
    """A main log that was closed and says nothing of an end belongs to a run that was killed."""
    assert status_of(mine().facts(RUNNING).close()) == "killed"


@pytest.mark.parametrize("role", ["rank 1", "worker", "companion", "edit"])
def test_only_main_ends_a_run(role: str) -> None:
    """No other process's word about the end counts, whenever it comes."""
    log = mine().facts(RUNNING)
    ended = {"run": {"status": "failed", "ended_ns": START_NS, "error": {"type": "E", "message": "m", "traceback": ""}}}
    other = MadeLog(log.run, role, order=START_NS + 10**12).facts(ended).close()
    catalog = catalog_of(log, other)
    (run,) = catalog.find().runs
    catalog.close()

    assert (run.status, run.ended_at, run.error) == ("running", None, None)


def test_without_main_nothing_is_known() -> None:
    """As long as only other processes' logs have come, the run is there, and lost."""
    assert status_of(MadeLog(role="rank 3").facts({"tags": {"a": 1}})) == "lost"


def test_found_dead_by_the_next_query() -> None:
    """A run whose process died since it was last looked at reads killed without a new log."""
    code = (
        "import mlsdk, os\nrun = mlsdk.run('dies', capture=())\nprint(run.id, flush=True)\n"
        "input()\nos.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLSDK_COMPANION": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    run = process.stdout.readline().strip()
    before = mlsdk.get_run(run).status
    process.communicate("\n", timeout=30)
    found = mlsdk.get_run(run)

    assert before == "running"
    assert found.status == "killed"
    assert [one.id for one in mlsdk.runs("status = 'killed'")] == [run]


# order


def test_resumed_on_a_machine_whose_clock_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a resumed run says counts after what it said before, though the clock there is five minutes behind."""
    with mlsdk.run("clocks", params={"lr": 1}) as run:
        run.set_tags({"seen": 1})
        run.log(acc=0.5)
    real_ns, real = time.time_ns, time.time
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() - 300_000_000_000)
    monkeypatch.setattr(time, "time", lambda: real() - 300)
    with mlsdk.run(resume=run.id) as again:
        again.log_params({"lr": 2})
        again.set_tags({"seen": None})
        again.log(acc=0.75)
    mlsdk.edit(run.id).note("checked")
    mlsdk.edit(run.id).note("checked twice")
    found = mlsdk.get_run(run.id)

    assert found.params == {"lr": 2}
    assert found.tags == {}
    assert found.note == "checked twice"
    assert found.status == "finished"
    assert (list(found.history("acc").steps), list(found.history("acc").values)) == ([0, 1], [0.5, 0.75])


def test_a_failed_run_that_is_resumed() -> None:
    """The last part says what became of a run; the error of an earlier one is no longer there."""
    with pytest.raises(ValueError, match="no"), mlsdk.run("parts") as run:
        raise ValueError("no")
    failed = mlsdk.get_run(run.id)
    with mlsdk.run(resume=run.id):
        between = mlsdk.get_run(run.id)
    found = mlsdk.get_run(run.id)

    assert (failed.status, failed.error["message"]) == ("failed", "no")
    assert (between.status, between.error, between.ended_at) == ("running", None, None)
    assert (found.status, found.error) == ("finished", None)


@pytest.mark.parametrize("seed", range(4))
def test_equal_orders_are_told_apart(seed: int) -> None:
    """Two facts of one order key: the log with the higher id wins, on every machine."""
    low, high = (MadeLog("a" * 32, "edit", writer=digit * 32) for digit in "39")
    low.facts({"tags": {"x": "low"}}, order=START_NS)
    high.facts({"tags": {"x": "high"}}, order=START_NS)
    catalog = catalog_of(*((low, high) if seed % 2 else (high, low)))

    assert catalog.get("a" * 32).tags == {"x": "high"}
    catalog.close()


def test_a_change_of_a_param_is_recorded() -> None:
    """Each value that a param had is kept with the time of its setting; setting the same again is no change."""
    log = MadeLog().facts({"params": {"lr": 1, "same": 1}}, order=START_NS)
    log.facts({"params": {"lr": 2, "same": 1}}, order=START_NS + 2_000_000_000)
    log.facts({"params": {"lr": {"$": "tuple", "v": [1]}}}, order=START_NS + 3_000_000_000).close()
    catalog = catalog_of(log)
    run = catalog.get(log.run)
    catalog.close()

    assert run.params == {"lr": (1,), "same": 1}
    assert [(change.param, change.old, change.new) for change in run.changes] == [("lr", 1, 2), ("lr", 2, (1,))]
    assert [(change.at - run.started_at).total_seconds() for change in run.changes] == [2, 3]


def test_the_order_of_a_run_is_the_highest_seen() -> None:
    """What is written next of a run comes after all that is known of it."""
    log = MadeLog(order=START_NS).facts(RUNNING, order=START_NS + 50).close()
    other = MadeLog(log.run, "edit", order=START_NS + 90).close()
    catalog = catalog_of(log, other)

    assert catalog.get(log.run).order == START_NS + 90
    catalog.close()


def test_a_store_of_many_hosts() -> None:
    """In one store each run's status follows from its own writers."""
    require(sys.platform.startswith("linux"), "Linux")
    logs = {
        "running": mine().facts(RUNNING),
        "killed": mine(boot="another").facts(RUNNING),
        "lost": MadeLog().facts(RUNNING),
        "finished": MadeLog().facts({"run": {"status": "finished", "ended_ns": START_NS}}).close(),
    }
    catalog = catalog_of(*logs.values())
    found = {name: catalog.get(log.run).status.value for name, log in logs.items()}
    catalog.close()

    assert found == {name: name for name in logs}


def test_status_in_queries() -> None:
    """What is found by status is what the records say."""
    with mlsdk.run("a"):
        inside = [run.name for run in mlsdk.runs("status = 'running'")]
    after = [run.name for run in mlsdk.runs("status = 'running'")]

    assert len(inside) == 1
    assert after == []
    assert len(mlsdk.runs("status = 'finished' and duration_s >= 0")) == 1
    assert open_file("file:.mlsdk").catalog.count() == 1
