"""The fields that runs are found by, in the tables of values: written many runs at a time, and read back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mlsdk.query.dialect import place
from mlsdk.query.fields import Fields
from mlsdk.query.names import STATISTICS, Path, join_key, split_key
from mlsdk.query.ordered import decoded, encoded
from mlsdk.query.postgres import Postgres, key_digest, split
from mlsdk.query.tree import Scalar
from mlsdk.store.postgres.pool import Connection

_MORE = STATISTICS[1:]


class Written(NamedTuple):
    """One run to be written."""

    run: int
    fields: Fields
    """Empty to remove it."""
    noted: list[int]
    """Keys that it had before."""


def write_fields(db: Connection, runs: Iterable[Written], known: dict[str, int]) -> dict[int, list[int]]:
    """Make the fields of runs what is found of them, in place of all that was; returns the keys of each.

    Args:
        db: in a transaction.
        runs: each once.
        known: numbers of keys; it grows.
    """
    values: list[tuple[str, int, bytes, bytes | None]] = []
    statistics: dict[tuple[str, int], dict[str, bytes]] = {}
    names: dict[int, set[str]] = {}
    noted: dict[int, list[int]] = {}
    for run, fields, before in runs:
        noted[run], names[run] = before, set()
        for key, scalar in fields.items():
            path = split_key(key) if key.startswith("metrics.") else ()
            if len(path) == 3:
                name = join_key(path[:2])
                statistics.setdefault((name, run), {})[path[2]] = encoded(scalar)
            else:
                name = key
                values.append((key, run, *split(scalar)))
            names[run].add(name)
    number_keys(db, set().union(*names.values()) if names else set(), known)
    keys = {run: sorted(known[name] for name in found) for run, found in names.items()}
    gone = [(key, run) for run, before in noted.items() for key in set(before).difference(keys[run])]
    if gone:
        bound = [list(column) for column in zip(*gone, strict=True)]
        for table in ("vals", "metrics"):
            db.execute(
                f"DELETE FROM {table} t USING unnest(%s::int[], %s::bigint[]) AS u (key, run)"
                " WHERE t.key = u.key AND t.run = u.run",
                bound,
            )
    if values:
        rows = [[known[name] for name, *_ in values], *map(list, list(zip(*values, strict=True))[1:])]
        # Only what is different: most of a run that lives stays as it was.
        db.execute(
            "INSERT INTO vals AS v (key, run, value, rest) SELECT u.key, u.run, u.value, u.rest"
            " FROM unnest(%s::int[], %s::bigint[], %b::bytea[], %b::bytea[]) AS u (key, run, value, rest)"
            " LEFT JOIN vals old ON old.key = u.key AND old.run = u.run"
            " WHERE (old.value, old.rest) IS DISTINCT FROM (u.value, u.rest)"
            " ON CONFLICT (key, run) DO UPDATE SET value = excluded.value, rest = excluded.rest",
            rows,
        )
    if statistics:
        columns = [[known[name] for name, _ in statistics], [run for _, run in statistics]]
        columns += [[row.get(column) for row in statistics.values()] for column in _MORE]  # type: ignore[misc]
        types = ", ".join(["%s::int[]", "%s::bigint[]", *["%b::bytea[]"] * len(_MORE)])
        set_ = ", ".join(f"{column} = excluded.{column}" for column in _MORE)
        db.execute(
            f"INSERT INTO metrics (key, run, {', '.join(_MORE)}) SELECT * FROM unnest({types})"
            f" ON CONFLICT (key, run) DO UPDATE SET {set_}"
            f" WHERE ({', '.join(f'metrics.{column}' for column in _MORE)})"
            f" IS DISTINCT FROM ({', '.join(f'excluded.{column}' for column in _MORE)})",
            columns,
        )
    return keys


def number_keys(db: Connection, names: set[str], known: dict[str, int]) -> None:
    """Learn the number of each key, given out where it has none."""
    new = sorted(name for name in names if name not in known)
    if not new:
        return
    digests = [key_digest(name) for name in new]
    statement = "SELECT name, key FROM keys WHERE digest = ANY(%b)"
    known.update(db.execute(statement, (digests,)).fetchall())
    missing = [name for name in new if name not in known]
    if missing:
        db.execute(
            "INSERT INTO keys (digest, name) SELECT * FROM unnest(%b::bytea[], %s::text[]) ON CONFLICT DO NOTHING",
            ([key_digest(name) for name in missing], missing),
        )
        known.update(db.execute(statement, (digests,)).fetchall())


def read_fields(db: Connection, dialect: Postgres, runs: list[int], paths: set[Path]) -> dict[int, dict[str, Scalar]]:
    """What a filter sees of runs at some paths."""
    found: dict[int, dict[str, Scalar]] = {run: {} for run in runs}
    plain = {dialect.keys[place(path).key][0]: join_key(path) for path in _known(dialect, paths, "vals")}
    if plain:
        statement = (
            "SELECT run, key, value || coalesce(rest, ''::bytea) FROM vals WHERE run = ANY(%s) AND key = ANY(%s)"
        )
        for run, key, value in db.execute(statement, (runs, list(plain)), binary=True):
            found[run][plain[key]] = decoded(value)
    for path in _known(dialect, paths, "metrics"):
        at = place(path)
        statement = f"SELECT run, {at.column} FROM metrics WHERE run = ANY(%s) AND key = %s AND {at.column} IS NOT NULL"
        for run, value in db.execute(statement, (runs, dialect.keys[at.key][0]), binary=True):
            found[run][join_key(path)] = decoded(value)
    return found


def _known(dialect: Postgres, paths: Iterable[Path], table: str) -> list[Path]:
    return [path for path in paths if place(path).table == table and place(path).key in dialect.keys]
