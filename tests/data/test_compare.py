"""What changed between two fingerprints, against a slow and simple reference."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.data import rowdiff
from mlsdk.data.compare import DataDiff, Level, Overlap, compare, overlap
from mlsdk.data.digest import digest_table
from mlsdk.data.files import fingerprint_path
from mlsdk.data.frames import pandas_table
from mlsdk.data.record import CHUNK_ROWS, Fingerprint
from mlsdk.data.table import Column, Table
from mlsdk.errors import UsageError

Row = tuple[Any, ...]


def of(rows: list[Row], *names: str, **options: Any) -> Fingerprint:
    names = names or ("id", "a", "b")
    columns = [[row[place] for row in rows] for place in range(len(names))]
    return digest_table(Table([Column(name, "") for name in names], [columns]), **options)


def of_frame(frame: pd.DataFrame, **options: Any) -> Fingerprint:
    return digest_table(pandas_table(frame), **options)


def counts(diff: DataDiff) -> tuple[int | None, int | None, int | None]:
    return diff.changed_rows, diff.added_rows, diff.removed_rows


def twice(old: Fingerprint, new: Fingerprint) -> DataDiff:
    """The difference, by numpy and without it, which must agree."""
    with_numpy = compare(old, new)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rowdiff, "numpy_for", lambda cells: None)
        without = compare(old, new)
    assert with_numpy == without
    return with_numpy


small = st.integers(0, 3)
tables = st.lists(st.tuples(st.integers(0, 5), small, small), max_size=8)


# Rows


@given(tables, tables)
def test_rows_without_a_key(old: list[Row], new: list[Row]) -> None:
    """Changed, added and removed rows are those of the two multisets of rows."""
    gone, come = Counter(old) - Counter(new), Counter(new) - Counter(old)
    changed = min(sum(gone.values()), sum(come.values()))
    diff = twice(of(old), of(new))

    assert counts(diff) == (changed, sum(come.values()) - changed, sum(gone.values()) - changed)
    assert diff.same_rows == (not gone and not come)
    assert diff.same_content == (old == new)


@given(tables, tables)
def test_rows_with_a_key(old: list[Row], new: list[Row]) -> None:
    """With a key the changed, added and removed keys are named; keys may be there several times."""
    gone, come = Counter(old) - Counter(new), Counter(new) - Counter(old)
    keys_gone, keys_come = Counter[int](), Counter[int]()
    for row, count in gone.items():
        keys_gone[row[0]] += count
    for row, count in come.items():
        keys_come[row[0]] += count
    changed, added, removed = keys_gone & keys_come, keys_come - keys_gone, keys_gone - keys_come
    diff = twice(of(old, key="id"), of(new, key="id"))

    assert counts(diff) == (sum(changed.values()), sum(added.values()), sum(removed.values()))
    assert diff.changed_keys == tuple(sorted(changed))
    assert diff.added_keys == tuple(sorted(added))
    assert diff.removed_keys == tuple(sorted(removed))


@given(tables, st.randoms())
def test_order_is_no_change(rows: list[Row], random: Any) -> None:
    """The same rows in another order are the same rows, and nothing changed."""
    shuffled = random.sample(rows, len(rows))
    for options in ({}, {"key": "id"}):
        diff = twice(of(rows, **options), of(shuffled, **options))

        assert diff.same_rows
        assert counts(diff) == (0, 0, 0)
        assert diff.changed_columns == ()
        assert diff.level == (Level.CONTENT if rows == shuffled else Level.ROWS)


@given(tables, tables)
def test_a_difference_turned_round(old: list[Row], new: list[Row]) -> None:
    """From new to old the same rows changed, and added and removed change places."""
    there, back = twice(of(old, key="id"), of(new, key="id")), twice(of(new, key="id"), of(old, key="id"))

    assert (back.changed_keys, back.added_keys, back.removed_keys) == (
        there.changed_keys,
        there.removed_keys,
        there.added_keys,
    )
    assert back.level == there.level


def test_duplicates_in_pairs_count() -> None:
    """A row that is there twice instead of not at all is a change: pairs do not cancel out."""
    once, pairs = of([(1, 1, 1), (2, 2, 2)]), of([(1, 1, 1), (2, 2, 2), (3, 3, 3), (3, 3, 3)])

    assert counts(twice(once, pairs)) == (0, 2, 0)
    assert counts(twice(pairs, once)) == (0, 0, 2)


def test_few_of_a_million_rows() -> None:
    """1 or 1,000 changed rows of 1,000,000 are counted exactly, in the right columns, in place or turned round."""
    random = np.random.default_rng(3)
    frame = pd.DataFrame({name: random.normal(size=1_000_000) for name in "abc"})
    before = of_frame(frame)
    found = []
    for changed, step in ((1, 1), (1000, -1)):
        other = frame.copy()
        other.loc[random.choice(len(frame), changed, replace=False), "b"] += 1e-12
        diff = compare(before, of_frame(other.iloc[::step]))
        found.append((*counts(diff), diff.changed_columns, diff.about))

    assert found == [(changed, 0, 0, ("b",), False) for changed in (1, 1000)]


# Columns


@given(st.lists(st.tuples(small, small, small), min_size=1, max_size=6), st.data())
def test_columns_of_rows_in_place(rows: list[Row], data: st.DataObject) -> None:
    """Where rows keep their places, exactly the columns with another value are named, also if values only swapped."""
    new = list(rows)
    for place in data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=3)):
        new[place] = data.draw(st.tuples(small, small, small))
    names = ("x", "y", "z")
    really = tuple(name for at, name in enumerate(names) if any(a[at] != b[at] for a, b in zip(rows, new, strict=True)))
    diff = twice(of(rows, *names), of(new, *names))
    moved = sum(a != b for a, b in zip(rows, new, strict=True))

    if diff.changed_rows == moved:
        assert diff.changed_columns == really
    else:
        assert set(diff.changed_columns) <= set(really)


def test_a_column_shuffled_alone() -> None:
    """A column whose values changed places against the others is named, though its values are the same."""
    old = [(number, number, number) for number in range(10)]
    new = [(number, 9 - number, number) for number in range(10)]

    assert twice(of(old), of(new)).changed_columns == ("a",)
    assert twice(of(old, key="id"), of(new, key="id")).changed_columns == ("a",)


@given(tables, tables)
def test_columns_of_changed_keys(old: list[Row], new: list[Row]) -> None:
    """With a key exactly the columns in which rows of one key differ are named, whatever came, went or moved."""
    old, new = (list({row[0]: row for row in rows}.values()) for rows in (old, new))
    by_key = {row[0]: row for row in old}
    pairs = [(by_key[row[0]], row) for row in new if row[0] in by_key]
    really = tuple(name for at, name in enumerate(("id", "a", "b")) if any(one[at] != two[at] for one, two in pairs))
    diff = twice(of(old, key="id"), of(new, key="id"))

    assert diff.changed_columns == really
    assert diff.columns_exact


def test_columns_of_changed_keys_beside_another_column() -> None:
    """With a key the changed columns are told apart from a column that was added, in any order."""
    old, new = [(1, 5, 7), (2, 6, 8), (3, 0, 0)], [(2, 6, 9, 0), (1, 5, 7, 1)]
    diff = twice(of(old, key="id"), of(new, "id", "a", "b", "c", key="id"))

    assert (diff.changed_columns, diff.added_columns) == (("b",), ("c",))
    assert (diff.changed_rows, diff.removed_keys) == (2, (3,))


def test_columns_where_no_row_is_as_it_was() -> None:
    """A column changed from top to bottom is named alone, be the rows in place, shuffled, or short of a column."""
    old = [(number, number * 7 % 50, number * 3 % 50) for number in range(50)]
    new = [(number, -one - 1, other) for number, one, other in old]
    without = of([(number, one) for number, one, _ in new], "id", "a")
    swapped = [*old[1:2], *old[:1], *old[2:]]
    swapped = [(number, one, other) for (number, _, other), (_, one, _) in zip(old, swapped, strict=True)]

    assert (twice(of(old), of(new)).changed_columns, twice(of(old), of(new)).columns_exact) == (("a",), True)
    assert (twice(of(old), of(new[::-1])).changed_columns, twice(of(old), of(new[::-1])).columns_exact) == (
        ("a",),
        False,
    )
    assert (twice(of(old), without).changed_columns, twice(of(old), without).columns_exact) == (("a",), False)
    assert twice(of(old), of([row[:2] for row in swapped], "id", "a")).changed_columns == ("a",)


def test_columns_of_shuffled_rows_may_hide_a_swap() -> None:
    """Of rows that moved, a value that went from one row to another is not seen in the sums, and this is said."""
    old = [(number, number, number) for number in range(9)]
    new = [(number, {1: 2, 2: 1}.get(number, number), 77 if number == 5 else number) for number in range(9)]
    moved = twice(of(old), of(new[::-1]))

    assert twice(of(old), of(new)).changed_columns == ("a", "b")
    assert (moved.changed_columns, moved.columns_exact, moved.changed_rows) == (("b",), False, 3)


def test_columns_that_differ_without_a_key() -> None:
    """Without a key, where rows changed and came, the columns are those that differ, and this is said."""
    diff = twice(of([(1, 5, 7), (2, 6, 8)]), of([(1, 5, 7), (2, 6, 9), (3, 0, 8)]))

    assert (diff.changed_columns, diff.columns_exact) == (("id", "a", "b"), False)
    assert str(diff).endswith("columns that differ: id, a, b")


def test_very_many_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more cells than are kept, changed keys are named all the same, and columns as without a key."""
    monkeypatch.setattr("mlsdk.data.rowdigests.KEPT_CELLS", 5)
    one, other = of([(1, 5, 7), (2, 6, 8)], key="id"), of([(1, 5, 7), (2, 6, 9), (3, 0, 8)], key="id")
    diff = twice(one, other)

    assert one.cell_hashes is None
    assert (diff.changed_keys, diff.added_keys, diff.columns_exact) == ((2,), (3,), False)


