"""Small real projects, and changes that make their results others: what `mlsdk.verify` has to name.

One project of many parts bears most of them, so that whatever is not at fault stands beside it each time; what needs
a program of its own has one. Each change is made where the project lies, and taken back by `Project.reset`.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.conftest import ROOT
from tests.trees import git

if TYPE_CHECKING:
    import pytest

VARIABLES = {
    "ACME_FACTOR": "2",
    "MLSDK_COMPANION": "0",  # all is captured when the process has ended
    "MLSDK_ENVIRONMENT": "ACME_*",
    "OMP_NUM_THREADS": "2",
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "1",
}
"""What the originals run with."""

MAIN = '''
import os
from pathlib import Path

import numpy as np

import extra
import helpers
import settings

import mlsdk

PARTS = Path({parts!r})


@mlsdk.track(experiment="matrix")
def train(data: Path, lr: float = 0.1, epochs: int = 2):
    """Every part of what it returns depends on something else."""
    rows = np.loadtxt(data, delimiter=",", skiprows=1, dtype=settings.DTYPE)
    weight = rows.dtype.type(0)
    for _ in range(epochs):
        for x, y in rows:
            weight += lr * (y - weight * x) * x
        mlsdk.log(weight=weight)
    far = rows[:, 0] + 1000
    wave = np.sin(np.arange(90_000.0)).reshape(300, 300)
    return {{
        "weight": helpers.scale(weight) + extra.offset(),
        "spread": (far**2).mean() - far.mean() ** 2,
        "factor": float(os.environ["ACME_FACTOR"]) * weight,
        "words": " ".join({{"apple", "fig", "kiwi", "lime", "pear", "plum", "quince"}}),
        "parts": [float((PARTS / name).read_text()) for name in os.listdir(PARTS)],
        "product": wave @ np.cos(wave),
        "listed": os.listdir("few"),
    }}


if __name__ == "__main__":
    train(Path("train.csv"))
'''

FILES = {
    "helpers.py": "def scale(x):\n    return x * 3\n",
    "settings.py": 'DTYPE = "float64"\n',
    "train.csv": "x,y\n" + "".join(f"{n / 7:.3f},{n % 5 / 3:.3f}\n" for n in range(1, 13)),
    **{f"few/{name}": "" for name in "dbacfe"},
}
UNTRACKED = {"extra.py": "def offset():\n    return 1\n"}

CLUSTERS = """
import numpy as np
from sklearn.cluster import KMeans

import mlsdk


@mlsdk.track(experiment="matrix")
def train():
    points = np.sin(np.arange(20_000.0) ** 2).reshape(-1, 5)
    return {"inertia": KMeans(7, init=points[:7], n_init=1, max_iter=8).fit(points).inertia_}


train()
"""

LIBRARY = """
import tinylib

import mlsdk


@mlsdk.track(experiment="matrix")
def train():
    return {"rate": tinylib.rate(3)}


train()
"""

SEED = """
import random

import mlsdk


@mlsdk.track(experiment="matrix")
def train():
    for _ in range(5):
        mlsdk.log(loss=random.random())


train()
"""

LATE = """
import mlsdk


@mlsdk.track(experiment="matrix")
def train():
    import numpy as np

    return {"draws": np.random.rand(3), "more": np.random.default_rng().random(3)}


train()
"""

CLOCK = """
from datetime import datetime

import mlsdk


def stamp():
    return datetime.now().timestamp() % 1


@mlsdk.track(experiment="matrix")
def train():
    for _ in range(5):
        mlsdk.log(loss=stamp())


train()
"""

MEMORY = """
import local
import numpy as np

import mlsdk


@mlsdk.track(experiment="matrix")
def train(rows):
    return {"mean": rows.mean() * local.factor()}


train(np.loadtxt("train.csv", delimiter=",", skiprows=1))
"""

WORDS = """
import mlsdk


@mlsdk.track(experiment="matrix")
def train():
    return {"words": [*{str(number) for number in range(20)}]}


train()
"""

HELD = """
import os
import random
from datetime import datetime

import mlsdk

random.seed(0)


@mlsdk.track(experiment="matrix")
def train():
    for _ in range(3):
        mlsdk.log(loss=random.random(), at=datetime(2026, 1, 2).timestamp())
    return {"words": [*{str(number) for number in range(20)}], "listed": os.listdir("many")}


train()
"""


class Project(NamedTuple):
    """A program in a folder, with the files that it was made of."""

    folder: Path
    files: Mapping[str, str]
    variables: Mapping[str, str]
    python: str = sys.executable

    @property
    def store(self) -> str:
        """Where its runs are."""
        return str(self.folder / ".mlsdk")

    def run(self) -> str:
        """Run it as a user would, with its variables alone; the id of the run."""
        done = subprocess.run(
            [self.python, "main.py"],
            cwd=self.folder,
            env=environment(self.variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        (found,) = (self.folder / ".mlsdk" / "runs").iterdir()
        return found.name

    def write(self, **files: str) -> None:
        """Write files, named without their ends: `train` is `train.csv`."""
        for name, text in files.items():
            path = next(path for path in self.files if Path(path).stem == name)
            (self.folder / path).write_text(text, "utf-8")

    def replace(self, name: str, before: str, after: str) -> None:
        """Change one place in a file."""
        text = self.files[name]
        assert text.count(before) == 1, f"{before!r} stands {text.count(before)} times in {name}"
        (self.folder / name).write_text(text.replace(before, after), "utf-8")

    def reset(self) -> None:
        """Take all changes back."""
        for name, text in self.files.items():
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of this process, without any that programs here go by, and with these."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("MLSDK_") and name not in VARIABLES
    }
    return {**kept, "PYTHONPATH": str(ROOT), **variables}


def project(
    folder: Path,
    main: str,
    files: Mapping[str, str] | None = None,
    untracked: Mapping[str, str] | None = None,
    variables: Mapping[str, str] = VARIABLES,
    python: str = sys.executable,
) -> Project:
    """Write a program into a repository of its own, all but the untracked files committed."""
    folder.mkdir(parents=True)
    git("init", "-q", ".", folder=folder)
    tracked = {"main.py": main, **(files or {})}
    made = Project(folder, {**tracked, **(untracked or {})}, variables, python)
    made.reset()
    git("add", *tracked, folder=folder)
    git("commit", "-qm", "made", folder=folder)
    return made


def fill(folder: Path, *, backwards: bool = False) -> None:
    """Make a folder whose names the system lists in the order in which, or against which, they were made."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number in sorted(range(6), reverse=backwards):
        (folder / f"part-{number}").write_text(f"{number}\n")


