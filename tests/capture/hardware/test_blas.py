"""The libraries that calculate, in processes that have loaded them or not."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from mlsdk.capture import Context
from mlsdk.capture.hardware import blas
from tests import programs
from tests.conftest import require

LOOK = "import json, sys; from mlsdk.capture import Context; from mlsdk.capture.hardware import blas; "


def _look(before: str, show: str = "blas.capture(Context('.'))") -> object:
    """What a process of its own shows after some imports."""
    code = f"{before}; {LOOK}print(json.dumps({show}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=programs.environment(OPENBLAS_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_nothing_loaded() -> None:
    """Where nothing calculates, nothing is looked for, and nothing imported for it."""
    found = _look("pass", "[blas.capture(Context('.')), 'ctypes' in sys.modules, 'numpy' in sys.modules]")

    assert found == [None, False, False]


@pytest.mark.skipif(sys.platform != "linux", reason="compares with what threadpoolctl finds on Linux")
def test_the_same_as_threadpoolctl() -> None:
    """Version, kernel and threads of each library are those that threadpoolctl finds."""
    require(importlib.util.find_spec("threadpoolctl"), "threadpoolctl, which scikit-learn brings")
    ours, theirs = _look(  # type: ignore[misc]
        "import numpy, scipy.linalg, sklearn.utils._openmp_helpers, threadpoolctl",
        "[blas.capture(Context('.')), threadpoolctl.threadpool_info()]",
    )
    mine = [[one["file"], one.get("version"), one.get("kernel"), one["threads"]] for one in ours["libraries"]]
    others = [
        [one["filepath"], one["version"], one.get("architecture"), one["num_threads"]]
        for one in theirs
        if one["internal_api"] in {"openblas", "openmp", "mkl", "blis"}
    ]

    assert sorted(mine, key=str) == sorted(others, key=str)
    first = next(one for one in ours["libraries"] if one["kind"] == "blas")
    assert (ours["blas"], ours["blas_threads"]) == (first["name"], first["threads"])


def test_torch() -> None:
    """What torch carries within itself is asked of torch."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = blas.capture(Context("."))
    finally:
        torch.set_num_threads(before)

    assert found is not None
    assert found["torch"]["threads"] == 3  # type: ignore[index]
    assert found["torch"]["blas"]  # type: ignore[index]


def test_threads_are_asked_each_time() -> None:
    """A run sees the numbers of threads that hold when it begins, a later one those of its own time."""
    require(importlib.util.find_spec("numpy") and importlib.util.find_spec("threadpoolctl"), "numpy, threadpoolctl")
    import numpy as np
    import threadpoolctl

    assert np.__version__
    found = blas.capture(Context("."))
    require(found is not None and "blas_threads" in found, "a BLAS of numpy that tells its threads")
    with threadpoolctl.threadpool_limits(1, "blas"):
        limited = blas.capture(Context("."))
    again = blas.capture(Context("."))

    assert limited is not None
    assert limited["blas_threads"] == 1
    assert again == found


@pytest.mark.skipif(sys.platform != "linux", reason="the C library's file has a fixed name on Linux")
def test_a_library_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library without functions to ask is known by its name, and is not taken for the BLAS if there is another."""
    require(importlib.util.find_spec("numpy"), "numpy")
    import numpy as np

    monkeypatch.setattr(blas, "_known", {})
    monkeypatch.setattr(blas, "_seen", ())
    monkeypatch.setattr(blas, "_loaded", [])
    real = blas.loaded()
    monkeypatch.setattr(blas, "loaded", lambda: ["libm.so.6", *real])
    found = blas.capture(Context("."))

    assert np.__version__
    assert found is not None
    assert found["libraries"][0]["name"] == "m"  # type: ignore[index]
    assert found["blas"] != "m"


def test_a_library_that_cannot_be_asked(tmp_path) -> None:
    """A file that was unloaded, or is none, is passed over."""
    (tmp_path / "libblas.so.3").write_bytes(b"")

    assert not blas._is_known(str(tmp_path / "libblas.so.3"))
    assert not blas._is_known(str(tmp_path / "gone.so"))
    assert blas._is_marked(b"/usr/lib/libmkl_rt.so.2")
    assert not blas._is_marked(b"/usr/lib/python3/_fblas.cpython-311.so")