def test_only_one_has_a_key() -> None:
    """Without a key on both sides rows are compared by themselves, and order is not taken for change."""
    old = [(1, 5, 7), (2, 6, 8)]
    diff = twice(of(old, key="id"), of([(2, 6, 9), (1, 5, 9)]))

    assert (counts(diff), diff.changed_keys, diff.changed_columns) == ((2, 0, 0), (), ("b",))


def test_columns_added_removed_retyped() -> None:
    """Columns that came, went or changed their type are told apart."""
    old = digest_table(pandas_table(pd.DataFrame({"a": [1, 2], "b": [1, 2], "c": ["x", "y"]})))
    new = digest_table(pandas_table(pd.DataFrame({"a": [1, 2], "b": [1.0, 2.0], "d": ["x", "y"]})))
    diff = twice(old, new)

    assert diff.level == "different"
    assert (diff.added_columns, diff.removed_columns, diff.retyped_columns) == (("d",), ("c",), ("b",))
    assert diff.changed_columns == ()


def test_columns_in_another_order() -> None:
    """Columns in another order are the same rows, not the same content."""
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    diff = twice(of_frame(frame), of_frame(frame[["b", "a"]]))

    assert diff.level == "same rows in another order"
    assert (diff.same_content, diff.same_rows, diff.same_schema) == (False, True, False)
    assert diff.reordered_columns
    assert str(diff).splitlines()[-1] == "columns in another order"
    assert not twice(of_frame(frame), of_frame(frame[["b"]])).reordered_columns


