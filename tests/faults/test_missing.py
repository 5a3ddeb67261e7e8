"""Where something that captures need is missing or broken: the training goes on, and the run says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import mlsdk
from tests import programs

PROGRAM = """
    with mlsdk.run(name="it") as run:
        for step in range(3):
            run.log(loss=1.0 / (step + 1))
    print("trained")
    """


def _broken(how: str) -> dict[str, str]:
    """Break something; variables for the program."""
    folder = Path("bin").absolute()
    folder.mkdir()
    if how != "no repository":
        subprocess.run(["git", "init", "-q", "."], check=True)
    if how == "no git program":
        return {"PATH": str(folder)}
    if how == "a git that hangs":
        (folder / "git").write_text("#!/bin/sh\nexec sleep 1000\n")
        (folder / "git").chmod(0o755)
        return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    if how == "a corrupt repository":
        Path(".git/HEAD").write_bytes(b"\0nonsense")
        shutil.rmtree(".git/objects")
    return {}


@pytest.mark.parametrize("how", ["no git program", "a git that hangs", "no repository", "a corrupt repository"])
def test_git(how: str) -> None:
    """Without a git that answers the run ends well, its code is captured by a walk, and why is told."""
    done = programs.execute(PROGRAM, **_broken(how), MLSDK_EXIT_WAIT_S="50")
    run = mlsdk.get_run("it")

    assert (done.stdout, done.stderr) == ("trained\n", "")
    assert (run.status.value, run.metrics["loss"].count) == ("finished", 3)
    assert "commit" not in run.code
    assert (run.code["tree"]["by"], run.code["tree"]["files"]) == ("walk", 1 + (how == "a git that hangs"))
    assert bool(run.code.get("git_missing")) == (how != "no repository")


def test_a_library_that_fails() -> None:
    """A driver's library that is broken, files that nobody may read, a folder that vanishes: facts, not failures."""
    Path("bad").mkdir()
    Path("bad/pynvml.py").write_text("raise OSError('no driver, and no manners')\n")
    Path("bad/psutil.py").write_text("raise ImportError('broken')\n")
    done = programs.execute(
        """
        import os, shutil, sys
        sys.path.insert(0, os.path.abspath("bad"))
        os.mkdir("work")
        os.chdir("work")
        os.environ["MLSDK_STORE"] = os.path.abspath("../.mlsdk")
        with mlsdk.run(name="it") as run:
            shutil.rmtree("../work")
            run.log(loss=1.0)
        print("trained")
        """,
        MLSDK_EXIT_WAIT_S="50",
    )
    run = mlsdk.get_run("it")

    assert (done.stdout, done.stderr) == ("trained\n", "")
    assert (run.status.value, run.metrics["loss"].count) == ("finished", 1)
    assert run.hardware["gpu_count"] == 0
