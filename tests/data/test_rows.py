"""Rows: dicts, tuples, dataclasses, values; data sets of torch and of Hugging Face."""

from __future__ import annotations

import importlib.util
import random
import sqlite3
from dataclasses import dataclass
from typing import NamedTuple

import attrs
import numpy as np
import pytest

from mlsdk import UsageError
from mlsdk.data import rows
from mlsdk.data.fingerprint import fingerprint

torch_is_here = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is in no extra: decision 0001"
)
datasets_is_here = pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="datasets is in no extra")

EXPECTED = fingerprint({"x": [1, 2, 3], "t": ["a", "b", None]})


@dataclass
class Plain:
    x: int
    t: str | None


@attrs.frozen
class Frozen:
    x: int
    t: str | None


class Pair(NamedTuple):
    x: int
    t: str | None


class Again:
    """Rows that can be read as often as one likes."""

    def __init__(self, made):
        self.made = made

    def __iter__(self):
        return (dict(row) for row in self.made)


def test_rows_with_names() -> None:
    """Dicts, dataclasses, attrs classes, named tuples, rows of sqlite and any iterable of them give named columns."""
    pairs = [(1, "a"), (2, "b"), (3, None)]
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    of_sqlite = connection.execute("select 1 as x, 'a' as t union all values (2, 'b'), (3, null)").fetchall()
    connection.close()

    for made in (
        [{"x": x, "t": t} for x, t in pairs],
        [Plain(*pair) for pair in pairs],
        [Frozen(*pair) for pair in pairs],
        [Pair(*pair) for pair in pairs],
        Again([{"x": x, "t": t} for x, t in pairs]),
        of_sqlite,
    ):
        assert fingerprint(made) == EXPECTED


def test_rows_by_place_and_single_values() -> None:
    """Tuples and lists are columns "0", "1", …; other values are one column."""
    assert fingerprint([(1, "a"), [2, "b"]]) == fingerprint({"0": [1, 2], "1": ["a", "b"]})
    assert fingerprint(((1, "a"), (2, "b"))) == fingerprint({"0": [1, 2], "1": ["a", "b"]})
    assert fingerprint(["a", "b"]) == fingerprint(("a", "b")) == fingerprint({"values": ["a", "b"]})
    assert fingerprint([]) == fingerprint({})


def test_a_missing_key_is_a_missing_value() -> None:
    """Of a list all keys count, in the order in which they first come, and what a row lacks is missing."""
    found = fingerprint([{"x": 1}, {"t": "b", "x": 2}, {}])

    assert found == fingerprint({"x": [1, 2, None], "t": [None, "b", None]})


@pytest.mark.parametrize(
    "made",
    [
        Again([{"x": 1}, {"y": 2}]),
        [(1, 2), (1, 2, 3)],
        [(1, 2), 5],
        [{"x": 1}, 5],
        [Plain(1, "a"), Frozen(1, "a")],
    ],
    ids=["keys", "lengths", "kinds", "no mapping", "classes"],
)
def test_rows_of_other_shapes_are_refused(made) -> None:
    """A row that does not fit the first one is shown with its place."""
    with pytest.raises(UsageError, match="row 1 is not like the first one"):
        fingerprint(made)


def test_what_can_be_read_once_is_refused() -> None:
    """An iterator or a generator would be used up: nothing is taken from it."""
    once = iter([1, 2])

    with pytest.raises(UsageError, match="only once"):
        fingerprint(once)
    with pytest.raises(UsageError, match="generator can be read only once"):
        fingerprint(row for row in [1])
    assert list(once) == [1, 2]


def test_rows_in_many_batches(monkeypatch) -> None:
    """However many rows are worked on at once, arrays in them or not, the fingerprint is the same."""
    made = [{"x": place, "image": np.full((2, 3), place)} for place in range(20)]
    one = fingerprint(made)
    monkeypatch.setattr(rows, "_LARGE_ROWS", 3)

    assert one == fingerprint(made)
    assert one == fingerprint([{"x": row["x"], "image": row["image"].tolist()} for row in made])


def test_sets_have_no_order() -> None:
    """A set of text comes in another order in each process: it is refused, with what to give instead."""
    for made in ({"a", "b"}, frozenset({"a", "b"})):
        with pytest.raises(UsageError, match=r"sorted\(\.\.\.\)"):
            fingerprint(made)


# torch


@torch_is_here
def test_data_sets_of_torch() -> None:
    """Map-style, subsets, lists of tensors and iterable data sets: rows as they come out."""
    import torch
    from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

    features, labels = torch.arange(12.0).reshape(4, 3), torch.tensor([0, 1, 0, 1])

    class Mapped(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, place):
            return features[place], int(labels[place])

    class Iterated(IterableDataset):
        def __iter__(self):
            return iter((features[place], int(labels[place])) for place in range(4))

    expected = fingerprint([(features[place].tolist(), int(labels[place])) for place in range(4)])

    for made in (Mapped(), Iterated(), Subset(Mapped(), range(4)), ConcatDataset([Mapped()])):
        assert fingerprint(made) == expected
    assert fingerprint(Subset(Mapped(), [1, 0])) == fingerprint([([3, 4, 5], 1), ([0, 1, 2], 0)])
    assert fingerprint(TensorDataset(features, labels)) == fingerprint((features, labels))
    with pytest.raises(UsageError, match=r"\.dataset"):
        fingerprint(DataLoader(Mapped()))


@torch_is_here
def test_chance_is_left_as_it_was() -> None:
    """A data set that draws random numbers leaves the generators of random, numpy and torch where they were."""
    import torch
    from torch.utils.data import Dataset

    class Noisy(Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, place):
            return torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002

    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    one, other = fingerprint(Noisy()), fingerprint(Noisy())

    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before  # noqa: NPY002
    assert one == other


# Hugging Face


@datasets_is_here
def test_data_sets_of_hugging_face() -> None:
    """A Dataset is its stored values: in memory, selected, formatted, streamed; a dict of them has a column `split`."""
    import datasets

    made = datasets.Dataset.from_dict({"x": [1, 2, 3], "t": ["a", "b", None]})
    moved = datasets.Dataset.from_dict({"x": [3, 1, 2], "t": [None, "a", "b"]}).select([1, 2, 0])
    split = datasets.DatasetDict(train=made.select([0, 1]), test=made.select([2]))
    expected = fingerprint({"split": ["train", "train", "test"], "x": [1, 2, 3], "t": ["a", "b", None]})

    assert fingerprint(made) == fingerprint(moved) == fingerprint(made.to_iterable_dataset()) == EXPECTED
    assert fingerprint(made.with_format("numpy")) == EXPECTED
    assert fingerprint(split) == expected
    assert [column.type for column in fingerprint(made).columns] == ["int64", "text"]
    with pytest.raises(UsageError, match="split 'b' has other columns"):
        fingerprint(datasets.DatasetDict(a=made, b=made.remove_columns("t")))
