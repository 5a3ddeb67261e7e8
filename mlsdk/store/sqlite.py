"""The catalog in SQLite: embedded in a file beside the logs, or in memory. A cache: deleted or damaged, it is rebuilt."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from threading import RLock
from typing import Any, BinaryIO, TypeVar

from mlsdk.errors import NotFoundError, StoreError
from mlsdk.log.decode import Facts, decode
from mlsdk.query import sql, table
from mlsdk.query.fields import fields
from mlsdk.query.names import suggest
from mlsdk.query.tree import Order, Tree
from mlsdk.records import Page, Run, Series
from mlsdk.store.fold import LogState, RunState, document
from mlsdk.store.history import history
from mlsdk.store.record import record
from mlsdk.store.seams import Blobs, Logs
from mlsdk.store.status import derive

VERSION = 1
"""A catalog of another version is thrown away and rebuilt."""

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (run INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, deleted INTEGER NOT NULL DEFAULT 0,
    parent TEXT, live INTEGER NOT NULL DEFAULT 1, status TEXT, ended_ns INTEGER, document TEXT, state TEXT);
CREATE INDEX IF NOT EXISTS runs_live ON runs (live) WHERE live = 1;
CREATE INDEX IF NOT EXISTS runs_parent ON runs (parent) WHERE parent IS NOT NULL;
CREATE TABLE IF NOT EXISTS logs (log TEXT PRIMARY KEY, run INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS logs_run ON logs (run);
CREATE TABLE IF NOT EXISTS memo (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""

T = TypeVar("T")


class SQLiteCatalog:
    """Runs in SQLite; see `mlsdk.store.seams.Catalog`.

    Args:
        path: the database's file, or `:memory:`.
        logs: where the points are read from.
        blobs: where artifacts are read from.
    """

    def __init__(self, path: str, logs: Logs, blobs: Blobs) -> None:
        self.path = path
        self._logs = logs
        self._blobs = blobs
        self._lock = RLock()
        self._db: sqlite3.Connection | None = None
        self._pid = 0

    # -- the connection ----------------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        if self._db is not None and self._pid == os.getpid():
            return self._db
        db = sqlite3.connect(self.path, timeout=30.0, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=OFF", "cache_size=-65536", "temp_store=MEMORY"):
            db.execute(f"PRAGMA {pragma}")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            db.close()
            raise sqlite3.DatabaseError(f"catalog of version {version}")
        if version == 0:
            db.execute("BEGIN IMMEDIATE")
            for statement in (_TABLES + table.SCHEMA).split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version={VERSION}")
            db.execute("COMMIT")
        sql.register(db)
        self._db, self._pid = db, os.getpid()
        return db

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Work on the database; a damaged one is thrown away and rebuilt from the logs first."""
        with self._lock:
            try:
                return work(self._connect())
            except sqlite3.OperationalError as error:
                raise StoreError(
                    f"the catalog {self.path} cannot be used: {error}; it is a cache: delete it, or see `mlsdk doctor`"
                ) from error
            except sqlite3.DatabaseError:
                self.discard()
                self.rebuild()
                return work(self._connect())

    def discard(self) -> None:
        """Throw the catalog away; the next use makes an empty one."""
        with self._lock:
            self.close()
            if self.path != ":memory:":
                for suffix in ("", "-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self.path + suffix)

    def relocate(self, path: str) -> None:
        """Go on, empty, in another place."""
        with self._lock:
            self.close()
            self.path = path

    def rebuild(self) -> int:
        """Take in all logs again; returns how many."""
        count = 0
        with self.transaction():
            for _, logs in itertools.groupby(self._logs.list("runs/"), key=lambda log: log.split("/")[1]):
                names = list(logs)
                self.catch_up(names)
                count += len(names)
        return count

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._db is not None and self._pid == os.getpid():
                self._db.close()
            self._db = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Several changes at once, or none of them."""
        with self._lock:
            db = self._do(lambda db: db)
            if db.in_transaction:
                yield db
                return
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def memo(self, key: str, value: str | None = None) -> str | None:
        """Read or set a small remembered text: how far the markers were looked through."""

        def work(db: sqlite3.Connection) -> str | None:
            if value is not None:
                db.execute("INSERT OR REPLACE INTO memo VALUES (?, ?)", (key, value))
                return value
            row = db.execute("SELECT value FROM memo WHERE key = ?", (key,)).fetchone()
            return None if row is None else str(row[0])

        return self._do(work)

    # -- taking in ---------------------------------------------------------------------------------------------------

    def ingest(self, log: str, offset: int, data: bytes) -> int:
        """See `Catalog.ingest`."""
        with self.transaction() as db:
            state = self._log_state(db, log) or LogState(log)
            wanted = state.position.offset
            if offset > wanted or offset + len(data) <= wanted:
                return wanted
            run = self._run_state(db, state.run)
            self._take_in(db, run, state, memoryview(data)[wanted - offset :])
            self._save_run(db, run)
            return state.position.offset

    def catch_up(self, logs: Iterable[str], *, final: bool = False) -> None:
        """Read what logs of one run have grown and take it in.

        Args:
            logs: their names; logs that are not there (yet) are passed over.
            final: their writers are gone: an invalid piece may be looked behind, and they need not be read again.
        """
        with self.transaction() as db:
            run: RunState | None = None
            for log in logs:
                state = self._log_state(db, log) or LogState(log)
                try:
                    data = self._logs.read(log, state.position.offset)
                except NotFoundError:
                    continue
                run = run or self._run_state(db, state.run)
                self._take_in(db, run, state, memoryview(data), final=final)
                if final:
                    db.execute("UPDATE logs SET done = 1 WHERE log = ?", (log,))
            if run is not None:
                self._save_run(db, run)

    def is_done(self, log: str) -> bool:
        """Whether a log was read to its final end."""
        return (
            self._do(lambda db: db.execute("SELECT 1 FROM logs WHERE log = ? AND done", (log,)).fetchone()) is not None
        )

    def _take_in(
        self, db: sqlite3.Connection, run: RunState, state: LogState, data: memoryview, *, final: bool = False
    ) -> None:
        rewinds = len(run.facts.get("rewinds", {}))
        for entry, position in decode(data, state.position, live=not final):
            state.add(entry, position)
            if isinstance(entry, Facts):
                run.add(entry, state)
        self._save_log(db, state)
        if len(run.facts.get("rewinds", {})) != rewinds or state.limit != run.limit_for(state):
            self._apply_rewinds(db, run)

    def _apply_rewinds(self, db: sqlite3.Connection, run: RunState) -> None:
        """Sum up again the logs of which a restart hides points, or hides others than before."""
        for state in self._logs_of(db, run.run):
            limit = run.limit_for(state)
            if limit != state.limit:
                state.restart(limit)
                for entry, position in decode(self._logs.read(state.log), live=not state.closed):
                    state.add(entry, position)
                self._save_log(db, state)

    def _log_state(self, db: sqlite3.Connection, log: str) -> LogState | None:
        row = db.execute("SELECT state FROM logs WHERE log = ?", (log,)).fetchone()
        return None if row is None else LogState.load(json.loads(row[0]))

    def _logs_of(self, db: sqlite3.Connection, run: str) -> list[LogState]:
        rows = db.execute("SELECT state FROM logs WHERE run = (SELECT run FROM runs WHERE id = ?)", (run,))
        return [LogState.load(json.loads(row[0])) for row in rows.fetchall()]

    def _save_log(self, db: sqlite3.Connection, state: LogState) -> None:
        db.execute("INSERT OR IGNORE INTO runs (id) VALUES (?)", (state.run,))
        dumped = json.dumps(state.dump(), separators=(",", ":"))
        db.execute(
            "INSERT INTO logs (log, run, state) VALUES (?, (SELECT run FROM runs WHERE id = ?), ?)"
            " ON CONFLICT (log) DO UPDATE SET state = excluded.state",
            (state.log, state.run, dumped),
        )

    def _run_state(self, db: sqlite3.Connection, run: str) -> RunState:
        row = db.execute("SELECT state FROM runs WHERE id = ?", (run,)).fetchone()
        return RunState(run) if row is None or row[0] is None else RunState.load(json.loads(row[0]))

    def _save_run(self, db: sqlite3.Connection, run: RunState) -> None:
        doc = document(run, self._logs_of(db, run.run))
        status, ended, live = derive(doc, time.time_ns())
        found = record(doc, status, ended)
        row = db.execute("SELECT run FROM runs WHERE id = ?", (run.run,)).fetchone()
        db.execute(
            "UPDATE runs SET deleted = ?, parent = ?, live = ?, status = ?, ended_ns = ?, document = ?, state = ? WHERE run = ?",
            (found.deleted, found.parent, live, status, ended, _compact(doc), _compact(run.dump()), row[0]),
        )
        table.write_fields(db, row[0], fields(found))

    def look_at_living(self) -> None:
        """Derive the status of runs that had not ended again: their processes may be gone by now."""

        def work(db: sqlite3.Connection) -> None:
            now = time.time_ns()
            for run, status, text in db.execute(
                "SELECT run, status, document FROM runs WHERE live = 1 AND document IS NOT NULL"
            ).fetchall():
                doc = json.loads(text)
                new, ended, live = derive(doc, now)
                if new != status:
                    with self.transaction():
                        db.execute(
                            "UPDATE runs SET live = ?, status = ?, ended_ns = ? WHERE run = ?", (live, new, ended, run)
                        )
                        table.write_fields(db, run, fields(record(doc, new, ended)))

        self._do(work)

    def forget(self, run: str) -> None:
        """See `Catalog.forget`."""
        with self.transaction() as db:
            row = db.execute("SELECT run FROM runs WHERE id = ?", (run,)).fetchone()
            if row is not None:
                table.write_fields(db, row[0], {})
                db.execute("DELETE FROM logs WHERE run = ?", row)
                db.execute("DELETE FROM runs WHERE run = ?", row)

    # -- finding -----------------------------------------------------------------------------------------------------

    def get(self, run: str) -> Run:
        """See `Catalog.get`."""
        row = self._do(
            lambda db: db.execute("SELECT document, status, ended_ns FROM runs WHERE id = ?", (run,)).fetchone()
        )
        if row is None or row[0] is None:
            raise NotFoundError(f"no run {run}")
        return self._run(row)

    def _run(self, row: tuple[Any, ...]) -> Run:
        return record(json.loads(row[0]), row[1], row[2], self)

    def find(
        self, query: Tree | None = None, order: Order = (), after: str | None = None, limit: int | None = None
    ) -> Page:
        """See `Catalog.find`."""

        def work(db: sqlite3.Connection) -> Page:
            found = sql.find(db, query, order, limit, after)
            statement = "SELECT document, status, ended_ns FROM runs WHERE run = ? AND document IS NOT NULL"
            rows = (db.execute(statement, (run,)).fetchone() for run in found.runs)
            return Page(tuple(self._run(row) for row in rows if row is not None), found.after)

        return self._do(work)

    def count(self, query: Tree | None = None) -> int:
        """How many runs fit."""
        return self._do(lambda db: sql.count(db, query))

    def matching_ids(self, beginning: str = "", end: str = "", limit: int = 20) -> list[str]:
        """Ids of runs, deleted or not, that begin and end so; newest first."""

        def work(db: sqlite3.Connection) -> list[str]:
            statement = "SELECT id FROM runs WHERE id >= ? AND id < ? AND id LIKE ? AND document IS NOT NULL ORDER BY id DESC LIMIT ?"
            return [row[0] for row in db.execute(statement, (beginning, beginning + "g", "%" + end, limit))]

        return self._do(work)

    def series(self, run: str, metric: str, rank: int | str | None = None) -> Series:
        """See `Catalog.series`."""
        role = "main" if rank in (None, 0) else f"rank {rank}" if isinstance(rank, int) else str(rank)
        logs = self._do(lambda db: self._logs_of(db, run))
        if not logs:
            raise NotFoundError(f"no run {run}")
        wanted = [log for log in logs if (log.is_main if role == "main" else log.role == role)]
        wanted = sorted((log for log in wanted if metric in log.metrics), key=lambda log: (log.order, log.log))
        if not wanted:
            known = sorted({name for log in logs for name in log.metrics})
            near = suggest(metric, known)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has: {', '.join(known[:10]) or 'none'}"
            roles = sorted({log.role for log in logs if metric in log.metrics})
            hint = f"; it was logged by: {', '.join(roles)} (rank=)" if roles else hint
            raise NotFoundError(f"run {run[-8:]} has no metric {metric!r} of {role}{hint}")
        return history(self._logs, metric, [(log.log, log.limit, log.position.offset) for log in wanted])

    def has_key(self, key: str) -> bool:
        """Whether any run has a field."""
        statement = "SELECT 1 FROM keys WHERE name = ? AND EXISTS (SELECT 1 FROM vals WHERE vals.key = keys.key)"
        return self._do(lambda db: db.execute(statement, (key,)).fetchone()) is not None

    def keys(self, kind: str = "", prefix: str = "") -> list[str]:
        """See `Catalog.keys`."""
        begin = f"{kind}.{prefix}" if kind else prefix

        def work(db: sqlite3.Connection) -> list[str]:
            statement = "SELECT name FROM keys WHERE substr(name, 1, ?) = ? AND EXISTS (SELECT 1 FROM vals WHERE vals.key = keys.key)"
            return sorted(row[0] for row in db.execute(statement, (len(begin), begin)))

        return self._do(work)

    # -- what a Run looks up -----------------------------------------------------------------------------------------

    def open_blob(self, digest: str) -> BinaryIO:
        """An artifact's bytes."""
        return self._blobs.open(digest)

    def children(self, run: str) -> tuple[str, ...]:
        """Ids of the runs started inside a run, oldest first."""
        return self._do(
            lambda db: tuple(
                row[0] for row in db.execute("SELECT id FROM runs WHERE parent = ? AND deleted = 0 ORDER BY id", (run,))
            )
        )


def _compact(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
