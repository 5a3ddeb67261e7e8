"""Logs in PostgreSQL: raw bytes in chunks, many logs in one transaction."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from mlsdk.errors import ConflictError, NotFoundError, StoreError
from mlsdk.log.frames import LONGEST_CLOSE_BYTES, is_closed
from mlsdk.store.layout import check_log_name
from mlsdk.store.postgres.pool import Connection, Pool, load, translated
from mlsdk.store.seams import Piece

if TYPE_CHECKING:
    from mlsdk.log.seal import Sealed

CHUNK_BYTES = 8_000
"""No chunk is longer: with what belongs to it, it fills a page."""
SMALL_BYTES = 4_000
"""Shorter chunks are put together, so many at once."""
MANY_SMALL = 64
LONGEST_SEAL_BYTES = 900 << 20
"""A value in PostgreSQL has less than 1 GiB; a log that is longer when sealed stays raw."""

TELL_EVERY_S = 0.2
"""A process tells those who wait for news no more often."""

_NEVER_BEHIND = 2**63 - 1
_PAGE = 1000
_FEW = 8


class PostgresLogs:
    """Logs in tables; see `mlsdk.store.seams.Logs`.

    Whoever appends holds the log's row, so that of two one comes after the other, and sees where it ended.
    """

    capabilities = frozenset({"batch", "processes", "seal", "shared"})

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._channel = f"mlsdk_{pool.schema}"
        self._told_at = 0.0
        self._listening = Lock()
        self._ear: Connection | None = None
        self._ear_pid = 0

    def append(self, log: str, offset: int, data: bytes) -> int:
        """See `Logs.append`."""
        (end,) = self.append_all([Piece(log, offset, data)])
        if isinstance(end, ConflictError):
            raise end
        return end

    def append_all(self, pieces: Sequence[Piece]) -> list[int | ConflictError]:
        """See `BatchLogs.append_all`: all in one transaction."""
        for log in {piece.log for piece in pieces}:
            _check(log)

        def work(db: Connection) -> list[int | ConflictError]:
            ends = _append_all(db, pieces)
            if time.monotonic() > self._told_at + TELL_EVERY_S:
                db.execute("SELECT pg_notify(%s, '')", (self._channel,))
                self._told_at = time.monotonic()
            return ends

        return self._pool.do(work) if pieces else []

    def wait_for_news(self, timeout_s: float) -> bool:
        """Wait until something may have been appended, by anybody; False if nothing was heard of in time.

        Not every append is told of, so that telling costs nothing: look again after the time-out too.
        """
        psycopg = load()
        with self._listening:
            if self._ear is None or self._ear.closed or self._ear_pid != os.getpid():
                self._ear, self._ear_pid = self._pool.connect(), os.getpid()
                self._ear.execute(f'LISTEN "{self._channel}"')
                return True  # what was told before is not heard
            try:
                return bool(list(self._ear.notifies(timeout=timeout_s, stop_after=1)))
            except psycopg.Error as error:
                self._ear.close()
                raise translated(error) from error

    def close(self) -> None:
        """Let go of the connection that listens."""
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.close()

    def read(self, log: str, offset: int = 0, limit: int | None = None) -> bytes:
        """See `Logs.read`."""
        _check(log)
        found = self._pool.do(lambda db: read(db, log, offset, limit))
        if found is None:
            raise NotFoundError(f"no log {log}")
        return found

    def size(self, log: str) -> int:
        """See `Logs.size`."""
        _check(log)
        row = self._pool.do(lambda db: db.execute("SELECT size FROM logs WHERE log = %s", (log,)).fetchone())
        return 0 if row is None else int(row[0])

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Logs.list`."""
        statement = (
            "SELECT log FROM logs WHERE log > %s AND log >= %s AND starts_with(log, %s) AND log <= %s"
            " ORDER BY log LIMIT %s"
        )
        after, most = "", prefix + "\U0010ffff" * 4
        while True:
            bound = (after, prefix, prefix, most, _PAGE)
            rows = self._pool.do(lambda db, bound=bound: db.execute(statement, bound).fetchall())  # type: ignore[misc]
            yield from (row[0] for row in rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def delete(self, log: str) -> None:
        """See `Logs.delete`."""
        _check(log)
        self._pool.do(lambda db: db.execute("DELETE FROM logs WHERE log = %s", (log,)))

    def is_sealed(self, log: str) -> bool:
        """Whether a log is kept as column blocks."""
        statement = "SELECT sealed IS NOT NULL FROM logs WHERE log = %s"
        row = self._pool.do(lambda db: db.execute(statement, (log,)).fetchone())
        return row is not None and bool(row[0])

    def seal(self, log: str) -> bool:
        """Keep a log that will not grow any more as column blocks; False if it is sealed, not there or too long."""
        from mlsdk.log.seal import seal

        found = self._pool.do(lambda db: read(db, _check(log), 0, None))
        if found is None or self.is_sealed(log):
            return False
        sealed = seal(found, log)
        if len(sealed) > LONGEST_SEAL_BYTES:
            return False

        def work(db: Connection) -> bool:
            statement = (
                "UPDATE logs SET sealed = %b, small = 0, small_from = size"
                " WHERE log = %s AND size = %s AND sealed IS NULL RETURNING id"
            )
            done = db.execute(statement, (sealed, log, len(found))).fetchone()
            if done is not None:  # else it has grown meanwhile
                db.execute("DELETE FROM chunks WHERE id = %s", done)
            return done is not None

        return self._pool.do(work)

    def open_sealed(self, log: str) -> Sealed:
        """The column blocks of a sealed log.

        Raises:
            NotFoundError: it is not sealed, or not there.
        """
        from mlsdk.log.seal import Sealed

        statement = "SELECT sealed FROM logs WHERE log = %s AND sealed IS NOT NULL"
        row = self._pool.do(lambda db: db.execute(statement, (log,), binary=True).fetchone())
        if row is None:
            raise NotFoundError(f"no sealed log {log}")
        return Sealed(row[0])


def read(db: Connection, log: str, offset: int, limit: int | None) -> bytes | None:
    """Raw bytes of a log, or None if it is not there."""
    row = db.execute("SELECT id, size, sealed IS NOT NULL FROM logs WHERE log = %s", (log,)).fetchone()
    if row is None:
        return None
    id, size, sealed = row
    end = size if limit is None else min(size, offset + limit)
    if offset >= end:
        return b""
    if sealed:
        return _unsealed(db, id)[offset:end]
    rows = db.execute(
        "SELECT substring(data FROM (greatest(%(offset)s - start, 0) + 1)::int"
        " FOR (least(start + octet_length(data), %(end)s) - greatest(start, %(offset)s))::int) FROM chunks"
        " WHERE id = %(id)s AND start < %(end)s AND start >="
        " (SELECT max(start) FROM chunks WHERE id = %(id)s AND start <= %(offset)s) ORDER BY start",
        {"id": id, "offset": offset, "end": end},
        binary=True,
    ).fetchall()
    data = rows[0][0] if len(rows) == 1 else b"".join(row[0] for row in rows)
    if len(data) != end - offset:  # sealed, or deleted, between the two statements
        return read(db, log, offset, limit)
    return bytes(data)


def _unsealed(db: Connection, id: int) -> bytes:
    from mlsdk.log.seal import unseal

    (sealed,) = db.execute("SELECT sealed FROM logs WHERE id = %s", (id,), binary=True).fetchone()
    return unseal(sealed)


class _Row(NamedTuple):
    id: int
    size: int
    sealed: bool
    small_from: int
    small: int


class _Growing:
    """One log while pieces are appended to it."""

    def __init__(self, log: str, row: _Row) -> None:
        self.log = log
        self.row = row
        self.end = row.size
        self.new: list[bytes] = []

    def add(self, db: Connection, offset: int, data: bytes) -> int | ConflictError:
        """Append a piece; the end, or the conflict."""
        if offset > self.end:
            told = f"{self.log} ends at {self.end:,}; appending at {offset:,} would leave a hole"
            return ConflictError(told, self.log, self.end)
        known = self.end - offset
        if known:
            shared = self.log.startswith("shared/")
            if (shared and known < len(data)) or self._read(db, offset, len(data)) != data[:known]:
                why = "somebody appended before; read on and try again" if shared else "other bytes are there"
                return ConflictError(
                    f"{self.log} ends at {self.end:,}; what is appended at {offset:,} does not fit: {why}",
                    self.log,
                    self.end,
                )
        if known < len(data):
            self.new.append(data[known:] if known else data)
            self.end = offset + len(data)
        return self.end

    def _read(self, db: Connection, offset: int, length: int) -> bytes:
        old = self.row.size
        kept = (read(db, self.log, offset, min(length, old - offset)) or b"") if offset < old else b""
        fresh = b"".join(self.new)[max(0, offset - old) :] if offset + length > old else b""
        return (kept + fresh)[:length]

    def chunks(self) -> Iterator[tuple[int, int, bytes]]:
        """(id of the log, offset, bytes) of what is new."""
        data = self.new[0] if len(self.new) == 1 else b"".join(self.new)
        for at in range(0, len(data), CHUNK_BYTES):
            yield self.row.id, self.row.size + at, data[at : at + CHUNK_BYTES]

    def tail(self) -> bytes:
        """The last of the new bytes."""
        return b"".join(self.new[-2:])[-LONGEST_CLOSE_BYTES:]


def _append_all(db: Connection, pieces: Sequence[Piece]) -> list[int | ConflictError]:
    first = sorted({piece.log for piece in pieces if piece.offset == 0 and piece.data})
    rows = _locked(db, sorted({piece.log for piece in pieces}))
    new = [log for log in first if log not in rows]
    if new:
        rows.update(_made(db, new))
    growing = {log: _Growing(log, row) for log, row in rows.items()}
    nowhere = _Row(0, 0, sealed=False, small_from=0, small=0)
    ends: list[int | ConflictError] = []
    for log, offset, data in pieces:
        at = growing.get(log) or _Growing(log, nowhere)
        ends.append(at.add(db, offset, data) if data or offset > at.end else at.end)
    grown = [log for log in growing.values() if log.new]
    if grown:
        _write(db, grown)
    return ends


def _locked(db: Connection, logs: list[str]) -> dict[str, _Row]:
    statement = (
        "SELECT log, id, size, sealed IS NOT NULL, small_from, small FROM logs WHERE log = ANY(%s)"
        " ORDER BY log FOR NO KEY UPDATE"
    )
    return {row[0]: _Row(*row[1:]) for row in db.execute(statement, (logs,))}


def _made(db: Connection, logs: list[str]) -> dict[str, _Row]:
    """Rows of logs that were not there; of one that another makes at the same time, that one's."""
    looked = [_NEVER_BEHIND if log.startswith("shared/") else 0 for log in logs]
    db.execute(
        "INSERT INTO logs (log, looked) SELECT * FROM unnest(%s::text[], %s::bigint[]) ON CONFLICT DO NOTHING",
        (logs, looked),
    )
    return _locked(db, logs)


def _write(db: Connection, grown: list[_Growing]) -> None:
    for log in grown:
        if log.row.sealed:
            data = _unsealed(db, log.row.id)
            starts = range(0, len(data), CHUNK_BYTES)
            _insert(db, [(log.row.id, start, data[start : start + CHUNK_BYTES]) for start in starts])
            db.execute("UPDATE logs SET sealed = NULL WHERE id = %s", (log.row.id,))
    long = {log.log for log in grown if log.end - log.row.size >= SMALL_BYTES}
    for log in grown:
        if log.log in long and log.row.small > 1:
            _merge(db, log.row.id, log.row.small_from)
    _insert(db, [chunk for log in grown for chunk in log.chunks()])
    updates = []
    for log in grown:
        closed = is_closed(log.tail())
        start, count = (log.end, 0) if log.log in long else (log.row.small_from, log.row.small + 1)
        if count >= MANY_SMALL or (count > 1 and closed):
            _merge(db, log.row.id, start)
            whole = (log.end - start) // CHUNK_BYTES * CHUNK_BYTES
            start, count = start + whole, int(log.end > start + whole)
        updates.append((log.row.id, log.end, closed, start, count))
    db.execute(
        "UPDATE logs SET size = u.size, urgent = logs.urgent OR u.closed, small_from = u.small_from, small = u.small"
        " FROM unnest(%s::bigint[], %s::bigint[], %s::boolean[], %s::bigint[], %s::integer[])"
        " AS u (id, size, closed, small_from, small) WHERE logs.id = u.id",
        [list(column) for column in zip(*updates, strict=True)],
    )


def _insert(db: Connection, chunks: list[tuple[int, int, bytes]]) -> None:
    if len(chunks) <= _FEW:
        db.execute(
            "INSERT INTO chunks (id, start, data) SELECT * FROM unnest(%s::bigint[], %s::bigint[], %b::bytea[])",
            [list(column) for column in zip(*chunks, strict=True)],
        )
        return
    with db.cursor() as cursor, cursor.copy("COPY chunks (id, start, data) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(("int8", "int8", "bytea"))
        for chunk in chunks:
            copy.write_row(chunk)


def _merge(db: Connection, id: int, start: int) -> None:
    """Make chunks of full length of those from an offset on."""
    bound = {"id": id, "start": start, "bytes": CHUNK_BYTES}
    (data,) = db.execute(
        "SELECT string_agg(data, ''::bytea ORDER BY start) FROM chunks WHERE id = %(id)s AND start >= %(start)s",
        bound,
        binary=True,
    ).fetchone()
    db.execute("DELETE FROM chunks WHERE id = %(id)s AND start >= %(start)s", bound)
    _insert(db, [(id, start + at, data[at : at + CHUNK_BYTES]) for at in range(0, len(data), CHUNK_BYTES)])


def _check(log: str) -> str:
    check_log_name(log)
    try:
        log.encode()
    except UnicodeEncodeError:
        raise StoreError(f"{log!r} is no name of a log: it cannot be written as UTF-8") from None
    return log
