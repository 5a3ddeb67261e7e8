"""What befalls clients of a server besides the network: clocks, disks, tokens, versions, forks, two at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlsdk.server.accounts import Role
from mlsdk.store import outbox
from mlsdk.store.base import Store, open_file
from tests import programs
from tests.faults.remote import Served, call, differences, end_companions, outbox_of, settle
from tests.servers.http import Running, running

RUN = """
import time
begun = time.monotonic()
with mlsdk.run("odd", name="trained") as run:
    print("ready", flush=True)
    step = 0
    while time.monotonic() - begun < SECONDS:
        mlsdk.log(loss=float(step))
        step += 1
        if step % 20 == 0:
            time.sleep(0.005)
print(step, flush=True)
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(f"{tmp_path}/served", tmp_path / "home") as found:
        yield found
        end_companions(found.outbox())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """A server in the tests' own process."""
    with running(f"file:{tmp_path}/served") as found:
        yield found


UNTIL_TROUBLE = """
import time
run = mlsdk.run("odd", name="trained")
print("ready", flush=True)
step = 0
while not run.problems:
    mlsdk.log(loss=float(step))
    step += 1
    time.sleep(0.01)
print(run.problems[0].message)
print(step)
run.finish()
"""


def _of(server: Running, token: str, workspace: str, tmp_path: Path, **more: str) -> dict[str, str]:
    told = {"MLSDK_STORE": f"{server.url}/{workspace}", "MLSDK_TOKEN": token, "MLSDK_SHIP_WAIT_S": "20"}
    return {**told, "MLSDK_OUTBOX": f"{tmp_path}/outboxes", "XDG_CONFIG_HOME": f"{tmp_path}/home", **more}


def _outbox(server: Running, workspace: str, tmp_path: Path) -> Path:
    return outbox_of(f"{server.url}/{workspace}", tmp_path / "outboxes")


def _store(served: Served) -> Store:
    return open_file(f"file:{served.place}", ":memory:")


CLOCK = """
import time
shift_s = float({shift})
real_s, real_ns = time.time, time.time_ns
time.time, time.time_ns = (lambda: real_s() + shift_s), (lambda: real_ns() + int(shift_s * 1e9))
run = mlsdk.run("odd", name="trained")
for step in range(500):
    mlsdk.log(loss=float(step))
if {live}:
    print("ready", flush=True)
    input()
run.finish()
"""


@pytest.mark.parametrize("shift", [-7 * 3600, 7 * 3600])
def test_a_clock_that_is_hours_off(served, shift: int) -> None:
    """A run of a host whose clock is hours off is there, found and finished; later edits still win."""
    settings = served.client(MLSDK_COMPANION="0")
    programs.execute(CLOCK.format(shift=shift, live=False), **settings)
    settle(served.outbox(), settings)
    store = _store(served)
    programs.execute("mlsdk.edit('trained').set_tags({'late': 'yes'})", **served.client())
    settle(served.outbox(), served.client())

    assert differences(served.outbox(), store) == []
    assert store.find_one("trained").status == "finished"
    assert len(store.find_one("trained").history("loss")) == 500


@pytest.mark.slow
def test_a_token_that_expires(server, tmp_path: Path) -> None:
    """When a token ends in the middle of a run the run goes on and says so; with a new one all is sent."""
    token = server.token_of("ann", "team", Role.WRITER, expires_s=2.0)
    settings = _of(server, token, "team", tmp_path, MLSDK_SHIP_WAIT_S="1")
    done = programs.execute(UNTIL_TROUBLE, **settings)
    root = _outbox(server, "team", tmp_path)
    end_companions(root)
    fresh = {**settings, "MLSDK_TOKEN": server.token_of("ann", "team", Role.WRITER)}
    settle(root, fresh)
    store = server.service.workspaces.store("team")

    assert "401" in done.stdout or "token" in done.stdout
    assert token not in done.stdout + done.stderr
    assert differences(root, store) == []
    assert len(store.find_one("trained").history("loss")) == int(done.stdout.split()[-1])


