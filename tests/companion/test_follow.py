"""`mlsdk/companion/follow.py`: the facts of a log that is being written."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import mlsdk
from mlsdk.companion.follow import Follower
from mlsdk.log import frames
from mlsdk.log.decode import Facts, decode
from mlsdk.log.values import dumps


def _frame(number: int, size: int, *, facts: bool) -> bytes:
    if facts:
        return frames.encode(frames.FACTS, number, dumps({"t": number, "set": {"params": {"a": "x" * size}}}))
    return frames.encode(frames.OUTPUT, number, frames.OUTPUT_HEAD.pack(1, number) + b"\x02" * size)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0, 1, 50, 70_000])), max_size=12),
    st.lists(st.integers(0, 600_000), max_size=6),
)
def test_in_pieces(kinds: list[tuple[bool, int]], cuts: list[int]) -> None:
    """However the log grows between two looks, in the middle of a frame too, each fact is seen once, in order."""
    path = Path("a.log")
    whole = b"".join(_frame(number, size, facts=facts) for number, (facts, size) in enumerate(kinds))
    path.write_bytes(b"")
    follower, seen = Follower(str(path)), []
    for cut in [*sorted(min(cut, len(whole)) for cut in cuts), len(whole)]:
        path.write_bytes(whole[:cut] + bytes(4096))
        seen += [facts.t for facts in follower.look()]

    assert seen == [number for number, (facts, _) in enumerate(kinds) if facts]


def test_a_frame_larger_than_a_piece() -> None:
    """A fact of megabytes is read whole."""
    Path("a.log").write_bytes(_frame(0, 3_000_000, facts=True) + _frame(1, 1, facts=True))

    assert [facts.t for facts in Follower("a.log").look()] == [0, 1]


def test_beside_a_run() -> None:
    """Following a live run sees the facts that decoding its whole log sees, and nothing of a log that is gone."""
    with mlsdk.run("it", params={"a": 1}) as run:
        path = os.path.join(str(run.path), f"{run._writer.id}.log")
        follower = Follower(path)
        seen = follower.look()
        for step in range(2000):
            run.log(loss=float(step))
        run.set_tags({"b": 2})
        seen += follower.look()
        data = Path(path).read_bytes()
    expected = [entry for entry, _ in decode(data, live=True) if isinstance(entry, Facts)]

    assert seen == expected
    assert seen[-1].kinds == {"tags": {"b": 2}}
    assert Follower("nowhere.log").look() == []
