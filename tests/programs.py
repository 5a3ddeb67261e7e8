"""Programs run as processes of their own, for what only the end of a process shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT

PATIENCE_S = 60.0


def environment(**settings: str) -> dict[str, str]:
    """The environment of a program: this source tree, no setting of ours but those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLSDK_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **settings}


def program(code: str, name: str = "program.py") -> Path:
    """A file with the program, in the working directory."""
    path = Path.cwd() / name
    path.write_text("import mlsdk\n" + textwrap.dedent(code), "utf-8")
    return path


def execute(code: str, *, code_expected: int | None = 0, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    done = subprocess.run(
        [sys.executable, str(program(code))],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert code_expected is None or done.returncode == code_expected, done.stderr
    return done


def begin(code: str, *, name: str = "program.py", **settings: str) -> subprocess.Popen[str]:
    """Start a program; it prints `ready` when it may be disturbed."""
    return subprocess.Popen(
        [sys.executable, str(program(code, name))],
        env=environment(**settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def await_line(process: subprocess.Popen[str], line: str = "ready") -> None:
    """Wait until the program has printed a line."""
    assert process.stdout is not None
    assert process.stdout.readline().strip() == line, process.communicate()[1]


def finish(process: subprocess.Popen[str], number: signal.Signals | None = None) -> tuple[str, str]:
    """Send a signal, if any, and wait for the end; what was printed."""
    if number is not None:
        process.send_signal(number)
    try:
        return process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def eventually(found: Callable[[], object], *, within_s: float = 20.0) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found():
            return True
        time.sleep(0.02)
    return bool(found())


def companions(store: Path) -> list[int]:
    """Processes that are companions of a store."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            words = command.split(b"\0")
            if state != "Z" and b"-I" in words and f"main('{store}'".encode() in command:
                found.append(int(folder.name))
    return found
