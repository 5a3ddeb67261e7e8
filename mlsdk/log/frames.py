"""Frames: the units of a log. `docs/format.md` describes them byte for byte.

A frame is `length u32 | type u8 | sequence u32 | payload | crc32 u32`, little endian. The checksum covers everything
before it. A type is never 0, so that the zeros of allocated but unwritten space end a log.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

FORMAT_VERSION = 1

OPEN, FACTS, SCHEMA, POINTS, OUTPUT, CLOSE = 1, 2, 3, 4, 5, 6
TYPES = range(OPEN, CLOSE + 1)
_TYPE_BYTE = re.compile(b"[\\x01-\\x06]")

HEADER = struct.Struct("<IBI")
CHECKSUM = struct.Struct("<I")
OVERHEAD_BYTES = HEADER.size + CHECKSUM.size

POINTS_HEAD = struct.Struct("<Iqq")
"""Schema number, step, time in nanoseconds: how the payload of a points frame begins."""

LONGEST_CLOSE_BYTES = 256
"""No close frame is longer."""

KINDS = {"f": "d", "i": "q", "u": "Q"}
"""Kind of a metric in a schema and its `struct` code: 64-bit float, signed integer, unsigned integer."""


class Frame(NamedTuple):
    """One valid frame: where it begins and ends in the raw log, and what is in it."""

    type: int
    sequence: int
    payload: memoryview
    start: int
    end: int


class Damage(NamedTuple):
    """Bytes between two valid frames that are not a frame."""

    start: int
    end: int


def encode(kind: int, sequence: int, payload: bytes) -> bytes:
    """One whole frame."""
    body = HEADER.pack(len(payload), kind, sequence) + payload
    return body + CHECKSUM.pack(crc32(body))


def frame_at(data: memoryview, start: int, last: int = -1) -> Frame | None:
    """The frame that begins at `start` and comes after number `last`; None if no whole valid one stands there."""
    if start + OVERHEAD_BYTES > len(data):
        return None
    length, kind, sequence = HEADER.unpack_from(data, start)
    body_end = start + HEADER.size + length
    if kind not in TYPES or sequence <= last or body_end + CHECKSUM.size > len(data):
        return None
    if CHECKSUM.unpack_from(data, body_end)[0] != crc32(data[start:body_end]):
        return None
    return Frame(kind, sequence, data[start + HEADER.size : body_end], start, body_end + CHECKSUM.size)


def frames(data: bytes | memoryview, start: int = 0, *, last: int = -1, live: bool = False) -> Iterator[Frame | Damage]:
    """Walk the valid frames of a log from `start`; bytes that are skipped come as `Damage`.

    An invalid tail ends the walk. An invalid piece with a valid frame behind it is damage, skipped and reported; a log
    that is still being written (`live`) is not searched, since its next frame may be half there.

    Args:
        data: raw bytes of the log.
        start: where to begin: 0 or the end of a frame.
        last: sequence number of the frame before `start`. A frame that does not come after it is a leftover.
        live: whether the writer may still be at work.
    """
    view = memoryview(data)
    at = start
    while True:
        frame = frame_at(view, at, last)
        if frame is None:
            found = None if live else _search(view, at + 1, last)
            if found is None:
                return
            yield Damage(at, found)
            at = found
            continue
        yield frame
        at, last = frame.end, frame.sequence


def is_closed(tail: bytes) -> bool:
    """Whether bytes from the end of a log end in a whole close frame.

    >>> is_closed(b"..." + encode(CLOSE, 7, b'{"t": 1}'))
    True
    """
    view = memoryview(tail)
    for start in range(len(tail) - OVERHEAD_BYTES, max(-1, len(tail) - LONGEST_CLOSE_BYTES), -1):
        if tail[start + 4] == CLOSE:
            frame = frame_at(view, start)
            if frame is not None and frame.end == len(tail):
                return True
    return False


def _search(view: memoryview, start: int, last: int) -> int | None:
    """The first offset from `start` on where a valid frame stands. Looking for its type passes quickly over zeros."""
    for found in _TYPE_BYTE.finditer(view, start + 4):
        if frame_at(view, found.start() - 4, last) is not None:
            return found.start() - 4
    return None


def schema_payload(number: int, names: tuple[str, ...], kinds: str) -> bytes:
    """Payload of a schema frame: number u32, count u32, the kinds as ASCII, then each name as length u32 and UTF-8."""
    encoded = [name.encode("utf-8", "surrogatepass") for name in names]
    head = struct.pack("<II", number, len(names)) + kinds.encode("ascii")
    return head + b"".join(struct.pack("<I", len(name)) + name for name in encoded)


class Schema(NamedTuple):
    """A numbered tuple of metric names and kinds, and the layout of the points frames that refer to it."""

    number: int
    names: tuple[str, ...]
    kinds: str
    values: struct.Struct


def read_schema(payload: memoryview) -> Schema:
    """Read what `schema_payload` wrote.

    Raises:
        ValueError, KeyError, struct.error: it is something else, or a name stands in it twice.
    """
    number, count = struct.unpack_from("<II", payload)
    kinds = bytes(payload[8 : 8 + count]).decode("ascii")
    names, at = [], 8 + count
    for _ in range(count):
        (size,) = struct.unpack_from("<I", payload, at)
        names.append(bytes(payload[at + 4 : at + 4 + size]).decode("utf-8", "surrogatepass"))
        at += 4 + size
    if at != len(payload) or len(set(names)) != count:
        raise ValueError(f"a schema of {count} names in {len(payload)} bytes")
    return Schema(number, tuple(names), kinds, values_struct(kinds))


def values_struct(kinds: str) -> struct.Struct:
    """Layout of one row of values of these kinds."""
    return struct.Struct("<" + "".join(KINDS[kind] for kind in kinds))


OUTPUT_HEAD = struct.Struct("<Bq")
"""Stream (1 stdout, 2 stderr), time in nanoseconds: how the payload of an output frame begins; UTF-8 text follows."""
