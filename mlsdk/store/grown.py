"""What a log has grown, in whole frames: the part of it that may be sent on.

Heads of frames are read, not what is in them, and long runs of equal ones by slices: a log may grow by a million points
a second. Only the last frame of a piece can be half written, so that only its checksum is looked at.
"""

from __future__ import annotations

from zlib import crc32

from mlsdk.log.frames import CHECKSUM, FACTS, HEADER, POINTS, TYPES, Damage, frames
from mlsdk.store.gc import DIGEST

_LEAST_RUN = 16
_WIDER = 8


class Walk:
    """A walk over the frames of a log, a piece at a time.

    Attributes:
        offset: where the last whole frame ends.
        closed: whether that is a close frame.
        digests: what may be names of blobs in the facts passed so far.

    Args:
        offset: a border of frames at which to begin.
    """

    __slots__ = ("_last", "closed", "digests", "offset")

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.closed = False
        self.digests: set[str] = set()
        self._last = -1

    def take(self, data: bytes, *, live: bool, whole: bool) -> int:
        """Pass over the whole frames at the beginning of `data`, which stands at `offset`; how many bytes they are.

        Args:
            data: raw bytes.
            live: the writer may be at work: what looks damaged may be half there, and ends the walk.
            whole: nothing stands behind `data`; if not live, damage that valid frames stand behind is passed over.
        """
        at, before, last = self._heads(data, 0, self._last)
        if at and not _is_whole(data, before, at):
            if live:
                at = before  # half there; its number comes again
                last = self._last if before == 0 else last - 1
            else:
                at, last = self._exactly(data, 0, self._last)
        while whole and not live and at < len(data):
            end, last = self._exactly(data, at, last)
            if end == at:
                break
            at = end
        if at:
            self._last = last
            self.closed = self._ends_closed(data, at)
            self.offset += at
        return at

    def _heads(self, data: bytes, at: int, last: int) -> tuple[int, int, int]:
        """Pass over frames by their heads: where that ends, where the last one begins, its number."""
        before, size_before, size = at, 0, len(data)
        least = HEADER.size + CHECKSUM.size
        while at + least <= size:
            length, kind, sequence = HEADER.unpack_from(data, at)
            end = at + length + least
            if kind not in TYPES or sequence <= last or end > size:
                break
            if kind == FACTS:
                self._note(data[at:end])
            elif kind == POINTS and end - at == size_before:
                count = _alike(data, at, end - at)
                if count > 1:
                    far = at + (count - 1) * (end - at)
                    number = HEADER.unpack_from(data, far)[2]
                    if number == sequence + count - 1:
                        at, end, sequence = far, far + (end - at), number
            size_before = end - at if kind == POINTS else 0
            before, at, last = at, end, sequence
        return at, before, last

    def _exactly(self, data: bytes, at: int, last: int) -> tuple[int, int]:
        """Pass over valid frames, and damage between two of them, from `at` on: where the last one ends, its number."""
        for found in frames(data, at, last=last):
            self._note(data[found.start : found.end])
            at = found.end
            if not isinstance(found, Damage):
                last = found.sequence
        return at, last

    def _note(self, data: bytes) -> None:
        self.digests.update(digest.decode() for digest in DIGEST.findall(data))

    @staticmethod
    def _ends_closed(data: bytes, end: int) -> bool:
        from mlsdk.log.frames import LONGEST_CLOSE_BYTES, is_closed

        return is_closed(data[max(0, end - LONGEST_CLOSE_BYTES) : end])


def end_of(data: bytes) -> int:
    """Where the last valid frame of a log ends."""
    return max((found.end for found in frames(data)), default=0)


def is_border(data: bytes) -> bool:
    """Whether a whole valid frame stands at the beginning of some bytes."""
    least = HEADER.size + CHECKSUM.size
    if len(data) < least:
        return False
    length, kind, _ = HEADER.unpack_from(data, 0)
    return kind in TYPES and length + least <= len(data) and _is_whole(data, 0, length + least)


def _is_whole(data: bytes, start: int, end: int) -> bool:
    body_end = end - CHECKSUM.size
    with memoryview(data) as view:
        return bool(CHECKSUM.unpack_from(data, body_end)[0] == crc32(view[start:body_end]))


def _alike(data: bytes, at: int, size: int) -> int:
    """How many frames from `at` on are points frames of this size, whole in `data`."""
    left = (len(data) - at) // size
    done, wide = 0, _LEAST_RUN
    while done < left:
        count = min(wide, left - done)
        start = at + done * size
        stop = start + (count - 1) * size + 1
        good = _equal(data[start + 4 : stop + 4 : size], POINTS)
        for byte in range(4):  # of the length
            good = min(good, _equal(data[start + byte : stop + byte : size], data[at + byte]))
        done += good
        if good < count:
            break
        wide *= _WIDER
    return done


def _equal(column: bytes, value: int) -> int:
    """How many bytes from the beginning have a value."""
    return len(column) - len(column.lstrip(bytes((value,))))
