"""Digests of tables: the same whatever the batches, with numpy and without, on every Python."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.data import mixing, rowdigests
from mlsdk.data.digest import digest_table
from mlsdk.data.table import Column, Table
from mlsdk.errors import UsageError
from tests.conftest import ROOT
from tests.data import vectors


def table(columns, batches=None) -> Table:
    return Table([Column(name, "") for name in columns], batches or [list(columns.values())])


def digest(columns, **options):
    return digest_table(table(columns), **options)


def shown(found) -> dict:
    """All of a fingerprint that can be compared."""
    kept = ("id", "rows", "columns", "content_id", "rows_id", "schema_id", "key", "key_values")
    hashes = ("row_hashes", "key_hashes", "chunk_digests")
    lists = {name: getattr(found, name) for name in hashes}
    whole = {name: getattr(found, name) for name in kept}
    return whole | {name: None if held is None else list(map(int, held)) for name, held in lists.items()}


@pytest.fixture
def no_numpy(monkeypatch):
    monkeypatch.setattr(mixing, "numpy_for", lambda cells: None)


# Published vectors


def test_vectors_with_numpy() -> None:
    """The published vectors come out with numpy at hand."""
    assert vectors.computed() == vectors.read()


def test_vectors_without_numpy(no_numpy) -> None:
    """The published vectors come out without numpy."""
    assert vectors.computed() == vectors.read()


def pythons() -> list[str]:
    """The interpreters that start, this one included: what is called python may be a stand-in for none."""
    names = {sys.executable, *filter(None, (shutil.which(f"python3.{minor}") for minor in range(10, 16)))}
    names |= set(map(str, Path.home().glob(".pyenv/versions/3.1[0-9].*/bin/python")))
    return sorted(
        name for name in names if subprocess.run([name, "-V"], capture_output=True, check=False).returncode == 0
    )


def test_vectors_on_every_python_that_is_there(tmp_path) -> None:
    """Every interpreter on this machine, bare but for attrs, gives the same."""
    others = pythons()
    for package in ("attr", "attrs"):
        source = next(Path(entry) / package for entry in sys.path if (Path(entry) / package / "__init__.py").exists())
        shutil.copytree(source, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    program = str(ROOT / "tests" / "data" / "vectors.py")
    paths = f"import sys; sys.path[:0] = {[str(ROOT), str(tmp_path)]!r}; sys.argv = [{program!r}]; "
    run = f"import runpy; runpy.run_path({program!r}, run_name='__main__')"
    said = {}
    for python in others:
        command = [python, "-I", "-S", "-B", "-c", paths + run]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        said[python] = json.loads(done.stdout or "null") or {"same": done.stderr}

    assert {python: one["same"] for python, one in said.items()} == dict.fromkeys(others, True)
    assert not any(one["numpy"] for one in said.values())


# One answer


VALUES = st.lists(
    st.none()
    | st.floats()
    | st.integers(-(2**65), 2**65)
    | st.booleans()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    max_size=40,
)
COLUMNS = st.tuples(VALUES, st.lists(st.floats(), max_size=40), st.lists(st.text(max_size=20), max_size=40))


def trimmed(columns) -> dict:
    rows = min(map(len, columns))
    return {str(place): list(column[:rows]) for place, column in enumerate(columns)}


@given(COLUMNS)
def test_numpy_and_pure_python_agree(columns) -> None:
    """Every id, digest and hash is the same with numpy and without."""
    data = trimmed(columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixing, "numpy_for", lambda cells: None)
        pure = shown(digest(data, key="1"))

    assert shown(digest(data, key="1")) == pure


@given(COLUMNS, st.lists(st.integers(1, 9), max_size=8))
def test_borders_of_batches_do_not_count(columns, sizes) -> None:
    """However the rows are cut into batches, and whatever holds each batch, the fingerprint is the same."""
    data = trimmed(columns)
    rows, start, batches = len(data["0"]), 0, []
    for size in [*sizes, rows]:
        batches.append([values[start : start + size] for values in data.values()])
        batches[-1][1] = np.array(batches[-1][1], float) if size % 2 else pa.array(batches[-1][1], pa.float64())
        start += size

    assert shown(digest_table(table(data, batches))) == shown(digest(data))


def test_steps_do_not_count() -> None:
    """More rows than are worked on at once: the same as one at a time."""
    rows = 40_000
    numbers, texts = np.arange(rows) / 7, [f"row {place % 100}" for place in range(rows)]
    cut = [[numbers[start : start + 999], texts[start : start + 999]] for start in range(0, rows, 999)]
    data = {"a": numbers, "b": texts}

    assert shown(digest_table(table(data, cut))) == shown(digest(data))


# What each id minds


def test_order_of_rows_and_columns() -> None:
    """`rows_id` minds no order, `content_id` both; `unordered` of a column is the same where its rows are shuffled."""
    data = {"a": [1, 2, 3, 4], "b": ["x", "y", "z", None]}
    first = digest(data)
    shuffled = digest({name: values[::-1] for name, values in data.items()})
    turned = digest(dict(reversed(data.items())))

    assert first.rows_id == shuffled.rows_id == turned.rows_id
    assert len({first.id, shuffled.id, turned.id}) == 3
    assert [column.unordered for column in first.columns] == [column.unordered for column in shuffled.columns]
    assert first.columns[0].ordered != shuffled.columns[0].ordered
    assert first.columns[0].ordered == turned.columns[1].ordered


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_rows_are_counted(one, other) -> None:
    """`rows_id` is the same exactly for the same rows, each as often: pairs do not cancel."""
    assert (digest({"a": one}).rows_id == digest({"a": other}).rows_id) == (sorted(one) == sorted(other))


def test_names_count_even_without_rows() -> None:
    """An empty table of other columns is another one; its order of columns counts as ever."""
    found = [digest({name: [] for name in names}) for names in ("ab", "ba", "ac", "")]

    assert len({one.id for one in found}) == 4
    assert found[0].rows_id == found[1].rows_id
    assert len({one.rows_id for one in found}) == 3


def test_types_are_in_the_schema_alone() -> None:
    """Another logical type or nullability changes `schema_id` and nothing else."""
    whole = [[1, 2]]
    plain = digest_table(Table([Column("a", "int32")], [whole]))
    wider = digest_table(Table([Column("a", "int64")], [whole]))
    never = digest_table(Table([Column("a", "int32", False)], [whole]))

    assert plain == wider == never
    assert hash(plain) == hash(wider)
    assert len({one.schema_id for one in (plain, wider, never)}) == 3


def test_columns_of_one_name() -> None:
    """The second `a` is `a#2`, or the next that is free: two of a name are told apart."""
    columns = [Column(name, "") for name in ("a", "a", "a#2", "a")]
    one = digest_table(Table(columns, [[[1], [2], [3], [4]]]))
    other = digest_table(Table(columns, [[[2], [1], [3], [4]]]))

    assert [column.name for column in one.columns] == ["a", "a#3", "a#2", "a#4"]
    assert one.rows_id != other.rows_id


# Arguments


def test_rounding_is_in_the_id() -> None:
    """Rounded to decimals, small changes vanish; the id says so and equals no exact one, integers untouched."""
    one, other = digest({"a": [0.1, 1e300, 2]}, decimals=6), digest({"a": [0.1 + 1e-9, 1e300, 2]}, decimals=6)
    exact = digest({"a": [0.1, 1e300, 2]})

    assert one == other
    assert one.id.startswith("mlfp1-d6:")
    assert one.content_id == exact.content_id
    assert one != exact


def test_a_sample_is_in_the_id() -> None:
    """A sample reads the first rows and no more; its id never equals another kind's."""

    def batches():
        yield [[1, 2]]
        yield [[3, 4]]
        raise AssertionError("read on")

    found = digest_table(Table([Column("a", "")], batches()), sample=3)

    assert found.id.startswith("mlfp1-head3:")
    assert (found.rows, found.sample) == (3, 3)
    assert found.content_id == digest({"a": [1, 2, 3]}).content_id
    assert found != digest({"a": [1, 2, 3]})
    assert digest({"a": [0.5]}, sample=3, decimals=2).id.startswith("mlfp1-head3-d2:")


