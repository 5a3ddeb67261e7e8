"""What a command leaves behind when it is told to end: nothing."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn


@contextlib.contextmanager
def tidy() -> Iterator[None]:
    """While this holds, SIGTERM and SIGHUP end the command as Ctrl-C does: the programs that it has started end too.

    They run in sessions of their own: nobody else would tell them, when a terminal is closed or a job is cancelled.
    """
    is_main = threading.current_thread() is threading.main_thread()  # no other may set handlers
    known = (signal.SIGTERM, signal.SIGHUP) if is_main else ()
    numbers = [number for number in known if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, _leave)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a second one would stop the tidying up
    raise SystemExit(128 + number)
