"""Sending logs from one store to another: what each has beyond what is there, in batches, whole frames only.

Sending is idempotent, because a piece is named by its log and offset: it may be repeated, cut off and taken up again
by anybody, at any time.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from mlsdk.errors import (
    AccessError,
    ConflictError,
    FormatError,
    MlsdkError,
    NewerFormatError,
    NotFoundError,
    UnavailableError,
)
from mlsdk.log.decode import Opened, decode
from mlsdk.log.identity import is_alive
from mlsdk.store.base import FolderStore, Store
from mlsdk.store.files import SEAL_BYTES
from mlsdk.store.grown import Walk, end_of, is_border
from mlsdk.store.seams import Logs, Piece

BATCH_BYTES = 4 << 20
BATCH_PIECES = 1000
CHUNK_BYTES = 1 << 20
OVERLAP_BYTES = 64
"""So many bytes that should be there already go along with the first piece of a log: were they others, it is seen."""

_HEAD_BYTES = 65_536
_KEPT_BYTES = 64 << 20
_SETTLED_S = 60.0
FOR_ALL = (UnavailableError, AccessError, NewerFormatError)
"""What is said of a store, not of a log."""


class Left(NamedTuple):
    """Something that could not be brought over."""

    name: str
    """Of the log or blob."""
    size_bytes: int
    why: str


class Way:
    """A log on its way.

    Attributes:
        log: its name.
        there: how many bytes are known to be in the destination; None if that was not asked yet.
        ended: whether it will not grow any more.
        digests: what may be names of blobs in what was looked at.
        aside: why nothing more of it is sent; None if all is well.
        erased: whether that is because its run was erased in the destination.
        missing: whether that is because it is no longer in the source.
        end: where its last whole frame ends.
    """

    def __init__(self, log: str, there: int | None = None) -> None:
        self.log = log
        self.there = there
        self.ended = False
        self.aside: str | None = None
        self.erased = False
        self.missing = False
        self.walk = Walk()
        self.borders = [0]
        self.live = True
        self.gone = False
        self.writer: dict[str, object] | None = None
        self.checked = False
        self.tries = 0
        self.failed: MlsdkError | None = None

    def forget(self) -> None:
        """Ask again how much is there."""
        self.there, self.checked = None, False

    @property
    def end(self) -> int:
        """Where its last whole frame ends."""
        return self.walk.offset

    @property
    def digests(self) -> set[str]:
        """See above."""
        return self.walk.digests

    @property
    def behind(self) -> int:
        """Bytes that are not there yet."""
        return max(0, self.end - (self.there or 0))

    def piece(self, read: Callable[[str, int, int], bytes], room: int) -> Piece | None:
        """What is to be sent next, at most `room` bytes or one chunk; None if nothing is."""
        there = self.there or 0
        if self.aside or not self.end or (self.checked and there >= self.end):
            return None
        start = min(there, self.end)
        begin = start if self.checked else max(0, start - OVERLAP_BYTES)
        stops = [border for border in self.borders if border > start]
        stop = next((border for border in reversed(stops) if border - begin <= room), stops[0] if stops else self.end)
        self.checked = True
        return Piece(self.log, begin, read(self.log, begin, stop - begin))


class Reader:
    """Reads logs of a source in pieces; what is costly to read twice is kept for a while.

    Args:
        store: the source.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._logs = store.logs
        self._local = isinstance(store, FolderStore)
        self._kept: dict[str, tuple[int, bytearray, bool]] = {}

    def read(self, log: str, offset: int, limit: int) -> bytes:
        """Raw bytes; fewer at the end."""
        base, kept, whole = self._kept.get(log, (0, bytearray(), False))
        if base <= offset and (whole or offset + limit <= base + len(kept)) and kept:
            return bytes(kept[offset - base : offset - base + limit])
        if self.is_sealed(log):
            data = self._logs.read(log)  # at once: it is unpacked each time
            self._keep(log, 0, bytearray(data), True)
            return data[offset : offset + limit]
        data = self._logs.read(log, offset, limit)
        if not self._local:
            if kept and base + len(kept) == offset:
                kept += data
                self._keep(log, base, kept, False)
            else:
                self._keep(log, offset, bytearray(data), False)
        return data

    def is_sealed(self, log: str) -> bool:
        """Whether the source keeps a log as column blocks."""
        sealed: Callable[[str], bool] | None = getattr(self._logs, "is_sealed", None)
        return "seal" in self._logs.capabilities and sealed is not None and sealed(log)

    def _keep(self, log: str, base: int, data: bytearray, whole: bool) -> None:
        self._kept.pop(log, None)
        self._kept[log] = (base, data, whole)
        while len(self._kept) > 1 and sum(len(kept) for _, kept, _ in self._kept.values()) > _KEPT_BYTES:
            del self._kept[next(iter(self._kept))]

    def look(self, way: Way) -> None:
        """Walk over what a log has grown."""
        if way.aside:
            return
        if not way.gone:
            self._see_writer(way)
        try:
            limit = self._logs.size(way.log)
            while way.end < limit:
                want = min(CHUNK_BYTES, limit - way.end)
                data = self.read(way.log, way.end, want)
                used = way.walk.take(data, live=way.live, whole=way.end + len(data) >= limit)
                if not used and want < limit - way.end:  # a long frame, or damage that goes far
                    data = self.read(way.log, way.end, limit - way.end)
                    used = way.walk.take(data, live=way.live, whole=True)
                if not used:
                    break
                way.borders.append(way.end)
        except NotFoundError:  # deleted in this moment
            way.aside, way.missing = "it is no longer here", True
            return
        except FormatError as error:
            way.aside = f"it cannot be read: {error}"
            return
        way.ended = way.walk.closed or way.gone

    def _see_writer(self, way: Way) -> None:
        """See whether the writer may be at work, so that the last frame may be half there, or is known to be gone."""
        if way.writer is None:
            try:
                head = self.read(way.log, 0, _HEAD_BYTES)
                opened = next((entry for entry, _ in decode(head, live=True)), None)
            except (NotFoundError, FormatError):
                opened = None
            writer = opened.header.get("writer") if isinstance(opened, Opened) else None
            way.writer = writer if isinstance(writer, dict) else None
        alive = is_alive(way.writer) if way.writer else None
        sealed = self.is_sealed(way.log)
        way.gone = alive is False  # one that was sealed somewhere else may go on: it may have been torn there
        settled = sealed or way.gone or not self._local
        way.live = not settled and (alive is True or self._age_s(way.log) < _SETTLED_S)

    def _age_s(self, log: str) -> float:
        """Seconds since a log of a folder was last written."""
        assert isinstance(self._store, FolderStore)
        try:
            return time.time() - os.stat(self._store.layout.log_path(log)).st_mtime
        except OSError:
            return 0.0

    def begin_at(self, way: Way, offset: int) -> None:
        """Begin a log of which much is there at a border, rather than at its beginning, if one can be seen."""
        if offset and is_border(self.read(way.log, offset, _HEAD_BYTES)):
            way.walk = Walk(offset)
            way.borders = [offset]


