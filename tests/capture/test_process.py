"""How a run was started."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mlsdk
from mlsdk.capture import Context, process
from mlsdk.capture.process import capture, entry_name, standard_input
from tests import programs

QUIET = {"MLSDK_COMPANION": "0", "MLSDK_CAPTURE": "process"}

REPORT = "import json, mlsdk.capture.process as p, mlsdk.capture as c; print(json.dumps(p.capture(c.Context('f'))))"


def python(*arguments: str, given: str | None = None, **settings: str) -> str:
    """What a Python process prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=programs.environment(**{**QUIET, **settings}),
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def package(**files: str) -> None:
    """Make a package `pkg` in the working directory."""
    folder = Path.cwd() / "pkg"
    folder.mkdir()
    for name, text in {"__init__": "", **files}.items():
        (folder / f"{name}.py").write_text(text)


def test_a_script() -> None:
    """A script is known by its path, its arguments without secrets, and its folder; its name is the experiment."""
    path = programs.program("mlsdk.run().finish()", "churn.py")
    python(str(path), "--lr", "0.1", "--api-key", "hunter2hunter2")
    run = mlsdk.get_run("latest")

    assert run.experiment == "churn"
    assert (run.code["entry"], run.code["folder"]) == (str(path), str(Path.cwd()))
    assert run.code["argv"][1:3] == ["--lr", "0.1"]  # type: ignore[index]
    assert "hunter2" not in str(run.code["argv"])


def test_a_module_and_a_line() -> None:
    """A module is known by its name, whole and short; a command line and standard input are called default."""
    program = "import mlsdk\nmlsdk.run().finish()\n"
    package(__main__=program, part=program)
    found = []
    for arguments in (["-m", "pkg"], ["-m", "pkg.part"], ["-c", program]):
        python(*arguments)
        run = mlsdk.get_run("latest")
        found.append((run.code["entry"], run.experiment))
    python("-", given=program)
    run = mlsdk.get_run("latest")
    found.append((run.code["entry"], run.experiment))

    assert found == [("-m pkg", "pkg"), ("-m pkg.part", "part"), ("-c", "default"), ("-", "default")]


WORKER = """
import multiprocessing, sys

def work(queue):
    import mlsdk.capture.process as p, mlsdk.capture as c
    queue.put(p.capture(c.Context("f")))

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=work, args=(queue,), name="loader")
    child.start()
    found = queue.get()
    child.join()
    print(found["entry"], found["worker"])
"""


def test_a_spawned_worker() -> None:
    """A worker that multiprocessing spawned knows what was started in the first place, and its own name."""
    package(
        __main__="from pkg.work import main\nmain()", work=WORKER.replace('if __name__ == "__main__":', "def main():")
    )
    script = Path("script.py")
    script.write_text(WORKER)

    assert python(str(script)).split() == [str(script.resolve()), "loader"]
    assert python("-m", "pkg").split() == ["-m", "pkg", "loader"]


def test_a_console_script() -> None:
    """An installed command is known by its path and called by its name."""
    package(cli="import mlsdk\n\ndef main():\n    mlsdk.run().finish()\n")
    command = Path.cwd() / "train-it"
    command.write_text("import sys\nfrom pkg.cli import main\nsys.exit(main())\n")
    python(str(command))
    run = mlsdk.get_run("latest")

    assert (run.code["entry"], run.experiment) == (str(command), "train-it")


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is in no extra: decision 0001")
def test_torchrun() -> None:
    """Both ranks under torchrun know the script as their entry, and their place in the job."""
    look = "import json, os, mlsdk.capture as c\nfrom mlsdk.capture import process\n"
    look += "from mlsdk.capture.environment import job\nw = c.Context('f')\n"
    found = "json.dumps([process.capture(w)['entry'], job.capture(w)['job']['torchrun']])"
    script = Path("train.py")
    script.write_text(f"{look}os.write(1, ({found} + chr(10)).encode())")  # whole lines: two ranks write at once
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    found = sorted((json.loads(line) for line in python(*run).splitlines() if line[:1] == "["), key=str)

    assert [entry for entry, _ in found] == [str(script.resolve())] * 2
    assert sorted((job["rank"], job["local_rank"], job["size"]) for _, job in found) == [(0, 0, 2), (1, 1, 2)]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """What standard input is: nothing, a pipe, a file with its size, closed."""
    Path("data.txt").write_text("12345")
    report = "import json, mlsdk.capture.process as p; print(json.dumps(p.standard_input()))"
    found = []
    for stdin in (subprocess.DEVNULL, subprocess.PIPE, os.open("data.txt", os.O_RDONLY)):
        command, settings = [sys.executable, "-c", report], programs.environment()
        done = subprocess.run(command, env=settings, stdin=stdin, capture_output=True, check=True, timeout=60)
        found.append(json.loads(done.stdout))
        if stdin >= 0:
            os.close(stdin)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", lambda _: os.close(-1))
        found.append(standard_input())

    assert [one["kind"] for one in found] == ["null", "pipe", "file", "closed"]
    assert found[2]["size_bytes"] == 5
    assert found[2].get("path", str(Path("data.txt").resolve())) == str(Path("data.txt").resolve())


def test_locale_zone_and_umask() -> None:
    """Locale and time zone are those in force, the mask is read without being set."""
    found = json.loads(python("-c", f"import os; os.umask(0o027)\n{REPORT}", TZ="Europe/Berlin", LC_ALL="C"))

    assert found["timezone"] == "Europe/Berlin"
    assert found["locale"] == "C"
    assert found.get("umask", "0027") == "0027"


def test_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under pytest it is pytest that was started; a command line without anything is no reason to fail."""
    found = capture(Context("folder"))
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setitem(sys.modules, "__main__", type(sys)("__main__"))

    assert {"argv", "folder", "entry", "timezone", "stdin"} <= set(found)
    assert process.entry_point() in ("-c", "-", "interactive")
    assert entry_name() in ("default", "notebook")