@pytest.mark.slow
def test_a_workspace_that_is_deleted_meanwhile(server, tmp_path: Path) -> None:
    """A run whose workspace is taken away goes on; when the workspace is back, all of it is sent."""
    token = server.token_of("ann", "team", Role.WRITER)
    settings = _of(server, token, "team", tmp_path, MLSDK_SHIP_WAIT_S="1")
    process = programs.begin(UNTIL_TROUBLE, **settings)
    programs.await_line(process)
    programs.eventually(lambda: list(server.service.workspaces.store("team").logs.list("runs/")))
    server.service.access.remove_workspace("operator", "team")
    out, err = programs.finish(process)
    root = _outbox(server, "team", tmp_path)
    kept = outbox.status(str(root))
    again = server.token_of("ann", "team", Role.WRITER)
    end_companions(root)
    settle(root, {**settings, "MLSDK_TOKEN": again})
    store = server.service.workspaces.store("team")

    assert process.returncode == 0
    assert "Traceback" not in err
    assert kept.why is not None
    assert differences(root, store) == []
    assert len(store.find_one("trained").history("loss")) == int(out.split()[-1])


@pytest.mark.slow
def test_two_who_send_the_same_outbox(served) -> None:
    """A companion and several `mlsdk sync` that send one outbox at once double nothing and lose nothing."""
    settings = served.client()
    code = RUN.replace("SECONDS", "1.5").replace(
        "    step = 0\n", "    step = 0\n    run.log_artifact(bytes(9_000_000), name='m')\n"
    )
    process = programs.begin(code, **settings)
    programs.await_line(process)
    errors = []
    while process.poll() is None:
        others = [
            subprocess.Popen(
                [sys.executable, "-m", "mlsdk", "sync"],
                env=programs.environment(**settings),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        errors += [other.communicate(timeout=60)[1] for other in others]
    out, err = programs.finish(process)
    settle(served.outbox(), settings)

    assert (err, "".join(errors)) == ("", "")
    assert differences(served.outbox(), _store(served)) == []
    assert len(_store(served).find_one("trained").history("loss")) == int(out)


FORK = """
import os
with mlsdk.run("odd", name="trained") as run:
    for step in range(100):
        mlsdk.log(loss=float(step))
    pid = os.fork()
    if pid == 0:
        for step in range(50):
            mlsdk.log(child=float(step))
        os._exit(0)
    os.waitpid(pid, 0)
    for step in range(100, 200):
        mlsdk.log(loss=float(step))
    if os.fork() == 0:
        mlsdk.log(other=1.0)
        raise SystemExit(0)
    os.wait()
"""


def test_a_fork_in_the_middle(served) -> None:
    """Children forked in the middle of a run end at once, and what they log arrives beside the parent's."""
    settings = served.client()
    programs.execute(FORK, **settings)
    settle(served.outbox(), settings)
    run = _store(served).find_one("trained")

    assert differences(served.outbox(), _store(served)) == []
    assert list(run.history("loss").values) == [float(step) for step in range(200)]
    assert run.status == "finished"


@pytest.mark.slow
def test_an_outbox_above_its_budget(served) -> None:
    """Above the budget the run that goes on says so, and a new one is refused at its start."""
    settings = served.client("http://127.0.0.1:9", MLSDK_OUTBOX_BYTES="100000", MLSDK_SHIP_WAIT_S="0.5")
    code = """
    import time
    run = mlsdk.run("odd", name="first")
    until = time.monotonic() + 30
    while time.monotonic() < until and not any("MLSDK_OUTBOX_BYTES" in p.message for p in run.problems):
        mlsdk.log(loss=1.0)
        for _ in range(200):
            mlsdk.log(loss=2.0)
        time.sleep(0.02)
    print([p.message for p in run.problems])
    run.finish()
    try:
        mlsdk.run("odd", name="second")
    except mlsdk.StoreError as error:
        print("refused", error)
    """
    done = programs.execute(code, **settings)
    end_companions(served.outbox("http://127.0.0.1:9"))

    assert "new runs are refused" in done.stdout
    assert "refused" in done.stdout.splitlines()[-1]
    assert "mlsdk sync" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_server_that_reads_older_formats_only(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log in a format that the server does not know stays here, with the reason; after an upgrade it is sent."""
    from mlsdk.server import system

    known = system.FORMAT_VERSION
    monkeypatch.setattr(system, "FORMAT_VERSION", known - 1)
    token = server.token_of("ann", "team", Role.WRITER)
    settings = _of(server, token, "team", tmp_path, MLSDK_SHIP_WAIT_S="1")
    done = programs.execute(RUN.replace("SECONDS", "0.3"), **settings)
    root = _outbox(server, "team", tmp_path)
    left = call(settings, "sync")
    monkeypatch.setattr(system, "FORMAT_VERSION", known)
    end_companions(root)
    settle(root, settings)

    assert "upgrade" in str(left)
    assert "Traceback" not in done.stderr
    assert differences(root, server.service.workspaces.store("team")) == []
