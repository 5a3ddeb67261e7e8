"""Logs in a bucket: each append is an object, which nobody changes any more."""

from __future__ import annotations

import functools
import itertools
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from mlsdk.errors import ConflictError, NotFoundError, StoreError, UnavailableError
from mlsdk.log.frames import LONGEST_CLOSE_BYTES, is_closed
from mlsdk.store.layout import check_log_name
from mlsdk.store.objects import keys
from mlsdk.store.objects.bucket import Bucket, together
from mlsdk.store.objects.keys import Chunk, Pieces, arranged, chunk_of
from mlsdk.store.objects.marks import Marks
from mlsdk.store.objects.probe import check_layout, honours_conditions
from mlsdk.store.seams import Piece

if TYPE_CHECKING:
    from mlsdk.log.seal import Sealed

_REMEMBERED = 2_000
"""Of so many logs it is remembered which objects they are made of."""

_REMEMBERED_BYTES = 4 << 20
"""Of a shared log."""

_ATTEMPTS = 100
_SEAL_AGAIN = 5


class ObjectLogs:
    """Logs in a bucket; see `mlsdk.store.seams.Logs`.

    A piece is put under the offset at which the log ends, if nothing is there yet: of two who append at the same place
    one is told so, and looks again. Where the store ignores that condition, shared logs are refused, and pieces of a
    writer's log are named by their length too: two who ship the same log cannot overwrite each other's, and where their
    pieces overlap, a reader takes one of them. That their bytes differ is noticed then too, unless they are sent in the
    same moment.

    Args:
        bucket: where.
        server: its endpoint; what it can do is asked once.
    """

    def __init__(self, bucket: Bucket, server: str) -> None:
        self.bucket = bucket
        self.marks = Marks(bucket)
        self._server = server
        self._seen: OrderedDict[str, Pieces] = OrderedDict()
        self._lock = Lock()
        self._locks = tuple(Lock() for _ in range(64))
        self._raw: tuple[str, bytes] = ("", b"")
        self._tails: dict[str, tuple[int, bytes]] = {}
        self._entries: dict[str, tuple[tuple[Chunk, ...], bytes]] = {}

    @property
    def capabilities(self) -> frozenset[str]:
        """See `Logs.capabilities`; asks the store the first time."""
        return frozenset({"batch", "processes", "seal"} | ({"shared"} if self._conditional else set()))

    @functools.cached_property
    def _conditional(self) -> bool:
        check_layout(self.bucket, make=True)
        return honours_conditions(self.bucket, self._server)

    def append(self, log: str, offset: int, data: bytes) -> int:
        """See `Logs.append`."""
        shared = _is_shared(check_log_name(log))
        if shared and not self._conditional:
            raise StoreError(
                f"{self.bucket.uri} keeps no shared logs such as {log}: its server ignores the condition to put only"
                " where nothing is; use a server that honours If-None-Match, or a team server (`mlsdk serve`)"
            )
        with self._locks[hash(log) % len(self._locks)]:
            pieces, fresh = self._known(log), False
            for _ in range(_ATTEMPTS):
                end = pieces.end
                rest = self._news(log, offset, data, end, shared=shared) if offset <= end else None
                if rest is None and fresh:
                    raise _conflict(log, offset, data, end)
                if rest == b"" or (rest and self._put(log, end, rest, shared=shared)):
                    if not shared:
                        self._close(log, data, offset + len(data), grown=bool(rest))
                    return max(end, offset + len(data))
                pieces, fresh = self._look(log), True
        raise UnavailableError(f"others append to {log} all the time; try again later")

    def _news(self, log: str, offset: int, data: bytes, end: int, *, shared: bool) -> bytes | None:
        """What of `data` is not there yet; None if it is not what continues the log."""
        if offset >= end or not data:
            return data
        if shared and offset + len(data) > end:
            return None
        try:
            there = self.read(log, offset, min(len(data), end - offset))
        except NotFoundError:  # deleted since it was known
            return None
        return data[len(there) :] if data.startswith(there) else None

    def _put(self, log: str, end: int, data: bytes, *, shared: bool) -> bool:
        if not shared:
            self.marks.open(log)
        key = keys.chunk_key(log, end, None if self._conditional or shared else len(data))
        if not self.bucket.put(key, data, create=self._conditional or shared):
            return False
        with self._lock:
            known = self._seen.get(log)
            if known is not None and known.end == end:
                self._seen[log] = Pieces((*known.used, Chunk(end, end + len(data), key)), known.spare)
        return True

    def _close(self, log: str, data: bytes, end: int, *, grown: bool) -> None:
        """Announce the end of a log; again where that was not done the last time."""
        pieces = self._known(log)
        if end != pieces.end or not data:
            return
        tail = data[-LONGEST_CLOSE_BYTES:]
        if len(tail) < min(LONGEST_CLOSE_BYTES, end):
            at, before = self._tails.get(log, (-1, b""))
            missing = end - len(data) - at
            tail = before[: len(before) + missing] + data if -len(before) <= missing <= 0 else b""
            tail = tail or self.read(log, max(0, end - LONGEST_CLOSE_BYTES), LONGEST_CLOSE_BYTES)
        self._tails[log] = (end, tail[-LONGEST_CLOSE_BYTES:])
        if len(self._tails) > _REMEMBERED:
            self._tails.clear()
        if is_closed(tail):
            self.marks.close(log, pieces.used[-1].key, grown=grown)

    def append_all(self, pieces: Sequence[Piece]) -> list[int | ConflictError]:
        """See `BatchLogs.append_all`. Pieces that follow each other become one object; logs go in parallel."""
        runs: dict[str, list[list[int]]] = {}
        for number, piece in enumerate(pieces):
            of_log = runs.setdefault(piece.log, [])
            before = pieces[of_log[-1][-1]] if of_log else None
            if before and piece.offset == before.offset + len(before.data) and not _is_shared(piece.log):
                of_log[-1].append(number)
            else:
                of_log.append([number])
        found: dict[int, int | ConflictError] = {}
        for done in together(lambda of_log: [self._append_run(pieces, run) for run in of_log], runs.values()):
            for part in done:
                found.update(part)
        return [found[number] for number in range(len(pieces))]

    def _append_run(self, pieces: Sequence[Piece], numbers: Sequence[int]) -> dict[int, int | ConflictError]:
        """Append pieces of one log that follow each other."""
        first = pieces[numbers[0]]
        try:
            end = self.append(first.log, first.offset, b"".join(pieces[number].data for number in numbers))
            return dict.fromkeys(numbers, end)
        except ConflictError as conflict:
            if len(numbers) == 1:
                return {numbers[0]: conflict}
        found: dict[int, int | ConflictError] = {}
        for number in numbers:  # which of them?
            found.update(self._append_run(pieces, [number]))
        return found

    # reading

    def read(self, log: str, offset: int = 0, limit: int | None = None) -> bytes:
        """See `Logs.read`."""
        check_log_name(log)
        known = self._seen.get(log)
        inside = known is not None and limit is not None and 0 < offset + limit <= known.end
        for attempt in range(3):
            pieces = known if attempt == 0 and inside and known is not None else self._look(log, anew=attempt > 0)
            if not pieces.end:
                raise NotFoundError(f"no log {log} in {self.bucket.uri}")
            try:
                stop = pieces.end if limit is None else min(pieces.end, offset + limit)
                return self._joined(log, pieces)[offset:stop] if _is_shared(log) else self._join(pieces, offset, stop)
            except NotFoundError:  # sealed or deleted in this moment: look again
                continue
        raise UnavailableError(f"the objects of {log} change all the time; try again later")

    def _joined(self, log: str, pieces: Pieces) -> bytes:
        """A whole shared log: entries that were read before are remembered, as it is asked for again and again."""
        used, before = self._entries.get(log, ((), b""))
        if pieces.used[: len(used)] != used:
            before = b""
        data = before + self._join(pieces, len(before), pieces.end)
        if len(data) <= _REMEMBERED_BYTES and len(self._entries) < _REMEMBERED:
            self._entries[log] = (pieces.used, data)
        return data

    def _join(self, pieces: Pieces, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop`, of as many objects as hold them."""
        ends = [chunk.end for chunk in pieces.used]
        wanted: list[tuple[Chunk, int, int]] = []
        at = start
        for chunk in pieces.used[bisect_right(ends, start) :]:
            if at >= stop:
                break
            wanted.append((chunk, at - chunk.start, min(stop, chunk.end) - at))
            at = min(stop, chunk.end)
        return b"".join(together(self._part, wanted))

    def _part(self, wanted: tuple[Chunk, int, int]) -> bytes:
        chunk, start, length = wanted
        if not chunk.sealed:
            whole = start == 0 and length == chunk.end - chunk.start
            return self.bucket.get(chunk.key) if whole else self.bucket.get(chunk.key, start, length)
        key, raw = self._raw
        if key != chunk.key:
            from mlsdk.log.seal import unseal

            raw = unseal(self.bucket.get(chunk.key))
            self._raw = (chunk.key, raw)
        return raw[start : start + length]

    def size(self, log: str) -> int:
        """See `Logs.size`."""
        return self._look(check_log_name(log)).end

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Logs.list`."""
        if prefix[:5] == "runs/"[: len(prefix)]:
            folder = prefix.rpartition("/")[0] if prefix.startswith("runs/") else "runs"
            found = (log for item in self.bucket.list(folder) if (log := keys.log_of(item.key)))
            for _, logs in itertools.groupby(found, key=lambda log: log.split("/")[1]):
                yield from sorted({log for log in logs if log.startswith(prefix) and log.count("/") == 2})
        if prefix[:7] == "shared/"[: len(prefix)]:
            folder = prefix.rpartition("/")[0] if prefix.startswith("shared/") else "shared"
            entries = {log for item in self.bucket.list(folder) if (log := keys.log_of(item.key))}
            yield from sorted(log for log in entries if log.startswith(prefix))

    def delete(self, log: str) -> None:
        """See `Logs.delete`. From its end on: interrupted, it leaves the beginning."""
        pieces = self._look(check_log_name(log), anew=True)
        chunks = sorted((*pieces.used, *pieces.spare), reverse=True)
        self.bucket.delete([chunk.key for chunk in chunks])
        with self._lock:
            self._seen.pop(log, None)
            self._entries.pop(log, None)
        self._raw = ("", b"")
        if chunks:
            self.marks.drop(log)

    # sealing

    def is_sealed(self, log: str) -> bool:
        """Whether a log is kept as column blocks."""
        return self._look(check_log_name(log)).is_sealed

    def seal(self, log: str) -> bool:
        """Keep a log that will not grow any more as column blocks; False if it is sealed already or not there.

        All its objects become one, which is there before the others go.
        """
        pieces = self._look(check_log_name(log), anew=True)
        kept = pieces.used[0].key if pieces.is_sealed else ""
        if pieces.end and not kept:
            from mlsdk.log.seal import Sealed, seal

            packed = seal(self.read(log, 0, pieces.end), log)
            if not (length := Sealed(packed).raw_length):
                return False
            kept = keys.seal_key(log, length)
            self.bucket.put(kept, packed)
        if kept:
            self.bucket.delete([chunk.key for chunk in (*pieces.used, *pieces.spare) if chunk.key != kept])
            self._look(log, anew=True)
        return bool(kept) and not pieces.is_sealed

    def open_sealed(self, log: str) -> Sealed:
        """The column blocks of a sealed log."""
        from mlsdk.log.seal import Sealed

        for _ in range(_SEAL_AGAIN):
            used = self._look(check_log_name(log)).used
            if not used or not used[0].sealed:
                break
            try:
                return Sealed(self.bucket.get(used[0].key))
            except NotFoundError:  # another seal has taken its place
                continue
        raise NotFoundError(f"no sealed log {log} in {self.bucket.uri}")

    # which objects a log is made of

    def _known(self, log: str) -> Pieces:
        """The pieces as far as they are known; there may be more."""
        found = self._seen.get(log)
        return self._look(log) if found is None else found

    def _look(self, log: str, *, anew: bool = False) -> Pieces:
        """The pieces that are there now.

        Of a log met before only the end is listed: its last piece, which must be there still, and what is behind.
        """
        before = None if anew else self._seen.get(log)
        raw = [chunk for chunk in before.used if not chunk.sealed] if before and not before.spare else []
        after = raw[-2].key if len(raw) > 1 and before and len(raw) == len(before.used) else ""
        listed = (chunk_of(log, item.key, item.size_bytes) for item in self.bucket.list(log, after))
        found = [chunk for chunk in listed if chunk and chunk.key.rpartition("/")[0] == log]
        if after:
            if raw[-1] not in found or any(chunk.sealed for chunk in found):
                return self._look(log, anew=True)
            found = [*raw[:-1], *found]
        pieces = arranged(found)
        with self._lock:
            self._seen[log] = pieces
            self._seen.move_to_end(log)
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return pieces


def _is_shared(log: str) -> bool:
    return log.startswith("shared/")


def _conflict(log: str, offset: int, data: bytes, end: int) -> ConflictError:
    if offset > end:
        return ConflictError(f"{log} ends at {end:,}; appending at {offset:,} would leave a hole", log, end)
    return ConflictError(
        f"{log} ends at {end:,}; these {len(data):,} bytes are not what stands, or may stand, at {offset:,}", log, end
    )
