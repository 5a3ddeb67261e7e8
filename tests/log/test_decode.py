"""Reading logs: the same in pieces and at once, with numpy and without."""

from __future__ import annotations

import struct
import sys
import time
from array import array
from importlib import import_module
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.errors import NewerFormatError
from mlsdk.log import decode as module
from mlsdk.log import frames
from mlsdk.log.decode import Batch, Damage, Facts, Position, decode, numpy_for
from mlsdk.log.values import dumps
from tests.log.made import Maker, end_of, logs, numpy_is, opened, plain, read


@given(logs(), st.lists(st.integers(0, 10**6), max_size=5), st.booleans())
def test_pieces_read_as_the_whole(raw: bytes, cuts: list[int], numpy: bool) -> None:
    """A log read piece by piece while it grows, cut anywhere, reads as the whole at once."""
    expected, entries, position = read(raw), [], Position()
    with numpy_is(numpy):
        for cut in sorted(cut % (len(raw) + 1) for cut in cuts):
            found = list(decode(raw[position.offset : cut], position, live=True))
            entries += [entry for entry, _ in found]
            position = found[-1][1] if found else position
        entries += [entry for entry, _ in decode(raw[position.offset :], position)]

    assert plain(entries) == expected


@given(logs(), st.booleans())
def test_the_position_is_behind_each_entry(raw: bytes, numpy: bool) -> None:
    """From the position that comes with an entry, reading goes on with the next one."""
    with numpy_is(numpy):
        found = list(decode(raw))
        for number, (_, position) in enumerate(found):
            rest = [entry for entry, _ in decode(raw[position.offset :], position)]
            assert plain(rest) == plain(entry for entry, _ in found[number + 1 :])

    schemas = [frame for frame in frames.frames(raw) if not isinstance(frame, Damage) and frame.type == frames.SCHEMA]
    assert max((position.offset for _, position in found), default=0) <= end_of(raw)
    assert schemas or not any(isinstance(entry, Batch) for entry, _ in found)


@given(logs())
def test_numpy_makes_no_difference(raw: bytes) -> None:
    """With numpy and without, the same is read."""
    with numpy_is(False):
        without = read(raw)
    with numpy_is(True):
        assert read(raw) == without


def _many(count: int, broken: int | None = None) -> bytes:
    made = Maker()
    made.add(frames.OPEN, opened())
    made.add(frames.SCHEMA, frames.schema_payload(0, ("loss",), "f"))
    made.points(0, "f", ((step, step * 1000, step / 7) for step in range(count)))
    if broken is not None:
        made.data[made.starts[2 + broken] + 30] ^= 1
    made.add(frames.CLOSE, dumps({"t": 1}))
    return bytes(made.data)


@pytest.mark.parametrize("broken", [None, 0, 1, 4999, 9999, 19_999])
def test_much_is_read_in_large_batches(broken: int | None) -> None:
    """Many points come as few arrays of numpy, and a broken one among them costs itself only."""
    import_module("numpy")
    raw = _many(20_000, broken)
    entries = [entry for entry, _ in decode(raw)]
    batches = [entry for entry in entries if isinstance(entry, Batch)]
    steps = [step for batch in batches for step in batch.steps.tolist()]

    assert steps == [step for step in range(20_000) if step != broken]
    assert sum(isinstance(entry, Damage) for entry in entries) == (broken is not None)
    assert len(batches) <= 3
    assert max(len(batch.steps) for batch in batches if hasattr(batch.steps, "dtype")) >= 9999


def test_without_numpy_columns_are_arrays() -> None:
    """Where numpy is not installed, much is read all the same, into arrays of the standard library."""
    with mock.patch.dict(sys.modules, {"numpy": None}):
        batch = next(entry for entry, _ in decode(_many(20_000)) if isinstance(entry, Batch))

    assert isinstance(batch.values[0], array)
    assert len(batch.steps) == 20_000


def test_changing_schemas_are_read_in_linear_time() -> None:
    """A log in which two schemas alternate is not looked through to its end at every change."""
    made = Maker()
    for number, name in enumerate("ab"):
        made.add(frames.SCHEMA, frames.schema_payload(number, (name,), "f"))
    for step in range(20_000):
        made.points(step % 2, "f", [(step, step, 1.0)])
    begun = time.perf_counter()
    count = sum(len(entry.steps) for entry, _ in decode(bytes(made.data)) if isinstance(entry, Batch))

    assert count == 20_000
    assert time.perf_counter() - begun < 5


def test_numpy_is_loaded_for_much_only() -> None:
    """numpy is not imported for a few bytes, and its absence is no error."""
    with mock.patch.dict(sys.modules):
        sys.modules.pop("numpy", None)

        assert numpy_for(module.MUCH_BYTES - 1) is None
        assert "numpy" not in sys.modules


def test_a_newer_format_is_refused() -> None:
    """A log of a newer format is refused, with what to do."""
    raw = frames.encode(frames.OPEN, 0, dumps({"format": 2, "log": "runs/a/b"}))

    with pytest.raises(NewerFormatError, match=r"runs/a/b has format 2.*pip install"):
        list(decode(raw))


NO_FACTS = [
    b"",
    b"[]",
    b"{",
    b'{"t":NaN,"set":{}}',
    b'{"t":1}',
    b'{"t":1,"set":[]}',
    b'{"t":1,"set":{"run":3}}',
    b'{"t":1.5,"set":{}}',
    b'{"t":true,"set":{}}',
    b'{"t":9223372036854775808,"set":{}}',
    b'{"t":1,"o":null,"set":{}}',
    b"[" * 100_000,
    b'{"t":1,"set":{"a":"\xff"}}',
]


@pytest.mark.parametrize("payload", NO_FACTS, ids=lambda payload: repr(payload[:30]))
def test_odd_facts_are_damage(payload: bytes) -> None:
    """A facts frame that is whole but does not hold facts is reported as damage, and reading goes on."""
    raw = frames.encode(frames.FACTS, 0, payload) + frames.encode(frames.FACTS, 1, b'{"t":5,"set":{"run":{}}}')
    entries = [entry for entry, _ in decode(raw)]

    assert entries == [Damage(0, 13 + len(payload)), Facts(5, 5, {"run": {}})]


@pytest.mark.parametrize("extra", [-1, 1, 8])
def test_points_of_a_wrong_length_are_damage(extra: int) -> None:
    """Points that are shorter or longer than their schema says are damage, alone or among many."""
    payload = struct.pack("<Iqqdd", 0, 1, 2, 3.0, 4.0)[: 28 + extra]
    raw = frames.encode(frames.SCHEMA, 0, frames.schema_payload(0, ("a",), "f")) + frames.encode(
        frames.POINTS, 1, payload
    )

    assert [type(entry) for entry, _ in decode(raw)] == [Damage]
