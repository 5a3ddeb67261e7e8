"""The companion's loop: it looks at the markers in `open/`, serves the logs of its own place, ends when none is left.

It is asked nothing and holds nothing that the store does not: killed at any moment, the next one goes on from the
markers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlsdk.capture.secrets.redaction import redact_text
from mlsdk.companion.charge import Charge
from mlsdk.companion.header import Header, is_gone
from mlsdk.companion.looks import Looks
from mlsdk.companion.machine import Machine
from mlsdk.companion.spawn import is_present, lock_path
from mlsdk.errors import MlsdkError
from mlsdk.store import outbox
from mlsdk.store.files import FileLogs
from mlsdk.store.layout import split_marker
from mlsdk.store.target import FileTarget

if TYPE_CHECKING:
    from mlsdk.companion.ship import Shipper

TICK_S = 0.05
SLOWEST_TICK_S = 0.25
SYNC_EVERY_S = 1.0
LINGER_S = 0.5
"""How long a companion without work stays: the next run of a loop then finds it."""

LOOK_AGAIN_S = 5.0

_OF_ONE_REPOSITORY = frozenset(("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"))


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
        self._looks = Looks(target.put_blob)
        self._machine = Machine()
        self._live: dict[str, Header] = {}
        self._charges: dict[str, Charge] = {}
        self._passed_over: dict[str, float] = {}
        """Markers that are somebody else's, or that failed, and when to look at them again."""
        self._ended: dict[str, list[str]] = {}
        self.shipper: Shipper | None = None
        if outbox.remote_of(target.layout.root):
            from mlsdk.companion.ship import Shipper

            self.shipper = Shipper(target.layout.root)

    def tick(self) -> bool:
        """Look once; whether there was or still is anything to do."""
        markers = self._markers()
        for marker in sorted(markers - self._live.keys() - self._charges.keys()):
            if time.monotonic() >= self._passed_over.get(marker, 0.0):
                self._try(marker, self._meet)
        for marker, charge in tuple(self._charges.items()):
            if not charge.captured:
                self._try(marker, self._capture)
        for marker, header in tuple(self._live.items()):
            if marker not in markers:
                self._ended.setdefault(header.run, [])
                del self._live[marker]
                self._wake_shipper()
            elif is_gone(header):
                self._try(marker, self._bury)
        for marker, charge in tuple(self._charges.items()):
            if f"{charge.header.run}.{charge.header.writer}" in self._live:
                self._try(marker, self._tick)
            else:
                self._try(marker, self._end)
        return bool(self._live or self._charges)

    def _markers(self) -> set[str]:
        return set(os.listdir(self._target.layout.open))

    def has_new(self) -> bool:
        """Whether a marker has come since the last look."""
        return bool(self._markers() - self._passed_over.keys())

    def _try(self, marker: str, work: Callable[[str], object]) -> None:
        """Do a piece of work; where it fails, on a full disk say, the others go on and it is tried again later."""
        try:
            work(marker)
        except Exception:  # written to the companion's `.err` file and tried again; it must not end the work for others
            if not os.path.isdir(self._target.layout.open):
                raise
            sys.stderr.write(redact_text(traceback.format_exc())[0])
            self._live.pop(marker, None)
            self._charges.pop(marker, None)
            self._passed_over[marker] = time.monotonic() + LOOK_AGAIN_S

    def _meet(self, marker: str) -> None:
        """Take a marker on if it is of this place, or of one that nobody serves any more."""
        self._passed_over.pop(marker, None)
        parts = split_marker(marker)
        if parts is None:
            self._passed_over[marker] = float("inf")
            return
        run, writer = parts
        look_again_s = LOOK_AGAIN_S
        try:
            header = Header(self._target.layout, run, writer)
            if self._serves(header) and not header.role.startswith("companion"):
                self._live[marker] = header
                return
            unfinished = header.role.startswith("companion") and is_gone(header)
            if header.place == self._place:
                look_again_s = SLOWEST_TICK_S  # perhaps the companion before, in the middle of dying
        except FileNotFoundError:
            unfinished = True
        owner = self._owner(run, writer) if unfinished else None
        if owner is not None and self._serves(owner):
            self._charges[marker] = Charge(self._target, owner, self._looks, self._machine)
        elif unfinished and os.path.exists(self._target.layout.log_path(f"runs/{run}/{writer}")):
            self._target.retire(run, writer)
        else:
            self._passed_over[marker] = time.monotonic() + look_again_s

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

    def _capture(self, marker: str) -> None:
        self._charges[marker].capture()

    def _bury(self, marker: str) -> None:
        """The writer died without closing its log: nothing will be added to it."""
        header = self._live.pop(marker)
        self._ended.setdefault(header.run, []).append(header.log)
        self._target.retire(header.run, header.writer)

    def _tick(self, marker: str) -> None:
        self._charges[marker].tick()

    def _end(self, marker: str) -> None:
        """What a charge was taken on for is over, once the files that the run named have been read."""
        charge = self._charges[marker]
        charge.look()
        if charge.busy:
            return
        charge.end(self._logs, self._ended.pop(charge.header.run, []))
        del self._charges[marker]
        self._wake_shipper()

    def _wake_shipper(self) -> None:
        if self.shipper is not None:
            self.shipper.wake()

    @property
    def ships(self) -> bool:
        """Whether something is to be sent to a remote store, and there is hope that it can be."""
        return self.shipper is not None and self.shipper.stays

    def leave(self) -> None:
        """Let go of what the next companion will need."""
        if self.shipper is not None:
            self.shipper.stop()

    def sync(self) -> None:
        """Bring what the live logs have grown to the disk: a power cut then costs a second at most."""
        for header in self._live.values():
            with contextlib.suppress(OSError):
                descriptor = os.open(header.path, os.O_RDONLY)
                try:
                    os.fdatasync(descriptor) if hasattr(os, "fdatasync") else os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def catalog(self) -> None:
        """Bring the catalog up to date, so that the first query need not; that of a remote store is elsewhere."""
        if self.shipper is not None:
            return
        from mlsdk.store.base import open_file

        with contextlib.suppress(OSError, MlsdkError):  # it is a cache; who reads brings it up to date as well
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
    for name in [name for name in os.environ if name in _OF_ONE_REPOSITORY]:
        del os.environ[name]  # who starts a companion from a hook of git does not mean it for all runs
    with contextlib.suppress(FileNotFoundError):  # the store was deleted; nothing is left to do
        os.chdir(root)
        while lock is not None:
            companion = Companion(FileTarget(f"file:{root}", root), place)
            _serve(companion)
            companion.leave()
            os.close(lock)
            # A run that began after the last look saw the lock held, and started nobody: look once more without it.
            lock = _lock(root, place) if companion.has_new() else None


def _serve(companion: Companion) -> None:
    idle_since, synced, pause, stale = time.monotonic(), time.monotonic(), TICK_S, True
    while True:
        busy = companion.tick()
        now = time.monotonic()
        if busy:
            idle_since, stale = now, True
        elif stale:
            companion.catalog()
            stale = False
        elif now - idle_since > LINGER_S and not companion.ships:
            return
        if now - synced > SYNC_EVERY_S:
            companion.sync()
            synced = now
        waits = busy or now - idle_since > LINGER_S  # for the network
        pause = min(pause * 1.2, SLOWEST_TICK_S) if waits else TICK_S
        time.sleep(pause)


def _lock(root: str, place: str) -> int | None:
    """Hold the place's lock; None if another companion does. Who only looks holds it for microseconds: try again."""
    import fcntl

    try:
        descriptor = os.open(lock_path(root, place), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:  # the store was deleted
        return None
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
