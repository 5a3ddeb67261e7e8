"""stdout and stderr beside the run: a wrapper around the streams that passes everything on and keeps whole lines.

Wrapping `sys.stdout` survives other redirections: what is put over the wrapper later passes through it when it writes
on, and a wrapper that finds no run is only a detour.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from threading import get_ident
from typing import TYPE_CHECKING, Protocol, TextIO

from mlsdk.capture.secrets.redaction import redact_line

if TYPE_CHECKING:
    from typing import Any


class Receiver(Protocol):
    """A run that takes lines."""

    finished: bool

    def output(self, stream: int, text: str) -> None:
        """Take a line of stdout (1) or stderr (2)."""


Find = Callable[[], Receiver | None]

LONGEST_LINE = 10_000
"""Characters that are kept of a line that has not ended."""


_writing: set[tuple[int, int]] = set()
"""Streams (1 or 2) and threads that are inside of a `write`: of wrappers over wrappers the outermost keeps the line."""


class Tee:
    """A text stream that passes everything on and keeps whole lines for the current run.

    Each thread has a line of its own, so that what threads print at once is not mixed up. A line that was drawn over by
    carriage returns, as progress bars do, is kept in its last state. There is no lock here: `print` may be called where
    the run's lock is held, and the run's lock is taken from here.
    """

    def __init__(self, stream: TextIO, number: int, find: Find, limit: int) -> None:
        self._stream = stream
        self._number = number
        self._find = find
        self._left = limit
        self._beyond = 0
        self._in_key = False
        self._begun: dict[int, tuple[Receiver, str]] = {}
        """By thread, the line that has not ended yet, and whose it is."""
        self._pid = os.getpid()

    def __getattr__(self, name: str) -> Any:
        if name == "_stream":  # a copy that is being made has none yet
            raise AttributeError(name)
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)

    def __enter__(self) -> Tee:
        return self

    def __exit__(self, *ignored: object) -> None:
        self._stream.flush()

    def write(self, text: str) -> int:
        """Write to the stream below, and to the run."""
        inside = (self._number, get_ident())
        if inside in _writing:
            return self._stream.write(text)
        _writing.add(inside)
        try:
            written = self._stream.write(text)
            if self._pid == os.getpid() and isinstance(text, str):
                self._keep(text, inside[1])
            return written
        finally:
            _writing.discard(inside)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def _keep(self, text: str, thread: int) -> None:
        run = self._find()
        owner, begun = self._begun.pop(thread, (run, ""))
        if run is None or run.finished:
            return
        *lines, rest = ((begun if owner is run else "") + text).split("\n")
        for line in lines:
            self._hand(run, _last_state(line))
        if rest:
            shown = _last_state(rest)[-LONGEST_LINE:]
            self._begun[thread] = (run, shown + "\r" if rest.endswith("\r") else shown)

    def _hand(self, run: Receiver, line: str) -> None:
        size = len(line) + 1
        if size > self._left:
            if not self._beyond:
                run.output(self._number, "[mlsdk: the limit of recorded output is reached; the rest is not kept]\n")
            self._beyond += size
            self._left = 0
            return
        self._left -= size
        shown, self._in_key = redact_line(line, in_key=self._in_key)
        run.output(self._number, shown + "\n")

    def flush_lines(self, run: Receiver) -> None:
        """The run ends: hand over its lines that have not ended yet, and say how much was not kept."""
        if self._pid != os.getpid():
            return
        for thread, (owner, begun) in tuple(self._begun.items()):
            if owner is run:
                self._begun.pop(thread, (run, ""))
                self._hand(run, _last_state(begun))
        if self._beyond:
            run.output(self._number, f"[mlsdk: {self._beyond:,} characters were not kept]\n")

    def adopt(self) -> None:
        """In a forked child that starts a run of its own: keep its lines, not its parent's."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._begun.clear()
            _writing.clear()


def _last_state(line: str) -> str:
    """What is to be seen of a line that was drawn over by carriage returns."""
    return line.rstrip("\r").rpartition("\r")[2]


def install(find: Find, limit: int = 10_000_000) -> None:
    """Put a wrapper around `sys.stdout` and `sys.stderr`, unless one is there.

    Args:
        find: gives the current run.
        limit: of characters that are kept of each stream in this process.
    """
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name, None)
        if isinstance(stream, Tee):
            stream.adopt()
        elif stream is not None:
            setattr(sys, name, Tee(stream, number, find, limit))


def flush_lines(run: Receiver) -> None:
    """Hand over unfinished lines of both streams."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        if isinstance(stream, Tee):
            stream.flush_lines(run)
