"""The server over the other kinds of stores: PostgreSQL, with several processes, and a bucket."""

from __future__ import annotations

import hashlib
import os
import signal
import urllib.request
from pathlib import Path

import pytest

from mlsdk.server.accounts import Role
from mlsdk.testing import MadeLog
from tests.server.test_serve import serving
from tests.servers import s3
from tests.servers.http import Session, pieces, running
from tests.servers.postgres import shared_server

RAW = {"Content-Type": "application/octet-stream"}


def round_trip(api: Session, workspace: str) -> list[object]:
    """Appends, finds, uploads in parts, and reads back; what should be and what is."""
    log = MadeLog().facts({"run": {"name": workspace, "status": "finished"}}).points(["a"], [(0, 1.0)]).close()
    ends = api.append(pieces((log.name, 0, log.data)), workspace).json()["ends"]
    data = os.urandom(50_000)
    digest = hashlib.sha256(data).hexdigest()
    begun = api.post(f"/v1/w/{workspace}/uploads", json={"digest": digest, "size_bytes": len(data)}).json()
    for at in (0, 30_000):
        part = data[at : at + 30_000]
        api.put(f"/v1/w/{workspace}/uploads/{digest}?offset={at}&size_bytes=50000", data=part, headers=RAW)
    found = api.post(f"/v1/w/{workspace}/find", json={"where": f"name = '{workspace}'"}).json()["runs"]
    back = api.get(f"/v1/w/{workspace}/blobs/{digest}").content
    series = api.get(f"/v1/w/{workspace}/runs/{log.run}/series?metric=a").content
    audit = api.get(f"/v1/w/{workspace}/audit/verified").json()["findings"]
    return [ends == [len(log.data)], begun["there"], len(found), back == data, b'"count":1' in series, audit]


GOOD = [True, False, 1, True, True, []]


@pytest.mark.slow
def test_several_processes_over_postgresql(tmp_path: Path) -> None:
    """Any process serves any request; one that is killed is replaced, and the others go on; all stop together."""
    uri = shared_server().uri()
    with serving(tmp_path, "--workers", "2", store=uri) as served:
        first = round_trip(Session(served.url, served.token), "default")
        workers = children(served.process.pid)
        os.kill(workers[0], signal.SIGKILL)
        answers = [Session(served.url, "").get("/health").status_code for _ in range(20)]
        second = round_trip(Session(served.url, served.token), "default")
        served.process.send_signal(signal.SIGTERM)
        code = served.process.wait(60)

    assert first == GOOD
    assert second[3:] == GOOD[3:]
    assert len(workers) == 2
    assert set(answers) == {200}
    assert code == 0
    assert not any(os.path.exists(f"/proc/{pid}") for pid in workers)


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(word) for word in found.split()]


@pytest.mark.slow
def test_over_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a bucket each workspace is a prefix; large blobs may go past the server, and are checked all the same."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.SECRET)
    with running(s3.moto().uri()) as served:
        served.token_of("ann", "team", Role.ADMIN)
        api = served.session()
        both = [round_trip(api, "default"), round_trip(api, "team")]
        data = os.urandom(10_000)
        digest, other = hashlib.sha256(data).hexdigest(), hashlib.sha256(b"other").hexdigest()
        sent = []
        for name, size in ((digest, 10_000), (other, 5)):
            url = api.post("/v1/w/team/uploads", json={"digest": name, "size_bytes": size}).json()["url"]
            put = urllib.request.Request(url, data=data[:size], method="PUT", headers=RAW)
            urllib.request.urlopen(put, timeout=20).close()
            sent.append(api.post(f"/v1/w/team/uploads/{name}/done?size_bytes={size}").json())
        direct = api.get(f"/v1/w/team/blobs/{digest}?redirect=1", allow_redirects=False)
        with urllib.request.urlopen(direct.headers["Location"], timeout=20) as answer:
            back = answer.read()
        elsewhere = api.head(f"/v1/w/default/blobs/{digest}").status_code

    assert both == [GOOD, GOOD]
    assert sent[0] == {"there": True}
    assert sent[1]["error"]["type"] == "DigestError"
    assert (direct.status_code, back == data, elsewhere) == (307, True, 404)
