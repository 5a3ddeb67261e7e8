"""Logs in any order and any pieces give the same run: the promise that everything else stands on."""

from __future__ import annotations

import json
import math
import random
import zlib

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlsdk.log import frames
from mlsdk.log.frames import KINDS
from mlsdk.store.memory import MemoryBlobs, MemoryLogs
from mlsdk.store.sqlite import SQLiteCatalog
from mlsdk.testing import MadeLog
from mlsdk.testing.made import START_NS

RUN = "01a10000000070008000000000000001"
MAIN = ("main", "rank 0", "companion")
"""Roles whose points are the run's own."""

ROLES = ("main", "main", "main", "rank 0", "rank 1", "rank 2", "worker", "companion", "edit")
METRICS = ("acc", "train/loss", "größe")
OF_KIND = {
    "f": st.sampled_from((0.0, -0.0, 0.5, -1.5, 1e300, math.inf, -math.inf, math.nan)) | st.floats(width=32),
    "i": st.sampled_from((0, -1, 2**53 + 1, -(2**63), 2**63 - 1)) | st.integers(-5, 5),
    "u": st.sampled_from((0, 2**64 - 1, 2**63, 7)),
}
steps = st.integers(-2, 12)
orders = st.integers(0, 40).map(lambda number: START_NS + number)
fact_values = st.none() | st.sampled_from((0, 1, 0.5, "a", "b", True, [1, 2], {"x": 1}, {"$": "float", "v": "nan"}))
facts = st.dictionaries(
    st.sampled_from(("params", "tags", "code", "problems", "metrics", "new")),
    st.dictionaries(st.sampled_from(("a", "b", "acc")), fact_values, max_size=2),
    max_size=2,
)
run_facts = st.dictionaries(
    st.sampled_from(("name", "status", "ended_ns", "note", "deleted", "started_ns")),
    st.none() | st.sampled_from(("finished", "failed", "running", True, START_NS + 9)),
    max_size=2,
)


@st.composite
def points(draw):
    names = draw(st.lists(st.sampled_from(METRICS), min_size=1, max_size=2, unique=True))
    kinds = "".join(draw(st.sampled_from("ffiu")) for _ in names)
    row = st.tuples(steps, *(OF_KIND[kind] for kind in kinds))
    return names, draw(st.lists(row, min_size=1, max_size=6)), kinds


@st.composite
def logs(draw, damaged: bool = True):
    """A log of the run and its points, as (name, kind, step, value)."""
    number = draw(st.integers(0, 2**32))
    log = MadeLog(RUN, draw(st.sampled_from(ROLES)), order=draw(orders), writer=f"{number:032x}")
    log.opened, log.rows = log.order, []
    for what in draw(st.lists(st.sampled_from(("facts", "run", "points", "points", "rewind", "output")), max_size=5)):
        if what == "facts":
            log.facts(draw(facts), order=draw(orders))
        elif what == "run":
            log.facts({"run": draw(run_facts)}, order=draw(orders))
        elif what == "rewind":
            log.facts({"rewinds": {log.name[-32:]: draw(steps | st.none())}}, order=log.opened)
        elif what == "output":
            log.add(frames.OUTPUT, frames.OUTPUT_HEAD.pack(1, START_NS) + b"some text")
        else:
            names, rows, kinds = draw(points())
            log.points(names, rows, kinds)
            log.rows += [
                (name, step, value) for step, *values in rows for name, value in zip(names, values, strict=True)
            ]
    if draw(st.booleans()):
        log.close()
    if damaged and draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(log.data) - 1))
        log.data = draw(
            st.sampled_from(
                (
                    log.data[:at] + bytes([log.data[at] ^ 0x55]) + log.data[at + 1 :],
                    log.data[:at] + b"\0garbage\x04" + log.data[at:],
                    log.data[:at] + bytes(40) + log.data[at + 7 :],
                    log.data[:at],
                )
            )
        )
    return log


def sets(**kind):
    return st.lists(logs(**kind), min_size=1, max_size=5, unique_by=lambda log: log.name)


