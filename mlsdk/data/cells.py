"""Canonical cells of whole arrays, of every library: tags, words and bytes, vectorised where numpy is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mlsdk.data import values as v
from mlsdk.errors import UsageError

_WHOLE = 1 << 53
"""Integers up to here are all exactly floats."""

_NAT = -(1 << 63)

UNIT_NS = {"D": 86_400 * 10**9, "h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}


class Cells(NamedTuple):
    """The canonical cells of some rows of a column."""

    tags: Any
    """One tag for all of them, or an array (uint8) or bytes with one each."""
    words: Any
    """A uint64 array, or a list of integers."""
    payload: Any = b""
    """The bytes of those whose tag is in `values.LONG`, one behind the other."""


class Masked(NamedTuple):
    """A numpy array beside what numpy cannot say: which values are missing, and that times are in UTC."""

    values: Any
    missing: Any | None = None
    tag: int | None = None

    def __getitem__(self, rows: Any) -> Masked:  # type: ignore[override]
        """Some of the rows."""
        return Masked(self.values[rows], None if self.missing is None else self.missing[rows], self.tag)

    def __len__(self) -> int:
        return len(self.values)


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
        return array if np is not None else _arrow_list(array)
    if library == "pandas":
        from mlsdk.data.frames import plain_pandas  # noqa: PLC0415

        return plain(np, plain_pandas(np, array))
    if library == "polars":
        from mlsdk.data.frames import plain_polars  # noqa: PLC0415

        return plain(np, plain_polars(array))
    if library == "torch":
        from mlsdk.data.arrays import plain_torch  # noqa: PLC0415

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


def _arrow_list(array: Any) -> list[Any]:
    """Without numpy: Python's own values; of nanoseconds pyarrow makes none, so all times become integers first."""
    import pyarrow as pa  # noqa: PLC0415

    kind = array.type
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        tag = v.DURATION if pa.types.is_duration(kind) else v.NAIVE if kind.tz is None else v.AWARE
        unit = UNIT_NS[kind.unit]
        return [
            _Moment(tag, number * unit) if number is not None else None for number in array.cast(pa.int64()).to_pylist()
        ]
    return array.to_pylist()  # type: ignore[no-any-return]


class _Moment(NamedTuple):
    """A time that no class of Python can hold to the nanosecond."""

    tag: int
    nanoseconds: int


def canonical(np: Any | None, piece: Any, decimals: int | None) -> Cells:
    """The cells of one piece of what `plain` returned."""
    if np is None or isinstance(piece, list):
        return _of_list(np, piece, decimals)
    if isinstance(piece, Masked):
        return _of_numpy(np, piece.values, piece.missing, decimals, piece.tag)
    if isinstance(piece, np.ndarray):
        return _of_numpy(np, piece, None, decimals)
    return _of_arrow(np, piece, decimals)


def single(value: Any, decimals: int | None) -> v.Cell:
    """The cell of a numpy scalar, or of an array inside a cell."""
    import numpy as np  # noqa: PLC0415

    if type(value).__module__.startswith("torch"):
        from mlsdk.data.arrays import plain_torch  # noqa: PLC0415

        value = plain_torch(value)
    array = np.asarray(value)[None]
    if array.dtype.kind == "V" and array.dtype.names:
        return v.nested_struct(zip(array.dtype.names, value.item(), strict=True), decimals)
    if array.dtype.kind not in "biufcmM":
        return v.cell(array.tolist()[0], decimals)
    tags, words, payload = _of_numpy(np, array, None, decimals)
    return int(tags if isinstance(tags, int) else tags[0]), int(words[0]), bytes(payload)


