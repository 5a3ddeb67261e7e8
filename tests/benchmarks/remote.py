"""A team's server under load: a real `mlsdk serve` in a process of its own over a real PostgreSQL, and real clients."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.clients import POINTS
from tests.benchmarks.measure import ROOT, Row, environment
from tests.servers.postgres import own_server

CLIENTS = 64
_DURABLE = ("fsync=on", "shared_buffers=512MB", "max_wal_size=4GB")


class Team(NamedTuple):
    """A server over PostgreSQL."""

    url: str
    database: str
    """The URI of the store behind it."""
    folder: Path
    server: int
    """Its process."""
    postgres: int
    """The process that is the parent of the database's."""

    def variables(self, outbox: str = "outbox") -> dict[str, str]:
        """Of the environment of a client."""
        places = {"XDG_CONFIG_HOME": str(self.folder / "config"), "MLSDK_OUTBOX": str(self.folder / outbox)}
        return {**places, "MLSDK_STORE": f"{self.url}/default", "MLSDK_EXIT_WAIT_S": "300"}


@contextmanager
def team(database: str | None = None, *options: str) -> Iterator[Team]:
    """A server that is started here.

    Args:
        database: URI of its store; by default in a PostgreSQL that is started too, which waits for the disk.
        *options: of `mlsdk serve`.
    """
    with contextlib.ExitStack() as ending:
        postgres = 0
        if database is None:
            own = own_server(*_DURABLE)
            ending.callback(own.remove)
            database, postgres = own.uri("team"), own.processes()[0]
        where = Path(tempfile.mkdtemp(prefix="mlsdk-bench-"))
        ending.callback(shutil.rmtree, where, ignore_errors=True)
        command = [sys.executable, "-m", "mlsdk", "serve", database, "--port", "0", *options]
        env = environment(XDG_CONFIG_HOME=str(where / "config"), PYTHONUNBUFFERED="1")
        process = subprocess.Popen(command, env=env, cwd=where, stdout=subprocess.PIPE, text=True)
        ending.callback(process.wait)
        ending.callback(process.terminate)
        assert process.stdout is not None
        url = process.stdout.readline().partition(" at ")[2].split()[0]
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield Team(url, database, where, process.pid, postgres)


class Watch:
    """What the server, the companions and the database use meanwhile, and how many bytes of runs are there.

    Args:
        of: the server.
    """

    def __init__(self, of: Team) -> None:
        import psycopg

        from mlsdk.store import open_store
        from mlsdk.store.postgres.address import address

        open_store(of.database)  # made, if nobody has used it yet
        self._of, where = of, address(of.database)
        self._db = psycopg.connect(where.conninfo, autocommit=True)
        self._sizes = f'SELECT log, size FROM "{where.schema}".logs WHERE log LIKE %s'
        self.cpu: dict[str, dict[int, float]] = {"server": {}, "companion": {}, "postgres": {}}
        self.resident_bytes = self.grown_bytes = 0
        self.sizes: dict[str, tuple[int, float]] = {}
        """Of each log, and since when it has that size."""
        self._chunks = f"SELECT pg_total_relation_size('\"{where.schema}\".chunks')"
        self._stopped = threading.Event()
        self._look()
        self._held = self.held_bytes()
        self._before = self._sums()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopped.wait(0.2):
            self._look()

    def _look(self) -> None:
        now = time.time()
        for log, size in self._db.execute(self._sizes, ("runs/%",)).fetchall():
            if self.sizes.get(log, (0, 0.0))[0] != size:
                self.sizes[log] = size, now
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                pid, line = int(process.name), (process / "stat").read_text()
                parent = int(line.rpartition(")")[2].split()[1])
                who = "server" if self._of.server in (pid, parent) else None
                who = "postgres" if self._of.postgres in (pid, parent) else who
                if who is None and b"mlsdk.companion" in (process / "cmdline").read_bytes():
                    who = "companion" if str(self._of.folder).encode() in (process / "environ").read_bytes() else None
                if who:
                    self.cpu[who][pid] = cpu_s(line, with_ended=pid == self._of.postgres)
                if who == "server":
                    pages = int((process / "statm").read_text().split()[1])
                    self.resident_bytes = max(self.resident_bytes, pages * os.sysconf("SC_PAGE_SIZE"))

    def _sums(self) -> dict[str, float]:
        return {who: sum(found.values()) for who, found in self.cpu.items()}

    def stop(self) -> dict[str, float]:
        """CPU seconds of each since the beginning."""
        self._stopped.set()
        self._thread.join()
        self._look()
        self.grown_bytes = self.held_bytes() - self._held
        self._db.close()
        return {who: total - self._before[who] for who, total in self._sums().items()}

    def held_bytes(self) -> int:
        """That the pieces of logs take in the database."""
        return int(self._db.execute(self._chunks).fetchone()[0])  # type: ignore[index]

    def there(self, runs: set[str]) -> tuple[int, float]:
        """Bytes of the longest log of each run, and when the last of them was whole."""
        longest: dict[str, tuple[int, float]] = {}
        for log, found in self.sizes.items():
            run = log.split("/")[1]
            if run in runs:
                longest[run] = max(found, longest.get(run, found))
        return sum(size for size, _ in longest.values()), max(at for _, at in longest.values())


def cpu_s(line: str, *, with_ended: bool) -> float:
    """CPU seconds in a line of `/proc/<pid>/stat`, if wanted with those of children that have ended."""
    fields = line.rpartition(")")[2].split()
    return sum(map(int, fields[11:15] if with_ended else fields[11:13])) / os.sysconf("SC_CLK_TCK")