def open_catalog(found) -> SQLiteCatalog:
    kept = MemoryLogs()
    for log in found:
        kept.append(log.name, 0, log.data)
    return SQLiteCatalog(":memory:", kept, MemoryBlobs())


def rows(catalog: SQLiteCatalog) -> object:
    """All that the catalog knows, without the numbers of rows."""
    by_key = "JOIN runs USING (run) JOIN keys USING (key)"

    def read(db):
        found = {}
        for query in (
            "SELECT id, deleted, parent, live, status, ended_ns, newer, document, life, state FROM runs",
            f"SELECT id, name, value FROM vals {by_key}",
            f"SELECT id, name, min, max, mean, count, min_step, max_step FROM metrics {by_key}",
            "SELECT id, log, offset, logs.state FROM logs JOIN runs USING (run)",
        ):
            table = [[_plain(value) for value in row] for row in db.execute(query)]
            found[query] = sorted(table, key=repr)
        return found

    try:
        return catalog.database.do(read)
    finally:
        catalog.close()


def _plain(value):
    """JSON without the order of its keys; NaN equal to itself; 0, -0.0 and 0.0 the same, as for every query."""
    if isinstance(value, bytes) and value[:1] == b"\x78":
        value = zlib.decompress(value).decode("utf-8")
    if isinstance(value, str) and value[:1] == "{":
        return json.dumps(json.loads(value), sort_keys=True)
    whole = isinstance(value, float) and value.is_integer()
    return repr(int(value) if whole else value)


def rebuilt(found) -> object:
    catalog = open_catalog(found)
    catalog.rebuild()
    return rows(catalog)


