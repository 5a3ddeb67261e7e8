"""Training while the network fails: nothing is felt, nothing is lost, and everything is there once afterwards."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlsdk.store.base import Store, open_file
from tests import programs
from tests.conftest import require
from tests.faults.newcomer import cable, can_make_hosts, hosts, serving
from tests.faults.remote import Served, call, differences, end_companions, outbox_of, settle
from tests.servers import proxy as network
from tests.servers.proxy import Proxy

TRAINING = """
import time
with mlsdk.run("net", name="trained") as run:
    print("ready", flush=True)
    run.log_artifact(bytes(range(256)) * 12_000, name="model.bin")
    step, begun = 0, time.monotonic()
    while time.monotonic() - begun < SECONDS:
        mlsdk.log(loss=float(step), acc=0.5)
        step += 1
        if step % 20 == 0:
            time.sleep(0.005)
print(step, flush=True)
"""

BAD = {
    network.drop(): 0.1,
    network.lose_answer(): 0.1,
    network.cut_answer(7): 0.05,
    network.cut_request(30): 0.1,
    network.duplicate(): 0.1,
    network.delay(0.1): 0.1,
    network.answer(500): 0.05,
    network.answer(429, {"Retry-After": "1"}): 0.05,
    network.hang(2.0): 0.05,
}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(f"{tmp_path}/served", tmp_path / "home") as found:
        yield found


@pytest.fixture
def bad(served: Served) -> Iterator[Proxy]:
    with Proxy(served.port) as found:
        yield found


@pytest.fixture
def settings(served: Served, bad: Proxy) -> Iterator[dict[str, str]]:
    """Those of a client behind the bad network."""
    yield served.client(f"http://127.0.0.1:{bad.port}", MLSDK_SHIP_WAIT_S="3")
    end_companions(_outbox(served, bad))


def _outbox(served: Served, bad: Proxy) -> Path:
    return served.outbox(f"http://127.0.0.1:{bad.port}")


def _store(served: Served) -> Store:
    return open_file(f"file:{served.place}", ":memory:")


def _points(store: Store, name: str = "trained") -> list[float]:
    return list(store.find_one(name).history("loss").values)


@pytest.mark.slow
def test_everything_goes_wrong_now_and_then(served, bad, settings) -> None:
    """Through a network that drops, cuts, doubles, delays, hangs and refuses, all is there once, byte for byte."""
    bad.sometimes(BAD, seed=2)
    done = programs.execute(TRAINING.replace("SECONDS", "2"), **settings)
    steps = int(done.stdout.splitlines()[-1])
    bad.calm()
    settle(_outbox(served, bad), settings)
    store = _store(served)

    assert "Traceback" not in done.stderr
    assert differences(_outbox(served, bad), store) == []
    assert _points(store) == [float(step) for step in range(steps)]
    assert store.find_one("trained").status == "finished"
    assert [store.blobs.info(a.digest)[0] for a in store.find_one("trained").artifacts.values()] == [3_072_000]
    assert "Traceback" not in served.output


DOWN = """
import os, sys, time
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
def wait_for(found):
    until = time.monotonic() + 40
    while time.monotonic() < until and not found():
        mlsdk.log(loss=wait_for.step)
        wait_for.step += 1.0
        time.sleep(0.01)
    assert found(), run.problems
wait_for.step = 0.0
run = mlsdk.run("net", name="trained")
wait_for(lambda: run.problems)
print(run.problems[0].kind, run.problems[0].message, flush=True)
for _ in range(20_000):
    mlsdk.log(loss=wait_for.step)
    wait_for.step += 1.0
before = resident()
for _ in range(60_000):
    mlsdk.log(loss=wait_for.step)
    wait_for.step += 1.0
