"""The public function: it knows what it is given, says so when it does not, and changes nothing."""

from __future__ import annotations

import copy
import hashlib
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from mlsdk import UsageError
from mlsdk.data.fingerprint import fingerprint
from tests.conftest import ROOT


def test_a_name_is_no_part_of_the_id() -> None:
    """The name is kept and changes no id."""
    one, other = fingerprint([1], name="train"), fingerprint([1])

    assert one == other
    assert (one.name, other.name) == ("train", None)
    assert str(one) == one.id


def test_bytes() -> None:
    """Bytes in memory are their SHA-256, of a kind of their own."""
    found = fingerprint(b"abc")

    assert found.bytes_id == hashlib.sha256(b"abc").hexdigest()
    assert found.id == f"mlfp1-bytes:{found.bytes_id[:32]}"
    assert (found.size_bytes, found.rows, found.columns) == (3, None, ())
    assert found == fingerprint(bytearray(b"abc")) == fingerprint(memoryview(b"a.b.c")[::2])
    with pytest.raises(UsageError, match="bytes have no rows"):
        fingerprint(b"abc", sample=5)


@pytest.mark.parametrize("data", [5, None, object(), 1.5, len, fingerprint], ids=lambda data: type(data).__name__)
def test_what_is_no_data_is_refused(data) -> None:
    """Something that is no data raises, with its type and what to do."""
    with pytest.raises(UsageError, match=f"{type(data).__name__} is no data.*give a path"):
        fingerprint(data)


def test_groups_are_refused() -> None:
    """A grouping is no frame."""
    with pytest.raises(UsageError, match="DataFrameGroupBy is no data"):
        fingerprint(pd.DataFrame({"a": [1]}).groupby("a"))


def test_nothing_is_changed() -> None:
    """Numpy's settings and random numbers, the warnings' filters and the data are afterwards as before."""
    frame = pd.DataFrame({"a": [1.0, np.nan], "b": ["x", None], "c": pd.Categorical(["u", None])})
    before = frame.copy(deep=True)
    nested = {"a": [[1, {"b": 2}], None]}
    whole = copy.deepcopy(nested)
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    settings, filters = np.geterr(), list(warnings.filters)
    fingerprint(frame, key="a", decimals=3)
    fingerprint(nested)

    pd.testing.assert_frame_equal(frame, before)
    assert nested == whole
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    assert (np.geterr(), warnings.filters) == (settings, filters)


def loads(code: str) -> set[str]:
    """The libraries that a program has loaded at its end."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_no_library_is_loaded_for_it() -> None:
    """A list of rows loads no library; nor does a numpy array load pandas, polars, pyarrow or torch."""
    heavy = {"numpy", "pandas", "polars", "pyarrow", "torch", "datasets"}
    use = "from mlsdk.data.fingerprint import fingerprint\n"

    assert loads(use + "fingerprint([{'a': 1, 'b': 'x'}], key='a')") & heavy == set()
    assert loads(use + "import numpy\nfingerprint(numpy.ones((3, 3)))") & heavy == {"numpy"}


def test_strict_settings_of_numpy_are_kept() -> None:
    """Where a user has numpy raise at every overflow, a fingerprint is the same, and nothing raises."""
    columns = {"a": [1.0, np.nan, np.inf, 1e308], "b": ["x", None, "y" * 300, ""], "c": [1, 2, 3, 2**62 + 1]}
    frame = pd.DataFrame(columns)
    expected = fingerprint(frame, decimals=6)
    with np.errstate(all="raise"):
        found = fingerprint(frame, decimals=6)

    assert found == expected


def test_equality_is_of_fingerprints_alone() -> None:
    """A fingerprint equals no text, and can be a key."""
    one = fingerprint([1])

    assert one != one.id
    assert {one: 1}[fingerprint({"values": [1.0]})] == 1


def test_the_hashes_of_rows_are_not_shown() -> None:
    """What a fingerprint shows of itself is short."""
    assert len(repr(fingerprint(range(10_000)))) < 1000
