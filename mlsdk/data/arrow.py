"""Canonical cells of Arrow arrays, read from their buffers."""

from __future__ import annotations

from typing import Any

from mlsdk.data import values as v
from mlsdk.data.cells import UNIT_NS, Cells, Moment, moments, of_list, of_numpy, tags_of


def logical(kind: Any) -> str:
    """The logical type of an Arrow type, in the words of `docs/data.md`."""
    import pyarrow as pa

    types, written = pa.types, str(kind)
    if isinstance(kind, pa.BaseExtensionType):
        return logical(kind.storage_type)
    if types.is_dictionary(kind):
        return f"category<{logical(kind.value_type)}>"
    if written in {"string", "large_string", "string_view"}:
        return "text"
    if (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or written == "binary_view"
    ):
        return "bytes"
    if types.is_date(kind):
        return "date"
    if types.is_time(kind):
        return f"time[{kind.unit}]"
    if types.is_timestamp(kind) and kind.tz is not None:
        return f"timestamp[{kind.unit}, {kind.tz}]"
    if types.is_map(kind):
        return f"map<{logical(kind.key_type)}, {logical(kind.item_type)}>"
    if types.is_struct(kind):
        parts = [kind.field(place) for place in range(kind.num_fields)]
        return f"struct<{', '.join(f'{part.name}: {logical(part.type)}' for part in parts)}>"
    if types.is_nested(kind) and hasattr(kind, "value_type"):
        return f"list<{logical(kind.value_type)}>"
    if types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    return {"double": "float64", "float": "float32", "halffloat": "float16"}.get(written, written)


def listed(array: Any) -> list[Any]:
    """Without numpy: Python's own values; of nanoseconds pyarrow makes none, so that times become integers first."""
    import pyarrow as pa

    types, kind = pa.types, array.type
    if types.is_dictionary(kind):
        return listed(array.dictionary_decode())
    if not (types.is_timestamp(kind) or types.is_duration(kind) or types.is_time(kind)):
        return array.to_pylist()  # type: ignore[no-any-return]
    numbers = array.view(pa.int32() if kind.bit_width == 32 else pa.int64()).to_pylist()
    tag, unit = _time_tag(kind), UNIT_NS[kind.unit]
    return [None if number is None else Moment(tag, number * unit) for number in numbers]


def _time_tag(kind: Any) -> int:
    import pyarrow as pa

    if pa.types.is_duration(kind):
        return v.DURATION
    if pa.types.is_time(kind):
        return v.CLOCK
    return v.AWARE if pa.types.is_timestamp(kind) and kind.tz is not None else v.NAIVE


def cells(np: Any, array: Any, decimals: int | None) -> Cells:
    """The cells of an Arrow array."""
    import pyarrow as pa

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
        return of_numpy(np, array.to_numpy(zero_copy_only=False), missing, decimals)
    if types.is_timestamp(kind) or types.is_duration(kind) or types.is_date(kind) or types.is_time(kind):
        return _arrow_times(np, array, missing)
    return of_list(np, array.to_pylist(), decimals)


def _arrow_times(np: Any, array: Any, missing: Any | None) -> Cells:
    import pyarrow as pa

    types, kind = pa.types, array.type
    unit = "D" if types.is_date32(kind) else "ms" if types.is_date64(kind) else kind.unit
    numbers = array.view(pa.int32() if kind.bit_width == 32 else pa.int64())
    if missing is not None:
        numbers = numbers.fill_null(0)
    return moments(np, numbers.to_numpy(zero_copy_only=False).astype(np.int64), UNIT_NS[unit], missing, _time_tag(kind))


def _arrow_bytes(np: Any, array: Any, missing: Any | None) -> Cells:
    import pyarrow as pa

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
    return Cells(tags_of(np, v.TEXT if is_text else v.BYTES, missing), np.diff(ends).astype("<u8"), payload)
