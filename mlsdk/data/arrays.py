"""Arrays as tables: numpy with its structured and many-dimensional ones, torch tensors, tuples and dicts of columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlsdk.data.frames import BATCH_ROWS, arrow_table, numpy_type, pandas_table, polars_table
from mlsdk.data.table import Column, Table
from mlsdk.errors import UsageError

WIDE = 1000
"""An array of two dimensions has columns up to here; beyond, and with more dimensions, each row is one value."""

_BATCH_VALUES = 1 << 20
"""Values worked on at once where a row holds many."""


def array_table(array: Any) -> Table:
    """A numpy array, or anything numpy makes one of without a copy."""
    array = _plain_array(array)
    if array.ndim == 0:
        array = array.reshape(1)
    if array.dtype.names:
        if array.ndim > 1:
            raise UsageError(f"a structured array of shape {array.shape} has no rows; flatten it first")
        return Table(*_columns_and_batches(_fields("", array)))
    return Table(*_columns_and_batches(_split("", array, numpy_type(array.dtype), array.shape)))


def _plain_array(data: Any) -> Any:
    """An array that is masked or of numpy's own class: parts of a `matrix` would have two dimensions for ever."""
    import numpy as np

    return data if isinstance(data, np.ma.MaskedArray) else np.asarray(data)


def tensor_table(tensor: Any) -> Table:
    """A torch tensor, as an array of its values; neither its gradient nor its device is touched."""
    kind = _torch_type(tensor)
    if not tensor.ndim:
        tensor = tensor.reshape(1)
    return Table(*_columns_and_batches(_split("", tensor, kind, tuple(tensor.shape))))


def plain_torch(tensor: Any) -> Any:
    """The values of a tensor as a numpy array: bfloat16 and 8-bit floats widened exactly."""
    import torch

    values = tensor.detach().cpu().resolve_conj().resolve_neg()
    if values.dtype == torch.bfloat16 or "float8" in str(values.dtype):
        values = values.to(torch.float32)
    return values.numpy()


def columns_table(data: Mapping[Any, Any] | Sequence[Any]) -> Table:
    """A dict or a tuple of columns: `{"x": [1, 2], "y": [3, 4]}`, `(X, y)`; one of two dimensions is several columns.

    Raises:
        UsageError: they are not of one length, or one of them is no column.
    """
    items = data.items() if isinstance(data, Mapping) else enumerate(data)
    found: list[tuple[str, Any, str, int]] = []
    for name, column in items:
        found += _of_one(str(name), column)
    lengths = {name: len(column) for name, column, *_ in found}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name!r} has {length} rows" for name, length in list(lengths.items())[:6])
        raise UsageError(f"the columns are not of one length: {shown}; fingerprint each part on its own")
    return Table(*_columns_and_batches(found))


def _of_one(name: str, column: Any) -> list[Any]:
    """What one entry of a dict or a tuple adds: name, values, type and values a row, each."""
    library = type(column).__module__.partition(".")[0]
    if library == "torch" and hasattr(column, "shape"):
        if not len(column.shape):
            raise UsageError(f"{name!r} is a single value, not a column: {column!r}")
        return _split(name, column, _torch_type(column), tuple(column.shape))
    if library in {"pandas", "polars", "pyarrow"} and hasattr(column, "__len__"):
        if len(getattr(column, "shape", (0,))) != 1 or hasattr(column, "column_names"):
            raise UsageError(f"{name!r} is a frame, not a column; fingerprint it on its own")
        table = {"pandas": pandas_table, "polars": polars_table, "pyarrow": arrow_table}[library](column)
        return [(name, column, table.columns[-1].type, 1)]
    if hasattr(column, "dtype") and hasattr(column, "shape") and hasattr(column, "__array__"):
        if not len(column.shape):
            raise UsageError(f"{name!r} is a single value, not a column: {column!r}")
        array = _plain_array(column)
        if array.dtype.names:
            return _fields(name, array)
        return _split(name, array, numpy_type(array.dtype), array.shape)
    if isinstance(column, list | tuple | range) or hasattr(column, "typecode"):
        return [(name, column if isinstance(column, list) else list(column), "", 1)]
    raise UsageError(
        f"{name!r} is no column but a {type(column).__qualname__}; "
        "give lists or arrays of one length, or a list of rows"
    )


def _split(name: str, array: Any, kind: str, shape: tuple[int, ...]) -> list[Any]:
    """One column, or those of an array of two dimensions."""
    if len(shape) == 2 and shape[1] <= WIDE:
        return [(f"{name}.{place}".lstrip("."), array[:, place], kind, 1) for place in range(shape[1])]
    size = 1
    for length in shape[1:]:
        size *= length
    for length in reversed(shape[1:]):
        kind = f"list<{kind}>[{length}]"
    return [(name or "values", array, kind, size)]


def _torch_type(tensor: Any) -> str:
    """The logical type of a tensor that has plain rows."""
    if str(tensor.layout) != "torch.strided" or tensor.is_quantized:
        raise UsageError(
            f"a {tensor.layout} tensor (quantized: {tensor.is_quantized}) has no plain rows; "
            "give its to_dense() or dequantize()"
        )
    return str(tensor.dtype).removeprefix("torch.")


def _columns_and_batches(found: Sequence[Any]) -> tuple[list[Column], Iterator[Sequence[Any]]]:
    rows = len(found[0][1]) if found else 0
    widest = max((size for *_, size in found), default=1)
    step = min(BATCH_ROWS, max(1, _BATCH_VALUES // max(widest, 1)))
    columns = [values for _, values, *_ in found]
    batches = ([column[start : start + step] for column in columns] for start in range(0, rows, step))
    return [Column(name, kind) for name, _, kind, _ in found], batches


def _fields(name: str, array: Any) -> list[Any]:
    """The fields of a structured array."""
    return [part for field in array.dtype.names for part in _of_one(f"{name}.{field}".lstrip("."), array[field])]
