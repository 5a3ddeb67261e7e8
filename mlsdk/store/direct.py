"""Writing a log straight into a store's logs: what is short and written by a caller who waits, such as an edit."""

from __future__ import annotations

from threading import RLock

from mlsdk.log.segment import Segment
from mlsdk.store.seams import Blobs, Logs


class DirectSegment(Segment):
    """A writer's segment that appends to a log of any `Logs`.

    Args:
        logs: where.
        log: its name.
        at_once: append each frame by itself; if not, all of them when the log is closed.
    """

    __slots__ = ("_at_once", "_end", "_log", "_logs", "_waiting")

    def __init__(self, logs: Logs, log: str, *, at_once: bool) -> None:
        self._logs, self._log, self._at_once = logs, log, at_once
        self._waiting = b""
        self._end = 0
        self.lock = RLock()
        self.at = (0, 0)
        self.dropped = 0
        self.path = log
        self._retry_at = 0.0

    def put(self, body: bytes, *, vital: bool = False) -> bool:  # noqa: ARG002 - a store that is full raises
        """See `Segment.put`; what cannot be written raises."""
        from zlib import crc32

        from mlsdk.log.frames import CHECKSUM

        frame = body + CHECKSUM.pack(crc32(body))
        self.at = (self.at[0] + len(frame), self.at[1] + 1)
        self._waiting += frame
        if self._at_once:
            self._append()
        return True

    def _append(self) -> None:
        self._end, self._waiting = self._logs.append(self._log, self._end, self._waiting), b""

    def close(self) -> None:
        """Append what waits."""
        self._append()

    def abandon(self) -> None:
        """Nothing to let go of."""


class DirectTarget:
    """The writing side of a store that is no folder; see `mlsdk.store.target.Target`.

    Args:
        uri: of the store.
        logs: its logs.
        blobs: its blobs.
        at_once: as for `DirectSegment`.
    """

    root = None

    def __init__(self, uri: str, logs: Logs, blobs: Blobs, *, at_once: bool = False) -> None:
        self.uri = uri
        self._logs, self._blobs, self._at_once = logs, blobs, at_once

    def segment(self, run: str, writer: str) -> Segment:
        """See `Target.segment`."""
        return DirectSegment(self._logs, f"runs/{run}/{writer}", at_once=self._at_once)

    def announce(self, run: str, writer: str) -> None:
        """Nobody needs telling: the store sees what is appended."""

    def retire(self, run: str, writer: str) -> None:
        """Nobody needs telling."""

    def put_blob(self, source: bytes | str) -> tuple[str, int]:
        """See `Target.put_blob`."""
        return self._blobs.put(source)
