"""Shipping beside the training: everything arrives once, whatever the network does, and nobody waits for it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

import mlsdk
from mlsdk.companion.ship import LONGEST_PAUSE_S, Backoff
from mlsdk.store import outbox
from mlsdk.store.base import FolderStore, open_file
from tests import far, programs
from tests.conftest import ROOT
from tests.servers import http


class Far:
    """A far store, and how programs are told of it."""

    def __init__(self, folder: Path) -> None:
        self.uri = far.uri(folder)
        self.base = folder / "outbox"
        packages = far.install(folder)
        self.settings = {
            "MLSDK_STORE": self.uri,
            "MLSDK_OUTBOX": str(self.base),
            "MLSDK_CAPTURE": "none",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{packages}",
        }

    @property
    def root(self) -> Path:
        """The outbox."""
        return next(path for path in self.base.iterdir() if (path / "remote").exists())

    @property
    def store(self) -> FolderStore:
        """What is behind the network."""
        return open_file(f"file:{far.path(self.uri)}", ":memory:")

    def runs(self) -> list[mlsdk.Run]:
        store = self.store
        store.refresh()
        return list(store.catalog.find().runs)

    def gone(self) -> bool:
        return not programs.companions(self.root)


@pytest.fixture
def remote(tmp_path: Path) -> Far:
    return Far(tmp_path)


def test_a_run_arrives(remote: Far) -> None:
    """A run is in the remote store when the program has ended, and the companion goes soon after."""
    done = programs.execute(
        """
        with mlsdk.run(name="it") as run:
            for step in range(1000): mlsdk.log(loss=1 / (step + 1))
            run.log_artifact(b"weights", name="weights")
        print([found.metrics["loss"].count for found in mlsdk.runs()])
        """,
        **remote.settings,
    )
    run = remote.runs()[0]

    assert (done.stdout, done.stderr) == ("[1000]\n", "")
    assert run.status is mlsdk.RunStatus.FINISHED
    assert list(run.history("loss").values) == [1 / (step + 1) for step in range(1000)]
    assert outbox.markers(str(remote.root)) == []
    assert programs.eventually(remote.gone)


def test_without_a_companion_it_is_no_input(remote: Far) -> None:
    """What goes on being sent from the process itself is no input of its next run."""
    far.mood(remote.uri, down=True)
    done = programs.execute(
        """
        import os, time
        from mlsdk.companion.ship import ship_here
        from mlsdk.store import outbox
        with mlsdk.run(name="far"): pass
        root = outbox.folder_of(os.environ["MLSDK_STORE"])
        ship_here(root, 0.2)
        status = os.path.join(root, "ship", outbox.STATUS)
        os.makedirs("near")
        with mlsdk.run(name="near", store="near", capture="process") as run:
            sent = os.stat(status).st_mtime_ns
            while os.stat(status).st_mtime_ns == sent: time.sleep(0.01)
        print(list(mlsdk.get_run(run.id, store="near").inputs))
        """,
        **remote.settings,
        MLSDK_COMPANION="0",
        MLSDK_SHIP_WAIT_S="0.1",
    )

    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_a_live_run_is_seen(remote: Far) -> None:
    """What a live run logs is in the remote store while it goes on, and a large artifact holds up no numbers."""
    far.mood(remote.uri, hold_puts=True)
    process = programs.begin(
        """
        with mlsdk.run(name="it") as run:
            run.log_artifact(b"large", name="large")
            mlsdk.log(loss=1.0)
            print("ready")
            input()
            mlsdk.log(loss=0.25)
            input()
        """,
        **remote.settings,
    )
    programs.await_line(process)

    def last() -> float | None:
        found = remote.runs()
        return found[0].metrics["loss"].last if found and "loss" in found[0].metrics else None

    assert programs.eventually(lambda: last() == 1.0 and "put" in far.calls(remote.uri), within_s=60)
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert programs.eventually(lambda: last() == 0.25, within_s=60)
    assert list(remote.store.blobs.list()) == []
    far.mood(remote.uri)
    process.communicate("\n", timeout=60)
    assert programs.eventually(lambda: len(list(remote.store.blobs.list())) == 1, within_s=30)


@pytest.mark.slow
def test_a_network_that_fails_in_all_ways(remote: Far) -> None:
    """Calls fail, answers are lost, pieces come twice: each point arrives once, and the training sees no error."""
    far.mood(remote.uri, fail_each=4, lose_answer_each=5, twice=True, delay_s=0.01, retry_after_s=0.1)
    done = programs.execute(
        """
        import time
        with mlsdk.run(name="it"):
            for step in range(1000):
                mlsdk.log(loss=float(step))
                if step % 200 == 0: time.sleep(0.2)
        """,
        **remote.settings,
        MLSDK_SHIP_EVERY_S="0.05",
        MLSDK_SHIP_WAIT_S="60",
    )
    far.mood(remote.uri)
    assert programs.eventually(lambda: not outbox.markers(str(remote.root)), within_s=60)
    run = remote.runs()[0]

    assert "Traceback" not in done.stderr
    assert list(run.history("loss").values) == [float(step) for step in range(1000)]


@pytest.mark.slow
def test_with_the_network_down_the_end_is_quick(remote: Far) -> None:
    """A program whose store cannot be reached ends within seconds, with one line that says what is left and why."""
    far.mood(remote.uri, down=True)
    done = programs.execute(
        """
        import os, time
        from mlsdk.store import outbox
        from mlsdk.tracking import exits
        with mlsdk.run(name="it"):
            mlsdk.log(loss=1.0)
            base = os.environ["MLSDK_OUTBOX"]
            while not any(outbox.failing_s(os.path.join(base, name)) > outbox.GIVE_UP_S for name in os.listdir(base)):
                time.sleep(0.05)
        exits.wait(30); begun = time.monotonic(); exits.wait_for_shipping(30); print(time.monotonic() - begun < 8)
        """,
        **remote.settings,
        MLSDK_SHIP_WAIT_S="0.1",
    )
    lines = done.stderr.splitlines()
    far.mood(remote.uri)

    assert done.stdout == "True\n"
    assert "1 run is not yet up" in lines[0]
    assert "connection refused, since" in lines[0]
    assert "`mlsdk sync` sends them now" in lines[0]
    assert programs.eventually(lambda: remote.runs() and not outbox.markers(str(remote.root)), within_s=90)


@pytest.mark.slow
def test_killed_while_shipping(remote: Far) -> None:
    """Training and companion killed at once lose nothing that was logged; the next run's companion sends it."""
    far.mood(remote.uri, delay_s=0.05)
    process = programs.begin(
        """
        import time
        with mlsdk.run(name="killed"):
            for step in range(5000): mlsdk.log(loss=float(step))
            print("ready"); time.sleep(60)
        """,
        **remote.settings,
    )
    programs.await_line(process)
    time.sleep(0.7)
    for pid in programs.companions(remote.root):
        os.kill(pid, signal.SIGKILL)
    programs.finish(process, signal.SIGKILL)
    programs.execute("with mlsdk.run(name='next'): mlsdk.log(a=1)", **remote.settings)
    assert programs.eventually(lambda: not outbox.markers(str(remote.root)), within_s=60)
    runs = {run.name: run for run in remote.runs()}

    assert runs["killed"].status is mlsdk.RunStatus.KILLED
    assert runs["killed"].metrics["loss"].count == 5000
    assert runs["next"].status is mlsdk.RunStatus.FINISHED


