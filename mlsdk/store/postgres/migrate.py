"""The tables of a store in PostgreSQL: numbered SQL files, applied in order, each once."""

from __future__ import annotations

import contextlib
import hashlib
from importlib.resources import files
from typing import NamedTuple

from mlsdk.errors import NewerFormatError, StoreError
from mlsdk.store.postgres.pool import Connection, Pool, load, translated

OLDEST = 130000
"""PostgreSQL 13."""


class Migration(NamedTuple):
    """One step."""

    number: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """All steps that this version knows, in order."""
    found = [file for file in files(__package__).joinpath("migrations").iterdir() if file.name.endswith(".sql")]
    steps = [Migration(int(file.name[:4]), file.name, file.read_text(encoding="utf-8")) for file in found]
    return sorted(steps)


def migrate(pool: Pool) -> None:
    """Bring the schema to this version; several who do it at once wait for each other.

    Raises:
        NewerFormatError: a newer mlsdk has brought it further.
        StoreError: the database cannot hold a store.
    """
    known = migrations()
    with contextlib.closing(pool.connect()) as db:
        try:
            if _check(db, pool.schema, known) < known[-1].number:
                _apply(db, pool.schema, known)
        except load().Error as error:
            raise translated(error) from error


def _apply(db: Connection, schema: str, known: list[Migration]) -> None:
    lock = int.from_bytes(hashlib.sha256(f"mlsdk {schema}".encode()).digest()[:8], "big", signed=True)
    db.execute("SELECT pg_advisory_lock(%s)", (lock,))  # given free when the connection closes
    for step in known[_check(db, schema, known) :]:
        with db.transaction():
            db.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
            db.execute(
                "CREATE TABLE IF NOT EXISTS migrations"
                " (number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            db.execute(step.sql)
            db.execute("INSERT INTO migrations (number, name) VALUES (%s, %s)", (step.number, step.name))


def _check(db: Connection, schema: str, known: list[Migration]) -> int:
    """How far the schema has come."""
    if db.info.server_version < OLDEST:
        raise StoreError(f"PostgreSQL {db.info.server_version // 10000} is too old: a store needs 13 or newer")
    encoding = db.execute("SHOW server_encoding").fetchone()[0]
    if encoding != "UTF8":
        raise StoreError(f"the database's encoding is {encoding}; a store needs UTF8: createdb -E UTF8 -T template0")
    if db.execute("SELECT to_regclass(%s)", (f"{schema}.migrations",)).fetchone()[0] is None:
        return 0
    (found,) = db.execute("SELECT coalesce(max(number), 0) FROM migrations").fetchone()
    if found > known[-1].number:
        raise NewerFormatError(
            f"the schema {schema!r} is at migration {found}, this mlsdk knows up to {known[-1].number}:"
            " pip install -U mlsdk"
        )
    return int(found)
