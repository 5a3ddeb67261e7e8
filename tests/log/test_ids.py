"""Ids rise within a process and are unique everywhere."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.log import ids
from mlsdk.log.ids import new_id, started_ns


def test_form() -> None:
    """An id is a UUID of version 7 in 32 lowercase hexadecimal digits and says when it was made."""
    before = time.time_ns()
    made = new_id()

    assert len(made) == 32
    assert set(made) <= set("0123456789abcdef")
    assert made[12] == "7"
    assert made[16] in "89ab"
    assert before - 2_000_000 <= started_ns(made) <= time.time_ns() + 1_000_000_000


@given(st.lists(st.integers(1, 2**60), min_size=2, max_size=50))
def test_rising_whatever_the_clock_does(clock: list[int]) -> None:
    """Ids rise even when the clock stands still or jumps back."""
    with mock.patch.object(ids, "_last", 0), mock.patch.object(time, "time_ns", mock.Mock(side_effect=clock)):
        made = [new_id() for _ in clock]

    assert made == sorted(set(made))


def test_rising_in_threads() -> None:
    """Of many threads each sees rising ids, no id is made twice, and one made later is higher, whoever made it."""
    start = threading.Barrier(8)

    def make(_: int) -> list[str]:
        start.wait()
        return [new_id() for _ in range(2000)]

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(8)))
    together = [one for some in made for one in some]

    assert all(some == sorted(some) for some in made)
    assert len(set(together)) == len(together)
    assert new_id() > max(together)
    assert len({one[:16] for one in together}) == len(together)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_unique_after_forks() -> None:
    """Parent and forked children make different ids, even if another thread was making one when they parted."""
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [new_id() for _ in iter(stop.is_set, True)])
    busy.start()
    last, found = new_id(), []
    try:
        for _ in range(4):
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                os.write(writing, " ".join(new_id() for _ in range(100)).encode())
                os._exit(0)
            os.close(writing)
            with os.fdopen(reading) as pipe:
                found.append(pipe.read().split())
            os.waitpid(child, 0)
    finally:
        stop.set()
        busy.join()
    mine = [new_id() for _ in range(100)]
    together = [*mine, *(one for some in found for one in some)]

    assert [len(some) for some in found] == [100] * 4
    assert len(set(together)) == 500
    assert all(one > last for one in together)
