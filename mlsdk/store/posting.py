"""The training process's side of an outbox: writing into it, and waiting until what it wrote is in the remote store."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

from mlsdk import config
from mlsdk.errors import StoreError
from mlsdk.log.segment import Segment
from mlsdk.store.outbox import (
    GIVE_UP_S,
    check_scheme,
    checked,
    claim,
    failing_s,
    folder_of,
    has_begun,
    status,
)
from mlsdk.store.target import FileTarget


class OutboxTarget(FileTarget):
    """The local side of a remote store.

    Args:
        uri: of the remote store.
        root: the outbox.
    """

    def __init__(self, uri: str, root: str) -> None:
        super().__init__(uri, root)
        self._budget = config.number("outbox_bytes")

    def segment(self, run: str, writer: str) -> Segment:
        """See `Target.segment`."""
        made = super().segment(run, writer)
        _written.add(f"{run}.{writer}")
        _own.add(f"{run}.{writer}")
        return made

    def announce(self, run: str, writer: str) -> None:
        """See `Target.announce`."""
        super().announce(run, writer)
        mine = _announced.setdefault(self.uri, {})
        mine[f"{run}.{writer}"] = self.layout.root
        if len(mine) % _MANY == 0:
            waiting(self.uri)  # drops what is there

    def retire(self, run: str, writer: str) -> None:
        """See `Target.retire`."""
        super().retire(run, writer)
        _written.discard(f"{run}.{writer}")

    def is_current(self) -> bool:
        """See `FileTarget.is_current`."""
        return super().is_current() and self.layout.root == folder_of(self.uri)

    def check_room(self) -> None:
        """Refuse a new run where what is not shipped takes more than the budget.

        Raises:
            StoreError: it does.
        """
        waiting = status(self.layout.root).size_bytes
        if waiting > self._budget:
            raise StoreError(
                f"{waiting:,} bytes wait in {self.layout.root} to be sent to {self.uri}, more than"
                f" MLSDK_OUTBOX_BYTES={self._budget:,.0f}: send them by `mlsdk sync`, allow more, or track elsewhere"
                " by MLSDK_STORE=folder"
            )


_announced: dict[str, dict[str, str]] = {}
"""By remote store, the logs that this process has announced: marker and outbox."""

_own: set[str] = set()
"""Logs that this process has written itself; the others are its companion's."""

_written: set[str] = set()
"""Logs that this process writes now."""

_MANY = 1000

_here = threading.local()

_see_to_it: Callable[[str], bool] | None = None


def open_outbox(uri: str) -> OutboxTarget:
    """The outbox of a remote store, made if it is not there.

    Raises:
        ConfigError: the URI holds a password or a token.
        StoreError: there is no such kind of store, or the outbox cannot be written.
    """
    uri = checked(uri)
    check_scheme(uri)
    root = folder_of(uri)
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        os.chmod(root, 0o700)
        os.makedirs(os.path.join(root, "ship"), exist_ok=True)
        claim(root, uri)
    except OSError as error:
        raise StoreError(
            f"runs for {uri} are written to {root} first, which cannot be made: {error}; name another folder that stays"
            " by MLSDK_OUTBOX"
        ) from error
    return OutboxTarget(uri, root)


def waiting(uri: str, *, due: bool = False) -> dict[str, str]:
    """Logs of this process's runs that are not wholly shipped: marker and outbox.

    Args:
        uri: of the remote store.
        due: only those that it wrote itself, and of those that still grow only the ones that have not arrived at all.
    """
    mine = _announced.get(uri, {})
    for marker, root in tuple(mine.items()):
        if not os.path.exists(os.path.join(root, "ship", marker)):
            mine.pop(marker, None)
            _own.discard(marker)
    if not due:
        return dict(mine)
    return {
        marker: root
        for marker, root in mine.items()
        if marker in _own and (marker not in _written or not has_begun(root, marker))
    }


def shipped_by(see_to_it: Callable[[str], bool]) -> None:
    """Say what sees that somebody ships an outbox, given its folder; it returns False if nobody does from now on."""
    global _see_to_it
    _see_to_it = see_to_it


def remotes() -> list[str]:
    """Remote stores that this process has written for."""
    return list(_announced)


def forget() -> None:
    """In a forked child: the parent waits for its own logs."""
    _announced.clear()
    _own.clear()
    _written.clear()


def await_shipped(uri: str, seconds: float, *, due: bool = False, patience_s: float = GIVE_UP_S) -> bool:
    """Wait until this process's logs are up; False if that took longer than `seconds`.

    Where the store has not been reached for a while already, `patience_s` is all that is waited.
    """
    begun, pause = time.monotonic(), 0.005
    deadline = begun + seconds
    while left := waiting(uri, due=due):
        now = time.monotonic()
        root = next(iter(left.values()))
        if now > deadline or (now - begun >= patience_s and failing_s(root) > GIVE_UP_S):
            return False
        time.sleep(min(pause, max(0.0, deadline - now)))
        pause = min(pause * 1.5, 0.05)
    return True


def settle(uri: str) -> None:
    """Before a remote store is read: let it have the runs that this process has finished, and know of all."""
    if not _announced or getattr(_here, "shipping", False):
        return
    uri = checked(uri)
    for root in {*waiting(uri, due=True).values()}:
        if _see_to_it is not None and not _see_to_it(root):
            return  # nobody sends them now
    await_shipped(uri, config.number("ship_wait_s"), due=True, patience_s=0.0)


@contextlib.contextmanager
def shipping() -> Iterator[None]:
    """In this thread, do not wait for what it is about to ship itself."""
    _here.shipping = True
    try:
        yield
    finally:
        _here.shipping = False
