"""Can a run be made again: the level, the first divergence, the cause; on real reruns of small programs."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import mlsdk
from mlsdk.cli import main
from mlsdk.errors import UsageError
from mlsdk.records import Run
from mlsdk.reproduce.outcome.interval import prediction_interval, student_t
from mlsdk.reproduce.verdict import Verdict, verdict_of
from tests.programs import environment
from tests.trees import git

TRAIN = """
import os
import random
import sys
import time

import mlsdk
from helpers import scale

HASTE = 1.0


@mlsdk.track(experiment="verified")
def train(rate: float = 0.5, noise: bool = False, die: bool = False):
    chance = random.Random(7)
    loss = 1.0
    if noise:
        mlsdk.log(draft=random.SystemRandom().random())
        mlsdk.log(draft=1.0)
    for step in range(4):
        loss *= 1 - rate * scale(0.5) * chance.random() / HASTE
        mlsdk.log(loss=loss, step_s=time.perf_counter())
    if die:
        raise ValueError("a loss that nobody wants")
    return {"final": loss, "label": "cat" if loss < 1 else "dog"}


if __name__ == "__main__":
    train(noise="noise" in sys.argv, die="die" in sys.argv)
"""

HELPERS = "def scale(x):\n    return 0.5 * floor(x)\n\n\ndef floor(x):\n    return x\n"
QUIET = "import mlsdk\n\nwith mlsdk.run('quiet'):\n    print('nothing but time: 12:00:00')\n"
PRINTS = "import os, mlsdk\n\nwith mlsdk.run('prints'):\n    print('acc 0.5'); print('took 3 s'); print(os.getcwd())\n"


class Project:
    """Programs in a folder of their own, with a store beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.store = str(folder / "store")
        self.folder.mkdir()
        git("init", "-q", folder=self.folder)
        for name, text in (("train.py", TRAIN), ("helpers.py", HELPERS), ("quiet.py", QUIET), ("prints.py", PRINTS)):
            (self.folder / name).write_text(text, "utf-8")

    def run(self, *words: str) -> Run:
        settings = {"MLSDK_STORE": self.store, "MLSDK_COMPANION": "0"}
        subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=environment(**settings), check=False, capture_output=True
        )
        return mlsdk.get_run("latest", store=self.store)

    def verify(self, run: Run, **options: Any) -> Verdict:
        return mlsdk.verify(run, **{"env": "same", "store": self.store, **options})

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")


class Shared(NamedTuple):
    """A run that was verified once."""

    project: Project
    run: Run
    verdict: Verdict
    kept: Run
    """The run as it was read after that."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    project = Project(tmp_path_factory.mktemp("verified"))
    run = project.run("train.py")
    verdict = project.verify(run)
    return Shared(project, run, verdict, mlsdk.get_run(run.id, store=project.store))


@pytest.fixture
def project(shared: Shared) -> Iterator[Project]:
    """The project; what a test changes in it is taken back."""
    project = shared[0]
    before = {path: path.read_bytes() for path in project.folder.glob("*.py")}
    yield project
    for path in project.folder.glob("*.py"):
        if path in before:
            path.write_bytes(before[path])
        else:
            path.unlink()


def test_made_again_bit_by_bit(shared: Shared) -> None:
    """A deterministic run is level B after two reruns, nothing is blamed, and its measure of time does not count."""
    project, run, verdict, _ = shared
    reruns = [mlsdk.get_run(rerun, store=project.store) for rerun in verdict.reruns]

    assert (verdict.level, verdict.deterministic, verdict.causes) == ("B", True, ())
    assert verdict.first_divergence is None
    assert verdict.aside == ("metric step_s, a measure of time",)
    assert [(one.parent, one.experiment) for one in reruns] == [(run.id, "verify")] * 2
    assert git("status", "--porcelain", "--untracked-files=no", folder=project.folder) == ""


def test_a_verdict_is_kept(shared: Shared) -> None:
    """The verdict is a fact of the run, which filters find, and a statement that names the run's log and artifacts."""
    project, run, verdict, found = shared
    with mlsdk.open_store(project.store).blobs.open(str(verdict.statement)) as file:
        statement = json.load(file)

    assert (found.reproduced, verdict_of(found)) == ("B", verdict)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert [subject["name"].split("/")[1] for subject in statement["subject"]] == [run.id]
    assert statement["predicate"]["verdict"]["level"] == "B"
    assert len(statement["predicate"]["runDetails"]["byproducts"]) == 2


def test_a_changed_function_is_named(project: Project, shared: Shared) -> None:
    """The function that counts is confirmed by a rerun with it alone as it was; a harmless neighbour stays as it is."""
    project.edit("helpers.py", "0.5 * floor(x)", "0.75 * floor(x)")
    project.edit("helpers.py", "return x", "return x * 1")
    project.edit("train.py", "import time\n", "import time  # the clock\n")
    verdict = project.verify(shared[1], here=True)
    first = verdict.first_divergence

    assert (verdict.level, verdict.deterministic) == ("X", True)
    assert [(cause.kind, cause.what, cause.confirmed) for cause in verdict.causes] == [
        ("function", "helpers:scale", True)
    ]
    assert verdict.others == ("function helpers:floor",)
    assert first is not None
    assert (first.kind, first.what, first.step) == ("metric", "loss", 0)
    assert first.a == shared[1].history("loss").values[0]
    assert len(verdict.reruns) == 4
    assert mlsdk.get_run(shared[1].id, store=project.store).reproduced == "X"


