"""What is SQLite's own in finding runs: the tables, how a value is held in them, and the conditions on such a value.

A value column has no affinity, and SQLite orders numbers < text < blobs: so one index holds every type, a comparison
of one type is a range of it, and types never coerce. Numbers and text are themselves. Blobs are `00` false, `01` true,
`02` and eight bytes a date (microseconds since 1970 UTC plus 2**63, big-endian), `03` NaN.
"""

from __future__ import annotations

import itertools
import sqlite3
from array import array
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta, timezone
from typing import TypeVar

from mlsdk.query.dialect import Binder, Place, SqlValue, place
from mlsdk.query.evaluate import compiled, like_tokens
from mlsdk.query.fields import Fields, number
from mlsdk.query.names import STATISTICS, Path, clean_text, join_key, split_key
from mlsdk.query.tree import Scalar, is_nan

SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS vals (key INTEGER, run INTEGER, value NOT NULL, PRIMARY KEY (key, run)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS vals_value ON vals (key, value);
CREATE TABLE IF NOT EXISTS metrics (key INTEGER, run INTEGER, min, max, mean, count, min_step, max_step,
    PRIMARY KEY (key, run)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS run_keys (run INTEGER PRIMARY KEY, keys BLOB NOT NULL);
"""
"""Beside them the store has `runs (run INTEGER PRIMARY KEY, id TEXT UNIQUE, deleted INTEGER, ...)`."""

T = TypeVar("T")

NAN = b"\x03"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def to_sqlite(value: Scalar) -> SqlValue:
    """A scalar as it stands in a value column. What is missing has no row."""
    if type(value) is float:
        return value if value == value else NAN
    if isinstance(value, bool):
        return b"\x01" if value else b"\x00"
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, datetime):
        return b"\x02" + ((value - _EPOCH) // _MICROSECOND + 2**63).to_bytes(8, "big")
    return NAN if is_nan(value) else value if isinstance(value, float) else number(value)


def register(connection: sqlite3.Connection) -> None:
    """Give a connection the function behind `~`. Every connection that runs a filter needs it, once."""

    def regexp(pattern: str, value: object) -> bool:
        return isinstance(value, str) and compiled(pattern).search(value) is not None

    connection.create_function("regexp", 2, regexp, deterministic=True)


def write_fields(connection: sqlite3.Connection, run: int, fields: Fields, known: dict[str, int] | None = None) -> None:
    """Make `fields` what is found of a run, in place of all that was; the caller commits.

    Args:
        connection: to a database with the tables of `SCHEMA`.
        run: the run's row number in `runs`.
        fields: as from `fields.fields`; empty to remove the run.
        known: numbers of keys that the caller keeps from one call to the next, until it rolls back.
    """
    values: dict[str, SqlValue] = {}
    statistics: dict[str, dict[str, SqlValue]] = {}
    for key, scalar in fields.items():
        path = split_key(key) if key.startswith("metrics.") else ()
        if len(path) == 3:
            statistics.setdefault(join_key(path[:2]), {})[path[2]] = to_sqlite(scalar)
        else:
            values[key] = to_sqlite(scalar)
    keys = _keys(connection, {*values, *statistics}, {} if known is None else known)
    _forget(connection, run, keys.values())
    # An upsert, and only of what is different: most of a run that lives stays as it was.
    connection.executemany(
        "INSERT INTO vals (key, run, value) VALUES (?, ?, ?) "
        "ON CONFLICT (key, run) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value",
        ((keys[key], run, value) for key, value in values.items()),
    )
    bound = ", ".join("?" * len(STATISTICS[1:]))
    connection.executemany(
        f"INSERT OR REPLACE INTO metrics (key, run, {', '.join(STATISTICS[1:])}) VALUES (?, ?, {bound})",
        ((keys[key], run, *map(row.get, STATISTICS[1:])) for key, row in statistics.items()),
    )


def _keys(connection: sqlite3.Connection, names: Collection[str], known: dict[str, int]) -> dict[str, int]:
    """The number of each key, given out where it has none."""
    new = [name for name in names if name not in known]
    connection.executemany("INSERT OR IGNORE INTO keys (name) VALUES (?)", ((name,) for name in new))
    number_of = "SELECT key FROM keys WHERE name = ?"
    known.update((name, connection.execute(number_of, (name,)).fetchone()[0]) for name in new)
    return {name: known[name] for name in names}


def _forget(connection: sqlite3.Connection, run: int, keys: Collection[int]) -> None:
    """Drop what the run has under other keys than these, which are noted: it saves an index by run."""
    row = connection.execute("SELECT keys FROM run_keys WHERE run = ?", (run,)).fetchone()
    noted = array("I", row[0] if row else b"")
    gone = [(key, run) for key in set(noted).difference(keys)]
    connection.executemany("DELETE FROM vals WHERE key = ? AND run = ?", gone)
    connection.executemany("DELETE FROM metrics WHERE key = ? AND run = ?", gone)
    if not keys:
        connection.execute("DELETE FROM run_keys WHERE run = ?", (run,))
    elif gone or len(noted) != len(keys):
        packed = array("I", sorted(keys)).tobytes()
        connection.execute("INSERT OR REPLACE INTO run_keys (run, keys) VALUES (?, ?)", (run, packed))


class SQLite:
    """How SQLite is asked; see `mlsdk.query.dialect.Dialect`.

    Args:
        few: testing and sorting so many rows takes a few milliseconds.
        patience: steps of SQLite's machine, a few milliseconds, after which few runs are taken to fit.
    """

    joins_sets = False
    deepest = 5  # its parser nests less deep than filters may
    by_index = " INDEXED BY vals_value"
    crossed = "CROSS JOIN"
    probe_end = ""
    visible = "r.deleted = 0"
    false = "0"
    nan: SqlValue = NAN
    nan_text = "x'03'"

    def __init__(self, few: int = 2_000, patience: int = 60_000) -> None:
        self.few = few
        self._patience = patience

    def binder(self) -> Binder:
        """See `Dialect.binder`."""
        return Binder()

    def place(self, path: Path) -> Place:
        """See `Dialect.place`."""
        return place(path)

    def key(self, path: Path, bind: Binder) -> str:
        """See `Dialect.key`."""
        return f"(SELECT key FROM keys WHERE name = {bind(place(path).key)})"

    def read_back(self, value: SqlValue) -> SqlValue:
        """See `Dialect.read_back`."""
        return value if isinstance(value, bytes) else to_sqlite(value)

    def compares(self, column: str, op: str, value: Scalar, rank: int, bind: Binder) -> str:
        """See `Dialect.compares`."""
        return compares(column, op, value, rank, bind)

    def among(self, column: str, values: Sequence[Scalar], bind: Binder) -> str:
        """See `Dialect.among`."""
        return f"{column} IN ({', '.join(bind(to_sqlite(value)) for value in values)})"

    def walked(self, column: str, *, descending: bool) -> str:
        """See `Dialect.walked`."""
        return f"{column} {'DESC' if descending else 'ASC'}"

    def begin(self, connection: sqlite3.Connection, way: str) -> None:
        """Nothing: each statement says how it goes."""

    def patiently(self, connection: sqlite3.Connection, ask: Callable[[], T], wanted: int) -> T | None:
        """See `Dialect.patiently`."""
        out_of_patience = False

        def give_up() -> int:
            nonlocal out_of_patience
            out_of_patience = True
            return 1

        connection.set_progress_handler(give_up, self._patience + 200 * wanted)
        try:
            return ask()
        except sqlite3.OperationalError:
            if out_of_patience:
                return None
            raise
        finally:
            connection.set_progress_handler(None, 0)


SQLITE = SQLite()

# The end of each type in the order of SQLite: all numbers are below '' and all text is below x''.
_FLOORS = {0: None, 1: "''", 2: "x'00'", 3: "x'02'"}
_CEILINGS = {0: "''", 1: "x''", 2: "x'02'", 3: "x'03'"}
_TEXT = "{column} >= '' AND {column} < x''"


def compares(column: str, op: str, value: Scalar, rank: int, bind: Binder) -> str:
    """The condition that a column stands in `op` to `value`, whose type is `rank` (see `evaluate.type_rank`)."""
    if is_nan(value):
        return f"{column} IS NOT NULL" if op == "!=" else "0"
    if op in ("like", "not like"):
        like = _like(column, str(value), bind)
        return like if op == "like" else f"{column} IS NOT NULL AND NOT ({like})"
    if op == "~":
        return f"{_TEXT.format(column=column)} AND {column} REGEXP {bind(str(value))}"
    bound = bind(to_sqlite(value))
    if op in ("=", "!="):
        return f"{column} {op} {bound}"
    if op in ("<", "<=") and _FLOORS[rank]:
        return f"{column} {op} {bound} AND {column} >= {_FLOORS[rank]}"
    if op in (">", ">="):
        return f"{column} {op} {bound} AND {column} < {_CEILINGS[rank]}"
    return f"{column} {op} {bound}"


def _like(column: str, pattern: str, bind: Binder) -> str:
    """As a GLOB, which minds case, within the range of what begins with the same plain text."""
    tokens = list(like_tokens(pattern))
    plain = list(itertools.takewhile(lambda token: not token[1], tokens))
    prefix = "".join(char for char, _ in plain)
    if len(plain) == len(tokens):
        return f"{column} = {bind(prefix)}"
    wildcards = {"%": "*", "_": "?"}
    glob = "".join(wildcards[char] if wild else f"[{char}]" if char in "*?[" else char for char, wild in tokens)
    above = f"{column} >= {bind(prefix)} AND {column} < {bind(_after_prefix(prefix))}"
    return f"{above} AND {column} GLOB {bind(glob)}"


def _after_prefix(prefix: str) -> SqlValue:
    """The first value after all text that begins so; the end of all text where there is none."""
    last = ord(prefix[-1]) if prefix else 0x10FFFF
    if last == 0x10FFFF:
        return b""
    return prefix[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)
