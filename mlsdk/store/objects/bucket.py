"""A bucket, or a folder in one, as a few typed calls: obstore behind it, errors of mlsdk in front of it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from mlsdk.errors import AccessError, NotFoundError, StoreError, UnavailableError

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 16
"""Requests that one call has under way at the same time."""

_PART_BYTES = 8 << 20
_DELETE_AT_ONCE = 1_000

_STATUS = re.compile(r"status(?: code)?:? (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_AWAY = re.compile(
    r"HTTP error|error sending request|timed? ?out|connection|RequestTimeout|SlowDown|request or response body",
    re.IGNORECASE,
)
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|specified (bucket|container) does not exist", re.IGNORECASE)
_NO_CREDENTIALS = re.compile(r"169\.254\.|metadata\.google|credential|Missing(Key|Account|Secret)", re.IGNORECASE)


_first_user = 0
"""The process that used obstore first: its threads are not there in a forked child, which would wait for ever."""


class Item(NamedTuple):
    """What a listing tells of an object."""

    key: str
    size_bytes: int
    changed_s: float
    """When it was last put, in seconds since 1970 by the clock of the store; whole seconds in most."""


class Bucket:
    """Objects by their keys below a prefix.

    Args:
        store: of obstore.
        uri: as people know it, for messages.
    """

    def __init__(self, store: Any, uri: str) -> None:
        self.uri = uri
        self._store = store
        self._ranges = True

    def put(self, key: str, data: bytes, *, create: bool = False) -> bool:
        """Put an object; it appears whole.

        Args:
            key: its name.
            data: its bytes.
            create: only if there is none. Stores that know no conditions put it all the same (`probe`).

        Returns:
            Whether it was put; False if something is there already.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._translated(key):
            if not create:
                obstore.put(self._store, key, data, chunk_size=_PART_BYTES)
                return True
            try:
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
            except Exception as error:  # obstore has no class of its own for this answer
                if _status(str(error)) == 409:  # somebody else puts it in this moment
                    return False
                raise
        return True

    def put_parts(self, key: str, parts: Iterator[bytes]) -> None:
        """Put an object piece by piece; if getting a piece fails, nothing appears."""
        import obstore

        with self._translated(key):
            obstore.put(self._store, key, parts, chunk_size=_PART_BYTES)

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of an object, or `length` of them from `start`; empty beyond its end.

        Raises:
            NotFoundError: there is no such object.
        """
        if length == 0 or (start and not self._ranges):
            data = b"" if length == 0 and self.head(key) else self.get(key)
            return data[start : None if length is None else start + length]
        import obstore

        with self._translated(key):
            if start == 0 and length is None:
                return bytes(obstore.get(self._store, key).bytes())
            try:
                if length is None:
                    return bytes(obstore.get(self._store, key, options={"range": {"offset": start}}).bytes())
                return bytes(obstore.get_range(self._store, key, start=start, length=length))
            except Exception as error:  # the same
                if _status(str(error)) == 416:
                    return b""
                if "non-partial response" not in str(error):
                    raise
        self._ranges = False  # this store answers with the whole
        return self.get(key)[start : None if length is None else start + length]

    def stream(self, key: str) -> Iterator[bytes]:
        """The bytes of an object, piece by piece."""
        import obstore

        with self._translated(key):
            for part in obstore.get(self._store, key).stream(min_chunk_size=1 << 20):
                yield bytes(part)

    def head(self, key: str) -> Item:
        """Size and time of an object.

        Raises:
            NotFoundError: there is no such object.
        """
        import obstore

        with self._translated(key):
            found = obstore.head(self._store, key)
            return Item(key, int(found["size"]), found["last_modified"].timestamp())

    def list(self, folder: str, after: str = "") -> Iterator[Item]:
        """Objects below a folder whose keys come after one; in the order of text."""
        import obstore

        with self._translated(folder):
            for part in obstore.list(self._store, folder or None, offset=after or None, chunk_size=1_000):
                for found in part:
                    yield Item(found["path"], int(found["size"]), found["last_modified"].timestamp())

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are not there are no error."""
        import obstore

        for start in range(0, len(keys), _DELETE_AT_ONCE):
            with self._translated(keys[start]), contextlib.suppress(FileNotFoundError):
                obstore.delete(self._store, list(keys[start : start + _DELETE_AT_ONCE]))

    def copy(self, source: str, target: str) -> None:
        """Copy an object inside of the store.

        Raises:
            NotFoundError: there is no such object.
        """
        import obstore

        with self._translated(source):
            obstore.copy(self._store, source, target)

    def sign(self, method: str, key: str, expires_s: float) -> str:
        """A URL by which whoever has it may do one thing with one object, for a while."""
        from datetime import timedelta

        import obstore

        with self._translated(key):
            return str(obstore.sign(self._store, method, key, timedelta(seconds=expires_s)))  # type: ignore[call-overload]

    @contextlib.contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        global _first_user
        _first_user = _first_user or os.getpid()
        if _first_user != os.getpid():
            raise StoreError(
                f"{self.uri} cannot be used in a forked process, as its parent {_first_user} has used a bucket before:"
                " start the process by spawn, or use buckets in children only"
            )
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            raise _translation(self.uri, key, error) from None  # its text has nothing more, and is long


def _status(text: str) -> int | None:
    """The HTTP status that an error of obstore speaks of."""
    found = _STATUS.search(text)
    return int(found[1]) if found else None


def _translation(uri: str, key: str, error: Exception) -> Exception:
    """The error of mlsdk for one of obstore."""
    text = str(error).partition("Debug source")[0]
    status, code = _status(text), _CODE.search(text)
    said = f"{status or ''} {code[1] if code else ''}".strip() or " ".join(text.split())[:200]
    if _NO_BUCKET.search(text):
        return StoreError(f"the bucket of {uri} does not exist: make it first, mlsdk makes none ({said})")
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"no object {key} in {uri}")
    if status in (401, 403) or type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        return AccessError(
            f"{uri} refuses {key or 'to be listed'} ({said}): see the credentials in the environment (AWS_*, GOOGLE_*,"
            " AZURE_*), and what they allow"
        )
    if status in (408, 429) or (status or 0) >= 500 or (status in (None, 400) and _AWAY.search(text)):
        if status is None and _NO_CREDENTIALS.search(text):
            return AccessError(f"no credentials for {uri} were found: set AWS_ACCESS_KEY_ID and the like ({said})")
        return UnavailableError(f"{uri} cannot be reached at present ({said}); try again later")
    return StoreError(f"{uri}: {key}: {said}")


def together(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Call a function for each item, some at the same time; results in order, the first error is raised."""
    listed = list(items)
    if len(listed) < 2:
        return [function(item) for item in listed]
    with ThreadPoolExecutor(min(AT_ONCE, len(listed)), "mlsdk-bucket") as pool:
        return list(pool.map(function, listed))
