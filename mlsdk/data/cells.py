"""Canonical cells of whole arrays, of every library: tags, words and bytes, vectorised where numpy is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from mlsdk.data import values as v
from mlsdk.errors import UsageError

_WHOLE = 1 << 53
"""Integers up to here are all exactly floats."""

_NAT = -(1 << 63)

_MANY = 16
"""Fewer values than this are not worth an array."""

UNIT_NS = {"D": 86_400 * 10**9, "h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}


class Cells(NamedTuple):
    """The canonical cells of some rows of a column."""

    tags: Any
    """One tag for all of them, or an array (uint8) or bytes with one each."""
    words: Any
    """A uint64 array of its own, or a list of integers."""
    payload: Any = b""
    """The bytes of those whose tag is in `values.LONG`, one behind the other."""


class Masked(NamedTuple):
    """A numpy array beside what numpy cannot say: which values are missing, and that times are in UTC."""

    data: Any
    missing: Any | None = None
    tag: int | None = None

    def __getitem__(self, rows: Any) -> Masked:
        """Some of the rows."""
        return Masked(self.data[rows], None if self.missing is None else self.missing[rows], self.tag)

    def __len__(self) -> int:
        return len(self.data)


def plain(np: Any | None, array: Any) -> Any:
    """The array as one of four things that can be cut: a numpy array, the same masked, an Arrow array, a list.

    Raises:
        UsageError: it is none that is known.
    """
    kind = type(array)
    library = kind.__module__.partition(".")[0]
    if kind is list or kind is Masked:
        return array
    if library == "pyarrow":
        if hasattr(array, "combine_chunks"):
            array = array.combine_chunks()
        if hasattr(array, "chunks"):  # a pyarrow that keeps one chunk chunked
            array = array.chunk(0) if array.num_chunks else []
        if np is not None:
            return array
        from mlsdk.data import arrow

        return arrow.listed(array)
    if library == "pandas":
        from mlsdk.data.frames import plain_pandas

        return plain(np, plain_pandas(np, array))
    if library == "polars":
        from mlsdk.data.frames import plain_polars

        return plain(np, plain_polars(array))
    if library == "torch":
        from mlsdk.data.arrays import plain_torch

        return plain(np, plain_torch(array))
    if np is not None and isinstance(array, np.ndarray):
        return _plain_numpy(np, array)
    if isinstance(array, Sequence) and not isinstance(array, str | bytes | bytearray):
        return list(array)
    if library == "array" or isinstance(array, memoryview):
        return np.asarray(array) if np is not None else array.tolist()
    if hasattr(array, "__array__") and np is not None:
        return _plain_numpy(np, np.asarray(array))
    raise UsageError(
        f"a column of type {kind.__module__}.{kind.__qualname__} cannot be read; make it a list or an array"
    )


def _plain_numpy(np: Any, array: Any) -> Any:
    if isinstance(array, np.ma.MaskedArray):
        return Masked(array.data, np.ma.getmaskarray(array))
    if array.dtype.kind in "biufcmM":
        return array
    return array.tolist()


class Moment(NamedTuple):
    """A time that no class of Python can hold to the nanosecond."""

    tag: int
    nanoseconds: int


def python_values(piece: Any) -> list[Any]:
    """What `plain` returned as values for people to read: a time is one of Python's, or text where none is as fine."""
    if isinstance(piece, list):
        found = piece
    elif hasattr(piece, "to_pylist"):
        from mlsdk.data import arrow

        found = arrow.listed(piece)
    else:
        data, missing, tag = piece if isinstance(piece, Masked) else (piece, None, None)
        found = _moments_of(data, tag) if data.dtype.kind in "mM" else data.tolist()
        if missing is not None:
            found = [None if no else one for one, no in zip(found, missing, strict=True)]
    return [_readable(one) if type(one) in {Moment, float} else one for one in found]


