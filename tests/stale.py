"""A project with a run in it, to be changed in one way or another: what may make a model stale, and what may not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.programs import PATIENCE_S, environment

CAPTURES = "process,python,source,git,tree,functions,packages"
"""Those that staleness asks for; the others take their time."""

TRAIN = '''"""Trains."""

import csv
import json
import sys
from pathlib import Path

import mlsdk
from helpers import scale

SHIFT = 3


def fit(rows, lr):
    """Fit."""
    return sum(scale(float(row["x"])) for row in rows) * lr + SHIFT


@mlsdk.track(experiment="churn", name="churn-model")
def train(data: Path, lr: float = 0.1):
    rows = list(csv.DictReader(data.open(newline="")))
    config = json.loads(Path("config.json").read_text())
    more = list(csv.DictReader(open("data/more.csv", newline="")))
    return {"loss": fit(rows, lr) * config["weight"], "rows": len(rows) + len(more)}


if __name__ == "__main__":
    train(Path("data/train.csv"))
'''

HELPERS = '''"""Helpers."""

import math


def scale(x):
    # twice
    return math.fsum([x, x])


def unused(x):
    return x
'''

PREPARE = """
import mlsdk
from pathlib import Path

@mlsdk.track(experiment="features", name="prepare")
def prepare(raw: Path):
    Path("features.csv").write_text(raw.read_text().replace("x", "feature"))
    mlsdk.current_run().log_artifact("features.csv")

prepare(Path("raw.csv"))
"""

USE = """
import mlsdk
from pathlib import Path

@mlsdk.track(experiment="models", name="model")
def model(data: Path):
    return {"size": len(data.read_text())}

model(Path("features.csv"))
"""


def make_project(folder: Path) -> Path:
    """Write the project, and run it once.

    Returns:
        Its folder.
    """
    (folder / "data").mkdir(parents=True)
    (folder / "train.py").write_text(TRAIN)
    (folder / "helpers.py").write_text(HELPERS)
    (folder / "config.json").write_text('{"weight": 2}\n')
    (folder / "unread.yaml").write_text("depth: 3\n")
    rows = "".join(f"{number},{number % 7},{'ab'[number % 2]}\n" for number in range(1200))
    (folder / "data" / "train.csv").write_text("x,y,kind\n" + rows)
    (folder / "data" / "more.csv").write_text("x,y\n1,2\n3,4\n")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    start(folder, "train.py")
    return folder


def make_pipeline(folder: Path) -> Path:
    """A run that makes features of raw data, and one that uses them.

    Returns:
        Their folder.
    """
    folder.mkdir(parents=True)
    (folder / "prepare.py").write_text(PREPARE)
    (folder / "use.py").write_text(USE)
    (folder / "raw.csv").write_text("x\n1\n2\n")
    start(folder, "prepare.py")
    start(folder, "use.py")
    return folder


def start(folder: Path, *words: str, **settings: str) -> str:
    """Run a program of the project to its end; what it printed."""
    fixed = {"MLSDK_COMPANION": "0", "MLSDK_CAPTURE": CAPTURES, "MLSDK_SAMPLE_EVERY_S": "0"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment(**{**fixed, "XDG_CACHE_HOME": os.fspath(folder.parent / "cache"), **settings}),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def copy_of(project: Path, folder: Path) -> Path:
    """The project with its store in another folder, as a clone would have it."""
    shutil.copytree(project, folder, symlinks=True)
    return folder


def replace(path: Path, old: str, new: str) -> None:
    """Change a file in one place."""
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))