def whole(folder: Path, parts: Path) -> Project:
    """The project of many parts."""
    fill(parts)
    return project(folder, MAIN.format(parts=str(parts)), FILES, UNTRACKED)


# what is changed


def _edit_cell(one: Project, _: pytest.MonkeyPatch, __: Path) -> None:
    lines = one.files["train.csv"].splitlines()
    one.write(train="\n".join([*lines[:5], "0.714,0.001", *lines[6:]]) + "\n")


def _move_row(one: Project, _: pytest.MonkeyPatch, __: Path) -> None:
    head, *rows = one.files["train.csv"].splitlines()
    one.write(train="\n".join([head, *rows[:3], rows[7], *rows[3:7], *rows[8:]]) + "\n")


def _helper(one: Project, _: pytest.MonkeyPatch, __: Path) -> None:
    one.replace("helpers.py", "x * 3", "x * 3.0001")


def _untracked(one: Project, _: pytest.MonkeyPatch, __: Path) -> None:
    one.replace("extra.py", "return 1", "return 2")


def _default(one: Project, _: pytest.MonkeyPatch, __: Path) -> None:
    one.replace("main.py", "lr: float = 0.1", "lr: float = 0.2")


def _float32(one: Project, _: pytest.MonkeyPatch, __: Path) -> None:
    one.replace("settings.py", "float64", "float32")


def _listing(_: Project, __: pytest.MonkeyPatch, parts: Path) -> None:
    fill(parts, backwards=True)


def _variable(name: str, value: str) -> Callable[[Project, pytest.MonkeyPatch, Path], None]:
    def change(_: Project, monkeypatch: pytest.MonkeyPatch, __: Path) -> None:
        monkeypatch.setenv(name, value)

    return change


class Cause(NamedTuple):
    """One injected change of the project of many parts.

    Attributes:
        name: for people.
        change: makes it, where the project lies.
        kind: of the cause that must be named first.
        what: its name; `{parts}` stands for the folder that is listed.
        also: further names that may stand as causes, being the same change seen elsewhere.
    """

    name: str
    change: Callable[[Project, pytest.MonkeyPatch, Path], None]
    kind: str
    what: str
    also: tuple[str, ...] = ()


CAUSES = (
    Cause("one cell of data edited", _edit_cell, "data", "data"),
    Cause("a row moved", _move_row, "data", "data"),
    Cause("a helper's body", _helper, "function", "helpers:scale"),
    Cause("an untracked module", _untracked, "function", "extra:offset"),
    Cause("a parameter's default", _default, "param", "lr", ("main:train", "__main__:train")),
    Cause("float32 for float64", _float32, "function", "settings:DTYPE"),
    Cause("order of a listing", _listing, "listing", "{parts}"),
    Cause("an environment variable", _variable("ACME_FACTOR", "3"), "variable", "ACME_FACTOR"),
    Cause("PYTHONHASHSEED", _variable("PYTHONHASHSEED", "2"), "seed", "PYTHONHASHSEED"),
    Cause("BLAS threads", _variable("OPENBLAS_NUM_THREADS", "2"), "threads", "OPENBLAS_NUM_THREADS"),
    Cause("BLAS kernel", _variable("OPENBLAS_CORETYPE", "Sandybridge"), "blas", "OPENBLAS_CORETYPE"),
)


# a package


def write_wheel(folder: Path, version: str, rate: str) -> Path:
    """A wheel of `tinylib`, whose one function depends on its version."""
    info = f"tinylib-{version}.dist-info"
    files = {
        "tinylib/__init__.py": f"def rate(x):\n    return x * {rate}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tinylib\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = io.StringIO()
    lines = csv.writer(record, lineterminator="\n")
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.writerow([name, f"sha256={digest}", len(text)])
    lines.writerow([f"{info}/RECORD", "", ""])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"tinylib-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record.getvalue()}.items():
            wheel.writestr(name, text)
    return path


def interpreter(folder: Path) -> str:
    """A virtual environment that sees this one's packages, for packages that only it has."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    _site(folder).joinpath("_of_the_tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    return str(folder / "bin" / "python")


def _site(folder: Path) -> Path:
    (site,) = folder.glob("lib/python*/site-packages")
    return site


def install(folder: Path, wheel: Path) -> None:
    """Have this version of the package, and no other."""
    for old in _site(folder).glob("tinylib*"):
        shutil.rmtree(old)
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(_site(folder))
