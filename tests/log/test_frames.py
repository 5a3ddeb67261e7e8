"""Frames: what is written is read, whatever is cut or flipped; docs/format.md tells the truth."""

from __future__ import annotations

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.log import frames
from mlsdk.log.decode import Facts, decode
from mlsdk.log.frames import Damage, Frame
from mlsdk.log.sealed import Sealed
from mlsdk.store.fold import LogState, RunState
from tests.conftest import ROOT
from tests.log import reader_from_docs
from tests.log.made import Maker, end_of, logs, read


def _plain(found: Frame | Damage) -> tuple:
    return (*found[:2], bytes(found.payload), *found[3:]) if isinstance(found, Frame) else found


def _found(data: bytes, **how: object) -> list[tuple]:
    return [_plain(found) for found in frames.frames(data, **how)]


payloads = st.lists(st.tuples(st.sampled_from(list(frames.TYPES)), st.binary(max_size=60)), max_size=8)


def _log(parts: list[tuple[int, bytes]]) -> Maker:
    made = Maker()
    for kind, payload in parts:
        made.add(kind, payload)
    return made


@given(payloads)
def test_written_is_read(parts: list[tuple[int, bytes]]) -> None:
    """The frames that were written are read, in order, one behind the other."""
    made = _log(parts)
    found = list(frames.frames(bytes(made.data)))

    assert [(frame.type, bytes(frame.payload)) for frame in found] == parts
    assert [frame.start for frame in found] == made.starts
    assert [frame.sequence for frame in found] == list(range(len(parts)))


@given(payloads, st.integers(0, 10**6), st.booleans(), st.booleans())
def test_a_cut_keeps_what_is_before(parts: list[tuple[int, bytes]], cut: int, zeros: bool, live: bool) -> None:
    """Wherever a log is cut, the whole frames before are read and nothing else, with or without zeros behind."""
    data = bytes(_log(parts).data)
    cut %= len(data) + 1
    left = data[:cut] + bytes(100 * zeros)
    whole = [frame for frame in _found(data) if left[: frame[4]] == data[: frame[4]]]  # zeros may be just what was cut

    assert _found(left, live=live) == whole


@given(payloads.filter(bool), st.integers(0, 10**6), st.integers(1, 255))
def test_a_flipped_byte_costs_one_frame(parts: list[tuple[int, bytes]], place: int, flip: int) -> None:
    """A changed byte costs the frame it is in and no other; the gap is reported, unless nothing is behind it."""
    data = bytearray(_log(parts).data)
    place %= len(data)
    good = _found(bytes(data))
    data[place] ^= flip
    hit = next(frame for frame in good if frame[3] <= place < frame[4])
    expected = [frame if frame != hit else Damage(hit[3], hit[4]) for frame in good]

    assert _found(bytes(data)) == (expected[:-1] if good[-1] == hit else expected)


@given(st.binary(max_size=300))
def test_any_bytes_can_be_read(data: bytes) -> None:
    """No bytes whatever make reading fail, and what is found lies in order inside them."""
    found = _found(data)
    borders = [border for part in found for border in part[-2:]]

    assert borders == sorted(borders)
    assert not found or (isinstance(found[-1], tuple) and not isinstance(found[-1], Damage))
    assert read(data) is not None


def test_an_old_frame_is_no_frame() -> None:
    """A frame whose number is not higher than the one before it is a leftover, not a frame."""
    data = frames.encode(2, 5, b"new") + frames.encode(2, 4, b"old") + frames.encode(2, 5, b"same")

    assert [part[1] for part in _found(data)] == [5]
    assert _found(data + frames.encode(2, 6, b"next"))[1] == Damage(16, 16 + 16 + 17)


def test_zeros_are_passed_over_quickly() -> None:
    """Megabytes of allocated but unwritten space behind a log cost no noticeable time, nor do they in the middle."""
    data = frames.encode(1, 0, b"{}") + bytes(20_000_000) + frames.encode(6, 1, b"{}")

    assert [type(found) for found in frames.frames(data)] == [Frame, Damage, Frame]


