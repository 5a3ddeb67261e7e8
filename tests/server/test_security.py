"""Every route with every kind of caller, from the table of routes itself; and what strangers may try."""

from __future__ import annotations

import json
import re
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

import mlsdk
from mlsdk.server.access import ALL, Role
from mlsdk.server.calls import ANY_TOKEN, ANYONE, Row
from mlsdk.server.journal import Journal
from mlsdk.server.limits import Limits
from mlsdk.server.routes import ROWS
from tests.servers.http import Running, running

PIECES = {"Content-Type": "application/x-mlsdk-pieces"}

WITHOUT_TOKEN = {
    "/health",
    "/ready",
    "/auth/login",
    "/auth/callback",
    "/auth/token",
    "/auth/leave",
    "/static/style.css",
    "/static/follow.js",
    "/static/icon.svg",
}
"""The routes that anybody may call. Before one is added: what does it tell, and what does it cost?"""

OPERATORS = {
    ("POST", "/v1/workspaces"),
    ("DELETE", "/v1/workspaces/{w}"),
    ("GET", "/v1/operators"),
    ("PUT", "/v1/operators/{actor:path}"),
    ("DELETE", "/v1/operators/{actor:path}"),
    ("GET", "/v1/audit"),
    ("GET", "/v1/audit/verified"),
}
"""Routes for any token that ask for an operator themselves."""

BODIES = {
    "/v1/workspaces": {"name": "spare"},
    "/v1/tokens": {"scopes": {}},
    "/v1/w/{w}/uploads": {"digest": "0" * 64, "size_bytes": 1},
}
"""Where a body without content would be refused before the caller's rights are looked at in the handler."""

