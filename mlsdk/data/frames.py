"""Frames as tables: pandas, polars, Arrow, and whatever else hands out an Arrow stream."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mlsdk.data import values as v
from mlsdk.data.arrow import logical
from mlsdk.data.cells import UNIT_NS, Masked, Moment
from mlsdk.data.table import Column, Table
from mlsdk.errors import UsageError

BATCH_ROWS = 65_536
BATCH_BYTES = 64 << 20


def rows_at_once(rows: int, size_bytes: int) -> int:
    """How many rows make a batch where so many are so large: cells may be images."""
    return max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(size_bytes, 1)))


def sliced(columns: Sequence[Any], rows: int, size_bytes: int = 0) -> Iterator[Sequence[Any]]:
    """Whole columns as batches: slices, not copies."""
    step = rows_at_once(rows, size_bytes)
    for start in range(0, rows, step):
        yield [column[start : start + step] for column in columns]


# pandas


def pandas_table(data: Any) -> Table:
    """A pandas DataFrame, Series or Index.

    An unnamed index of integers is left out: it counts the rows, and a shuffle would change them all. Any other index
    is one or more leading columns, called by its names, `index` or `level_0`, ….
    """
    if hasattr(data, "columns"):
        found = [(_label(label), data.iloc[:, place]) for place, label in enumerate(data.columns)]
    else:
        found = [(_label(data.name) if data.name is not None else "values", data)]
    if hasattr(data, "index"):
        found = _index(data.index) + found
    declared = [Column(name, _pandas_type(series.dtype)) for name, series in found]
    # What is numpy's is looked at as it is; arrays of pandas' own are converted a slice at a time.
    columns = [one.to_numpy() if type(one.dtype).__module__.startswith("numpy") else one.array for _, one in found]
    return Table(declared, sliced(columns, len(data)))


def _label(label: Any) -> str:
    """The name of a column: of several levels, joined by dots."""
    return ".".join(map(str, label)) if isinstance(label, tuple) else str(label)


def _index(index: Any) -> list[tuple[str, Any]]:
    if index.nlevels == 1:
        if index.name is None and index.dtype.kind in "iu":
            return []
        return [("index" if index.name is None else _label(index.name), index)]
    names = [f"level_{place}" if name is None else _label(name) for place, name in enumerate(index.names)]
    return [(name, index.get_level_values(place)) for place, name in enumerate(names)]


def _pandas_type(dtype: Any) -> str:
    """The logical type; "" for objects, which are what they turn out to be."""
    if hasattr(dtype, "pyarrow_dtype"):
        return logical(dtype.pyarrow_dtype)
    if hasattr(dtype, "categories"):
        return f"category<{_pandas_type(dtype.categories.dtype) or 'object'}>"
    if hasattr(dtype, "tz"):
        return f"timestamp[{dtype.unit}, {dtype.tz}]"
    if hasattr(dtype, "fill_value") and hasattr(dtype, "subtype"):
        return _pandas_type(dtype.subtype)
    if hasattr(dtype, "numpy_dtype"):
        return numpy_type(dtype.numpy_dtype)
    if dtype.kind in "biufcmMSU":
        return numpy_type(dtype)
    return "text" if str(dtype).startswith("str") else "" if str(dtype) == "object" else str(dtype)


def numpy_type(dtype: Any) -> str:
    """The logical type of a numpy type; "" for objects."""
    name = str(dtype.name)
    if dtype.kind in "mM":
        return name.replace("datetime64", "timestamp").replace("timedelta64", "duration")
    return {"U": "text", "T": "text", "S": "bytes", "O": ""}.get(dtype.kind, name)


def plain_pandas(np: Any, data: Any) -> Any:
    """A Series, Index or array of pandas as what `cells.plain` takes: numpy, numpy with a mask, Arrow."""
    dtype = data.dtype
    if isinstance(dtype, np.dtype):
        return data.to_numpy()
    array = getattr(data, "array", data)
    if hasattr(dtype, "pyarrow_dtype") or getattr(dtype, "storage", "") == "pyarrow":
        return array.__arrow_array__()
    if hasattr(dtype, "categories"):
        return _categories(np, array.categories, np.asarray(array.codes))
    if hasattr(dtype, "tz"):
        import pandas as pd

        return Masked(pd.DatetimeIndex(array).tz_convert(None).to_numpy(), None, v.AWARE)
    if hasattr(dtype, "fill_value") and hasattr(dtype, "subtype"):
        return np.asarray(array.to_dense())
    if hasattr(dtype, "numpy_dtype"):
        return Masked(np.asarray(array.to_numpy(dtype=dtype.numpy_dtype, na_value=0)), np.asarray(array.isna()))
    return np.asarray(array.astype(object))


def _categories(np: Any, categories: Any, codes: Any) -> Any:
    """Each row's category itself."""
    missing = codes < 0
    if not len(categories):
        return np.full(len(codes), None, object)
    values = plain_pandas(np, categories)
    places = np.where(missing, 0, codes)
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        return Masked(values[places], missing)
    if isinstance(values, Masked):
        return Masked(values.data[places], missing, values.tag)
    if not isinstance(values, np.ndarray):
        import pyarrow as pa

        return values.take(pa.array(places, mask=missing))
    found = values[places]
    found[missing] = None
    return found


