"""What a server does not take: too much, too fast, too slow, too deep; and what it keeps to itself."""

from __future__ import annotations

import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlsdk.server.accounts import Role
from mlsdk.server.journal import Journal
from mlsdk.server.limits import MIB, Gauge, Limits, Rates
from mlsdk.server.logs import count_points
from mlsdk.testing import MadeLog
from tests.programs import eventually
from tests.servers.http import Running, pieces, running

SMALL = Limits(
    body_bytes=100_000,
    inflated_bytes=300_000,
    json_bytes=10_000,
    held_bytes=2 * MIB,
    rate_per_s=0,
    headers_s=0.6,
    idle_s=0.6,
    request_s=20,
)
PATH = f"runs/{'a' * 32}/{'b' * 32}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(f"file:{tmp_path_factory.mktemp('limits')}/served", SMALL) as found:
        yield found


def raw(served: Running, *parts: bytes, wait_s: float = 10) -> bytes:
    """What a server answers to bytes on a plain socket, until it closes the connection."""
    host, port = served.url.removeprefix("http://").split(":")
    found = b""
    with socket.create_connection((host, int(port)), timeout=wait_s) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            while more := connection.recv(65_536):
                found += more
        except ConnectionError:
            pass
    return found


def head(served: Running, method: str, path: str, *headers: str, token: str | None = None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers]
    bearer = served.token if token is None else token
    return "\r\n".join([*lines, f"Authorization: Bearer {bearer}", "", ""]).encode()


# Sizes


def test_large_bodies(served: Running) -> None:
    """A body over the limit is refused, whether its length is declared or it comes in chunks."""
    api = served.session()
    body = pieces((PATH, 0, b"x" * 200_000))
    declared = api.append(body)
    chunked = api.append(iter([body[:50_000], body[50_000:120_000], body[120_000:]]))
    as_json = api.post("/v1/w/default/find", json={"where": "x" * 20_000})

    assert [declared.status_code, chunked.status_code, as_json.status_code] == [413, 413, 413]
    assert "100,000 bytes" in declared.json()["error"]["message"]
    assert eventually(lambda: served.service.held.used == 0)  # given back after the answer


def test_a_decompression_bomb_stops_at_the_limit(served: Running) -> None:
    """A small body that would become a large one is refused as soon as it is larger than the limit."""
    api = served.session()
    bombs = [zlib.compress(b"\0" * 90_000_000, 9), zlib.compress(b"\0" * 300_001)]
    answers = [api.append(bomb, Content_Encoding="deflate") for bomb in bombs]
    two = api.append(zlib.compress(b"") * 2, Content_Encoding="deflate")
    as_json = api.post(
        "/v1/w/default/find",
        data=zlib.compress(b" " * 5_000_000),
        headers={"Content-Type": "application/json", "Content-Encoding": "deflate"},
    )

    assert {answer.status_code for answer in answers} == {413}
    assert two.json()["error"]["type"] == "FormatError"
    assert as_json.status_code == 413
    assert eventually(lambda: served.service.held.used == 0)  # given back after the answer


