"""What cannot be made again says so, with what to do."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import Any

import attrs
import pytest

import mlsdk
from mlsdk.errors import RerunError, UsageError
from mlsdk.records import Run, RunStatus
from tests.programs import eventually
from tests.reproduce.again import start, write

PROGRAM = """
    import subprocess, sys, time
    import mlsdk

    @mlsdk.track
    def train(seconds=0.0, ask=False, end=False):
        if ask:
            input()
        if end:
            import os
            os.kill(os.getpid(), 9)
        if seconds:
            child = subprocess.Popen(["sleep", "600"], start_new_session=True)
            print("about to sleep beside", child.pid, flush=True)
        time.sleep(seconds)
        return {"done": 1}

    if __name__ == "__main__":
        if "no" in sys.argv:
            sys.exit("not today")
        train()
"""


def refused(run: Run | str, **asked: Any) -> RerunError:
    """The error of a rerun."""
    with pytest.raises(RerunError) as error:
        mlsdk.rerun(run, env="same", **asked)
    return error.value


def test_programs_that_do_not_come_to_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not end in time, is killed, fails before its run or reads its input is told apart, and quoted."""
    write(PROGRAM)
    old = start("train.py", given="")
    (tmp_path / "worlds").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "worlds"))
    late = refused(old, params={"seconds": 600}, timeout_s=1.5)
    asking = refused(old, params={"ask": True})
    killed = refused(old, params={"end": True})
    early = refused(attrs.evolve(old, code={**old.code, "argv": ["train.py", "no"]}))
    lost = refused(attrs.evolve(old, code={**old.code, "ordinal": 3}))

    assert (late.why, "within 1.5 s" in str(late), "--timeout" in str(late)) == ("timeout", True, True)
    child = int(str(late).rpartition("about to sleep beside ")[2])
    assert eventually(lambda: not Path(f"/proc/{child}").exists())
    assert (asking.why, "standard input" in str(asking)) == ("stdin", True)
    assert (killed.why, "killed by signal 9" in str(killed)) == ("program", True)
    assert (early.why, "not today" in str(early), "exit code 1" in str(early)) == ("program", True, True)
    assert (lost.why, "before its run began" in str(lost)) == ("program", True)
    assert os.listdir("worlds") == []


def without(old: Run, *names: str, **changes: object) -> Run:
    """The run with other facts of its code."""
    return attrs.evolve(old, code={**{name: old.code[name] for name in old.code if name not in names}, **changes})


def test_entries_that_cannot_be_started_again() -> None:
    """Each kind says why, and what to do: prompts, workers, launchers, secrets, code that was not kept."""
    write(PROGRAM)
    old = start("train.py")
    typed = start("-i", given="import mlsdk\nwith mlsdk.run('typed'):\n    pass\n\n")
    launched = attrs.evolve(old, environment={"variables": {"WORLD_SIZE": "4"}})
    kept = Path(".mlsdk/blobs")

    def told(run: Run, **asked: Any) -> tuple[str, str]:
        error = refused(run, **asked)
        return error.why, str(error)

    for run, why, words in (
        (typed, "entry", "cells.py"),
        (attrs.evolve(old, status=RunStatus.RUNNING), "program", "still running"),
        (without(old, main={"how": "notebook"}), "entry", "make a script"),
        (without(old, worker="Process-1"), "entry", "worker process"),
        (without(old, forked=True), "entry", "worker process"),
        (without(old, "entry"), "entry", "the capture `process` was not taken"),
        (launched, "entry", "4 processes"),
        (without(old, argv=["train.py", "--token", "[redacted]"]), "arguments", "a secret"),
        (without(old, "tree", tree_missing={"folder": "too many files"}), "code", "has no code tree"),
        (without(old, entry="/nowhere/tool.py", argv=["tool.py"]), "code", "not in its code tree"),
    ):
        assert told(run)[0] == why, words
        assert words in told(run)[1]
    assert told(old, params={"seconds": object()})[0] == "arguments"
    with pytest.raises(UsageError, match="env must be"):
        mlsdk.rerun(old, env="new")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="here=True"):
        mlsdk.rerun(old, env="fresh", here=True)
    with pytest.raises(UsageError, match="timeout_s"):
        mlsdk.rerun(old, timeout_s=math.nan)
    with mlsdk.run("here", store="memory:refused"):
        pass
    with pytest.raises(RerunError, match="only this process sees"):
        mlsdk.rerun("latest", store="memory:refused")
    kept.rename("gone")
    assert told(old)[0] == "code"