def load(of: Team, clients: int = CLIENTS, points: int = POINTS, outboxes: int = 1) -> dict[str, Any]:
    """Many training processes of one host at once, from the first `log` until all is in the database and found."""
    code = f"import json; from tests.benchmarks import clients; print('RESULT', json.dumps(clients.client({points})))"
    env = [environment(**of.variables(f"outbox{number % outboxes}")) for number in range(clients)]
    kept: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    started = [subprocess.Popen([sys.executable, "-c", code], env=one, **kept) for one in env]
    for process in started:
        process.stdout.readline()
    watch = Watch(of)
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    found = []
    for process in started:
        out = process.communicate()[0]
        found.append(json.loads(next(line for line in out.splitlines() if line.startswith("RESULT "))[7:]))
    began, ended = min(one["began"] for one in found), max(one["ended"] for one in found)
    first = time.time()
    counted = _counted(of, {one["id"] for one in found}, points)
    seen = time.time()
    cpu = watch.stop()
    size, there = watch.there({one["id"] for one in found})
    order = sorted(one["p99"] for one in found)
    return {
        "points": clients * points,
        "counted": counted,
        "log_s": ended - began,
        "there_s": there - began,
        "seen_s": seen - first,
        "size": size,
        "held": watch.grown_bytes,
        "median": sorted(one["median"] for one in found)[clients // 2],
        "p99": order[clients // 2],
        "p99_worst": order[-1],
        "longest": max(one["longest"] for one in found),
        "cpu": cpu,
        "server_bytes": watch.resident_bytes,
        "problems": sorted({problem for one in found for problem in one["problems"]}),
    }


def _counted(of: Team, ids: set[str], points: int) -> int:
    """Points of runs as the server's catalog has them, asked for until all are there."""
    from mlsdk.store import open_store

    with shell(of.variables()):
        store, until = open_store(f"{of.url}/default"), time.monotonic() + 300
        while True:
            runs = [run for run in store.find().runs if run.id in ids]
            count = sum(run.metrics["loss"].count for run in runs if "loss" in run.metrics)
            if count >= len(ids) * points or time.monotonic() > until:
                return count
            time.sleep(0.1)


@contextmanager
def shell(variables: dict[str, str]) -> Iterator[None]:
    """This process with other variables in its environment."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def replay(of: Team, senders: int, piece_bytes: int, batch: int, logs: int = 8) -> dict[str, Any]:
    """What one server takes from a few senders that have the bytes at hand."""
    call = f"clients.sender({piece_bytes}, {batch}, {logs}, {{}})"
    code = "import json; from tests.benchmarks import clients; print('RESULT', json.dumps({}))"
    kept: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    env = environment(**of.variables())
    codes = [code.format(call.format(number)) for number in range(senders)]
    started = [subprocess.Popen([sys.executable, "-c", one], env=env, **kept) for one in codes]
    for process in started:
        process.stdout.readline()
    watch = Watch(of)
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    found = [json.loads(process.communicate()[0].rpartition("RESULT ")[2]) for process in started]
    cpu = watch.stop()
    seconds = max(one["ended"] for one in found) - min(one["began"] for one in found)
    taken = sorted(value for one in found for value in one["taken"])
    size, points = sum(one["size"] for one in found), sum(one["points"] for one in found)
    return {
        "points_per_s": points / seconds,
        "mb_per_s": size / seconds / 1e6,
        "median_ms": taken[len(taken) // 2],
        "p99_ms": taken[int(len(taken) * 0.99)],
        "requests": len(taken),
        "held": watch.grown_bytes / points,
        "cpu": {who: used / points * 1e6 for who, used in cpu.items()},
        "server_bytes": watch.resident_bytes,
    }


def team_load() -> list[Row]:
    """64 training processes of one host, 100,000 points each, through one server on PostgreSQL (only with --large)."""
    rows = []
    with team() as of:
        for outboxes in (1, 4):
            found = load(of, outboxes=outboxes)
            speed, points = found["points"] / found["there_s"], found["points"] / 1e6
            cpu = ", ".join(f"{who} {used / points:.2f}" for who, used in found["cpu"].items())
            lost = found["points"] - found["counted"]
            shown = f"{speed / 1e6:.2f} million a second, {lost:,} lost"
            what = (
                f"{CLIENTS} clients x {POINTS:,} points through one server, {outboxes} outboxes: points in PostgreSQL"
            )
            rows.append(Row(what, shown, "-", f"CPU s a million points: {cpu}", lost == 0))
            calls = f"{found['median']:.2f} / {found['p99']:.1f} µs, slowest client's p99 {found['p99_worst']:.0f} µs"
            rows.append(Row("… `log(loss=x)` meanwhile: median / p99", calls, "microseconds", "", found["p99"] < 1000))
        for name, arguments in (("4 senders, 100 KB x 8", (4, 100_000, 8)), ("2 senders, 1 MB x 4", (2, 1_000_000, 4))):
            found = replay(of, *arguments)
            shown = f"{found['points_per_s'] / 1e6:.2f} million points a second, {found['mb_per_s']:.0f} MB/s"
            took = f"a request: median {found['median_ms']:.0f} ms, p99 {found['p99_ms']:.0f} ms"
            rows.append(Row(f"… logs made already, {name} a request", shown, "-", took))
    return rows
