"""What objects are called.

::

runs/<run id>/<writer id>/<offset, 20 digits>             a piece of a log
runs/<run id>/<writer id>/<offset>-<length>               the same where nothing can be put under a condition
runs/<run id>/<writer id>/seal-<raw length, 20 digits>    the log from its beginning, as column blocks
shared/…/<offset>                                         an entry of a shared log
blobs/ab/<digest>   renewed/<digest>                      a blob; empty, and younger than it: it was put again
open/<run id>.<writer id>                                 empty: this log may grow
closed/<UTC day>/<HHMMSS>.<run id>.<writer id>            empty: this log ended then, by the clock of the store
probe/…   format                                          what the store can do; the version of all this
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from mlsdk.store.layout import split_marker, utc_day


class Chunk(NamedTuple):
    """An object that holds a part of a log: raw bytes from `start` to `end`."""

    start: int
    end: int
    key: str
    sealed: bool = False


class Pieces(NamedTuple):
    """A log as its objects tell it.

    Attributes:
        used: objects that give it without a gap, in order; each begins at or before the end of the one before.
        spare: objects that are not needed: overtaken by a seal or another sender, or beyond a gap.
    """

    used: tuple[Chunk, ...]
    spare: tuple[Chunk, ...]

    @property
    def end(self) -> int:
        """Raw size of the log."""
        return self.used[-1].end if self.used else 0

    @property
    def is_sealed(self) -> bool:
        """Whether a seal is all that is needed."""
        return len(self.used) == 1 and self.used[0].sealed


def chunk_key(log: str, offset: int, length: int | None) -> str:
    """Key of a piece; with a length where two senders could overwrite each other's."""
    return f"{log}/{offset:020d}" if length is None else f"{log}/{offset:020d}-{length}"


def seal_key(log: str, raw_length: int) -> str:
    """Key of a seal."""
    return f"{log}/seal-{raw_length:020d}"


def chunk_of(log: str, key: str, size_bytes: int) -> Chunk | None:
    """The part of a log that an object holds; None for a foreign object."""
    name = key[len(log) + 1 :]
    if name.startswith("seal-") and is_offset(name[5:]):
        return Chunk(0, int(name[5:]), key, sealed=True)
    start, dash, length = name.partition("-")
    if not is_offset(start) or (dash and length != str(size_bytes)):
        return None
    return Chunk(int(start), int(start) + size_bytes, key)


def is_offset(name: str) -> bool:
    """Whether this is an offset as keys have it."""
    return len(name) == 20 and name.isdigit()


def log_of(key: str) -> str | None:
    """The log that an object holds a part of."""
    log, _, name = key.rpartition("/")
    return log if is_offset(name.removeprefix("seal-").partition("-")[0]) else None


def arranged(chunks: Iterable[Chunk]) -> Pieces:
    """Put a log together, from the seal if there is one.

    >>> pieces = arranged([Chunk(3, 5, "b"), Chunk(0, 3, "a"), Chunk(9, 10, "far"), Chunk(0, 2, "short")])
    >>> [chunk.key for chunk in pieces.used], pieces.end
    (['a', 'b'], 5)
    """
    used: list[Chunk] = []
    spare: list[Chunk] = []
    end = 0
    for chunk in sorted(chunks, key=lambda chunk: (not chunk.sealed, chunk.start, -chunk.end)):
        if chunk.start <= end < chunk.end:
            used.append(chunk)
            end = chunk.end
        else:
            spare.append(chunk)
    return Pieces(tuple(used), tuple(spare))


def blob_key(digest: str) -> str:
    """Key of a blob."""
    return f"blobs/{digest[:2]}/{digest}"


def open_key(log: str) -> str:
    """Key of the marker of a log that may grow."""
    return f"open/{_marker(log)}"


def closed_key(log: str, seconds: float) -> str:
    """Key of the marker of a log that ended."""
    return f"{closed_at(seconds)}.{_marker(log)}"


def closed_at(seconds: float) -> str:
    """Where markers of a time begin."""
    return f"closed/{utc_day(seconds)}/{time.strftime('%H%M%S', time.gmtime(seconds))}"


def marked_log(key: str) -> str | None:
    """The log that a marker of either kind speaks of; None for a foreign object."""
    top, _, name = key.partition("/")
    if top == "closed":
        name = name.rpartition("/")[2].partition(".")[2]
    parts = split_marker(name)
    return f"runs/{parts[0]}/{parts[1]}" if parts else None


def _marker(log: str) -> str:
    return log.partition("/")[2].replace("/", ".")
