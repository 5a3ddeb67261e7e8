"""What lies beside restored code: enough for somebody without mlsdk to run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import attrs

from mlsdk.log.values import decode
from mlsdk.reproduce.enclosed import enclose
from mlsdk.reproduce.restore import restore
from tests.programs import environment
from tests.reproduce.again import start, write
from tests.trees import contents, git

PROGRAM = """
    import sys
    from pathlib import Path
    import elsewhere, mlsdk

    @mlsdk.track
    def train(data=Path("../d.csv"), lr=0.5, sizes=(1, 2)):
        Path("../other.txt").read_text()
        print("lr", lr, sys.argv[1:])
        return {"rows": elsewhere.rows(data)}

    train()
"""


def test_what_a_run_needs_beside_its_code(tmp_path: Path) -> None:
    """Lock, params, data and modules from elsewhere are files of their own; the README's commands work."""
    git("init", "-q")
    write("d.csv\n/lib\n", ".gitignore")
    write("def rows(path):\n    return len(path.read_text().splitlines())\n", "lib/elsewhere.py")
    write(PROGRAM, "jobs/train.py")
    write("a\n1\n", "d.csv")
    write("seen", "other.txt")
    path = os.pathsep.join([str(Path("lib").resolve()), environment()["PYTHONPATH"]])
    run = start("train.py", "two words", folder="jobs", OMP_NUM_THREADS="2", PYTHONPATH=path)
    done = restore(run, tmp_path / "restored")
    beside = Path(enclose(run, done))
    readme = (beside / "README.md").read_text()
    data = {one["name"]: one for one in json.loads((beside / "data.json").read_text())}

    assert beside == tmp_path / "restored" / ".mlsdk-run"
    assert decode(json.loads((beside / "params.json").read_text())) == run.params
    assert (data["data"]["belongs_to"], data["data"]["digest"]) == ("d.csv", run.datasets["data"].digest)
    assert [one["belongs_to"] for one in data.values() if not one["declared"]] == ["other.txt"]
    assert "attrs==" in (beside / "requirements.txt").read_text()
    assert (beside / "sources" / "elsewhere.py").read_text() == Path("lib/elsewhere.py").read_text()
    assert (beside / ".gitignore").read_text() == "*\n"
    for words in ("uv pip install", "-m pip install", "cd jobs", "export OMP_NUM_THREADS=2", "train.py 'two words'"):
        assert words in readme
    assert "| data | `d.csv` | 1 row, sha256" in readme

    started = readme.partition("## Start\n\n```sh\n")[2].partition("```")[0]
    os.symlink(tmp_path / "d.csv", tmp_path / "restored" / "d.csv")
    program = Path("restored/.venv/bin/python")
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    installed = f"export PYTHONPATH=$PYTHONPATH:{os.pathsep.join(sys.path)}\n../.venv"  # as an installation would
    said = subprocess.run(
        ["sh", "-c", started.replace("../.venv", installed)],
        cwd=tmp_path / "restored",
        env=environment(MLSDK_MODE="disabled"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said == "lr 0.5 ['two words']\n"

    odd = {**run.environment, "python": "3;touch a", "variables": {"X;touch b": "1"}}
    again = attrs.evolve(run, code={**run.code, "cells": ["x = 1", "print(x)\n"]}, environment=odd)
    written = restore(again, "notebook")
    Path("notebook/.mlsdk-run").mkdir()
    other = Path(enclose(again, written))
    readme = (other / "README.md").read_text()
    assert other.name == f".mlsdk-run-{run.short_id}"
    assert (other / "cells.py").read_text() == "# %%\nx = 1\n\n# %%\nprint(x)\n"
    assert ("cells.py" in readme, "--python '3;touch a'" in readme, "touch b" in readme) == (True, True, False)
    assert b"d.csv" not in contents(Path("notebook"))