def _moments_of(times: Any, tag: int | None) -> list[Any]:
    import numpy as np

    unit, count = np.datetime_data(times.dtype)
    if tag is None and unit != "ns":  # of these numpy makes Python's own, of nanoseconds numbers
        return times.tolist()  # type: ignore[no-any-return]
    tag = tag or (v.NAIVE if times.dtype.kind == "M" else v.DURATION)
    numbers = times.astype(np.int64).tolist()
    return [None if number == _NAT else Moment(tag, number * UNIT_NS[unit] * count) for number in numbers]


def _readable(time: Moment | float) -> Any:
    if isinstance(time, float):
        return None if time != time else time
    whole, rest = divmod(time.nanoseconds, 1000)
    try:
        span = timedelta(microseconds=whole)
        moment = datetime(1970, 1, 1, tzinfo=timezone.utc if time.tag == v.AWARE else None) + span
    except OverflowError:  # beyond the year 9999
        return f"{time.nanoseconds} ns"
    found = {v.DURATION: span, v.CLOCK: moment.time()}.get(time.tag, moment)
    return f"{found} + {rest} ns" if rest else found


def canonical(np: Any | None, piece: Any, decimals: int | None) -> Cells:
    """The cells of one piece of what `plain` returned."""
    if np is None or isinstance(piece, list):
        return of_list(np, piece, decimals)
    if isinstance(piece, Masked):
        return of_numpy(np, piece.data, piece.missing, decimals, piece.tag)
    if isinstance(piece, np.ndarray):
        return of_numpy(np, piece, None, decimals)
    from mlsdk.data import arrow

    return arrow.cells(np, piece, decimals)


def single(value: Any, decimals: int | None) -> v.Cell:
    """The cell of a numpy scalar, or of an array inside a cell."""
    import numpy as np

    if type(value).__module__.startswith("torch"):
        from mlsdk.data.arrays import plain_torch

        value = plain_torch(value)
    array = np.asanyarray(value)[None]
    if array.dtype.names and array.ndim == 1:
        return v.nested_struct(zip(array.dtype.names, value.item(), strict=True), decimals)
    if array.dtype.names:
        return v.nested_list([v.cell(one, decimals) for one in array[0]])
    if isinstance(array, np.ma.MaskedArray) or array.dtype.kind not in "biufcmM":
        return v.cell(array.tolist()[0], decimals)
    tags, words, payload = of_numpy(np, array, None, decimals)
    return int(tags if isinstance(tags, int) else tags[0]), int(words[0]), bytes(payload)


def of_list(np: Any | None, items: list[Any], decimals: int | None) -> Cells:
    """The cells of Python values, which may be of several kinds."""
    quick = _quick(np, items, decimals) if np is not None and len(items) >= _MANY else None
    if quick is not None:
        return quick
    try:
        cells = [v.moment(*item) if type(item) is Moment else v.cell(item, decimals) for item in items]
    except RecursionError:
        raise UsageError("a value is nested too deeply, or holds itself: make it flat, or leave it out") from None
    tags, words, payloads = zip(*cells, strict=True) if cells else ((), (), ())
    payload = b"".join(payloads)
    if np is None:
        return Cells(bytes(tags), list(words), payload)
    return Cells(np.array(tags, np.uint8), np.array(words, "<u8"), np.frombuffer(payload, np.uint8))


def _quick(np: Any, items: list[Any], decimals: int | None) -> Cells | None:
    """The same cells, where the values are of one type or missing; None where they are not."""
    kinds = set(map(type, items))
    missing = None
    if len(kinds) == 2 and float in kinds and str in kinds:
        # Objects of pandas: text, with NaN for what is missing.
        items = [None if type(item) is float and item != item else item for item in items]
        kinds = set(map(type, items))
    if len(kinds) == 2 and type(None) in kinds:
        kinds.remove(type(None))
        missing = np.fromiter((item is None for item in items), bool, len(items))
        empty = next(iter(kinds))() if kinds <= {str, bytes, float, int, bool} else None
        items = [empty if item is None else item for item in items]
    if kinds == {str}:
        return _of_text(np, items, missing)
    if kinds == {bytes}:
        lengths = np.fromiter(map(len, items), "<u8", len(items))
        return Cells(tags_of(np, v.BYTES, missing), lengths, np.frombuffer(b"".join(items), np.uint8))
    if kinds == {int} and (max(items) > -_NAT - 1 or min(items) < _NAT):
        return None
    types = {float: np.float64, bool: np.bool_, int: np.int64}
    kind = types.get(next(iter(kinds))) if len(kinds) == 1 else None
    return None if kind is None else of_numpy(np, np.array(items, kind), missing, decimals)


