"""`mlsdk status` and `mlsdk retrain` as commands: what they say, their exit codes, and the example for CI."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mlsdk
from tests import pages
from tests.conftest import ROOT, require
from tests.programs import environment
from tests.stale import copy_of, make_project, replace

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one run."""
    require(shutil.which("git"), "git")
    return make_project(tmp_path_factory.mktemp("base") / "project")


@pytest.fixture
def project(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project elsewhere, which is the working folder."""
    found = copy_of(base, tmp_path / "elsewhere")
    monkeypatch.chdir(found)
    return found


def test_up_to_date(call: Call, project: Path) -> None:
    """A run whose project is as it was is listed as up to date, by name and experiment, and the exit code is 0."""
    code, out, err = call("status", "--folder", ".", "--exit-code")

    assert (code, err) == (0, "")
    assert re.search(r"^1 run of .*\.mlsdk\n\nUp to date\n  churn-model  churn  [0-9a-f]{8}  \d+ (s|min) ago\n$", out)


def test_stale(call: Call, project: Path) -> None:
    """What differs is told in lines, in causal order, with the command that comes next; only --exit-code says 1."""
    replace(project / "helpers.py", "[x, x]", "[x, x, x]")
    replace(project / "data" / "more.csv", "3,4\n", "3,5\n")
    code, out, _ = call("status", "--folder", ".", "--exit-code")

    assert code == 1
    assert call("status", "churn", "--folder", ".")[0] == 0
    assert "Stale: made from what is no longer there" in out
    assert "mlsdk retrain NAME" in out
    assert out.index("      train > fit: scale() changed") < out.index("      data/more.csv: 1 row changed")


def test_not_known(call: Call, project: Path) -> None:
    """What is missing is not stale: the exit code is 2, and the line names the path."""
    (project / "config.json").unlink()
    code, out, _ = call("status", "--folder", ".", "--exit-code")

    assert code == 2
    assert f"not known: config.json: {project}/config.json is missing" in out


def test_as_json(ask: Callable[..., Any], project: Path) -> None:
    """--json has every run with its state and causes, and how many are in which state."""
    replace(project / "config.json", "2", "3")
    told = ask("status", "--folder", ".")

    assert told["counts"] == {"stale": 1, "unknown": 0, "up to date": 0, "replaced": 0}
    assert [(one["name"], one["state"]) for one in told["runs"]] == [("churn-model", "stale")]
    assert told["runs"][0]["causes"][0]["kind"] == "file"


def test_no_runs_and_no_such_run(call: Call) -> None:
    """Without a finished run that is said; an unknown name exits with 2 and names what it was."""
    with mlsdk.run("a", capture=()):
        empty = call("status")

    assert (empty[0], "no run has finished yet" in empty[1]) == (0, True)
    assert call("status", "name = 'nobody'")[1].endswith("none fits\n")
    code, out, err = call("status", "nobody")
    assert (code, out) == (2, "")
    assert "nobody" in err


def test_what_would_be_made_again(call: Call, ask: Callable[..., Any], base: Path) -> None:
    """--dry-run says what is stale and makes nothing."""
    helpers = (base / "helpers.py").read_text()
    replace(base / "helpers.py", "[x, x]", "[x, x, x]")
    store = ("--store", str(base / ".mlsdk"))
    try:
        code, out, _ = call("retrain", "churn", "--dry-run", *store)
        told = ask("retrain", "churn", "--dry-run", *store)
    finally:
        (base / "helpers.py").write_text(helpers)

    assert code == 0
    assert "  train > fit: scale() changed\n" in out
    assert out.endswith("1 run would be made again\n")
    assert [one["state"] for one in told] == ["stale"]
    assert call("retrain", "churn", *store)[1] == "nothing is stale\n"
    assert len(mlsdk.runs(store=base / ".mlsdk")) == 1


def test_nothing_stale_is_not_all_known(call: Call, base: Path) -> None:
    """`retrain` of runs of which it cannot be known says so: it does not pass for up to date."""
    (base / "config.json").rename(base / "kept.txt")
    try:
        code, out, _ = call("retrain", "churn", "--store", str(base / ".mlsdk"))
    finally:
        (base / "kept.txt").rename(base / "config.json")

    assert code == 0
    assert out == "nothing is stale; of 1 run it cannot be known: `mlsdk status` says why\n"


@pytest.mark.slow
def test_the_example_for_ci(base: Path, tmp_path: Path) -> None:
    """The commands of the page's GitHub Actions example do what the page says, in a clone of the project."""
    import yaml

    page = (ROOT / "docs" / "status.md").read_text("utf-8")
    (text,) = ["\n".join(block.lines) for block in pages.blocks(page) if block.info == "yaml"]
    steps = yaml.safe_load(text)["jobs"]["status"]["steps"]
    commands = {
        step["name"]: step["run"] for step in steps if "mlsdk " in step.get("run", "") and step["name"] != "Install"
    }
    clone = copy_of(base, tmp_path / "clone")
    base.rename(base.with_name("moved"))  # as on another machine
    settings = {"MLSDK_STORE": str(clone / ".mlsdk"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    settings |= {"MLSDK_COMPANION": "0", "PATH": f"{_with_command(tmp_path)}{os.pathsep}{os.environ['PATH']}"}

    def run(name: str) -> int:
        done = subprocess.run(
            ["bash", "-e", "-c", commands[name]],
            cwd=clone,
            env=environment(**settings),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode

    try:
        fresh = [run("Say what is stale"), run("Fail if something is")]
        replace(clone / "data" / "more.csv", "3,4\n", "3,5\n")
        stale = [run("Say what is stale"), run("Fail if something is"), run("Retrain by night")]
        again = run("Fail if something is")
    finally:
        base.with_name("moved").rename(base)
    summary = (tmp_path / "summary").read_text()

    assert set(commands) == {"Say what is stale", "Fail if something is", "Retrain by night"}
    assert (fresh, stale, again) == ([0, 0], [0, 1, 0], 0)
    assert summary.count("Up to date\n  churn-model") == 1
    assert "data/more.csv: 1 row changed" in summary


def _with_command(folder: Path) -> Path:
    """A folder with the program `mlsdk` of this source tree."""
    import sys

    found = folder / "bin"
    found.mkdir()
    (found / "mlsdk").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mlsdk "$@"\n')
    (found / "mlsdk").chmod(0o755)
    return found
