"""Following a log that is being written: the facts among what it has grown since the last look."""

from __future__ import annotations

import os

from mlsdk.log.decode import Facts, decode
from mlsdk.log.frames import CHECKSUM, FACTS, HEADER, TYPES

_PIECE_BYTES = 1 << 20


class Follower:
    """Reads a raw log from its beginning, a look at a time.

    Only the heads of other frames are read, since a log may grow by many thousands of points a second.

    Args:
        path: the log.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = 0
        self._next = 0

    def look(self) -> list[Facts]:
        """Facts written since the last look. A frame that is half there is left for the next one."""
        found: list[Facts] = []
        try:
            descriptor = os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:  # sealed or deleted
            return found
        try:
            size = os.fstat(descriptor).st_size
            while self._offset < size:
                data = os.pread(descriptor, _PIECE_BYTES, self._offset)
                used = self._walk(data, found)
                if not used:
                    length = HEADER.unpack_from(data)[0] + HEADER.size + CHECKSUM.size if len(data) > HEADER.size else 0
                    if not _PIECE_BYTES < length <= size - self._offset:
                        break
                    used = self._walk(os.pread(descriptor, length, self._offset), found)
                    if not used:
                        break
                self._offset += used
        finally:
            os.close(descriptor)
        return found

    def _walk(self, data: bytes, found: list[Facts]) -> int:
        """Pass over whole frames, taking the facts; how many bytes they are."""
        at = 0
        while at + HEADER.size + CHECKSUM.size <= len(data):
            length, kind, sequence = HEADER.unpack_from(data, at)
            end = at + HEADER.size + length + CHECKSUM.size
            if kind not in TYPES or sequence != self._next or end > len(data):
                break
            if kind == FACTS:
                facts = [entry for entry, _ in decode(data[at:end], live=True) if isinstance(entry, Facts)]
                if not facts:  # the checksum is not there yet
                    break
                found += facts
            self._next += 1
            at = end
        return at
