"""Sealing: a log that will not grow is packed into columns, and comes back to the byte. See `docs/format.md`."""

from __future__ import annotations

import hashlib
import struct
from itertools import chain
from types import ModuleType
from typing import Any
from zlib import compress, crc32

from mlsdk.errors import FormatError, NewerFormatError
from mlsdk.log import columns
from mlsdk.log.decode import LEAST_BYTES, alike, decode, numpy_for
from mlsdk.log.frames import (
    CHECKSUM,
    HEADER,
    KINDS,
    OPEN,
    POINTS,
    POINTS_HEAD,
    SCHEMA,
    Damage,
    Frame,
    Schema,
    encode,
    frames,
    read_schema,
)
from mlsdk.log.sealed import END, MAGIC, Sealed, links
from mlsdk.log.values import dumps, loads

__all__ = ["Sealed", "seal", "unseal"]

PYRAMID_POINTS = 4096
"""Metrics of up to so many points need no pyramid in the file: it is computed faster than it is read."""


def seal(raw: bytes, log: str) -> bytes:
    """Pack a log that will not grow into columns.

    A log ends with its last valid frame: what is behind is not kept. All before comes back to the byte, damage too.

    Args:
        raw: the bytes of the log.
        log: its name, with which the hash chain begins.

    Raises:
        NewerFormatError: a newer mlsdk wrote the log, and may have written frames that would be lost here.

    Example::

        sealed = seal(raw, "runs/0190…/0190…")
        assert unseal(sealed) == raw
    """
    taken = _Taken(raw, numpy_for(len(raw)))
    content = raw[: taken.end]
    try:
        sealed = taken.packed(content, log)
        if Sealed(sealed).raw() == content:
            return sealed
    except NewerFormatError:
        raise
    except FormatError:  # something in this log does not survive as columns
        pass
    whole = _Taken(b"", None)
    whole.rest, whole.runs = [slice(0, len(content))], [(0, len(content), 0)] * bool(content)
    return whole.packed(content, log, plain=True)


def unseal(sealed: bytes) -> bytes:
    """The raw log that `seal` packed.

    Raises:
        FormatError: the bytes are no sealed log, or damaged.
        DigestError: what comes out is not what was sealed.
    """
    return Sealed(sealed).raw()


class _Taken:
    """A log taken apart.

    Attributes:
        end: where its last valid frame ends.
        runs: `(group, rows, number of the first frame)` in the log's order; group 0 stands for bytes kept as they are.
        rest: where these bytes are.
        cuts: for each schema, where its points are.
    """

    def __init__(self, raw: bytes, np: ModuleType | None) -> None:
        self.end = 0
        self.runs: list[tuple[int, int, int]] = []
        self.rest: list[slice] = []
        self.cuts: dict[Schema, list[slice]] = {}
        self._np = np
        self._numbers: dict[Schema, int] = {}
        self._scan(memoryview(raw))

    def _scan(self, view: memoryview) -> None:
        schemas: dict[int, Schema] = {}
        last, look_at = -1, 0
        while True:
            many = 0
            for found in frames(view, self.end, last=last):
                schema = _schema_of(found, schemas)
                if isinstance(found, Damage) or schema is None:
                    self._keep(found)
                else:
                    if self._np is not None and found.start >= look_at:
                        many = alike(self._np, view, found)
                        look_at = found.start + LEAST_BYTES
                    self._add(schema, found, max(many, 1))
                self.end = found.end
                if isinstance(found, Frame):
                    last = found.sequence
                    if many:
                        self.end, last = found.start + many * (found.end - found.start), last + many - 1
                        break
                    _note(found, schemas)
            if not many:
                return

    def _keep(self, found: Frame | Damage) -> None:
        if self.runs and self.runs[-1][0] == 0:
            start, count = self.rest[-1].start, self.runs.pop()[1]
            self.rest[-1] = slice(start, found.end)
        else:
            self.rest.append(slice(found.start, found.end))
            count = 0
        self.runs.append((0, count + found.end - found.start, 0))

    def _add(self, schema: Schema, found: Frame, count: int) -> None:
        cut = slice(found.start, found.start + count * (found.end - found.start))
        cuts = self.cuts.setdefault(schema, [])
        number = self._numbers.setdefault(schema, len(self.cuts))
        if self.runs and self.runs[-1][0] == number and sum(self.runs[-1][1:]) == found.sequence:
            _, before, first = self.runs.pop()
            self.runs.append((number, before + count, first))
            cuts[-1] = slice(cuts[-1].start, cut.stop)
        else:
            self.runs.append((number, count, found.sequence))
            cuts.append(cut)

    def packed(self, raw: bytes, log: str, *, plain: bool = False) -> bytes:
        """The sealed log.

        Raises:
            FormatError: it cannot be kept as columns.
        """
        view, np = memoryview(raw), self._np
        rest = b"".join(view[cut] for cut in self.rest)
        small = compress(rest, 6)
        parts = [columns.with_checksum(links(log, raw)), columns.with_checksum(small)]
        runs = [self._run_column(column, parts) for column in self._run_columns()]
        counts = len(self.runs), sum(group > 0 for group, _, _ in self.runs)
        index: dict[str, Any] = {
            "log": log,
            "raw_length": len(raw),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "rest": [len(rest), len(small)],
            "runs": [*counts, *runs],
            "groups": [_packed_group(schema, view, cuts, parts, np) for schema, cuts in self.cuts.items()],
            "pyramids": [],
        }
        if plain:
            return _assembled({**index, "plain": True}, parts)
        sealed = Sealed(_assembled(index, parts))
        index["pyramids"] = list(_packed_pyramids(sealed, parts, np))
        return _assembled(index, parts)

    def _run_columns(self) -> tuple[list[int], list[int], list[int]]:
        """Groups, rows, and for runs of points by how much their number is higher than the one expected."""
        gaps, expected = [], 0
        for group, count, first in self.runs:
            if group:
                gaps.append(first - expected)
                expected = first + count
        return [run[0] for run in self.runs], [run[1] for run in self.runs], gaps

    def _run_column(self, column: list[int], parts: list[bytes]) -> list[int]:
        return _add_column(struct.pack(f"<{len(column)}q", *column), "q", parts, self._np)


