"""The API over real HTTP: what each route answers, to whom, and how errors look."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from array import array
from collections.abc import Iterator

import pytest

from mlsdk.server.accounts import Role
from mlsdk.server.routes import ROWS
from mlsdk.testing import MadeLog
from tests.servers.http import Running, Session, pieces, running

OTHER = f"runs/{'0' * 32}/{'1' * 32}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(f"file:{tmp_path_factory.mktemp('routes')}/served") as found:
        yield found


@pytest.fixture
def api(served: Running) -> Session:
    return served.session()


def made(name: str = "a", **params: object) -> MadeLog:
    log = MadeLog().facts({"run": {"name": name, "status": "finished"}, "params": params})
    return log.points(["loss"], [(step, step / 4) for step in range(100)]).close()


def blob(api: Session, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    answer = api.put(
        f"/v1/w/default/uploads/{digest}?size_bytes={len(data)}",
        data=data,
        headers={"Content-Type": "application/octet-stream"},
    )
    assert answer.json() == {"offset": len(data), "there": True}
    return digest


# Logs


def test_append_and_read(api: Session) -> None:
    """What is appended is read back, whole, in parts, and by its size alone."""
    log = made()
    half = log.borders[3]
    first = api.append(pieces((log.name, 0, log.data[:half])))
    both = api.append(pieces((log.name, half, log.data[half:]), (log.name, 0, log.data)))
    path = f"/v1/w/default/logs/{log.name}"
    whole, part, head = api.get(path), api.get(f"{path}?offset=3&limit=5"), api.head(path)

    assert first.json() == {"ends": [half]}
    assert both.json() == {"ends": [len(log.data)] * 2}
    assert (whole.content, part.content) == (log.data, log.data[3:8])
    assert {answer.headers["Mlsdk-Size"] for answer in (whole, part, head)} == {str(len(log.data))}
    assert api.get(f"{path}?offset=999999").content == b""


def test_a_conflict_hinders_no_other_piece(api: Session) -> None:
    """A piece that does not fit is answered by its error, with the true end; the others are appended."""
    one, two = made(), made()
    answer = api.append(pieces((one.name, 7, b"x"), (two.name, 0, two.data)))
    refused, end = answer.json()["ends"]

    assert end == len(two.data)
    assert (refused["error"]["type"], refused["error"]["log"], refused["error"]["end"]) == (
        "ConflictError",
        one.name,
        0,
    )


@pytest.mark.parametrize("encoding", ["deflate", "gzip"])
def test_compressed_bodies(api: Session, encoding: str) -> None:
    """A body may come compressed."""
    log = made()
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    body = packer.compress(pieces((log.name, 0, log.data))) + packer.flush()

    assert api.append(body, Content_Encoding=encoding).json() == {"ends": [len(log.data)]}
    assert api.append(body[:-9], Content_Encoding=encoding).json()["error"]["type"] == "FormatError"
    assert api.append(body, Content_Encoding="br").status_code == 415


def test_pages_of_names(served: Running, api: Session) -> None:
    """Names come in order, a page at a time; the server's own logs are not among them, nor to be had."""
    served.token_of("lister", "pages", Role.WRITER)
    logs = sorted(made().name for _ in range(5))
    for log in logs:
        api.append(pieces((log, 0, b"x")), "pages")
    first = api.get("/v1/w/pages/logs?prefix=runs/&limit=3").json()
    rest = api.get(f"/v1/w/pages/logs?prefix=runs/&after={first['after']}").json()
    audits = list(served.service.workspaces.store("pages").logs.list("shared/audit/"))

    assert (first["logs"], first["after"]) == (logs[:3], logs[2])
    assert rest == {"logs": logs[3:], "after": None}
    assert len(audits) == 1
    assert api.get("/v1/w/pages/logs?prefix=shared/").json()["logs"] == []
    assert api.get(f"/v1/w/pages/logs/{audits[0]}").status_code == 403
    assert api.delete(f"/v1/w/pages/logs/{audits[0]}").status_code == 403
    assert api.append(pieces((audits[0], 0, b"x")), "pages").status_code == 403


def test_seal_and_delete(api: Session) -> None:
    """A sealed log reads as before; a deleted one is gone."""
    log = made()
    api.append(pieces((log.name, 0, log.data)))
    path = f"/v1/w/default/logs/{log.name}"
    sealed = [api.post(f"/v1/w/default/seal/{log.name}").json()["sealed"] for _ in range(2)]
    same = api.get(path).content
    deleted = api.delete(path).status_code

    assert (sealed, same, deleted) == ([True, False], log.data, 204)
    assert api.get(path).json()["error"]["type"] == "NotFoundError"