@pytest.mark.parametrize("pure", [False, True])
def test_keys(pure, monkeypatch) -> None:
    """With a key: the keys' hashes sorted, the rows' hashes and the keys themselves beside them."""
    if pure:
        monkeypatch.setattr(mixing, "numpy_for", lambda cells: None)
    data = {"id": [3, 1, 2], "part": ["a", "b", "c"], "x": [0.1, 0.2, 0.3]}
    one, two = digest(data, key="id"), digest(data, key=("id", "part"))
    rows = dict(zip(data["id"], list(digest(data).row_hashes), strict=True))

    assert digest({"0": [1], "1": [2]}, key=0).key == digest({"0": [1], "1": [2]}, key=[0]).key == ("0",)
    assert list(one.key_hashes) == sorted(one.key_hashes)
    assert [rows[key] for key in one.key_values] == list(one.row_hashes)
    assert sorted(two.key_values) == [(1, "b"), (2, "c"), (3, "a")]
    assert (one.key, two.key) == (("id",), ("id", "part"))
    assert one.id == two.id == digest(data).id


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=30))
def test_keys_that_come_twice(pairs) -> None:
    """Rows of one key are in the order of their own hashes, with numpy and without."""
    data = {"id": [key for key, _ in pairs], "x": [value for _, value in pairs]}
    found = digest(data, key="id")
    held = list(zip(map(int, found.key_hashes), map(int, found.row_hashes), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixing, "numpy_for", lambda cells: None)
        pure = shown(digest(data, key="id"))

    assert held == sorted(held)
    assert shown(found) == pure


@pytest.mark.parametrize("pure", [False, True])
def test_many_rows_leave_chunks(pure, monkeypatch) -> None:
    """Beyond the limit the hashes of single rows are let go; one sum for every so many rows is kept instead."""
    if pure:
        monkeypatch.setattr(mixing, "numpy_for", lambda cells: None)
    data = {"a": list(range(100))}
    whole = list(map(int, digest(data).row_hashes))
    monkeypatch.setattr(rowdigests, "KEPT_ROWS", 40)
    monkeypatch.setattr(rowdigests, "CHUNK_ROWS", 16)
    batches = [[data["a"][start : start + 7]] for start in range(0, 100, 7)]
    found = digest_table(table(data, batches), key="a")

    assert found.row_hashes is found.key_hashes is found.key_values is None
    assert list(found.chunk_digests) == [sum(whole[start : start + 16]) & mixing.MASK for start in range(0, 100, 16)]
    assert found.id == digest(data).id


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        ({"a": [1]}, {"key": "b"}, "key='b'.*columns are a"),
        ({str(name): [1] for name in range(99)}, {"key": "b"}, "18, 19 and 79 more"),
        ({"a": [1]}, {"decimals": 16}, "decimals=16"),
        ({"a": [1]}, {"decimals": "2"}, "decimals='2'"),
        ({"a": [1]}, {"sample": 2.5}, "sample=2.5"),
        ({"a": [1]}, {"sample": True}, "sample=True"),
        ({"a": [1]}, {"sample": 0}, "sample=0"),
        ({"a": [1], "b": [1, 2]}, {}, "'b' has 2 values in a batch of 1 rows"),
        ({"a": [object()]}, {}, "column 'a': a value of type builtins.object"),
    ],
)
def test_what_cannot_be_done_is_said(columns, options, words) -> None:
    """A wrong argument, a ragged batch and a strange value raise, with the name and the value."""
    with pytest.raises(UsageError, match=words):
        digest(columns, **options)


def test_a_batch_with_too_many_columns() -> None:
    """A batch of another width than the table is refused."""
    with pytest.raises(UsageError, match="a batch has 2 columns, the table 1"):
        digest_table(Table([Column("a", "")], [[[1], [2]]]))


def test_missing_values_are_counted_and_kinds_named() -> None:
    """Each column says what it holds and how much is missing."""
    found = digest({"a": [1, None, math.nan], "b": [None, None, None], "c": ["x", 1, True]})

    assert [(column.kind, column.missing) for column in found.columns] == [
        ("number", 2),
        ("null", 3),
        ("number|bool|text", 0),
    ]


def test_memory_is_flat() -> None:
    """However many rows stream by, only some 8 bytes of each stay in memory."""
    rows, batch = 200_000, 5_000

    def batches():
        for start in range(0, rows, batch):
            numbers = np.arange(start, start + batch, dtype=float)
            yield [numbers, numbers * 2, numbers * 3, numbers.astype("U16").astype(object)]

    columns = [Column(name, "") for name in "abcd"]
    digest_table(Table(columns, [next(batches())]))
    tracemalloc.start()
    try:
        found = digest_table(Table(columns, batches()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert found.rows == rows
    assert peak < rows * 10 + (3 << 20)
