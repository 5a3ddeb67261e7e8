"""Blobs in PostgreSQL: bytes by content, in pieces, so that no blob is ever whole in memory."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

from mlsdk.errors import DigestError, NotFoundError, StoreError
from mlsdk.store.blobs import check_digest, chunks
from mlsdk.store.postgres.pool import Connection, Pool

PIECE_BYTES = 1 << 20
_IN_MEMORY_BYTES = 8 << 20
_PAGE = 1000


class PostgresBlobs:
    """Blobs in tables; see `mlsdk.store.seams.Blobs`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def put(self, source: bytes | str | BinaryIO) -> tuple[str, int]:
        """See `Blobs.put`. What is there already is not sent."""
        with _spooled(source) as (file, digest, size):
            self._pool.do(lambda db: _put(db, file, digest, size))
        return digest, size

    def open(self, digest: str, start: int = 0, length: int | None = None) -> BinaryIO:
        """See `Blobs.open`. A part is fetched as it is read; the whole is fetched and checked first."""
        size, _ = self.info(digest)
        end = size if length is None else min(size, start + length)
        pieces = _Pieces(self._pool, digest, start, end)
        if start or length is not None:
            return cast("BinaryIO", io.BufferedReader(pieces, PIECE_BYTES))
        spooled = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - handed to the caller
        hasher = hashlib.sha256()
        for piece in pieces.all():
            hasher.update(piece)
            spooled.write(piece)
        if hasher.hexdigest() != digest:
            spooled.close()
            raise DigestError(
                f"the stored bytes of {digest} are not those that were put: they now hash to {hasher.hexdigest()}"
            )
        spooled.seek(0)
        return cast("BinaryIO", spooled)

    def exists(self, digest: str) -> bool:
        """See `Blobs.exists`."""
        statement, bound = "SELECT 1 FROM blobs WHERE digest = %s", (check_digest(digest),)
        return self._pool.do(lambda db: db.execute(statement, bound).fetchone()) is not None

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Blobs.list`."""
        statement = (
            "SELECT digest FROM blobs WHERE digest > %s AND digest >= %s AND digest < %s AND starts_with(digest, %s)"
            " ORDER BY digest LIMIT %s"
        )
        after = ""
        while True:
            bound = (after, prefix, prefix + "g", prefix, _PAGE)
            rows = self._pool.do(lambda db, bound=bound: db.execute(statement, bound).fetchall())  # type: ignore[misc]
            yield from (row[0] for row in rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def delete(self, digest: str, older_than_s: float | None = None) -> bool:
        """See `Blobs.delete`. Who waited for one that puts it again looks at its age anew."""
        statement, bound = "DELETE FROM blobs WHERE digest = %s", [check_digest(digest)]
        if older_than_s is not None:
            statement += " AND put_at <= clock_timestamp() - make_interval(secs => %s::float8)"
            bound.append(str(older_than_s))
        return bool(self._pool.do(lambda db: db.execute(statement, bound).rowcount))

    def info(self, digest: str) -> tuple[int, float]:
        """See `Blobs.info`. The age is by the database's clock."""
        statement = "SELECT size, extract(epoch FROM clock_timestamp() - put_at) FROM blobs WHERE digest = %s"
        bound = (check_digest(digest),)
        row = self._pool.do(lambda db: db.execute(statement, bound).fetchone())
        if row is None:
            raise NotFoundError(f"no blob {digest}")
        return int(row[0]), float(row[1])


def _put(db: Connection, file: BinaryIO, digest: str, size: int) -> None:
    """The second of two who put the same waits for the first, and finds it there."""
    renewed = "UPDATE blobs SET put_at = clock_timestamp() WHERE digest = %s RETURNING id"
    if db.execute(renewed, (digest,)).fetchone() is not None:
        return
    made = "INSERT INTO blobs (digest, size) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING id"
    row = db.execute(made, (digest, size)).fetchone()
    if row is None:
        db.execute(renewed, (digest,))
        return
    file.seek(0)
    for number, piece in enumerate(iter(lambda: file.read(PIECE_BYTES), b"")):
        db.execute("INSERT INTO blob_pieces (id, number, data) VALUES (%s, %s, %b)", (row[0], number, piece))


@contextlib.contextmanager
def _spooled(source: bytes | str | BinaryIO) -> Iterator[tuple[BinaryIO, str, int]]:
    """A source as a file that can be read again, its digest and its size."""
    if isinstance(source, bytes):
        yield io.BytesIO(source), hashlib.sha256(source).hexdigest(), len(source)
        return
    hasher, size = hashlib.sha256(), 0
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
        try:
            for chunk in chunks(source):
                hasher.update(chunk)
                file.write(chunk)
                size += len(chunk)
        except OSError as error:
            raise StoreError(f"{source!r} cannot be read: {error}") from error
        yield cast("BinaryIO", file), hasher.hexdigest(), size


class _Pieces(io.RawIOBase):
    """The bytes of a blob from `at` to `end`, fetched as they are read."""

    def __init__(self, pool: Pool, digest: str, at: int, end: int) -> None:
        self._pool = pool
        self._digest = digest
        self._at = at
        self._end = end

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """See `io.RawIOBase.readinto`: no further than the end of a piece."""
        number, start = divmod(self._at, PIECE_BYTES)
        length = min(len(buffer), PIECE_BYTES - start, self._end - self._at)
        if length <= 0:
            return 0
        piece = self._piece(number, start, length)
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def all(self) -> Iterator[bytes]:
        """All pieces, the first one whole."""
        for number in range(-(-self._end // PIECE_BYTES)):
            yield self._piece(number, 0, PIECE_BYTES)

    def _piece(self, number: int, start: int, length: int) -> bytes:
        statement = (
            "SELECT substring(data FROM %s FOR %s) FROM blob_pieces p JOIN blobs b ON b.id = p.id"
            " WHERE b.digest = %s AND p.number = %s"
        )
        bound = (start + 1, length, self._digest, number)
        row = self._pool.do(lambda db: db.execute(statement, bound, binary=True).fetchone())
        if row is None:
            raise NotFoundError(f"the blob {self._digest} was deleted while it was read")
        return bytes(row[0])
