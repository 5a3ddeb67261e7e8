"""Reading sealed logs: only what is asked for, and nothing that is not proved by a checksum. See `docs/format.md`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple
from zlib import crc32

from mlsdk.errors import DigestError, FormatError, NewerFormatError, UsageError
from mlsdk.log import columns
from mlsdk.log.columns import Column, Part, Pyramid
from mlsdk.log.decode import Batch, decode, numpy_for
from mlsdk.log.frames import CHECKSUM, HEADER, KINDS, POINTS, POINTS_HEAD, Schema, values_struct
from mlsdk.log.values import loads

MAGIC = b"MLSDKSL\x01"
"""Begins and ends a sealed log; its last byte is the version."""

END = struct.Struct("<III8s")
"""The last bytes: deflated length, length and checksum of the index, and the magic again."""

PIECE_BYTES = 65_536
"""The hash chain has a link for each so many raw bytes."""

LARGEST_INDEX_BYTES = 16 << 20
_LARGEST_DEFLATION = 100


class _Stored(NamedTuple):
    """A column in the file."""

    offset: int
    rows: int
    lengths: tuple[int, ...]


class _Group(NamedTuple):
    """The points of one schema: columns of steps, times and each metric."""

    schema: Schema
    rows: int
    columns: tuple[_Stored, ...]

    @property
    def frame_bytes(self) -> int:
        """Length of one of its frames in the raw log."""
        return HEADER.size + POINTS_HEAD.size + self.schema.values.size + CHECKSUM.size


class Sealed:
    """A sealed log, from its bytes or from a file, of which only the index is read at first. Any thread may use it.

    Attributes:
        log: its name.
        raw_length: bytes of the raw log.
        sha256: digest of the raw log, in hexadecimal.

    Raises:
        FormatError: no sealed log, or a damaged one.
        NewerFormatError: sealed by a newer mlsdk.

    Example::

        with Sealed(path) as sealed:
            for steps, values, times in sealed.series("loss"):
                ...
    """

    def __init__(self, source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> None:
        self._fd, self._data = -1, memoryview(b"")
        if isinstance(source, bytes | bytearray | memoryview):
            self._data = memoryview(source)
            size = len(self._data)
        else:
            self._fd = os.open(source, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
            size = os.fstat(self._fd).st_size
        try:
            self._load(size)
        except BaseException:  # raised again: only the descriptor must not stay open
            self.close()
            raise

    def _load(self, size: int) -> None:
        if size < len(MAGIC) + END.size:
            raise FormatError(f"{size:,} bytes are no sealed log, or its beginning only")
        end = self._read(size - END.size, END.size)
        packed, length, checksum, magic = END.unpack(end)
        for found in (bytes(self._read(0, len(MAGIC))), magic):
            if found[:-1] == MAGIC[:-1] and found[-1] > MAGIC[-1]:
                raise NewerFormatError(f"sealed in format {found[-1]}, this mlsdk reads up to {MAGIC[-1]}: upgrade it")
            if found != MAGIC:
                raise FormatError(f"not a sealed log, or cut: {found!r} stands where {MAGIC!r} should")
        start = size - END.size - packed
        if start < len(MAGIC) or length > max(LARGEST_INDEX_BYTES, _LARGEST_DEFLATION * packed):
            raise FormatError(f"a sealed log claims an index of {packed:,} bytes, {length:,} when inflated")
        index = self._read(start, packed)
        if crc32(end[:8], crc32(index)) != checksum:
            raise FormatError("the index of a sealed log is damaged (checksum); restore the file from a copy")
        try:
            self._take(loads(columns.inflate(index, length)), start)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, struct.error) as error:
            raise FormatError(f"the index of a sealed log is malformed: {error!r}") from error

    def _take(self, index: dict[str, Any], end: int) -> None:
        """Take in the index; what it speaks of must fill the file up to `end`."""
        self.log: str = _text(index["log"])
        self.sha256: str = _text(index["sha256"])
        self.raw_length = _count(index["raw_length"])
        self._plain = index.get("plain") is True
        self._at = len(MAGIC)
        self._links = self._space(32 * -(-self.raw_length // PIECE_BYTES) + CHECKSUM.size)
        self._rest_length, packed = map(_count, index["rest"])
        self._rest = self._space(packed + CHECKSUM.size)
        runs, cuts, *lengths = index["runs"]
        if runs > self.raw_length or cuts > runs:
            raise ValueError(f"{runs} runs in {self.raw_length} bytes")
        self._runs = [self._column(rows, part) for rows, part in zip((runs, runs, cuts), lengths, strict=True)]
        self._groups = [self._group(group) for group in index["groups"]]
        self._pyramids: dict[str, list[_Stored]] = {}
        for name, rows, parts in index["pyramids"]:
            self._pyramids[_text(name)] = [self._column(_count(rows), part) for part in parts]
        points = sum(group.rows * group.frame_bytes for group in self._groups)
        if self._at != end or points + self._rest_length != self.raw_length:
            raise ValueError("its parts do not add up to the whole")

    def _space(self, length: int) -> tuple[int, int]:
        self._at += length
        return self._at - length, length

    def _column(self, rows: int, lengths: Any) -> _Stored:
        stored = _Stored(self._at, _count(rows), tuple(map(_count, lengths)))
        if len(stored.lengths) != -(-stored.rows // columns.CHUNK_ROWS):
            raise ValueError(f"{len(stored.lengths)} chunks for {rows} rows")
        self._at += sum(stored.lengths)
        return stored

    def _group(self, group: dict[str, Any]) -> _Group:
        names, kinds = tuple(map(_text, group["names"])), _text(group["kinds"])
        schema = Schema(_count(group["number"]), names, kinds, values_struct(kinds))
        parts = tuple(self._column(group["rows"], lengths) for lengths in group["columns"])
        if len(names) != len(kinds) or len(parts) != 2 + len(names) or schema.number >= 1 << 32:
            raise ValueError(f"{len(parts)} columns for {len(names)} names")
        return _Group(schema, _count(group["rows"]), parts)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Sealed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def _read(self, offset: int, length: int) -> memoryview:
        if self._fd < 0:
            data = self._data[offset : offset + length]
        elif hasattr(os, "pread"):
            data = memoryview(os.pread(self._fd, length, offset))
        else:  # Windows
            os.lseek(self._fd, offset, os.SEEK_SET)
            data = memoryview(os.read(self._fd, length))
        if len(data) != length:
            raise FormatError(f"{length:,} bytes at {offset:,} of a sealed log cannot be read: it was cut, or closed")
        return data

    def _checked(self, part: tuple[int, int]) -> memoryview:
        return columns.checked(self._read(*part))

    def _later(self, stored: _Stored, code: str, np: ModuleType | None) -> Callable[[], Column]:
        """A column, read now and to be decoded when called."""
        data = self._read(stored.offset, sum(stored.lengths))

        def decoded() -> Column:
            chunks, at = [], 0
            for length in stored.lengths:
                chunks.append(data[at : at + length])
                at += length
            return columns.decode(chunks, stored.rows, code, np)

        return decoded

    # -- series ------------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Metrics that have points, in the order in which they first came."""
        if self._plain:
            return list(dict.fromkeys(name for batch in self._batches() for name in batch.schema.names))
        return list(dict.fromkeys(name for group in self._groups if group.rows for name in group.schema.names))

    def series(self, name: str) -> list[Part]:
        """The points of a metric in the order of logging; empty if there are none.

        More parts than one where integers and floats alternate, or where it was logged together with various others.
        """
        if self._plain:
            batches = [batch for batch in self._batches() if name in batch.schema.names]
            return [
                Part(batch.steps, batch.values[batch.schema.names.index(name)], lambda batch=batch: batch.times)  # type: ignore[misc]
                for batch in batches
            ]
        found = {
            number: group for number, group in enumerate(self._groups) if name in group.schema.names and group.rows
        }
        np = numpy_for(8 * sum(group.rows for group in found.values()))
        whole = {number: self._part(group, name, np) for number, group in found.items()}
        if len(found) < 2:
            return list(whole.values())
        codes = {number: KINDS[group.schema.kinds[group.schema.names.index(name)]] for number, group in found.items()}
        return [columns.merged(cuts, whole, code, np) for code, cuts in self._cuts(codes)]

    def _part(self, group: _Group, name: str, np: ModuleType | None) -> Part:
        place = group.schema.names.index(name)
        values = self._later(group.columns[2 + place], KINDS[group.schema.kinds[place]], np)
        steps, times = (self._later(stored, "q", np) for stored in group.columns[:2])
        return Part(steps(), values(), times)

    def _cuts(self, codes: dict[int, str]) -> list[tuple[str, list[tuple[int, slice]]]]:
        """Which rows of which groups follow each other in the raw log, as long as their kind is the same."""
        found: list[tuple[str, list[tuple[int, slice]]]] = []
        for number, cut, _ in self._walk():
            if number in codes:
                if not found or found[-1][0] != codes[number]:
                    found.append((codes[number], []))
                found[-1][1].append((number, cut))
        return found

    def _walk(self) -> Iterator[tuple[int, slice, int]]:
        """The runs of the raw log: group (-1: the bytes that are kept as they are), rows, number of the first frame."""
        which, counts, gaps = (self._later(stored, "q", None)() for stored in self._runs)
        done = [0] * (len(self._groups) + 1)
        gap, expected = iter(gaps), 0
        for group, count in zip(which, counts, strict=True):
            if not 0 <= group <= len(self._groups) or count < 1:
                raise FormatError(f"a sealed log has a run of {count} rows of group {group}")
            cut = slice(done[group], done[group] + count)
            done[group] = cut.stop
            first = expected
            if group:
                first += next(gap, 1 << 40)
                expected = first + count
                if not 0 <= first <= expected <= 1 << 32:
                    raise FormatError(f"a sealed log has frames numbered {first:,} to {expected:,}")
            if cut.stop > (self._groups[group - 1].rows if group else self._rest_length):
                raise FormatError(f"a sealed log has a run beyond the end of group {group}")
            yield group - 1, cut, first
        if sum(done[1:]) != sum(group.rows for group in self._groups) or done[0] != self._rest_length:
            raise FormatError("the runs of a sealed log leave rows over")

    def _batches(self) -> Iterator[Batch]:
        return (entry for entry, _ in decode(self.raw()) if isinstance(entry, Batch))

    def pyramid(self, name: str, level: int) -> Pyramid:
        """Extremes, sums and counts of each `level` consecutive points of a metric.

        Args:
            name: the metric; one without points has an empty pyramid.
            level: 256, 4096 or 65536.

        Raises:
            UsageError: another level.
        """
        if level not in columns.LEVELS:
            raise UsageError(f"level must be one of {columns.LEVELS}, not {level!r}")
        stored = self._pyramids.get(name)
        if stored is not None:
            np = numpy_for(8 * stored[0].rows)
            if len(stored) != 5:
                raise FormatError(f"the pyramid of {name!r} has {len(stored)} columns instead of 5")
            parts = (self._later(column, code, np)() for column, code in zip(stored, "dddqq", strict=True))
            return columns.coarser(Pyramid(*parts), level, np)
        return columns.coarser(columns.finest(self.series(name), numpy_for(0)), level, numpy_for(0))

    # -- the raw log -------------------------------------------------------------------------------------------------

    @property
    def chain(self) -> tuple[str, ...]:
        """The hash chain over the raw log, in hexadecimal: of its name, then a link for each 64 KiB begun."""
        links = self._checked(self._links).hex()
        first = hashlib.sha256(self.log.encode("utf-8", "surrogatepass")).hexdigest()
        return (first, *(links[at : at + 64] for at in range(0, len(links), 64)))

    def raw(self) -> bytes:
        """The raw log.

        Raises:
            DigestError: it is not what was sealed.
        """
        rest = memoryview(columns.inflate(self._checked(self._rest), self._rest_length))
        runs = list(self._walk())
        numbers: list[list[int]] = [[] for _ in self._groups]
        for group, cut, first in runs:
            if group >= 0:
                numbers[group].extend(range(first, first + cut.stop - cut.start))
        rows = [memoryview(self._frames(group, own)) for group, own in zip(self._groups, numbers, strict=True)]
        sizes = [group.frame_bytes for group in self._groups]
        raw = b"".join(
            rows[group][cut.start * sizes[group] : cut.stop * sizes[group]] if group >= 0 else rest[cut]
            for group, cut, _ in runs
        )
        if hashlib.sha256(raw).hexdigest() != self.sha256:
            raise DigestError(
                f"{self.log}: the raw log does not have the digest {self.sha256} under which it was sealed"
            )
        return raw

    def _frames(self, group: _Group, numbers: Sequence[int]) -> bytearray:
        """All frames of a group, one after the other."""
        np, size, codes = (
            numpy_for(8 * group.rows),
            group.frame_bytes,
            ("q", "q", *(KINDS[kind] for kind in group.schema.kinds)),
        )
        length = size - HEADER.size - CHECKSUM.size
        empty = HEADER.pack(length, POINTS, 0) + POINTS_HEAD.pack(group.schema.number, 0, 0)
        frames = bytearray(empty.ljust(size, b"\0") * group.rows)
        _spread(frames, struct.pack(f"<{group.rows}I", *numbers), 4, size, 5)
        for place, (stored, code) in enumerate(zip(group.columns, codes, strict=True)):
            column: Any = self._later(stored, code, np)()
            data = column.tobytes() if np is not None else struct.pack(f"<{group.rows}{code}", *column)
            _spread(frames, data, 8, size, HEADER.size + 4 + 8 * place)
        view, body = memoryview(frames), size - CHECKSUM.size
        sums = (crc32(view[at : at + body]) for at in range(0, len(frames), size))
        checksums = struct.pack(f"<{group.rows}I", *sums)
        view.release()
        _spread(frames, checksums, 4, size, body)
        return frames

    def check(self) -> None:
        """See whether the raw log is what was sealed.

        Raises:
            DigestError: its digest or its hash chain is another.
            FormatError: the file is damaged.
        """
        if links(self.log, self.raw()) != self._checked(self._links):
            raise DigestError(f"{self.log}: the hash chain in its seal does not belong to its bytes")


def links(log: str, raw: bytes) -> bytes:
    """The links of a hash chain, 32 bytes each: of the link before, or of the log's name, and 64 KiB of the raw log."""
    link, made, view = hashlib.sha256(log.encode("utf-8", "surrogatepass")).digest(), [], memoryview(raw)
    for at in range(0, len(raw), PIECE_BYTES):
        hasher = hashlib.sha256(link)
        hasher.update(view[at : at + PIECE_BYTES])
        link = hasher.digest()
        made.append(link)
    return b"".join(made)


def _spread(frames: bytearray, data: bytes, width: int, size: int, offset: int) -> None:
    """Put elements of `width` bytes at `offset` in each frame of `size` bytes."""
    for place in range(width):
        frames[offset + place :: size] = data[place::width]


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"{value!r} is no count")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r} is no text")
    return value