def _schema_of(found: Frame | Damage, schemas: dict[int, Schema]) -> Schema | None:
    """The schema of a frame of points that is just as long as the schema says; None for all else."""
    if isinstance(found, Damage) or found.type != POINTS or len(found.payload) < POINTS_HEAD.size:
        return None
    schema = schemas.get(POINTS_HEAD.unpack_from(found.payload)[0])
    return schema if schema and len(found.payload) == POINTS_HEAD.size + schema.values.size else None


def _note(frame: Frame, schemas: dict[int, Schema]) -> None:
    """Note what the points behind a frame need; see that no newer mlsdk wrote the log."""
    if frame.type == SCHEMA:
        try:
            schema = read_schema(frame.payload)
        except (struct.error, ValueError, KeyError):
            return
        schemas[schema.number] = schema
    elif frame.type == OPEN:
        for _ in decode(encode(OPEN, 0, bytes(frame.payload))):
            pass


def _packed_group(
    schema: Schema, view: memoryview, cuts: list[slice], parts: list[bytes], np: ModuleType | None
) -> dict[str, Any]:
    """Add the points of a schema, column by column; returns their entry in the index."""
    if tuple(loads(dumps(schema.names))) != schema.names:
        raise FormatError("names that JSON does not keep")
    data = b"".join(view[cut] for cut in cuts)
    size = HEADER.size + POINTS_HEAD.size + schema.values.size + CHECKSUM.size
    lengths = []
    for place, code in enumerate(("q", "q", *(KINDS[kind] for kind in schema.kinds))):
        column = bytearray(len(data) // size * 8)
        for byte in range(8):
            column[byte::8] = data[HEADER.size + 4 + 8 * place + byte :: size]
        lengths.append(_add_column(bytes(column), code, parts, np))
    return {
        "number": schema.number,
        "names": list(schema.names),
        "kinds": schema.kinds,
        "rows": len(data) // size,
        "columns": lengths,
    }


def _packed_pyramids(sealed: Sealed, parts: list[bytes], np: ModuleType | None) -> Any:
    """Add the pyramids of metrics with many points; their entries in the index."""
    for name in sealed.names():
        series = sealed.series(name)
        if sum(len(part.steps) for part in series) > PYRAMID_POINTS:
            pyramid = columns.finest(series, np)
            lengths = []
            for column, code in zip(pyramid, "dddqq", strict=True):
                data = struct.pack(f"<{len(column)}{code}", *column)
                lengths.append(_add_column(data, code, parts, np))
            yield [name, len(pyramid.steps), lengths]


def _add_column(data: bytes, code: str, parts: list[bytes], np: ModuleType | None) -> list[int]:
    """Add a column; returns the lengths of its chunks."""
    chunks = columns.encode(data, code, np)
    parts.extend(chunks)
    return [len(chunk) for chunk in chunks]


def _assembled(index: dict[str, Any], parts: list[bytes]) -> bytes:
    text = dumps(index)
    packed = compress(text, 6)
    end = END.pack(len(packed), len(text), 0, MAGIC)[:8]
    return b"".join(
        chain((MAGIC,), parts, (packed, END.pack(len(packed), len(text), crc32(end, crc32(packed)), MAGIC)))
    )
