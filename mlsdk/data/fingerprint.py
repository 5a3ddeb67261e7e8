"""`mlsdk.fingerprint`: whatever the data are, what they are, exactly."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlsdk.errors import UsageError

if TYPE_CHECKING:
    from mlsdk.data.record import Fingerprint
    from mlsdk.data.table import Table
    from mlsdk.records import Dataset


def fingerprint(
    data: Any,
    *,
    name: str | None = None,
    key: str | Sequence[str] | None = None,
    decimals: int | None = None,
    sample: int | None = None,
    table: str | None = None,
    query: str | None = None,
    trust_mtime: bool = False,
) -> Fingerprint:
    """What data are, exactly: every row counts, whatever library holds them; nothing of them is changed or kept.

    Args:
        data: a path (file, folder, glob pattern), a frame, an array, a tensor, a data set, rows, bytes, a database
            connection together with `table` or `query`, or a run's `Dataset`: what it was then.
        name: what to call the data; it is no part of any id.
        key: the column or columns that name a row, so that a comparison can tell which rows changed.
        decimals: floats are rounded to so many decimals (0 to 15) before anything else; the id then begins `mlfp1-d6:`.
        sample: only the first so many rows are read; the id then begins `mlfp1-head10000:`.
        table: for a database connection: all rows of this table.
        query: for a database connection: the result of this query.
        trust_mtime: for files on a network: believe that a file whose size and times are unchanged is unchanged.

    Returns:
        The fingerprint; two are equal (`==`) where the ordered content is the same.

    Raises:
        UsageError: there is no saying what these data are; the message names their type and what to do.
        OSError: a file cannot be read.

    Example::

        before = mlsdk.fingerprint({"city": ["Rome", "Oslo"], "degrees": [31.5, 18.0]})
        after = mlsdk.fingerprint([{"city": "Rome", "degrees": 31.5}, {"city": "Oslo", "degrees": 18}])
        print(before == after, before.rows)

    prints::

        True 2
    """
    import attrs

    from mlsdk.records import Dataset

    found: Fingerprint
    if isinstance(data, Dataset):
        found = _recorded(data)
    elif isinstance(data, str | os.PathLike):
        from mlsdk.data.files import fingerprint_path

        found = fingerprint_path(
            data, key=key, decimals=decimals, sample=sample, table=table, query=query, trust_mtime=trust_mtime
        )
    elif isinstance(data, bytes | bytearray | memoryview):
        if key is not None or decimals is not None or sample is not None:
            raise UsageError("bytes have no rows: leave out key, decimals and sample, or give rows or a path")
        found = fingerprint_bytes(data)
    else:
        from mlsdk.data.digest import digest_table

        read = table_of(data, table=table, query=query)
        found = digest_table(read, key=key, decimals=decimals, sample=sample)
    return found if name is None else attrs.evolve(found, name=name)


def _recorded(data: Dataset) -> Fingerprint:
    """What a run recorded of its data."""
    from mlsdk.data.stored import load

    stored = data.stored()
    if stored is None:
        later = "it was not read yet, or never: ask again with get_run()" if data.path else "the run took none"
        raise UsageError(
            f"data set {data.name!r} has no fingerprint: {data.note or later}; or fingerprint the data themselves"
        )
    return load(stored)


def fingerprint_bytes(data: bytes | bytearray | memoryview) -> Fingerprint:
    """The fingerprint of bytes that are not read as rows."""
    import hashlib

    from mlsdk.data.record import Fingerprint, prefix

    view = memoryview(data)
    digest = hashlib.sha256(view if view.c_contiguous else view.tobytes()).hexdigest()
    return Fingerprint(id=f"{prefix(bytes_only=True)}:{digest[:32]}", bytes_id=digest, size_bytes=view.nbytes)


def table_of(data: Any, *, table: str | None = None, query: str | None = None) -> Table:
    """The table that data in memory are, or a database's.

    Raises:
        UsageError: they are none.
    """
    libraries = {kind.__module__.partition(".")[0] for kind in type(data).__mro__}
    if table is not None or query is not None or hasattr(data, "cursor"):
        from mlsdk.data.sql import sql_table

        return sql_table(data, table=table, query=query)
    if "datasets" in libraries and "datasets" in sys.modules:
        from mlsdk.data.rows import hugging_face_table

        return hugging_face_table(data)
    if "torch" in libraries:
        return _of_torch(data)
    if libraries & {"pandas", "polars", "pyarrow"}:
        return _of_frame(data, libraries)
    if "numpy" in libraries:
        from mlsdk.data.arrays import array_table

        return array_table(data)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        from mlsdk.data.frames import arrow_table

        return arrow_table(data)
    return _of_python(data)


def _of_torch(data: Any) -> Table:
    if hasattr(data, "layout") and hasattr(data, "detach"):
        from mlsdk.data.arrays import tensor_table

        return tensor_table(data)
    if type(data).__name__ == "TensorDataset":
        from mlsdk.data.arrays import columns_table

        return columns_table(tuple(data.tensors))
    if hasattr(data, "__getitem__") or hasattr(data, "__iter__"):
        from mlsdk.data.rows import torch_table

        return torch_table(data)
    raise _unknown(data)


def _of_frame(data: Any, libraries: set[str]) -> Table:
    from mlsdk.data import frames

    if hasattr(data, "ngroups") or not any(
        hasattr(data, name)
        for name in ("shape", "num_rows", "to_batches", "read_next_batch", "type", "collect", "dtype")
    ):
        raise _unknown(data)
    if "pandas" in libraries:
        return frames.pandas_table(data)
    return frames.polars_table(data) if "polars" in libraries else frames.arrow_table(data)


def _of_python(data: Any) -> Table:
    from mlsdk.data import arrays, rows

    if isinstance(data, Mapping):
        return arrays.columns_table(data)
    if isinstance(data, tuple) and any(map(_is_array, data)):
        # (X, y): columns, though a tuple of tuples is rows.
        return arrays.columns_table(data)
    if hasattr(data, "__array__") or hasattr(data, "typecode"):
        return arrays.array_table(data)
    if isinstance(data, Iterable):
        return rows.rows_table(data)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return rows.torch_table(data)
    raise _unknown(data)


def _is_array(data: Any) -> bool:
    """Whether something is an array of any library, rather than a row."""
    return len(getattr(data, "shape", ())) > 0 or hasattr(data, "to_pylist")


def _unknown(data: Any) -> UsageError:
    kind = type(data)
    return UsageError(
        f"{kind.__module__}.{kind.__qualname__} is no data that can be fingerprinted; "
        "give a path, a frame, an array, a data set, or a list of rows"
    )
