"""What is kept of data: a fingerprint, in a few hundred bytes, and the hashes of its rows for comparing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from mlsdk.data.compare import DataDiff, Overlap

KEPT_ROWS = 5_000_000
"""Row hashes are kept up to so many rows (40 MB); of more rows, one digest for every `CHUNK_ROWS`."""

CHUNK_ROWS = 65_536

KEPT_CELLS = 32_000_000
"""With a key, 16 bits of the hash of each cell are kept up to so many cells (64 MB)."""


@attrs.frozen
class ColumnFingerprint:
    """One column: what it is called, what it holds, and two digests of its values."""

    name: str
    type: str
    """The logical type in the source: `int32`, `float64`, `text`, `timestamp[us, Europe/Berlin]`, …"""
    nullable: bool
    kind: str
    """What its values are: `number`, `bool`, `text`, …; `null` where none is there; of several kinds: `number|text`."""
    missing: int
    """How many of its values are missing (null, None, NaN, NaT)."""
    ordered: str
    """Two sums over the hashes of the values, weighed by their places, 32 hex digits."""
    unordered: str
    """The sum of the hashes of the values, in any order, 16 hex digits."""


def prefix(*, decimals: int | None = None, sample: int | None = None, bytes_only: bool = False) -> str:
    """How the id of such a fingerprint begins: whatever makes it less than exact stands in the id itself.

    >>> prefix(sample=10_000, decimals=6)
    'mlfp1-head10000-d6'
    """
    parts = ["mlfp1"]
    if bytes_only:
        parts.append("bytes")
    if sample is not None:
        parts.append(f"head{sample}")
    if decimals is not None:
        parts.append(f"d{decimals}")
    return "-".join(parts)


@attrs.frozen(eq=False)
class Fingerprint:
    """What data were, exactly: every row counts unless the id itself says otherwise.

    Two fingerprints are equal (`==`) where the ordered content is the same: the same columns in the same order, the
    same values in the same rows. Types may differ: int32 and int64 of equal values are equal, and `schema_id` tells
    them apart.
    """

    id: str
    """`mlfp1:` and 32 hex digits over the ordered content; `mlfp1-head10000:` of the first 10,000 rows, `mlfp1-d6:` of
    numbers rounded to 6 decimals, `mlfp1-bytes:` of bytes that were not read as rows."""
    rows: int | None = None
    columns: tuple[ColumnFingerprint, ...] = ()
    content_id: str | None = None
    """Names in order and the columns' ordered digests."""
    rows_id: str | None = None
    """The rows in any order, the columns in any order: count and two sums over the row hashes."""
    schema_id: str | None = None
    """Names, logical types, nullability and time zones, in order."""
    bytes_id: str | None = None
    """SHA-256 of the bytes, where the source is bytes: the only id that holds against somebody who wants to deceive."""
    size_bytes: int | None = None
    name: str | None = None
    key: tuple[str, ...] = ()
    """The columns that name a row."""
    decimals: int | None = None
    sample: int | None = None
    notes: tuple[str, ...] = ()
    """What could not be read, and why, in plain sentences: no part of any id."""
    row_hashes: Sequence[int] | None = attrs.field(default=None, repr=False)
    """64-bit hashes of all rows, in their order; with a key, in the order of `key_hashes`. A numpy array where numpy
    was at hand, an `array.array` otherwise. None beyond 5,000,000 rows."""
    key_hashes: Sequence[int] | None = attrs.field(default=None, repr=False)
    """With a key: the sorted hashes of the rows' keys."""
    key_values: Sequence[Any] | None = attrs.field(default=None, repr=False)
    """With a key: the keys themselves, in the order of `key_hashes`; tuples where the key has several columns."""
    cell_hashes: Sequence[int] | None = attrs.field(default=None, repr=False)
    """With a key: 16 bits of the hash of each cell, one column behind the other, in the order of `key_hashes`, so that
    of rows that changed it is known where. None beyond 32,000,000 cells."""
    chunk_digests: Sequence[int] | None = attrs.field(default=None, repr=False)
    """Beyond 5,000,000 rows: the sum of the row hashes of every 65,536 rows, in their order."""

    def __eq__(self, other: object) -> bool:
        """Whether the ordered content is the same."""
        return self.id == other.id if isinstance(other, Fingerprint) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id

    def compare(self, other: Fingerprint) -> DataDiff:
        """What changed from this to the other: a level, the columns, the number of rows.

        Example::

            before = mlsdk.fingerprint({"x": [1, 2, 3]})
            print(before.compare(mlsdk.fingerprint({"x": [1, 2, 4]})).changed_columns)

        prints::

            ('x',)
        """
        from mlsdk.data.compare import compare

        return compare(self, other)

    def overlap(self, other: Fingerprint) -> Overlap:
        """Which rows are in both, as between data to train on and data to test on."""
        from mlsdk.data.compare import overlap

        return overlap(self, other)
