"""`mlsdk serve` as people start it: the first start, where it listens, how it stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from mlsdk.cli import main
from mlsdk.errors import StoreError, UsageError
from mlsdk.server.listen import bind
from mlsdk.server.workspaces import Workspaces, check_name, place_of
from tests.programs import eventually
from tests.servers.http import Session, pieces
from tests.servers.ports import free_port

LOG = f"runs/{'a' * 32}/{'b' * 32}"


class Served:
    """A process of `mlsdk serve` that is ready."""

    def __init__(self, process: subprocess.Popen[str], url: str, said: list[str], token: str) -> None:
        self.process, self.url, self.said, self.token = process, url, said, token


@contextmanager
def serving(folder: Path, *options: str, store: str | None = None) -> Iterator[Served]:
    """The command, on a free port; ended by SIGTERM if it has not ended."""
    port = free_port()
    words = [sys.executable, "-m", "mlsdk", "serve", store or str(folder / "store"), "--port", str(port), *options]
    told = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=told) as process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(3)]
            assert all(said), process.stderr.read() if process.stderr else ""
            kept = json.loads((folder / "config" / "mlsdk" / "credentials.json").read_text("utf-8"))["tokens"]
            url = f"http://127.0.0.1:{port}"
            _wait_for(url)
            yield Served(process, url, said, kept[url])
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=30)


def _wait_for(url: str) -> None:
    for _ in range(400):
        try:
            requests.get(f"{url}/health", timeout=5)
            return
        except requests.ConnectionError:
            time.sleep(0.025)
    raise AssertionError(f"nothing answers at {url}")


def test_the_first_start(tmp_path: Path) -> None:
    """The first start makes a store, an operator and a private token, says in three lines how to go on, and stops."""
    with serving(tmp_path, "--access-log", str(tmp_path / "access.log")) as served:
        api = Session(served.url, served.token)
        me = api.get("/v1/me").json()
        appended = api.append(pieces((LOG, 0, b"x"))).status_code
        stranger = Session(served.url, "").get("/v1").status_code
        served.process.send_signal(signal.SIGTERM)
        code = served.process.wait(30)
        rest = served.process.stderr.read() if served.process.stderr else ""
    config = tmp_path / "config" / "mlsdk" / "credentials.json"
    lines = (tmp_path / "access.log").read_text("utf-8").splitlines()

    assert me["roles"] == {"*": "admin"}
    assert (appended, stranger, code) == (200, 401, 0)
    assert f"export MLSDK_STORE={served.url}/default" in "".join(served.said)
    assert config.stat().st_mode & 0o777 == 0o600
    assert served.token not in "".join(served.said) + rest + "".join(lines)
    assert "Traceback" not in rest
    assert (tmp_path / "store" / "runs" / ("a" * 32)).is_dir()


def test_a_second_start_keeps_the_token(tmp_path: Path) -> None:
    """Whoever started the server of a folder before is known, also at another port."""
    with serving(tmp_path) as first:
        before = first.token
    with serving(tmp_path) as second:
        answers = [Session(second.url, token).get("/v1/me") for token in (before, second.token)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["actor"] == answers[1].json()["actor"]


def _ready(served: Served) -> int | None:
    """The status of readiness; None if no connection is taken."""
    try:
        return Session(served.url, "").get("/ready").status_code
    except requests.ConnectionError:
        return None


def test_a_stop_finishes_what_is_under_way(tmp_path: Path) -> None:
    """After SIGTERM readiness is denied first; a request that had begun is answered; then the process ends well."""
    with serving(tmp_path, "--drain-s", "2") as served:
        port = int(served.url.rpartition(":")[2])
        body = pieces((LOG, 0, b"x" * 1000))
        head = (
            f"POST /v1/w/default/append HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.token}\r\n"
            f"Content-Type: application/x-mlsdk-pieces\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(head + body[:500])
            served.process.send_signal(signal.SIGTERM)
            denied = eventually(lambda: _ready(served) == 503)
            deaf = eventually(lambda: _ready(served) is None)
            connection.sendall(body[500:])
            answer = connection.recv(65_536)
        code = served.process.wait(30)

    assert denied
    assert deaf
    assert answer.startswith(b"HTTP/1.1 200")
    assert code == 0


def test_kill_loses_nothing(tmp_path: Path) -> None:
    """What was acknowledged is there after `kill -9`; the next start goes on."""
    with serving(tmp_path) as served:
        api = Session(served.url, served.token)
        ends = [api.append(pieces((LOG, at, b"x" * 10))).json()["ends"][0] for at in range(0, 500, 10)]
        served.process.kill()
        served.process.wait(30)
    with serving(tmp_path) as served:
        api = Session(served.url, served.token)
        size = int(api.head(f"/v1/w/default/logs/{LOG}").headers["Mlsdk-Size"])
        verified = api.get("/v1/w/default/audit/verified").json()

    assert size == ends[-1] == 500
    assert verified["findings"] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "--tls-cert"),
        (["--host", "::"], "--behind-proxy"),
        (["--tls-cert", "x"], "--tls-key"),
        (["--tls-cert", "x", "--tls-key", "y"], "no certificate"),
        (["--workers", "3"], "postgresql"),
        (["--workers", "0"], "1 or more"),
        (["--rate", "-1"], "negative"),
        (["--body-mib", "0"], "bodies"),
        (["--host", "203.0.113.1", "--insecure"], "cannot listen"),
    ],
)
def test_what_is_refused(options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The network is not opened by accident; a mistake in the options says what to do."""
    code = main(["serve", str(tmp_path / "store"), "--port", "0", *options])

    assert code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A port on which another program listens is named."""
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        code = main(["serve", str(tmp_path / "store"), "--port", str(port)])

    assert code == 2
    assert f"127.0.0.1:{port}" in capsys.readouterr().err


def test_a_server_is_not_served(capsys: pytest.CaptureFixture[str]) -> None:
    """The store of another server cannot be served again."""
    code = main(["serve", "http://127.0.0.1:9/default", "--port", "0"])

    assert code == 2
    assert "is a server already" in capsys.readouterr().err


def test_without_the_packages(tmp_path: Path) -> None:
    """Where the packages of the extra are missing, the command says what to install."""
    code = "import sys; sys.modules['starlette'] = None; from mlsdk.cli import main; sys.exit(main(['serve', 'x']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert "pip install 'mlsdk[server]'" in done.stderr


def test_places_of_workspaces() -> None:
    """Each workspace is a folder, a schema or a prefix of its own; the default one is the place itself."""
    places = {
        "file:/a": ("file:/a", "file:/a/workspaces/team", "file:/a/server"),
        "memory:m": ("memory:m", "memory:m.workspaces.team", "memory:m.server"),
        "s3://b/p?region=x": ("s3://b/p?region=x", "s3://b/p/workspaces/team?region=x", "s3://b/p/server?region=x"),
        "postgresql://h/d": (
            "postgresql://h/d",
            "postgresql://h/d?schema=mlsdk_team",
            "postgresql://h/d?schema=mlsdk_server",
        ),
    }
    long = place_of("postgresql://h/d", "a" * 63)

    for uri, expected in places.items():
        assert tuple(place_of(uri, name) for name in ("default", "team", None)) == expected
    assert len(long.partition("schema=")[2]) == 63
    assert "blobs=s3%3A%2F%2Fb%2Fp%2Fworkspaces%2Fteam" in place_of("postgresql://h/d?blobs=s3://b/p", "team")
    with pytest.raises(StoreError):
        Workspaces("ftp://x")


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "a" * 64, "server", "v1", "auth", "*", "a/b", "..", "a.b", "ä"])
def test_names_that_no_workspace_can_have(name: str) -> None:
    """A workspace's name cannot be mistaken for something else."""
    with pytest.raises(UsageError):
        check_name(name)