CALLERS = ["none", "malformed", "unknown", "wrong secret", "expired", "revoked", "removed", "elsewhere"]
ROLES = [str(role) for role in Role]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where requests and errors are written down."""
    return tmp_path_factory.mktemp("journal") / "access.log"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, journal: Path) -> Iterator[Running]:
    """A server with short limits, two workspaces and somebody of each role."""
    limits = Limits(rate_per_s=0, idle_s=0.5, headers_s=0.5, body_bytes=1 << 20, inflated_bytes=1 << 20)
    written = Journal(str(journal))
    with running(f"file:{tmp_path_factory.mktemp('security')}/served", limits, written) as found:
        yield found
    written.close()


@pytest.fixture(scope="module")
def secrets(served: Running) -> dict[str, str]:
    """A secret for each kind of caller of the workspace `team`."""
    access = served.service.access
    found = {"none": "", "malformed": "canary-malformed", "unknown": f"mlsdk_{'0' * 16}_{'x' * 43}"}
    for role in Role:
        found[str(role)] = served.token_of(str(role), "team", role)
    found["wrong secret"] = found["admin"][:-3] + ("abc" if not found["admin"].endswith("abc") else "cba")
    found["expired"] = served.token_of("late", "team", Role.ADMIN, expires_s=0.01)
    found["revoked"] = served.token_of("gone", "team", Role.ADMIN)
    access.revoke_token("op", found["revoked"].split("_")[1])
    found["removed"] = served.token_of("left", "team", Role.ADMIN)
    access.set_member("op", "team", "left", None)
    found["elsewhere"] = served.token_of("other", "secret-team", Role.ADMIN)
    found["operator"] = served.token
    hidden = served.service.workspaces.store("secret-team").uri
    with mlsdk.run("hidden", name="canary-run", capture=(), store=hidden) as run:  # what it captured others have too
        run.log(canary_metric=1.0)
        run.log_artifact(b"canary-bytes", name="a.bin")
    time.sleep(0.02)
    return found


def _ask(served: Running, row: Row, secret: str, workspace: str = "team") -> requests.Response:
    """Call a route with something of the right form, which changes nothing."""
    path = row.path.replace("{w}", workspace).replace("{run}", "0" * 32).replace("{digest}", "0" * 64)
    path = path.replace("{log:path}", f"runs/{'0' * 32}/{'0' * 32}").replace("{actor:path}", "nobody")
    path = path.replace("{id}", "0" * 16)
    options: dict = {"stream": True, "allow_redirects": False}
    if row.body is bytes:
        options |= {"data": b"", "headers": {"Content-Type": row.body_type}}
    elif row.body is not None:
        options["json"] = BODIES.get(row.path, {"role": "viewer"} if "actor" in row.path else {})
    with served.session(secret) as session, session.request(row.method, path, **options) as answer:
        if not answer.headers["Content-Type"].startswith("text/event-stream"):
            answer.content  # noqa: B018 - read before the connection goes
        return answer


def _id(row: Row) -> str:
    return f"{row.method} {row.path}"


def test_each_route_says_what_it_needs() -> None:
    """Each route asks for a role, a token, or is on the short list of those that need none."""
    open_to_all = {row.path for row in ROWS if row.needs == ANYONE}
    below = [row for row in ROWS if "{w}" in row.path and (row.method, row.path) not in OPERATORS]

    assert open_to_all == WITHOUT_TOKEN
    assert all(row.needs in (ANYONE, ANY_TOKEN) or isinstance(row.needs, Role) for row in ROWS)
    assert [_id(row) for row in below if not isinstance(row.needs, Role)] == []
    assert {(row.method, row.path) for row in ROWS} >= OPERATORS
    assert [_id(row) for row in ROWS if row.method == "DELETE" and isinstance(row.needs, Role) and row.needs < 4] == []
    assert [_id(row) for row in ROWS if row.cookie and row.method != "GET"] == []


@pytest.mark.parametrize("row", ROWS, ids=_id)
def test_every_route_with_every_caller(served: Running, secrets: dict[str, str], row: Row) -> None:
    """A route answers who may call it, and nobody else: 401 without a valid token, 404 outside, 403 below the role."""
    found = {}
    for caller in [*CALLERS, *ROLES, "operator"]:
        if caller == "operator" and (row.method, row.path) == ("DELETE", "/v1/workspaces/{w}"):
            served.service.access.make_workspace("op", "spare-one")
            found[caller] = _ask(served, row, secrets[caller], "spare-one").status_code
        else:
            found[caller] = _ask(served, row, secrets[caller]).status_code
    bad = {found[caller] for caller in CALLERS[:6]}
    outside = {found["removed"], found["elsewhere"]}

    if row.needs == ANYONE:
        assert not {401, 403} & set(found.values()) or row.path == "/auth/token"
        return
    assert bad == {401}
    if "{w}" in row.path:
        assert outside == {404}
    if isinstance(row.needs, Role):
        assert [role for role in ROLES if found[role] == 403] == [str(role) for role in Role if role < row.needs]
        assert not {401, 500} & {found[str(role)] for role in Role}
    elif (row.method, row.path) in OPERATORS:
        assert {found[role] for role in ROLES} == {403}
    else:
        assert not {401, 403, 500} & {found[role] for role in ROLES}
    assert found["operator"] not in {401, 403, 500}


@pytest.mark.parametrize("row", [row for row in ROWS if "{w}" in row.path], ids=_id)
def test_other_workspaces_are_as_if_not_there(served: Running, secrets: dict[str, str], row: Row) -> None:
    """A workspace in which one has no role answers as one that does not exist: status, headers and words."""
    there = _ask(served, row, secrets["admin"], "secret-team")
    nowhere = _ask(served, row, secrets["admin"], "no-such-team")
    names = {"x-request-id", "date"}

    def told(answer: requests.Response, name: str) -> tuple:
        headers = {key.lower(): value for key, value in answer.headers.items() if key.lower() not in names}
        text = answer.text.replace(name, "").replace(answer.headers["X-Request-Id"], "")
        headers["content-length"] = ""
        return answer.status_code, headers, text

    assert there.status_code == 404
    assert told(there, "secret-team") == told(nowhere, "no-such-team")


def test_nothing_of_another_workspace(served: Running, secrets: dict[str, str]) -> None:
    """Lists, searches, events and blobs by their digest show nothing of a workspace in which one has no role."""
    other = served.service.workspaces.store("secret-team")
    digests, logs = list(other.blobs.list()), list(other.logs.list())
    run = other.find().runs[0].id
    admin = served.session(secrets["admin"])
    seen = [
        admin.get("/v1/workspaces"),
        admin.get("/v1/w/team/logs"),
        admin.get("/v1/w/team/blobs"),
        admin.post("/v1/w/team/find", json={}),
        admin.post("/v1/w/team/count", json={}),
        admin.get("/v1/w/team/keys"),
        admin.get("/v1/w/team/ids"),
        admin.get("/v1/w/team/members"),
        admin.get("/v1/w/team/audit"),
        admin.get("/v1/tokens"),
        admin.get(f"/v1/w/team/runs/{run}"),
        admin.get(f"/v1/w/team/ids?beginning={run[:20]}"),
        admin.get("/metrics"),
        admin.get(f"/v1/w/team/logs/{logs[0]}"),
        *[admin.get(f"/v1/w/team/blobs/{digest}") for digest in digests],
        *[admin.post("/v1/w/team/uploads", json={"digest": digest, "size_bytes": 12}) for digest in digests],
    ]
    operator = served.session().get(f"/v1/w/secret-team/runs/{run}")

    assert digests
    assert operator.status_code == 200
    assert [one.url for one in seen if "canary" in one.text or "secret-team" in one.text] == []
    assert not [one.url for one in seen if run in one.text and run not in one.url]
    assert [admin.get(f"/v1/w/team/blobs/{digest}").status_code for digest in digests] == [404] * len(digests)
    assert not any('"there":true' in one.text.replace(" ", "") for one in seen)


# Raw requests


def _raw(served: Running, data: bytes, *, wait_s: float = 10.0) -> bytes:
    """Send bytes as they are; what comes back until the server closes, or says no more."""
    parts = urlsplit(served.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=wait_s) as line:
        line.sendall(data)
        found = b""
        try:
            while piece := line.recv(65_536):
                found += piece
                if b"\r\n\r\n" in found and b"Connection: close" not in data:
                    break
        except (TimeoutError, ConnectionResetError):
            pass
        return found


def _get(path: bytes, secret: str, *headers: bytes) -> bytes:
    about = [b"Host: x", b"Connection: close", b"Authorization: Bearer " + secret.encode(), *headers]
    return b"GET " + path + b" HTTP/1.1\r\n" + b"\r\n".join(about) + b"\r\n\r\n"


OUTSIDE = [
    "../../../../etc/passwd",
    "runs/../../../../etc/passwd",
    "runs/%2e%2e/%2e%2e/server/format",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e%2fkey",
    "..%5c..%5ckey",
    "..\\..\\key",
    "runs/a/..%00",
    "runs/%00/x",
    "runs//etc/passwd",
    "/etc/passwd",
    "shared/../key",
    "shared/.hidden/x",
    "shared/audit",
    "shared/access",
    "runs/x/%ff%fe",
    "runs/x/%c0%ae%c0%ae",
    "%252e%252e%252fkey",
    "runs/a/b%0d%0aX: y",
    "file:///etc/passwd",
    "a" * 3000,
]


def _around(served: Running) -> dict[str, bytes]:
    """The files of the server that no log, blob or run is, with what stands in them."""
    root = Path(served.service.workspaces.uri.partition(":")[2])
    places = [root.parent, root, root / "server", root / "workspaces", root / "workspaces" / "team"]
    there = [path for place in places for path in place.iterdir()]
    return {str(path): path.read_bytes() if path.name == "key" else b"" for path in there}


@pytest.mark.parametrize("place", ["logs", "blobs", "runs", "seal", "ingest", "uploads"])
def test_names_lead_nowhere_else(served: Running, secrets: dict[str, str], place: str) -> None:
    """No name of a log, blob or run leads out of its workspace, however it is written; none makes the server fail."""
    _raw(served, _get(b"/v1/w/team/logs", secrets["admin"]))  # the workspace's folder is made
    before, found = _around(served), {}
    for name in OUTSIDE:
        path = f"/v1/w/team/{place}/{name}".encode("latin-1")
        for method in (b"GET", b"PUT", b"POST", b"DELETE"):
            body = (b"Content-Type: application/octet-stream", b"Content-Length: 1") if method != b"GET" else ()
            sent = _get(path, secrets["admin"], *body) + (b"x" if body else b"")
            found[name[:40], method] = _raw(served, sent.replace(b"GET", method, 1))

    assert {what: one for what, one in found.items() if re.match(rb"HTTP/1.1 5", one)} == {}
    assert {what: one for what, one in found.items() if what[1] == b"GET" and re.match(rb"HTTP/1.1 [23]", one)} == {}
    assert not any(b"root:" in one or b"\nX: y" in one for one in found.values())
    made = {Path(path).name for path in set(_around(served)) - set(before)}

    assert {name for name in made if "catalog" not in name} <= {"shared"}  # the audit chain is begun there
    assert {path: data for path, data in _around(served).items() if data} == {p: d for p, d in before.items() if d}


def test_workspaces_lead_nowhere_else(served: Running, secrets: dict[str, str]) -> None:
    """No name of a workspace leads to the server's own store or another folder, an operator's either."""
    names = [b"server", b"*", b"%2a", b"..", b"%2e%2e", b"../server", b".", b"%00", b"TEAM", b"team%2f..%2fserver", b""]
    found = [_raw(served, _get(b"/v1/w/" + name + b"/logs", secrets["operator"])) for name in names]

    assert all(re.match(rb"HTTP/1.1 4\d\d", one) for one in found if one)


def test_pieces_lead_nowhere_else(served: Running, secrets: dict[str, str]) -> None:
    """The names inside a body of pieces are checked like those in a path."""
    writer = served.session(secrets["writer"])
    names = ["../x", "runs/../../x", "runs/a/b/c", "shared/../x", "shared/a\0b", "shared\\x", "/abs", "", "shared/.x"]
    names += ["shared/access", "shared/audit/x", "shared/models/a\nb", "shared/" + "x" * 5000]
    found = {}
    for name in names:
        raw = name.encode()
        body = len(raw).to_bytes(2, "little") + bytes(8) + (1).to_bytes(4, "little") + raw + b"x"
        found[name[:40]] = writer.post("/v1/w/team/append", data=body, headers=PIECES).status_code

    assert {name: code for name, code in found.items() if code not in (400, 403)} == {}


# Bodies


def test_bombs(served: Running, secrets: dict[str, str]) -> None:
    """A small body that unpacks to a large one stops at the limit; so does one that is large as it is."""
    writer = served.session(secrets["writer"])
    bomb = zlib.compress(bytes(64 << 20))
    twice = zlib.compress(bomb)
    found = [
        writer.post("/v1/w/team/append", data=bomb, headers={**PIECES, "Content-Encoding": "deflate"}),
        writer.post("/v1/w/team/append", data=twice, headers={**PIECES, "Content-Encoding": "deflate, deflate"}),
        writer.post(
            "/v1/w/team/find", data=bomb, headers={"Content-Type": "application/json", "Content-Encoding": "deflate"}
        ),
        writer.post("/v1/w/team/append", data=bytes(3 << 20), headers=PIECES),
    ]
    lying = b"POST /v1/w/team/append HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-mlsdk-pieces\r\n"
    lying += b"Authorization: Bearer " + secrets["writer"].encode() + b"\r\nContent-Length: 99999999999\r\n\r\n"

    assert [one.status_code for one in found] == [413, 415, 413, 413]
    assert re.match(rb"HTTP/1.1 413", _raw(served, lying))


def test_lengths_inside_pieces(served: Running, secrets: dict[str, str]) -> None:
    """Pieces that claim to be longer than their body, or to stand far away, take no memory and are refused."""
    writer = served.session(secrets["writer"])
    name = b"shared/models/far"
    far = len(name).to_bytes(2, "little") + b"\xff" * 8 + (1).to_bytes(4, "little") + name + b"x"
    long = len(name).to_bytes(2, "little") + bytes(8) + b"\xff" * 4 + name + b"x"
    many = ((1).to_bytes(2, "little") + bytes(8) + bytes(4) + b"x") * 50_000
    found = [writer.post("/v1/w/team/append", data=body, headers=PIECES) for body in (far, long, many, b"\x01")]

    assert [one.status_code for one in found[1:]] == [400, 400, 400]
    assert found[0].status_code in (200, 400)
    assert b'"ends":[{"error"' in found[0].content.replace(b" ", b"") or found[0].status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        "[" * 500_000,
        '{"where":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"where":' + json.dumps("(" * 200_000) + "}",
        '{"where":' + json.dumps("not " * 100_000 + "name = 'a'") + "}",
        '{"where":' + json.dumps(" and ".join(["metrics.a > 1"] * 2_000)) + "}",
        '{"where":' + json.dumps("name in (" + ",".join(["'a'"] * 5_000) + ")") + "}",
        '{"where":' + json.dumps("name ~ '(a+)+$'") + "}",
        '{"where":' + json.dumps("name ~ '" + "(a*)*" * 40 + "'") + "}",
        '{"where":' + json.dumps("name ~ '((a?){99}){99}'") + "}",
        '{"where":' + json.dumps("name = '" + "a" * 900_000 + "'") + "}",
        '{"where":' + json.dumps("name like '" + "%a" * 20_000 + "'") + "}",
        '{"order_by":' + json.dumps(",".join(["-metrics.a"] * 20_000)) + "}",
        '{"where": "name = \'\\ud800\'"}',
        '{"where": "name = \'\\u0000\'"}',
        '{"after": "\\u0000' + "x" * 1000 + '"}',
        '{"limit": 99999999999999999999999999}',
        '{"limit": -1}',
        '{"where": 5}',
        '{"where": NaN}',
        "{} {}",
        "",
        "\x00\xff",
        '{"x":' + '"' + "a" * (2 << 20) + '"}',
    ],
    ids=lambda body: body[:40].encode("unicode_escape").decode(),
)
def test_strange_json(served: Running, secrets: dict[str, str], body: str) -> None:
    """JSON that is too large, too deep or of another shape is refused, or answered; the server does not fail."""
    viewer = served.session(secrets["viewer"])
    kind = {"Content-Type": "application/json"}
    answer = viewer.post("/v1/w/team/find", data=body.encode("latin-1"), headers=kind)

    assert answer.status_code in (200, 400, 413)
    assert len(answer.content) < 20_000
    assert viewer.get("/v1/me").status_code == 200


# Headers, URLs, cookies


def test_header_injection(served: Running, secrets: dict[str, str]) -> None:
    """No text of a caller makes a header of an answer, or a line of the log."""
    attempts = [
        _get(b"/v1/w/team%0d%0aX-Evil:%201/logs", secrets["admin"]),
        _get(b"/v1/w/team/logs?after=%0d%0aX-Evil:%201", secrets["admin"]),
        _get(b"/v1/w/team/logs/runs%0d%0aX-Evil:%201", secrets["admin"]),
        _get(b"/auth/login?show=%0d%0aX-Evil:%201", secrets["admin"]),
        _get(b"/v1/me", secrets["admin"], b"X-Request-Id: a\r\n X-Evil: 1"),
        _get(b"/v1/me", secrets["admin"], b"Mlsdk-Api: 9\nX-Evil: 1"),
        _get(b"/v1/me", "x\r\nX-Evil: 1"),
    ]
    found = [_raw(served, one) for one in attempts]

    assert not any(re.search(rb"(?im)^x-evil:", one.partition(b"\r\n\r\n")[0]) for one in found)
    assert not any(re.match(rb"HTTP/1.1 5", one) for one in found)


def test_requests_are_not_smuggled(served: Running, secrets: dict[str, str]) -> None:
    """A request with two lengths, or a length and a transfer coding, is not read in two ways."""
    head = b"POST /v1/w/team/find HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += b"Authorization: Bearer " + secrets["viewer"].encode() + b"\r\n"
    inner = _get(b"/v1/tokens", secrets["viewer"])
    both = head + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner
    twice = head + b"Content-Length: 2\r\nContent-Length: 200\r\n\r\n{}" + inner
    found = [_raw(served, one) for one in (both, twice)]

    assert [one.count(b"HTTP/1.1 ") for one in found] == [1, 1]
    assert all(one.startswith(b"HTTP/1.1 400") for one in found)


@pytest.mark.parametrize("name", ["token", "access_token", "api_key", "Authorization", "TOKEN", "%74oken", "api-key"])
def test_token_in_the_url(served: Running, secrets: dict[str, str], journal: Path, name: str) -> None:
    """A token in a URL is refused, valid or not, and stands in no log: proxies and browsers keep URLs."""
    canary = secrets["viewer"]
    bare = _raw(
        served,
        b"GET /v1/me?" + name.encode() + b"=" + canary.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    beside = served.session(canary).get(f"/v1/me?{name}={canary}")

    assert re.match(rb"HTTP/1.1 40[01]", bare)
    assert beside.status_code == 400
    assert canary not in beside.text
    assert canary.encode() not in journal.read_bytes()


def test_forms_of_authorization(served: Running, secrets: dict[str, str]) -> None:
    """A token counts in one header, as a bearer's: not twice, not as a password, not in a cookie of the API."""
    good = secrets["viewer"]
    forms = {
        "basic": {"Authorization": f"Basic {good}"},
        "none": {"Authorization": good},
        "cookie": {"Cookie": f"mlsdk_token={good}"},
        "other header": {"X-Api-Key": good},
        "two tokens": {"Authorization": f"Bearer {good} {good}"},
        "listed": {"Authorization": f"Bearer {good}, Bearer {good}"},
    }
    found = {
        name: requests.get(f"{served.url}/v1/me", headers=one, timeout=10).status_code for name, one in forms.items()
    }
    twice = _raw(served, _get(b"/v1/me", good, b"Authorization: Bearer " + good.encode()))

    assert set(found.values()) == {401}
    assert re.match(rb"HTTP/1.1 40[01]", twice)


