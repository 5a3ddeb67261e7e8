"""One process, watched: its output, its end, whether it read what it was given; stopped with its children in time."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_KEPT_BYTES = 32_768
_LOOK_EVERY_S = 0.05
_LEFT_S = 1.0
"""After the end of a process, its output is read for so long: a child of its own may hold it open for ever."""


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    """Its exit code, below 0 for the signal that killed it."""
    output: str
    """The end of what it printed."""
    in_time: bool
    asked: bool
    """Whether it took what was waiting for it in the standard input."""


def run_to_end(
    command: Sequence[str],
    *,
    folder: str,
    mark: str,
    environment: Mapping[str, str],
    given: bytes | None,
    program: str | None = None,
    timeout_s: float,
    umask: int = -1,
) -> Ended:
    """Run a program to its end, in a session of its own; what it leaves running is killed, also what went its own way.

    Args:
        command: the program and its arguments.
        folder: its working directory.
        mark: a text in its variables that nobody else's have: who has it was started by the program.
        environment: all its variables.
        given: what waits in a pipe as its standard input; None for an input that is empty from the start.
        program: text that is its standard input instead, which it is meant to read.
        timeout_s: after so many seconds it is killed.
        umask: of its files; -1 for the one of this process.

    Raises:
        OSError: it cannot be started.
    """
    stdin, copy = _input(given, program)
    read, write = os.pipe()
    try:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(environment),
            stdin=stdin,
            stdout=write,
            stderr=write,
            start_new_session=True,
            umask=umask,
        )
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
        os.close(stdin)
    try:
        output, in_time = _watch(process, read, time.monotonic() + timeout_s)
    finally:
        _kill(process, mark)
        os.close(read)
    asked = copy is not None and _waiting(copy) < len(given or b"")
    if copy is not None:
        os.close(copy)
    return Ended(process.returncode, output.decode("utf-8", "replace"), in_time, asked)


def _input(given: bytes | None, program: str | None) -> tuple[int, int | None]:
    """A descriptor to read from, and for a pipe another one, by which it is seen whether anything was taken."""
    if program is not None:
        with tempfile.TemporaryFile() as file:
            file.write(program.encode("utf-8", "surrogateescape"))
            file.seek(0)
            return os.dup(file.fileno()), None
    if given is None:
        return os.open(os.devnull, os.O_RDONLY), None
    read, write = os.pipe()
    os.write(write, given)
    os.close(write)
    return read, os.dup(read)


def _waiting(descriptor: int) -> int:
    """How many bytes wait in a pipe."""
    import array
    import fcntl
    import termios

    found = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, found)
    return int(found[0])


def _watch(process: subprocess.Popen[bytes], read: int, deadline: float) -> tuple[bytes, bool]:
    """Read what a process prints until it has ended, or its time is over."""
    kept, ended_at = b"", None
    while True:
        now = time.monotonic()
        if ended_at is None and _has_ended(process):
            ended_at = now
        if ended_at is None and now > deadline:
            return kept, False
        if ended_at is not None and now > ended_at + _LEFT_S:
            return kept, True
        if select.select([read], [], [], _LOOK_EVERY_S)[0]:
            piece = os.read(read, 65_536)
            kept = (kept + piece)[-_KEPT_BYTES:]
            if not piece:  # nobody can print any more
                if ended_at is not None:
                    return kept, True
                time.sleep(_LOOK_EVERY_S / 10)
        elif ended_at is not None:
            return kept, True


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended; without taking its end from the system, so that nobody else gets its number."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill(process: subprocess.Popen[bytes], mark: str) -> None:
    """Kill a process and all that it has started."""
    left = [*_below(process.pid), *_marked(mark, process.pid)]
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for child in left:
        with contextlib.suppress(Exception):  # gone meanwhile, or another user's
            child.kill()
    for child in _marked(mark, process.pid):  # what one of them started meanwhile
        with contextlib.suppress(Exception):  # as above
            child.kill()
    process.wait()


def _marked(mark: str, pid: int) -> list[Any]:
    """Processes that have a text in their variables: daemons have left their parents and sessions."""
    import psutil

    found: list[Any] = []
    for one in psutil.process_iter():
        if one.pid in (pid, os.getpid()):
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if any(mark in value for value in one.environ().values()):
                found.append(one)
    return found


def _below(pid: int) -> list[Any]:
    """Processes that one has started, and these; those in sessions of their own too."""
    import psutil

    try:
        found: list[Any] = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
    return found
