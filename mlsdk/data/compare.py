"""What changed between two fingerprints: a level, the columns, how many rows; and which rows two share.

Rows are compared by their 64-bit hashes, so figures are exact save for a chance of about n²/2^65 that two different
rows of n have one hash (1 in 37 million for a million rows).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import attrs

from mlsdk.data.record import ColumnFingerprint, Fingerprint
from mlsdk.data.rowdiff import RowDiff, changed_rows, shared
from mlsdk.errors import UsageError

_SHOWN = 5


class Level(str, Enum):
    """How much two fingerprints have in common; the first that holds."""

    BYTES = "same bytes"
    CONTENT = "same ordered content"
    ROWS = "same rows in another order"
    SCHEMA = "same schema"
    DIFFERENT = "different"

    def __str__(self) -> str:
        return self.value


@attrs.frozen
class DataDiff:
    """What changed from an older fingerprint to a newer one.

    The numbers of rows exclude one another. With a key, `changed_rows` have the key of a row that was there before.
    Without one, rows that are only in the older are paired with rows that are only in the newer: the smaller number
    counts as changed, the rest as added or removed. None = it cannot be known from these fingerprints.
    """

    level: Level
    same_bytes: bool
    """False also where one of the two is not made of bytes."""
    same_content: bool
    """The same values in the same order; types may differ (`same_schema`)."""
    same_rows: bool
    """The same rows, each as often, in whatever order of rows and columns."""
    same_schema: bool
    changed_columns: tuple[str, ...] = ()
    """Columns of both in which rows changed."""
    columns_exact: bool = True
    """False where no key tells which rows changed, and others came, went or moved as well: then `changed_columns` are
    those whose values, taken together, are others."""
    added_columns: tuple[str, ...] = ()
    removed_columns: tuple[str, ...] = ()
    retyped_columns: tuple[str, ...] = ()
    """Columns of both with another type, or that may hold missing values in one only; their values may be equal."""
    reordered_columns: bool = False
    """Whether the columns are the same ones in another order."""
    changed_rows: int | None = 0
    added_rows: int | None = 0
    removed_rows: int | None = 0
    changed_keys: tuple[Any, ...] = ()
    added_keys: tuple[Any, ...] = ()
    removed_keys: tuple[Any, ...] = ()
    about: bool = False
    """Whether the numbers of rows are estimates: of more than 5,000,000 rows only a digest for each 65,536 is kept."""
    exact: bool = True
    """False for samples and rounded numbers (but not where the bytes are the same): all above holds for them alone."""

    def __str__(self) -> str:
        lines = [str(self.level) + ("" if self.exact else ", of what was looked at")]
        rows = {"changed": self.changed_rows, "added": self.added_rows, "removed": self.removed_rows}
        counted = [f"{number:,} {what}" for what, number in rows.items() if number]
        if None in rows.values():
            lines.append("rows: how many changed is not known")
        elif counted:
            lines.append(f"rows: {'about ' if self.about else ''}{', '.join(counted)}")
        for what in ("changed", "added", "removed"):
            keys = getattr(self, f"{what}_keys")
            if keys:
                lines.append(f"{what} keys: {_some([_shown(key) for key in keys])}")
        for what in ("changed", "added", "removed", "retyped"):
            names = getattr(self, f"{what}_columns")
            called = f"{what} columns" if what != "changed" or self.columns_exact else "columns that differ"
            if names:
                lines.append(f"{called}: {_some(names)}")
        if self.reordered_columns:
            lines.append("columns in another order")
        return "\n".join(lines)


@attrs.frozen
class Overlap:
    """Which rows of one data set are in another: what leaks from the data to train on into those to test on."""

    rows: int
    """Rows of this that are in the other too; each counts, duplicates too."""
    rows_of_other: int
    """Rows of the other that are in this too; each counts, duplicates too."""
    distinct: int
    """Different rows that are in both."""
    share_of_self: float
    """`rows` as a share of all rows of this, 0 to 1."""
    share_of_other: float
    exact: bool
    """False for samples and rounded numbers."""

    def __str__(self) -> str:
        how = "" if self.exact else " of what was looked at"
        return (
            f"{self.rows:,} rows ({self.share_of_self:.4%}){how} are in the other, "
            f"where they are {self.rows_of_other:,} ({self.share_of_other:.4%}); {self.distinct:,} different ones"
        )


def compare(old: Fingerprint, new: Fingerprint) -> DataDiff:
    """What changed from the older to the newer.

    Raises:
        UsageError: one is of a sample, or of rounded numbers, and the other is not.
        FormatError: one was stored, and its stored form is damaged.
    """
    _must_fit(old, new)
    same_bytes = old.bytes_id is not None and old.bytes_id == new.bytes_id
    same_content = old.id == new.id
    tables = old.rows_id is not None and new.rows_id is not None
    same_rows = same_content or (tables and old.rows_id == new.rows_id)
    same_schema = old.schema_id == new.schema_id and (tables or same_content)
    if same_rows or (same_bytes and not tables):
        rows = RowDiff()
    else:
        rows = changed_rows(old, new) if tables else RowDiff(None, None, None)
    here = {column.name: column for column in old.columns}
    there = {column.name: column for column in new.columns}
    columns, are_exact = _changed(here, there, rows, old.rows) if tables else ((), True)
    return DataDiff(
        level=_level(same_bytes, same_content, same_rows, same_schema),
        same_bytes=same_bytes,
        same_content=same_content,
        same_rows=same_rows,
        same_schema=same_schema,
        changed_columns=columns,
        columns_exact=are_exact,
        added_columns=tuple(name for name in there if name not in here) if tables else (),
        removed_columns=tuple(name for name in here if name not in there) if tables else (),
        retyped_columns=tuple(name for name in here if name in there and _type(here[name]) != _type(there[name])),
        reordered_columns=here.keys() == there.keys() and list(here) != list(there),
        changed_rows=rows.changed,
        added_rows=rows.added,
        removed_rows=rows.removed,
        changed_keys=rows.changed_keys,
        added_keys=rows.added_keys,
        removed_keys=rows.removed_keys,
        about=rows.about,
        exact=same_bytes or _is_whole(old),
    )


def overlap(one: Fingerprint, other: Fingerprint) -> Overlap:
    """Which rows of one are in the other.

    Raises:
        UsageError: the two cannot have a row in common (other columns), or the hashes of their rows were not kept.
    """
    _must_fit(one, other)
    hashes = []
    for fingerprint in (one, other):
        if fingerprint.row_hashes is None:
            raise UsageError(
                f"the hashes of the rows of {fingerprint.name or fingerprint.id} were not kept: it has "
                f"{'no rows that could be read' if fingerprint.rows is None else f'{fingerprint.rows:,} rows'}; "
                "overlap needs tables of at most 5,000,000 rows: fingerprint parts of it"
            )
        hashes.append(fingerprint.row_hashes)
    names, others = ({column.name for column in fingerprint.columns} for fingerprint in (one, other))
    if names != others:
        raise UsageError(
            f"no row can be in both: only one has the columns {_some(sorted(names ^ others))}; "
            "fingerprint both without these columns"
        )
    rows, rows_of_other, distinct = shared(*hashes)
    return Overlap(
        rows=rows,
        rows_of_other=rows_of_other,
        distinct=distinct,
        share_of_self=rows / one.rows if one.rows else 0.0,
        share_of_other=rows_of_other / other.rows if other.rows else 0.0,
        exact=_is_whole(one),
    )


def _is_whole(fingerprint: Fingerprint) -> bool:
    return fingerprint.sample is None and fingerprint.decimals is None


def _must_fit(old: Fingerprint, new: Fingerprint) -> None:
    if not isinstance(new, Fingerprint):
        raise UsageError(f"a {type(new).__qualname__} is no fingerprint; make one of it by mlsdk.fingerprint(...)")
    for what in ("sample", "decimals"):
        before, after = getattr(old, what), getattr(new, what)
        if before != after and old.rows is not None and new.rows is not None:
            raise UsageError(
                f"cannot compare {old.id.partition(':')[0]} with {new.id.partition(':')[0]}: {what}={before!r} and "
                f"{what}={after!r}; make both fingerprints with the same {what}="
            )


def _level(same_bytes: bool, same_content: bool, same_rows: bool, same_schema: bool) -> Level:
    if same_bytes:
        return Level.BYTES
    if same_content:
        return Level.CONTENT
    if same_rows:
        return Level.ROWS
    return Level.SCHEMA if same_schema else Level.DIFFERENT


def _type(column: ColumnFingerprint) -> tuple[str, bool]:
    return column.type, column.nullable


def _changed(
    here: Mapping[str, ColumnFingerprint], there: Mapping[str, ColumnFingerprint], rows: RowDiff, count: int | None
) -> tuple[tuple[str, ...], bool]:
    """Columns of both in which some of so many rows changed, and whether it is certain that these are the ones."""
    if not rows.changed and rows.changed is not None:
        return (), True
    both = [name for name in here if name in there]
    alike = here.keys() == there.keys()
    moved = tuple(name for name in both if here[name].ordered != there[name].ordered)
    sums = tuple(name for name in both if here[name].unordered != there[name].unordered)
    came_or_went = bool(rows.added or rows.removed)
    if rows.columns:
        # Rows that came or went change the sums of every column; then only the changed rows themselves can tell.
        known = rows.columns if came_or_went else rows.columns.union(sums)
        return tuple(name for name in both if name in known), True
    if rows.changed is None or (rows.in_place and alike):
        return moved, rows.in_place
    if rows.changed == count and not came_or_went and len(moved) < len(both):
        # No row is as it was, but some columns are: it is likely that all rows are where they were.
        return moved, alike and moved == sums
    # Values that only changed places leave the sums as they were; then the order is all there is to go by.
    return sums or (moved if alike else ()), alike and not came_or_went and (rows.changed == 1 or moved == sums)


def _shown(key: Any) -> str:
    return f"({', '.join(map(str, key))})" if isinstance(key, tuple) else str(key)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