def _of_text(np: Any, items: list[Any], missing: Any | None) -> Cells:
    joined = "".join(items)
    if joined.isascii():
        data = joined.encode()
    else:
        items = [item.encode("utf-8", "surrogatepass") for item in items]
        data = b"".join(items)
    lengths = np.fromiter(map(len, items), "<u8", len(items))
    return Cells(tags_of(np, v.TEXT, missing), lengths, np.frombuffer(data, np.uint8))


def tags_of(np: Any, tag: int, missing: Any | None) -> Any:
    """One tag for all, or an array where some are missing."""
    return tag if missing is None else np.where(missing, np.uint8(v.MISSING), np.uint8(tag))


def of_numpy(np: Any, values: Any, missing: Any | None, decimals: int | None, tag: int | None = None) -> Cells:
    """The cells of an array of numbers, booleans or times, of any number of dimensions."""
    if missing is not None and not missing.any():
        missing = None
    if values.ndim > 1:
        return _of_rows(np, values, missing, decimals)
    kind = values.dtype.kind
    if kind == "f":
        words, absent = _floats(np, values, decimals)
        missing = absent if missing is None else missing if absent is None else missing | absent
        tags = tags_of(np, v.NUMBER, missing)
    elif kind in "iu":
        tags, words = _integers(np, values)
        tags = (
            tags
            if missing is None
            else np.where(missing, np.uint8(v.MISSING), np.uint8(tags) if isinstance(tags, int) else tags)
        )
    elif kind == "b":
        tags, words = tags_of(np, v.BOOL, missing), values.astype("<u8")
    elif kind == "c":
        return _complexes(np, values, missing, decimals)
    else:
        return _times(np, values, missing, tag or (v.NAIVE if kind == "M" else v.DURATION))
    if missing is not None:
        words[missing] = 0
    return Cells(tags, words)


def _floats(np: Any, values: Any, decimals: int | None) -> tuple[Any, Any | None]:
    """The words of floats, and which are NaN."""
    with np.errstate(all="ignore"):  # signalling NaNs, and what overflows below
        if values.dtype.itemsize > 8:
            narrow = values.astype(np.float64)
            if not ((narrow == values) | (values != values)).all():
                raise UsageError(f"{values.dtype} holds more digits than are canonical; convert the column to float64")
            values = narrow
        numbers = np.add(values, 0.0, dtype=np.float64)
        if decimals is not None:
            scale = 10.0**decimals
            moved = numbers * scale
            numbers = np.where(np.abs(moved) < 2.0**52, np.rint(moved) / scale, numbers) + 0.0
    absent = np.isnan(numbers)
    return numbers.view(np.uint64).astype("<u8", copy=False), absent if absent.any() else None


def _integers(np: Any, values: Any) -> tuple[Any, Any]:
    """The tags and words of integers."""
    words = values.astype(np.float64).view(np.uint64).astype("<u8", copy=False)
    if values.dtype.itemsize < 8 or not len(values) or (values.max() <= _WHOLE and values.min() >= -_WHOLE):
        return v.NUMBER, words
    magnitude = values.astype(np.uint64)
    below = values < 0
    magnitude[below] = ~magnitude[below] + np.uint64(1)
    lowest = np.maximum(magnitude & (~magnitude + np.uint64(1)), np.uint64(1))
    # A float has 53 bits from its highest to its lowest one.
    inexact = (magnitude >> np.uint64(53)) >= lowest
    tags = np.where(inexact, np.where(below, np.uint8(v.NEGATIVE), np.uint8(v.POSITIVE)), np.uint8(v.NUMBER))
    return tags, np.where(inexact, magnitude, words)