def ends(logs: Logs, names: Sequence[str]) -> list[int]:
    """Sizes of logs in a destination: in few calls, where it takes batches."""
    if "batch" not in logs.capabilities:
        return [logs.size(name) for name in names]
    found: list[int] = []
    for start in range(0, len(names), BATCH_PIECES):
        pieces = [Piece(name, 0, b"") for name in names[start : start + BATCH_PIECES]]
        found += [end if isinstance(end, int) else end.end for end in append_all(logs, pieces)]
    return found


def append_all(logs: Logs, pieces: Sequence[Piece]) -> list[int | ConflictError]:
    """Append pieces, at once where that can be done."""
    together: Callable[[Sequence[Piece]], list[int | ConflictError]] | None = getattr(logs, "append_all", None)
    if "batch" in logs.capabilities and together is not None:
        return together(pieces)
    found: list[int | ConflictError] = []
    for piece in pieces:
        try:
            found.append(logs.append(*piece))
        except ConflictError as conflict:
            found.append(conflict)
    return found


class Sender:
    """Brings logs over.

    Attributes:
        logs: names of those of which something was sent.
        size_bytes: of what was sent.

    Args:
        source: where they are.
        destination: where they are to be.
        reader: reads the source; by default a new one.
    """

    def __init__(self, source: Store, destination: Store, reader: Reader | None = None) -> None:
        self.source = source
        self.destination = destination
        self.reader = reader or Reader(source)
        self.logs: set[str] = set()
        self.size_bytes = 0
        self.failed: MlsdkError | None = None

    def send(self, ways: Sequence[Way], said: Callable[[], None] | None = None) -> None:
        """Send what was looked at (`Reader.look`) and is not there.

        Args:
            ways: the logs.
            said: is called after each round, so that somebody who sends for minutes can say how it goes.

        Raises:
            UnavailableError, AccessError, NewerFormatError: the destination takes nothing; call it again later.
            StoreError: it does not take one of the logs; all others were sent.
        """
        unknown = [way for way in ways if way.there is None]
        for way, end in zip(unknown, ends(self.destination.logs, [way.log for way in unknown]), strict=True):
            way.there = end
        open_ways, self.failed = [way for way in ways if not way.aside], None
        for way in ways:
            way.failed = None
        while open_ways:
            open_ways = [way for way in self._round(open_ways) if way.failed is None]
            if said is not None:
                said()
        if self.failed is not None:
            raise self.failed

    def _round(self, ways: Iterable[Way]) -> list[Way]:
        """Send a piece of each, in batches; those of which there may be more."""
        more: list[Way] = []
        batch: list[tuple[Way, Piece]] = []
        room = BATCH_BYTES
        for way in ways:
            if room <= 0 or len(batch) >= BATCH_PIECES:
                self._send(batch)
                batch, room = [], BATCH_BYTES
            try:
                piece = way.piece(self.reader.read, max(room, CHUNK_BYTES))
            except NotFoundError:
                way.aside, way.missing = "it is no longer here", True
                continue
            if piece is not None:
                batch.append((way, piece))
                room -= len(piece.data)
                more.append(way)
        self._send(batch)
        return more

    def _send(self, batch: Sequence[tuple[Way, Piece]]) -> None:
        if not batch:
            return
        try:
            found = append_all(self.destination.logs, [piece for _, piece in batch])
        except Exception as error:  # whatever it was, nothing is known of what has arrived: ask again
            for way, _ in batch:
                way.forget()
            if not isinstance(error, MlsdkError) or isinstance(error, FOR_ALL):
                raise
            if len(batch) == 1:
                batch[0][0].failed = self.failed = error
                return
            for way, piece in batch:  # one of them is not taken: it is not to stop the others
                way.there, way.checked = piece.offset, True
                self._send([(way, piece)])
            return
        for (way, piece), end in zip(batch, found, strict=True):
            if isinstance(end, ConflictError):
                self._conflict(way, piece, end)
                continue
            sent = len(piece.data) - max(0, (way.there or 0) - piece.offset)
            if sent > 0 and end > (way.there or 0):
                self.logs.add(way.log)
                self.size_bytes += sent
                way.tries = 0
            way.there = min(end, piece.offset + len(piece.data))  # what was sent is known to be the same, no more

    def _conflict(self, way: Way, piece: Piece, conflict: ConflictError) -> None:
        """Go on from where the log ends there; other bytes that stay other are reported, and nothing is overwritten."""
        way.tries += 1
        way.checked = False
        if not conflict.end and way.there and self.is_erased(way.log):
            way.aside, way.erased = "the run was erased there", True
            return
        before, way.there = way.there, conflict.end
        if conflict.end < piece.offset and way.tries < 3:
            return  # a hole: there is less than we thought
        if _cut(self.destination, way.log, conflict.end):
            way.there = self.destination.logs.size(way.log)
            return
        if way.tries > 1:
            way.there = before
            way.aside = (
                f"other bytes stand there before {conflict.end:,}: both stay as they are. Was it mended on one side"
                " (`mlsdk doctor`) after a part had been sent?"
            )

    def is_erased(self, log: str) -> bool:
        """Whether the run of a log was erased in the destination."""
        try:
            self.destination.refresh()
            return self.destination.catalog.get(log.split("/")[1]).erased
        except (NotFoundError, FormatError):
            return False

    def finish(self, way: Way) -> None:
        """Tell the destination that a log which is wholly there will not grow any more."""
        _, run, writer = way.log.split("/")
        if isinstance(self.destination, FolderStore):
            self.destination.target().retire(run, writer)

    def pack(self, way: Way) -> None:
        """Let the destination keep a log that has ended as column blocks. It is there in any case.

        A long one takes longer than a call may: the destination goes on with it, and nobody asks again.
        """
        seal: Callable[[str], bool] | None = getattr(self.destination.logs, "seal", None)
        if "seal" in self.destination.logs.capabilities and seal is not None and way.end >= SEAL_BYTES:
            with contextlib.suppress(MlsdkError):
                seal(way.log)


def _cut(store: Store, log: str, end: int) -> bool:
    """End a log of a folder after its last whole frame, if something else stands behind, and nobody writes it.

    A store that was copied while it lived has allocated space there.
    """
    if not isinstance(store, FolderStore) or not os.path.exists(store.layout.log_path(log)):
        return False
    from mlsdk.store.gc import may_be_written
    from mlsdk.store.mending import cut

    data = store.logs.read(log)
    if end_of(data) >= end:
        return False
    opened = next((entry for entry, _ in decode(data, live=True)), None)
    writer = opened.header.get("writer") if isinstance(opened, Opened) else None
    if isinstance(writer, dict) and is_alive(writer) and may_be_written(store, log):
        return False
    cut(store.layout, log)
    return True
