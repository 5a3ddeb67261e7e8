"""`mlsdk/capture/returned.py`: what a tracked function returned, to be compared."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import math
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlsdk
from mlsdk.capture import returned
from mlsdk.capture.returned import content

pd = pytest.importorskip("pandas")

Pair = namedtuple("Pair", "left right")  # noqa: PYI024  # this kind is meant


@dataclasses.dataclass
class Result:
    """What a training gives."""

    acc: float
    labels: list[str]


@pytest.fixture(autouse=True)
def _alone(_own_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSDK_COMPANION", "0")


def _of(value: object) -> dict[str, Any]:
    return content(value, 5.0)


def test_small_values() -> None:
    """Small plain values are kept as they are, by the path at which they lie."""
    value = {
        "acc": 0.5,
        "n": 3,
        "ok": True,
        "none": None,
        "name": "tree",
        "numpy": np.float32(0.5),
        "pair": Pair(1, "b"),
        "result": Result(0.25, ["x", "y"]),
        "deep": {"a": {"b": ("c", "d")}},
        "set": {"z", "a"},
        "when": dt.date(2026, 1, 2),
        "exact": decimal.Decimal("1.50"),
    }

    assert _of(value) == {
        "acc": 0.5,
        "n": 3,
        "ok": True,
        "none": None,
        "name": "tree",
        "numpy": 0.5,
        "pair/left": 1,
        "pair/right": "b",
        "result/acc": 0.25,
        "result/labels/0": "x",
        "result/labels/1": "y",
        "deep/a/b/0": "c",
        "deep/a/b/1": "d",
        "set/0": "a",
        "set/1": "z",
        "when": dt.date(2026, 1, 2),
        "exact": decimal.Decimal("1.50"),
    }


def test_paths_that_read_alike() -> None:
    """Nothing takes the place of another: keys that are written alike, keys with a slash, one that is an ellipsis."""
    found = _of({1: "a", "1": "b", "x/y": 1, "x": {"y": 2}, "…": 3, "last": 4})

    assert found == {"1": "a", "1'": "b", "x/y": 1, "x/y'": 2, "…": 3, "last": 4}


def test_few_numbers() -> None:
    """Arrays and lists of few numbers are kept, with their types; nothing is an empty list."""
    assert _of(np.array([[1, 2], [3, 4]], "int32")) == {
        "value": {"type": "numpy.ndarray int32 (2, 2)", "values": [1, 2, 3, 4]}
    }
    assert _of([1.5, 2]) == {"value": {"type": "list", "values": [1.5, 2]}}
    assert _of({"x": [], "y": {}}) == {"x": {"type": "list", "values": []}, "y": {"type": "dict", "values": []}}


LARGE: list[Any] = [
    np.arange(5000.0),
    np.arange(5000.0).reshape(50, 100),
    np.arange(3000).astype(str),
    np.arange(3000).astype("M8[s]"),
    np.array([f"word {number}" for number in range(2000)], object),
    np.ma.masked_less(np.arange(5000.0), 7),
    [float(number) for number in range(5000)],
    [{"a": number, "b": str(number)} for number in range(500)],
    "x" * 5000,
    b"x" * 5000,
    pd.DataFrame({"a": range(10), "b": list("abcdefghij")}),
    pd.Series(range(10)),
]


def _copy(value: Any) -> Any:
    return value.copy() if hasattr(value, "copy") else (value + type(value)())


def _changed(value: Any) -> Any:
    """The same with its last element another one."""
    if isinstance(value, str | bytes):
        return value[:-1] + type(value)(value[:1]).swapcase()
    other = _copy(value)
    if isinstance(other, pd.DataFrame | pd.Series):
        other.iloc[-1] = other.iloc[0]
    elif isinstance(other, list):
        other[-1] = other[0]
    else:
        other.reshape(-1)[-1] = other.reshape(-1)[8]
    return other


@pytest.mark.parametrize("value", LARGE, ids=lambda value: type(value).__name__)
def test_large_values(value: Any) -> None:
    """Of what is large there is a digest: equal for a copy, another one where one element is another; no content."""
    (one,), (copy,), (other,) = (_of(each).values() for each in (value, _copy(value), _changed(value)))

    assert set(one) == {"type", "digest"}
    assert one == copy
    assert one["digest"] != other["digest"]
    assert len(str(one)) < 300


def test_types_count() -> None:
    """Equal values of another type are told apart: a table's columns, the width of an array's numbers."""
    for a, b in (
        (np.ones(5000, "float32"), np.ones(5000, "float64")),
        (pd.DataFrame({"a": np.ones(9, "int32")}), pd.DataFrame({"a": np.ones(9, "int64")})),
        (np.zeros((50, 100)), np.zeros((100, 50))),
        (np.zeros(5000), -np.zeros(5000)),
    ):
        assert _of(a) != _of(b)


def test_layout_does_not_count() -> None:
    """Memory order, byte order and a view of something larger do not count."""
    plain = np.arange(4000.0).reshape(40, 100)

    assert _of(plain)["value"]["digest"] == _of(np.asfortranarray(plain))["value"]["digest"]
    assert _of(plain)["value"]["digest"] == _of(np.arange(8000.0)[::2].reshape(40, 100) / 2)["value"]["digest"]
    assert _of(plain.astype(">f8"))["value"]["digest"] == _of(plain)["value"]["digest"]


def test_estimators() -> None:
    """Of an estimator its settings and what was fitted count, without times; equal fits are equal, others are not."""
    linear = pytest.importorskip("sklearn.linear_model")
    x = np.arange(30.0).reshape(10, 3) ** 2 % 7
    y = x @ [1.0, 2.0, 3.0]
    one, same, other = (linear.Ridge(alpha).fit(x, y) for alpha in (1.0, 1.0, 2.0))
    one.fit_time_, same.fit_time_ = 1.0, 2.0

    assert _of(one) == _of(same)
    assert {"alpha", "coef_", "intercept_", "n_features_in_"} <= _of(one).keys()
    assert _of(one)["coef_"] != _of(other)["coef_"]


def test_sparse_matrices() -> None:
    """A sparse matrix counts by its stored values and where they lie."""
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.eye(4)
    other = dense.copy()
    other[0, 1] = 2

    assert _of(sparse.csr_matrix(dense)) == _of(sparse.coo_array(dense))
    assert _of(sparse.csr_matrix(dense)) != _of(sparse.csr_matrix(other))


def test_torch() -> None:
    """Tensors count as arrays, modules by their state."""
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(2, 1)
    with torch.no_grad():
        module.weight[:] = torch.tensor([[1.0, 2.0]])
        module.bias[:] = 3
    out = torch.ones(5000, dtype=torch.bfloat16)
    found = _of({"model": module, "out": out.requires_grad_(), "part": torch.ones(2, 5000)[:, ::2]})
    other = _of({"out": torch.cat([out[:-1], out[-1:] + 1]), "part": torch.ones(2, 2500)})

    assert found["model/weight"] == {"type": "torch.Tensor float32 (1, 2)", "values": [1.0, 2.0]}
    assert found["model/bias"]["values"] == [3.0]
    assert found["out"]["type"] == "torch.Tensor bfloat16 (5000,)"
    assert found["out"]["digest"] != other["out"]["digest"]
    assert found["part"] == other["part"]


def test_what_is_no_data() -> None:
    """Of what cannot be compared the type is said and that it was not; an endless structure comes to an end."""
    endless: list[object] = []
    endless.append(endless)
    found = _of({"function": len, "object": object(), "endless": endless})

    assert found["function"] == {"type": "builtin_function_or_method", "note": "not compared: it is no data"}
    assert "note" in found["object"]
    assert len(found) == 3


def test_a_great_many_parts() -> None:
    """Beyond a thousand parts the rest is not looked at, and that is said."""
    found = _of({str(number): number for number in range(5000)})

    assert len(found) == returned.MOST_PARTS + 1
    assert found["…"] == {"note": "there are more than 1,000 parts"}


def test_the_time_limit() -> None:
    """What takes longer than the limit is not read, and that is said."""
    found = content({"array": np.zeros(10_000), "rows": [{"a": n} for n in range(5000)], "acc": 0.5}, 0.0)

    assert found["array"]["note"] == "not read: it may take too long"  # type: ignore[index]
    assert "more than 0 s" in found["rows"]["note"]  # type: ignore[index]
    assert found["acc"] == 0.5


def test_secrets() -> None:
    """A secret that is returned is left out, under a telling name or in a form that tells."""
    token = "ghp_" + "a1B2c3D4e5" * 4
    found = _of({"password": "hunter2!", "note": f"use {token}", token: 1, "tokens": np.zeros(3000)})

    assert token not in str(found)
    assert "hunter2!" not in str(found)
    assert found["tokens"]["digest"].startswith("sha256:")


@given(
    st.recursive(
        st.floats() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.tuples(inner, inner), max_leaves=20
    )
)
def test_the_same_twice(value: object) -> None:
    """The same value gives the same content each time."""
    assert repr(_of(value)) == repr(_of(value))


def test_on_a_run() -> None:
    """A tracked function's result stands on its run; nothing of None, of a block, or with the capture not chosen."""

    @mlsdk.track(name="it", capture="returned")
    def train() -> OrderedDict[str, object]:
        return OrderedDict(acc=0.5, odd=math.inf, predictions=np.arange(2000), path=Path("a"))

    @mlsdk.track(name="nothing", capture="returned")
    def nothing() -> None:
        return None

    @mlsdk.track(name="unasked", capture="python")
    def unasked() -> float:
        return 0.5

    train()
    nothing()
    unasked()
    with mlsdk.run(name="block", capture="returned"):
        pass
    found = mlsdk.get_run("it").code["returned"]

    assert list(found) == ["acc", "odd", "predictions", "path"]
    assert (found["acc"], found["odd"], found["path"]) == (0.5, math.inf, Path("a"))
    assert found["predictions"]["digest"].startswith("sha256:")
    assert not any("returned" in mlsdk.get_run(name).code for name in ("nothing", "unasked", "block"))