def test_cookie(served: Running, secrets: dict[str, str]) -> None:
    """Signing in by a form gives a cookie that no script reads and no other site sends; forms of others are refused."""
    form = {"key": secrets["viewer"]}
    good = requests.post(f"{served.url}/auth/token", data=form, timeout=10, allow_redirects=False)
    parts = set(good.headers["Set-Cookie"].split("; "))
    crossed = [
        requests.post(f"{served.url}/auth/token", data=form, headers=headers, timeout=10, allow_redirects=False)
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "same-site"},
        )
    ]
    wrong = requests.post(f"{served.url}/auth/token", data={"key": "canary-wrong"}, timeout=10, allow_redirects=False)
    page = requests.get(f"{served.url}/team", headers={"Cookie": good.headers["Set-Cookie"].split(";")[0]}, timeout=10)

    assert good.status_code == 303
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= parts
    assert all(one.status_code == 403 and "Set-Cookie" not in one.headers for one in crossed)
    assert "Set-Cookie" not in wrong.headers
    assert "canary-wrong" not in wrong.text
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]


def test_other_sites_get_nothing(served: Running, secrets: dict[str, str]) -> None:
    """No answer lets scripts of other sites read it, and browsers are told to keep nothing and guess no types."""
    origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    asked = served.session(secrets["viewer"]).get("/v1/me", headers=origin)
    before = requests.options(f"{served.url}/v1/tokens", headers=origin, timeout=10)

    assert not [name for name in (*asked.headers, *before.headers) if name.lower().startswith("access-control")]
    assert before.status_code in (404, 405)
    assert asked.headers["X-Content-Type-Options"] == "nosniff"
    assert asked.headers["Cache-Control"] == "no-store"


