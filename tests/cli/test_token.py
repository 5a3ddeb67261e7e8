"""`token`, `member`, `workspace` and `audit`: over HTTP, and on the server's own machine."""

from __future__ import annotations

import json

import pytest

from mlsdk.server.access import Role
from mlsdk.server.audit import Audit
from mlsdk.store import credentials
from tests.servers.http import running


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with running(f"file:{tmp_path_factory.mktemp('served')}/store") as found:
        yield found


@pytest.fixture(autouse=True)
def _home(monkeypatch, tmp_path, served):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    credentials.save(served.url, served.token)


@pytest.fixture(params=["http", "file"])
def place(request, served):
    """The server by its address, or its store by its folder."""
    return f"{served.url}/default" if request.param == "http" else served.service.workspaces.uri


def test_tokens(call, served, place):
    """A token's secret is the only thing on stdout; it works, is listed without it, and stops when it is revoked."""
    served.service.access.set_member("op", "default", "ann", Role.WRITER)
    code, secret, said = call("token", "make", "--actor", "ann", "--note", "for CI", "--store", place)
    secret = secret.strip()
    works = served.session(secret).get("/v1/me").json()
    listed = call("token", "list", "--all", "--store", place)[1]
    revoked = call("token", "revoke", works["token"], "--store", place)
    after = served.service.access.token(works["token"])

    assert (code, works["actor"], works["roles"]) == (0, "ann", {"default": "writer"})
    assert "shown this once" in said
    assert secret not in said
    assert works["token"] in listed
    assert "for CI" in listed
    assert secret not in listed
    assert revoked[0] == 0
    assert after.revoked


def test_a_token_that_allows_nothing(call, served, place):
    """Who makes a token for somebody without the role is told the command that gives it."""
    said = call("token", "make", "--actor", "zoe", "--store", place)[2]
    call("member", "set", "zoe", "writer", "--store", place)
    then = call("token", "make", "--actor", "zoe", "--store", place)[2]
    call("member", "remove", "zoe", "--store", place)

    assert "mlsdk member set zoe writer --workspace 'default'" in said
    assert "member set" not in then


def test_members_and_workspaces(call, served, place):
    """Workspaces are made and taken away, roles given and taken."""
    name = "team" if "http" in place else "squad"
    made = call("workspace", "make", name, "--store", place)
    call("member", "set", "bob@example.org", "approver", "--workspace", name, "--store", place)
    listed = json.loads(call("member", "list", "--workspace", name, "--store", place, "--json")[1])["members"]
    taken = call("member", "remove", "bob@example.org", "--workspace", name, "--store", place)
    names = call("workspace", "list", "--store", place)[1]
    gone = call("workspace", "remove", name, "--store", place)

    assert [one[0] for one in (made, taken, gone)] == [0, 0, 0]
    assert {"actor": "bob@example.org", "role": "approver", "everywhere": False} in listed
    assert name in names
    assert name not in served.service.access.workspaces() or served.service.access.refresh() is None
    assert name not in served.service.access.workspaces()


def test_audit(call, served, place):
    """The chain is shown, and checked; a broken one is said, and is an exit code."""
    Audit(served.service.workspaces.home, "shown").record("ann", "a special act", what="x\x1b[2J")
    shown = call("audit", "--workspace", "*", "--store", place)
    checked = call("audit", "--verify", "--workspace", "*", "--store", place)

    assert "a special act" in shown[1]
    assert "\x1b" not in shown[1]
    assert (checked[0], "all is well" in checked[1]) == (0, True)


def test_broken_audit(call, tmp_path):
    """A chain that was changed makes `audit --verify` fail, with the place."""
    with running(f"file:{tmp_path}/store") as other:
        home = other.service.workspaces.home
        other.service.audit("").record("ann", "act")
        (log,) = other.service.audit("").logs()
        lines = home.logs.read(log).splitlines(keepends=True)
        home.logs.delete(log)
        home.logs.append(log, 0, lines[0] + lines[1].replace(b"ann", b"eve") + b'{"prev":""}\n')
        found = call("audit", "--verify", "--workspace", "*", "--store", f"file:{tmp_path}/store")

    assert found[0] == 1
    assert f"{log} is broken at entry 2" in found[1]


def test_mistakes(call, served):
    """What cannot be meant is refused, with how it is written."""
    url = f"{served.url}/default"
    local = served.service.workspaces.uri

    assert "token revoke ID" in call("token", "revoke", "--store", url)[2]
    assert "WORKSPACE=ROLE" in call("token", "make", "--scope", "default:king", "--store", url)[2]
    assert "say who" in call("token", "make", "--store", local)[2]
    assert "member set NAME ROLE" in call("member", "set", "ann", "--store", url)[2]
    assert "workspace make NAME" in call("workspace", "make", "--store", url)[2]
    assert "only operator" in call("member", "remove", "operator", "--workspace", "*", "--store", url)[2]