# polars


def polars_table(data: Any) -> Table:
    """A polars DataFrame or Series."""
    if not hasattr(data, "shape"):
        raise UsageError("a polars LazyFrame is a query without rows yet: give its collect()")
    columns = [data] if len(data.shape) == 1 else data.get_columns()
    declared = [Column(column.name or "values", _polars_type(column.dtype)) for column in columns]
    return Table(declared, sliced(columns, data.shape[0], data.estimated_size()))


def _polars_type(dtype: Any) -> str:
    name = type(dtype).__name__ if not isinstance(dtype, type) else dtype.__name__
    if name == "Datetime":
        return f"timestamp[{dtype.time_unit}{f', {dtype.time_zone}' if dtype.time_zone else ''}]"
    if name == "Duration":
        return f"duration[{dtype.time_unit}]"
    if name in {"List", "Array"}:
        return f"list<{_polars_type(dtype.inner)}>"
    if name == "Struct":
        return f"struct<{', '.join(f'{field.name}: {_polars_type(field.dtype)}' for field in dtype.fields)}>"
    if name == "Decimal":
        return f"decimal({dtype.precision}, {dtype.scale})"
    known = {"String": "text", "Utf8": "text", "Binary": "bytes", "Boolean": "bool", "Time": "time[ns]", "Object": ""}
    return known.get(name) or ("category<text>" if name in {"Categorical", "Enum"} else name.lower())


def plain_polars(series: Any) -> Any:
    """A polars Series as an Arrow array where pyarrow is installed, as a list otherwise."""
    kind = type(series.dtype).__name__
    # Of these two there is nothing in Arrow.
    if kind not in {"Object", "Int128", "UInt128"} and importlib.util.find_spec("pyarrow") is not None:
        return series.to_arrow()
    if kind in {"Datetime", "Duration", "Time"}:
        # Python's own times would lose the nanoseconds.
        tag = {"Duration": v.DURATION, "Time": v.CLOCK}.get(kind) or (v.AWARE if series.dtype.time_zone else v.NAIVE)
        unit = UNIT_NS[getattr(series.dtype, "time_unit", "ns")]
        return [None if one is None else Moment(tag, one * unit) for one in series.to_physical().to_list()]
    return series.to_list()


# Arrow


def arrow_table(data: Any) -> Table:
    """An Arrow table, batch, array, dataset, scanner or reader; a reader is read to its end.

    Anything else that has `__arrow_c_stream__` (a DuckDB relation, an Ibis table) is read through it.
    """
    import pyarrow as pa

    if isinstance(data, pa.Array | pa.ChunkedArray):
        return Table([Column("values", logical(data.type))], sliced([data], len(data), data.nbytes))
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        return Table(arrow_columns(data.schema), sliced(data.columns, data.num_rows, data.nbytes))
    if isinstance(data, pa.RecordBatchReader):
        return Table(arrow_columns(data.schema), _columns_of(data))
    if hasattr(data, "to_batches"):
        schema = getattr(data, "projected_schema", None) or data.schema
        return Table(arrow_columns(schema), _columns_of(data.to_batches()))
    if hasattr(data, "__arrow_c_stream__"):
        if hasattr(pa.RecordBatchReader, "from_stream"):
            return arrow_table(pa.RecordBatchReader.from_stream(data))
        # pyarrow 14 has it under another name.
        capsule = data.__arrow_c_stream__()
        return arrow_table(pa.RecordBatchReader._import_from_c_capsule(capsule))  # noqa: SLF001
    return arrow_table(pa.record_batch(data))


def arrow_columns(schema: Any) -> list[Column]:
    """The columns that an Arrow schema declares."""
    return [Column(field.name, logical(field.type), field.nullable) for field in schema]


def _columns_of(batches: Iterable[Any]) -> Iterator[Sequence[Any]]:
    return (batch.columns for batch in batches)