def test_shared_logs(api: Session) -> None:
    """Appending to a shared log at its end is compare-and-set."""
    first = api.append(pieces(("shared/models/a", 0, b"one;"))).json()["ends"]
    second = api.append(pieces(("shared/models/a", 0, b"two;"))).json()["ends"]

    assert first == [4]
    assert second[0]["error"]["end"] == 4


# Blobs


def test_blobs(api: Session) -> None:
    """A blob is there with its size and age, and is handed out whole or in ranges."""
    data = os.urandom(3_000_000)
    digest = blob(api, data)
    path = f"/v1/w/default/blobs/{digest}"
    whole, head = api.get(path), api.head(path)
    ranges = [api.get(path, headers={"Range": f"bytes={text}"}) for text in ("0-9", "2999990-", "-7", "5-5")]
    beyond = api.get(path, headers={"Range": "bytes=3000000-"})

    assert whole.content == data
    assert (head.headers["Content-Length"], float(head.headers["Mlsdk-Age-S"]) < 60) == ("3000000", True)
    assert [part.content for part in ranges] == [data[:10], data[2999990:], data[-7:], data[5:6]]
    assert {part.status_code for part in ranges} == {206}
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */3000000")
    assert digest in api.get(f"/v1/w/default/blobs?prefix={digest[:4]}").json()["blobs"]
    assert [api.delete(f"{path}?older_than_s={age}").json()["removed"] for age in (60, 0, 0)] == [False, True, False]
    assert api.head(path).status_code == 404


def test_an_upload_in_parts_goes_on_at_another_server(tmp_path: object) -> None:
    """Parts that one server took are known to every other one over the same stores."""
    data = os.urandom(700_000)
    digest = hashlib.sha256(data).hexdigest()
    raw = {"Content-Type": "application/octet-stream"}
    wanted = {"digest": digest, "size_bytes": len(data)}
    put = f"/v1/w/default/uploads/{digest}?size_bytes={len(data)}&offset="
    with running(f"file:{tmp_path}/served") as one:
        api = one.session()
        begun = api.post("/v1/w/default/uploads", json=wanted).json()
        first = api.put(f"{put}0", data=data[:300_000], headers=raw).json()
        again = api.put(f"{put}0", data=data[:300_000], headers=raw).json()
    with running(f"file:{tmp_path}/served") as two:
        api = two.session()
        resumed = api.post("/v1/w/default/uploads", json=wanted).json()
        last = api.put(f"{put}300000", data=data[300_000:], headers=raw).json()
        there = api.post("/v1/w/default/uploads", json=wanted).json()
        kept = api.get("/v1/w/default/blobs").json()["blobs"]
        back = api.get(f"/v1/w/default/blobs/{digest}").content

    assert (begun["there"], begun["offset"]) == (False, 0)
    assert first == again == {"offset": 300_000, "there": False}
    assert (resumed["there"], resumed["offset"]) == (False, 300_000)
    assert last == {"offset": 700_000, "there": True}
    assert there["there"]
    assert kept == [digest]
    assert back == data


def test_a_wrong_upload_is_thrown_away(api: Session) -> None:
    """Bytes that are not what the digest says are an error, at once and in parts, and may be sent again."""
    data = os.urandom(1000)
    digest = hashlib.sha256(data).hexdigest()
    raw = {"Content-Type": "application/octet-stream"}
    path = f"/v1/w/default/uploads/{digest}?size_bytes=1000&offset="
    at_once = api.put(f"{path}0", data=data[::-1], headers=raw)
    api.put(f"{path}0", data=data[:500], headers=raw)
    in_parts = api.put(f"{path}500", data=data[:500], headers=raw)
    begun = api.post("/v1/w/default/uploads", json={"digest": digest, "size_bytes": 1000}).json()
    too_long = api.put(f"{path}900", data=data, headers=raw)

    assert {answer.json()["error"]["type"] for answer in (at_once, in_parts)} == {"DigestError"}
    assert (begun["there"], begun["offset"]) == (False, 0)
    assert too_long.status_code == 400
    assert api.head(f"/v1/w/default/blobs/{digest}").status_code == 404


# Runs


