"""What strangers and members may do to others: take slots, threads, memory and time; go on after their token ended."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from mlsdk.server.access import Role
from mlsdk.server.journal import Journal
from mlsdk.server.limits import Limits, Rates, Shares
from mlsdk.server.service import Threads
from tests.programs import eventually
from tests.servers.http import Running, running

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with few slots."""
    limits = Limits(rate_per_s=0, stranger_rate_per_s=0, requests=8, doors=2, idle_s=0.5, streams=100)
    with running(f"file:{tmp_path_factory.mktemp('hostile')}/served", limits) as found:
        yield found


@contextmanager
def _line(served: Running, path: str, secret: str, *headers: str) -> Iterator[socket.socket]:
    """A connection on which something was asked for, of which nothing is read yet."""
    parts = urlsplit(served.url)
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(20)
        line.connect((parts.hostname, parts.port))
        head = [f"GET {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {secret}", *headers]
        line.sendall("\r\n".join([*head, "", ""]).encode("latin-1"))
        yield line


def _until(what: object, say: str) -> None:
    deadline = time.monotonic() + 20
    while not what():  # type: ignore[operator]
        assert time.monotonic() < deadline, say
        time.sleep(0.05)


def test_listeners_take_no_slots(served: Running) -> None:
    """More listeners than there may be requests at once hinder no request."""
    secret = served.token_of("ears", "team", Role.VIEWER)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(_line(served, "/v1/w/team/events", secret)).recv(1)
        status = served.session().get("/v1/me").status_code

    assert status == 200


def test_who_does_not_read_is_let_go(served: Running) -> None:
    """Answers that nobody takes hold neither slots nor threads for long."""
    secret = served.token_of("deaf", "team", Role.VIEWER)
    data = bytes(range(256)) * (1 << 16)
    digest, _ = served.service.workspaces.store("team").blobs.put(data)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(_line(served, f"/v1/w/team/blobs/{digest}", secret)).recv(1)
        _until(lambda: served.service.requests.used == 0, "the slots are not given back")
        whole = served.session().get(f"/v1/w/team/blobs/{digest}")

    assert whole.status_code == 200
    assert hashlib.sha256(whole.content).hexdigest() == digest


def test_a_listener_without_a_role_hears_nothing(served: Running) -> None:
    """Who loses the role, or whose token ends, hears of no run from then on."""
    access = served.service.access
    gone, left = served.token_of("gone", "team", Role.VIEWER), served.token_of("left", "team", Role.VIEWER)
    writer = served.session(served.token_of("writer", "team", Role.WRITER))
    with ExitStack() as stack:
        lines = [
            stack.enter_context(_line(served, "/v1/w/team/events", one, "Connection: close")) for one in (gone, left)
        ]
        heard = b"".join(line.recv(65_536) for line in lines)
        access.revoke_token("op", gone.split("_")[1])
        access.set_member("op", "team", "left", None)
        from mlsdk.testing import MadeLog

        log = MadeLog().facts({"name": "canary"})
        body = len(log.name).to_bytes(2, "little") + bytes(8) + len(log.data).to_bytes(4, "little")
        sent = writer.post(
            "/v1/w/team/append",
            data=body + log.name.encode() + log.data,
            headers={"Content-Type": "application/x-mlsdk-pieces"},
        )
        for line in lines:
            while piece := line.recv(65_536):
                heard += piece

    assert sent.status_code == 200
    assert b"canary" not in heard
    assert heard.count(b"HTTP/1.1 200") == 2


def test_a_weaker_token_ends_no_stronger_one(served: Running) -> None:
    """A token without a role in a workspace does not end one of the same person that has a role there."""
    weak = served.token_of("ann", "team", Role.VIEWER)
    strong = served.token_of("ann", "vault", Role.ADMIN)
    refused = served.session(weak).delete(f"/v1/tokens/{strong.split('_')[1]}")
    ended = served.session(strong).delete(f"/v1/tokens/{strong.split('_')[1]}")

    assert refused.status_code == 403
    assert ended.status_code == 204


def test_forms_of_strangers_are_small(served: Running) -> None:
    """Who has no token cannot make the server hold a large body."""
    answer = requests.post(f"{served.url}/auth/token", data=b"key=" + bytes(100_000), headers=FORM, timeout=10)

    assert answer.status_code == 413


