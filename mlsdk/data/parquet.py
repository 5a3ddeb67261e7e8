"""Parquet, Arrow and Feather files, and JSON lines, as tables: batch by batch, in bounded memory.

pyarrow reads them, polars where only that is installed. Without either they are known by their bytes alone. JSON
lines are read by the standard library: each line is an object, its names in the order in which they first come, over
the whole file.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from mlsdk.data.delimited import NotATable
from mlsdk.data.frames import arrow_columns, polars_table
from mlsdk.data.table import Column, Table

_ROWS = 16_384
_BYTES = 4 << 20
"""A batch has so many rows, or fewer where these are about so many bytes: cells may be images."""


def read_parquet(path: str) -> Table:
    """A Parquet file, one row group after the other.

    Raises:
        NotATable: it is damaged, or nothing that reads Parquet is installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        return _by_polars(path, "scan_parquet")
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # Without the pre-buffer a column is in memory a page at a time, not a row group.
        file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BYTES)
        schema, groups = file.schema_arrow, [file.metadata.row_group(at) for at in range(file.num_row_groups)]
        size = sum(group.total_byte_size for group in groups)
        rows = max(1, min(_ROWS, _BYTES * file.metadata.num_rows // max(size, 1)))
    except (pa.ArrowException, OSError) as error:
        raise NotATable(f"it cannot be read as Parquet: {error}") from error

    def batches() -> Iterator[Sequence[Any]]:
        try:
            for batch in file.iter_batches(rows):
                yield batch.columns
        except (pa.ArrowException, OSError) as error:
            raise NotATable(f"it cannot be read as Parquet: {error}") from error
        finally:
            file.close()

    return Table(arrow_columns(schema), batches())


def read_arrow(path: str) -> Table:
    """An Arrow or Feather file (version 2), or an Arrow stream.

    Raises:
        NotATable: it is damaged, or nothing that reads Arrow is installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        return _by_polars(path, "scan_ipc")
    import pyarrow as pa

    try:
        source = pa.OSFile(path)
        try:
            reader = pa.ipc.open_file(source)
            numbers: Iterator[Any] = (reader.get_batch(place) for place in range(reader.num_record_batches))
        except pa.ArrowInvalid:
            source.seek(0)
            reader = pa.ipc.open_stream(source)
            numbers = iter(reader)
    except (pa.ArrowException, OSError) as error:
        raise NotATable(f"it cannot be read as Arrow: {error}") from error

    def batches() -> Iterator[Sequence[Any]]:
        try:
            for batch in numbers:
                yield batch.columns
        except (pa.ArrowException, OSError) as error:
            raise NotATable(f"it cannot be read as Arrow: {error}") from error
        finally:
            source.close()

    return Table(arrow_columns(reader.schema), batches())


def _by_polars(path: str, scan: str) -> Table:
    if importlib.util.find_spec("polars") is None:
        raise NotATable("its rows need pyarrow or polars to be read: install mlsdk[frames]")
    import polars as pl

    try:
        frame = getattr(pl, scan)(path)
        columns = polars_table(frame.head(0).collect()).columns
    except (pl.exceptions.PolarsError, OSError) as error:
        raise NotATable(f"it cannot be read by polars: {error}") from error

    def batches() -> Iterator[Sequence[Any]]:
        start = 0
        while True:
            part = frame.slice(start, _ROWS).collect()
            if not part.height:
                return
            yield part.get_columns()
            start += part.height

    return Table(columns, batches())


def read_json_lines(path: str, *, compressed: bool = False) -> Table:
    """A file of JSON objects, one a line.

    Raises:
        NotATable: a line is no JSON object.
    """
    names: dict[str, None] = {}
    for row, _ in _objects(path, compressed):
        names.update(dict.fromkeys(row))

    def batches() -> Iterator[Sequence[Any]]:
        batch: list[dict[str, Any]] = []
        size = 0
        for row, length in _objects(path, compressed):
            batch.append(row)
            size += length
            if len(batch) == _ROWS or size > _BYTES:
                yield [[one.get(name) for one in batch] for name in names]
                batch, size = [], 0
        if batch:
            yield [[one.get(name) for one in batch] for name in names]

    return Table([Column(name, "") for name in names], batches())


def _objects(path: str, compressed: bool) -> Iterator[tuple[dict[str, Any], int]]:
    """The objects, with the lengths of their lines."""
    try:
        with gzip.open(path, "rb") if compressed else open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise NotATable(f"line {number} is no JSON: {error}") from error
                if not isinstance(row, dict):
                    raise NotATable(f"line {number} is no JSON object but {type(row).__name__}")
                yield row, len(line)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NotATable(f"it cannot be decompressed: {error}") from error
