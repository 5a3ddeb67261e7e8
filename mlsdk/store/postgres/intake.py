"""Taking logs into the catalog in PostgreSQL: several servers and clients at once, each log once."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from threading import Lock

from mlsdk.errors import NotFoundError
from mlsdk.query.fields import fields
from mlsdk.query.names import clean_text
from mlsdk.store.fold import LogState, RunState
from mlsdk.store.known import Known, in_parts, packed, parsed, run_of, unpacked
from mlsdk.store.postgres import logs
from mlsdk.store.postgres.fields import Written, write_fields
from mlsdk.store.postgres.pool import READ, Connection, Pool
from mlsdk.store.status import derive

BUDGET_S = 0.5
"""A query waits about so long for logs that are neither new nor just closed; the rest of them is left to the next."""
AT_ONCE = 50
"""Runs in one transaction."""
LOOK_BYTES = 8 << 20
"""Of one log, in one transaction."""

COLUMNS = ("deleted", "live", "parent", "status", "ended_ns", "newer", "document", "state", "life")
"""Of the table of runs: what `Known.summary` gives."""


class KnownRun(Known):
    """What is known of a run, and the keys that it is found by."""

    keys: Sequence[int] = ()


class PostgresIntake:
    """The writing half of the catalog.

    Whoever takes in a run's logs holds an advisory lock on the run, so that nobody who appends waits for it.

    Args:
        pool: connections to the schema.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._keys: dict[str, int] = {}
        self._living = (0.0, 0.0)
        self._lock = Lock()

    def ingest(self, log: str, offset: int, data: bytes) -> int:
        """See `Catalog.ingest`."""
        run = run_of(log)

        def work(db: Connection) -> tuple[int, dict[str, int]]:
            self._hold(db, [run], wait=True)
            known = self._known(db, [run])[run]
            state = known.log(log)
            wanted, numbers = state.position.offset, dict(self._keys)
            if offset <= wanted < offset + len(data):
                known.take_in(_reader(db), state, data[wanted - offset :])
                self._save(db, [known], numbers)
                _note(db, {log: offset + len(data)})
            return state.position.offset, numbers

        end, self._keys = self._pool.do(work)
        return end

    def catch_up(self) -> None:
        """Take in what logs have grown: all that are new or have just closed, and of the others what there is time for.

        What others are taking in at the moment is waited for.
        """
        until = time.monotonic() + BUDGET_S
        for urgent in (True, False):
            while names := self._behind(urgent=urgent):
                by_run = {run: list(group) for run, group in itertools.groupby(sorted(names), run_of)}
                for part in in_parts(by_run, AT_ONCE):
                    busy = self._take_in({run: by_run[run] for run in part}, wait=False)
                    for run in busy:
                        self._take_in({run: by_run[run]}, wait=True)
                    if not urgent and time.monotonic() > until:
                        break
                if not urgent and time.monotonic() > until:
                    break
        self.look_at_living()

    def _behind(self, *, urgent: bool) -> list[str]:
        statement = "SELECT log FROM logs WHERE size > looked AND urgent = %s ORDER BY looked_at LIMIT 500"
        rows = self._pool.do(lambda db: db.execute(statement, (urgent,)).fetchall(), begin=None)
        return [row[0] for row in rows]

    def _take_in(self, by_run: dict[str, list[str]], *, wait: bool) -> list[str]:
        """Take in what logs of some runs have grown; returns the runs that others are at."""

        def work(db: Connection) -> tuple[list[str], dict[str, int]]:
            held = self._hold(db, list(by_run), wait=wait)
            names = sorted(name for run in held for name in by_run[run])
            statement = "SELECT log, size, looked FROM logs WHERE log = ANY(%s) AND size > looked"
            sizes = db.execute(statement, (names,)).fetchall()
            found = self._known(db, sorted({run_of(log) for log, _, _ in sizes}))
            looked: dict[str, int] = {}
            for log, size, before in sorted(sizes):
                known = found[run_of(log)]
                state = known.log(log)
                start = state.position.offset
                looked[log] = min(size, max(start, before) + LOOK_BYTES)
                data = logs.read(db, log, start, looked[log] - start)
                if data is not None:  # deleted meanwhile
                    known.take_in(_reader(db), state, data)
            numbers = dict(self._keys)
            self._save(db, [known for known in found.values() if known.changed], numbers)
            _note(db, looked)
            return [run for run in by_run if run not in held], numbers

        busy, self._keys = self._pool.do(work)
        return busy

    def _hold(self, db: Connection, runs: list[str], *, wait: bool) -> set[str]:
        """Lock runs until the end of the transaction; returns those that were got."""
        numbers = {self._number(run): run for run in runs}
        if wait:
            for number in sorted(numbers):
                db.execute("SELECT pg_advisory_xact_lock(%s)", (number,))
            return set(runs)
        statement = "SELECT number FROM unnest(%s::bigint[]) AS number WHERE pg_try_advisory_xact_lock(number)"
        return {numbers[row[0]] for row in db.execute(statement, (sorted(numbers),))}

    def _number(self, run: str) -> int:
        digest = hashlib.sha256(f"{self._pool.schema}/{run}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    def _known(self, db: Connection, runs: list[str]) -> dict[str, KnownRun]:
        found = {run: KnownRun(None, RunState(run), {}) for run in runs}
        by_row: dict[int, KnownRun] = {}
        statement = "SELECT id, run, state, keys FROM runs WHERE id = ANY(%s)"
        for id, row, state, keys in db.execute(statement, (runs,), binary=True):
            by_row[row] = found[id] = KnownRun(row, RunState.load(unpacked(state)), {})
            found[id].keys = keys
        if by_row:
            statement = "SELECT run, state FROM states WHERE run = ANY(%s)"
            for row, data in db.execute(statement, (list(by_row),), binary=True):
                state = LogState.load(unpacked(data))
                by_row[row].logs[state.log] = state
        return found

    def known(self, run: str) -> Known:
        """All that is known of a run; its row is None of one that is unknown."""
        return self._pool.do(lambda db: self._known(db, [run])[run], begin=READ)

    def _save(self, db: Connection, found: Iterable[KnownRun], numbers: dict[str, int]) -> None:
        """Write runs, the logs that have grown, the fields that they are found by."""
        written: list[Written] = []
        states: list[tuple[str, int, bytes]] = []
        for known in found:
            columns, run = known.summary()
            columns = {name: clean_text(value) if isinstance(value, str) else value for name, value in columns.items()}
            values = [columns.get(name) for name in COLUMNS]
            row = known.row
            if row is None:
                statement = (
                    f"INSERT INTO runs (id, {', '.join(COLUMNS)}) VALUES (%s{', %s' * len(COLUMNS)}) RETURNING run"
                )
                (row,) = db.execute(statement, (columns["id"], *values)).fetchone()
            else:
                db.execute(
                    f"UPDATE runs SET {', '.join(f'{name} = %s' for name in COLUMNS)} WHERE run = %s", (*values, row)
                )
            assert row is not None
            states += [(log, row, packed(known.logs[log].dump())) for log in known.changed]
            written.append(Written(row, {} if run is None else fields(run), list(known.keys)))
        if states:
            db.execute(
                "INSERT INTO states (log, run, state) SELECT * FROM unnest(%s::text[], %s::bigint[], %b::bytea[])"
                " ON CONFLICT (log) DO UPDATE SET run = excluded.run, state = excluded.state",
                [list(column) for column in zip(*states, strict=True)],
            )
        before = {row: noted for row, _, noted in written}
        for row, keys in write_fields(db, written, numbers).items():
            if keys != before[row]:
                db.execute("UPDATE runs SET keys = %s WHERE run = %s", (keys, row))

    def look_at_living(self) -> None:
        """Derive the status of runs that had not ended again: their processes may be gone by now.

        With very many of them not at every query: it takes a tenth of the time at most.
        """
        with self._lock:
            began, took = self._living
            if time.monotonic() < began + 10 * took - 0.05:
                return
            now = time.monotonic()
            statement = "SELECT id, status, life FROM runs WHERE live"
            rows = self._pool.do(lambda db: db.execute(statement).fetchall(), begin=None)
            at_ns = time.time_ns()
            changed = [id for id, status, life in rows if derive(parsed(life), at_ns)[0] != status]
            self._living = (now, time.monotonic() - now)
        for part in in_parts(changed, AT_ONCE):
            self._derive_again(part)

    def _derive_again(self, runs: list[str]) -> None:
        def work(db: Connection) -> dict[str, int]:
            held = self._hold(db, runs, wait=False)  # whoever is at one derives it too
            numbers = dict(self._keys)
            found = self._known(db, sorted(held)).values()
            self._save(db, [known for known in found if known.row is not None], numbers)
            return numbers

        self._keys = self._pool.do(work)

    def forget(self, run: str) -> None:
        """See `Catalog.forget`."""

        def work(db: Connection) -> None:
            self._hold(db, [run], wait=True)
            row = db.execute("SELECT run, keys FROM runs WHERE id = %s", (run,)).fetchone()
            if row is not None:
                write_fields(db, [Written(row[0], {}, row[1])], dict(self._keys))
                db.execute("DELETE FROM runs WHERE run = %s", (row[0],))

        self._pool.do(work)


def _reader(db: Connection) -> Callable[[str, int, int], bytes]:
    """Reads logs within a transaction."""

    def read(log: str, offset: int, limit: int) -> bytes:
        data = logs.read(db, log, offset, limit)
        if data is None:
            raise NotFoundError(f"no log {log}")
        return data

    return read


def _note(db: Connection, looked: dict[str, int]) -> None:
    """Write down how far logs were looked at. They are locked in the order in which appending locks them."""
    if not looked:
        return
    db.execute("SELECT 1 FROM logs WHERE log = ANY(%s) ORDER BY log FOR NO KEY UPDATE", (list(looked),))
    db.execute(
        "UPDATE logs SET looked = greatest(logs.looked, u.looked), urgent = urgent AND u.looked < size,"
        " looked_at = clock_timestamp() FROM unnest(%s::text[], %s::bigint[]) AS u (log, looked)"
        " WHERE logs.log = u.log",
        (list(looked), list(looked.values())),
    )
