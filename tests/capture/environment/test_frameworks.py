"""The frameworks that are loaded."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import types
from typing import Any

import numpy as np
import pytest

from mlsdk.capture import Context
from mlsdk.capture.environment import frameworks
from mlsdk.capture.environment.frameworks import capture
from tests import programs

HERE = Context(".")

REPORT = """
import json, sys
from mlsdk.capture import Context
from mlsdk.capture.environment import frameworks
before = set(sys.modules)
found = frameworks.capture(Context("."))
print(json.dumps([found, sorted(set(sys.modules) - before)]))
"""


def report(prelude: str) -> tuple[Any, list[str]]:
    """What another process finds, and what it has imported for that."""
    command = [sys.executable, "-W", "error::FutureWarning", "-c", prelude + REPORT]
    done = subprocess.run(command, env=programs.environment(), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found, imported = json.loads(done.stdout)
    return found, imported


def test_nothing_loaded() -> None:
    """Where no framework is loaded there is nothing to say, and none is loaded for it."""
    assert report("") == (None, [])


def test_numpy() -> None:
    """A loaded library is known by its version; the same object comes back as long as nothing changes."""
    found: Any = capture(HERE)

    assert found["frameworks"]["numpy"]["version"] == np.__version__
    assert capture(HERE) is found


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is in no extra: decision 0001")
def test_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's switches of determinism and its threads are those in force; nothing is initialised for it."""
    import torch

    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("high")
    torch.set_num_threads(1)
    before = set(sys.modules)
    try:
        found: Any = capture(HERE)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(threads)
    seen = found["frameworks"]["torch"]

    assert seen["version"] == str(torch.__version__)
    assert (seen["deterministic_algorithms"], seen["deterministic_warn_only"], seen["threads"]) == (True, True, 1)
    assert (seen["cudnn_benchmark"], seen["float32_matmul_precision"]) == (True, "high")
    assert "frameworks_missing" not in found
    assert set(sys.modules) == before
    assert not torch.cuda.is_initialized()


def test_what_a_version_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a version lacks is left out; what refuses is noted with its reason; the rest is there."""
    jax: Any = types.ModuleType("jax")
    jax.__version__ = "0.9"
    jax.config = types.SimpleNamespace(jax_enable_x64=True, jax_default_prng_impl="threefry2x32")
    determinism: Any = types.ModuleType("tensorflow.python.framework.config")

    def refuse() -> None:
        raise RuntimeError("not now")

    determinism.is_op_determinism_enabled = refuse
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.setitem(sys.modules, "tensorflow.python.framework.config", determinism)
    found: Any = capture(HERE)

    assert found["frameworks"]["jax"] == {"version": "0.9", "enable_x64": True, "default_prng_impl": "threefry2x32"}
    assert found["frameworks"]["tensorflow"] == {}
    assert found["frameworks_missing"] == {"tensorflow.deterministic_ops": "RuntimeError: not now"}


def test_tables_have_each_fact_once() -> None:
    """No fact stands twice in a table."""
    for table in (frameworks.TORCH, frameworks.JAX, *frameworks.OTHERS.values()):
        names = [name for name, _ in table]

        assert len(set(names)) == len(names)
