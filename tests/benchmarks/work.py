"""What the children of the benchmarks do. Each function returns something that JSON can hold."""

from __future__ import annotations

import os
import random
import struct
import sys
import threading
import time
import zlib
from typing import Any

from tests.benchmarks.measure import percentiles

now = time.perf_counter_ns


def bare_limits(times: int = 100_000) -> dict[str, float]:
    """Medians in µs of the least that a call, a pack, a write and an insert cost here."""
    import sqlite3

    def empty(values: Any = None, /, *, step: Any = None, at: Any = None, **named: Any) -> None:
        pass

    buffer, layout = bytearray(64 * times), struct.Struct("<IBIIqqd")
    descriptor = os.open("limit.bin", os.O_WRONLY | os.O_CREAT)
    database = sqlite3.connect("limit.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=OFF")
    database.execute("CREATE TABLE points (metric TEXT, step INTEGER, time INTEGER, value REAL)")

    def packed(i: int) -> None:
        layout.pack_into(buffer, 64 * i, 28, 4, i, 0, i, time.time_ns(), 0.5)
        zlib.crc32(buffer[64 * i : 64 * i + 37])

    def written(i: int) -> None:
        os.write(descriptor, layout.pack(28, 4, i, 0, i, time.time_ns(), 0.5))

    def inserted(i: int) -> None:
        database.execute("INSERT INTO points VALUES (?, ?, ?, ?)", ("loss", i, time.time_ns(), 0.5))

    found = {}
    for name, call, count in (
        ("empty", lambda i: empty(loss=0.5), times),
        ("pack_into", packed, times),
        ("os.write", written, times),
        ("sqlite", inserted, times // 10),
    ):
        taken = []
        for i in range(count):
            begun = now()
            call(i)
            taken.append(now() - begun)
        found[name] = percentiles(taken)[0]
    return found


def first_and_later_run(later: int = 200) -> dict[str, float]:
    """Milliseconds of the caller for the first run with nothing in it, and the median of later ones."""
    import mlsdk

    taken = []
    for _ in range(later + 1):
        begun = now()
        run = mlsdk.run("empty")
        run.finish()
        taken.append((now() - begun) / 1e6)
    return {"first": taken[0], "later": sorted(taken[1:])[later // 2]}


def log_one(times: int = 100_000) -> dict[str, Any]:
    """µs of `log(loss=x)`: median, p99, longest; all default captures on."""
    import mlsdk

    values = [random.random() for _ in range(1000)] * (times // 1000)
    taken = [0] * times
    log = mlsdk.log
    with mlsdk.run("speed") as run:
        for i in range(times):
            begun = now()
            log(loss=values[i])
            taken[i] = now() - begun
        run_id = run.id
    median, p99, longest = percentiles(taken)
    return {"median": median, "p99": p99, "longest": longest, "id": run_id}


def log_beside_thread(times: int = 20_000) -> dict[str, Any]:
    """µs of `log(loss=x)` beside a thread that computes in Python all the time: mapped, and by `os.write`."""
    import mlsdk

    stop = threading.Event()

    def burn() -> None:
        total = 0
        while not stop.is_set():
            total += sum(range(100))

    thread = threading.Thread(target=burn, daemon=True)
    thread.start()
    taken = [0] * times
    with mlsdk.run("busy"):
        for i in range(times):
            begun = now()
            mlsdk.log(loss=0.5)
            taken[i] = now() - begun
    stop.set()
    thread.join()
    return dict(zip(("median", "p99", "longest"), percentiles(taken), strict=True))


def log_hundred(times: int = 10_000) -> float:
    """µs a call of 100 values: the mean over all."""
    import mlsdk

    values = {f"m{i}": random.random() for i in range(100)}
    with mlsdk.run("wide"):
        mlsdk.log(values)
        begun = now()
        for _ in range(times):
            mlsdk.log(values)
        return (now() - begun) / times / 1e3


def training_step(rounds: int = 300) -> dict[str, float]:
    """Seconds of 60 µs steps: alone, with 5 metrics each, and what start and finish add.

    A hundred steps of one kind and a hundred of the other take turns, so that both see the same machine. On one that
    others keep busy the seconds of the processor say more, and `quiet`, the ratio of the rounds least disturbed.
    """
    import mlsdk

    def work(amount: int) -> float:
        total = 0
        for i in range(amount):
            total += i * i
        return float(total)

    amount = 100
    while True:
        begun = now()
        for _ in range(200):
            work(amount)
        cost = (now() - begun) / 200
        if cost > 58_000:
            break
        amount = int(amount * max(1.02, 60_000 / cost))
    plain = tracked = plain_cpu = tracked_cpu = 0
    rounds_plain, rounds_tracked = [], []
    begun = now()
    with mlsdk.run("steps"):
        started = now() - begun
        for _ in range(rounds):
            begun, begun_cpu = now(), time.thread_time_ns()
            for _ in range(100):
                work(amount)
            between, between_cpu = now(), time.thread_time_ns()
            for i in range(100):
                value = work(amount)
                mlsdk.log(loss=value, acc=0.5, lr=0.1, grad=1.5, t=float(i))
            over = now()
            tracked += over - between
            plain += between - begun
            rounds_plain.append(between - begun)
            rounds_tracked.append(over - between)
            tracked_cpu += time.thread_time_ns() - between_cpu
            plain_cpu += between_cpu - begun_cpu
        begun = now()
    ends = started + now() - begun
    found = {"plain": plain, "tracked": tracked, "whole": tracked + ends, "cpu": tracked_cpu, "plain_cpu": plain_cpu}
    quiet = sorted(rounds_tracked)[rounds // 10] / sorted(rounds_plain)[rounds // 10]
    return {"steps": 100 * rounds, "quiet": quiet, **{name: value / 1e9 for name, value in found.items()}}


def many_points(points: int, metric: str = "loss") -> str:
    """A run with points of noise that comes from 32-bit floats; its id."""
    import mlsdk

    single = struct.Struct("f")
    with mlsdk.run("points") as run:
        for _ in range(points):
            run.log({metric: single.unpack(single.pack(random.random()))[0]})
        return run.id


def noise_by_steps(points: int) -> str:
    """The same, logged as by a training step of some 60 µs; its id."""
    import mlsdk

    single = struct.Struct("f")
    with mlsdk.run("points") as run:
        for _ in range(points):
            until = now() + random.randint(50_000, 70_000)
            while now() < until:
                pass
            run.log(loss=single.unpack(single.pack(random.random()))[0])
        return run.id


def writer_process(points: int) -> None:
    """One of several processes that log at once."""
    import mlsdk

    with mlsdk.run("many"):
        for i in range(points):
            mlsdk.log(loss=float(i))


def make_runs(count: int, params: int = 20, metrics: int = 5, points: int = 10) -> float:
    """Milliseconds of the caller for a run of 20 params and 5 metrics x 10: the mean."""
    import mlsdk

    names = [f"m{i}" for i in range(metrics - 1)]
    settings = [{"lr": random.random(), **{f"p{i}": random.random() for i in range(params - 1)}} for _ in range(count)]
    begun = now()
    for given in settings:
        with mlsdk.run("sweep", params=given) as run:
            for step in range(points):
                run.log({"acc": random.random(), **dict.fromkeys(names, step / points)})
    return (now() - begun) / count / 1e6


def top_ten() -> dict[str, float]:
    """Milliseconds of a filtered top ten: the first with its imports, then warm (median of 30)."""
    begun = now()
    import mlsdk

    query = "metrics.acc > 0.9 and params.lr < 0.5"
    found = len(list(mlsdk.runs(query, order_by="-metrics.acc", limit=10)))
    first = (now() - begun) / 1e6
    taken = []
    for _ in range(30):
        begun = now()
        list(mlsdk.runs(query, order_by="-metrics.acc", limit=10))
        taken.append((now() - begun) / 1e6)
    pages = []
    for _ in range(10):
        begun = now()
        list(mlsdk.runs(limit=100))
        pages.append((now() - begun) / 1e6)
    return {"first": first, "warm": sorted(taken)[15], "newest": sorted(pages)[5], "found": found}


def as_frame() -> float:
    """Seconds for all runs as a pandas frame, pandas being imported already."""
    import pandas  # noqa: ICN001, F401

    import mlsdk

    list(mlsdk.runs(limit=1))
    begun = now()
    frame = mlsdk.runs().to_pandas()
    taken = (now() - begun) / 1e9
    if frame.empty:
        raise RuntimeError("no runs")
    return taken


def rebuild() -> dict[str, float]:
    """Seconds and MiB to build the catalog from the logs."""
    import resource

    from mlsdk.store import open_store

    begun = now()
    open_store().refresh()
    return {"s": (now() - begun) / 1e9, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def read_series(run: str, metric: str = "loss") -> dict[str, float]:
    """Milliseconds to read a whole series in a fresh process, mlsdk and numpy being imported."""
    import numpy  # noqa: ICN001, F401

    import mlsdk

    mlsdk.get_run  # noqa: B018 - loads what finding needs
    begun = now()
    series = mlsdk.get_run(run).history(metric)
    count = len(series)
    total = float(series.values[-1]) + float(series.steps[-1])  # noqa: PD011 - a series of mlsdk
    return {"ms": (now() - begun) / 1e6, "count": count, "check": total}


def fill_disk() -> dict[str, Any]:
    """Log into a store on a disk that gets full; how long the loop and the end take, and what was said."""
    import warnings

    import mlsdk

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run = mlsdk.run("full")
        for i in range(600_000):
            run.log(loss=float(i))
        begun = now()
        run.finish()
        taken = (now() - begun) / 1e9
    return {
        "id": run.id,
        "finish_s": taken,
        "warnings": len([w for w in said if "disk" in str(w.message)]),
        "problems": [str(p) for p in run.problems],
    }


def logged_until_killed() -> None:
    """Log and acknowledge on stdout, until somebody kills this process."""
    import mlsdk

    run = mlsdk.run("victim")
    out = sys.stdout.buffer
    out.write(run.id.encode() + b"\n")
    for i in range(10_000_000):
        run.log(loss=float(i))
        out.write(i.to_bytes(8, "little"))
        if i % 16 == 0:
            out.flush()