def test_html_is_escaped(served: Running, secrets: dict[str, str]) -> None:
    """What people wrote into a run is shown as text."""
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    store = served.service.workspaces.store("team")
    with mlsdk.run(evil, name=evil, params={evil: evil}, tags={evil: evil}, store=store.uri) as run:
        run.log({"a<b>": 1.0})
        run.note(evil)
    cookie = {"Cookie": f"mlsdk_token={secrets['viewer']}"}
    pages = [
        requests.get(f"{served.url}/{path}", headers=cookie, timeout=10)
        for path in (
            "team",
            f"team/runs/{run.id}",
            "team?where=%3Cscript%3Ealert(1)",
            "team?where=%22%3E%3Cimg+src%3Dx",
        )
    ]

    assert [page.status_code for page in pages] == [200] * 4
    assert not any("<script>alert" in page.text or "<img" in page.text for page in pages)


# Time


@pytest.mark.parametrize("how", ["nothing", "half a head", "drip of headers", "half a body", "drip of a body"])
def test_slow_clients(served: Running, secrets: dict[str, str], how: str) -> None:
    """A client that sends nothing, or too slowly, is let go; others are answered meanwhile."""
    head = b"POST /v1/w/team/append HTTP/1.1\r\nHost: x\r\n"
    rest = b"Content-Type: application/x-mlsdk-pieces\r\nContent-Length: 1000\r\n"
    rest += b"Authorization: Bearer " + secrets["writer"].encode() + b"\r\n\r\n"
    first = {"nothing": b"", "half a head": head, "drip of headers": head}.get(how, head + rest + b"x")
    parts = urlsplit(served.url)
    begun = time.monotonic()
    with socket.create_connection((parts.hostname, parts.port), timeout=0.1) as line:
        line.sendall(first)
        closed = False
        while not closed and time.monotonic() - begun < 60:
            try:
                if how == "drip of headers":
                    line.sendall(b"X-A: b\r\n")
                closed = line.recv(65_536) == b"" or how.endswith("body")
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                closed = True
            if how == "drip of a body":
                closed = True  # see `test_limits.py`: its speed in the long run is looked at
        meanwhile = served.session(secrets["viewer"]).get("/v1/me").status_code

    assert closed
    assert meanwhile == 200


