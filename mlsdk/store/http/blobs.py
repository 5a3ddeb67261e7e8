"""Blobs on a server: sent in parts that can be taken up again, read with their digest checked."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from mlsdk.errors import ConflictError, DigestError, NotFoundError, StoreError, UnavailableError
from mlsdk.store.blobs import check_digest
from mlsdk.store.http.answers import Answer, check
from mlsdk.store.http.logs import names
from mlsdk.store.http.session import Patience, Session

_CHUNK_BYTES = 1 << 20
_IN_MEMORY_BYTES = 8 << 20
"""Larger blobs go through a temporary file."""
_DIRECT_BYTES = 1 << 20
"""From so many bytes on, the server may name an address of its object store to read from or write to."""


class HttpBlobs:
    """Blobs of a workspace; see `mlsdk.store.seams.Blobs`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._direct = True

    # writing

    def put(self, source: bytes | str | BinaryIO) -> tuple[str, int]:
        """See `Blobs.put`. Bytes that the server has are not sent; a part that got lost is sent again."""
        with _opened(source) as (file, digest, size):
            for last in (False, True):
                try:
                    self._put(file, digest, size)
                    break
                except DigestError:  # parts of an earlier attempt were not of these bytes: the server threw them away
                    if last:
                        raise
        return digest, size

    def _put(self, file: BinaryIO, digest: str, size: int) -> None:
        path, most = f"/uploads/{digest}", self._session.server().part_bytes
        patience, offset = Patience(self._session.attempts), 0
        while True:
            answer = self._session.call("POST", "/uploads", value={"digest": digest, "size_bytes": size}).json()
            if answer.get("there"):
                return
            url, offset = answer.get("url"), int(answer.get("offset") or 0)
            try:
                if url and self._direct and size >= _DIRECT_BYTES and self._put_direct(str(url), file, digest, size):
                    return
                while True:
                    file.seek(offset)
                    part = file.read(min(most, size - offset))
                    query = {"offset": offset, "size_bytes": size}
                    said = self._session.call("PUT", path, params=query, body=part, attempts=1).json()
                    if said.get("there"):
                        return
                    if int(said["offset"]) <= offset:
                        # Another one sends the same, or has just been done with it.
                        raise UnavailableError(f"{self._session.address.origin} takes no more of blob {digest}")
                    offset = int(said["offset"])
            except UnavailableError as error:  # cut off: ask how far it is
                patience.pause(error, offset)
            except ConflictError as error:  # another one sends the same
                patience.pause(UnavailableError(str(error)), offset)

    def _put_direct(self, url: str, file: BinaryIO, digest: str, size: int) -> bool:
        """Send the whole to an address of the object store; False if it cannot be reached from here."""
        if not _may_follow(self._session.address.origin, url):
            return False
        try:
            with self._session.opened("PUT", url, body=file) as (head, _):
                self._direct = head.status in (200, 201, 204)
        except StoreError:
            self._direct = False
        if not self._direct:
            return False
        answer = self._session.call("POST", f"/uploads/{digest}/done", params={"size_bytes": size}).json()
        return bool(answer.get("there"))

    # reading

    def open(self, digest: str, start: int = 0, length: int | None = None) -> BinaryIO:
        """See `Blobs.open`. Goes on where a download broke off."""
        check_digest(digest)
        if length == 0:
            self.info(digest)
            return io.BytesIO()
        whole = start == 0 and length is None
        hasher = hashlib.sha256()
        out: BinaryIO = io.BytesIO()
        got, patience = 0, Patience(self._session.attempts)
        try:
            while True:
                try:
                    for piece in self._pieces(digest, start + got, None if length is None else length - got):
                        out = _moved(out, got + len(piece))
                        out.write(piece)
                        hasher.update(piece)
                        got += len(piece)
                    break
                except UnavailableError as error:
                    patience.pause(error, got)
            if whole and hasher.hexdigest() != digest:
                raise DigestError(
                    f"the bytes that {self._session.address.origin} gave for {digest} are not those that were put: they"
                    f" hash to {hasher.hexdigest()}"
                )
        except BaseException:
            out.close()
            raise
        out.seek(0)
        return out

    def _pieces(self, digest: str, start: int, length: int | None) -> Iterator[bytes]:
        """Bytes of a blob from an offset on, by one request."""
        path = self._session.url(f"/blobs/{digest}")
        headers = {"Accept-Encoding": "identity"}
        if start or length is not None:
            headers["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        direct = self._direct and (length is None or length >= _DIRECT_BYTES)
        with self._session.opened("GET", path, {"redirect": "1"} if direct else None, headers=headers) as (
            head,
            pieces,
        ):
            to = head.headers.get("Location", "")
            if head.status not in (302, 303, 307, 308) or "Mlsdk-Api" not in head.headers:
                yield from self._taken(head, pieces, start, length, own=True)
                return
        if _may_follow(self._session.address.origin, to):
            try:
                with self._session.opened("GET", to, headers=headers) as (head, pieces):
                    if head.status in (200, 206, 416):
                        yield from self._taken(head, pieces, start, length, own=False)
                        return
            except UnavailableError:
                self._direct = False  # reachable for the server, and not from here
                raise
        self._direct = False
        yield from self._pieces(digest, start, length)

    def _taken(
        self, head: Answer, pieces: Iterator[bytes], start: int, length: int | None, *, own: bool
    ) -> Iterator[bytes]:
        """The body of an answer, from where it was asked for; nothing where the blob ends before that."""
        if head.status == 416:
            return
        if own and (head.status not in (200, 206) or "Mlsdk-Api" not in head.headers):
            check(self._session.address.origin, Answer(head.status, head.headers, b"".join(pieces)))
        behind = start if head.status == 200 else 0  # something on the way does not know ranges
        left = length
        for piece in pieces:
            piece, behind = piece[behind:], max(behind - len(piece), 0)
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            if piece:
                yield piece

    # the rest

    def exists(self, digest: str) -> bool:
        """See `Blobs.exists`."""
        try:
            self.info(digest)
        except NotFoundError:
            return False
        return True

    def info(self, digest: str) -> tuple[int, float]:
        """See `Blobs.info`."""
        headers = {"Accept-Encoding": "identity"}
        try:
            answer = self._session.call("HEAD", f"/blobs/{check_digest(digest)}", headers=headers)
        except NotFoundError:
            raise NotFoundError(f"no blob {digest} on {self._session.address.origin}") from None
        return int(answer.number("Content-Length")), answer.number("Mlsdk-Age-S")

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Blobs.list`."""
        return names(self._session, "blobs", prefix)

    def delete(self, digest: str, older_than_s: float | None = None) -> bool:
        """See `Blobs.delete`. The server counts in whole seconds."""
        query = {"older_than_s": None if older_than_s is None else math.ceil(older_than_s)}
        answer = self._session.call("DELETE", f"/blobs/{check_digest(digest)}", params=query)
        return bool(answer.json()["removed"])


@contextlib.contextmanager
def _opened(source: bytes | str | BinaryIO) -> Iterator[tuple[BinaryIO, str, int]]:
    """A source as a file that can be read again, its digest and its size."""
    with contextlib.ExitStack() as stack:
        hasher, size = hashlib.sha256(), 0
        if isinstance(source, bytes):
            file: BinaryIO = io.BytesIO(source)
        elif isinstance(source, str):
            try:
                file = stack.enter_context(open(source, "rb"))
            except OSError as error:
                raise StoreError(f"{source} cannot be read: {error}") from error
        else:
            # Copied: where it stands is its owner's business, and it may be a pipe.
            file = stack.enter_context(tempfile.TemporaryFile())
            for chunk in iter(lambda: source.read(_CHUNK_BYTES), b""):
                file.write(chunk)
            file.seek(0)
        for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""):
            hasher.update(chunk)
            size += len(chunk)
        yield file, hasher.hexdigest(), size


def _moved(file: BinaryIO, size: int) -> BinaryIO:
    """The file for so many bytes: a real one once it is large."""
    if size <= _IN_MEMORY_BYTES or not isinstance(file, io.BytesIO):
        return file
    large = tempfile.TemporaryFile()  # noqa: SIM115 - handed to the caller
    large.write(file.getbuffer())
    return large


def _may_follow(origin: str, url: str) -> bool:
    """Whether an address that the server names may be used: never without encryption where the server has it."""
    return url.startswith("https://") or (url.startswith("http://") and origin.startswith("http://"))
