"""A million runs in a real PostgreSQL: made once, found by many filters. `python -m tests.benchmarks million_runs`.

The first runs are logs like those that training writes, and go in as `bulk.load` takes them in. The others are copies
that the database makes of them, with ids, times and names of their own, and other digits from the eighth on.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.measure import ROOT, Row, environment
from tests.benchmarks.remote import cpu_s, shell, team
from tests.servers.postgres import PostgresServer, own_server

RUNS, MADE = 1_000_000, 20_000
SERVER = ("shared_buffers=2GB", "max_wal_size=8GB", "checkpoint_timeout=30min", "maintenance_work_mem=512MB")
_SIDE_BY_SIDE = 4
_SCHEMA = "mlsdk_default"
_METRICS = ("acc", "m0", "m1", "m2", "m3")
_BEGAN_MS, _EVERY_MS = 1_700_000_000_000, 40_000
_LOG_NUMBERS = 4
"""Numbers of logs that are set aside for a run: more than it has."""
_OF_RUNS = {"states": "t.*", "vals": "t.*, b.id", "metrics": "t.*"}
_OF_LOGS = (
    ("logs", "l.*, l.id AS number", "logs l USING (log)"),
    ("chunks", "c.*, l.id AS number", "logs l USING (log) JOIN chunks c ON c.id = l.id"),
)
_INDEXES = {
    "chunks": ("chunks_pkey", "PRIMARY KEY (id, start)"),
    "vals": ("vals_pkey", "PRIMARY KEY (key, run) INCLUDE (value)"),
    "metrics": ("metrics_pkey", "PRIMARY KEY (key, run)"),
}

_MET_BY_3_PERCENT = "params.p0 < 0.03 and params.p1 < 0.03 and params.p2 < 0.03"
_MET_BY_10_PERCENT = "metrics.acc < 0.1 and params.p0 < 0.1 and params.p1 < 0.1 and params.p2 < 0.1"
_MET_BY_NONE = "params.p3 > 0.5 and params.p4 > 0.5 and params.opt = 'none'"
QUERIES: dict[str, tuple[str | None, str | None]] = {
    "top 10 of `metrics.acc > 0.9 and params.lr < 0.1`": ("metrics.acc > 0.9 and params.lr < 0.1", "-metrics.acc"),
    "top 10 of one experiment and tag": ("experiment = 'exp-07' and tags.team = 'vision'", "-metrics.acc"),
    "top 10 by a statistic (`metrics.acc.max`)": ("params.lr < 0.001", "-metrics.acc.max"),
    "10 newest of a broad filter": ("metrics.acc > 0.2", None),
    "one run by its name": ("name = 'exp-13-01234'", None),
    "10 of `name like 'exp-07-012%'`": ("name like 'exp-07-012%'", None),
    "10 of `name like '%-012_4'`": ("name like '%-012_4'", None),
    "10 of `name ~ '-0123[0-4]$'`": ("name ~ '-0123[0-4]$'", None),
    "none or few that fit, three conditions that 30,000 meet": (_MET_BY_3_PERCENT, "-metrics.acc"),
    "some 100 that fit, four conditions that 100,000 meet": (_MET_BY_10_PERCENT, "-metrics.acc"),
    "top 10 of one of two conditions that 10,000 meet": ("params.p0 < 0.01 or params.p1 < 0.01", "-metrics.acc"),
    "none that fits": ("metrics.acc > 2 and params.lr < 0.1", "-metrics.acc"),
    "none that fits, one condition that none meets": (_MET_BY_NONE, "-metrics.acc"),
}  # fmt: skip


def logs_of_run(number: int, chance: random.Random) -> list[tuple[str, bytes]]:
    """The logs of one run as its process and its companion would have left them."""
    from mlsdk.testing import MadeLog

    begun = (_BEGAN_MS + number * _EVERY_MS) * 1_000_000
    run = f"{_BEGAN_MS + number * _EVERY_MS:012x}7{chance.getrandbits(76):019x}"
    experiment, team = f"exp-{number % 37:02d}", ("vision", "speech", "text", "ads", "search")[number % 5]
    writer = {"host": f"node{number % 64}", "boot": "b" * 36, "pidns": "pid:[1]", "place": "p", "pid": 1, "start": 2}
    log = MadeLog(run, order=begun, writer=f"{run[:12]}7{chance.getrandbits(76):019x}", identity=writer)
    about = {"experiment": experiment, "name": f"{experiment}-{number:05d}", "status": "running", "started_ns": begun}
    params = {"lr": chance.random(), **{f"p{i}": chance.random() for i in range(15)}}
    params |= {"opt": chance.choice(("adam", "sgd", "lion")), "layers": number % 48, "batch": 2 ** (number % 11)}
    log.facts({"run": about, "tags": {"team": team}}).facts({"params": {**params, "seed": chance.getrandbits(32)}})
    log.points(_METRICS, [(step, *(chance.random() for _ in _METRICS)) for step in range(10)])
    status = "failed" if chance.random() < 0.05 else "finished"
    log.facts({"run": {"status": status, "ended_ns": begun + chance.randrange(10**12)}}).close()
    beside = MadeLog(run, "companion", order=begun + 1, writer=f"{run[:12]}7{chance.getrandbits(76):019x}")
    return [(log.name, log.data), (beside.name, beside.close().data)]


def load_some(uri: str, first: int, end: int) -> None:
    """Take in some runs; for a process of its own."""
    from mlsdk.store.postgres import bulk
    from mlsdk.store.postgres.address import address
    from mlsdk.store.postgres.migrate import migrate
    from mlsdk.store.postgres.pool import Pool

    where, chance = address(uri), random.Random(first)
    pool = Pool(where.conninfo, where.schema)
    migrate(pool)
    bulk.load(pool, (logs_of_run(number, chance) for number in range(first, end)))
    pool.close()


def fill(uri: str, runs: int = RUNS, made: int = MADE) -> dict[str, float]:
    """Make the runs, if they are not there; seconds of taking in and copying, bytes a run of what was taken in."""
    from mlsdk.store import open_store
    from mlsdk.store.postgres.bulk import settle

    pool = open_store(uri).catalog._pool  # type: ignore[attr-defined]
    if _number(pool, "SELECT count(*) FROM runs") >= runs:
        return {}
    begun = time.perf_counter()
    half = made // 2
    call = "from tests.benchmarks.million import load_some; load_some({!r}, {}, {})"
    _beside(uri, [call.format(uri, 0, half), call.format(uri, half, made)])
    taken = time.perf_counter() - begun
    size = sum(sizes(pool).values()) / made
    copy(uri, pool, made, runs // made)
    settle(pool)
    return {"load_s": taken, "copy_s": time.perf_counter() - begun - taken, "made_bytes": size}


def copy_some(uri: str, made: int, times: Iterable[int]) -> None:
    """Make some of the copies; for a process of its own."""
    from mlsdk.store import open_store

    pool = open_store(uri).catalog._pool  # type: ignore[attr-defined]
    for time_ in times:
        pool.do(functools.partial(_copy_once, made=made, time_=time_))
        print(f"copy {time_} of {made:,} runs", file=sys.stderr, flush=True)


def _beside(uri: str, parts: list[str]) -> None:
    """Run pieces of Python in processes of their own, at once."""
    env = {**environment(), **{name: value for name, value in os.environ.items() if name.startswith("PG")}}
    for process in [subprocess.Popen([sys.executable, "-c", part], env=env, cwd=ROOT) for part in parts]:
        if process.wait():
            raise RuntimeError(f"{uri} could not be filled")


def copy(uri: str, pool: Any, made: int, times: int) -> None:
    """Copy what is there, so that there is `times` as much; indexes are made at the end."""

    def begin(db: Any) -> None:
        for table, (name, _) in _INDEXES.items():
            db.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        db.execute("DROP INDEX vals_value")
        db.execute("DROP INDEX vals_long")
        db.execute("SET LOCAL statement_timeout = 0")
        db.execute("CREATE UNLOGGED TABLE base AS SELECT * FROM runs ORDER BY id")
        for table, columns in _OF_RUNS.items():
            select = f"SELECT {columns} FROM {table} t JOIN base b USING (run) ORDER BY b.id"
            db.execute(f"CREATE UNLOGGED TABLE base_{table} AS {select}")
        for table, columns, same in _OF_LOGS:
            select = f"SELECT {columns} FROM base_states b JOIN {same}"
            db.execute(f"CREATE UNLOGGED TABLE base_{table} AS {select}")

    pool.do(begin)
    call = "from tests.benchmarks.million import copy_some; copy_some({!r}, {}, range({}, {}, {}))"
    _beside(uri, [call.format(uri, made, first, times, _SIDE_BY_SIDE) for first in range(1, 1 + _SIDE_BY_SIDE)])

    def end(db: Any) -> None:
        db.execute("SET LOCAL statement_timeout = 0")
        db.execute("SET LOCAL maintenance_work_mem = '2GB'")
        for table, (name, columns) in _INDEXES.items():
            db.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {columns}")
        db.execute("CREATE INDEX vals_value ON vals (key, value, run)")
        db.execute("CREATE INDEX vals_long ON vals (key) WHERE rest IS NOT NULL")
        for table, column in (("runs", "run"), ("logs", "id")):
            db.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), (SELECT max({column}) FROM {table}))"
            )
        db.execute("DROP TABLE base, base_states, base_vals, base_metrics, base_logs, base_chunks")

    pool.do(end)


def _copy_once(db: Any, made: int, time_: int) -> None:
    """One more copy of the runs that were taken in, later by as long as they span."""
    later = time_ * made * _EVERY_MS
    db.execute("SET LOCAL statement_timeout = 0")
    db.execute("SET LOCAL work_mem = '256MB'")
    shift, log_shift = time_ * made, time_ * made * _LOG_NUMBERS
    new_id = f"(lpad(to_hex(('x' || substr({{0}}, 1, 12))::bit(48)::bigint + {later}), 12, '0') || substr({{0}}, 13))"
    run_id = new_id.format("id")
    log = f"'runs/' || {new_id.format('substr(log, 6, 32)')} || substr(log, 38)"
    digits = f"substr(int8send(hashint8extended(run * 4096 + key, {time_})), 1, 3)"
    date = f"int8send(('x' || encode(substr(value, 2), 'hex'))::bit(64)::bigint + {later * 1000}::bigint)"
    value = (
        f"CASE WHEN get_byte(value, 0) = 64 THEN '\\x40'::bytea || {date}"
        f" WHEN octet_length(value) = 10 AND get_byte(value, 0) = 18"
        f" THEN substr(value, 1, 6) || {digits} || substr(value, 10)"
        f" WHEN name = 'name' THEN value || convert_to('-{time_}', 'UTF8')"
        f" WHEN name = 'id' THEN '\\x20'::bytea || convert_to({run_id}, 'UTF8') ELSE value END"
    )
    moved = f"replace(document, id, {run_id}), ended_ns + {later}::bigint * 1000000"
    for into, selected in (
        (
            "runs (run, id, document, ended_ns, deleted, live, parent, status, newer, state, life, keys)",
            f"run + {shift}, {run_id}, {moved}, deleted, live, parent, status, newer, state, life, keys FROM base",
        ),
        ("states (log, run, state)", f"{log}, run + {shift}, state FROM base_states"),
        (
            "logs (id, log, size, looked, urgent, small_from)",
            f"number + {log_shift}, {log}, size, looked, false, small_from FROM base_logs",
        ),
        ("chunks (id, start, data)", f"number + {log_shift}, start, data FROM base_chunks"),
        ("vals (key, run, value, rest)", f"key, run + {shift}, {value}, rest FROM base_vals JOIN keys USING (key)"),
        (
            "metrics (key, run, min, max, mean, count, min_step, max_step)",
            f"key, run + {shift}, min, max, mean, count, min_step, max_step FROM base_metrics",
        ),
    ):
        db.execute(f"INSERT INTO {into} OVERRIDING SYSTEM VALUE SELECT {selected}")


def sizes(pool: Any) -> dict[str, int]:
    """Bytes of each table with its indexes."""
    tables = ("logs", "chunks", "runs", "states", "vals", "metrics")
    return {table: _number(pool, f"SELECT pg_total_relation_size('{table}')") for table in tables}


def _number(pool: Any, statement: str) -> int:
    return int(pool.do(lambda db: db.execute(statement).fetchone()[0], begin=None))


class Taken(NamedTuple):
    """What some calls took, in milliseconds."""

    median: float
    longest: float
    cpu: float
    """Of a call, here and in the database: that does not depend on what else the machine does."""
    count: int
    """Runs that came."""


def taken(ask: Callable[[], object], times: int, cpu_s: Callable[[], float] = time.process_time) -> Taken:
    """Time some calls, after two that do not count; fewer, where they take seconds."""
    begun = time.perf_counter()
    count = ask()
    ask()
    times = times if time.perf_counter() - begun < 1 else 3
    found, before = [], cpu_s()
    for _ in range(times):
        begun = time.perf_counter()
        ask()
        found.append((time.perf_counter() - begun) * 1e3)
    cpu = (cpu_s() - before) / times * 1e3
    return Taken(sorted(found)[times // 2], max(found), cpu, count if isinstance(count, int) else 0)


def cpu_with(pool: Any) -> Callable[[], float]:
    """CPU seconds of this process and of a database on this host, so far."""
    backend = _number(pool, "SELECT pg_backend_pid()")
    parent = int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])

    def sum_up() -> float:
        total = time.process_time()
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                line = (folder / "stat").read_text()
                if parent in (int(folder.name), int(line.rpartition(")")[2].split()[1])):
                    total += cpu_s(line, with_ended=int(folder.name) == parent)
        return total

    return sum_up


def asked(uri: str, times: int = 50) -> Iterator[tuple[str, Taken]]:
    """Every query on a store, and what it took."""
    from mlsdk.query.parse import parse, parse_order
    from mlsdk.store import open_store

    store = open_store(uri)
    used = cpu_with(store.catalog._pool)  # type: ignore[attr-defined]

    def ask(where: str | None, order: str | None, limit: int, after: str | None = None) -> Any:
        tree = None if where is None else parse(where)
        store.refresh()
        return store.catalog.documents(tree, parse_order(order) if order else (), after, limit)  # type: ignore[attr-defined]

    def timed(*about: Any) -> Taken:
        return taken(lambda: len(ask(*about).runs), times, used)

    for what, (where, order) in QUERIES.items():
        yield what, timed(where, order, 10)
    for what, order in (("page of 100, newest first", None), ("page of 100 by `-metrics.acc`", "-metrics.acc")):
        yield what, timed(None, order, 100)
        after = None
        for number in range(50):  # 499 pages of 100, in larger steps
            after = ask(None, order, 1000 if number else 900, after).after
        yield f"… the 500th: {what}", timed(None, order, 100, after)


def through(uri: str, times: int = 50) -> Iterator[tuple[str, Taken]]:
    """The first query and a page through an HTTP server over the store, and `mlsdk ls` as a command."""
    import mlsdk

    where, order = next(iter(QUERIES.values()))
    with team(uri) as of, shell(of.variables()):
        store = f"{of.url}/default"

        def top() -> object:
            return list(mlsdk.runs(where, order_by=order, limit=10, store=store))

        yield "through the server: top 10", taken(top, times)
        page = taken(lambda: list(mlsdk.runs(limit=100, store=store)), times)
        yield "through the server: page of 100, newest first", page
        command = [sys.executable, "-m", "mlsdk", "ls", where or "", f"--sort={order}", "-n", "10"]
        env = environment(**of.variables())
        run = functools.partial(subprocess.run, command, env=env, check=True, capture_output=True)
        yield "`mlsdk ls` of the top 10 as a command, through the server", taken(run, 9)
        run = functools.partial(run, env={**env, "MLSDK_STORE": uri})
        yield "`mlsdk ls` of the top 10 as a command, on the database itself", taken(run, 9)


def million_runs() -> list[Row]:
    """1,000,000 runs in PostgreSQL (only with --large or by name: it takes half an hour and 25 GB of disk)."""
    with database() as uri:
        from mlsdk.store import open_store

        made = fill(uri)
        rows = []
        if made:
            took = f"{made['load_s'] / MADE * 1e3:.1f} ms a run, {made['made_bytes'] / 1e3:.1f} KB a run"
            rows.append(Row(f"PostgreSQL, {MADE:,} runs of 20 params and 5 metrics x 10 taken in at once", took, "-"))
        told = sizes(open_store(uri).catalog._pool)  # type: ignore[attr-defined]
        parts = ", ".join(f"{table} {size / RUNS / 1e3:.2f}" for table, size in told.items())
        whole = f"{sum(told.values()) / RUNS / 1e3:.1f} KB a run ({parts})"
        rows.append(Row("PostgreSQL, 1,000,000 runs: tables and indexes", whole, "-"))
        rows += [_row(f"… {what} ({one.count} came)", one, 20) for what, one in asked(uri)]
        return rows + [_row(f"… {what}", one, None) for what, one in through(uri)]


def _row(what: str, one: Taken, bound: float | None) -> Row:
    told, met = ("-", None) if bound is None else (f"<= {bound} ms", one.median <= bound)
    cpu = "" if bound is None else f"{one.cpu:.1f} ms of CPU"
    return Row(what, f"{one.median:.1f} ms, longest {one.longest:.0f} ms", told, cpu, met)


@contextmanager
def database() -> Iterator[str]:
    """The URI of the store: of MLSDK_BENCH_POSTGRES, else of a server that is started here and removed."""
    named = os.environ.get("MLSDK_BENCH_POSTGRES")
    if named:
        yield named
        return
    server: PostgresServer = own_server(*SERVER)
    try:
        yield server.uri(_SCHEMA)
    finally:
        server.remove()
