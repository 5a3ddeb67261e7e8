"""Markers in a bucket: which logs may grow, and which ended when."""

from __future__ import annotations

import time
from collections.abc import Iterator

from mlsdk.errors import NotFoundError
from mlsdk.store.objects import keys
from mlsdk.store.objects.bucket import Bucket, Item

_REMEMBERED = 100_000


class Marks:
    """Writes and reads markers.

    A log is announced before its first piece is there. When it ends, a marker in the folder of the day is put first and
    the open one goes then, so that a reader who looks at `open/` first meets one of them. Times are those of the store:
    clocks of senders need not be right.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._opened: set[str] = set()

    def open(self, log: str) -> None:
        """Announce a log; once in the life of this process."""
        if log in self._opened:
            return
        self._bucket.put(keys.open_key(log), b"")
        if len(self._opened) >= _REMEMBERED:
            self._opened.clear()
        self._opened.add(log)

    def close(self, log: str, last: str, *, grown: bool) -> None:
        """Announce that a log has ended.

        Args:
            log: its name.
            last: key of its last object, by which the store's time is known.
            grown: whether it has just grown; if not, somebody may have announced its end before.
        """
        told = last if grown else keys.open_key(log)
        try:
            if not grown:
                self._bucket.head(told)
                self._bucket.put(told, b"")
            ended = self._bucket.head(told).changed_s
        except NotFoundError:  # announced by somebody else, or sealed, in this moment
            if not grown:
                return
            ended = time.time()
        self._bucket.put(keys.closed_key(log, ended), b"")
        self.drop(log)

    def drop(self, log: str) -> None:
        """Take the open marker of a log away."""
        self._bucket.delete([keys.open_key(log)])
        self._opened.discard(log)

    def opened(self) -> list[str]:
        """Logs that may grow."""
        return [log for item in self._bucket.list("open") if (log := keys.marked_log(item.key))]

    def closed(self, since_s: float) -> Iterator[tuple[str, str]]:
        """(Key of the marker, log) of those that ended since a time."""
        found: Iterator[Item] = self._bucket.list("closed", keys.closed_at(since_s))
        return ((item.key, log) for item in found if (log := keys.marked_log(item.key)))