def test_finding(api: Session) -> None:
    """Filters, orders, pages, counts and names of fields are those of the catalog."""
    logs = [made("found", number=number, batch="routes") for number in range(5)]
    api.append(pieces(*((log.name, 0, log.data) for log in logs)))
    asked = {"where": "params.batch = 'routes'", "order_by": "-params.number", "limit": 2}
    first = api.post("/v1/w/default/find", json=asked).json()
    second = api.post("/v1/w/default/find", json={**asked, "after": first["after"]}).json()
    numbers = [json.loads(run["document"])["params"]["number"] for run in first["runs"] + second["runs"]]
    run = logs[0].run

    assert numbers == [4, 3, 2, 1]
    assert first["runs"][0]["status"] == "finished"
    assert api.post("/v1/w/default/count", json={"where": asked["where"]}).json() == {"count": 5}
    assert json.loads(api.get(f"/v1/w/default/runs/{run}").json()["document"])["id"] == run
    assert "env" in json.loads(api.get(f"/v1/w/default/runs/{run}/details").json()["details"])
    assert api.get(f"/v1/w/default/runs/{run}/children").json() == {"children": []}
    assert "params.batch" in api.get("/v1/w/default/keys?kind=params").json()["keys"]
    assert api.get("/v1/w/default/has?key=params.batch").json() == {"has": True}
    assert api.get(f"/v1/w/default/ids?end={run[-8:]}").json() == {"ids": [run]}
    assert api.get("/v1/w/default/unreadable").json() == {"unreadable": []}
    assert api.get(f"/v1/w/default/runs/{'f' * 32}").status_code == 404


def test_a_wrong_filter_says_where(api: Session) -> None:
    """The error of a filter keeps its text and position."""
    error = api.post("/v1/w/default/find", json={"where": "metrics.acc >> 1"}).json()["error"]

    assert (error["type"], error["text"], error["position"]) == ("QueryError", "metrics.acc >> 1", 13)


def test_series(api: Session) -> None:
    """A series is a line of JSON and three columns; numbers that fit into no column stand in the line."""
    log = MadeLog().facts({"run": {"name": "s"}}).points(["n"], [(0, 2**53 + 1)], "i").points(["n"], [(1, 0.5)])
    log.points(["x"], [(step, step / 8) for step in range(1000)]).close()
    api.append(pieces((log.name, 0, log.data)))
    plain, mixed = (api.get(f"/v1/w/default/runs/{log.run}/series?metric={name}").content for name in "xn")
    line, _, rest = plain.partition(b"\n")
    head = json.loads(line)
    steps, values = array("q", rest[:8000]), array("d", rest[8000:16000])

    assert (head["name"], head["kinds"], head["count"]) == ("x", ["q", "d", "q"], 1000)
    assert len(rest) == 24_000
    assert (list(steps[:3]), list(values[:3])) == ([0, 1, 2], [0.0, 0.125, 0.25])
    assert json.loads(mixed.partition(b"\n")[0])["count"] == 2
    assert api.get(f"/v1/w/default/runs/{log.run}/series?metric=nix").status_code == 404


def test_ingest_and_forget(api: Session) -> None:
    """A catalog takes in bytes that stand in the log, and no others; a run is forgotten until it is read again."""
    log = made()
    early = api.post(
        f"/v1/w/default/ingest/{log.name}", data=log.data, headers={"Content-Type": "application/octet-stream"}
    )
    api.append(pieces((log.name, 0, log.data)))
    raw = {"Content-Type": "application/octet-stream"}
    taken = api.post(f"/v1/w/default/ingest/{log.name}", data=log.data, headers=raw)
    foreign = api.post(f"/v1/w/default/ingest/{log.name}", data=b"x" + log.data[1:], headers=raw)

    assert early.status_code == 404
    assert taken.json() == {"wanted": len(log.data)}
    assert foreign.status_code == 400
    assert api.delete(f"/v1/w/default/runs/{log.run}").status_code == 204


# The server itself


def test_what_needs_no_token(served: Running) -> None:
    """Health and readiness are for anyone, and tell nothing else."""
    stranger = served.session("")

    assert stranger.get("/health").json() == stranger.get("/ready").json() == {"status": "ok"}


