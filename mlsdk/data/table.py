"""What every reader of data makes of its source: named columns, and batches of their values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Column(NamedTuple):
    """A column of a table."""

    name: str
    type: str
    """Logical type in the words of `docs/data.md`: `int32`, `float64`, `text`, `timestamp[us, Europe/Berlin]`, …"""
    nullable: bool = True
    """False only where the source itself declares that nothing can be missing."""


class Table(NamedTuple):
    """A source of rows, read once from the beginning to the end, a batch at a time."""

    columns: Sequence[Column]
    batches: Iterable[Sequence[object]]
    """Each batch holds one array a column, all of one length: a pyarrow, numpy, pandas or polars array, or a list."""
