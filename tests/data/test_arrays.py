"""Arrays: numpy's of every shape, tensors, and columns in dicts and tuples."""

from __future__ import annotations

import importlib.util
import warnings
from array import array
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from mlsdk import UsageError
from mlsdk.data import arrays
from mlsdk.data.fingerprint import fingerprint

torch_is_here = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is in no extra: decision 0001"
)

MATRIX = np.arange(12.0).reshape(4, 3)


def names(found) -> list[str]:
    return [column.name for column in found.columns]


def test_two_dimensions_are_columns() -> None:
    """A matrix is its columns "0", "1", …, whatever its order in memory; so are the frame, the dict and the lists."""
    found = fingerprint(MATRIX)

    assert names(found) == ["0", "1", "2"]
    for other in (
        np.asfortranarray(MATRIX),
        MATRIX.astype("f4"),
        MATRIX.astype(int),
        pd.DataFrame(MATRIX),
        MATRIX.tolist(),
        {str(place): MATRIX[:, place] for place in range(3)},
        tuple(MATRIX.T.copy()),
    ):
        assert fingerprint(other) == found


def test_one_dimension_and_none() -> None:
    """A vector is the column `values`; a single number is one row of it."""
    expected = fingerprint({"values": [1, 2]})

    assert fingerprint(np.array([1, 2])) == fingerprint([1, 2]) == fingerprint(array("l", [1, 2])) == expected
    assert fingerprint(np.array(5)) == fingerprint({"values": [5]})


def test_more_dimensions_are_one_column() -> None:
    """Images are rows of one column, the same as nested lists; one pixel changes one row."""
    images = (np.arange(50 * 8 * 9) % 251).astype(np.uint8).reshape(50, 8, 9)
    found = fingerprint(images)
    other = images.copy()
    other[17, 3, 3] ^= 1
    changed = fingerprint(other)

    assert (names(found), found.rows) == (["values"], 50)
    assert found.columns[0].type == "list<list<uint8>[9]>[8]"
    assert found == fingerprint({"values": images.tolist()}) == fingerprint(images.astype(np.float32))
    assert np.flatnonzero(np.asarray(found.row_hashes) != np.asarray(changed.row_hashes)).tolist() == [17]


def test_very_wide_arrays_are_one_column(monkeypatch) -> None:
    """Beyond 1,000 columns each row is one value, whatever the batches."""
    wide = np.arange(6 * 1001.0).reshape(6, 1001)
    found = fingerprint(wide)
    monkeypatch.setattr(arrays, "_BATCH_VALUES", 2002)

    assert names(found) == ["values"]
    assert found == fingerprint(wide)
    assert names(fingerprint(wide[:, :1000])) == [str(place) for place in range(1000)]


def test_structured_arrays() -> None:
    """A structured array is its fields, nested ones by dotted names, those of many values as lists."""
    kind = [("id", "i4"), ("pos", [("x", "f8"), ("y", "f4")]), ("tag", "S3"), ("vec", "i2", (2,)), ("at", "M8[s]")]
    data = np.array([(1, (0.5, 1), b"ab", [1, 2], 0), (2, (1.5, 2), b"c", [3, 4], "NaT")], kind)
    found = fingerprint(data)

    assert names(found) == ["id", "pos.x", "pos.y", "tag", "vec.0", "vec.1", "at"]
    assert [column.type for column in found.columns][:4] == ["int32", "float64", "float32", "bytes"]
    assert found == fingerprint(data.view(np.recarray))
    assert [column.missing for column in found.columns][-1] == 1


def test_the_rarer_types_of_numpy() -> None:
    """Objects, complex numbers, strings, masks, memory maps, arrays of another byte order and reversed ones."""
    np.array([1.5, 2.5]).tofile("floats")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer numpy would not make it any more
        without_unit = np.array(["NaT"], "M8")
    same = [
        (np.array([1, "a", None], object), [1, "a", None]),
        (np.array([1 + 2j, 3]), [1 + 2j, 3 + 0j]),
        (np.array(["a", "bc"]), ["a", "bc"]),
        (np.ma.array([1, 2, 3], mask=[False, True, False]), [1, None, 3]),
        (np.memmap("floats", float, "r"), [1.5, 2.5]),
        (np.array([1.5, 2.5], ">f8"), [1.5, 2.5]),
        (np.array([258, -1], ">i2"), [258, -1]),
        (np.array([1, "NaT", -5], ">m8[s]"), [timedelta(seconds=1), None, timedelta(seconds=-5)]),
        (np.array(["2020-01-01", "NaT"], ">M8[ns]"), [date(2020, 1, 1), None]),
        (without_unit, [None]),
        (np.array([3.0, 2.0, 1.0])[::-1], [1.0, 2.0, 3.0]),
        (np.array([0.5], np.float16), [0.5]),
    ]

    for made, values in same:
        assert fingerprint(made) == fingerprint({"values": values})
    with pytest.warns(PendingDeprecationWarning, match="matrix subclass"):
        matrix = np.matrix(MATRIX)
    assert fingerprint(matrix) == fingerprint(MATRIX)
    masked = np.ma.array(MATRIX, mask=MATRIX == 5)
    assert fingerprint(masked).columns[2].missing == 1


