"""What changed between two fingerprints: a level, the columns, how many rows; and which rows two share.

Rows are compared by their 64-bit hashes, so figures are exact save for a chance of about n²/2^65 that two different
rows of n have one hash (1 in 37 million for a million rows).
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

import attrs

from mlsdk.data.mixing import numpy_for
from mlsdk.data.record import CHUNK_ROWS, ColumnFingerprint, Fingerprint
from mlsdk.data.stored import whole
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
    """Columns of both whose values changed. Exact where no
    rows were added or removed and the order of the rows is the same; otherwise columns whose values, taken together,
    are others."""
    added_columns: tuple[str, ...] = ()
    removed_columns: tuple[str, ...] = ()
    retyped_columns: tuple[str, ...] = ()
    """Columns of both with another type; their values may be equal."""
    changed_rows: int | None = 0
    added_rows: int | None = 0
    removed_rows: int | None = 0
    changed_keys: tuple[Any, ...] = ()
    added_keys: tuple[Any, ...] = ()
    removed_keys: tuple[Any, ...] = ()
    about: bool = False
    """Whether the numbers of rows are estimates: of more than 5,000,000 rows only a digest for each 65,536 is kept."""

    def __str__(self) -> str:
        lines = [str(self.level)]
        rows = {"changed": self.changed_rows, "added": self.added_rows, "removed": self.removed_rows}
        counted = [f"{number:,} {what}" for what, number in rows.items() if number]
        if None in rows.values():
            lines.append("rows: how many changed is not known")
        elif counted:
            lines.append(f"rows: {'about ' if self.about else ''}{', '.join(counted)}")
        for what in ("changed", "added", "removed"):
            keys = getattr(self, f"{what}_keys")
            if keys:
                lines.append(f"{what} keys: {_some([str(key) for key in keys])}")
        for what in ("changed", "added", "removed", "retyped"):
            names = getattr(self, f"{what}_columns")
            # Rows that came or went change the sums of every column, so that no more can be said.
            called = "columns that differ" if what == "changed" and len(counted) > 1 else f"{what} columns"
            if names:
                lines.append(f"{called}: {_some(names)}")
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


class _Rows(NamedTuple):
    """How many rows changed, and which."""

    changed: int | None = 0
    added: int | None = 0
    removed: int | None = 0
    changed_keys: tuple[Any, ...] = ()
    added_keys: tuple[Any, ...] = ()
    removed_keys: tuple[Any, ...] = ()
    about: bool = False
    in_place: bool = False
    """Whether all other rows are where they were."""


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
    rows = _Rows() if same_rows else _rows(old, new) if tables else _Rows(None, None, None)
    here = {column.name: column for column in old.columns}
    there = {column.name: column for column in new.columns}
    return DataDiff(
        level=_level(same_bytes, same_content, same_rows, same_schema),
        same_bytes=same_bytes,
        same_content=same_content,
        same_rows=same_rows,
        same_schema=same_schema,
        changed_columns=() if same_rows or not tables else _changed(here, there, rows),
        added_columns=tuple(name for name in there if name not in here) if tables else (),
        removed_columns=tuple(name for name in here if name not in there) if tables else (),
        retyped_columns=tuple(name for name in here if name in there and here[name].type != there[name].type),
        changed_rows=rows.changed,
        added_rows=rows.added,
        removed_rows=rows.removed,
        changed_keys=rows.changed_keys,
        added_keys=rows.added_keys,
        removed_keys=rows.removed_keys,
        about=rows.about,
    )


def overlap(one: Fingerprint, other: Fingerprint) -> Overlap:
    """Which rows of one are in the other.

    Raises:
        UsageError: the two cannot have a row in common (other columns), or the hashes of their rows were not kept.
    """
    _must_fit(one, other)
    for fingerprint in (one, other):
        if fingerprint.row_hashes is None:
            raise UsageError(
                f"the hashes of the rows of {fingerprint.name or fingerprint.id} were not kept: it has "
                f"{'no rows that could be read' if fingerprint.rows is None else f'{fingerprint.rows:,} rows'}; "
                "overlap needs tables of at most 5,000,000 rows: fingerprint parts of it"
            )
    names, others = ({column.name for column in fingerprint.columns} for fingerprint in (one, other))
    if names != others:
        raise UsageError(
            f"no row can be in both: only one has the columns {_some(sorted(names ^ others))}; "
            "fingerprint both without these columns"
        )
    rows, rows_of_other, distinct = _shared(one.row_hashes, other.row_hashes)
    return Overlap(
        rows=rows,
        rows_of_other=rows_of_other,
        distinct=distinct,
        share_of_self=rows / one.rows if one.rows else 0.0,
        share_of_other=rows_of_other / other.rows if other.rows else 0.0,
        exact=one.sample is None and one.decimals is None,
    )


def _must_fit(old: Fingerprint, new: Fingerprint) -> None:
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


def _changed(
    here: Mapping[str, ColumnFingerprint], there: Mapping[str, ColumnFingerprint], rows: _Rows
) -> tuple[str, ...]:
    """Columns of both with other values."""
    both = [name for name in here if name in there]
    moved = tuple(name for name in both if here[name].ordered != there[name].ordered)
    if rows.changed is None or (rows.in_place and set(here) == set(there)):
        return moved
    if not rows.changed and set(here) == set(there):
        return ()
    other = tuple(name for name in both if here[name].unordered != there[name].unordered)
    # Values that only changed places leave the sums as they were; then the order is all there is to go by.
    return other or (moved if set(here) == set(there) else ())


def _rows(old: Fingerprint, new: Fingerprint) -> _Rows:
    """How many rows changed."""
    if old.row_hashes is not None and new.row_hashes is not None:
        gone, come, in_place = _only(old.row_hashes, new.row_hashes)
        if not (old.key and old.key == new.key and _has_keys(old) and _has_keys(new)):
            changed = min(len(gone), len(come))
            in_place = in_place and not old.key and not new.key
            return _Rows(changed, len(come) - changed, len(gone) - changed, in_place=in_place)
        # Hashes with a key lie in the order of the keys, so it is the key's own columns that tell the order of the
        # rows.
        before, after = ({one.name: one.ordered for one in each.columns} for each in (old, new))
        return _by_key(
            _keys(old, gone), _keys(new, come), in_place=all(before[name] == after[name] for name in old.key)
        )
    if old.chunk_digests is not None and new.chunk_digests is not None:
        return _by_chunk(old, new)
    return _Rows(None, None, None)


def _has_keys(fingerprint: Fingerprint) -> bool:
    return fingerprint.key_hashes is not None and fingerprint.key_values is not None


def _keys(fingerprint: Fingerprint, places: Sequence[int]) -> list[tuple[int, Any]]:
    """Hash and value of the keys of some rows."""
    if fingerprint.key_hashes is None or fingerprint.key_values is None:
        return []
    hashes, values = whole(fingerprint.key_hashes), whole(fingerprint.key_values)
    return [(int(hashes[place]), _python(values[place])) for place in places]


def _python(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _by_key(gone: list[tuple[int, Any]], come: list[tuple[int, Any]], *, in_place: bool) -> _Rows:
    """Rows told apart by their keys; of a key that is there several times, as many as possible are changed ones."""
    before, after = Counter(key for key, _ in gone), Counter(key for key, _ in come)
    both = before & after
    values = dict(gone) | dict(come)
    added, removed = after - both, before - both
    return _Rows(
        changed=sum(both.values()),
        added=sum(added.values()),
        removed=sum(removed.values()),
        changed_keys=_sorted([values[key] for key in both]),
        added_keys=_sorted([values[key] for key in added]),
        removed_keys=_sorted([values[key] for key in removed]),
        in_place=in_place,
    )


def _sorted(keys: list[Any]) -> tuple[Any, ...]:
    """In their own order where they have one."""
    try:
        return tuple(sorted(keys))
    except TypeError:
        return tuple(sorted(keys, key=repr))


def _only(old: Sequence[int], new: Sequence[int]) -> tuple[Sequence[int], Sequence[int], bool]:
    """Places of the rows that only the one has, and only the other; whether all others are where they were."""
    old, new = whole(old), whole(new)
    np = numpy_for(len(old) + len(new))
    if np is not None:
        old, new = np.asarray(old, np.uint64), np.asarray(new, np.uint64)
        # Most often values changed in place, or rows came at the end: only rows that differ in place need sorting.
        least = min(len(old), len(new))
        moved = np.flatnonzero(old[:least] != new[:least])
        before, after = (np.concatenate([moved, np.arange(least, len(rows))]) for rows in (old, new))
        lost, found = _only_numpy(np, old[before], new[after])
        return before[lost], after[found], len(old) == len(new) and len(lost) == len(moved)
    old, new = list(map(int, old)), list(map(int, new))
    gone, come = _without(old, new), _without(new, old)
    return gone, come, len(old) == len(new) and sum(map(operator.ne, old, new)) == len(gone)


def _without(rows: Sequence[int], others: Sequence[int]) -> list[int]:
    """Places of the rows that the others do not have, or not as often."""
    spare = Counter(others)
    found = []
    for place, row in enumerate(rows):
        if spare[row] > 0:
            spare[row] -= 1
        else:
            found.append(place)
    return found


def _only_numpy(np: Any, old: Any, new: Any) -> tuple[Any, Any]:
    """As `_only`: the n-th of some equal rows is matched where the other has at least n of them."""
    orders = [np.argsort(rows) for rows in (old, new)]
    old, new = old[orders[0]], new[orders[1]]
    found = []
    for mine, theirs, order in ((old, new, orders[0]), (new, old, orders[1])):
        nth = np.arange(len(mine)) - np.searchsorted(mine, mine, "left")
        of_theirs = np.searchsorted(theirs, mine, "right") - np.searchsorted(theirs, mine, "left")
        found.append(np.sort(order[nth >= of_theirs]))
    return found[0], found[1]


def _shared(one: Sequence[int] | None, other: Sequence[int] | None) -> tuple[int, int, int]:
    """Rows of the one that are in the other, rows of the other that are in the one, and different rows in both."""
    one, other = (() if rows is None else whole(rows) for rows in (one, other))
    np = numpy_for(len(one) + len(other))
    if np is None:
        mine, theirs = Counter(one), Counter(other)
        both = mine.keys() & theirs.keys()
        return sum(mine[row] for row in both), sum(theirs[row] for row in both), len(both)
    mine, mine_often = np.unique(np.asarray(one, np.uint64), return_counts=True)
    theirs, theirs_often = np.unique(np.asarray(other, np.uint64), return_counts=True)
    both, in_mine, in_theirs = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
    return int(mine_often[in_mine].sum()), int(theirs_often[in_theirs].sum()), len(both)


def _by_chunk(old: Fingerprint, new: Fingerprint) -> _Rows:
    """An estimate from the digests of chunks: rows that changed at random would hit so many chunks.

    With n chunks of which m differ, -n log(1 - m/n) rows are expected to have changed (Whang 1990, linear counting).
    """
    before, after = (() if each.chunk_digests is None else whole(each.chunk_digests) for each in (old, new))
    rows_before, rows_after = old.rows or 0, new.rows or 0
    count = min(rows_before, rows_after) // CHUNK_ROWS
    differ = sum(int(one) != int(other) for one, other in zip(before[:count], after[:count], strict=True))
    changed = count * CHUNK_ROWS if differ == count else max(differ, round(-count * math.log(1 - differ / count)))
    if rows_before == rows_after and not differ:
        changed = 1
    return _Rows(changed, max(0, rows_after - rows_before), max(0, rows_before - rows_after), about=True)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
