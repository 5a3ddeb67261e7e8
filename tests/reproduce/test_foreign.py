"""Programs that nobody here wrote, made runs by the decorator alone: what level they reach, and why some do not.

All twelve, in fresh environments: `python -m tests.benchmarks foreign_programs`. Here is one of them.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import mlsdk
from tests.conftest import require
from tests.reproduce import foreign, injections

pytestmark = pytest.mark.slow


def test_an_example(tmp_path: Path) -> None:
    """An example comes out the same bit by bit, all that it shows and all that it made, but for the times it took.

    The others still stand where they are looked for, and make programs that compile.
    """
    require(importlib.util.find_spec("sklearn"), "scikit-learn")
    path = foreign.write("sklearn.model_selection:cross_validate", tmp_path / "one")
    subprocess.run(
        [sys.executable, path.name],
        cwd=path.parent,
        env=injections.environment({"MLSDK_COMPANION": "0"}),
        check=True,
        capture_output=True,
        timeout=60,
    )
    store = path.parent / ".mlsdk"
    (run,) = (store / "runs").iterdir()
    verdict = mlsdk.verify(run.name, store=store, env="same")
    sources = [foreign.program(example) for example in foreign.EXAMPLES if example.startswith("sklearn")]

    assert (verdict.level, verdict.deterministic, verdict.causes) == ("B", True, ())
    assert verdict.compared["returned"] > 10
    assert verdict.aside
    assert all("time" in one for one in verdict.aside)
    assert all("shown.append" in source and compile(source, "example", "exec") for source in sources)
