"""Which rows two tables share, and which only one has, by their hashes; the same in numpy and without it."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from mlsdk.data.mixing import numpy_for
from mlsdk.data.record import CHUNK_ROWS, Fingerprint
from mlsdk.data.stored import whole


class RowDiff(NamedTuple):
    """How many rows changed, and which."""

    changed: int | None = 0
    added: int | None = 0
    removed: int | None = 0
    changed_keys: tuple[Any, ...] = ()
    added_keys: tuple[Any, ...] = ()
    removed_keys: tuple[Any, ...] = ()
    about: bool = False
    in_place: bool = False
    """Whether there are other rows, and all of them are where they were."""
    columns: frozenset[str] | None = None
    """The columns in which changed rows differ; None where that is not known."""


class _Row(NamedTuple):
    """A row that only one side has."""

    place: int
    key: int
    key_value: Any


def changed_rows(old: Fingerprint, new: Fingerprint) -> RowDiff:
    """What became of the rows."""
    if old.row_hashes is not None and new.row_hashes is not None:
        gone, come, in_place = only(old.row_hashes, new.row_hashes)
        if not (old.key and old.key == new.key and _has_keys(old) and _has_keys(new)):
            changed = min(len(gone), len(come))
            in_place = in_place and not old.key and not new.key
            return RowDiff(changed, len(come) - changed, len(gone) - changed, in_place=in_place)
        return _by_key(old, new, _keyed(old, gone), _keyed(new, come))
    if old.chunk_digests is not None and new.chunk_digests is not None:
        return _by_chunk(old, new)
    return RowDiff(None, None, None)


# By key


def _has_keys(fingerprint: Fingerprint) -> bool:
    return fingerprint.key_hashes is not None and fingerprint.key_values is not None


def _keyed(fingerprint: Fingerprint, places: Sequence[int]) -> list[_Row]:
    if fingerprint.key_hashes is None or fingerprint.key_values is None:
        return []
    hashes, values = whole(fingerprint.key_hashes), whole(fingerprint.key_values)
    return [_Row(int(place), int(hashes[place]), _python(values[place])) for place in places]


def _python(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _by_key(old: Fingerprint, new: Fingerprint, gone: list[_Row], come: list[_Row]) -> RowDiff:
    """Rows told apart by their keys; of a key that is there several times, as many as possible are changed ones."""
    before, after = Counter(row.key for row in gone), Counter(row.key for row in come)
    both = before & after
    added, removed = after - both, before - both
    values = {row.key: row.key_value for row in (*gone, *come)}
    # Hashes with a key lie in the order of the keys: only the key's own columns tell the order of the rows.
    ordered = [{one.name: one.ordered for one in each.columns} for each in (old, new)]
    return RowDiff(
        changed=sum(both.values()),
        added=sum(added.values()),
        removed=sum(removed.values()),
        changed_keys=_sorted([values[key] for key in both]),
        added_keys=_sorted([values[key] for key in added]),
        removed_keys=_sorted([values[key] for key in removed]),
        in_place=all(ordered[0][name] == ordered[1][name] for name in old.key),
        columns=_columns(old, new, gone, come),
    )


def _sorted(keys: list[Any]) -> tuple[Any, ...]:
    """In their own order where they have one, what is missing last."""
    try:
        return tuple(sorted(keys, key=lambda key: (key is None, key)))
    except TypeError:
        return tuple(sorted(keys, key=repr))


def _columns(old: Fingerprint, new: Fingerprint, gone: list[_Row], come: list[_Row]) -> frozenset[str] | None:
    """The columns of both in which rows of one key differ; None where keys name several rows, or cells are gone."""
    before, after = {row.key: row.place for row in gone}, {row.key: row.place for row in come}
    if old.cell_hashes is None or new.cell_hashes is None or len(before) < len(gone) or len(after) < len(come):
        return None
    both = [key for key in before if key in after]
    places_before: Any = [before[key] for key in both]
    places_after: Any = [after[key] for key in both]
    there = {column.name: index for index, column in enumerate(new.columns)}
    cells_before: Any = whole(old.cell_hashes)
    cells_after: Any = whole(new.cell_hashes)
    rows_before, rows_after = old.rows or 0, new.rows or 0
    np = numpy_for(len(both) * len(there))
    if np is not None:
        cells_before, cells_after = np.asarray(cells_before), np.asarray(cells_after)
        places_before, places_after = np.asarray(places_before, np.int64), np.asarray(places_after, np.int64)
    found = set()
    for index, column in enumerate(old.columns):
        if column.name not in there:
            continue
        start_before, start_after = index * rows_before, there[column.name] * rows_after
        if np is not None:
            differ = (cells_before[start_before + places_before] != cells_after[start_after + places_after]).any()
        else:
            differ = any(
                cells_before[start_before + one] != cells_after[start_after + other]
                for one, other in zip(places_before, places_after, strict=True)
            )
        if differ:
            found.add(column.name)
    return frozenset(found)


# By the rows alone


def only(old: Sequence[int], new: Sequence[int]) -> tuple[Sequence[int], Sequence[int], bool]:
    """Places of the rows that only the one has, and only the other; whether there are others, all where they were."""
    old, new = whole(old), whole(new)
    np = numpy_for(len(old) + len(new))
    if np is not None:
        old, new = np.asarray(old, np.uint64), np.asarray(new, np.uint64)
        # Most often values changed in place, or rows came at the end: only rows that differ in place need sorting.
        least = min(len(old), len(new))
        moved = np.flatnonzero(old[:least] != new[:least])
        before, after = (np.concatenate([moved, np.arange(least, len(rows))]) for rows in (old, new))
        lost, found = _only_numpy(np, old[before], new[after])
        return before[lost], after[found], len(old) == len(new) > len(lost) == len(moved)
    old, new = list(map(int, old)), list(map(int, new))
    gone, come = _without(old, new), _without(new, old)
    return gone, come, len(old) == len(new) > len(gone) == sum(map(operator.ne, old, new))


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
    """As `only`: the n-th of some equal rows is matched where the other has at least n of them."""
    orders = [np.argsort(rows) for rows in (old, new)]
    old, new = old[orders[0]], new[orders[1]]
    found = []
    for mine, theirs, order in ((old, new, orders[0]), (new, old, orders[1])):
        nth = np.arange(len(mine)) - np.searchsorted(mine, mine, "left")
        of_theirs = np.searchsorted(theirs, mine, "right") - np.searchsorted(theirs, mine, "left")
        found.append(np.sort(order[nth >= of_theirs]))
    return found[0], found[1]


def shared(one: Sequence[int], other: Sequence[int]) -> tuple[int, int, int]:
    """Rows of the one that are in the other, rows of the other that are in the one, and different rows in both."""
    one, other = whole(one), whole(other)
    np = numpy_for(len(one) + len(other))
    if np is None:
        mine, theirs = Counter(map(int, one)), Counter(map(int, other))
        both = mine.keys() & theirs.keys()
        return sum(mine[row] for row in both), sum(theirs[row] for row in both), len(both)
    mine, mine_often = np.unique(np.asarray(one, np.uint64), return_counts=True)
    theirs, theirs_often = np.unique(np.asarray(other, np.uint64), return_counts=True)
    both, in_mine, in_theirs = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
    return int(mine_often[in_mine].sum()), int(theirs_often[in_theirs].sum()), len(both)


# By chunks


def _by_chunk(old: Fingerprint, new: Fingerprint) -> RowDiff:
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
    in_place = rows_before == rows_after and differ < count
    added, removed = max(0, rows_after - rows_before), max(0, rows_before - rows_after)
    return RowDiff(changed, added, removed, about=True, in_place=in_place)
