"""stdout and stderr beside the run: a wrapper around the streams that passes everything on and hands whole lines to the current run.

Wrapping `sys.stdout` survives other redirections: what is put over the wrapper later passes through it when it writes on, and a wrapper
that finds no run is only a detour.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol, TextIO

from mlsdk.capture.redaction import redact_text

if TYPE_CHECKING:
    from typing import Any


class Receiver(Protocol):
    """A run that takes lines."""

    finished: bool

    def output(self, stream: int, text: str) -> None: ...


Find = Callable[[], Receiver | None]


class Tee:
    """A text stream that passes everything on and keeps whole lines for the current run.

    A line that was drawn over by carriage returns, as progress bars do, is kept in its last state.
    """

    def __init__(self, stream: TextIO, number: int, find: Find, limit_bytes: int) -> None:
        self._stream = stream
        self._number = number
        self._find = find
        self._left = limit_bytes
        self._begun = ""
        self._pid = os.getpid()
        self._busy = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)

    def __enter__(self) -> Tee:
        return self

    def __exit__(self, *ignored: object) -> None:
        self._stream.flush()

    def write(self, text: str) -> int:
        """Write to the stream below, and to the run."""
        written = self._stream.write(text)
        self._keep(text)
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def _keep(self, text: str) -> None:
        if self._busy or self._pid != os.getpid() or self._left < 0 or not isinstance(text, str):
            return
        self._busy = True
        try:
            run = self._find()
            if run is None or run.finished:
                self._begun = ""
                return
            lines = (self._begun + text).split("\n")
            self._begun = lines.pop().rpartition("\r")[2][-10_000:]
            for line in lines:
                self._hand(run, line.rstrip("\r").rpartition("\r")[2])
        finally:
            self._busy = False

    def _hand(self, run: Receiver, line: str) -> None:
        self._left -= len(line) + 1
        if self._left < 0:
            line = "[mlsdk: the limit of recorded output is reached; the rest is not kept]"
        run.output(self._number, redact_text(line)[0] + "\n")

    def flush_line(self, run: Receiver) -> None:
        """Hand over a line that has not ended yet, because the run ends."""
        begun, self._begun = self._begun, ""
        if begun and self._left >= 0 and self._pid == os.getpid():
            self._hand(run, begun)


def install(find: Find, limit_bytes: int = 10_000_000) -> None:
    """Put a wrapper around `sys.stdout` and `sys.stderr`, unless one is there."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name, None)
        if stream is not None and not isinstance(stream, Tee):
            setattr(sys, name, Tee(stream, number, find, limit_bytes))


def uninstall() -> None:
    """Take the wrappers away where nobody has put something over them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        if isinstance(stream, Tee):
            setattr(sys, name, stream._stream)


def flush_lines(run: Receiver) -> None:
    """Hand over unfinished lines of both streams."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        if isinstance(stream, Tee):
            stream.flush_line(run)