print(resident() - before, flush=True)
print("ready", flush=True)
sys.stdin.readline()
wait_for(lambda: not run.problems)
run.finish()
print(int(wait_for.step), flush=True)
"""


@pytest.mark.slow
def test_no_network_for_a_while(served, bad, settings) -> None:
    """While nothing is reached the run says so and the process does not grow; afterwards it says nothing."""
    bad.down()
    process = programs.begin(DOWN, **settings)
    assert process.stdout is not None
    said, grown = process.stdout.readline(), process.stdout.readline()
    programs.await_line(process)
    listed = call(settings | {"MLSDK_SHIP_WAIT_S": "0"}, "sync")
    bad.up()
    out, err = process.communicate("\n", 60)
    settle(_outbox(served, bad), settings)

    assert (process.returncode, err) == (0, "")
    assert said.startswith("shipping ")
    assert "does not take what is recorded" in said
    assert int(grown) < 8_000_000  # 60,000 points are 2.4 MB in the mapped log
    assert listed[0]["left"]
    assert _points(_store(served)) == [float(step) for step in range(int(out))]
    assert differences(_outbox(served, bad), _store(served)) == []


@pytest.mark.slow
def test_the_end_is_not_held_up(served, bad, settings) -> None:
    """Where nothing answers, a process ends with a line that says what is not up; `mlsdk sync` sends it."""
    bad.always(network.hang())
    done = programs.execute(TRAINING.replace("SECONDS", "0.5"), **(settings | {"MLSDK_SHIP_WAIT_S": "1"}))
    end_companions(_outbox(served, bad))
    bad.calm()
    settle(_outbox(served, bad), settings)

    assert re.search(r"1 run is not yet up.*`mlsdk sync` sends", done.stderr), done.stderr
    assert differences(_outbox(served, bad), _store(served)) == []
    assert len(_points(_store(served))) == int(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_bits_that_are_turned_around(served, bad, settings) -> None:
    """Where something on the way alters what is sent, nothing altered is kept, and all is there in the end."""
    bad.sometimes({network.alter_request(): 0.3, network.alter_request(300): 0.1, network.alter_answer(): 0.2}, seed=3)
    done = programs.execute(TRAINING.replace("SECONDS", "1.5"), **settings)
    altered = len(bad.requests)
    bad.calm()
    settle(_outbox(served, bad), settings)
    store = _store(served)

    assert "Traceback" not in done.stderr
    assert altered > 5
    assert differences(_outbox(served, bad), store) == []
    assert _points(store) == [float(step) for step in range(int(done.stdout.splitlines()[-1]))]


@pytest.mark.slow
def test_a_cable_that_is_pulled(tmp_path: Path) -> None:
    """Between two hosts whose cable is pulled for seconds, packets just vanish: all is there once when it is back."""
    require(can_make_hosts(), "the right to make network namespaces (`ip netns`, of iproute2)")
    homes = tmp_path / "server", tmp_path / "workstation"
    for home in homes:
        home.mkdir()
    with hosts(*homes) as (server, workstation), serving(server) as url:
        kept = json.loads((homes[0] / ".config" / "mlsdk" / "credentials.json").read_text("utf-8"))["tokens"]
        settings = {"MLSDK_STORE": f"{url}/default", "MLSDK_TOKEN": kept[url], "MLSDK_REQUEST_TIMEOUT_S": "2"}
        path = programs.program(TRAINING.replace("SECONDS", "5"))
        process = subprocess.Popen(
            workstation.command(sys.executable, str(path)),
            env=workstation.environment(**settings, MLSDK_SHIP_WAIT_S="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        programs.await_line(process)
        for _ in range(2):
            time.sleep(0.7)
            cable(workstation, plugged=False)
            time.sleep(1.5)
            cable(workstation, plugged=True)
        out, err = programs.finish(process)
        root = outbox_of(settings["MLSDK_STORE"], homes[1] / ".local" / "state" / "mlsdk")
        tries = 0
        while json.loads(workstation.mlsdk("sync", "--json", **settings))[0]["left"] and tries < 20:
            tries += 1
        end_companions(root)
        store = open_file(f"file:{homes[0]}/team", ":memory:")

        assert process.returncode == 0
        assert "Traceback" not in err
        assert differences(root, store) == []
        assert _points(store) == [float(step) for step in range(int(out))]
