"""The catalog in SQLite: in a file beside the logs, or in memory. A cache: deleted or damaged, it is rebuilt."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, BinaryIO

from mlsdk.errors import NewerFormatError, NotFoundError
from mlsdk.query import find
from mlsdk.query.table import SQLITE
from mlsdk.query.tree import Order, Tree
from mlsdk.records import Page, Run, Series
from mlsdk.store.document import document
from mlsdk.store.history import history, sources
from mlsdk.store.intake import Intake
from mlsdk.store.known import in_parts, parsed
from mlsdk.store.listing import Listed, Listing, Listings
from mlsdk.store.seams import Blobs, Logs


class SQLiteCatalog(Intake, Listings):
    """Runs in SQLite; see `mlsdk.store.seams.Catalog`.

    Args:
        path: the database's file, or `:memory:`.
        logs: where the points are read from.
        blobs: where artifacts are read from.
    """

    def __init__(self, path: str, logs: Logs, blobs: Blobs) -> None:
        super().__init__(path, logs)
        self._blobs = blobs

    @property
    def path(self) -> str:
        """The database's file, or `:memory:`."""
        return self.database.path

    def discard(self) -> None:
        """Throw the catalog away; the next use makes an empty one."""
        self.database.discard()

    def rebuild(self) -> int:
        """Throw the catalog away and take in all logs again; returns how many."""
        self.discard()
        return self.take_in_all()

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()

    def memo(self, key: str, value: str | None = None) -> str | None:
        """Read or set a small remembered text: how far the markers were looked through."""

        def work(db: sqlite3.Connection) -> str | None:
            if value is not None:
                db.execute("INSERT OR REPLACE INTO memo VALUES (?, ?)", (key, value))
                return value
            row = db.execute("SELECT value FROM memo WHERE key = ?", (key,)).fetchone()
            return None if row is None else str(row[0])

        return self.database.do(work)

    def document(self, run: str) -> Listed:
        """See `Listings.document`."""
        statement = "SELECT newer, document, status, ended_ns FROM runs WHERE id = ?"
        row = self.database.do(lambda db: db.execute(statement, (run,)).fetchone())
        if row is None:
            raise NotFoundError(f"no run {run}")
        if row[0] is not None:
            raise NewerFormatError(row[0])
        return Listed(*row[1:])

    def documents(
        self, query: Tree | None = None, order: Order = (), after: str | None = None, limit: int | None = None
    ) -> Listing:
        """See `Listings.documents`."""

        def work(db: sqlite3.Connection) -> Listing:
            found = find.find(db, SQLITE, query, order, limit, after)
            statement = (
                "SELECT run, document, status, ended_ns FROM runs"
                " WHERE run IN (SELECT value FROM json_each(?)) AND document IS NOT NULL"
            )
            runs: dict[int, Listed] = {}
            for part in in_parts(found.runs):
                rows = db.execute(statement, (json.dumps(part),)).fetchall()
                runs.update((row[0], Listed(*row[1:])) for row in rows)
            return Listing([runs[run] for run in found.runs if run in runs], found.after)

        return self.database.do(work)

    def get(self, run: str) -> Run:
        """See `Catalog.get`."""
        return self.database.do(lambda _: Listings.get(self, run))

    def find(
        self, query: Tree | None = None, order: Order = (), after: str | None = None, limit: int | None = None
    ) -> Page:
        """See `Catalog.find`. Documents are parsed within `do`, which mends a database that holds none."""
        return self.database.do(lambda _: Listings.find(self, query, order, after, limit))

    def parse(self, text: str) -> Any:
        """See `Listings.parse`."""
        return parsed(text)

    def count(self, query: Tree | None = None) -> int:
        """How many runs fit."""
        return self.database.do(lambda db: find.count(db, SQLITE, query))

    def unreadable(self) -> list[str]:
        """Why runs cannot be read by this version, one sentence for each."""
        # ordered here: SQLite would go through all ids for it
        statement = "SELECT id, newer FROM runs WHERE newer IS NOT NULL"
        return [newer for _, newer in self.database.do(lambda db: sorted(db.execute(statement)))]

    def matching_ids(self, beginning: str = "", end: str = "", limit: int = 20) -> list[str]:
        """Ids of runs, deleted or not, that begin and end so; newest first."""
        statement = "SELECT id FROM runs WHERE id >= ? AND id < ? AND id LIKE ? ORDER BY id DESC LIMIT ?"
        bound = (beginning, beginning + "g", "%" + end, limit)
        return self.database.do(lambda db: [row[0] for row in db.execute(statement, bound)])

    def series(self, run: str, metric: str, rank: int | str | None = None) -> Series:
        """See `Catalog.series`."""
        logs = list(self.database.do(lambda db: self._known(db, run).logs).values())
        return history(self._logs, metric, sources(logs, run, metric, rank, lambda: self.get(run).metrics))

    def has_key(self, key: str) -> bool:
        """Whether any run has a field."""
        statement = "SELECT 1 FROM keys WHERE name = ? AND EXISTS (SELECT 1 FROM vals WHERE vals.key = keys.key)"
        return self.database.do(lambda db: db.execute(statement, (key,)).fetchone()) is not None

    def keys(self, kind: str = "", prefix: str = "") -> list[str]:
        """See `Catalog.keys`."""
        begin = f"{kind}.{prefix}" if kind else prefix
        used = "EXISTS (SELECT 1 FROM vals WHERE vals.key = keys.key)"
        statement = f"SELECT name FROM keys WHERE substr(name, 1, ?) = ? AND {used}"
        return self.database.do(lambda db: sorted(row[0] for row in db.execute(statement, (len(begin), begin))))

    # what a Run looks up

    def details(self, run: str) -> Mapping[str, Any]:
        """The parts of a run's document that are read when they are asked for."""
        known = self.database.do(lambda db: self._known(db, run))
        if known.row is None or any(log.newer for log in known.logs.values()):
            raise NotFoundError(f"run {run} is no longer there")
        return document(known.state, known.logs.values()).more

    def open_blob(self, digest: str) -> BinaryIO:
        """An artifact's bytes."""
        return self._blobs.open(digest)

    def children(self, run: str) -> tuple[str, ...]:
        """Ids of the runs started inside a run, oldest first."""
        statement = "SELECT id FROM runs WHERE parent = ? AND deleted = 0 ORDER BY id"
        return self.database.do(lambda db: tuple(row[0] for row in db.execute(statement, (run,))))