def test_strangers_take_no_slots_of_members(served: Running) -> None:
    """Forms that come slowly hinder other strangers, not members."""
    parts = urlsplit(served.url)
    head = b"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    with ExitStack() as stack:
        for _ in range(10):
            line = stack.enter_context(socket.create_connection((parts.hostname, parts.port)))
            line.sendall(head + b"Content-Length: 10\r\n\r\nk")
        status = served.session().get("/v1/me").status_code

    assert status == 200


def test_strangers_have_a_rate(tmp_path: Path) -> None:
    """Tokens cannot be tried without end from one address; who has a good one goes on from there."""
    with running(f"file:{tmp_path}/served", Limits(stranger_rate_per_s=0.01, stranger_burst=5)) as served:
        codes = [served.session("mlsdk_0123456789abcdef_x").get("/v1/me").status_code for _ in range(8)]
        form = requests.post(f"{served.url}/auth/token", data={"key": "x"}, timeout=10)
        good = served.session().get("/v1/me").status_code
        spoofed = served.session("x").get("/v1/me", headers={"X-Forwarded-For": "203.0.113.9"})

    assert codes == [401] * 5 + [429] * 3
    assert form.status_code == 429
    assert good == 200
    assert spoofed.status_code == 429
    assert int(spoofed.headers["Retry-After"]) > 0


def test_behind_a_proxy_its_word_counts(tmp_path: Path) -> None:
    """Behind a proxy callers are told apart by what that one says last; what a caller said before it is nothing."""
    with running(f"file:{tmp_path}/served", Limits(stranger_rate_per_s=0.01, stranger_burst=1)) as served:
        served.service.proxied = True
        ask = served.session("x").get
        codes = [
            ask("/v1/me", headers={"X-Forwarded-For": said}).status_code
            for said in ("1.1.1.1, 9.9.9.9", "2.2.2.2, 9.9.9.9", "1.1.1.1, 8.8.8.8")
        ]
        form = {"key": served.token}
        away = {"X-Forwarded-For": "7.7.7.7", "X-Forwarded-Proto": "https"}
        signed = requests.post(f"{served.url}/auth/token", data=form, headers=away, timeout=10, allow_redirects=False)

    assert codes == [401, 429, 401]
    assert "Secure" in signed.headers["Set-Cookie"]


def test_one_actor_leaves_some_for_others(tmp_path: Path) -> None:
    """An actor takes at most a share of the slots, with however many tokens."""
    with running(f"file:{tmp_path}/served", Limits(share=3)) as served:
        secrets = [served.token_of("many", "team", Role.VIEWER) for _ in range(3)]
        with ExitStack() as stack:
            for secret in secrets:
                stack.enter_context(_line(served, "/v1/w/team/events", secret))
            _until(lambda: served.service.events.listeners() == 3, "the listeners are not heard")
            more = served.session(secrets[0]).get("/v1/me").status_code
            other = served.session().get("/v1/me").status_code
        _until(lambda: served.service.events.listeners() == 0, "the listeners do not end")
        after = served.session(secrets[0]).get("/v1/me").status_code

    assert (more, other, after) == (429, 200, 200)


def test_turns() -> None:
    """One actor gets half of the threads at once; another one is not held up by that."""
    threads = Threads(2, "test")
    one, other = threads.turn("a"), threads.turn("b")
    same = threads.turn("a") is one
    threads.pool.shutdown()

    assert same
    assert one is not other
    assert one._value == 1


def test_shares_and_looks() -> None:
    """What was given back may be taken again; looking at a rate takes nothing."""
    shares, rates = Shares(1), Rates(1.0, 1, lambda: 0.0)
    taken = [shares.take("a"), shares.take("a")]
    shares.give("a")

    assert [*taken, shares.take("a")] == [True, False, True]
    assert [rates.wait_s("a", look=True), rates.wait_s("a"), rates.wait_s("a", look=True)] == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/v1/me", "Mlsdk-Api: \u00b2"),
        ("/v1/w/team/audit?after=:--1", "X: y"),
        ("/v1/w/team/audit?after=:%C2%B2", "X: y"),
        ("/v1/w/team/blobs?limit=%C2%B2", "X: y"),
        ("/v1/me", "Transfer-Encoding: identity"),
        ("/v1/me", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    ],
)
def test_what_looks_like_a_number(served: Running, path: str, header: str) -> None:
    """Digits that are none, and codings that proxies read in their own way, are mistakes of the caller."""
    secret = served.token_of("digits", "team", Role.APPROVER)
    with _line(served, path, secret, "Connection: close", header) as line:
        answer = line.recv(65_536)

    assert re.match(rb"HTTP/1.1 4(00|26)", answer)


