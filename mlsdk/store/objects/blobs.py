"""Blobs in a bucket."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import tempfile
import time
from collections.abc import Iterator
from typing import BinaryIO, cast

from mlsdk.errors import DigestError, NotFoundError, StoreError
from mlsdk.store.blobs import check_digest, chunks
from mlsdk.store.objects.bucket import Bucket
from mlsdk.store.objects.keys import blob_key

_SMALL_BYTES = 256 << 10
"""So much is put again rather than asked for."""

_IN_MEMORY_BYTES = 8 << 20
_PIECE_BYTES = 1 << 20
_DIGEST = re.compile("[0-9a-f]{64}")


class ObjectBlobs:
    """Blobs in a bucket; see `mlsdk.store.seams.Blobs`.

    Bytes are hashed before they are sent and while they are, so that under a digest there never is anything else. What
    is there already is not sent again: an empty object makes it young.

    Args:
        bucket: where.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def put(self, source: bytes | str | BinaryIO) -> tuple[str, int]:
        """See `Blobs.put`. What an open file gives lies in a temporary one meanwhile."""
        if isinstance(source, bytes):
            return self._put(source, hashlib.sha256(source).hexdigest(), len(source))
        if isinstance(source, str):
            try:
                digest, size = _hashed(chunks(source))
            except OSError as error:
                raise StoreError(f"{source!r} cannot be read: {error}") from error
            return self._put(source, digest, size)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:
            digest, size = _hashed(chunks(source), into=cast("BinaryIO", file))
            file.seek(0)
            return self._put(cast("BinaryIO", file), digest, size)

    def _put(self, source: bytes | str | BinaryIO, digest: str, size: int) -> tuple[str, int]:
        if size <= _SMALL_BYTES:
            data = b"".join(_checked(chunks(source), digest))
            self._bucket.put(blob_key(digest), data)
        elif not self.renew(digest, size):
            self._bucket.put_parts(blob_key(digest), _checked(chunks(source), digest))
        return digest, size

    def renew(self, digest: str, size: int | None = None) -> bool:
        """Make a blob young, as putting it again would; False if it is not there, or not of that size."""
        key = blob_key(check_digest(digest))
        self._bucket.put(_renewed(digest), b"")  # before the look: `delete` removes first and looks then
        with contextlib.suppress(NotFoundError):
            return size in (None, self._bucket.head(key).size_bytes)
        self._bucket.delete([_renewed(digest)])
        return False

    def open(self, digest: str, start: int = 0, length: int | None = None) -> BinaryIO:
        """See `Blobs.open`. The whole is checked before it is handed out, in a temporary file if it is large."""
        key = blob_key(check_digest(digest))
        try:
            if start or length is not None:
                return io.BytesIO(self._bucket.get(key, start, length))
            with contextlib.ExitStack() as stack:
                file = stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES))
                found, _ = _hashed(self._bucket.stream(key), into=cast("BinaryIO", file))
                if found != digest:
                    raise DigestError(
                        f"the stored bytes of {digest} are not those that were put: they now hash to {found}"
                    )
                file.seek(0)
                stack.pop_all()
                return cast("BinaryIO", file)
        except NotFoundError:
            raise NotFoundError(f"no blob {digest}") from None

    def exists(self, digest: str) -> bool:
        """See `Blobs.exists`."""
        try:
            return bool(self._bucket.head(blob_key(check_digest(digest))))
        except NotFoundError:
            return False

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Blobs.list`."""
        folder = f"blobs/{prefix[:2]}" if len(prefix) > 1 else "blobs"
        names = (item.key.rpartition("/")[2] for item in self._bucket.list(folder))
        return (name for name in names if name.startswith(prefix) and _DIGEST.fullmatch(name))

    def delete(self, digest: str, older_than_s: float | None = None) -> bool:
        """See `Blobs.delete`.

        With an age it is set aside and removed; if it was renewed meanwhile, it comes back. Whoever renews it leaves
        word before looking whether it is there: one of the two sees the other.
        """
        key, aside = blob_key(check_digest(digest)), f"aside/{digest}"
        if older_than_s is None:
            there = self.exists(digest)
            self._bucket.delete([key, _renewed(digest)])
            return there
        try:
            if self.info(digest)[1] < older_than_s:
                return False
        except NotFoundError:
            return False
        before = self._renewed_s(digest)
        self._bucket.copy(key, aside)
        self._bucket.delete([key])
        if self._renewed_s(digest) != before:
            self._bucket.copy(aside, key)
            self._bucket.delete([aside])
            return False
        self._bucket.delete([aside, _renewed(digest)])
        return True

    def info(self, digest: str) -> tuple[int, float]:
        """See `Blobs.info`. The time is the store's, to the second in most."""
        try:
            found = self._bucket.head(blob_key(check_digest(digest)))
        except NotFoundError:
            raise NotFoundError(f"no blob {digest}") from None
        put = max(found.changed_s, self._renewed_s(digest))
        return found.size_bytes, max(0.0, time.time() - put)

    def _renewed_s(self, digest: str) -> float:
        try:
            return self._bucket.head(_renewed(digest)).changed_s
        except NotFoundError:
            return 0.0

    # for servers

    def presign(self, digest: str, method: str, expires_s: float = 900.0) -> str:
        """A URL by which anybody may do one thing, for a while: GET a blob, or PUT one that `accept` takes in then."""
        key = blob_key(check_digest(digest)) if method == "GET" else f"incoming/{check_digest(digest)}"
        return self._bucket.sign(method, key, expires_s)

    def accept(self, digest: str, size: int) -> bool:
        """Take in what was sent to a URL of `presign`; False if nothing was.

        Raises:
            DigestError: the bytes are others than the digest says; they are thrown away.
        """
        incoming, aside = f"incoming/{check_digest(digest)}", f"aside/{os.urandom(8).hex()}"
        try:
            self._bucket.copy(incoming, aside)  # where nobody can change it between the check and the copy
        except NotFoundError:
            return self.renew(digest, size)
        try:
            found = _hashed(self._bucket.stream(aside))
            if found == (digest, size):
                self._bucket.copy(aside, blob_key(digest))
                return True
            raise DigestError(
                f"what was sent as {digest} ({size:,} bytes) are {found[1]:,} bytes that hash to {found[0]}"
            )
        finally:
            self._bucket.delete([aside, incoming])


def _renewed(digest: str) -> str:
    return f"renewed/{digest}"


def _hashed(parts: Iterator[bytes], into: BinaryIO | None = None) -> tuple[str, int]:
    """(Digest, size) of bytes."""
    hasher, size = hashlib.sha256(), 0
    for part in parts:
        hasher.update(part)
        size += len(part)
        if into is not None:
            into.write(part)
    return hasher.hexdigest(), size


def _checked(parts: Iterator[bytes], digest: str) -> Iterator[bytes]:
    """The bytes, as long as they are those of a digest.

    Raises:
        StoreError: they are others.
    """
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(part)
        yield part
    if hasher.hexdigest() != digest:
        raise StoreError(f"the file changed while it was put: it was {digest} before; put it again")