def _of_list(np: Any | None, items: list[Any], decimals: int | None) -> Cells:
    kinds = set(map(type, items))
    if np is not None and len(kinds - {type(None)}) == 1 and len(items) >= 16:
        some = kinds - {type(None)}
        if some == {str}:
            return _of_text(np, items)
        if some <= {float, bool} and len(kinds) == 1:
            return _of_numpy(np, np.array(items), None, decimals)
        if some == {float}:
            return _of_numpy(np, np.array(items, np.float64), None, decimals)
    cells = [v.moment(*item) if type(item) is _Moment else v.cell(item, decimals) for item in items]
    tags, words, payloads = zip(*cells, strict=True) if cells else ((), (), ())
    payload = b"".join(payloads)
    if np is None:
        return Cells(bytes(tags), list(words), payload)
    return Cells(np.array(tags, np.uint8), np.array(words, "<u8"), np.frombuffer(payload, np.uint8))


def _of_text(np: Any, items: list[Any]) -> Cells:
    """Strings and None."""
    missing = None
    if None in items:
        missing = np.fromiter((item is None for item in items), bool, len(items))
        items = [item or "" for item in items]
    joined = "".join(items)
    if joined.isascii():
        data = joined.encode()
    else:
        items = [item.encode("utf-8", "surrogatepass") for item in items]
        data = b"".join(items)
    lengths = np.fromiter(map(len, items), "<u8", len(items))
    return Cells(_tags(np, v.TEXT, missing), lengths, np.frombuffer(data, np.uint8))


def _tags(np: Any, tag: int, missing: Any | None) -> Any:
    return tag if missing is None else np.where(missing, np.uint8(v.MISSING), np.uint8(tag))


def _of_numpy(np: Any, values: Any, missing: Any | None, decimals: int | None, tag: int | None = None) -> Cells:
    if missing is not None and not missing.any():
        missing = None
    if values.ndim > 1:
        return _of_rows(np, values, missing, decimals)
    kind = values.dtype.kind
    if kind == "f":
        words, absent = _floats(np, values, decimals)
        missing = absent if missing is None else missing if absent is None else missing | absent
        tags = _tags(np, v.NUMBER, missing)
    elif kind in "iu":
        tags, words = _integers(np, values)
        tags = (
            tags
            if missing is None
            else np.where(missing, np.uint8(v.MISSING), np.uint8(tags) if isinstance(tags, int) else tags)
        )
    elif kind == "b":
        tags, words = _tags(np, v.BOOL, missing), values.astype("<u8")
    elif kind == "c":
        return _complexes(np, values, missing, decimals)
    else:
        return _times(np, values, missing, tag or (v.NAIVE if kind == "M" else v.DURATION))
    if missing is not None:
        words[missing] = 0
    return Cells(tags, words)


def _floats(np: Any, values: Any, decimals: int | None) -> tuple[Any, Any | None]:
    """The words of floats, and which are NaN."""
    if values.dtype.itemsize > 8:
        narrow = values.astype(np.float64)
        if not ((narrow == values) | (values != values)).all():
            raise UsageError(f"{values.dtype} holds more digits than are canonical; convert the column to float64")
        values = narrow
    numbers = np.add(values, 0.0, dtype=np.float64)
    if decimals is not None:
        scale = 10.0**decimals
        with np.errstate(over="ignore", invalid="ignore"):
            moved = numbers * scale
            near = np.abs(moved) < 2.0**52
        numbers = np.where(near, np.rint(moved) / scale, numbers) + 0.0
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
    return Cells(_tags(np, v.COMPLEX, missing), lengths, words.reshape(-1).view(np.uint8))


def _times(np: Any, values: Any, missing: Any | None, tag: int) -> Cells:
    unit, count = np.datetime_data(values.dtype)
    if unit in {"Y", "M", "W"}:
        values, unit, count = values.astype("M8[D]" if values.dtype.kind == "M" else "m8[D]"), "D", 1
    numbers = np.ascontiguousarray(values).view(np.int64).astype(np.int64)
    absent = np.isnat(values)
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
        return _of_list(
            np, [None if no else _Moment(tag, n * unit_ns) for n, no in zip(items, gone, strict=True)], None
        )
    return Cells(_tags(np, tag, missing), (numbers * np.int64(unit_ns)).view(np.uint64).astype("<u8", copy=False))


