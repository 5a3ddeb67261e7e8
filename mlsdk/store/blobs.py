"""Bytes by content: files named by their SHA-256 under `blobs/ab/abcd…`."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import BinaryIO

from mlsdk.errors import DigestError, NotFoundError, StoreError

_CHUNK_BYTES = 1 << 20


def put_file(folder: str, source: bytes | str | BinaryIO) -> tuple[str, int]:
    """Put bytes, a file by its path, or an open binary file under `folder`; returns (digest, size).

    What is there already is kept and its time renewed, so that a collection of garbage leaves it. A file appears
    whole or not at all.
    """
    import hashlib

    hasher, size = hashlib.sha256(), 0
    _make(folder)  # not what is above it: a store that was deleted does not come back
    temporary = os.path.join(folder, f".{os.getpid()}-{os.urandom(6).hex()}.part")
    try:
        with open(temporary, "xb") as out:
            for chunk in chunks(source):
                hasher.update(chunk)
                out.write(chunk)
                size += len(chunk)
        digest = hasher.hexdigest()
        target = blob_path(folder, digest)
        try:
            os.utime(target)
            whole = os.path.getsize(target) == size  # a power cut may have left less
        except FileNotFoundError:
            _make(os.path.dirname(target))
            whole = False
        if not whole:
            os.replace(temporary, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    return digest, size


def _make(folder: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)


def chunks(source: bytes | str | BinaryIO) -> Iterator[bytes]:
    """The bytes of a source, piece by piece."""
    if isinstance(source, bytes):
        yield source
        return
    if isinstance(source, str):
        with open(source, "rb") as file:
            yield from iter(lambda: file.read(_CHUNK_BYTES), b"")
        return
    yield from iter(lambda: source.read(_CHUNK_BYTES), b"")


def blob_path(folder: str, digest: str) -> str:
    """Path of a blob."""
    return os.path.join(folder, check_digest(digest)[:2], digest)


def check_digest(digest: str) -> str:
    """The digest itself.

    Raises:
        StoreError: it is none.
    """
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise StoreError(f"{digest!r} is not a digest: 64 lowercase hexadecimal digits (SHA-256)")
    return digest


class FileBlobs:
    """Blobs in a folder; see `mlsdk.store.seams.Blobs` for what it promises."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def put(self, source: bytes | str | BinaryIO) -> tuple[str, int]:
        """Put bytes, a path's file or an open file away; returns (digest, size in bytes)."""
        try:
            os.makedirs(self._folder, exist_ok=True)
            return put_file(self._folder, source)
        except OSError as error:
            what = source if isinstance(source, str) else "a blob"
            raise StoreError(f"{what} cannot be put into {self._folder}: {error}") from error

    def open(self, digest: str, start: int = 0, length: int | None = None) -> BinaryIO:
        """Open for reading; the whole, or `length` bytes from `start`. Reading the whole checks the digest first."""
        path = blob_path(self._folder, digest)
        try:
            file = open(path, "rb")  # noqa: SIM115 - handed to the caller
        except FileNotFoundError:
            raise NotFoundError(f"no blob {digest}") from None
        if start == 0 and length is None:
            _check(file, digest)
            return file
        import io

        with file:
            file.seek(start)
            return io.BytesIO(file.read() if length is None else file.read(length))

    def exists(self, digest: str) -> bool:
        """Whether the blob is here."""
        return os.path.exists(blob_path(self._folder, digest))

    def list(self, prefix: str = "") -> Iterator[str]:
        """Digests that begin with `prefix`, in order."""
        for shelf in sorted(_names(self._folder)):
            if len(shelf) == 2 and (shelf.startswith(prefix[:2]) or prefix.startswith(shelf)):
                yield from (
                    name
                    for name in sorted(_names(os.path.join(self._folder, shelf)))
                    if name.startswith(prefix) and name[0] != "."  # being put, or removed
                )

    def delete(self, digest: str, older_than_s: float | None = None) -> bool:
        """Remove a blob; see `mlsdk.store.seams.Blobs.delete`. Moved aside first, its age can be looked at in peace."""
        path = blob_path(self._folder, digest)
        aside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}-{os.getpid()}.part")
        try:
            if older_than_s is not None:
                os.rename(path, aside)
                if time.time() - os.stat(aside).st_mtime < older_than_s:
                    os.rename(aside, path)
                    return False
            os.unlink(path if older_than_s is None else aside)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(f"the blob {digest} cannot be removed: {error}") from error
        return True

    def info(self, digest: str) -> tuple[int, float]:
        """(size in bytes, seconds since it was put or put again)."""
        try:
            found = os.stat(blob_path(self._folder, digest))
        except FileNotFoundError:
            raise NotFoundError(f"no blob {digest}") from None
        return found.st_size, time.time() - found.st_mtime


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _check(file: BinaryIO, digest: str) -> None:
    import hashlib

    hasher = hashlib.sha256()
    for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""):
        hasher.update(chunk)
    if hasher.hexdigest() != digest:
        file.close()
        raise DigestError(
            f"the stored bytes of {digest} are not those that were put: they now hash to {hasher.hexdigest()}"
        )
    file.seek(0)
