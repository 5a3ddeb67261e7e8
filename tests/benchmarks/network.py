"""Rows about remote stores while things fail: the network, processes, a newcomer's patience."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlsdk.store.base import open_file
from tests.benchmarks.measure import Row, child, folder
from tests.faults.kills import Rounds
from tests.faults.newcomer import walk
from tests.faults.remote import Served, differences, end_companions, settle
from tests.servers import proxy as network
from tests.servers.postgres import own_server
from tests.servers.proxy import Proxy

MINUTES_ROUNDS = 10_000
"""Two hundred steps of 60 µs each: two minutes."""

EVERY_S = 8.0

BAD = {
    network.drop(): 0.1,
    network.lose_answer(): 0.1,
    network.cut_answer(7): 0.1,
    network.cut_request(30): 0.1,
    network.duplicate(): 0.1,
    network.delay(0.2): 0.1,
    network.answer(500): 0.1,
    network.answer(429, {"Retry-After": "1"}): 0.1,
}


def network_down() -> list[Row]:
    """The 60 µs step for two minutes, while the network is down, hangs and goes wrong by turns."""
    with folder() as where, Served(f"{where}/served", where / "home", "--rate", "0") as served:
        with Proxy(served.port) as proxy, _failing(proxy):
            url = f"http://127.0.0.1:{proxy.port}"
            settings = served.client(url, MLSDK_SHIP_WAIT_S="5", MLSDK_REQUEST_TIMEOUT_S="10")
            found = child("training_step", where, MINUTES_ROUNDS, **settings)
        with Proxy(served.port, at=proxy.port):
            root = served.outbox(url)
            waited = _shipped(root, settings)
        store = open_file(f"file:{served.place}", ":memory:")
        wrong = differences(root, store)
        store.refresh()
        (run,) = store.find().runs
        steps = list(run.history("t").values)
    there = len(steps)
    whole = steps == [float(step) for _ in range(MINUTES_ROUNDS) for step in range(100)] and not wrong
    ratio, all_in = found["tracked"] / found["plain"], found["whole"] / found["plain"]
    cpu = f"CPU time {found['cpu'] / found['plain_cpu']:.3f} x"
    shown = f"{there:,} of {MINUTES_ROUNDS * 100:,} points" + ("" if whole else f", wrong: {wrong}")
    return [
        Row("5 metrics a step on a 60 µs step, network failing", f"{ratio:.3f} x", "<= 1.08 x", cpu, ratio <= 1.08),
        Row("… with start and finish", f"{all_in:.3f} x", "<= 1.10 x", "", all_in <= 1.10),
        Row("… there once, byte for byte, afterwards", f"{shown}, after {waited:.0f} s", "all", "", whole),
    ]


@contextmanager
def _failing(proxy: Proxy) -> Iterator[None]:
    """Let the network fail in one way after the other."""
    over = threading.Event()

    def hangs() -> None:
        proxy.up()
        proxy.always(network.hang())

    def errs() -> None:
        proxy.up()
        proxy.calm()
        proxy.sometimes(BAD, seed=1)

    def go() -> None:
        for begin in itertools.cycle((proxy.down, errs, hangs, errs)):
            begin()
            if over.wait(EVERY_S):
                return

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _shipped(root: Path, settings: dict[str, str]) -> float:
    begun = time.monotonic()
    try:
        settle(root, settings)
    finally:
        end_companions(root)
    return time.monotonic() - begun


def server_kills() -> list[Row]:
    """Client, companion, server, postmaster and backend killed at random moments, 30 times."""
    database = own_server("fsync=on")
    try:
        with folder() as where:
            found = Rounds(where, database, seed=30).run(30)
    finally:
        database.remove()
    good = not (found.lost or found.doubled or found.wrong)
    shown = (
        f"{found.lost} lost, {found.doubled} doubled of {found.acknowledged:,} points;"
        f" {found.taken:,} acknowledged bytes kept; {len(found.wrong)} findings"
    )
    for wrong in found.wrong:
        print(f"<!-- {wrong} -->")
    return [Row("30 kills of client, server and database (fsync on)", shown, "0, 0, 0", "", good)]


def newcomer() -> list[Row]:
    """From nothing to the page of the first run, on another host."""
    with folder() as where:
        found = walk(where)
    steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found.steps.items())
    taken = found.steps["page"]
    return [Row("newcomer: server, token, first run from another host, its page", steps, "<= 60 s", "", taken <= 60)]


def short_runs(count: int = 2000) -> list[Row]:
    """Short runs in a loop against a server: the caller's time of one, and until all are there."""
    with folder() as where, Served(f"{where}/served", where / "home") as served:
        settings = served.client(MLSDK_SHIP_WAIT_S="300", MLSDK_REQUEST_TIMEOUT_S="30")
        begun = time.monotonic()
        made = child("make_runs", where, count, **settings)
        ended = time.monotonic() - begun
        waited = _shipped(served.outbox(), settings)
        store = open_file(f"file:{served.place}", ":memory:")
        wrong = differences(served.outbox(), store)
        store.refresh()
        there = store.catalog.count()
    loop = made * count / 1e3
    return [
        Row(f"{count:,} short runs to a server: make one", f"{made:.2f} ms", "<= 1.5 ms", "", made <= 1.5),
        Row(
            "… all there, after the loop's end",
            f"{ended + waited - loop:.1f} s, {there:,} runs, {len(wrong)} wrong",
            "all",
            "",
            there == count and not wrong,
        ),
    ]


NETWORK_ROWS: tuple[Callable[[], list[Row]], ...] = (network_down, server_kills, newcomer, short_runs)
