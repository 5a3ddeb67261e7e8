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


def _verdict(example: str, folder: Path) -> mlsdk.Verdict:
    """What comes of verifying an example here, after running it as its user would."""
    path = foreign.write(example, folder)
    subprocess.run(
        [sys.executable, path.name],
        cwd=folder,
        env=injections.environment({"MLSDK_COMPANION": "0"}),
        check=True,
        capture_output=True,
        timeout=60,
    )
    (run,) = (folder / ".mlsdk" / "runs").iterdir()
    return mlsdk.verify(run.name, store=folder / ".mlsdk", env="same", reruns=3)


def test_an_example(tmp_path: Path) -> None:
    """An example comes out the same bit by bit, all that it shows and all that it made, but for the times it took."""
    require(importlib.util.find_spec("sklearn"), "scikit-learn")
    verdict = _verdict("sklearn.model_selection:cross_validate", tmp_path / "one")

    assert (verdict.level, verdict.deterministic, verdict.causes) == ("B", True, ())
    assert verdict.compared["returned"] > 10
    assert all("time" in one for one in verdict.aside)


def test_the_examples_can_be_had() -> None:
    """Each example of scikit-learn still stands where it is looked for, and makes a program that compiles."""
    require(importlib.util.find_spec("sklearn"), "scikit-learn")
    sources = [foreign.program(example) for example in foreign.EXAMPLES if example.startswith("sklearn")]

    assert all("shown.append" in source for source in sources)
    for source in sources:
        compile(source, "example", "exec")
