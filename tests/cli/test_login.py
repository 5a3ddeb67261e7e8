"""`login`, `logout`, `whoami`: tokens are tried out, kept, forgotten, and never shown."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys

import pytest

from mlsdk.store import credentials
from tests.conftest import ROOT
from tests.servers.http import running


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with running(f"file:{tmp_path_factory.mktemp('served')}/store") as found:
        yield found


@pytest.fixture(autouse=True)
def _home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def given(monkeypatch):
    """Put a text into stdin."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_signing_in_and_out(call, served, given):
    """A token that works is kept, shows who one is, and is forgotten when asked."""
    given(f"{served.token}\n")
    said = call("login", f"{served.url}/default", "--token-stdin")
    kept = credentials.token_for(served.url)
    who = call("whoami", served.url)
    gone = [call("logout", served.url)[1], call("logout", served.url)[1]]
    after = call("whoami", served.url)

    assert (said[0], said[2]) == (0, "")
    assert "operator" in said[1]
    assert "credentials.json" in said[1]
    assert kept == served.token
    assert "operator" in who[1]
    assert "all workspaces" in who[1]
    assert "admin" in who[1]
    assert "forgotten" in gone[0]
    assert "no token" in gone[1]
    assert after[0] == 2
    assert f"mlsdk login {served.url}" in after[2]
    assert served.token not in "".join([*said[1:], *who[1:], *gone, *after[1:]])


def test_a_token_that_does_not_work_is_not_kept(call, served, given):
    """A wrong token is refused by the server, and nothing is kept; it is not shown."""
    given("mlsdk_wrong_token1")
    code, out, err = call("login", served.url, "--token-stdin")

    assert (code, out) == (2, "")
    assert "mlsdk_wrong" not in err
    assert credentials.origins() == []


@pytest.mark.parametrize("text", ["", "\n"])
def test_no_token(call, served, given, text):
    """Nothing given is nothing kept."""
    given(text)

    assert call("login", served.url, "--token-stdin")[0] == 2
    assert credentials.origins() == []


def test_json(ask, served, given, monkeypatch):
    """With --json the answers are objects; the store of the settings is the default."""
    monkeypatch.setenv("MLSDK_STORE", f"{served.url}/default")
    given(served.token)
    found = ask("login", "--token-stdin")
    who = ask("whoami")
    gone = ask("logout")

    assert found["kept_in"] == credentials.path()
    assert (who["server"], who["actor"], who["roles"], who["expires_at"]) == (
        served.url,
        "operator",
        {"*": "admin"},
        None,
    )
    assert gone == {"server": served.url, "forgotten": True}
    assert served.token not in json.dumps([found, who, gone])


def test_which_server(call, given):
    """Where no server is meant, the message says what to write, and what there is."""
    credentials.save("https://runs.example", "token")
    code, _, err = call("whoami")

    assert code == 2
    assert "https://runs.example" in err


def test_the_environment_goes_first(call, served, given, monkeypatch):
    """Who keeps a token while MLSDK_TOKEN says another one is told so."""
    monkeypatch.setenv("MLSDK_STORE", served.url)
    monkeypatch.setenv("MLSDK_TOKEN", "mlsdk_other_one")
    given(served.token)
    code, _, err = call("login", "--token-stdin")

    assert code == 0
    assert "MLSDK_TOKEN is set" in err


def test_without_a_terminal(call, served, given):
    """Where nobody can be asked, the way without asking is named."""
    given(served.token)
    code, _, err = call("login", served.url)

    assert code == 2
    assert "--token-stdin" in err


def test_a_terminal_does_not_show_the_token(served, tmp_path):
    """What is typed at the question is not shown in the terminal."""
    ours, theirs = pty.openpty()
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "mlsdk", "login", served.url]
    started = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=variables, start_new_session=True)
    os.close(theirs)
    seen = b""
    while b"not shown" not in seen:
        seen += os.read(ours, 4096)
    os.write(ours, served.token.encode() + b"\n")
    try:
        while data := os.read(ours, 4096):
            seen += data
    except OSError:  # how a terminal of Linux says that nobody has it open any more
        pass
    started.wait(30)
    os.close(ours)

    assert started.returncode == 0, seen
    assert b"operator" in seen
    assert served.token.encode() not in seen
    assert credentials.token_for(served.url) == served.token
