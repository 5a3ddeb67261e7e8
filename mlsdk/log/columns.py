"""Columns of numbers as compressed chunks, and the pyramid over them. `docs/format.md` describes them byte for byte.

A column is cut into chunks of 65,536 values. Integers lose what they have in common (a base, a constant step), floats
that are really of 32 bits lose the other 32; what is left is turned into planes (all first bytes, all second bytes, …).
A plane is constant, compressible, or noise and then kept as it is. numpy makes this faster; the bytes are the same.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from types import ModuleType
from typing import Any, NamedTuple
from zlib import compress, crc32, decompressobj
from zlib import error as DeflateError  # noqa: N812 - an exception with a lower-case name

from mlsdk.errors import FormatError

CHUNK_ROWS = 65_536
BUCKET_ROWS = 256
LEVELS = (256, 4096, 65_536)
"""Points in a bucket of the pyramid, from the finest level to the coarsest."""

INTEGERS, STEPS, DOUBLES, SINGLES = 0, 1, 2, 3
CONSTANT, PLAIN, DEFLATED = 0, 1, 2

_WORD = 1 << 64
_SIGNED = struct.Struct("<q")
_SIZE = struct.Struct("<I")

Column = Sequence[Any]
"""A numpy array where numpy is at hand, else an `array.array`."""


def encode(data: bytes, code: str, np: ModuleType | None) -> list[bytes]:
    """Chunks of a column.

    Args:
        data: the values, 8 bytes each, little endian.
        code: of `struct`: `d`, `q` or `Q`.
        np: numpy, or None to do without.
    """
    pieces = (data[at : at + 8 * CHUNK_ROWS] for at in range(0, len(data), 8 * CHUNK_ROWS))
    return [with_checksum(_floats(piece, np) if code == "d" else _integers(piece, np)) for piece in pieces]


def decode(chunks: Iterable[bytes | memoryview], rows: int, code: str, np: ModuleType | None) -> Column:
    """What `encode` was given, as `rows` values.

    Raises:
        FormatError: the chunks are damaged.
    """
    parts = []
    for chunk in chunks:
        count = min(rows, CHUNK_ROWS)
        rows -= count
        try:
            parts.append(_decoded(checked(chunk), count, code, np))
        except (struct.error, IndexError, DeflateError, ValueError, OverflowError) as error:
            raise FormatError(f"a chunk of a sealed log is malformed: {error}") from error
    if rows:
        raise FormatError(f"a sealed log lacks {rows:,} rows of a column")
    return join(parts, code, np)


def join(parts: Sequence[Column], code: str, np: ModuleType | None) -> Column:
    """Columns one after the other."""
    if len(parts) == 1:
        return parts[0]
    if np is not None:
        joined: Column = np.concatenate(parts) if parts else np.empty(0, "<" + code)
        return joined
    return array(code, chain.from_iterable(parts))


def with_checksum(body: bytes) -> bytes:
    """Bytes with their crc32 behind them."""
    return body + _SIZE.pack(crc32(body))


def checked(data: bytes | memoryview) -> memoryview:
    """What `with_checksum` was given.

    Raises:
        FormatError: it was changed since.
    """
    body, checksum = memoryview(data)[:-4], bytes(data[-4:])
    if checksum != _SIZE.pack(crc32(body)):
        raise FormatError("a part of a sealed log is damaged (checksum); restore the file from a copy")
    return body


# Floats


def _floats(data: bytes, np: ModuleType | None) -> bytes:
    singles = _as_singles(data, np)
    return bytes([DOUBLES]) + _planes(data, 8, 8) if singles is None else bytes([SINGLES]) + _planes(singles, 4, 4)


def _as_singles(data: bytes, np: ModuleType | None) -> bytes | None:
    """The values as 32-bit floats, if not a bit gets lost by it."""
    if np is not None:
        with np.errstate(all="ignore"):
            singles = np.frombuffer(data, "<f8").astype("<f4")
        return bytes(singles.tobytes()) if singles.astype("<f8").tobytes() == data else None
    layout = f"<{len(data) // 8}"
    short = array("f", struct.unpack(layout + "d", data))
    return struct.pack(layout + "f", *short) if struct.pack(layout + "d", *short) == data else None


def _decoded(chunk: memoryview, rows: int, code: str, np: ModuleType | None) -> Column:
    kind = chunk[0]
    if kind not in ((DOUBLES, SINGLES) if code == "d" else (INTEGERS, STEPS)):
        raise FormatError(f"a chunk of a sealed log has the unknown encoding {kind}; perhaps a newer mlsdk wrote it")
    if code == "d":
        width = 8 if kind == DOUBLES else 4
        planes = _unplane(chunk, 1, rows, width, width)
        if np is not None:
            floats: Column = np.frombuffer(planes, f"<f{width}").astype("<f8", copy=False)
            return floats
        return array("d", struct.unpack(f"<{rows}{'d' if width == 8 else 'f'}", planes))
    return _decoded_integers(chunk, rows, code, np)


# Integers


def _integers(data: bytes, np: ModuleType | None) -> bytes:
    """Less a base, or as the steps from one to the next less a base: whichever is shorter."""
    if np is not None:
        values: Any = np.frombuffer(data, "<i8")
        steps: Any = values[1:] - values[:-1]
    else:
        values = struct.unpack(f"<{len(data) // 8}q", data)
        steps = [_wrapped(later - earlier) for earlier, later in pairwise(values)]
    plain = bytes([INTEGERS]) + _residuals(values, np)
    stepped = bytes([STEPS]) + _SIGNED.pack(values[0]) + _residuals(steps, np)
    return min(plain, stepped, key=len)


def _residuals(values: Any, np: ModuleType | None) -> bytes:
    """The least value, the number of bytes that the rest needs, and the planes of the rest."""
    if not len(values):
        return _SIGNED.pack(0) + b"\0"
    base = int(min(values)) if np is None else int(values.min())
    if np is not None:
        rest = (values - np.int64(base)).view("<u8")
        largest, data = int(rest.max()), rest.tobytes()
    else:
        over = [value - base for value in values]
        largest, data = max(over), struct.pack(f"<{len(over)}Q", *over)
    width = (largest.bit_length() + 7) // 8
    return _SIGNED.pack(base) + bytes([width]) + _planes(data, 8, width)


def _decoded_integers(chunk: memoryview, rows: int, code: str, np: ModuleType | None) -> Column:
    stepped = chunk[0] == STEPS
    at = 9 if stepped else 1
    first = _SIGNED.unpack_from(chunk, 1)[0]
    base, width = _SIGNED.unpack_from(chunk, at)[0], chunk[at + 8]
    if width > 8 or not rows:
        raise FormatError(f"a chunk of a sealed log claims {width} bytes a number")
    data = _unplane(chunk, at + 9, rows - stepped, 8, width)
    if np is not None:
        values = np.empty(rows, "<i8")
        values[stepped:] = np.frombuffer(data, "<i8")
        values[stepped:] += np.int64(base)
        if stepped:
            values[0] = first
            np.cumsum(values, out=values)
        column: Column = values.view("<u8") if code == "Q" else values
        return column
    rest: Iterable[int] = (over + base for over in struct.unpack(f"<{rows - stepped}Q", data))
    if stepped:
        rest = accumulate(chain((first,), rest))
    return array(code, (value % _WORD for value in rest) if code == "Q" else map(_wrapped, rest))


def _wrapped(value: int) -> int:
    """As a signed integer of 64 bits, as hardware adds and subtracts."""
    return (value + (_WORD >> 1)) % _WORD - (_WORD >> 1)


# Planes


def _planes(data: bytes, size: int, count: int) -> bytes:
    """The first `count` planes of elements of `size` bytes. Deflating must spare a sixteenth to be worth its time."""
    packed = []
    for number in range(count):
        plane = data[number::size]
        if plane.count(plane[0]) == len(plane):
            packed += [bytes([CONSTANT]), plane[:1]]
            continue
        small = compress(plane, 1)
        if len(small) < len(plane) - len(plane) // 16:
            packed += [bytes([DEFLATED]), _SIZE.pack(len(small)), small]
        else:
            packed += [bytes([PLAIN]), plane]
    return b"".join(packed)


def _unplane(chunk: memoryview, at: int, rows: int, size: int, count: int) -> bytearray:
    """The elements that `_planes` took apart; planes above `count` are zeros. They must end where the chunk ends."""
    data = bytearray(rows * size)
    for number in range(count):
        kind = chunk[at]
        at += 1
        if kind == CONSTANT:
            if chunk[at]:
                data[number::size] = bytes([chunk[at]]) * rows
            at += 1
        elif kind == PLAIN:
            data[number::size] = chunk[at : at + rows]
            at += rows
        elif kind == DEFLATED:
            length = _SIZE.unpack_from(chunk, at)[0]
            data[number::size] = inflate(chunk[at + 4 : at + 4 + length], rows)
            at += 4 + length
        else:
            raise FormatError(f"a chunk of a sealed log has a plane of the unknown kind {kind}")
    if at != len(chunk):
        raise FormatError(f"a chunk of a sealed log is {len(chunk):,} bytes long instead of {at:,}")
    return data


def inflate(data: bytes | memoryview, length: int) -> bytes:
    """Undo `zlib.compress`, taking no more memory than the length that it must have.

    Raises:
        FormatError: it has another length, or is no deflated data.
    """
    inflater = decompressobj()
    try:
        plain = inflater.decompress(data, length + 1)
    except DeflateError as error:
        raise FormatError(f"deflated bytes are damaged: {error}") from error
    if len(plain) != length or not inflater.eof or inflater.unused_data:
        raise FormatError(f"deflated bytes do not give the {length:,} bytes that they should")
    return plain


# Series


class Part:
    """Consecutive points of a metric: `steps, values, times = part`. Times (ns) are decoded when they are asked for."""

    __slots__ = ("_times", "steps", "values")

    def __init__(self, steps: Column, values: Column, times: Callable[[], Column]) -> None:
        self.steps = steps
        self.values = values
        self._times: Column | Callable[[], Column] = times

    @property
    def times(self) -> Column:
        """Nanoseconds since 1970."""
        if callable(self._times):
            self._times = self._times()
        return self._times

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[Column]:
        return iter((self.steps, self.values, self.times))

    def __getitem__(self, place: int) -> Column:
        return self.times if place in (2, -1) else (self.steps, self.values)[place]


def merged(cuts: list[tuple[int, slice]], whole: dict[int, Part], code: str, np: ModuleType | None) -> Part:
    """Pieces of several parts, one after the other."""
    steps = join([whole[number].steps[cut] for number, cut in cuts], "q", np)
    values = join([whole[number].values[cut] for number, cut in cuts], code, np)
    return Part(steps, values, lambda: join([whole[number].times[cut] for number, cut in cuts], "q", np))


# The pyramid


class Pyramid(NamedTuple):
    """What a chart draws instead of the points: one entry for each bucket of consecutive points of a metric.

    `steps` is the step of a bucket's first point. NaN is left out: `count` counts the numbers; where there are none,
    `min` and `max` are NaN and `sum` is 0. All but `steps` and `count` are 64-bit floats, whatever the metric is.
    """

    min: Column
    max: Column
    sum: Column
    count: Column  # type: ignore[assignment]  # of tuples, which nobody wants here
    steps: Column


def finest(parts: list[Part], np: ModuleType | None) -> Pyramid:
    """Buckets of 256 points of a series. Sums are added up from the first point to the last."""
    steps, values = join([part.steps for part in parts], "q", np), join([part.values for part in parts], "d", np)
    if np is None:
        rows = [_bucket(values[at : at + BUCKET_ROWS]) for at in range(0, len(values), BUCKET_ROWS)]
        return _pyramid(rows, steps[::BUCKET_ROWS], np)
    table = np.full((-(-len(values) // BUCKET_ROWS), BUCKET_ROWS), np.nan)
    table.reshape(-1)[: len(values)] = values
    numbers = table == table
    sums = np.zeros(len(table))
    with np.errstate(all="ignore"):
        for place in range(BUCKET_ROWS):
            sums += np.where(numbers[:, place], table[:, place], 0.0)
        low, high = np.fmin.reduce(table, axis=1) + 0.0, np.fmax.reduce(table, axis=1) + 0.0
    count = numbers.sum(axis=1, dtype="<i8")
    low[count == 0] = high[count == 0] = np.nan
    return Pyramid(low, high, sums, count, steps[::BUCKET_ROWS])


def coarser(pyramid: Pyramid, level: int, np: ModuleType | None) -> Pyramid:
    """Buckets of `level` points from those of 256."""
    ratio = level // BUCKET_ROWS
    if ratio == 1:
        return pyramid
    low, high, sums, counts = (list(column) for column in pyramid[:4])
    rows = []
    for at in range(0, len(counts), ratio):
        cut = slice(at, at + ratio)
        extremes = _bucket(low[cut])[0], _bucket(high[cut])[1]
        rows.append((*extremes, _total(sums[cut]), sum(counts[cut])))
    return _pyramid(rows, pyramid.steps[::ratio], np)


def _bucket(values: Iterable[float]) -> tuple[float, float, float, int]:
    """Least, largest, sum and count of numbers; -0.0 counts as 0.0."""
    numbers = [float(value) for value in values if value == value]
    none = float("nan")
    return min(numbers, default=none) + 0.0, max(numbers, default=none) + 0.0, _total(numbers), len(numbers)


def _total(numbers: Iterable[float]) -> float:
    """The sum, each addition rounded: `sum` is more exact from Python 3.12 on, and the bytes would differ."""
    total = 0.0
    for number in numbers:
        total += number
    return total


def _pyramid(rows: list[tuple[float, float, float, int]], steps: Column, np: ModuleType | None) -> Pyramid:
    columns = list(zip(*rows, strict=True)) or [()] * 4
    if np is not None:
        return Pyramid(*(np.array(column, "<" + code) for column, code in zip((*columns, steps), "dddqq", strict=True)))
    return Pyramid(*(array(code, column) for column, code in zip((*columns, steps), "dddqq", strict=True)))
