"""The embedded store's logs: a file for each, raw or sealed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from mlsdk.errors import ConflictError, NotFoundError, StoreError
from mlsdk.log.frames import LONGEST_CLOSE_BYTES, is_closed
from mlsdk.store.layout import Layout, check_log_name

if TYPE_CHECKING:
    from mlsdk.log.seal import Sealed

SEAL_BYTES = 65_536
"""Smaller logs stay raw: a file of column blocks would not be smaller."""


class FileLogs:
    """Logs in a folder; see `mlsdk.store.seams.Logs`.

    Of a writer's log only the writer, or whoever ships it here, appends; what is shipped is announced by markers, as
    the writer does it. A shared log is a folder with a file for
    each entry, named by its offset: written whole under a temporary name and then linked, which succeeds for one of
    two.
    """

    capabilities = frozenset({"processes", "seal", "shared"})

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._locks = tuple(Lock() for _ in range(64))

    def append(self, log: str, offset: int, data: bytes) -> int:
        """See `Logs.append`."""
        check_log_name(log)
        if log.startswith("shared/"):
            return self._append_shared(log, offset, data)
        with self._locks[hash(log) % len(self._locks)], _translated(log):
            while True:
                end = self.size(log)
                if offset + len(data) <= end or offset > end:
                    self._check(log, offset, data, end)
                    return end
                self.unseal(log)
                os.makedirs(os.path.dirname(self.layout.log_path(log)), exist_ok=True)
                grown = self._append(log, offset, data)
                if grown is not None:
                    return grown

    def _append(self, log: str, offset: int, data: bytes) -> int | None:
        """Append while no other sender, of this process or another, does; None if the log was sealed in this moment."""
        _, run, writer = log.split("/")
        try:
            self.layout.mark_open(run, writer)
        except FileNotFoundError:  # nothing was ever kept here
            self.layout.make()
            self.layout.mark_open(run, writer)
        with open(self.layout.log_path(log), "a+b") as file, locked(file.fileno()):
            found = os.fstat(file.fileno())
            end = found.st_size
            if not found.st_nlink:
                return None
            if not end and os.path.exists(self.layout.seal_path(log)):
                os.unlink(self.layout.log_path(log))  # made by opening it
                return None
            self._check(log, offset, data, end)
            file.write(data[end - offset :] if end < offset + len(data) else b"")
            file.flush()
            end = file.tell()
            file.seek(max(0, end - LONGEST_CLOSE_BYTES))
            if is_closed(file.read()):
                self.layout.mark_closed(run, writer)
        return end

    def _check(self, log: str, offset: int, data: bytes, end: int) -> None:
        if offset > end:
            raise ConflictError(f"{log} ends at {end:,}; appending at {offset:,} would leave a hole", log, end)
        if offset < end and self.read(log, offset, len(data)) != data[: end - offset]:
            raise ConflictError(f"{log} has other bytes at {offset:,}; it ends at {end:,}", log, end)

    def _append_shared(self, log: str, offset: int, data: bytes) -> int:
        end = self.size(log)
        if offset <= end and data == (self.read(log, offset, len(data)) if offset < end else b""):
            return end
        if offset != end:
            raise ConflictError(
                f"{log} ends at {end:,}, not at {offset:,}: somebody appended before; read on and try again", log, end
            )
        folder = self._shared(log)
        temporary = os.path.join(folder, f".{os.getpid()}-{os.urandom(6).hex()}")
        with _translated(log):
            os.makedirs(folder, exist_ok=True)
            with open(temporary, "xb") as file:
                file.write(data)
            try:
                os.link(temporary, os.path.join(folder, f"{offset:020d}"))
            except FileExistsError:
                return self._append_shared(log, offset, data)
            finally:
                os.unlink(temporary)
        return offset + len(data)

    def read(self, log: str, offset: int = 0, limit: int | None = None) -> bytes:
        """See `Logs.read`."""
        check_log_name(log)
        if log.startswith("shared/"):
            data = b"".join(_read(os.path.join(self._shared(log), name)) for name in self._entries(log))
            if not data:
                raise NotFoundError(f"no log {log}")
            return data[offset : None if limit is None else offset + limit]
        try:
            return _read(self.layout.log_path(log), offset, limit)
        except FileNotFoundError:
            pass
        try:
            raw = self._unsealed(log)
        except FileNotFoundError:
            raise NotFoundError(f"no log {log}") from None
        return raw[offset : None if limit is None else offset + limit]

    def size(self, log: str) -> int:
        """See `Logs.size`."""
        check_log_name(log)
        if log.startswith("shared/"):
            names = self._entries(log)
            return int(names[-1]) + os.path.getsize(os.path.join(self._shared(log), names[-1])) if names else 0
        try:
            return os.path.getsize(self.layout.log_path(log))
        except FileNotFoundError:
            pass
        try:
            from mlsdk.log.seal import Sealed

            with Sealed(self.layout.seal_path(log)) as sealed:
                return sealed.raw_length
        except FileNotFoundError:
            return 0

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Logs.list`."""
        yield from self._runs(prefix)
        yield from sorted(log for log in self._all_shared() if log.startswith(prefix))

    def _runs(self, prefix: str) -> Iterator[str]:
        """Logs of runs; folders that can hold none with this prefix are not looked into."""
        for run in sorted(_names(self.layout.runs)):
            folder = f"runs/{run}/"
            if folder.startswith(prefix) or prefix.startswith(folder):
                names = (name.rpartition(".") for name in _names(os.path.join(self.layout.runs, run)))
                logs = {folder + name for name, _, kind in names if kind in ("log", "seal")}
                yield from sorted(log for log in logs if log.startswith(prefix))

    def _all_shared(self) -> Iterator[str]:
        for folder, _, files in os.walk(self.layout.shared):
            if any(map(_is_entry, files)):
                yield "/".join(("shared", *os.path.relpath(folder, self.layout.shared).split(os.sep)))

    def delete(self, log: str) -> None:
        """See `Logs.delete`."""
        check_log_name(log)
        if log.startswith("shared/"):
            for name in reversed(self._entries(log)):
                os.unlink(os.path.join(self._shared(log), name))
            return
        for path in (self.layout.log_path(log), self.layout.seal_path(log)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def is_sealed(self, log: str) -> bool:
        """Whether a log is kept as column blocks."""
        return not os.path.exists(self.layout.log_path(log)) and os.path.exists(self.layout.seal_path(log))

    def seal(self, log: str) -> bool:
        """Keep a log that will not grow any more as column blocks; False if it is sealed already or not there.

        The sealed file appears whole before the raw one goes, so that a reader finds one of them at any time.
        """
        from mlsdk.log.seal import seal

        raw_path, path = self.layout.log_path(log), self.layout.seal_path(log)
        try:
            with open(raw_path, "rb") as raw, locked(raw.fileno()):
                if not os.fstat(raw.fileno()).st_nlink:
                    return False
                temporary = f"{path}.{os.getpid()}-{os.urandom(4).hex()}.part"
                try:
                    with open(temporary, "xb") as file:
                        file.write(seal(raw.read(), log))
                        file.flush()
                        os.fsync(file.fileno())
                    os.replace(temporary, path)
                finally:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(temporary)
                os.unlink(raw_path)
                return True
        except FileNotFoundError:
            return False

    def unseal(self, log: str) -> bool:
        """Bring the raw file of a sealed log back; False if it is not sealed."""
        try:
            with open(self.layout.seal_path(log), "rb") as sealed, locked(sealed.fileno()):
                if not self.is_sealed(log):
                    return False
                temporary = f"{self.layout.log_path(log)}.{os.getpid()}-{os.urandom(4).hex()}.part"
                with open(temporary, "wb") as file:
                    file.write(self._unsealed(log))
                os.replace(temporary, self.layout.log_path(log))
                os.unlink(self.layout.seal_path(log))
                return True
        except FileNotFoundError:
            return False

    def open_sealed(self, log: str) -> Sealed:
        """The column blocks of a sealed log."""
        from mlsdk.log.seal import Sealed

        return Sealed(self.layout.seal_path(log))

    def _unsealed(self, log: str) -> bytes:
        from mlsdk.log.seal import unseal

        return unseal(_read(self.layout.seal_path(log)))

    def _shared(self, log: str) -> str:
        return os.path.join(self.layout.root, *log.split("/"))

    def _entries(self, log: str) -> Sequence[str]:
        return sorted(filter(_is_entry, _names(self._shared(log))))


def _names(folder: str) -> Sequence[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_entry(name: str) -> bool:
    """Whether this is the name of an entry of a shared log: the offset at which it begins."""
    return len(name) == 20 and name.isdigit()


def _read(path: str, offset: int = 0, limit: int | None = None) -> bytes:
    with open(path, "rb") as file:
        if offset:
            file.seek(offset)
        return file.read() if limit is None else file.read(limit)


@contextlib.contextmanager
def locked(descriptor: int) -> Iterator[None]:
    """Alone among those that append to a file or replace it; where there are no such locks, they must not meet."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # not lockf: it ends when any descriptor of the file is closed
    yield  # closing the file gives it free


@contextlib.contextmanager
def _translated(log: str) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        raise StoreError(f"{log} cannot be written: {error}") from error