def test_within_tolerance(project: Project, shared: Shared) -> None:
    """What differs by less than the tolerance is level T, with the size of the difference and its cause."""
    project.edit("train.py", "HASTE = 1.0", "HASTE = 1.00000000001")
    verdict = project.verify(shared[1], here=True)

    assert verdict.level == "T"
    assert verdict.relative is not None
    assert 0 < verdict.relative < 1e-10
    assert verdict.ulps
    assert [cause.kind for cause in verdict.causes if cause.confirmed] == ["function"]


def test_a_program_that_is_not_deterministic(project: Project) -> None:
    """Where reruns differ from each other, the run is level S if it came to what they let expect; nothing is blamed."""
    verdict = project.verify(project.run("train.py", "noise"), most_reruns=0, reruns=3)

    assert (verdict.level, verdict.deterministic) == ("S", False), verdict.reason
    assert len(verdict.reruns) == 3
    assert [one.what for one in (verdict.first_divergence,) if one] == ["draft"]
    assert not any(cause.confirmed for cause in verdict.causes)


def test_a_run_that_failed_is_made_again_by_failing(project: Project) -> None:
    """A failure is reproduced by the same error after the same points."""
    verdict = project.verify(project.run("train.py", "die"))

    assert (verdict.level, verdict.compared["end"]) == ("B", 1)


def test_a_rerun_that_fails(project: Project, shared: Shared) -> None:
    """Where the program fails now, that is the verdict, with the error and what is to blame."""
    project.edit("helpers.py", "0.5 *", "missing *")
    verdict = project.verify(shared[1], here=True)

    assert (verdict.level, verdict.why) == ("U", "program")
    assert "NameError" in verdict.reason
    assert [(cause.what, cause.confirmed) for cause in verdict.causes] == [("helpers:scale", True)]


def test_nothing_to_compare(project: Project) -> None:
    """A run that logged, returned and printed nothing cannot be judged, and is told what to do."""
    verdict = project.verify(project.run("quiet.py"))

    assert (verdict.level, verdict.why) == ("U", "content")
    assert "log a metric" in verdict.reason


def test_printed_lines_are_the_last_resort(project: Project) -> None:
    """Where there is nothing but output, its lines count, but for times and what no two reruns have alike."""
    verdict = project.verify(project.run("prints.py"))

    assert (verdict.level, dict(verdict.compared)) == ("B", {"output": 1})
    assert "2 lines" in verdict.skipped["output"]


def test_what_cannot_be_made_again(project: Project, shared: Shared) -> None:
    """A run that cannot be made again has level U, with the reason; the last verdict counts, earlier ones stay."""
    store = mlsdk.open_store(project.store)
    with mlsdk.run("bare", capture=(), store=project.store) as run:
        run.log(loss=1.0)
    verdict = project.verify(mlsdk.get_run(run.id, store=project.store))
    code = main(["verify", run.id, "--store", project.store, "--env", "same"])
    found = store.find_one(run.id)

    assert (verdict.level, verdict.why, verdict.reruns) == ("U", "entry", ())
    assert code == 2
    assert (found.reproduced, len(found.verdicts)) == ("U", 2)


def test_as_a_command(shared: Shared, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the verdict as JSON with all that the issue names, tells progress aside, and returns 0."""
    project, run, *_ = shared
    code = main(["verify", run.id, "--store", project.store, "--env", "same", "--json"])
    out, err = capsys.readouterr()
    told = json.loads(out)
    shown = main(["show", run.id, "--store", project.store])

    assert (code, shown) == (0, 0)
    assert {"run", "level", "deterministic", "reruns", "first_divergence", "causes", "reason"} <= told.keys()
    assert told["level"] == "B"
    assert err.count("rerun ") == 2
    assert "made again: B" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        {"env": "other"},
        {"tolerance": -1.0},
        {"reruns": 2},
        {"most_reruns": -1},
        {"here": True, "env": "fresh"},
        {"timeout_s": 0},
    ],
)
def test_wrong_arguments(shared: Shared, options: dict[str, Any]) -> None:
    """An argument that means nothing is refused at the call, before anything runs."""
    with pytest.raises(UsageError):
        mlsdk.verify(shared[1], store=shared[0].store, **options)


def test_a_live_run_is_not_verified() -> None:
    """A run that has not ended is refused."""
    with mlsdk.run("live") as run, pytest.raises(UsageError, match="still running"):
        mlsdk.verify(run.id)


# the interval


def test_quantiles_of_student() -> None:
    """The quantiles are those of the tables; the interval of five values reaches 3.04 standard deviations."""
    tables = {(1, 0.95): 12.706, (2, 0.95): 4.3027, (4, 0.95): 2.7764, (9, 0.99): 3.2498, (30, 0.9): 1.6973}
    values = [0.1, 0.4, 0.2, 0.5, 0.3]
    low, high = prediction_interval(values)

    for (freedom, confidence), expected in tables.items():
        assert student_t(freedom, confidence) == pytest.approx(expected, rel=1e-4)
    assert (high - low) / 2 / statistics.stdev(values) == pytest.approx(3.04, abs=0.005)
    assert prediction_interval([1.0, 1.0, 1.0]) == (1.0, 1.0)
