"""Programs that are run once, as a user runs them, to be made again."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import mlsdk
from mlsdk.records import Run
from tests.programs import PATIENCE_S, environment


def write(text: str, path: str = "train.py") -> Path:
    """A file of the project, in the working directory."""
    there = Path(path)
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_text(textwrap.dedent(text), "utf-8")
    return there


def start(
    *words: str,
    given: str | None = None,
    source: Path | None = None,
    folder: str = ".",
    python: str = sys.executable,
    **settings: str,
) -> Run:
    """Run a program by its command line, to its end; the run that it started last.

    Args:
        words: what the interpreter is given.
        given: text that comes through a pipe.
        source: a file that is the standard input.
        folder: where it is started.
        python: the interpreter.
        settings: environment variables.
    """
    store = str(Path.cwd() / ".mlsdk")
    with open(source or os.devnull, encoding="utf-8") as stdin:
        done = subprocess.run(
            [python, *words],
            cwd=folder,
            env=environment(**{"MLSDK_COMPANION": "0", "MLSDK_STORE": store, **settings}),
            stdin=stdin if given is None else None,
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode == 0 or "on purpose" in done.stderr, done.stderr
    return mlsdk.get_run("latest")
