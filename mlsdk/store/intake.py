"""Taking logs into the catalog's tables: the writing half of `mlsdk.store.sqlite`."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator

from mlsdk.errors import NotFoundError
from mlsdk.log.frames import FORMAT_VERSION, HEADER
from mlsdk.query import table
from mlsdk.query.fields import fields
from mlsdk.records import Run
from mlsdk.store.database import Database
from mlsdk.store.document import document
from mlsdk.store.fold import LogState, RunState
from mlsdk.store.known import CLOSED, Known, in_parts, packed, parsed, run_of, unpacked
from mlsdk.store.record import record
from mlsdk.store.seams import Logs
from mlsdk.store.status import derive

__all__ = ["VERSION", "Intake", "in_parts", "run_of"]

VERSION = 5
"""A catalog of another version is thrown away and rebuilt: also when this mlsdk reads newer logs than its maker did."""

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (run INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, deleted INTEGER NOT NULL,
    parent TEXT, live INTEGER NOT NULL, status TEXT, ended_ns INTEGER, newer TEXT, document TEXT, state BLOB,
    life TEXT);
CREATE INDEX IF NOT EXISTS runs_live ON runs (live) WHERE live = 1;
CREATE INDEX IF NOT EXISTS runs_newer ON runs (newer) WHERE newer IS NOT NULL;
CREATE INDEX IF NOT EXISTS runs_parent ON runs (parent) WHERE parent IS NOT NULL;
CREATE TABLE IF NOT EXISTS logs (log TEXT PRIMARY KEY, run INTEGER NOT NULL, offset INTEGER NOT NULL, over INTEGER,
    state BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS logs_run ON logs (run);
CREATE TABLE IF NOT EXISTS memo (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""
# `document` is NULL of a run that this version cannot read: `newer` says why. `over` is NULL of a log that may still
# grow, -1 of one whose close frame was read, else the size of one that ends without.


class Intake:
    """Takes logs in: each run becomes a row with its document, its logs' states, and the fields that it is found by.

    Args:
        path: the database's file, or `:memory:`.
        logs: where they are read from.
    """

    def __init__(self, path: str, logs: Logs) -> None:
        self._logs = logs
        version = 1000 * VERSION + FORMAT_VERSION
        self.database = Database(path, _TABLES + table.SCHEMA, version, table.register, self.take_in_all)

    def take_in_all(self) -> int:
        """Take in what is new in any log; returns how many logs there are."""

        def work(_: sqlite3.Connection) -> int:
            count = 0
            runs = itertools.groupby(self._logs.list("runs/"), key=run_of)
            for group in in_parts(list(logs) for _, logs in runs):
                with self.database.transaction():
                    for names in group:
                        self.catch_up(names)
                        count += len(names)
            return count

        return self.database.do(work)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Several changes at once, or none of them."""
        with self.database.transaction() as db:
            yield db

    def ingest(self, log: str, offset: int, data: bytes) -> int:
        """See `Catalog.ingest`."""

        def work(_: sqlite3.Connection) -> int:
            with self.database.transaction() as db:
                known = self._known(db, run_of(log))
                state = known.log(log)
                wanted = state.position.offset
                if offset <= wanted < offset + len(data):
                    known.take_in(self._logs.read, state, data[wanted - offset :])
                    if known.changed:
                        self._save(db, known)
                return state.position.offset

        return self.database.do(work)

    def catch_up(self, logs: Iterable[str], *, live: bool = False, final: bool = False) -> None:
        """Read what logs of one run have grown and take it in.

        Args:
            logs: their names; logs that are not there (yet) are passed over.
            live: they may be being written now: what looks damaged may be half there, and is waited for.
            final: they will not grow any more, whether or not they end in a close frame.
        """

        def work(_: sqlite3.Connection) -> None:
            with self.database.transaction() as db:
                known: Known | None = None
                for log in logs:
                    row = db.execute("SELECT offset, over FROM logs WHERE log = ?", (log,)).fetchone()
                    offset, ended = row or (0, None)
                    data = self._news(log, offset, live)
                    size = self._logs.size(log) if final else None
                    if not data and (row is None or not final or ended in (CLOSED, size)):
                        continue
                    known = known or self._known(db, run_of(log))
                    known.take_in(self._logs.read, known.log(log), data, live=live, size=size)
                if known is not None and known.changed:
                    self._save(db, known)

        self.database.do(work)

    def _news(self, log: str, offset: int, live: bool) -> bytes:
        """What a log has from an offset on. Of one being written, space that is allocated but empty yet is not read."""
        try:
            if live and not self._logs.read(log, offset, HEADER.size).strip(b"\0"):
                return b""
            return self._logs.read(log, offset)
        except NotFoundError:
            return b""

    def is_done(self, log: str) -> bool:
        """Whether a log is known to be read to its end."""
        return not self.unread([log])

    def closed(self, logs: Iterable[str]) -> set[str]:
        """Those of some logs whose close frame was read."""

        def work(db: sqlite3.Connection) -> set[str]:
            statement = "SELECT log FROM logs WHERE over = ? AND log IN (SELECT value FROM json_each(?))"
            return {row[0] for row in db.execute(statement, (CLOSED, json.dumps(list(logs))))}

        return self.database.do(work)

    def unread(self, logs: list[str]) -> list[str]:
        """Those of some logs that are not known to be read to their end."""

        def work(db: sqlite3.Connection) -> list[str]:
            statement = "SELECT log, over FROM logs WHERE over IS NOT NULL AND log IN (SELECT value FROM json_each(?))"
            over = dict(db.execute(statement, (json.dumps(logs),)).fetchall())
            return [log for log in logs if over.get(log, 0) != CLOSED and (over.get(log) != self._logs.size(log))]

        return self.database.do(work)

    def _known(self, db: sqlite3.Connection, run: str) -> Known:
        row = db.execute("SELECT run, state FROM runs WHERE id = ?", (run,)).fetchone()
        if row is None:
            return Known(None, RunState(run), {})
        state = RunState.load(unpacked(row[1]))
        return Known(row[0], state, {log.log: log for log in self._logs_of(db, row[0])})

    def _logs_of(self, db: sqlite3.Connection, row: int) -> list[LogState]:
        rows = db.execute("SELECT state FROM logs WHERE run = ?", (row,)).fetchall()
        return [LogState.load(unpacked(data)) for (data,) in rows]

    def _save(self, db: sqlite3.Connection, known: Known) -> None:
        """Write one run: its row, the logs that have grown, the fields that it is found by."""
        columns, found = known.summary()
        row = known.row
        if row is None:
            statement = f"INSERT INTO runs ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
            row = db.execute(statement, (*columns.values(),)).lastrowid
        else:
            statement = f"UPDATE runs SET {', '.join(f'{column} = ?' for column in columns)} WHERE run = ?"
            db.execute(statement, (*columns.values(), row))
        assert row is not None
        logs = ((log, known.logs[log], over) for log, over in known.changed.items())
        db.executemany(
            "INSERT OR REPLACE INTO logs (log, run, offset, over, state) VALUES (?, ?, ?, ?, ?)",
            [(log, row, state.position.offset, over, packed(state.dump())) for log, state, over in logs],
        )
        self._write_fields(db, row, found)

    def look_at_living(self) -> None:
        """Derive the status of runs that had not ended again: their processes may be gone by now."""

        def work(db: sqlite3.Connection) -> None:
            now = time.time_ns()
            statement = "SELECT run, id, status, life FROM runs WHERE live = 1"
            for run, name, status, life in db.execute(statement).fetchall():
                new, ended, live = derive(parsed(life), now)
                if new == status:
                    continue
                with self.database.transaction():
                    bound = (live, new, ended, run, life)
                    statement = "UPDATE runs SET live = ?, status = ?, ended_ns = ? WHERE run = ? AND life = ?"
                    if db.execute(statement, bound).rowcount:  # else it has gone on meanwhile
                        known = self._known(db, name)
                        main, more, _ = document(known.state, known.logs.values())
                        self._write_fields(db, run, record(main, new, ended, more))

        self.database.do(work)

    def _write_fields(self, db: sqlite3.Connection, row: int, run: Run | None) -> None:
        found = {} if run is None else fields(run)
        table.write_fields(db, row, found, self.database.notes.setdefault("keys", {}))

    def forget(self, run: str) -> None:
        """See `Catalog.forget`."""

        def work(_: sqlite3.Connection) -> None:
            with self.database.transaction() as db:
                row = db.execute("SELECT run FROM runs WHERE id = ?", (run,)).fetchone()
                if row is not None:
                    self._write_fields(db, row[0], None)
                    db.execute("DELETE FROM logs WHERE run = ?", row)
                    db.execute("DELETE FROM runs WHERE run = ?", row)

        self.database.do(work)