def test_arrays_in_cells() -> None:
    """An array in a cell is a list; masked values are missing, structured ones are structs."""
    masked = np.ma.array([1, 2], mask=[False, True])
    records = np.array([(1, 2.5), (3, 4.5)], [("a", "i4"), ("b", "f8")])

    for often in (1, 3):
        assert fingerprint({"x": [masked] * often}) == fingerprint({"x": [[1, None]] * often})
        assert fingerprint([masked] * often) == fingerprint({"values": [[1, None]] * often})
    assert fingerprint({"x": [records]}) == fingerprint({"x": [[{"a": 1, "b": 2.5}, {"a": 3, "b": 4.5}]]})
    assert fingerprint({"x": [1, np.ma.masked]}).columns[0].missing == 1


def test_columns_in_dicts_and_tuples() -> None:
    """A dict or tuple of arrays is columns by key or place; a matrix among them is several."""
    target = np.array([0, 1, 0, 1])

    assert names(fingerprint((MATRIX, target))) == ["0.0", "0.1", "0.2", "1"]
    assert names(fingerprint({"X": MATRIX, "y": target})) == ["X.0", "X.1", "X.2", "y"]
    assert names(fingerprint({"X": pd.Series([1, 2]), "y": [1, 2], "z": range(2)})) == ["X", "y", "z"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"x": [1], "y": [1, 2]}, "'x' has 1 rows, 'y' has 2 rows"),
        ({"lr": 0.1}, "'lr' is no column but a float"),
        ({"lr": np.float64(0.1)}, "'lr' is a single value"),
        ({"a": pd.DataFrame({"b": [1]})}, "'a' is a frame"),
        ({"text": "abc"}, "'text' is no column but a str"),
        (np.zeros((2, 2), [("a", int)]), "shape \\(2, 2\\)"),
    ],
)
def test_what_is_no_column_is_refused(data, words) -> None:
    """Columns of other lengths, single values and frames among columns are refused by name."""
    with pytest.raises(UsageError, match=words):
        fingerprint(data)


@torch_is_here
def test_tensors() -> None:
    """Tensors are arrays of their values: every type, any strides, with a gradient, lazily conjugated."""
    import torch

    tensor = torch.tensor(MATRIX, requires_grad=True)
    found = fingerprint(tensor)
    whole = torch.tensor([[1.0, 2.0], [3.0, 4.0]])

    assert found == fingerprint(MATRIX)
    assert (tensor.requires_grad, tensor.grad) == (True, None)
    for kind in (torch.bfloat16, torch.float16, torch.float32, torch.int8, torch.uint8, torch.int64):
        assert fingerprint(torch.tensor(MATRIX).to(kind)) == fingerprint(MATRIX)
    assert fingerprint(whole.T) == fingerprint(whole.numpy().T)
    assert fingerprint(torch.tensor(5.0)) == fingerprint(np.array(5.0))
    assert fingerprint(torch.tensor([1 + 2j]).conj()) == fingerprint(np.array([1 - 2j]))
    assert fingerprint(torch.tensor([True, False])) == fingerprint(np.array([True, False]))
    assert fingerprint(torch.tensor([0.1]).to(torch.bfloat16)) != fingerprint(torch.tensor([0.1]))
    assert fingerprint(torch.arange(24).reshape(2, 3, 4)) == fingerprint(np.arange(24).reshape(2, 3, 4))
    assert fingerprint((whole, torch.tensor([1, 2]))) == fingerprint((whole.numpy(), [1, 2]))
    with pytest.raises(UsageError, match=r"to_dense\(\)"):
        fingerprint(whole.to_sparse())
