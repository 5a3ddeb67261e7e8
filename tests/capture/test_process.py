"""How a run was started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mlsdk
from mlsdk.capture import Context
from mlsdk.capture.process import capture, entry_name
from tests import programs

QUIET = {"MLSDK_COMPANION": "0", "MLSDK_CAPTURE": "process"}


def test_a_script() -> None:
    """A script is known by its path, its arguments without secrets, and its folder; its name is the experiment."""
    path = programs.program("mlsdk.run().finish()", "churn.py")
    command = [sys.executable, str(path), "--lr", "0.1", "--api-key", "hunter2hunter2"]
    subprocess.run(command, env=programs.environment(**QUIET), check=True, timeout=60)
    run = mlsdk.get_run("latest")

    assert run.experiment == "churn"
    assert (run.code["entry"], run.code["folder"]) == (str(path), str(Path.cwd()))
    assert run.code["argv"][1:3] == ["--lr", "0.1"]  # type: ignore[index]
    assert "hunter2" not in str(run.code["argv"])


def test_a_module_and_a_line() -> None:
    """A module is known by its name, whole and short; a command line is called default."""
    (Path.cwd() / "pkg").mkdir()
    for name in ("__init__", "__main__", "part"):
        (Path.cwd() / "pkg" / f"{name}.py").write_text(
            "import mlsdk\nmlsdk.run().finish()\n" if name != "__init__" else ""
        )
    found = []
    for arguments in (["-m", "pkg"], ["-m", "pkg.part"], ["-c", "import mlsdk; mlsdk.run().finish()"]):
        subprocess.run([sys.executable, *arguments], env=programs.environment(**QUIET), check=True, timeout=60)
        run = mlsdk.get_run("latest")
        found.append((run.code["entry"], run.experiment))

    assert found == [("-m pkg", "pkg"), ("-m pkg.part", "part"), ("-c", "default")]


def test_here() -> None:
    """Under pytest it is pytest that was started."""
    assert set(capture(Context("folder"))) == {"argv", "folder", "entry"}
    assert "pytest" in entry_name()
