"""Several processes that serve one socket: what one starts, watches and stops."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

_PAUSE_S = 1.0
"""Before a process that ended by itself is started again."""


def run_workers(count: int, work: Callable[..., None]) -> int:
    """Run `work` in `count` processes until a signal says stop; one that ends by itself is started again.

    Nothing of a store may be open yet: connections do not survive a fork.

    Args:
        count: how many.
        work: called with `first=True` in the very first process, else with `first=False`.
    """
    living: set[int] = set()
    asked: list[int] = []

    def stop(number: int, _: Any) -> None:
        asked.append(number)
        for pid in living:
            _tell(pid, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    started = 0
    while not asked or living:
        while not asked and len(living) < count:
            living.add(_start(work, first=not started))
            started += 1
        if asked:  # a process may have been started while the signal came
            for pid in living:
                _tell(pid, signal.SIGTERM)
        try:
            pid, _ = os.wait()
        except (ChildProcessError, InterruptedError):
            living.clear()
            continue
        living.discard(pid)
        if not asked:
            print(f"mlsdk: worker {pid} ended; another is started", file=sys.stderr)
            time.sleep(_PAUSE_S)
    return 0


def _start(work: Callable[..., None], *, first: bool) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        work(first=first)
        code = 0
    except Exception:  # the parent has to hear of it, and this process must not go on as the parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _tell(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
