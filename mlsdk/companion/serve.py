"""The companion's loop. It looks at the markers in `open/`, serves the logs of its own place, and ends when none is left.

It is asked nothing and holds nothing that the store does not: killed at any moment, the next one goes on from the markers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from mlsdk.companion.charge import Charge, Header, Taken, is_gone
from mlsdk.companion.spawn import is_present, lock_path
from mlsdk.store.files import FileLogs
from mlsdk.store.layout import split_marker
from mlsdk.store.target import FileTarget

TICK_S = 0.05
SLOWEST_TICK_S = 0.25
SYNC_EVERY_S = 1.0
LINGER_S = 0.5
"""How long a companion without work stays: the next run of a loop then finds it."""


class Companion:
    """What one companion knows while it runs.

    Args:
        target: the store that it serves.
        place: the user, host and job whose logs are its own.
    """

    def __init__(self, target: FileTarget, place: str) -> None:
        self._target = target
        self._place = place
        self._logs = FileLogs(target.layout)
        self._taken: Taken = {}
        self._live: dict[str, Header] = {}
        self._charges: dict[str, Charge] = {}
        self._foreign: dict[str, float] = {}
        self._synced: dict[str, tuple[int, float]] = {}
        self._ended: dict[str, list[str]] = {}

    def tick(self) -> bool:
        """Look once; whether there was or still is anything to do."""
        markers = set(os.listdir(self._target.layout.open))
        for marker in sorted(markers - self._live.keys() - self._charges.keys()):
            self._meet(marker)
        for charge in tuple(self._charges.values()):
            if not charge.captured:
                charge.capture()
        for marker, header in tuple(self._live.items()):
            if marker not in markers:
                self._ended.setdefault(header.run, [])
                del self._live[marker]
            elif is_gone(header):
                self._bury(marker, header)
        for owed, charge in tuple(self._charges.items()):
            if f"{charge.header.run}.{charge.header.writer}" in self._live:
                charge.sign()
            else:
                charge.end(self._logs, self._ended.pop(charge.header.run, []))
                del self._charges[owed]
        return bool(self._live or self._charges)

    def _meet(self, marker: str) -> None:
        """Take a marker on if it is of this place, or of one that nobody serves any more."""
        parts = split_marker(marker)
        if parts is None or time.monotonic() < self._foreign.get(marker, 0.0):
            return
        run, writer = parts
        try:
            header = Header(self._target.layout, run, writer)
            if self._serves(header) and header.role != "companion":
                self._live[marker] = header
                return
            unfinished = header.role == "companion" and is_gone(header)
        except FileNotFoundError:
            unfinished = True
        owner = self._owner(run, writer) if unfinished else None
        if owner is not None and self._serves(owner):
            self._charges[marker] = Charge(self._target, owner, self._taken)
        elif unfinished and os.path.exists(self._target.layout.log_path(f"runs/{run}/{writer}")):
            self._target.retire(run, writer)
        else:
            self._foreign[marker] = time.monotonic() + 5.0

    def _serves(self, header: Header) -> bool:
        if header.place == self._place:
            return True
        return is_gone(header) and not is_present(self._target.layout.root, str(header.place))

    def _owner(self, run: str, owed: str) -> Header | None:
        """The log that asked for a companion's log of this id, or None."""
        folder = os.path.join(self._target.layout.runs, run)
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(folder):
                if name.endswith(".log"):
                    header = Header(self._target.layout, run, name.removesuffix(".log"))
                    if header.owed == owed:
                        return header
        return None

    def _bury(self, marker: str, header: Header) -> None:
        """The writer died without closing its log: nothing will be added to it."""
        self._ended.setdefault(header.run, []).append(header.log)
        del self._live[marker]
        self._target.retire(header.run, header.writer)

    def sync(self) -> None:
        """Bring what the live logs have grown to the disk: a power cut then costs a second at most."""
        for marker, header in self._live.items():
            with contextlib.suppress(OSError):
                descriptor = os.open(header.path, os.O_RDONLY)
                try:
                    os.fdatasync(descriptor) if hasattr(os, "fdatasync") else os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                self._synced[marker] = (0, time.monotonic())

    def catalog(self) -> None:
        """Bring the catalog up to date, so that the first query need not."""
        from mlsdk.store.base import open_file

        store = open_file(self._target.uri)
        store.refresh()
        store.catalog.close()


def main(root: str, place: str) -> None:
    """Be the companion of a place, unless there is one."""
    with contextlib.suppress(OSError, AttributeError):
        os.setsid()
    for name in ("SIGINT", "SIGHUP", "SIGQUIT", "SIGTERM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN if name != "SIGTERM" else signal.SIG_DFL)
    lock = _lock(root, place)
    if lock is None:
        return
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)
    os.chdir(root)
    while True:
        _serve(root, place)
        os.close(lock)
        # A run that began after the last look saw the lock still held, and started nobody: look once more without it.
        companion = Companion(FileTarget(f"file:{root}", root), place)
        if not companion.tick():
            return
        lock = _lock(root, place)
        if lock is None:
            return


def _serve(root: str, place: str) -> None:
    companion = Companion(FileTarget(f"file:{root}", root), place)
    idle_since, synced, pause, stale = time.monotonic(), time.monotonic(), TICK_S, True
    while True:
        busy = companion.tick()
        now = time.monotonic()
        if busy:
            idle_since, stale = now, True
        elif stale:
            companion.catalog()
            stale = False
        elif now - idle_since > LINGER_S:
            return
        if now - synced > SYNC_EVERY_S:
            companion.sync()
            synced = now
        pause = min(pause * 1.2, SLOWEST_TICK_S) if busy else TICK_S
        time.sleep(pause)


def _lock(root: str, place: str) -> int | None:
    """Hold the place's lock; None if another companion does. Those who only look hold it for microseconds, so try a few times."""
    import fcntl

    path = lock_path(root, place)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(10):
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError:
            time.sleep(0.005)
    os.close(descriptor)
    return None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