def _of_rows(np: Any, values: Any, missing: Any | None, decimals: int | None) -> Cells:
    """Arrays of two and more dimensions: each row is a cell, a list (of lists) of fixed length."""
    if missing is not None:
        items = [row.tolist() for row in np.ma.array(values, mask=missing)]
        return _of_list(np, items, decimals)
    flat = _of_numpy(np, np.ascontiguousarray(values).reshape(-1), None, decimals)
    if len(flat.payload):
        return _of_list(np, values.tolist(), decimals)
    rows, tag = len(values), v.LIST
    tags = np.full(values.size, flat.tags, np.uint8) if isinstance(flat.tags, int) else flat.tags
    payload = None
    words = flat.words
    for size in reversed(values.shape[1:]):
        groups = values.size and len(tags) // size
        if not groups:
            return _of_list(np, values.tolist(), decimals)
        head = np.full((groups, 1), size, "<u8").view(np.uint8)
        parts = [head, tags.reshape(groups, size), words.reshape(groups, size).view(np.uint8)]
        if payload is not None:
            parts.append(payload.reshape(groups, -1))
        payload = np.concatenate(parts, axis=1)
        tags = np.full(groups, tag, np.uint8)
        words = np.full(groups, payload.shape[1], "<u8")
    return Cells(tag, words[:rows], payload.reshape(-1))


def _of_arrow(np: Any, array: Any, decimals: int | None) -> Cells:
    import pyarrow as pa  # noqa: PLC0415

    types, kind = pa.types, array.type
    if types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
        kind = array.type
    missing = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    if types.is_string(kind) or types.is_binary(kind) or types.is_large_string(kind) or types.is_large_binary(kind):
        return _arrow_bytes(np, array, missing)
    if str(kind) in {"string_view", "binary_view"} or types.is_fixed_size_binary(kind):
        wider = pa.large_string() if str(kind) == "string_view" else pa.large_binary()
        return _arrow_bytes(np, array.cast(wider), missing)
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        if missing is not None:
            array = array.fill_null(False if types.is_boolean(kind) else pa.scalar(0, pa.int8()).cast(kind))
        return _of_numpy(np, array.to_numpy(zero_copy_only=False), missing, decimals)
    if types.is_timestamp(kind) or types.is_duration(kind) or types.is_date(kind) or types.is_time(kind):
        return _arrow_times(np, array, missing)
    return _of_list(np, array.to_pylist(), decimals)


def _arrow_times(np: Any, array: Any, missing: Any | None) -> Cells:
    import pyarrow as pa  # noqa: PLC0415

    types, kind = pa.types, array.type
    tag = v.DURATION if types.is_duration(kind) else v.CLOCK if types.is_time(kind) else v.NAIVE
    if types.is_timestamp(kind) and kind.tz is not None:
        tag = v.AWARE
    unit = "D" if types.is_date32(kind) else "ms" if types.is_date64(kind) else kind.unit
    numbers = array.view(pa.int32() if kind.bit_width == 32 else pa.int64())
    if missing is not None:
        numbers = numbers.fill_null(0)
    return moments(np, numbers.to_numpy(zero_copy_only=False).astype(np.int64), UNIT_NS[unit], missing, tag)


def _arrow_bytes(np: Any, array: Any, missing: Any | None) -> Cells:
    import pyarrow as pa  # noqa: PLC0415

    is_text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    if missing is not None:
        # A missing value may still own bytes in the buffer.
        array = array.fill_null("" if is_text else b"")
    _, offsets, data = array.buffers()
    if not len(array):
        return Cells(v.TEXT if is_text else v.BYTES, np.empty(0, "<u8"))
    size = 8 if large else 4
    ends = np.frombuffer(offsets, "<i8" if large else "<i4", len(array) + 1, array.offset * size).astype(np.int64)
    first, last = int(ends[0]), int(ends[-1])
    payload = np.frombuffer(data, np.uint8, last - first, first) if last > first else np.empty(0, np.uint8)
    return Cells(_tags(np, v.TEXT if is_text else v.BYTES, missing), np.diff(ends).astype("<u8"), payload)
