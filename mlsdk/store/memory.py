"""A store in this process's memory: a real one, for tests and for trying things out. It ends with the process."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from threading import Lock, RLock
from typing import BinaryIO

from mlsdk.errors import ConflictError, DigestError, NotFoundError, StoreError
from mlsdk.store.blobs import check_digest, chunks
from mlsdk.store.layout import check_log_name


class MemoryLogs:
    """Logs in a dict; see `mlsdk.store.seams.Logs`."""

    capabilities = frozenset({"shared"})

    def __init__(self) -> None:
        self._logs: dict[str, bytearray] = {}
        self._lock = RLock()

    def append(self, log: str, offset: int, data: bytes) -> int:
        """See `Logs.append`."""
        with self._lock:
            known = self._logs.get(log) or self._logs.get(check_log_name(log)) or bytearray()
            end = len(known)
            overlap = known[offset : offset + len(data)]
            late = log.startswith("shared/") and offset < end and len(overlap) < len(data)
            if offset > end or late or overlap != data[: len(overlap)]:
                raise ConflictError(
                    f"{log} ends at {end:,}; {len(data):,} bytes do not continue it at {offset:,}", log, end
                )
            if len(overlap) < len(data):
                self._logs.setdefault(log, bytearray()).extend(data[len(overlap) :])
            return max(end, offset + len(data))

    def read(self, log: str, offset: int = 0, limit: int | None = None) -> bytes:
        """See `Logs.read`."""
        check_log_name(log)
        with self._lock:
            if log not in self._logs:
                raise NotFoundError(f"no log {log}")
            return bytes(self._logs[log][offset : None if limit is None else offset + limit])

    def size(self, log: str) -> int:
        """See `Logs.size`."""
        check_log_name(log)
        with self._lock:
            return len(self._logs.get(log, b""))

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Logs.list`."""
        with self._lock:
            names = sorted(self._logs)
        return (name for name in names if name.startswith(prefix))

    def delete(self, log: str) -> None:
        """See `Logs.delete`."""
        check_log_name(log)
        with self._lock:
            self._logs.pop(log, None)


class MemoryBlobs:
    """Blobs in a dict; see `mlsdk.store.seams.Blobs`."""

    def __init__(self) -> None:
        self._blobs: dict[str, tuple[bytes, float]] = {}
        self._lock = Lock()

    def put(self, source: bytes | str | BinaryIO) -> tuple[str, int]:
        """See `Blobs.put`."""
        import hashlib

        try:
            data = b"".join(chunks(source))
        except OSError as error:
            raise StoreError(f"{source!r} cannot be read: {error}") from error
        digest = hashlib.sha256(data).hexdigest()
        with self._lock:
            self._blobs[digest] = (data, time.monotonic())
        return digest, len(data)

    def open(self, digest: str, start: int = 0, length: int | None = None) -> BinaryIO:
        """See `Blobs.open`."""
        import hashlib

        data = self._get(digest)[0]
        if start == 0 and length is None and hashlib.sha256(data).hexdigest() != digest:
            raise DigestError(f"the stored bytes of {digest} are not those that were put")
        return io.BytesIO(data[start : None if length is None else start + length])

    def exists(self, digest: str) -> bool:
        """See `Blobs.exists`."""
        return check_digest(digest) in self._blobs

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Blobs.list`."""
        return (digest for digest in sorted(self._blobs) if digest.startswith(prefix))

    def delete(self, digest: str, older_than_s: float | None = None) -> bool:
        """See `Blobs.delete`."""
        with self._lock:
            found = self._blobs.get(check_digest(digest))
            if found is None or (older_than_s is not None and time.monotonic() - found[1] < older_than_s):
                return False
            del self._blobs[digest]
            return True

    def info(self, digest: str) -> tuple[int, float]:
        """See `Blobs.info`."""
        data, since = self._get(digest)
        return len(data), time.monotonic() - since

    def _get(self, digest: str) -> tuple[bytes, float]:
        if check_digest(digest) not in self._blobs:
            raise NotFoundError(f"no blob {digest}")
        return self._blobs[digest]


_shelves: dict[str, tuple[MemoryLogs, MemoryBlobs]] = {}


def shelf(uri: str) -> tuple[MemoryLogs, MemoryBlobs]:
    """Logs and blobs of a `memory:` URI: the same for the same URI, as long as the process lives."""
    return _shelves.setdefault(uri, (MemoryLogs(), MemoryBlobs()))
