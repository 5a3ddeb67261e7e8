"""Finding runs in a database. Which way to the first runs of an answer is short depends on the data: it tries.

1. *Narrow*: where the index range of a condition has few rows (it looks no further), go through that, test the rest,
   sort what is left.
2. *Walk*: go through the index in the order that is wanted, test each run by itself, stop when there are enough. It
   takes a millisecond unless few runs fit; after some time it is given up.
3. *Narrow* after all, on the smallest range however large; where the planner knows sizes, each range as a *set* of
   runs, which it joins. Where no condition is a range, every condition as a set, the nested ones too. Some ten
   milliseconds for 100,000 runs.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from mlsdk.errors import QueryError
from mlsdk.query.dialect import Connection, Dialect, SqlValue
from mlsdk.query.evaluate import like_tokens
from mlsdk.query.names import Path, clean_text
from mlsdk.query.sql import Part, Position, Row, Sets, by_path, counting, holds, select
from mlsdk.query.tree import Compare, In, Leaf, Order, Tree, conjuncts


class Found(NamedTuple):
    """Row numbers of runs, in order, and what to hand to `find(after=...)` for the next ones (None: no more)."""

    runs: list[int]
    after: str | None


def find(
    connection: Connection,
    dialect: Dialect,
    tree: Tree | None = None,
    order: Order = (),
    limit: int | None = None,
    after: str | None = None,
) -> Found:
    """The runs that fit, in order; deleted ones only when the filter speaks of `deleted`.

    Args:
        connection: to the database.
        dialect: of the database.
        tree: as from `parse`; None for every run.
        order: as from `parse_order`; empty for newest first.
        limit: the most runs to return; None for all.
        after: the `after` of the part before, which must have been asked for with the same order. Going on by
            position and not by number, no run comes twice or is left out because others came or went.

    Raises:
        QueryError: `after` is not from an answer with this ordering.
    """
    position = None if after is None else _position(dialect, after, order)
    wanted = None if limit is None else limit + 1  # one more tells whether there are more
    narrow = _narrow(connection, dialect, tree, dialect.few)
    found: list[Row] | None = None
    if wanted is not None and not narrow:
        dialect.begin(connection, "walk")
        ask = functools.partial(walk, connection, dialect, tree, order, wanted, position)
        found = dialect.patiently(connection, ask, wanted)
    if found is None:
        narrow, sets = (narrow, "none") if narrow else _way(connection, dialect, tree)
        statement = select(dialect, tree, order, wanted, position, walk=narrow, sets=sets)
        found = connection.execute(*statement).fetchall()
    more = limit is not None and len(found) > limit
    found = found[:limit]
    return Found([row[0] for row in found], _cursor(found[-1]) if more and found else None)


def count(connection: Connection, dialect: Dialect, tree: Tree | None = None) -> int:
    """How many runs fit."""
    narrow, sets = _way(connection, dialect, tree)
    (number,) = connection.execute(*counting(dialect, tree, narrow, sets)).fetchone()
    return int(number)


def _way(connection: Connection, dialect: Dialect, tree: Tree | None) -> tuple[Path | None, Sets]:
    """How to look at every run that may fit: along which range, or by which sets."""
    if dialect.joins_sets:
        dialect.begin(connection, "sets")
        return None, "outer" if _ranges(dialect, tree) else "all"
    narrow = _narrow(connection, dialect, tree, None)
    dialect.begin(connection, "narrow" if narrow else "sets")
    return narrow, "none" if narrow else "all"


def walk(
    connection: Connection, dialect: Dialect, tree: Tree | None, order: Order, wanted: int, position: Position | None
) -> list[Row]:
    """The first runs in order: one part of the answer after another, until there are enough."""
    found: list[Row] = []
    along = order[0][0] if order else None
    for part in _parts(dialect, tree, order, position):
        if len(found) < wanted:
            statement = select(dialect, tree, order, wanted - len(found), position, walk=along, part=part)
            found += connection.execute(*statement)
    return found


def _parts(dialect: Dialect, tree: Tree | None, order: Order, position: Position | None) -> Iterator[Part]:
    """The parts of an answer, those left out that the filter or the position rule out."""
    if not order:
        yield "all"
        return
    first, descending = order[0]
    begin = position.values[0] if position else b""
    # Ascending, NaN is the last of the values anyhow.
    if begin is not None and (begin != dialect.nan or not descending):
        yield "values"
    if descending and begin is not None and not _comparable(tree, first):
        yield "nan"
    if first not in by_path(conjuncts(tree)):
        yield "missing"


def _comparable(tree: Tree | None, path: Path) -> bool:
    """Whether every run that fits has a value there that is not NaN."""
    for leaf in by_path(conjuncts(tree)).get(path, ()):
        if isinstance(leaf, In) and not leaf.negated:
            return True
        if isinstance(leaf, Compare) and leaf.op not in ("!=", "not like"):
            return True
    return False


def _narrow(connection: Connection, dialect: Dialect, tree: Tree | None, limit: int | None) -> Path | None:
    """The path whose index range under the filter has the fewest rows, if fewer than `limit`; it looks no further."""
    best = None
    # Where everything is counted anyhow. Else it would be looked at twice: to count it, and to find it.
    operators = _RANGES if limit is not None else (*_RANGES, "like")
    for path, ranges in _ranges(dialect, tree, operators).items():
        if best is None:
            dialect.begin(connection, "narrow")
        bind, at = dialect.binder(), dialect.place(path)
        where = [f"o.key = {dialect.key(path, bind)}"]
        where += (holds(dialect, leaf, f"o.{at.column}", bind) for leaf in ranges)
        rows_of = f"SELECT 1 FROM {at.table} o{dialect.by_index} WHERE {' AND '.join(where)}"
        rows_of += "" if limit is None else f" LIMIT {limit}"
        (rows,) = connection.execute(f"SELECT count(*) FROM ({rows_of}) few", bind.values).fetchone()
        if limit is None or rows < limit:
            best, limit = path, rows
    return best


# The conditions that are a range of the index by themselves: counting few that meet them looks at no more than these.
_RANGES = ("=", "<", "<=", ">", ">=")


def _ranges(dialect: Dialect, tree: Tree | None, operators: tuple[str, ...] = _RANGES) -> dict[Path, list[Leaf]]:
    """The conditions that a filter asks of every run and that are a range of the index of values, by path."""
    asked = {
        path: [leaf for leaf in leaves if _is_range(leaf, operators)]
        for path, leaves in by_path(conjuncts(tree)).items()
        if dialect.place(path).table != "metrics"
    }
    return {path: ranges for path, ranges in asked.items() if ranges}


def _is_range(leaf: Leaf, operators: tuple[str, ...]) -> bool:
    if isinstance(leaf, Compare):
        return leaf.op in operators or (leaf.op == "like" and _is_beginning(str(leaf.value)))
    return isinstance(leaf, In) and not leaf.negated


def _is_beginning(pattern: str) -> bool:
    """Whether what is like this is all that begins in one way: a range of the index."""
    tokens = list(like_tokens(pattern))
    plain = list(itertools.takewhile(lambda token: not token[1], tokens))
    return bool(plain) and all(token == ("%", True) for token in tokens[len(plain) :])


def _cursor(row: Row) -> str:
    values = [{"blob": bytes(value).hex()} if isinstance(value, bytes) else value for value in row[2:]]
    return json.dumps([row[1], *values], separators=(",", ":"))


def _position(dialect: Dialect, after: str, order: Order) -> Position:
    try:
        run, *values = json.loads(after)
        decoded = tuple(None if value is None else dialect.read_back(_unpacked(value)) for value in values)
    except (ValueError, TypeError, KeyError, RecursionError):
        run, decoded = None, ()
    if not isinstance(run, str) or len(decoded) != len(order):
        raise QueryError(
            f"{after[:80]!r} is not where an answer in this ordering stopped; ask again from the beginning"
        )
    return Position(decoded, clean_text(run))


def _unpacked(value: Any) -> SqlValue:
    if isinstance(value, dict):
        return bytes.fromhex(value["blob"])
    if type(value) in (int, float, str):
        known: SqlValue = value
        return known
    raise TypeError(f"{type(value).__name__} is nothing to order by")
