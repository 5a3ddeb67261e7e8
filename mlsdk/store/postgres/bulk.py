"""Loading very many runs at once into a store in PostgreSQL that has none of them, by COPY."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlsdk.errors import NotFoundError
from mlsdk.query.fields import fields
from mlsdk.query.names import STATISTICS, clean_text, join_key, split_key
from mlsdk.query.ordered import encoded
from mlsdk.query.postgres import split
from mlsdk.store.fold import RunState
from mlsdk.store.known import Known, in_parts, packed, run_of
from mlsdk.store.postgres.fields import number_keys
from mlsdk.store.postgres.intake import COLUMNS
from mlsdk.store.postgres.logs import CHUNK_BYTES
from mlsdk.store.postgres.pool import Connection, Pool

_AT_ONCE = 2_000
_MORE = STATISTICS[1:]
_TYPES = {"run": "int8", "id": "text", "deleted": "bool", "live": "bool", "parent": "text", "status": "text"}
_TYPES |= {"ended_ns": "int8", "newer": "text", "document": "text", "state": "bytea", "life": "text", "keys": "int4[]"}

Row = Sequence[object]


def load(pool: Pool, runs: Iterable[Sequence[tuple[str, bytes]]]) -> int:
    """Take in runs, each given by its logs (name and bytes), and their logs; returns how many runs.

    For moving a whole store, and for measuring: nobody else may write these runs meanwhile. `settle` afterwards.

    Raises:
        StoreError: one of the runs is there already.
    """
    count = 0
    keys: dict[str, int] = {}
    for part in in_parts(runs, _AT_ONCE):
        keys = pool.do(lambda db, part=part, keys=keys: _load(db, part, dict(keys)))  # type: ignore[misc]
        count += len(part)
    return count


def settle(pool: Pool) -> None:
    """Let PostgreSQL count what there is now, and note which pages everybody may see."""
    for table in ("logs", "chunks", "runs", "states", "keys", "vals", "metrics"):
        pool.do(lambda db, table=table: db.execute(f"VACUUM (ANALYZE) {table}"), begin=None)  # type: ignore[misc]


def _load(db: Connection, runs: list[Sequence[tuple[str, bytes]]], keys: dict[str, int]) -> dict[str, int]:
    folded = [_folded(logs) for logs in runs]
    summaries = [known.summary() for known in folded]
    found = [{} if summary.run is None else fields(summary.run) for summary in summaries]
    number_keys(db, {_home(name)[0] for one in found for name in one}, keys)
    rows = dict(zip(_numbers(db, "runs", "run", len(runs)), zip(summaries, found, strict=True), strict=True))
    all_logs = [log for logs in runs for log in logs]
    ids = _numbers(db, "logs", "id", len(all_logs))
    values: list[Row] = []
    metrics: list[Row] = []
    kept: list[Row] = []
    for row, (summary, one) in rows.items():
        statistics: dict[int, dict[str, bytes]] = {}
        noted: set[int] = set()
        for name, scalar in one.items():
            key, statistic = keys[_home(name)[0]], _home(name)[1]
            noted.add(key)
            if statistic:
                statistics.setdefault(key, {})[statistic] = encoded(scalar)
            else:
                values.append((key, row, *split(scalar)))
        metrics += [(key, row, *map(found.get, _MORE)) for key, found in statistics.items()]
        columns = {n: clean_text(v) if isinstance(v, str) else v for n, v in summary.columns.items()}
        kept.append((row, *(columns.get(name) for name in ("id", *COLUMNS)), sorted(noted)))
    at = {log: id for id, (log, _) in zip(ids, all_logs, strict=True)}
    _copy(
        db,
        "logs",
        ("id", "log", "size", "looked", "urgent", "small_from"),
        ["int8", "text", "int8", "int8", "bool", "int8"],
        ((at[log], log, len(data), len(data), False, len(data)) for log, data in all_logs),
    )
    _copy(
        db,
        "chunks",
        ("id", "start", "data"),
        ["int8", "int8", "bytea"],
        (
            (at[log], start, data[start : start + CHUNK_BYTES])
            for log, data in all_logs
            for start in range(0, len(data), CHUNK_BYTES)
        ),
    )
    names = ("run", "id", *COLUMNS, "keys")
    _copy(db, "runs", names, [_TYPES[name] for name in names], kept)
    states = (
        (log, row, packed(state.dump()))
        for row, known in zip(rows, folded, strict=True)
        for log, state in known.logs.items()
    )
    _copy(db, "states", ("log", "run", "state"), ["text", "int8", "bytea"], states)
    _copy(db, "vals", ("key", "run", "value", "rest"), ["int4", "int8", "bytea", "bytea"], values)
    _copy(db, "metrics", ("key", "run", *_MORE), ["int4", "int8", *["bytea"] * len(_MORE)], metrics)
    return keys


def _folded(logs: Sequence[tuple[str, bytes]]) -> Known:
    known = Known(None, RunState(run_of(logs[0][0])), {})
    given = dict(logs)

    def read(log: str, offset: int, limit: int) -> bytes:
        if log not in given:
            raise NotFoundError(f"no log {log}")
        return given[log][offset : offset + limit]

    for log, data in logs:
        known.take_in(read, known.log(log), data)
    return known


def _home(name: str) -> tuple[str, str]:
    """The key under which a field is kept, and which of a metric's statistics it is."""
    path = split_key(name) if name.startswith("metrics.") else ()
    return (join_key(path[:2]), path[2]) if len(path) == 3 else (name, "")


def _numbers(db: Connection, table: str, column: str, count: int) -> list[int]:
    statement = f"SELECT nextval(pg_get_serial_sequence('{table}', '{column}')) FROM generate_series(1, %s)"
    return [row[0] for row in db.execute(statement, (count,))]


def _copy(db: Connection, table: str, columns: Sequence[str], types: Sequence[str], rows: Iterable[Row]) -> None:
    with db.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