@settings(max_examples=settings().max_examples // 2)
@given(sets(), st.randoms(use_true_random=False))
def test_any_order_and_any_pieces(found, chance: random.Random) -> None:
    """Logs of a run, ingested in any order and cut anywhere, give the rows that a rebuild gives."""
    catalog = open_catalog(found)
    wanted = {log.name: 0 for log in found}
    for _ in range(12):
        log = chance.choice(found)
        start, end = sorted(chance.randrange(len(log.data) + 1) for _ in range(2))
        if chance.random() < 0.7:
            start = min(start, wanted[log.name])
        wanted[log.name] = catalog.ingest(log.name, start, log.data[start:end])
    for log in chance.sample(found, len(found)):
        catalog.ingest(log.name, wanted[log.name], log.data[wanted[log.name] :])

    assert rows(catalog) == rebuilt(found)


@settings(max_examples=settings().max_examples // 2)
@given(sets(damaged=False), st.randoms(use_true_random=False))
def test_logs_read_while_they_grow(found, chance: random.Random) -> None:
    """What a reader of growing files takes in bit by bit, allocated space behind them, is what it finds at the end."""
    kept = MemoryLogs()
    catalog = SQLiteCatalog(":memory:", kept, MemoryBlobs())
    sizes = dict.fromkeys((log.name for log in found), 0)
    for _ in range(6):
        log = chance.choice(found)
        sizes[log.name] = chance.randrange(sizes[log.name], len(log.data) + 1)
        kept._logs[log.name] = bytearray(log.data[: sizes[log.name]]) + bytes(chance.randrange(50))
        catalog.catch_up([log.name], live=True)
    for log in found:
        kept._logs[log.name] = bytearray(log.data + bytes(chance.randrange(50)))
    for log in chance.sample(found, len(found)):
        catalog.catch_up([log.name], final=True)

    assert rows(catalog) == rebuilt(found)


# a straightforward reference


def history(found, role: str, metric: str) -> list[tuple[int, float]]:
    """The points of a metric in order, without what a later restart repeats."""
    kept = []
    for log in sorted(found, key=lambda log: (log.opened, log.name)):
        if (log.role in MAIN) != (role == "main") or (log.role not in ("main", role) and role != "main"):
            continue
        limit = math.inf
        for other in found:
            rewind = _rewind(other)
            if rewind is not None and other.opened > log.opened and log.role != "companion":
                limit = min(limit, rewind)
        kept += [(step, value) for name, step, value in log.rows if name == metric and step < limit]
    return kept


def _rewind(log) -> int | None:
    """The last rewind that a log tells of."""
    told = None
    for found in frames.frames(log.data):
        if found.type == frames.FACTS:
            told = json.loads(bytes(found.payload))["set"].get("rewinds", {}).get(log.name[-32:], told)
            if "rewinds" in json.loads(bytes(found.payload))["set"]:
                told = json.loads(bytes(found.payload))["set"]["rewinds"][log.name[-32:]]
    return told


def same(found: float | None, wanted: float | None) -> bool:
    return found == wanted or (found is not None and wanted is not None and math.isnan(found) and math.isnan(wanted))


@settings(max_examples=settings().max_examples // 2)
@given(sets(damaged=False))
def test_summaries_and_histories(found) -> None:
    """Summaries and histories are those of a straightforward look at all points, rewinds and ranks included."""
    catalog = open_catalog(found)
    catalog.rebuild()
    run = catalog.get(RUN)
    final = {name for log in found for name in _final(log)}
    for role in {"main" if log.role in MAIN else log.role for log in found}:
        summaries = run.metrics if role == "main" else run.ranks.get(role, {})
        for metric in METRICS:
            wanted = history(found, role, metric)
            if not wanted:
                assert metric not in summaries or (role == "main" and metric in final)
                continue
            series = catalog.series(RUN, metric, None if role == "main" else role)
            values = [value for _, value in wanted]
            numbers = [(value, step) for step, value in wanted if not math.isnan(value)]
            low = min(numbers, key=lambda pair: pair[0], default=(None, None))
            high = max(numbers, key=lambda pair: pair[0], default=(None, None))
            summary = summaries[metric]

            assert list(map(int, series.steps)) == [step for step, _ in wanted]
            assert all(map(same, list(series.values), values))
            assert summary.count == len(wanted)
            assert metric in final or same(summary.last, values[-1])
            assert (summary.min, summary.min_step, summary.max, summary.max_step) == (*low, *high)
            assert summary.last_step == wanted[-1][0]
            assert _mean(numbers, summary.mean)
    catalog.close()


def _final(log) -> set[str]:
    told = [json.loads(bytes(f.payload)) for f in frames.frames(log.data) if f.type == frames.FACTS]
    return {name for fact in told for name in fact["set"].get("metrics", {})}


def _mean(numbers, mean: float | None) -> bool:
    if not numbers:
        return mean is None
    scale = max(abs(float(value)) for value, _ in numbers)
    if math.isinf(scale):
        return math.isinf(mean) or math.isnan(mean)
    exact = math.fsum(float(value) / len(numbers) for value, _ in numbers)
    return math.isinf(mean) or abs(mean - exact) <= 1e-9 * scale


@settings(max_examples=12)
@given(st.sampled_from("fiu"), st.integers(0, 2**32), st.integers(1, 10))
@example("f", 0, 1)
def test_columns_sum_up_like_single_points(kind: str, seed: int, pieces: int) -> None:
    """A long log summed up by columns, in pieces or not, gives to the last bit what one point after another gives."""
    numbers = np.random.default_rng(seed)
    values = {"f": numbers.normal(size=9_000), "i": numbers.integers(-(2**62), 2**62, 9_000)}
    values["u"] = numbers.integers(0, 2**64, 9_000, dtype=np.uint64)
    log = MadeLog(RUN, writer="1" * 32)
    log.points(["acc"], list(enumerate(values[kind].tolist())), kind)
    log.close()
    catalog = open_catalog([log])
    wanted = 0
    for piece in range(1, pieces + 1):
        wanted = catalog.ingest(log.name, wanted, log.data[wanted : len(log.data) * piece // pieces])
    summary = catalog.get(RUN).metrics["acc"]
    total = 0.0
    for value in values[kind].tolist():
        total += value

    assert summary.mean == total / 9_000
    assert (summary.min, summary.max) == (min(values[kind].tolist()), max(values[kind].tolist()))
    assert summary.last == values[kind].tolist()[-1]
    assert KINDS[kind] in "dqQ"
    catalog.close()