def test_a_live_log_is_not_searched() -> None:
    """While the writer may be at work an invalid piece is waited for, not skipped."""
    data = frames.encode(1, 0, b"{}") + b"half" + frames.encode(6, 1, b"{}")

    assert len(_found(data, live=True)) == 1
    assert len(_found(data)) == 3


names = st.lists(st.text(max_size=5) | st.sampled_from(("\udc80", "\ud83d\ude00")), unique=True, max_size=5)


@given(st.integers(0, 2**32 - 1), names, st.data())
def test_schemas_come_back(number: int, wanted: list[str], data: st.DataObject) -> None:
    """Number, names (lone surrogates among them) and kinds of a schema come back."""
    kinds = "".join(data.draw(st.lists(st.sampled_from("fiu"), min_size=len(wanted), max_size=len(wanted))))
    payload = frames.schema_payload(number, tuple(wanted), kinds)

    assert frames.read_schema(memoryview(payload))[:3] == (number, tuple(wanted), kinds)


@given(names.filter(bool), st.integers(0, 10**6))
def test_a_schema_cut_or_lengthened_is_none(wanted: list[str], cut: int) -> None:
    """A schema that is too short, too long or has a name twice is refused."""
    payload = frames.schema_payload(1, tuple(wanted), "f" * len(wanted))
    twice = frames.schema_payload(1, (*wanted, wanted[0]), "f" * (len(wanted) + 1))

    for wrong in (payload[: cut % len(payload)], payload + b"\0", twice):
        with pytest.raises((ValueError, struct.error)):
            frames.read_schema(memoryview(wrong))


# The page


def _vectors() -> dict[str, bytes]:
    page = (ROOT / "docs" / "format.md").read_text("utf-8")
    return {name: bytes.fromhex(digits) for name, digits in re.findall(r"```hex (\w+)\n(.*?)```", page, re.DOTALL)}


FRAMES = ("open", "facts", "schema", "points", "output", "close")
T = 1_700_000_000_000_000_000
MEANT = [
    ("open", {"format": 1, "log": "runs/a/b", "role": "main", "source": "mlsdk 0.1.0", "order": T, "t": T}),
    ("facts", T + 1, T + 1, {"params": {"lr": 0.1}}),
    ("point", ["loss", "größe"], "fu", 7, T + 2, struct.pack("<dQ", 0.5, 2**64 - 1)),
    ("output", 2, T + 3, "done"),
    ("close", T + 4),
]


def test_vectors_of_the_page() -> None:
    """The hexadecimal frames in docs/format.md mean what the page says, to mlsdk and to the page's own reader."""
    vectors = _vectors()
    log = b"".join(vectors[name] for name in FRAMES)

    assert read(log) == MEANT
    assert reader_from_docs.read(log) == (MEANT, len(log))
    assert b"".join(frames.encode(f[0], f[1], f[2]) for f in _found(log)) == log


def test_sealed_vector_of_the_page() -> None:
    """The sealed log in docs/format.md gives back the frames above it."""
    vectors = _vectors()
    log = b"".join(vectors[name] for name in FRAMES)

    assert Sealed(vectors["sealed"]).raw() == log
    assert Sealed(vectors["sealed"]).log == "runs/a/b"
    assert reader_from_docs.Seal(vectors["sealed"]).raw() == log


@given(logs())
def test_reader_from_the_page_agrees(raw: bytes) -> None:
    """A reader written from docs/format.md alone reads the same as mlsdk, damage and all."""
    assert reader_from_docs.read(raw) == (read(raw), end_of(raw))


@given(st.lists(logs(damage=False), max_size=4))
def test_merging_as_on_the_page(made: list[bytes]) -> None:
    """Facts of several logs merge as docs/format.md says."""
    named = {f"runs/a/{number}": raw for number, raw in enumerate(made)}
    state = RunState("a")
    for name, raw in named.items():
        log = LogState(name)
        for entry, position in decode(raw):
            log.add(entry, position)
            if isinstance(entry, Facts):
                state.add(entry, log)
    merged = {(kind, key): value for kind in state.facts for key, value in state.values(kind).items()}

    assert merged == reader_from_docs.merge(named)
