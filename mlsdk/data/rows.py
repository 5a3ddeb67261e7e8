"""Rows as tables: dicts, tuples, dataclasses, plain values; torch's data sets and those of Hugging Face."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mlsdk.data.frames import arrow_columns, rows_at_once
from mlsdk.data.table import Column, Table
from mlsdk.errors import UsageError

_ROWS = 16_384
_LARGE_ROWS = 256
"""Rows worked on at once where they hold arrays."""
_FIRST_ROWS = 16
"""Rows of the first batch: making rows may be slow, and what cannot be read shall be found out soon."""

_ABSENT = object()


def rows_table(rows: Iterable[Any]) -> Table:
    """Something that gives its rows as often as it is asked: a list of dicts, of tuples, of values.

    The first row says what the columns are: the keys of a mapping, the fields of a dataclass or a named tuple, the
    places of a tuple or list ("0", "1", …); any other value is one column, `values`. Of a list of dicts all keys count,
    in the order in which they first come; elsewhere a key that the first row lacks is refused. A missing key is a
    missing value.

    Raises:
        UsageError: it can be read only once, or its rows are of different shapes.
    """
    if isinstance(rows, Iterator):
        raise UsageError(
            f"{type(rows).__qualname__} can be read only once, and a fingerprint would use it up; "
            "give a list, or an object whose __iter__ starts again"
        )
    if isinstance(rows, set | frozenset):
        raise UsageError(f"a {type(rows).__qualname__} has no order, or another one in each process: give sorted(...)")
    first = next(iter(rows), _ABSENT)
    if first is _ABSENT:
        return Table([], ())
    names = _names(first)
    if isinstance(rows, list) and isinstance(first, Mapping):
        names = list(dict.fromkeys(key for row in rows if isinstance(row, Mapping) for key in row))
    columns = [Column(str(name), "") for name in names]
    return Table(columns, _batches(rows, names, _taker(first, names)))


def _names(row: Any) -> list[Any]:
    if isinstance(row, Mapping):
        return list(row)
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return [field.name for field in dataclasses.fields(row)]
    if hasattr(row, "__attrs_attrs__"):
        return [field.name for field in row.__attrs_attrs__]
    if hasattr(type(row), "model_fields"):  # pydantic
        return list(type(row).model_fields)
    if isinstance(row, tuple) and hasattr(row, "_fields"):  # a named tuple
        return list(row._fields)
    if type(row).__module__ == "sqlite3" and hasattr(row, "keys"):
        return list(row.keys())
    if isinstance(row, tuple | list):
        return [str(place) for place in range(len(row))]
    return ["values"]


def _taker(first: Any, names: Sequence[Any]) -> Callable[[Any], Sequence[Any]]:
    """What makes a sequence of values of a row that is like the first one."""
    if isinstance(first, Mapping):
        known = set(names)

        def of_mapping(row: Any) -> Sequence[Any]:
            if not isinstance(row, Mapping) or not known.issuperset(row):
                raise ValueError
            return [row.get(name) for name in names]

        return of_mapping
    if not isinstance(first, tuple | list) and names != ["values"]:
        kind = type(first)

        def of_fields(row: Any) -> Sequence[Any]:
            if type(row) is not kind:
                raise ValueError
            return list(row) if kind.__module__ == "sqlite3" else [getattr(row, name) for name in names]

        return of_fields
    if isinstance(first, tuple | list):

        def of_sequence(row: Any) -> Sequence[Any]:
            if not isinstance(row, tuple | list) or len(row) != len(names):
                raise ValueError
            return row

        return of_sequence
    return lambda row: (row,)


def _batches(
    rows: Iterable[Any], names: Sequence[Any], take: Callable[[Any], Sequence[Any]]
) -> Iterator[Sequence[Any]]:
    batch: list[Sequence[Any]] = []
    most, size = 0, _FIRST_ROWS
    for place, row in enumerate(rows):
        try:
            values = take(row)
        except ValueError:
            shown = ", ".join(map(str, names[:8]))
            raise UsageError(f"row {place} is not like the first one, which has {shown}: {repr(row)[:200]}") from None
        if not most:
            most = _LARGE_ROWS if any(hasattr(value, "shape") and value.shape for value in values) else _ROWS
        batch.append(values)
        if len(batch) >= min(size, most):
            yield [_column(values) for values in zip(*batch, strict=True)]
            batch, size = [], size * 2
    if batch:
        yield [_column(values) for values in zip(*batch, strict=True)]


def _column(values: Sequence[Any]) -> Any:
    """Arrays of one shape as one array, so that they are worked on together; all else as a list."""
    first = values[0]
    kind = type(first)
    library = kind.__module__.partition(".")[0]
    if library not in {"numpy", "torch"} or not hasattr(first, "shape") or len(values) < 2 or hasattr(first, "mask"):
        return list(values)
    if any(type(one) is not kind or one.shape != first.shape or one.dtype != first.dtype for one in values):
        return list(values)
    if library == "torch":
        return sys.modules["torch"].stack([one.detach().cpu() for one in values])
    return sys.modules["numpy"].stack(values) if first.dtype.kind in "biufcmM" else list(values)


# torch


def torch_table(data: Any) -> Table:
    """A torch data set, map-style or iterable; its generators of chance are left as they were.

    Raises:
        UsageError: it is a DataLoader, whose order and batches are chance.
    """
    if hasattr(data, "batch_sampler"):
        raise UsageError("a DataLoader gives batches in an order of chance: give its .dataset")
    return _careful(_Items(data) if hasattr(data, "__getitem__") and hasattr(data, "__len__") else data)


class _Items:
    """A map-style data set, read by its indices."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __iter__(self) -> Iterator[Any]:
        return (self.data[place] for place in range(len(self.data)))


