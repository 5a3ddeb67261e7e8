"""A server as a process of its own, which can be killed, and what must be true of it and its clients afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from mlsdk.log.frames import Frame, frames
from mlsdk.store import outbox
from mlsdk.store.base import Store, open_file
from mlsdk.store.gc import references
from mlsdk.store.http.address import address_of
from mlsdk.store.http.logs import HttpLogs
from mlsdk.store.http.session import Session
from mlsdk.store.sync import blobs_named
from tests import programs
from tests.servers.ports import free_port


class Served:
    """`mlsdk serve` as a process.

    Args:
        place: folder or URI of what it serves.
        home: folder for its configuration, output and for what clients keep.
        *options: more of its options.
        **variables: of its environment.

    Attributes:
        port: where it listens, also after it was started again.
        token: of its operator.
    """

    def __init__(self, place: str, home: Path, *options: str, **variables: str) -> None:
        self.place, self.home, self.options = place, home, options
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        home.mkdir(parents=True, exist_ok=True)
        self._variables = {"XDG_CONFIG_HOME": str(home), **variables}
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def token(self) -> str:
        """See above."""
        kept = json.loads((self.home / "mlsdk" / "credentials.json").read_text("utf-8"))["tokens"]
        return str(next(iter(kept.values())))

    @property
    def output(self) -> str:
        """All that it has said."""
        return (self.home / "output").read_text("utf-8", "replace")

    def start(self, *, wait: bool = True) -> None:
        """Start it."""
        command = [sys.executable, "-m", "mlsdk", "serve", self.place, "--port", str(self.port), *self.options]
        with open(self.home / "output", "ab") as output:
            environment = programs.environment(**self._variables)
            self._process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        if wait:
            assert programs.eventually(self.answers, within_s=60), self.output

    def answers(self) -> bool:
        """Whether it answers."""
        assert self._process is None or self._process.poll() is None, self.output
        try:
            urllib.request.urlopen(f"{self.url}/health", timeout=5).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it without a word."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Let it end."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(60)
            finally:
                self._process.kill()
            self._process = None

    def client(self, url: str | None = None, **settings: str) -> dict[str, str]:
        """Settings of a client, whose outbox lies in the server's `home`."""
        told = {"MLSDK_STORE": f"{url or self.url}/default", "MLSDK_TOKEN": self.token}
        return {**told, "MLSDK_OUTBOX": str(self.home / "outboxes"), "MLSDK_REQUEST_TIMEOUT_S": "3", **settings}

    def outbox(self, url: str | None = None) -> Path:
        """The outbox of such a client."""
        return outbox_of(f"{url or self.url}/default", self.home / "outboxes")


def logs_of(url: str, token: str) -> HttpLogs:
    """Logs on a server, without settings."""
    return HttpLogs(Session(address_of(f"{url}/default"), token=token))


def outbox_of(uri: str, base: Path) -> Path:
    """The outbox of a store below a folder, in whatever environment."""
    return base / os.path.basename(outbox.folder_of(uri))


def call(settings: dict[str, str], *arguments: str, within_s: float = 90.0) -> Any:
    """What a command of `mlsdk` prints as JSON, with the settings of a client."""
    done = subprocess.run(
        [sys.executable, "-m", "mlsdk", *arguments, "--json"],
        env=programs.environment(**settings),
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def gone(root: Path, within_s: float = 60.0) -> bool:
    """Whether the companions of an outbox end in time."""
    return programs.eventually(lambda: not programs.companions(root), within_s=within_s)


def end_companions(root: Path) -> None:
    """Kill what works on an outbox, and wait until it has gone."""
    for pid in programs.companions(root):
        os.kill(pid, signal.SIGKILL)
    gone(root)


def settle(root: Path, settings: dict[str, str], tries: int = 20) -> None:
    """Send all that waits, as often as that takes; companions end by themselves then."""
    for _ in range(tries):
        left = call(settings, "sync")
        if not any(part["left"] for part in left) and not _unsent(root) and gone(root, 5):
            break
        time.sleep(0.2)
    else:
        raise AssertionError(f"not up: {left}, {_unsent(root)}, {outbox.status(str(root))}")


def _unsent(root: Path) -> list[str]:
    """Markers of logs that are there: a companion that was killed may have announced one that it never made."""
    logs = open_file(f"file:{root}", ":memory:").logs
    return [marker for marker in outbox.markers(str(root)) if logs.size(f"runs/{marker.replace('.', '/')}")]


def differences(root: Path, there: Store) -> list[str]:
    """What an outbox holds and a store does not hold just so: each log byte for byte, each blob that a log names."""
    here = open_file(f"file:{root}", ":memory:")
    names = list(here.logs.list("runs/"))
    found = []
    for log in names:
        data = here.logs.read(log)
        data = data[: max((frame.end for frame in frames(data) if isinstance(frame, Frame)), default=0)]
        other = there.logs.read(log) if there.logs.size(log) else b""
        if data != other:
            found.append(f"{log}: {len(data):,} bytes here, {len(other):,} there")
    missing = set(blobs_named(here, references(here, names, []))) - set(there.blobs.list())
    return found + [f"blob {digest} is not there" for digest in sorted(missing)]