@pytest.mark.slow
def test_over_a_server(remote: Far) -> None:
    """Over a real server a run arrives with its file, is read back by its URI, and a wrong token is said in words."""
    with http.running(f"file:{Path.cwd() / 'served'}") as server:
        settings = {**remote.settings, "MLSDK_STORE": f"{server.url}/default"}
        code = """
        with mlsdk.run(name="it") as run:
            for step in range(500): mlsdk.log(loss=float(step))
            run.log_artifact(b"weights", name="weights")
        print([found.metrics["loss"].count for found in mlsdk.runs()])
        """
        done = programs.execute(code, **settings, MLSDK_TOKEN=server.token)
        assert programs.eventually(remote.gone)  # it has the right token
        refused = programs.execute(
            "with mlsdk.run(name='no'): mlsdk.log(a=1)", **settings, MLSDK_TOKEN="x" * 40, MLSDK_SHIP_WAIT_S="5"
        )
        store = server.service.workspaces.store("default")
        store.refresh()
        run = store.catalog.find().runs[0]
        with run.open("weights") as file:
            weights = file.read()
        values = list(run.history("loss").values)

    assert (done.stdout, done.stderr) == ("[500]\n", "")
    assert (run.name, weights, values) == ("it", b"weights", [float(step) for step in range(500)])
    assert "not yet up" in refused.stderr
    assert "token" in refused.stderr
    assert "xxxx" not in refused.stderr


def test_backoff() -> None:
    """Pauses grow up to a minute at random below it, no shorter than asked; what will not get better is left alone."""
    backoff = Backoff()
    pauses = [backoff.failed(mlsdk.UnavailableError("down")) for _ in range(40)]
    asked = backoff.failed(mlsdk.UnavailableError("busy", retry_after_s=90.0))
    since, why = backoff.failing_since, backoff.why
    refused = backoff.failed(mlsdk.AccessError("no"))
    hopeless = backoff.hopeless
    backoff.worked()

    assert pauses[0] <= 0.5
    assert 10 < max(pauses) <= LONGEST_PAUSE_S
    assert (asked, refused, hopeless) == (90.0, LONGEST_PAUSE_S, True)
    assert (since is not None, why) == (True, "busy")
    assert (backoff.failing_since, backoff.why, backoff.hopeless) == (None, None, False)


def test_why_it_fails_holds_no_secret() -> None:
    """What is written down of a failure has its secrets left out."""
    backoff = Backoff()
    backoff.failed(mlsdk.UnavailableError("password=hunter2-correct-horse at postgresql://ada:hunter2@db/runs"))

    assert "hunter2" not in str(backoff.why)