def test_about_and_figures(api: Session) -> None:
    """The server says what it speaks, and counts what it does."""
    log = MadeLog().points(["a", "b"], [(step, 1.0, 2.0) for step in range(50)])
    api.append(pieces((log.name, 0, log.data)))
    about, figures = api.get("/v1").json(), api.get("/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in figures.splitlines() if not line.startswith("#"))

    assert (about["api"], about["format"]) == ([1], 1)
    assert float(lines["mlsdk_append_points_total"]) >= 100
    assert float(lines['mlsdk_requests_total{method="POST",route="/v1/w/{w}/append",status="200"}']) >= 1
    assert figures.endswith("# EOF\n")


def test_headers_of_every_answer(served: Running) -> None:
    """Every answer, errors too, names versions and a request, and tells browsers to be careful."""
    api, stranger = served.session(), served.session("")
    answers = [api.get("/v1"), api.get("/nix"), stranger.get("/v1"), api.put("/v1"), stranger.get("/")]

    assert [answer.status_code for answer in answers] == [200, 404, 401, 405, 401]
    for answer in answers:
        assert answer.headers["Mlsdk-Api"] == answer.headers["Mlsdk-Format"] == "1"
        assert len(answer.headers["X-Request-Id"]) == 16
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert answers[2].headers["WWW-Authenticate"] == "Bearer"
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == len(answers)


def test_other_versions(api: Session) -> None:
    """A client of another API, or that writes a newer format, is told which side to upgrade."""
    newer, older = (api.get("/v1", headers={"Mlsdk-Api": version}) for version in ("2", "0"))
    log = made()
    written = api.append(pieces((log.name, 0, log.data)), Mlsdk_Format="2")

    assert {newer.status_code, older.status_code, written.status_code} == {426}
    assert "upgrade the server" in newer.json()["error"]["message"]
    assert "upgrade the client" in older.json()["error"]["message"]
    assert written.json()["error"]["type"] == "NewerFormatError"
    assert api.head(f"/v1/w/default/logs/{log.name}").status_code == 404


def test_roles(served: Running) -> None:
    """A role allows what those below allow; a workspace without a role is as if it were not there."""
    tokens = {role: served.token_of(f"{role}", "roles", role) for role in Role}
    body = pieces((OTHER, 0, b"x"))
    reads = {str(role): served.session(token).get("/v1/w/roles/logs").status_code for role, token in tokens.items()}
    writes = {str(role): served.session(token).append(body, "roles").status_code for role, token in tokens.items()}
    deletes = {
        str(role): served.session(token).delete(f"/v1/w/roles/logs/{OTHER}").status_code
        for role, token in tokens.items()
    }
    elsewhere = [served.session(tokens[Role.ADMIN]).get(f"/v1/w/{name}/logs") for name in ("default", "no-such")]

    assert reads == dict.fromkeys(("viewer", "writer", "approver", "admin"), 200)
    assert writes == {"viewer": 403, "writer": 200, "approver": 200, "admin": 200}
    assert deletes == {"viewer": 403, "writer": 403, "approver": 403, "admin": 204}
    assert [answer.status_code for answer in elsewhere] == [404, 404]
    assert elsewhere[0].json()["error"]["message"] == elsewhere[1].json()["error"]["message"].replace(
        "no-such", "default"
    )


def test_the_audit_chain_knows(served: Running) -> None:
    """What was begun, kept and deleted stands in the chain of the workspace, with who did it."""
    api = served.session(served.token_of("ann", "audited", Role.ADMIN))
    api.append(pieces((OTHER, 0, b"x"), ("shared/models/m", 0, b"entry")), "audited")
    data = b"kept for the audit"
    digest = hashlib.sha256(data).hexdigest()
    api.put(
        f"/v1/w/audited/uploads/{digest}?size_bytes={len(data)}",
        data=data,
        headers={"Content-Type": "application/octet-stream"},
    )
    api.delete(f"/v1/w/audited/logs/{OTHER}")
    entries = api.get("/v1/w/audited/audit").json()["entries"]
    acts = [entry["act"] for entry in entries if entry["actor"] == "ann"]

    assert acts == ["begin", "append", "keep blob", "delete log"]
    assert next(e for e in entries if e["act"] == "append")["digest"] == hashlib.sha256(b"entry").hexdigest()


def test_the_table_is_whole() -> None:
    """Each route is there once, says what it needs, and is a plain function that says what it does."""
    keys = [(row.method, row.path) for row in ROWS]

    assert len(keys) == len(set(keys))
    for row in ROWS:
        assert isinstance(row.needs, Role) or row.needs in ("anyone", "any token"), row
        assert row.summary, row
        assert row.handler.__doc__, row
        assert ("{w}" in row.path) or not isinstance(row.needs, Role), row