# What is kept


def test_secrets_stand_nowhere(served: Running, secrets: dict[str, str], journal: Path) -> None:
    """No secret that was shown, in whatever place, stands in the log of requests, in an answer or in any store."""
    canaries = [f"mlsdk_{'c' * 16}_canary{number}{'x' * 36}" for number in range(8)]
    answers = [
        served.session(canaries[0]).get("/v1/me"),
        requests.get(f"{served.url}/v1/me", headers={"Authorization": f"Basic {canaries[1]}"}, timeout=10),
        requests.get(f"{served.url}/team", headers={"Cookie": f"mlsdk_token={canaries[2]}"}, timeout=10),
        requests.post(f"{served.url}/auth/token", data={"key": canaries[3]}, timeout=10),
        requests.get(f"{served.url}/v1/me?token={canaries[4]}", timeout=10),
        served.session(secrets["viewer"]).post("/v1/tokens", data=canaries[5]),
        served.session(secrets["viewer"]).post("/v1/tokens", json={"scopes": {canaries[6]: "viewer"}}),
        requests.get(f"{served.url}/v1/me", headers={"Proxy-Authorization": canaries[7]}, timeout=10),
    ]
    made = served.session(secrets["writer"]).post("/v1/tokens", json={"scopes": {"team": "viewer"}}).json()["secret"]
    served.session(made).get("/v1/w/team/logs")
    root = Path(served.service.workspaces.uri.partition(":")[2])
    kept = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file()) + journal.read_bytes()
    shown = [*canaries[:6], canaries[7], made, *filter(None, secrets.values())]
    hidden = [secret.split("_", 2)[-1].encode() for secret in shown if secret != "canary-malformed"]

    assert all(one.status_code >= 400 for one in answers)
    assert [secret for secret in hidden if secret in kept] == []
    assert not any(canary in one.text for one in answers[:6] for canary in canaries)


