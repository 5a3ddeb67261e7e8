"""Logs for the tests of the format: whole, interleaved, damaged; and what mlsdk reads in them, as plain rows."""

from __future__ import annotations

import contextlib
import struct
import sys
from collections.abc import Iterator
from unittest import mock

from hypothesis import strategies as st

from mlsdk.log import decode, frames, seal, sealed
from mlsdk.log.frames import KINDS
from mlsdk.log.values import dumps

NAMES = ("a", "b", "train/loss", "größe", "", "\udc80", "\ud83d\ude00")
SCHEMAS = (
    (("a",), "f"),
    (("a",), "i"),
    (("a", "b"), "fu"),
    (("b", "train/loss"), "fi"),
    ((), ""),
    (("größe", "", "a"), "uff"),
)
STRANGE = (("\ud83d\ude00", "\udc80"), "fi")
"""Two lone surrogates in a row, which JSON would make one character of."""

i64 = st.integers(-(2**63), 2**63 - 1)
u64 = st.integers(0, 2**64 - 1)
floats = st.floats() | st.floats(width=32) | u64.map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
OF_KIND = {"f": floats, "i": i64, "u": u64}
values = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5)
facts = st.dictionaries(
    st.sampled_from(("run", "params", "tags")), st.dictionaries(st.sampled_from(("lr", "status", "name")), values)
)


class Maker:
    """Builds a log frame by frame."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.number = 0
        self.starts: list[int] = []

    def add(self, kind: int, payload: bytes) -> None:
        """Add a frame with the next number."""
        self.starts.append(len(self.data))
        self.data += frames.encode(kind, self.number, payload)
        self.number += 1

    def points(self, number: int, kinds: str, rows) -> None:
        """Add a frame of points for each row of step, time, values."""
        layout = struct.Struct("<Iqq" + "".join(KINDS[kind] for kind in kinds))
        for row in rows:
            self.add(frames.POINTS, layout.pack(number, *row))


def opened(log: str = "runs/a/b", role: str = "main") -> bytes:
    """Payload of an open frame."""
    return dumps({"format": 1, "log": log, "role": role, "source": "a test", "order": 1, "t": 1})


@st.composite
def logs(draw, *, damage: bool = True, strange: bool = True) -> bytes:
    """A log of any frames in any order; damaged in the middle and with a torn tail if wanted."""
    made = Maker()
    made.add(frames.OPEN, opened(role=draw(st.sampled_from(("main", "worker")))))
    known: dict[int, str] = {}
    kinds = ["schema", "points", "many", "facts", "output"] + ["noise", "old", "odd", "gap", "zeros"] * damage
    for what in draw(st.lists(st.sampled_from(kinds), max_size=12)):
        _add(draw, made, known, what, strange)
    if draw(st.booleans()):
        made.add(frames.CLOSE, dumps({"t": draw(i64)}))
    tail = draw(st.binary(max_size=20) | st.just(bytes(50))) if damage else b""
    return bytes(made.data) + tail


def _add(draw, made: Maker, known: dict[int, str], what: str, strange: bool) -> None:
    if what == "schema" or (what in {"points", "many"} and not known):
        number = draw(st.integers(0, 3))
        names, kinds = draw(st.sampled_from(SCHEMAS + (STRANGE,) * strange))
        made.add(frames.SCHEMA, frames.schema_payload(number, names, kinds))
        known[number] = kinds
    elif what == "points":
        number = draw(st.sampled_from(sorted(known)))
        row = st.tuples(i64, i64, *(OF_KIND[kind] for kind in known[number]))
        made.points(number, known[number], draw(st.lists(row, min_size=1, max_size=4)))
    elif what == "many":
        number, count, start = draw(st.sampled_from(sorted(known))), draw(st.integers(2, 40)), draw(st.integers(0, 99))
        made.points(number, known[number], ((i, i * 7, *[i] * len(known[number])) for i in range(start, start + count)))
    elif what == "facts":
        made.add(frames.FACTS, dumps({"t": draw(i64), "o": draw(i64), "set": draw(facts)}))
    elif what == "output":
        made.add(
            frames.OUTPUT, frames.OUTPUT_HEAD.pack(draw(st.integers(0, 255)), draw(i64)) + draw(st.binary(max_size=9))
        )
    elif what == "noise":
        made.data += draw(st.binary(min_size=1, max_size=30))
    elif what == "old":
        made.data += frames.encode(
            frames.POINTS, draw(st.integers(0, max(made.number - 1, 0))), struct.pack("<Iqqd", 0, 1, 2, 3.0)
        )
    elif what == "odd":
        made.add(draw(st.integers(1, 6)), draw(st.binary(max_size=40)))
    elif what == "gap":
        made.number += draw(st.integers(1, 1000))
    else:
        made.data += bytes(draw(st.integers(1, 40)))


def plain(entries) -> list[tuple]:
    """Entries of `decode` as tuples that can be compared: a row for each point, its values as bytes."""
    found: list[tuple] = []
    for entry in entries:
        if isinstance(entry, decode.Batch):
            names, kinds = list(entry.schema.names), entry.schema.kinds
            columns = (entry.steps, entry.times, *entry.values)
            for step, time, *row in zip(*(column.tolist() for column in columns), strict=True):
                found.append(("point", names, kinds, step, time, entry.schema.values.pack(*row)))
        elif isinstance(entry, decode.Opened):
            found.append(("open", entry.header))
        elif isinstance(entry, decode.Facts):
            found.append(("facts", *entry))
        elif isinstance(entry, decode.Output):
            found.append(("output", *entry))
        elif isinstance(entry, decode.Closed):
            found.append(("close", entry.t))
        else:
            found.append(("damage", entry.start, entry.end))
    return found


def read(raw: bytes) -> list[tuple]:
    """What mlsdk reads in a raw log."""
    return plain(entry for entry, _ in decode.decode(raw))


def end_of(raw: bytes) -> int:
    """Where a raw log ends."""
    return max((found.end for found in frames.frames(raw)), default=0)


@contextlib.contextmanager
def numpy_is(there: bool) -> Iterator[None]:
    """Read with numpy, and the fast ways even for small logs; or as if numpy were not installed."""
    if not there:
        with mock.patch.dict(sys.modules, {"numpy": None}):
            yield
        return
    with mock.patch.multiple(decode, MUCH_BYTES=100, LEAST_BYTES=100), mock.patch.object(seal, "LEAST_BYTES", 100):
        yield


def bits(column, code: str) -> bytes:
    """The bytes of a column."""
    return struct.pack(f"<{len(column)}{code}", *column)


def parts_of(source: bytes, name: str) -> list[tuple]:
    """All that a sealed log says about a metric, joined where the kind is the same."""
    rows: list[tuple] = []
    for part in sealed.Sealed(source).series(name):
        code = part.values.typecode if hasattr(part.values, "typecode") else part.values.dtype.char
        code = {"l": "q", "L": "Q"}.get(code, code)
        for step, value, time in zip(*(column.tolist() for column in part), strict=True):
            rows.append((step, time, code, struct.pack("<" + code, value)))
    return rows
