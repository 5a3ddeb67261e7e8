"""Uploads in parts that any server over the same stores can go on with.

A part is a blob of its own, with a head that makes it unlike any other blob; which parts there are stands in a shared
log of the home store. When all bytes are there they are put together, and their digest decides.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, cast

from mlsdk.errors import ConflictError, DigestError, NotFoundError
from mlsdk.store.base import Store

_READ_BYTES = 1 << 20


class Part(NamedTuple):
    """A part that is there."""

    blob: str
    """Under which digest it is kept."""
    head_bytes: int
    size_bytes: int


class Upload:
    """The parts of one blob that have come so far.

    Args:
        home: where the list of parts is kept.
        store: where the parts are kept, and the blob in the end.
        workspace: the name of that store.
        digest: of the whole.
    """

    def __init__(self, home: Store, store: Store, workspace: str, digest: str) -> None:
        self._home, self._store, self._digest = home, store, digest
        self._log = f"shared/uploads/{workspace}/{digest}"

    def parts(self) -> list[Part]:
        """The parts, in order; none where one of them is no longer there."""
        parts = [Part(*json.loads(line)[:3]) for line in self._listed().splitlines()]
        if not all(self._store.blobs.exists(part.blob) for part in parts):
            self.throw_away()
            return []
        return parts

    def offset(self) -> int:
        """How many bytes are there: where to go on."""
        return sum(part.size_bytes for part in self.parts())

    def add(self, offset: int, data: bytes) -> int:
        """Keep a part; returns where to go on, which is elsewhere if the part does not belong at the end."""
        listed = self._listed()
        if offset != self.offset() or not data:
            return self.offset()
        head = f"mlsdk part {self._digest} {offset}\n".encode()
        blob, _ = self._store.blobs.put(_joined(iter((head, data))))
        entry = json.dumps([blob, len(head), len(data), _nonce()]).encode() + b"\n"
        try:
            self._home.logs.append(self._log, len(listed), entry)
        except ConflictError:  # somebody else sends the same blob
            return self.offset()
        return offset + len(data)

    def finish(self) -> None:
        """Put the parts together.

        Raises:
            DigestError: they are not what they should be; they are thrown away.
        """
        parts = self.parts()
        size = sum(part.size_bytes for part in parts)
        found = digest_of(self._read(parts))
        if found != self._digest:
            self.throw_away()
            raise DigestError(f"the {size:,} bytes sent hash to {found}, not to {self._digest}; send them again")
        self._store.blobs.put(_joined(self._read(parts)))
        self.throw_away()

    def throw_away(self) -> None:
        """Forget the parts."""
        blobs = {json.loads(line)[0] for line in self._listed().splitlines()}
        self._home.logs.delete(self._log)
        for blob in blobs:
            self._store.blobs.delete(blob)

    def _listed(self) -> bytes:
        try:
            return self._home.logs.read(self._log)
        except NotFoundError:
            return b""

    def _read(self, parts: list[Part]) -> Iterator[bytes]:
        for part in parts:
            with self._store.blobs.open(part.blob, part.head_bytes, part.size_bytes) as file:
                yield from iter(lambda file=file: file.read(_READ_BYTES), b"")  # type: ignore[misc]


def digest_of(pieces: Iterator[bytes]) -> str:
    """SHA-256 of pieces of bytes."""
    import hashlib

    hasher = hashlib.sha256()
    for piece in pieces:
        hasher.update(piece)
    return hasher.hexdigest()


def _nonce() -> str:
    import os

    return os.urandom(8).hex()


def _joined(pieces: Iterator[bytes]) -> BinaryIO:
    """Pieces of bytes as a file to read from."""
    return cast("BinaryIO", io.BufferedReader(_Joined(pieces), _READ_BYTES))


class _Joined(io.RawIOBase):
    """What `_joined` reads from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
