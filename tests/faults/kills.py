"""Rounds in which a client, a server over PostgreSQL, or the database is killed while work is going on."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mlsdk.errors import MlsdkError, UnavailableError
from mlsdk.store import open_store
from mlsdk.store.sqlite import SQLiteCatalog
from mlsdk.testing import MadeLog
from tests import programs
from tests.faults.remote import Served, differences, end_companions, logs_of, settle
from tests.servers.postgres import PostgresServer

ENDLESS = 10**9
"""Points of a client that is to be killed: it must not end before."""

VICTIMS = ("client", "companion", "server", "postmaster", "backend")

CLIENT = """
import os, struct, sys
pipe = int(sys.argv[1])
with mlsdk.run(name=sys.argv[2], capture=()) as run:
    os.write(pipe, struct.pack("<q", -1))
    run.log_artifact(os.urandom(300_000), name="model")
    for number in range(int(sys.argv[3])):
        mlsdk.log(a=number, b=number / 3)
        os.write(pipe, struct.pack("<q", number))
        if number % 50 == 0:
            os.sched_yield()
"""


class Verdict(NamedTuple):
    """What was found after all rounds."""

    rounds: int
    acknowledged: int
    """Calls of `log()` that had returned."""
    lost: int
    """Of these, how many are not on the server."""
    doubled: int
    """Points that are there twice, or in another order."""
    taken: int
    """Bytes that the server had acknowledged to one who appended to it directly all the time."""
    wrong: list[str]
    """Whatever else is not as it should be."""


class Appender:
    """Appends a log piece by piece to the server, and notes what was acknowledged."""

    def __init__(self, served: Served) -> None:
        self.log = MadeLog().facts({"run": {"name": "appended", "status": "finished"}})
        self.log.points(["x"], [(step, step / 7) for step in range(6_000)])
        self.acknowledged = 0
        self.errors: list[str] = []
        self._logs = logs_of(served.url, served.token)
        self._stopped = threading.Event()
        self._chance = random.Random(5)
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def _go(self) -> None:
        while not self._stopped.is_set() and self.acknowledged < len(self.log.data):
            size = self._chance.randrange(1, 300)
            piece = self.log.data[self.acknowledged : self.acknowledged + size]
            try:
                self.acknowledged = self._logs.append(self.log.name, self.acknowledged, piece)
            except MlsdkError as error:
                if not isinstance(error, UnavailableError):
                    self.errors.append(repr(error))
                self._stopped.wait(0.05)
            self._stopped.wait(0.02)

    def stop(self) -> None:
        """Stop appending."""
        self._stopped.set()
        self._thread.join(60)


class Rounds:
    """A server over PostgreSQL, and clients that log to it through their outbox.

    Args:
        home: a folder.
        database: with fsync on: what it has committed it must keep.
        seed: of what is killed, and when.
    """

    def __init__(self, home: Path, database: PostgresServer, seed: int) -> None:
        self._home, self._database = home, database
        self._chance = random.Random(seed)
        self._schema = f"kills{seed}_{os.getpid()}"
        self._served = Served(database.uri(self._schema), home / "server", "--rate", "0")
        self._settings = self._served.client(MLSDK_SHIP_WAIT_S="1", MLSDK_EXIT_WAIT_S="5")
        self._outbox = self._served.outbox()
        self._program = home / "client.py"
        self._program.write_text("import mlsdk\n" + CLIENT, "utf-8")
        self._acknowledged: dict[str, int] = {}
        self._appender = Appender(self._served)

    def run(self, count: int) -> Verdict:
        """Kill so many times, and look what is there."""
        try:
            for number in range(count):
                self._round(number, VICTIMS[number % len(VICTIMS)])
            self._appender.stop()
            return self._verdict(count)
        finally:
            self._appender.stop()
            end_companions(self._outbox)
            self._served.stop()

    def _round(self, number: int, victim: str) -> None:
        name = f"run {number}"
        ours, theirs = os.pipe()
        process = subprocess.Popen(
            [sys.executable, str(self._program), str(theirs), name, str(ENDLESS if victim == "client" else 40_000)],
            env=programs.environment(**self._settings),
            pass_fds=[theirs],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        os.close(theirs)
        heard = os.read(ours, 8)
        deadline = time.monotonic() + self._chance.uniform(0.1, 1.5)
        while time.monotonic() < deadline and (more := os.read(ours, 65_536)):
            heard = (heard + more)[-16:]
        again = self._kill(victim, process)
        end = time.monotonic() + self._chance.uniform(0.0, 1.0)
        while time.monotonic() < end:
            time.sleep(0.05)
        again()
        while more := os.read(ours, 65_536):
            heard = (heard + more)[-16:]
        os.close(ours)
        said = process.communicate(timeout=60)[1].decode()
        assert "Traceback" not in said, said
        assert process.returncode == (-signal.SIGKILL if victim == "client" else 0)
        self._acknowledged[name] = int.from_bytes(heard[-8:], "little", signed=True) + 1

    def _kill(self, victim: str, process: subprocess.Popen[bytes]) -> Callable[[], None]:
        """Kill somebody; returns how to bring them back."""
        if victim == "client":
            process.kill()
        if victim in ("client", "companion"):
            for pid in programs.companions(self._outbox):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        elif victim == "server":
            self._served.kill()
            return self._served.start
        elif victim == "postmaster":
            processes = self._database.processes()
            for pid in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._database.stop(signal.SIGKILL)
            programs.eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in processes))
            return self._database.start
        else:
            for pid in self._chance.sample(self._database.processes()[1:], 1):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return lambda: None

    def _verdict(self, count: int) -> Verdict:
        assert programs.eventually(self._served.answers, within_s=60)
        settle(self._outbox, self._settings)
        store = open_store(self._database.uri(self._schema))
        lost = doubled = 0
        wrong = differences(self._outbox, store) + self._appender.errors
        store.refresh()
        for name, acknowledged in self._acknowledged.items():
            values = list(store.find_one(name).history("a").values) if acknowledged else []
            lost += max(0, acknowledged - len(values))
            doubled += values != list(range(len(values)))
        appender = self._appender
        kept = store.logs.read(appender.log.name)
        if kept != appender.log.data[: len(kept)] or len(kept) < appender.acknowledged:
            wrong.append(f"of {appender.acknowledged:,} acknowledged bytes {len(kept):,} are there, or others")
        fresh = SQLiteCatalog(":memory:", store.logs, store.blobs)
        fresh.rebuild()
        one, other = (
            {(listed.document, listed.status, listed.ended_ns) for listed in catalog.documents().runs}
            for catalog in (store.catalog, fresh)  # type: ignore[attr-defined]
        )
        wrong += [f"the catalog and the logs say different things: {listed[0][:300]}" for listed in one ^ other]
        self._asked("doctor", "--fix", "--store", str(self._outbox))  # a torn end is what a kill may leave
        wrong += self._asked("doctor", "--deep", "--store", str(self._outbox))
        wrong += self._asked("audit", "--verify")
        if "Traceback" in self._served.output:
            wrong.append(self._served.output[-3000:])
        total = sum(self._acknowledged.values())
        return Verdict(count, total, lost, doubled, appender.acknowledged, wrong)

    def _asked(self, *arguments: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "mlsdk", *arguments],
            env=programs.environment(**self._settings),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        return [] if done.returncode == 0 else [f"mlsdk {' '.join(arguments)}: {done.stdout} {done.stderr}"]