def _careful(rows: Iterable[Any]) -> Table:
    """A table of rows whose making may draw random numbers."""
    with _chance_kept():
        table = rows_table(rows)

    def batches() -> Iterator[Sequence[Any]]:
        with _chance_kept():
            yield from table.batches

    return Table(table.columns, batches())


@contextmanager
def _chance_kept() -> Iterator[None]:
    """The global generators afterwards are as before."""
    import random

    python = random.getstate()
    np, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    numbers = np.random.get_state() if np else None
    tensors = torch.get_rng_state() if torch else None
    try:
        yield
    finally:
        random.setstate(python)
        if np:
            np.random.set_state(numbers)
        if torch:
            torch.set_rng_state(tensors)


# Hugging Face


def hugging_face_table(data: Any) -> Table:
    """A Dataset, an IterableDataset, or a dict of them by split: then `split` is the first column."""
    if not isinstance(data, Mapping):
        return _hugging_face(data)
    tables = {name: _hugging_face(part) for name, part in data.items()}
    columns = next((table.columns for table in tables.values()), ())
    for name, table in tables.items():
        if [column.name for column in table.columns] != [column.name for column in columns]:
            raise UsageError(f"split {name!r} has other columns than the first one; fingerprint each split on its own")
    split = Column("split", "text", nullable=False)
    batches = (_with_split(name, batch) for name, table in tables.items() for batch in table.batches)
    return Table([split, *columns], batches)


def _with_split(name: Any, batch: Sequence[Any]) -> Sequence[Any]:
    return [[str(name)] * len(batch[0]), *batch]


def _hugging_face(data: Any) -> Table:
    if not hasattr(data, "num_rows"):
        return _careful(data)
    columns = arrow_columns(data.features.arrow_schema)
    rows = rows_at_once(data.num_rows, data.data.nbytes)
    # A copy that hands out what is stored: no image is decoded, the user's own format stays as it is.
    stored = data.with_format("arrow")
    return Table(columns, (table.columns for table in stored.iter(batch_size=rows)))
