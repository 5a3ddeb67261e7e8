"""What cannot be made again, for each of the reasons that people meet: a verdict, and what they can do about it."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

import mlsdk
from tests.conftest import require
from tests.reproduce import injections

pytestmark = pytest.mark.slow


def _run(folder: Path, program: str, *, given: str | None = None, python: str | None = None) -> str:
    """Run a program in a folder of its own; the id of its run."""
    made = injections.project(folder, program, **({} if python is None else {"python": python}))
    done = subprocess.run(
        [made.python, "main.py"],
        cwd=folder,
        env=injections.environment({"MLSDK_COMPANION": "0"}),
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (run,) = (folder / ".mlsdk" / "runs").iterdir()
    return run.name


def _tracked(body: str, *, parameters: str = "", arguments: str = "", before: str = "") -> str:
    return (
        f"import mlsdk\n{before}\n\n@mlsdk.track(experiment='refused')\ndef train({parameters}):\n{body}\n\n\n"
        f"train({arguments})\n"
    )


def _refusal(run: str, store: Path, **asked: object) -> mlsdk.Verdict:
    """The verdict on a run that cannot be made again, which is on the run from then on."""
    verdict = mlsdk.verify(run, store=store, **asked)  # type: ignore[arg-type]
    found = mlsdk.get_run(run, store=store)

    assert (verdict.level, verdict.deterministic, verdict.causes) == ("U", None, ())
    assert found.reproduced == "U"
    return verdict


def test_missing_data(tmp_path: Path) -> None:
    """Data that are gone are named, with where they lay and what to do; so are data that are there and others."""
    data = tmp_path / "elsewhere" / "train.csv"
    data.parent.mkdir()
    data.write_text("x\n1\n")
    program = _tracked(
        "    return {'size': data.stat().st_size}",
        parameters="data",
        arguments=f"Path({str(data)!r})",
        before="from pathlib import Path",
    )
    run = _run(tmp_path / "project", program)
    store = tmp_path / "project" / ".mlsdk"
    data.write_text("x\n2\n")
    other = _refusal(run, store, env="same")
    data.unlink()
    gone = _refusal(run, store, env="same")

    assert (other.why, gone.why) == ("data", "data")
    assert all(str(data) in one.reason and "--here" in one.reason for one in (other, gone))
    assert "rows: 1 changed" in other.reason
    assert "put it back" in gone.reason


def test_a_lock_that_no_longer_resolves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that nobody offers any more is named, with the version and with what to do instead."""
    home = tmp_path / "venv"
    python = injections.interpreter(home)
    injections.install(home, injections.write_wheel(tmp_path / "wheels", "1.0", "2.0"))
    run = _run(tmp_path / "project", injections.LIBRARY, python=python)
    injections.install(home, injections.write_wheel(tmp_path / "wheels", "2.0", "2.5"))
    for name, value in {"UV_NO_INDEX": "1", "UV_OFFLINE": "1", "PIP_NO_INDEX": "1"}.items():
        monkeypatch.setenv(name, value)
    verdict = _refusal(run, tmp_path / "project" / ".mlsdk")

    assert verdict.why == "environment"
    assert "tinylib==1.0" in verdict.reason
    assert "--env same" in verdict.reason


def test_an_argument_that_cannot_be_pickled(tmp_path: Path) -> None:
    """What no pickle holds is no obstacle: the program makes it again."""
    program = _tracked(
        "    with lock:\n        return {'three': function(2), 'first': next(rows)}",
        parameters="function, lock, rows",
        arguments="lambda x: x + 1, threading.Lock(), (n for n in range(3))",
        before="import threading",
    )
    run = _run(tmp_path / "project", program)
    verdict = mlsdk.verify(run, store=tmp_path / "project" / ".mlsdk", env="same")

    assert (verdict.level, verdict.deterministic) == ("B", True)


def test_a_notebook(tmp_path: Path) -> None:
    """A run that was made in a notebook cannot be started again by itself; its cells can be had as a script."""
    require(importlib.util.find_spec("nbclient") and importlib.util.find_spec("ipykernel"), "nbclient, ipykernel")
    import nbformat
    from nbclient import NotebookClient

    cells = ["import os\nos.environ['MLSDK_COMPANION'] = '0'\nimport mlsdk", "with mlsdk.run():\n    mlsdk.log(a=1)"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(book, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    (run,) = (tmp_path / ".mlsdk" / "runs").iterdir()
    verdict = _refusal(run.name, tmp_path / ".mlsdk", env="same")

    assert verdict.why == "entry"
    assert "notebook" in verdict.reason
    assert f"mlsdk restore {run.name[-8:]}" in verdict.reason


def test_standard_input(tmp_path: Path) -> None:
    """A program that asks for its standard input is not answered by nobody: it says where to put the answer."""
    program = _tracked("    return {'rate': float(input())}")
    run = _run(tmp_path / "project", program, given="0.5\n")
    verdict = _refusal(run, tmp_path / "project" / ".mlsdk", env="same")

    assert verdict.why == "stdin"
    assert "standard input" in verdict.reason
    assert "argument" in verdict.reason


def test_the_clock(tmp_path: Path) -> None:
    """A program whose result is the time of day does not match; that it asks for it is said, and which function."""
    program = _tracked("    return {'at': stamp()}", before="import time\ndef stamp():\n    return str(time.time_ns())")
    run = _run(tmp_path / "project", program)
    verdict = mlsdk.verify(run, store=tmp_path / "project" / ".mlsdk", env="same", reruns=3)
    first = verdict.causes[0]

    assert (verdict.level, verdict.deterministic) == ("X", False)
    assert (first.kind, first.confirmed) == ("clock", True)
    assert "stamp asks time.time_ns" in "\n".join(first.details)


def test_a_program_that_never_ends(tmp_path: Path) -> None:
    """A program that does not end is stopped in the time that it was given; the verdict says how to give it more."""
    stop = tmp_path / "stop"
    stop.touch()
    body = f"    while not os.path.exists({str(stop)!r}):\n        time.sleep(0.1)\n    return {{'a': 1}}"
    run = _run(tmp_path / "project", _tracked(body, before="import os, time"))
    stop.unlink()
    verdict = _refusal(run, tmp_path / "project" / ".mlsdk", env="same", timeout_s=2.0)

    assert verdict.why == "timeout"
    assert "within 2 s" in verdict.reason
    assert "--timeout" in verdict.reason
