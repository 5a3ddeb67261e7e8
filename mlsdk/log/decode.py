"""Reading a log: frames grouped into what they mean, points by column.

numpy is used where it is loaded already or where there is much to read; without it the columns are `array.array`.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple, TypeGuard
from zlib import crc32

from mlsdk.errors import FormatError, NewerFormatError
from mlsdk.log.frames import (
    CHECKSUM,
    CLOSE,
    FORMAT_VERSION,
    HEADER,
    KINDS,
    OPEN,
    OUTPUT,
    OUTPUT_HEAD,
    POINTS,
    POINTS_HEAD,
    SCHEMA,
    Damage,
    Frame,
    Schema,
    frames,
    read_schema,
)
from mlsdk.log.values import loads

MUCH_BYTES = 262_144
"""From so many bytes of points on, numpy is worth its import."""

LEAST_BYTES = MUCH_BYTES // 4
"""Fewer bytes of alike frames are read one by one."""


class Opened(NamedTuple):
    """The open frame: who writes this log."""

    header: dict[str, object]


class Facts(NamedTuple):
    """A facts frame: clock and order in nanoseconds, values by kind and key as tagged JSON."""

    t: int
    order: int
    kinds: dict[str, dict[str, object]]


class Batch(NamedTuple):
    """Consecutive points of one schema: `values[i]` is the column of `schema.names[i]`, as long as `steps`, `times`."""

    schema: Schema
    steps: Sequence[int]
    times: Sequence[int]
    values: tuple[Sequence[int | float], ...]


class Output(NamedTuple):
    """A piece of stdout (1) or stderr (2)."""

    stream: int
    t: int
    text: str


class Closed(NamedTuple):
    """The close frame: the log is whole."""

    t: int


class Position(NamedTuple):
    """How far a log has been read: offset, number of the last frame, the schemas met so far."""

    offset: int = 0
    last: int = -1
    schemas: tuple[Schema, ...] = ()


Entry = Opened | Facts | Batch | Output | Closed | Damage


def decode(
    data: bytes | memoryview, position: Position | None = None, *, live: bool = False
) -> Iterator[tuple[Entry, Position]]:
    """Entries of a log, each with the position behind it.

    Args:
        data: raw bytes from `position.offset` on.
        position: where an earlier reading stopped; by default the beginning.
        live: whether the writer may still be at work (see `frames`).

    Raises:
        NewerFormatError: the log was written in a newer format.
    """
    before = position or Position()
    schemas = {schema.number: schema for schema in before.schemas}
    view, start, last = memoryview(data), 0, before.last
    rows: list[tuple[int | float, ...]] = []
    current: Schema | None = None
    look_at = 0

    def here() -> Position:
        return Position(before.offset + start, last, tuple(schemas.values()))

    while True:
        fast: tuple[Batch, int, int] | None = None
        for found in frames(view, start, last=last, live=live):
            schema = _schema_of(found, schemas)
            if isinstance(found, Frame) and schema and found.start >= look_at and len(view) - found.start >= MUCH_BYTES:
                fast = _uniform(view, found, schema)
                if fast is not None:
                    break
                look_at = found.start + LEAST_BYTES
            if rows and current is not None and schema is not current:
                yield _batch(current, rows), here()
                rows = []
            start = found.end
            entry = None
            if isinstance(found, Frame):
                last = found.sequence
                if schema is not None:
                    current = schema
                    head, values = found.payload[: POINTS_HEAD.size], found.payload[POINTS_HEAD.size :]
                    rows.append((*POINTS_HEAD.unpack(head)[1:], *schema.values.unpack(values)))
                    continue
                entry = _entry(found, schemas)
            if entry is None:
                yield Damage(before.offset + found.start, before.offset + found.end), here()
            elif not isinstance(entry, Schema):
                yield entry, here()
        if rows and current is not None:
            yield _batch(current, rows), here()
            rows = []
        if fast is None:
            break
        batch, start, last = fast
        yield batch, here()


def _schema_of(found: Frame | Damage, schemas: dict[int, Schema]) -> Schema | None:
    """The schema of a frame of points as long as the schema says; None for all else."""
    if isinstance(found, Damage) or found.type != POINTS or len(found.payload) < POINTS_HEAD.size:
        return None
    schema = schemas.get(_points_schema(found))
    return schema if schema and len(found.payload) == POINTS_HEAD.size + schema.values.size else None


def _points_schema(frame: Frame) -> int:
    return int(POINTS_HEAD.unpack_from(frame.payload)[0])


def _entry(frame: Frame, schemas: dict[int, Schema]) -> Entry | Schema | None:
    """What a frame without rows means; None if its payload is not what its type says."""
    payload = frame.payload
    try:
        if frame.type == SCHEMA:
            schema = read_schema(payload)
            schemas[schema.number] = schema
            return schema
        if frame.type == OUTPUT:
            stream, time = OUTPUT_HEAD.unpack_from(payload)
            return Output(stream, time, bytes(payload[OUTPUT_HEAD.size :]).decode("utf-8", "replace"))
    except (struct.error, ValueError, KeyError):
        return None
    return None if frame.type == POINTS else _described(frame)


def _described(frame: Frame) -> Opened | Facts | Closed | None:
    """What a frame of JSON means; None if it is not what its type says."""
    try:
        content = loads(frame.payload)
    except FormatError:
        return None
    if not isinstance(content, dict):
        return None
    if frame.type == OPEN:
        version = content.get("format")
        if isinstance(version, int) and version > FORMAT_VERSION:
            name, known = content.get("log"), FORMAT_VERSION
            raise NewerFormatError(f"{name} has format {version}, this mlsdk reads up to {known}: pip install -U mlsdk")
        return Opened(content)
    t = content.get("t")
    order = content.get("o", t)
    if not _is_time(t) or not _is_time(order):
        return None
    if frame.type == CLOSE:
        return Closed(t)
    kinds = content.get("set")
    if not isinstance(kinds, dict) or not all(isinstance(values, dict) for values in kinds.values()):
        return None
    return Facts(t, order, kinds)


def _is_time(value: object) -> TypeGuard[int]:
    return type(value) is int and -(2**63) <= value < 2**63


def _batch(schema: Schema, rows: list[tuple[int | float, ...]]) -> Batch:
    codes = ("q", "q", *(KINDS[kind] for kind in schema.kinds))
    steps, times, *values = (array(code, column) for code, column in zip(codes, zip(*rows, strict=True), strict=True))
    return Batch(schema, steps, times, tuple(values))


def numpy_for(size_bytes: int) -> ModuleType | None:
    """numpy, if it is loaded already or if there is enough to do to load it; None where it is not installed."""
    if size_bytes < MUCH_BYTES and sys.modules.get("numpy") is None:
        return None
    try:
        import numpy as np
    except ImportError:
        return None
    return np


def _uniform(view: memoryview, first: Frame, schema: Schema) -> tuple[Batch, int, int] | None:
    """Alike points frames at once: the batch, where it ends, its last number; None if they are few or without numpy."""
    np = numpy_for(len(view) - first.start)
    count = alike(np, view, first) if np is not None else 0
    if np is None or not count:
        return None
    size = first.end - first.start
    table = np.frombuffer(view, row_type(np, schema), count, first.start)
    values = tuple(np.ascontiguousarray(table[f"v{i}"]) for i in range(len(schema.kinds)))
    batch = Batch(schema, np.ascontiguousarray(table["step"]), np.ascontiguousarray(table["time"]), values)
    return batch, first.start + count * size, first.sequence + count - 1


def row_type(np: ModuleType, schema: Schema) -> Any:
    """The numpy type of a whole points frame of a schema."""
    fields = [
        ("length", "<u4"),
        ("type", "u1"),
        ("sequence", "<u4"),
        ("schema", "<u4"),
        ("step", "<i8"),
        ("time", "<i8"),
    ]
    fields += [(f"v{i}", "<" + KINDS[kind]) for i, kind in enumerate(schema.kinds)]
    return np.dtype([*fields, ("crc", "<u4")])


def alike(np: ModuleType, view: memoryview, first: Frame) -> int:
    """How many valid frames of points from `first` on have one length and schema and no gap in their numbers.

    0 if they are fewer than `LEAST_BYTES`.
    """
    size = first.end - first.start
    available, step = (len(view) - first.start) // size, LEAST_BYTES // size + 1
    far = first.start + (step - 1) * size
    if available < step or HEADER.unpack_from(view, far) != (len(first.payload), POINTS, first.sequence + step - 1):
        return 0
    layout = {"names": ["length", "type", "sequence", "schema", "crc"], "formats": ["<u4", "u1", "<u4", "<u4", "<u4"]}
    heads = np.dtype({**layout, "offsets": [0, 4, 5, HEADER.size, size - CHECKSUM.size], "itemsize": size})
    number, body, done = _points_schema(first), size - CHECKSUM.size, 0
    while done < available:
        start, count = first.start + done * size, min(step, available - done)
        table = np.frombuffer(view, heads, count, start)
        numbers = np.arange(count, dtype=np.int64) + (first.sequence + done)
        same = (table["length"] == len(first.payload)) & (table["type"] == POINTS)
        same &= (table["schema"] == number) & (table["sequence"] == numbers)
        good = _leading(np, same)
        sums = checksums(np, view, range(start, start + good * size, size), body)
        good = _leading(np, sums == table["crc"][:good])
        if good < count:
            return done + good if done else 0
        done, step = done + good, 4 * step
    return done


def checksums(np: ModuleType, view: memoryview, starts: range, length: int) -> Any:
    """The checksums of pieces of `length` bytes."""
    return np.fromiter((crc32(view[at : at + length]) for at in starts), np.uint32, len(starts))


def _leading(np: ModuleType, flags: Sequence[bool]) -> int:
    """How many flags are true before the first false one."""
    return len(flags) if np.all(flags) else int(np.argmin(flags))


assert HEADER.size + CHECKSUM.size == 13  # the layout in `row_type` repeats the header's