def test_refusals_do_not_fill_the_chain(served: Running) -> None:
    """Who goes on trying what is refused is written down some times, not each time."""
    writer = served.session(served.token_of("eager", "team", Role.WRITER))
    codes = {writer.post("/v1/workspaces", json={"name": "mine"}).status_code for _ in range(40)}
    entries, _ = served.service.audit("").entries(None, 1000)
    written = [entry for entry in entries if entry["act"] == "refused" and entry["actor"] == "eager"]

    assert codes == {403}
    assert 1 <= len(written) <= 25


@pytest.mark.parametrize("from_sign_in", [True, False])
def test_signing_out(served: Running, *, from_sign_in: bool) -> None:
    """Signing out ends the token of a browser that signed in; one that was typed in is left to its other uses."""
    _, secret = served.service.access.make_token("op", "operator", {"*": Role.ADMIN}, 60, sign_in=from_sign_in)
    cookie = {"Cookie": f"mlsdk_token={secret}"}
    out = requests.post(f"{served.url}/auth/leave", headers=cookie, timeout=10, allow_redirects=False)

    assert out.status_code == 303
    assert served.session(secret).get("/v1/me").status_code == (401 if from_sign_in else 200)


def test_what_people_sent_never_runs(served: Running) -> None:
    """A page among the artifacts is handed out as a file: no browser shows it, or lets it do anything."""
    page = b"<!doctype html><script>alert(1)</script>"
    digest, _ = served.service.workspaces.store("default").blobs.put(page)
    answer = served.session().get(f"/v1/w/default/blobs/{digest}")
    by_cookie = requests.get(answer.url, headers={"Cookie": f"mlsdk_token={served.token}"}, timeout=10)

    assert answer.content == page
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == "attachment"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert by_cookie.status_code == 401


def test_a_log_of_requests_on_a_full_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the log of requests cannot be written, requests are answered all the same."""
    journal = Journal("/dev/full")
    with running(f"file:{tmp_path}/served", journal=journal) as served:
        api = served.session()
        codes = {api.get("/v1/me").status_code for _ in range(3)}
    journal.close()

    assert codes == {200}
    assert "/dev/full cannot be written" in capsys.readouterr().err


def test_connections_are_limited(tmp_path: Path) -> None:
    """Connections above the limit are closed; when others have gone, there is room again."""
    with running(f"file:{tmp_path}/served", Limits(connections=5)) as served:
        parts = urlsplit(served.url)
        with ExitStack() as stack:
            lines = [stack.enter_context(socket.create_connection((parts.hostname, parts.port))) for _ in range(9)]
            closed = eventually(lambda: sum(map(_is_closed, lines)) >= 4)
        room = eventually(lambda: _answers(served))

    assert closed
    assert room


def _is_closed(line: socket.socket) -> bool:
    line.settimeout(0.01)
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def _answers(served: Running) -> bool:
    try:
        return served.session().get("/v1/me").status_code == 200
    except requests.ConnectionError:
        return False


def test_a_large_answer_is_whole(served: Running) -> None:
    """An answer of many pieces is what it should be, compressed or not, to several at once."""
    log = f"shared/models/{'large'}"
    logs = served.service.workspaces.store("default").logs
    data = bytes(range(251)) * 12_000
    logs.append(log, 0, data)
    found: list[bool] = []

    def ask(encoding: str) -> None:
        answer = served.session().get(f"/v1/w/default/logs/{log}", headers={"Accept-Encoding": encoding})
        found.append(answer.content == data)

    threads = [threading.Thread(target=ask, args=(one,)) for one in ("gzip", "identity", "deflate")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [True] * 3
