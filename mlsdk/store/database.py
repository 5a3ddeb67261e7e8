"""An SQLite file that is only a cache: patient with others, thrown away when damaged, left when replaced."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from threading import RLock
from typing import Any, TypeVar

from mlsdk.errors import StoreError

T = TypeVar("T")

PATIENCE_S = 30.0
"""How long to wait for a lock while nobody gets anything done. As long as others do, we wait."""

_NOT_DAMAGE = ("locked", "full", "readonly", "unable to open", "interrupted")

_inherited: list[sqlite3.Connection] = []
"""Connections of the parent in a forked child: closing them there could undo what the parent is writing."""


class Damaged(sqlite3.DatabaseError):
    """What is in the database cannot have been written by us."""


class Database:
    """A connection to a cache in SQLite, made when first needed. Any thread may use it; one at a time does.

    A rollback journal rather than a write-ahead log: the latter's files are found by name, so that a process which
    still has a deleted database open would spoil the log of the new one.

    Args:
        path: the file, or `:memory:`.
        schema: statements that make the tables.
        version: a database of another version is thrown away.
        prepare: done with each new connection.
        refill: fills a database that has taken the place of another one.
    """

    def __init__(
        self,
        path: str,
        schema: str,
        version: int,
        prepare: Callable[[sqlite3.Connection], None],
        refill: Callable[[], object],
    ) -> None:
        self.path = path
        self.refill = refill
        self.notes: dict[str, Any] = {}
        """What this process knows about this database; forgotten with it, and on a rollback."""
        self._schema = schema
        self._version = version
        self._prepare = prepare
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._pid = os.getpid()
        self._lock = RLock()
        self._depth = 0
        self._was_used = self._is_other = False

    @property
    def in_memory(self) -> bool:
        """Whether there is no file."""
        return self.path == ":memory:"

    def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Work on the database; if it turns out to be damaged, throw it away, fill a new one and do the work again.

        A database that has taken the place of the one known before is filled first: whoever made it may not be done.

        Raises:
            StoreError: it cannot be used: locked, full, not to be opened.
        """
        with self._locked():
            if self._depth > 1:  # within other work, which starts again as a whole
                return work(self._connect())
            try:
                return self._filled_and(work)
            except sqlite3.Error as error:
                if not _is_damage(error):
                    raise StoreError(
                        f"the catalog {self.path} cannot be used: {error}; it is a cache: {_HINT}"
                    ) from error
            self.discard()
            try:
                return self._filled_and(work)
            except sqlite3.Error as error:
                raise StoreError(f"the catalog {self.path} stays damaged: {error}; it is a cache: {_HINT}") from error

    def _filled_and(self, work: Callable[[sqlite3.Connection], T]) -> T:
        db = self._connect()
        while self._is_other:
            self.refill()
            self._is_other = False
            db = self._connect()
        return work(db)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Several changes at once, or none of them. Inside of another one it is a part of that."""
        with self._locked():
            db = self._connect()
            if db.in_transaction:
                yield db
                return
            self._begin(db)
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                self.notes.clear()
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _begin(self, db: sqlite3.Connection) -> None:
        """Wait for the lock as long as others get something done."""
        while True:
            before = db.execute("PRAGMA data_version").fetchone()
            try:
                db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or db.execute("PRAGMA data_version").fetchone() == before:
                    raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if self._pid != os.getpid():  # forked: another thread of the parent may have held the lock, and is not here
            self._lock, self._pid, self._depth = RLock(), os.getpid(), 0
            if self._db is not None and not self.in_memory:
                _inherited.append(self._db)
                self._db = None
        with self._lock:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1

    def _connect(self) -> sqlite3.Connection:
        # Looked for once in a piece of work: what it has begun on one file it shall not end on another.
        if self._db is not None and (self.in_memory or self._depth > 1 or _identity(self.path) == self._file):
            return self._db
        self.close()
        db = sqlite3.connect(self.path, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("journal_mode=DELETE", "synchronous=OFF", "cache_size=-65536", "temp_store=MEMORY"):
                db.execute(f"PRAGMA {pragma}")
            self._make_tables(db)
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        self._db, self._file = db, _identity(self.path)
        self._is_other, self._was_used = self._was_used, True
        return db

    def _make_tables(self, db: sqlite3.Connection) -> None:
        if self._found_version(db) == self._version:
            return
        db.execute("BEGIN IMMEDIATE")
        if self._found_version(db) == 0:  # nobody else was quicker
            for statement in self._schema.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version={self._version}")
        db.execute("COMMIT")

    def _found_version(self, db: sqlite3.Connection) -> int:
        found = int(db.execute("PRAGMA user_version").fetchone()[0])
        if found not in (0, self._version):
            raise Damaged(f"it is of version {found}, not {self._version}")
        return found

    def discard(self) -> None:
        """Throw the database away; the next use makes an empty one."""
        with self._locked():
            mine = self._file
            self.close()
            # Unless another process, which has found the same damage, has put a new one in its place.
            if not self.in_memory and mine in (None, _identity(self.path)):
                for suffix in ("", "-journal", "-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self.path + suffix)

    def relocate(self, path: str) -> None:
        """Go on in another place."""
        with self._locked():
            self.close()
            self.path = path

    def close(self) -> None:
        """Let go of the file."""
        with self._locked():
            if self._db is not None:
                self._db.close()
            self._db, self._file = None, None
            self.notes.clear()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # whatever is left of it while the interpreter ends
            if self._db is not None and self._pid == os.getpid():
                self._db.close()


_HINT = "delete it, or see `mlsdk doctor`"


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the database, rather than the moment, is to blame."""
    if isinstance(error, sqlite3.OperationalError):
        return not any(word in str(error) for word in _NOT_DAMAGE)
    return isinstance(error, sqlite3.DatabaseError)


def _identity(path: str) -> tuple[int, int] | None:
    """Which file a path leads to; None if to none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
