"""The injection matrix: each change that makes a result another one is found, named, and confirmed where it can be."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlsdk
from tests.conftest import ROOT, require
from tests.reproduce import injections
from tests.reproduce.injections import CAUSES, VARIABLES, Cause, Project

pytestmark = pytest.mark.slow

MATCH = ("B", "T")


@pytest.fixture(scope="module")
def parts() -> Iterator[Path]:
    """A folder of a file system that lists names in the order of their making."""
    require(os.access("/dev/shm", os.W_OK), "/dev/shm")
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder / "parts"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, parts: Path) -> tuple[Project, str]:
    """The project of many parts, and the id of its one original run."""
    made = injections.whole(tmp_path_factory.mktemp("whole") / "project", parts)
    return made, made.run()


@pytest.fixture(autouse=True)
def _as_the_originals(_own_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an original ran with is set here too: then only what is injected differs."""
    for name, value in {**VARIABLES, "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)


def test_nothing_changed(base: tuple[Project, str]) -> None:
    """With nothing changed the verdict is B, from the record and from what lies here, and nothing is blamed.

    A folder of the code is listed as in the run, or as it lies here: that it is a copy is no change.
    """
    made, run = base
    for here in (False, True):
        verdict = mlsdk.verify(run, store=made.store, here=here, **({} if here else {"env": "same"}))

        assert (verdict.level, verdict.deterministic, verdict.causes) == ("B", True, ())


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name.replace(" ", "-"))
def test_the_matrix(base: tuple[Project, str], parts: Path, cause: Cause, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is never taken for a match, is the first cause that is named, and is confirmed by taking it back."""
    made, run = base
    cause.change(made, monkeypatch, parts)
    try:
        verdict = mlsdk.verify(run, store=made.store, here=True)
    finally:
        made.reset()
        injections.fill(parts)
    first, *others = verdict.causes

    assert (verdict.level, verdict.deterministic) == ("X", True)
    assert (first.kind, first.what, first.confirmed) == (cause.kind, cause.what.format(parts=parts), True)
    assert not [one for one in others if one.confirmed and one.what not in cause.also]
    assert verdict.first_divergence is not None


def test_what_lies_aside(tmp_path: Path) -> None:
    """Data that were read before the run began, and a module that git ignores, are named, and confirmed."""
    files = {"train.csv": injections.FILES["train.csv"], ".gitignore": "local.py\n"}
    local = {"local.py": "def factor():\n    return 2\n"}
    made = injections.project(tmp_path / "aside", injections.MEMORY, files, local)
    run = made.run()
    found = []
    for name, before, after in (("train.csv", "0.571,", "0.572,"), ("local.py", "2", "3")):
        made.replace(name, before, after)
        verdict = mlsdk.verify(run, store=made.store, here=True)
        found.append((verdict.level, [(one.kind, one.what, one.confirmed) for one in verdict.causes]))
        made.reset()

    assert found == [("X", [("data", "rows", True)]), ("X", [("function", "local:factor", True)])]


def test_threads_of_openmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library's other number of OpenMP threads is named, and confirmed by having the old number again."""
    require(importlib.util.find_spec("sklearn"), "scikit-learn")  # importing it would set variables here
    made = injections.project(tmp_path / "clusters", injections.CLUSTERS)
    run = made.run()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    verdict = mlsdk.verify(run, store=made.store, here=True, tolerance=0.0)
    first = verdict.causes[0]

    assert (verdict.level, verdict.deterministic) == ("X", True)
    assert (first.kind, first.what, first.confirmed) == ("threads", "OMP_NUM_THREADS", True)


def test_a_package(tmp_path: Path) -> None:
    """Another version of one package is named, and confirmed by having the old one again."""
    wheels, home = tmp_path / "wheels", tmp_path / "venv"
    old, new = (injections.write_wheel(wheels, version, rate) for version, rate in (("1.0", "2.0"), ("2.0", "2.5")))
    python = injections.interpreter(home)
    injections.install(home, old)
    made = injections.project(tmp_path / "library", injections.LIBRARY, python=python)
    run = made.run()
    injections.install(home, new)
    verdict = _verify(made, run, wheels)
    (first,) = verdict["causes"]

    assert (verdict["level"], verdict["deterministic"]) == ("X", True)
    assert (first["kind"], first["what"], first["confirmed"]) == ("package", "tinylib", True)
    assert (first["a"], first["b"]) == ("1.0", "2.0")


def _verify(made: Project, run: str, wheels: Path) -> dict[str, object]:
    """What the command says in the project's own interpreter, with packages from a folder alone."""
    sources = {"PIP_FIND_LINKS": str(wheels), "PIP_NO_INDEX": "1", "UV_FIND_LINKS": str(wheels), "UV_NO_INDEX": "1"}
    done = subprocess.run(
        [made.python, "-m", "mlsdk", "verify", run, "--here", "--json", "--store", made.store],
        env=injections.environment({**made.variables, **sources}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("program", "kind", "what"),
    [
        (injections.SEED, "seed", "random"),
        (injections.LATE, "seed", "not seeded"),
        (injections.CLOCK, "clock", "time of day"),
        (injections.WORDS, "seed", "PYTHONHASHSEED"),
    ],
    ids=["a-seed-not-set", "a-generator-that-comes-later", "time-of-day", "hashes-of-texts"],
)
def test_chance(tmp_path: Path, program: str, kind: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is another each time is no match and said to be so; held still, reruns equal each other, and it is named."""
    monkeypatch.delenv("PYTHONHASHSEED")
    variables = {name: value for name, value in VARIABLES.items() if name != "PYTHONHASHSEED"}
    made = injections.project(tmp_path / "chance", program, variables=variables)
    verdict = mlsdk.verify(made.run(), store=made.store, env="same", reruns=3)
    first = verdict.causes[0]

    assert verdict.level not in MATCH
    assert verdict.deterministic is False
    assert (first.kind, first.what, first.confirmed) == (kind, what, True)
    assert kind != "clock" or first.details == ("__main__:stamp asks datetime.datetime.now",)


def test_no_chance(tmp_path: Path) -> None:
    """The same with chance held by the program itself, a seed, a time and hashes: B, and nothing blamed.

    So is a folder of which a digest of the order is all that was kept.
    """
    many = {f"many/{number * 7 % 250}": "" for number in range(250)}
    made = injections.project(tmp_path / "held", injections.HELD, many)
    verdict = mlsdk.verify(made.run(), store=made.store, env="same")

    assert (verdict.level, verdict.deterministic, verdict.causes) == ("B", True, ())