def test_deep_and_strange_json(served: Running) -> None:
    """JSON that is too deep, cut, of other types, or no JSON, is a mistake of the caller's."""
    api = served.session()
    told = {"Content-Type": "application/json"}
    bodies = [
        b"[" * 9_000,
        b'{"where":' * 1_000,
        b'{"where": 1}',
        b'{"where": "a"',
        b"\xff\xfe",
        b'{"limit": 1e400}',
        b'{"limit": -1}',
        b'{"where": "\\ud800"}',
    ]
    answers = [api.post("/v1/w/default/find", data=body, headers=told) for body in bodies]

    assert {answer.status_code for answer in answers} == {400}
    assert api.post("/v1/w/default/find", data=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415


def test_strange_pieces(served: Running) -> None:
    """Bodies of an append that are cut, or claim what is not there, change nothing."""
    api = served.session()
    good = pieces((PATH, 0, b"abc"))
    bad = [good[:5], good[:-1], good + b"x", struct.pack("<HQI", 1, 0, 2**32 - 1) + b"x", b"\xff" * 100]
    bad += [struct.pack("<HQI", 2, 0, 0) + b"\xff\xfe"]
    names = ["", "runs/../x", "../../etc/passwd", "runs/a\0b/c", "runs/a\nb/c", "shared/../x", "/abs", "x" * 2_000]
    answers = [api.append(body) for body in bad] + [api.append(pieces((name, 0, b"x"))) for name in names]
    far = api.append(pieces((PATH, 2**63 + 5, b"x")))

    assert {answer.status_code for answer in answers} == {400}
    assert far.status_code in (200, 400)
    assert api.get("/v1/w/default/logs").json()["logs"] == []


def test_urls_and_headers(served: Running) -> None:
    """URLs and headers over the limits are refused; so is a header that must be there once and is there twice."""
    api = served.session()
    long = api.get("/v1?" + "x" * 9_000)
    wide = api.get("/v1", headers={f"X-{number}": "y" * 4_000 for number in range(9)})
    twice = raw(served, head(served, "GET", "/v1", "Authorization: Bearer other"))
    endless = raw(served, b"GET / HTTP/1.1\r\n", *(b"X-%d: %s\r\n" % (number, b"y" * 4_000) for number in range(99)))

    assert (long.status_code, wide.status_code) == (414, 431)
    assert b" 400 " in twice.split(b"\r\n")[0]
    assert b" 200 " not in endless


def test_tokens_in_urls(served: Running) -> None:
    """A token in a URL is refused, whatever it is called, and whether or not it is valid."""
    api = served.session()
    answers = [api.get(f"/v1?{name}={served.token}") for name in ("token", "access_token", "api-key", "Authorization")]

    assert {answer.status_code for answer in answers} == {400}
    assert all("Authorization: Bearer" in answer.json()["error"]["message"] for answer in answers)
    assert not any(served.token in answer.text for answer in answers)


def test_unknown_parameters(served: Running) -> None:
    """A parameter that is not known, is given twice, or has another type, is refused."""
    api = served.session()
    paths = ["?nix=1", "?limit=1&limit=2", "?limit=-1", "?limit=1e3", "?limit=%C2%B2", "?prefix=%ff", "?" + "a=1&" * 50]
    answers = [api.get(f"/v1/w/default/logs{path}") for path in paths]

    assert {answer.status_code for answer in answers} == {400}


# Time and number


def test_slow_clients(served: Running) -> None:
    """A connection on which no headers come, or no body, is given up; the server goes on meanwhile."""
    begun = time.monotonic()
    silent = raw(served, b"GET /health HT")
    told = "Content-Type: application/x-mlsdk-pieces"
    waiting = raw(served, head(served, "POST", "/v1/w/default/append", told, "Content-Length: 1000") + b"abc")
    took_s = time.monotonic() - begun

    assert silent == b""
    assert b" 408 " in waiting.split(b"\r\n")[0]
    assert took_s < 10
    assert served.session("").get("/health").ok


def test_a_trickling_body(tmp_path: Path) -> None:
    """A body that comes byte by byte, each in time, is given up when it is too slow on the whole."""
    limits = Limits(rate_per_s=0, idle_s=5, settle_s=0.2, least_bytes_per_s=10_000)
    with running(f"file:{tmp_path}/served", limits) as served:
        told = "Content-Type: application/x-mlsdk-pieces"
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(head(served, "POST", "/v1/w/default/append", told, "Content-Length: 1000"))
            answer = b""
            connection.settimeout(0.1)
            for _ in range(100):
                try:
                    connection.sendall(b"x")
                    answer += connection.recv(1_000)
                    break
                except TimeoutError:
                    continue

    assert b" 408 " in answer.split(b"\r\n")[0]


def test_a_rate_for_each_token(tmp_path: Path) -> None:
    """Who calls too often is asked to wait, and for how long; others are not held up."""
    with running(f"file:{tmp_path}/served", Limits(rate_per_s=0.5, burst=3)) as served:
        api = served.session()
        codes = [api.get("/v1").status_code for _ in range(4)]
        refused = api.get("/v1")
        other = served.session(served.token_of("bea", "default", Role.VIEWER)).get("/v1")

    assert codes == [200, 200, 200, 429]
    assert refused.json()["error"]["type"] == "UnavailableError"
    assert int(refused.headers["Retry-After"]) >= 1
    assert other.status_code == 200


def test_buckets_fill_again() -> None:
    """A bucket gives its burst at once, then one for each period; forgotten callers begin anew."""
    now = [0.0]
    rates = Rates(2.0, 3, lambda: now[0])
    first = [rates.wait_s("a") for _ in range(4)]
    now[0] = 1.0
    later = [rates.wait_s("a") for _ in range(3)]

    assert first == [0.0, 0.0, 0.0, 0.5]
    assert later == [0.0, 0.0, 0.5]
    assert rates.wait_s("b") == 0.0


def test_as_many_requests_as_it_takes(tmp_path: Path) -> None:
    """When as many requests are under way as may be, more are asked to come again; health is still answered."""
    with running(f"file:{tmp_path}/served", Limits(rate_per_s=0, requests=1)) as served:
        host, port = served.url.removeprefix("http://").split(":")
        told = ("Content-Type: application/x-mlsdk-pieces", "Content-Length: 50")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(head(served, "POST", "/v1/w/default/append", *told) + b"abc")
            deadline = time.monotonic() + 10
            while not served.service.requests.used and time.monotonic() < deadline:
                time.sleep(0.01)
            refused = served.session().get("/v1")
            health = served.session("").get("/health")

    assert (refused.status_code, health.status_code) == (503, 200)
    assert refused.headers["Retry-After"] == "1"


def test_bodies_in_memory(tmp_path: Path) -> None:
    """When bodies hold as much memory as they may, more are asked to come again, and what was held is given back."""
    with running(f"file:{tmp_path}/served", Limits(rate_per_s=0, held_bytes=1_000)) as served:
        refused = served.session().append(pieces((PATH, 0, b"x" * 2_000)))
        used = served.service.held.used
        fits = served.session().append(pieces((PATH, 0, b"x" * 500)))

    assert (refused.status_code, used, fits.status_code) == (503, 0, 200)


def test_a_gauge() -> None:
    """A gauge gives no more than its limit, and takes back."""
    gauge = Gauge(3)
    taken = [gauge.take(2), gauge.take(2), gauge.take(1)]
    gauge.give(3)

    assert (taken, gauge.used) == ([True, False, True], 0)


# What is kept to oneself


def test_errors_tell_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What goes wrong inside is answered by the id of the request alone; the reason is in the server's log."""
    with running(f"file:{tmp_path}/served", journal=Journal(None, errors=True)) as served:
        (tmp_path / "served" / "shared").write_text("no folder")
        answer = served.session().append(pieces(("shared/models/a", 0, b"x")))
        error = answer.json()["error"]
    log = capsys.readouterr().err

    assert (answer.status_code, error["type"]) == (500, "StoreError")
    assert str(tmp_path) not in answer.text
    assert "Traceback" not in answer.text
    assert error["request"] == answer.headers["X-Request-Id"]
    assert f"request {error['request']} failed" in log
    assert "Traceback" in log


def test_the_access_log(tmp_path: Path) -> None:
    """Each request is one line of JSON, with who and what, and without a token, header, body or query."""
    path = tmp_path / "access.log"
    journal = Journal(str(path))
    with running(f"file:{tmp_path}/served", journal=journal) as served:
        api = served.session()
        api.append(pieces((PATH, 0, b"body-canary")), X_Canary="header-canary")
        api.get("/v1/w/default/logs?prefix=query-canary")
        api.get(f"/v1?token={served.token}")
        api.get(f"/v1/{served.token}")
        served.session("mlsdk_wrong_secret-canary").get("/v1")
        token = served.token
    journal.close()
    text = path.read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]

    assert len(lines) == 5
    assert set(lines[0]) == set("t request address actor token method route path status bytes ms".split())
    assert (lines[0]["actor"], lines[0]["route"], lines[0]["status"]) == ("operator", "/v1/w/{w}/append", 200)
    assert [line["status"] for line in lines] == [200, 200, 400, 404, 401]
    assert "canary" not in text
    assert token not in text


def test_a_log_that_is_rotated(tmp_path: Path) -> None:
    """When the file is renamed, lines go on in a new one."""
    path = tmp_path / "access.log"
    journal = Journal(str(path))
    journal.request(n=1)
    path.rename(tmp_path / "access.log.1")
    journal._looked = 0.0
    journal.request(n=2)
    journal.close()

    assert json.loads(path.read_text("utf-8"))["n"] == 2
    assert json.loads((tmp_path / "access.log.1").read_text("utf-8"))["n"] == 1


# Counting


def test_points_are_counted(served: Running) -> None:
    """Values are counted by the lengths of frames, in any mix of frames, also where a piece is cut."""
    log = MadeLog()
    for number in range(50):
        log.points(["a", "b", "c"][: number % 3 + 1], [(step, *([0.5] * (number % 3 + 1))) for step in range(number)])
        log.facts({"tags": {"n": number}})
    expected = sum(number * (number % 3 + 1) for number in range(50))

    assert count_points(log.data) == expected
    assert count_points(log.data[:-3]) == expected
    assert count_points(b"\0" * 1_000) == count_points(b"") == 0