def test_another_nullability_is_another_type() -> None:
    """A column that may no longer be missing is named, so that it is seen why the schema is another."""
    old, new = (digest_table(Table([Column("a", "int64", nullable)], [[[1, 2]]])) for nullable in (True, False))
    diff = twice(old, new)

    assert (diff.same_content, diff.same_schema, diff.retyped_columns) == (True, False, ("a",))


def test_added_rows_change_no_column() -> None:
    """Where rows were only added, or only removed, no column is said to have changed."""
    diff = twice(of([(1, 1, 1)]), of([(1, 1, 1), (2, 2, 2)]))

    assert (diff.changed_columns, counts(diff)) == ((), (0, 1, 0))


# What cannot be known, or only about


def of_chunks(rows: int, *changed: int) -> Fingerprint:
    """As of very many rows; some chunks differ."""
    digests = list(range(-(-rows // CHUNK_ROWS)))
    for chunk in changed:
        digests[chunk] = -1 & 0xFFFF
    ids = {"id": f"mlfp1:{rows}{changed}", "rows_id": f"{rows}{changed}", "schema_id": "s"}
    return Fingerprint(**ids, rows=rows, chunk_digests=digests)


def test_very_many_rows_are_counted_about() -> None:
    """Above five million rows the numbers are estimates and say so."""
    before = of_chunks(100 * CHUNK_ROWS)
    few, more, all_of_them, longer = (
        compare(before, other)
        for other in (
            of_chunks(100 * CHUNK_ROWS, 3, 7),
            of_chunks(100 * CHUNK_ROWS, *range(50)),
            of_chunks(100 * CHUNK_ROWS, *range(100)),
            of_chunks(100 * CHUNK_ROWS + 10),
        )
    )

    assert (few.about, few.changed_rows) == (True, 2)
    assert more.changed_rows == 69
    assert all_of_them.changed_rows == 100 * CHUNK_ROWS
    assert counts(longer) == (0, 10, 0)
    assert "about 2 changed" in str(few)


def test_real_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fingerprints that really kept only chunks are compared, and one with all hashes against one without is not."""
    whole = of([(1, 1, 1)])
    monkeypatch.setattr("mlsdk.data.rowdigests.KEPT_ROWS", 1)
    one, other = of([(1, 1, 1), (2, 2, 2)]), of([(1, 1, 1), (2, 2, 3)])

    assert compare(one, other).about
    assert (compare(one, other).changed_rows or 0) >= 1
    assert counts(compare(whole, one)) == (None, None, None)
    assert "not known" in str(compare(whole, one))


def test_bytes_only(tmp_path: Any) -> None:
    """Two files that are no tables are the same bytes or different; no rows are made up."""
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).write_text(text)
    one, same, other = (fingerprint_path(tmp_path / name, cache=False) for name in "abc")

    assert compare(one, same).level == Level.BYTES
    assert str(compare(one, same)) == "same bytes"
    assert counts(compare(one, same)) == (0, 0, 0)
    assert compare(one, other).level == Level.DIFFERENT
    assert counts(compare(one, other)) == (None, None, None)
    assert not compare(one, other).same_schema
    assert compare(one, of([(1, 1, 1)])).level == Level.DIFFERENT


@pytest.mark.parametrize("options", [{"sample": 1}, {"decimals": 2}])
def test_samples_are_compared_with_samples_only(options: dict[str, int]) -> None:
    """A sample, or rounded numbers, can only be compared with their like."""
    whole, part = of([(1, 1, 1), (2, 2, 2)]), of([(1, 1, 1), (2, 2, 2)], **options)
    (name,) = options

    assert compare(part, part).same_content
    assert str(compare(part, part)) == "same ordered content, of what was looked at"
    assert (compare(part, part).exact, compare(whole, whole).exact) == (False, True)
    for one, other in ((whole, part), (part, whole)):
        with pytest.raises(UsageError, match=f"with the same {name}="):
            compare(one, other)
        with pytest.raises(UsageError, match=f"with the same {name}="):
            overlap(one, other)


def test_only_fingerprints_are_compared() -> None:
    """Data themselves are refused, with what to make of them."""
    with pytest.raises(UsageError, match=r"a DataFrame is no fingerprint; .*mlsdk\.fingerprint"):
        of([(1, 1, 1)]).compare(pd.DataFrame())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"a list is no fingerprint"):
        of([(1, 1, 1)]).overlap([])  # type: ignore[arg-type]


# Overlap


@given(tables, tables)
def test_overlap(one: list[Row], other: list[Row]) -> None:
    """Rows in both are counted in each, duplicates too."""
    shared = set(one) & set(other)
    wanted = sum(row in shared for row in one), sum(row in shared for row in other), len(shared)
    found = overlap(of(one), of(other))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rowdiff, "numpy_for", lambda cells: None)
        without = overlap(of(one), of(other))

    assert (found.rows, found.rows_of_other, found.distinct) == wanted
    assert found == without
    assert found.share_of_self == (wanted[0] / len(one) if one else 0.0)
    assert found.share_of_other == (wanted[1] / len(other) if other else 0.0)
    assert found.exact


def test_overlap_says_so() -> None:
    """An overlap says in a sentence how much is shared, and whether that is all."""
    train, test = [(1, 1, 1), (2, 2, 2), (2, 2, 2), (3, 3, 3)], [(2, 2, 2), (9, 9, 9)]

    assert str(overlap(of(train), of(test))) == (
        "2 rows (50.0000%) are in the other, where they are 1 (50.0000%); 1 different ones"
    )
    assert overlap(of(train, decimals=1), of(test, decimals=1)).exact is False
    assert overlap(of(train), of(test)) == Overlap(2, 1, 1, 0.5, 0.5, True)


def test_overlap_that_cannot_be() -> None:
    """Without rows, or with other columns, there is no overlap to speak of, and the error says what to do."""
    table = of([(1, 1, 1)])

    with pytest.raises(UsageError, match="only one has the columns id, x"):
        overlap(table, of([(1, 1, 1)], "x", "a", "b"))
    with pytest.raises(UsageError, match="were not kept: it has 6,553,600 rows"):
        overlap(table, of_chunks(100 * CHUNK_ROWS))
    with pytest.raises(UsageError, match="no rows that could be read"):
        overlap(Fingerprint("mlfp1-bytes:0"), table)


# How it reads


def test_a_difference_reads_well() -> None:
    """A difference is a few lines: the level, the rows, which, the columns."""
    old = [(number, 1, 1) for number in range(10)]
    new = [(number, 2 if number < 7 else 1, 1) for number in range(1, 12)]
    diff = compare(of(old, key="id"), of(new, key="id"))

    assert str(diff).splitlines() == [
        "same schema",
        "rows: 6 changed, 2 added, 1 removed",
        "changed keys: 1, 2, 3, 4, 5 and 1 more",
        "added keys: 10, 11",
        "removed keys: 0",
        "changed columns: a",
    ]
    assert str(compare(of(old), of(old))) == "same ordered content"


def test_keys_read_well() -> None:
    """Keys of several columns and of times are plain; a missing key is None, and comes last."""
    day = dt.date(2020, 1, 1)
    old = [(10, day, 1), (9, day, 1)]
    missing, other = (pd.DataFrame({"k": [10, None, 9], "x": [value] * 3}) for value in (1, 2))

    assert str(compare(of(old, key=["id", "a"]), of(old[:1], key=["id", "a"]))) == (
        "same schema\nrows: 1 removed\nremoved keys: (9, 2020-01-01)"
    )
    assert compare(of_frame(missing, key="k"), of_frame(other, key="k")).changed_keys == (9, 10, None)


def test_a_difference_is_a_value() -> None:
    """A difference cannot be changed, and its levels are plain text."""
    diff = compare(of([(1, 1, 1)]), of([(1, 1, 2)]))

    assert diff.level == "same schema"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        diff.level = Level.BYTES  # type: ignore[misc]
