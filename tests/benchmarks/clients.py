"""What the processes around a server under load do. Light: they are many, and start at once."""

from __future__ import annotations

import random
import sys
import time
from typing import Any

from tests.benchmarks.measure import percentiles

POINTS = 100_000


def client(points: int) -> dict[str, Any]:
    """A training process that does nothing but log, when it is told to on stdin."""
    import mlsdk

    values, taken, now = [random.random() for _ in range(1000)], [0] * points, time.perf_counter_ns
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    with mlsdk.run("load") as run:
        log, began = run.log, time.time()
        for i in range(points):
            begun = now()
            log(loss=values[i % 1000])
            taken[i] = now() - begun
        ended = time.time()
    median, p99, longest = percentiles(taken)
    problems = [str(problem) for problem in run.problems]
    found = {"median": median, "p99": p99, "longest": longest, "began": began, "ended": ended}
    return {**found, "id": run.id, "problems": problems}


def made_log(points: int, seed: int) -> tuple[str, bytes]:
    """A log of one metric, noise from 32-bit floats, as a training step of some 60 µs leaves it."""
    import struct

    from mlsdk.log import frames
    from mlsdk.log.ids import new_id
    from mlsdk.log.values import dumps

    name, chance, single = f"runs/{new_id()}/{new_id()}", random.Random(seed), struct.Struct("f")
    at = time.time_ns()
    head = {"format": 1, "log": name, "role": "main", "source": "bench", "order": at, "t": at, "writer": {"host": "h"}}
    found = [frames.encode(frames.OPEN, 0, dumps(head))]
    found.append(frames.encode(frames.SCHEMA, 1, frames.schema_payload(0, ("loss",), "f")))
    layout = struct.Struct("<Iqqd")
    for step in range(points):
        at += chance.randint(50_000, 70_000)
        (value,) = single.unpack(single.pack(chance.random()))
        found.append(frames.encode(frames.POINTS, step + 2, layout.pack(0, step, at, value)))
    found.append(frames.encode(frames.CLOSE, points + 2, dumps({"t": at})))
    return name, b"".join(found)


def sender(piece_bytes: int, batch: int, logs: int, seed: int) -> dict[str, Any]:
    """Appends logs that are made already, when it is told to on stdin; milliseconds of each request."""
    from mlsdk.store import open_store
    from mlsdk.store.seams import Piece

    made, store = [made_log(POINTS, seed * 1000 + number) for number in range(logs)], open_store()
    at, taken = dict.fromkeys((name for name, _ in made), 0), []
    store.logs.size(made[0][0])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    began = time.time()
    while any(at[name] < len(data) for name, data in made):
        pieces = [Piece(name, at[name], data[at[name] : at[name] + piece_bytes]) for name, data in made]
        pieces = [piece for piece in pieces if piece.data]
        for start in range(0, len(pieces), batch):
            part, begun = pieces[start : start + batch], time.perf_counter()
            ends = store.logs.append_all(part)  # type: ignore[attr-defined]
            taken.append((time.perf_counter() - begun) * 1e3)
            for piece, end in zip(part, ends, strict=True):
                if end != piece.offset + len(piece.data):
                    raise RuntimeError(f"{piece.log}: {end}")
                at[piece.log] = end
    return {"began": began, "ended": time.time(), "size": sum(at.values()), "taken": taken, "points": logs * POINTS}
