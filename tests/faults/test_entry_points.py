"""The same function, started in every way that people start programs: the same facts, and how it was started."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mlsdk
from tests import programs
from tests.conftest import require

CORE = """
import mlsdk

RATE = 0.5

def helper(x):
    return x * RATE

@mlsdk.track(experiment="entry")
def train(lr=0.1):
    mlsdk.log(loss=helper(lr))
    return {"acc": 0.75}
"""

SHARED_CODE = ("functions", "exact", "tree", "folder", "function", "commit", "dirty")
SHARED_ENVIRONMENT = ("python", "implementation", "libc", "distributions", "lock", "prefix")
SHARED_HARDWARE = ("host", "cores", "usable_cores", "memory_bytes", "cpu")


@pytest.fixture
def project() -> Path:
    """A repository with a package in it."""
    package = Path("project")
    package.mkdir()
    Path("project/__init__.py").write_text("")
    Path("project/core.py").write_text(CORE)
    Path("project/__main__.py").write_text("from project.core import train\ntrain(lr=0.3)\n")
    Path("script.py").write_text("from project.core import train\ntrain(lr=0.3)\n")
    Path("workers.py").write_text(
        "import multiprocessing\nfrom project.core import train\n"
        'if __name__ == "__main__":\n'
        '    process = multiprocessing.get_context("spawn").Process(target=train, args=(0.3,))\n'
        "    process.start()\n    process.join()\n"
    )
    Path(".gitignore").write_text(".mlsdk/\n")
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        subprocess.run(["git", *command], check=True)
    return package


def _start(*command: str, text: str | None = None) -> mlsdk.Run:
    done = subprocess.run(
        [sys.executable, *command],
        env=programs.environment(PYTHONPATH=os.pathsep.join([str(Path.cwd()), str(programs.ROOT)])),
        input=text,
        capture_output=True,
        text=True,
        timeout=programs.PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return mlsdk.get_run("latest")


def _facts(run: mlsdk.Run) -> dict[str, object]:
    return {
        **{name: run.code.get(name) for name in SHARED_CODE},
        **{name: run.environment.get(name) for name in SHARED_ENVIRONMENT},
        **{name: run.hardware.get(name) for name in SHARED_HARDWARE},
    }


@pytest.mark.usefixtures("project")
def test_every_way_of_starting() -> None:
    """Script, `-c`, standard input, package, spawned worker: the same is recorded, and how it was started."""
    line = "from project.core import train; train(lr=0.3)"
    runs = {
        "script": _start("script.py"),
        "command": _start("-c", line),
        "stdin": _start("-", text=line),
        "package": _start("-m", "project"),
        "worker": _start("workers.py"),
    }
    entries = {how: run.code["entry"] for how, run in runs.items()}
    first = _facts(runs["script"])

    assert entries["script"] == os.path.abspath("script.py")
    assert (entries["command"], entries["package"]) == ("-c", "-m project")
    assert entries["worker"] == os.path.abspath("workers.py")
    assert {how: _facts(run) == first for how, run in runs.items()} == dict.fromkeys(runs, True)
    assert sorted(first["functions"]) == ["project.core:RATE", "project.core:helper", "project.core:train"]
    assert all(run.problems == () and run.params["lr"] == 0.3 for run in runs.values())


@pytest.mark.usefixtures("project")
def test_a_notebook() -> None:
    """A notebook that is executed for real: its cells in the order of execution, and the functions that they define."""
    require(importlib.util.find_spec("nbclient") and importlib.util.find_spec("ipykernel"), "nbclient, ipykernel")
    import nbformat
    from nbclient import NotebookClient

    cells = [
        "import mlsdk\nfrom project.core import helper",
        "def mine(x):\n    return helper(x) + 1",
        'with mlsdk.run("entry", name="notebook") as run:\n    mlsdk.log(loss=mine(2.0))',
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    environment = programs.environment(PYTHONPATH=os.pathsep.join([str(Path.cwd()), str(programs.ROOT)]))
    client = NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": os.getcwd()}})
    kept = dict(os.environ)
    os.environ.update(environment)
    try:
        client.execute()
    finally:
        os.environ.clear()
        os.environ.update(kept)
    programs.eventually(lambda: "functions" in mlsdk.get_run("notebook").code)
    run = mlsdk.get_run("notebook")

    assert run.code["cells"][:3] == cells
    assert run.code["main"]["how"] == "notebook"
    assert "project.core:helper" in run.code["functions"]
    assert "__main__:mine" in run.code["functions"]
    assert run.metrics["loss"].last == 2.0


@pytest.mark.usefixtures("project")
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is in no extra: decision 0001")
def test_torchrun() -> None:
    """Two ranks under torchrun are one run, which records the job that they belong to, and its code."""
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1", "script.py"],
        env=programs.environment(PYTHONPATH=os.pathsep.join([str(Path.cwd()), str(programs.ROOT)])),
        capture_output=True,
        text=True,
        timeout=programs.PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    programs.eventually(lambda: all("functions" in run.code for run in mlsdk.runs()))
    (run,) = mlsdk.runs()

    assert run.environment["job"]["torchrun"]["rank"] == 0
    assert run.environment["job"]["torchrun"]["size"] == 2
    assert run.code["entry"] == os.path.abspath("script.py")
    assert run.history("loss", rank=1).values[0] == run.history("loss").values[0]
