"""A small project that is trained, changed in one known way, and trained again: real runs of real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import mlsdk
from tests.capture.environment import distributions
from tests.conftest import ROOT
from tests.programs import environment

FILES = {
    "train.py": """
import argparse
import json
import os
from pathlib import Path

import acme
import mlsdk
from pkg import model


def fit(rows, lr, momentum):
    # one step a row
    net = model.Model()
    for row in rows:
        mlsdk.log(loss=net.step(row, lr) + momentum)
    return net


@mlsdk.track(experiment="pairs")
def train(data: Path, lr: float = 0.1, momentum: float = 0.5):
    conf = json.loads(Path("conf.json").read_text())
    if os.path.exists("override.json"):
        conf.update(json.loads(Path("override.json").read_text()))
    more = Path("tables/extra.csv").read_text()
    rows = [float(line.split(",")[1]) for line in data.read_text().splitlines()[1:]]
    net = fit(rows, lr, momentum)
    return {"total": net.total + conf["bias"] + len(more)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="tables/train.csv")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--out", default="out")
    given = parser.parse_args()
    train(Path(given.data), lr=given.lr)
""",
    "pkg/__init__.py": "",
    "pkg/model.py": """
from pkg import helpers
from pkg.helpers import scale


class Model:
    \"\"\"It learns.\"\"\"

    rate = 2

    def __init__(self):
        self.total = 0.0

    def step(self, row, lr):
        self.total += scale(row) * lr * self.rate
        return self.total
""",
    "pkg/helpers.py": """
FACTOR = 3


def scale(x):
    \"\"\"Make it larger.\"\"\"
    return x * FACTOR


def shift(x):
    return x + 1


def unused(x):
    return -x
""",
    "pkg/alone.py": """
def nobody():
    return 1
""",
    "conf.json": '{"bias": 1,\n "unit": "m"}\n',
    "notes.md": "as it was\n",
    "tables/train.csv": "name,value\na,1.5\nb,2.5\nc,3.5\n",
    "tables/extra.csv": "k,v\n1,2\n3,4\n",
}

PACKAGES = {"acme": ("1.0", True), "quiet": ("2.1", False)}
"""Version of each installed package, and whether the program imports it."""

CAPTURES = "process,python,variables,job,frameworks,blas,randomness,source,git,tree,functions,packages,host,cpu,gpu"


def install(folder: Path, versions: Mapping[str, str]) -> Path:
    """Packages as pip leaves them, in a folder that goes onto the path."""
    site = folder / "site-packages"
    for name, (version, _) in PACKAGES.items():
        distributions.install(site, name, versions.get(name, version), files={f"{name}.py": ""})
    return site


class Bench:
    """A store, and the project in as many copies as there are cases.

    Args:
        folder: where all of it lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = f"file:{folder / 'store'}"
        self._site = install(folder / "usual", {})
        self._count = 0
        self._first: mlsdk.Run | None = None

    @property
    def first(self) -> mlsdk.Run:
        """The run of the project as it is."""
        if self._first is None:
            self._first = self.run(self.copy())
        return self._first

    def copy(self, files: Mapping[str, str | None] | None = None) -> Path:
        """The project in a new folder, with files written over it; None takes one away."""
        self._count += 1
        project = self.folder / f"copy-{self._count}"
        for name, text in {**FILES, **(files or {})}.items():
            path = project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                path.write_text(text, "utf-8", newline="")
        return project

    def run(
        self,
        project: Path,
        *words: str,
        variables: Mapping[str, str] | None = None,
        flags: tuple[str, ...] = (),
        versions: Mapping[str, str] | None = None,
        stdin: Path | None = None,
    ) -> mlsdk.Run:
        """Train once, in a process of its own; the run as it was recorded."""
        site = self._site if versions is None else install(self.folder / f"site-{self._count}", versions)
        ours = environment(MLSDK_COMPANION="0", MLSDK_CAPTURE=CAPTURES, MLSDK_STORE=self.store)
        kept = {name: value for name, value in ours.items() if not name.startswith(("PYTHON", "OMP_"))}
        settings = {**kept, "PYTHONPATH": os.pathsep.join((str(ROOT), str(site))), **(variables or {})}
        with open(stdin or os.devnull, "rb") as given:
            subprocess.run(
                [sys.executable, *flags, "train.py", *words],
                cwd=project,
                env=settings,
                stdin=given,
                capture_output=True,
                check=True,
                timeout=100,
            )
        return mlsdk.get_run("latest", store=self.store)

    def clear(self) -> None:
        """Take the copies away."""
        shutil.rmtree(self.folder, ignore_errors=True)


def edited(name: str, *replacements: tuple[str, str]) -> dict[str, str | None]:
    """A file of the project with texts replaced, each of which must be there."""
    text = FILES[name]
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new)
    return {name: text}