def test_errors_tell_no_paths(served: Running, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure of the server is told by an id, without paths, hosts or traces; its log has the rest."""
    store = served.service.workspaces.store("team")
    root = served.service.workspaces.uri.partition(":")[2]

    def fail(*_: object) -> None:
        raise OSError(f"cannot read {root}/secret.db")

    monkeypatch.setattr(store.catalog, "count", fail)
    answer = served.session(secrets["viewer"]).post("/v1/w/team/count", json={})

    assert answer.status_code == 500
    assert root not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["X-Request-Id"] in answer.text


def test_acts_are_in_the_chain(served: Running, secrets: dict[str, str]) -> None:
    """An operator's or an admin's act that was refused to somebody stands in the audit chain, which is whole."""
    writer = served.session(secrets["writer"])
    writer.put("/v1/w/team/members/writer", json={"role": "admin"})
    writer.post("/v1/workspaces", json={"name": "mine"})
    operator = served.session()
    entries, after = [], None
    while True:
        part = operator.get("/v1/audit", params={"after": after} if after else None).json()
        entries, after = entries + part["entries"], part["after"]
        if after is None:
            break
    refused = [entry for entry in entries if entry["act"] == "refused" and entry["actor"] == "writer"]

    assert {"make workspace"} <= {entry["wanted"] for entry in refused}
    assert any("members" in entry["wanted"] for entry in refused)
    assert operator.get("/v1/audit/verified").json()["findings"] == []
    assert ALL not in {entry["actor"] for entry in entries}
