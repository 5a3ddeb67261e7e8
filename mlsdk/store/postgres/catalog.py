"""The catalog in PostgreSQL: the same answers as SQLite's, for many servers and a million runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

from mlsdk.errors import NewerFormatError, NotFoundError
from mlsdk.query import find
from mlsdk.query.dialect import place
from mlsdk.query.evaluate import matches
from mlsdk.query.loose import is_for_python, loosened
from mlsdk.query.names import Path
from mlsdk.query.postgres import Postgres, key_digest
from mlsdk.query.tree import Order, Tree, paths
from mlsdk.records import Series
from mlsdk.store.document import document
from mlsdk.store.history import history, sources
from mlsdk.store.listing import Listed, Listing, Listings
from mlsdk.store.postgres.fields import read_fields
from mlsdk.store.postgres.intake import PostgresIntake
from mlsdk.store.postgres.pool import READ, Connection, Pool
from mlsdk.store.seams import Blobs, Logs

_FIRST_LOOK, _LONGEST_LOOK = 500, 20_000
"""Runs that Python looks at, at a time, for a regular expression: more each time."""


class PostgresCatalog(PostgresIntake, Listings):
    """Runs in PostgreSQL; see `mlsdk.store.seams.Catalog`.

    Args:
        pool: connections to the schema.
        logs: in the same schema: where the points are read from.
        blobs: where artifacts are read from.
    """

    def __init__(self, pool: Pool, logs: Logs, blobs: Blobs) -> None:
        super().__init__(pool)
        self._logs = logs
        self._blobs = blobs

    def document(self, run: str) -> Listed:
        """See `Listings.document`."""
        statement = "SELECT newer, document, status, ended_ns FROM runs WHERE id = %s"
        row = self._pool.do(lambda db: db.execute(statement, (run,)).fetchone(), begin=None)
        if row is None:
            raise NotFoundError(f"no run {run}")
        if row[0] is not None:
            raise NewerFormatError(row[0])
        return Listed(*row[1:])

    def documents(
        self, query: Tree | None = None, order: Order = (), after: str | None = None, limit: int | None = None
    ) -> Listing:
        """See `Listings.documents`."""

        def work(db: Connection) -> Listing:
            found = self.find_rows(db, self._asked(db, query, order), query, order, after, limit)
            statement = "SELECT run, document, status, ended_ns FROM runs WHERE run = ANY(%s) AND document IS NOT NULL"
            runs = {row[0]: Listed(*row[1:]) for row in db.execute(statement, (found.runs,))} if found.runs else {}
            return Listing([runs[run] for run in found.runs if run in runs], found.after)

        return self._pool.do(work, begin=READ)

    def _asked(self, db: Connection, query: Tree | None, order: Order = ()) -> Postgres:
        return Postgres.asked(db, {*paths(query), *(path for path, _ in order)})

    def find_rows(
        self,
        db: Connection,
        dialect: Postgres,
        query: Tree | None,
        order: Order = (),
        after: str | None = None,
        limit: int | None = None,
    ) -> find.Found:
        """The numbers of the runs that fit; what the database cannot decide is decided here, page by page."""
        if query is None or not is_for_python(query):
            return find.find(db, dialect, query, order, limit, after)
        if limit == 0:
            return find.Found([], None)
        loose, runs, look = loosened(query), list[int](), _FIRST_LOOK
        while True:
            part = find.find(db, dialect, loose, order, None if limit is None else look, after)
            fit = _fitting(db, dialect, query, part.runs)
            wanted = len(fit) if limit is None else limit - len(runs)
            if len(fit) > wanted or (len(fit) == wanted and part.after):
                # The page ends within this part: that is asked for again, up to there.
                count = part.runs.index(fit[wanted - 1]) + 1
                return find.Found(runs + fit[:wanted], find.find(db, dialect, loose, order, count, after).after)
            runs += fit
            if part.after is None:
                return find.Found(runs, None)
            after, look = part.after, min(4 * look, _LONGEST_LOOK)

    def count(self, query: Tree | None = None) -> int:
        """See `Catalog.count`."""

        def work(db: Connection) -> int:
            dialect = self._asked(db, query)
            if is_for_python(query):
                return len(self.find_rows(db, dialect, query).runs)
            return find.count(db, dialect, query)

        return self._pool.do(work, begin=READ)

    def unreadable(self) -> list[str]:
        """See `Catalog.unreadable`."""
        statement = "SELECT newer FROM runs WHERE newer IS NOT NULL ORDER BY id"
        return [row[0] for row in self._pool.do(lambda db: db.execute(statement).fetchall(), begin=None)]

    def matching_ids(self, beginning: str = "", end: str = "", limit: int = 20) -> list[str]:
        """See `Catalog.matching_ids`."""
        statement = (
            "SELECT id FROM runs WHERE id >= %(begin)s AND id < %(begin)s || 'g'"
            ' AND reverse(id) COLLATE "C" >= %(end)s AND reverse(id) COLLATE "C" < %(end)s || \'g\''
            " ORDER BY id DESC LIMIT %(limit)s"
        )
        bound = {"begin": beginning, "end": end[::-1], "limit": limit}
        return [row[0] for row in self._pool.do(lambda db: db.execute(statement, bound).fetchall(), begin=None)]

    def series(self, run: str, metric: str, rank: int | str | None = None) -> Series:
        """See `Catalog.series`."""
        found = list(self.known(run).logs.values())
        return history(self._logs, metric, sources(found, run, metric, rank, lambda: self.get(run).metrics))

    def has_key(self, key: str) -> bool:
        """See `Catalog.has_key`."""
        statement = "SELECT 1 FROM keys WHERE digest = %s AND EXISTS (SELECT 1 FROM vals WHERE vals.key = keys.key)"
        return self._pool.do(lambda db: db.execute(statement, (key_digest(key),)).fetchone(), begin=None) is not None

    def keys(self, kind: str = "", prefix: str = "") -> list[str]:
        """See `Catalog.keys`."""
        begin = f"{kind}.{prefix}" if kind else prefix
        statement = (
            "SELECT name FROM keys WHERE starts_with(name, %s)"
            " AND EXISTS (SELECT 1 FROM vals WHERE vals.key = keys.key OFFSET 0)"
        )
        return sorted(
            row[0] for row in self._pool.do(lambda db: db.execute(statement, (begin,)).fetchall(), begin=None)
        )

    # what a Run looks up

    def details(self, run: str) -> Mapping[str, Any]:
        """See `Catalog.details`."""
        known = self.known(run)
        if known.row is None or any(log.newer for log in known.logs.values()):
            raise NotFoundError(f"run {run} is no longer there")
        return document(known.state, known.logs.values()).more

    def open_blob(self, digest: str) -> BinaryIO:
        """See `Catalog.open_blob`."""
        return self._blobs.open(digest)

    def children(self, run: str) -> tuple[str, ...]:
        """See `Catalog.children`."""
        statement = "SELECT id FROM runs WHERE parent = %s AND NOT deleted ORDER BY id"
        return tuple(row[0] for row in self._pool.do(lambda db: db.execute(statement, (run,)).fetchall(), begin=None))


def _fitting(db: Connection, dialect: Postgres, query: Tree, runs: list[int]) -> list[int]:
    """Those of some runs that the whole filter takes, in their order."""
    asked: set[Path] = {path for path in paths(query) if place(path).key in dialect.keys}
    seen = read_fields(db, dialect, runs, asked)
    return [run for run in runs if matches(query, seen[run])]
