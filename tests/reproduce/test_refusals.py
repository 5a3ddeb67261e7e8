"""What cannot be made again, for each of the reasons that people meet: a verdict, and what they can do about it."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mlsdk
from mlsdk.cli import main
from mlsdk.errors import RerunError
from tests.conftest import require
from tests.programs import eventually
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
    """A run made in two cells of a kernel cannot be started again by itself; its cells can, as the script they become.

    The kernel is a real one, on loopback.
    """
    require(importlib.util.find_spec("nbclient") and importlib.util.find_spec("ipykernel"), "nbclient, ipykernel")
    import nbformat
    from nbclient import NotebookClient

    cells = [
        "import os\nos.environ['MLSDK_COMPANION'] = '0'\nimport mlsdk\nrun = mlsdk.run('book', params={'lr': 0.5})",
        "for step in range(3):\n    run.log(loss=0.5 / (step + 1))\nrun.finish()",
    ]
    folder = tmp_path / "book"
    folder.mkdir()
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(book, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    store = folder / ".mlsdk"
    (kept,) = (store / "runs").iterdir()
    run = mlsdk.get_run(kept.name, store=store)
    verdict = _refusal(run.id, store, env="same")
    with pytest.raises(RerunError) as refused:
        mlsdk.rerun(run, store=store)
    code = main(["restore", run.id, str(tmp_path / "restored"), "--store", str(store)])
    beside = tmp_path / "restored" / ".mlsdk-run"
    script, readme = ((beside / name).read_text() for name in ("cells.py", "README.md"))
    _run(tmp_path / "script", script)
    (made,) = mlsdk.runs(store=tmp_path / "script" / ".mlsdk")

    assert (run.code["entry"], run.metrics["loss"].count, run.params) == ("interactive", 3, {"lr": 0.5})
    assert (verdict.why, refused.value.why, str(refused.value)) == ("entry", "entry", verdict.reason)
    assert "notebook" in verdict.reason
    assert f"mlsdk restore {run.short_id}" in verdict.reason
    assert code == 0
    assert script == "\n\n".join(f"# %%\n{cell}" for cell in cells) + "\n"
    assert ("cells.py" in readme, "mlsdk rerun" in readme) == (True, False)
    assert list(made.history("loss").values) == list(run.history("loss").values)


def test_standard_input(tmp_path: Path) -> None:
    """A program that asks for its standard input is not answered by nobody: it says where to put the answer."""
    program = _tracked("    return {'rate': float(input())}")
    run = _run(tmp_path / "project", program, given="0.5\n")
    verdict = _refusal(run, tmp_path / "project" / ".mlsdk", env="same")

    assert verdict.why == "stdin"
    assert "standard input" in verdict.reason
    assert "argument" in verdict.reason


def test_a_program_that_never_ends(tmp_path: Path) -> None:
    """A program that does not end is stopped in the time that it was given; the verdict says how to give it more.

    It ends with the command too, when that is told to: nobody else knows of it.
    """
    stop, worlds = tmp_path / "stop", tmp_path / "worlds"
    stop.touch()
    worlds.mkdir()
    begun = f"Path({str(tmp_path / 'begun')!r}).write_text(str(os.getpid()))"
    body = f"    {begun}\n    while not os.path.exists({str(stop)!r}):\n        time.sleep(0.1)\n    return {{'a': 1}}"
    run = _run(tmp_path / "project", _tracked(body, before="import os, time\nfrom pathlib import Path"))
    store = tmp_path / "project" / ".mlsdk"
    stop.unlink()
    verdict = _refusal(run, store, env="same", timeout_s=2.0)
    (tmp_path / "begun").unlink()
    command = [sys.executable, "-m", "mlsdk", "verify", run, "--env", "same", "--store", str(store)]
    told = subprocess.Popen(
        command, env=injections.environment({"TMPDIR": str(worlds)}), stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert eventually(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").read_text(), within_s=60)
    told.terminate()
    told.communicate(timeout=60)
    pid = int((tmp_path / "begun").read_text())

    assert verdict.why == "timeout"
    assert "within 2 s" in verdict.reason
    assert "--timeout" in verdict.reason
    assert told.returncode == 128 + signal.SIGTERM
    assert eventually(lambda: not Path(f"/proc/{pid}").exists())
    assert list(worlds.iterdir()) == []