def _complexes(np: Any, values: Any, missing: Any | None, decimals: int | None) -> Cells:
    parts = np.ascontiguousarray(values).astype(np.complex128).view(np.float64)
    words, absent = _floats(np, parts, decimals)
    if absent is not None:
        absent = absent.reshape(-1, 2).any(axis=1)
        missing = absent if missing is None else missing | absent
    words = words.reshape(-1, 2)
    if missing is not None:
        words = words[~missing]
    lengths = np.full(len(values), 16, "<u8")
    if missing is not None:
        lengths[missing] = 0
    return Cells(tags_of(np, v.COMPLEX, missing), lengths, words.reshape(-1).view(np.uint8))


def _times(np: Any, values: Any, missing: Any | None, tag: int) -> Cells:
    unit, count = np.datetime_data(values.dtype)
    if unit in {"Y", "M", "W"}:
        values, unit, count = values.astype("M8[D]" if values.dtype.kind == "M" else "m8[D]"), "D", 1
    numbers = values.astype(np.int64)
    absent = np.isnat(values)
    if absent.all():
        unit = "ns"  # what is no time at all needs no unit
    if absent.any():
        missing = absent if missing is None else missing | absent
        numbers[absent] = 0
    if unit not in UNIT_NS:
        raise UsageError(
            f"times of type {values.dtype} are not canonical; convert the column to datetime64[ns] or timedelta64[ns]"
        )
    return moments(np, numbers, UNIT_NS[unit] * count, missing, tag)


def moments(np: Any, numbers: Any, unit_ns: int, missing: Any | None, tag: int) -> Cells:
    """Times or durations: int64 numbers of a unit so many nanoseconds long."""
    if missing is not None:
        numbers = np.where(missing, 0, numbers)
    limit = ((1 << 63) - 1) // unit_ns
    if len(numbers) and (numbers.max() > limit or numbers.min() < -limit):
        items = numbers.tolist()
        gone = missing.tolist() if missing is not None else [False] * len(items)
        return of_list(np, [None if no else Moment(tag, n * unit_ns) for n, no in zip(items, gone, strict=True)], None)
    return Cells(tags_of(np, tag, missing), (numbers * np.int64(unit_ns)).view(np.uint64).astype("<u8", copy=False))


def _of_rows(np: Any, values: Any, missing: Any | None, decimals: int | None) -> Cells:
    """Arrays of two and more dimensions: each row is a cell, a list (of lists) of fixed length."""
    if missing is not None:
        items = [row.tolist() for row in np.ma.array(values, mask=missing)]
        return of_list(np, items, decimals)
    flat = of_numpy(np, np.ascontiguousarray(values).reshape(-1), None, decimals)
    if len(flat.payload):
        return of_list(np, values.tolist(), decimals)
    rows, tag = len(values), v.LIST
    tags = np.full(values.size, flat.tags, np.uint8) if isinstance(flat.tags, int) else flat.tags
    payload: Any = None
    words = flat.words
    for size in reversed(values.shape[1:]):
        groups = values.size and len(tags) // size
        if not groups:
            return of_list(np, values.tolist(), decimals)
        head = np.full((groups, 1), size, "<u8").view(np.uint8)
        parts = [head, tags.reshape(groups, size), words.reshape(groups, size).view(np.uint8)]
        if payload is not None:
            parts.append(payload.reshape(groups, -1))
        payload = np.concatenate(parts, axis=1)
        tags = np.full(groups, tag, np.uint8)
        words = np.full(groups, payload.shape[1], "<u8")
    return Cells(tag, words[:rows], payload.reshape(-1))
