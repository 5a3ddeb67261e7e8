"""Two servers over one database and one bucket, behind a load balancer: clients do not notice when one dies."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from mlsdk.store import open_store
from mlsdk.testing import MadeLog
from tests import programs
from tests.faults.remote import Served, differences, end_companions, logs_of, outbox_of, settle
from tests.servers import s3
from tests.servers.balancer import Balancer
from tests.servers.http import Session
from tests.servers.postgres import shared_server

TRAINING = """
import os, sys, time
with mlsdk.run("two", name=sys.argv[1], capture=()) as run:
    print("ready", flush=True)
    run.log_artifact(os.urandom(200_000), name="model")
    step, begun = 0, time.monotonic()
    while time.monotonic() - begun < 4:
        mlsdk.log(loss=float(step))
        step += 1
        time.sleep(0.001)
print(step, flush=True)
"""


class Pair(NamedTuple):
    """Two servers and what is before them."""

    one: Served
    other: Served
    balancer: Balancer
    uri: str

    @property
    def token(self) -> str:
        """Of the operator, whom the first server has made."""
        return self.one.token


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    home = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", s3.KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", s3.SECRET)
        uri = shared_server().uri(blobs=quote(s3.moto().uri(), safe=""))
        with (
            Served(uri, home / "one", "--rate", "0") as one,
            Served(uri, home / "other", "--rate", "0") as other,
            Balancer(one.port, other.port) as balancer,
        ):
            yield Pair(one, other, balancer, uri)


@pytest.fixture
def pair(started: Pair) -> Pair:
    """Both of them, started again if a test has killed one."""
    if not started.one.answers():
        started.one.start()
    return started


@pytest.mark.slow
def test_one_dies_under_load(pair: Pair, tmp_path: Path) -> None:
    """Of two servers one is killed while four clients send: they go on, and all is there once."""
    path = programs.program(TRAINING)
    clients = []
    for number in range(4):
        settings = {
            "MLSDK_STORE": f"{pair.balancer.url}/default",
            "MLSDK_TOKEN": pair.token,
            "MLSDK_OUTBOX": f"{tmp_path}/outboxes/{number}",
            "MLSDK_REQUEST_TIMEOUT_S": "10",
        }
        command = [sys.executable, str(path), f"client {number}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        clients.append((subprocess.Popen(command, env=programs.environment(**settings), **pipes), settings))
    for process, _ in clients:
        programs.await_line(process)
    time.sleep(1.0)
    pair.one.kill()
    said = [process.communicate(timeout=90) for process, _ in clients]
    roots = [outbox_of(settings["MLSDK_STORE"], Path(settings["MLSDK_OUTBOX"])) for _, settings in clients]
    try:
        for root, (_, settings) in zip(roots, clients, strict=True):
            settle(root, settings)
    finally:
        for root in roots:
            end_companions(root)
    store = open_store(pair.uri)
    store.refresh()

    assert [process.returncode for process, _ in clients] == [0] * 4
    assert [err for _, err in said] == [""] * 4
    assert [difference for root in roots for difference in differences(root, store)] == []
    for number, (out, _) in enumerate(said):
        run = store.find_one(f"client {number}")
        assert list(run.history("loss").values) == [float(step) for step in range(int(out))]
        assert run.status == "finished"
    assert "Traceback" not in pair.other.output


@pytest.mark.slow
def test_an_upload_goes_on_at_the_other(pair: Pair) -> None:
    """A blob of which one server has taken a part is finished through the other, after the first was killed."""
    data = os.urandom(3_000_000)
    digest = hashlib.sha256(data).hexdigest()
    one, other = Session(pair.one.url, pair.token), Session(pair.other.url, pair.token)
    raw = {"Content-Type": "application/octet-stream"}
    wanted = {"digest": digest, "size_bytes": len(data)}
    path = f"/v1/w/default/uploads/{digest}"
    begun = one.post("/v1/w/default/uploads", json=wanted).json()
    first = one.put(f"{path}?offset=0&size_bytes={len(data)}", data=data[:1_000_000], headers=raw).json()
    pair.one.kill()
    asked = other.post("/v1/w/default/uploads", json=wanted).json()
    rest = f"{path}?offset={asked['offset']}&size_bytes={len(data)}"
    done = other.put(rest, data=data[asked["offset"] :], headers=raw).json()

    assert begun["there"] is False
    assert (first["offset"], first["there"]) == (1_000_000, False)
    assert asked["offset"] == 1_000_000
    assert done["there"] is True
    assert other.get(f"/v1/w/default/blobs/{digest}").content == data


@pytest.mark.slow
def test_what_one_is_told_the_other_knows(pair: Pair) -> None:
    """A token that one server revokes the other refuses, and a run that one takes in the other's listeners see."""
    operator = Session(pair.one.url, pair.token)
    made = operator.post("/v1/tokens", json={"scopes": {"default": "writer"}, "note": "for a test"}).json()
    guest = Session(pair.other.url, made["secret"])
    before = programs.eventually(lambda: guest.get("/v1/me").status_code == 200)
    heard: list[str] = []
    log = MadeLog(order=time.time_ns()).facts({"run": {"name": "seen"}})
    short = MadeLog(order=time.time_ns()).facts({"run": {"name": "short", "status": "finished"}}).close()
    with Session(pair.other.url, pair.token).get("/v1/w/default/events", stream=True) as events:
        listening = threading.Thread(target=_listen, args=(events, heard, short.run), daemon=True)
        listening.start()
        logs = logs_of(pair.one.url, pair.token)
        logs.append(log.name, 0, log.data)
        seen = programs.eventually(lambda: any(log.run in line for line in heard))
        logs.append(short.name, 0, short.data)
        seen_too = programs.eventually(lambda: any(short.run in line for line in heard))
    revoked = operator.delete(f"/v1/tokens/{made['id']}").status_code
    refused = programs.eventually(lambda: guest.get("/v1/me").status_code == 401)

    assert before
    assert seen
    assert seen_too
    assert revoked in (200, 204)
    assert refused


def _listen(answer, heard: list[str], last: str) -> None:
    """Note lines until one that has `last` in it: a connection that somebody reads from is closed at its next byte."""
    try:
        for line in answer.iter_lines(decode_unicode=True):
            heard.append(line)
            if last in line:
                return
    except Exception:  # whatever comes when the test closes the connection under it
        return
