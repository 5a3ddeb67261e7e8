"""A filter and an ordering as SQL over the catalog's tables: the same answer as `evaluate`, without reading a record.

Which way to the first runs of an answer is short depends on the data, so `find` looks and tries:

1. *Narrow*: where the index range of a condition has fewer than `FEW` rows (it looks no further), go through that,
   test the rest, sort what is left.
2. *Walk*: go through the index in the order that is wanted, test each run by itself, stop when there are enough. It
   takes a millisecond unless few runs fit; after `PATIENCE` steps it is given up.
3. *Narrow* after all, on the smallest range however large, or, where no condition is a range, make each one a *set*
   of runs. Tens of milliseconds for 100,000 runs.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeGuard

from mlsdk.errors import QueryError
from mlsdk.query.evaluate import type_rank
from mlsdk.query.names import Path, clean_text
from mlsdk.query.table import NAN, NAN_TEXT, Binder, SqlValue, compares, following, place, register, terms, to_sqlite
from mlsdk.query.tree import And, Compare, In, IsNull, Leaf, Not, Or, Order, Tree, conjuncts, hides_deleted

__all__ = ["Found", "Position", "count", "find", "register", "select", "to_sqlite"]

FEW = 2_000
"""A range of fewer rows is gone through whole: testing and sorting so many takes a few milliseconds."""
PATIENCE = 60_000
"""Steps of SQLite's machine, a few milliseconds, after which few runs are taken to fit."""

_NESTED = 5
_SIDE_BY_SIDE = 100

Params = dict[str, SqlValue | None]
Row = tuple[Any, ...]
Part = Literal["all", "values", "nan", "missing"]
"""Which runs a statement is about: all, or those whose first key of the ordering is a value, NaN, or missing."""


class Position(NamedTuple):
    """A run's place in an ordering: the value of each key, and its id."""

    values: tuple[SqlValue | None, ...]
    id: str


class Found(NamedTuple):
    """Row numbers of runs, in order, and what to hand to `find(after=...)` for the next ones (None: no more)."""

    runs: list[int]
    after: str | None


def find(
    connection: sqlite3.Connection,
    tree: Tree | None = None,
    order: Order = (),
    limit: int | None = None,
    after: str | None = None,
) -> Found:
    """The runs that fit, in order; deleted ones only when the filter speaks of `deleted`.

    Args:
        connection: one that `register` was called on.
        tree: as from `parse`; None for every run.
        order: as from `parse_order`; empty for newest first.
        limit: the most runs to return; None for all.
        after: the `after` of the part before, which must have been asked for with the same order. Going on by
            position and not by number, no run comes twice or is left out because others came or went.

    Raises:
        QueryError: `after` is not from an answer with this ordering.
    """
    position = None if after is None else _position(after, order)
    wanted = None if limit is None else limit + 1  # one more tells whether there are more
    narrow = _narrow(connection, tree, FEW)
    found: list[Row] | None = None
    if wanted is not None and not narrow:
        ask = functools.partial(_walk, connection, tree, order, wanted, position)
        found = _patiently(connection, ask, PATIENCE + 200 * wanted)
    if found is None:
        narrow = narrow or _narrow(connection, tree, None)
        statement = select(tree, order, wanted, position, walk=narrow, sets=not narrow)
        found = connection.execute(*statement).fetchall()
    more = limit is not None and len(found) > limit
    found = found[:limit]
    return Found([row[0] for row in found], _cursor(found[-1]) if more and found else None)


def count(connection: sqlite3.Connection, tree: Tree | None = None) -> int:
    """How many runs fit."""
    narrow = _narrow(connection, tree, None)
    statement = _Statement(tree, narrow, "all", sets=not narrow)
    (number,) = connection.execute(statement.text("count(*)"), statement.bind.values).fetchone()
    return int(number)


def _walk(
    connection: sqlite3.Connection, tree: Tree | None, order: Order, wanted: int, position: Position | None
) -> list[Row]:
    """The first runs in order: one part of the answer after another, until there are enough."""
    found: list[Row] = []
    walk = order[0][0] if order else None
    for part in _parts(tree, order, position):
        if len(found) < wanted:
            statement = select(tree, order, wanted - len(found), position, walk=walk, part=part)
            found += connection.execute(*statement)
    return found


def _patiently(connection: sqlite3.Connection, ask: Callable[[], list[Row]], steps: int) -> list[Row] | None:
    """What `ask` answers, or None where one of its statements takes more steps."""
    out_of_patience = False

    def give_up() -> int:
        nonlocal out_of_patience
        out_of_patience = True
        return 1

    connection.set_progress_handler(give_up, steps)
    try:
        return ask()
    except sqlite3.OperationalError:
        if out_of_patience:
            return None
        raise
    finally:
        connection.set_progress_handler(None, 0)


def select(
    tree: Tree | None = None,
    order: Order = (),
    limit: int | None = None,
    position: Position | None = None,
    *,
    walk: Path | None = None,
    part: Part = "all",
    sets: bool = False,
) -> tuple[str, Params]:
    """The statement for the runs that fit, each as row number, id and the value of each key of the ordering.

    Args:
        tree: as for `find`.
        order: as for `find`.
        limit: as for `find`.
        position: return what comes after it.
        walk: go through the index of this path. For the part "all" it has to be a path that every fitting run has; for
            "values" and "nan" it is the first of the ordering.
        sets: make each condition a set of runs first, rather than test each run by itself.
        part: which runs; the parts "values", "nan" and "missing", one after another, are all of them in order.
    """
    statement = _Statement(tree, walk, part, sets=sets)
    columns = [statement.ordered_by(path, first=not i) for i, (path, _) in enumerate(order)]
    bind = statement.bind
    by = [terms(column, descending) for column, (_, descending) in zip(columns, order, strict=True)]
    if part in ("values", "nan"):
        # Nothing before the walked column, or the index could not give the order.
        by[0] = f"{columns[0]} {'DESC' if order[0][1] else 'ASC'}"
        if part == "values" and order[0][1] and not _comparable(tree, order[0][0]):
            statement.where.append(f"{columns[0]} < {NAN_TEXT}")
    by.append("r.id ASC" if order else "r.id DESC")
    if position:
        after = f"r.id {'>' if order else '<'} {bind(position.id)}"
        for column, (_, descending), value in reversed(list(zip(columns, order, position.values, strict=True))):
            later, same = following(column, descending, value, bind)
            after = f"({later} OR ({same} AND {after}))"
        statement.where.append(after)
        if part == "values" and position.values[0] is not None:
            statement.where.append(f"{columns[0]} {'<=' if order[0][1] else '>='} {bind(position.values[0])}")
    text = f"{statement.text(', '.join(('r.run', 'r.id', *columns)))} ORDER BY {', '.join(by)}"
    return (text if limit is None else f"{text} LIMIT {int(limit)}"), bind.values


class _Statement:
    """One SELECT while it is put together: from where, under which conditions."""

    def __init__(self, tree: Tree | None, walk: Path | None, part: Part, *, sets: bool = False) -> None:
        self.bind = Binder()
        self.where: list[str] = []
        self.joins: list[str] = []
        self.hoisted: list[str] = []
        self.sets = sets
        self.part = part
        self.walk = None if part == "missing" else walk
        self.walked = ""
        self.run = "r.run"
        if self.walk:
            at = place(self.walk)
            # The planner knows no sizes. It is told the index, and CROSS JOIN keeps the walk outside.
            index = " INDEXED BY vals_value" if at.table == "vals" else ""
            self.joins.append(f"{at.table} o{index} CROSS JOIN runs r ON r.run = o.run")
            self.walked, self.run = f"o.{at.column}", "o.run"
            self.where.append(f"o.key = {_key(self.walk, self.bind)}")
            if part == "nan":
                self.where.append(f"{self.walked} = {NAN_TEXT}")
            elif at.table != "vals":
                self.where.append(f"{self.walked} IS NOT NULL")
        else:
            self.joins.append("runs r")
            if part == "missing" and walk:
                self.where.append(self.condition(IsNull(walk), "r.run"))
        if hides_deleted(tree):
            self.where.append("r.deleted = 0")
        self.where += self.all_of(conjuncts(tree), self.run, 0)

    def text(self, columns: str) -> str:
        hoisted = f"WITH {', '.join(self.hoisted)} " if self.hoisted else ""
        where = f" WHERE {_joined(' AND ', self.where)}" if self.where else ""
        return f"{hoisted}SELECT {columns} FROM {' '.join(self.joins)}{where}"

    def ordered_by(self, path: Path, first: bool) -> str:
        """The column that holds the values of `path`, NULL where it is missing."""
        if first and self.part == "missing":
            return "NULL"
        if path == self.walk:
            return self.walked
        at, alias = place(path), f"k{len(self.joins)}"
        same = f"{alias}.run = {self.run} AND {alias}.key = {_key(path, self.bind)}"
        self.joins.append(f"LEFT JOIN {at.table} {alias} ON {same}")
        return f"{alias}.{at.column}"

    def condition(self, tree: Tree, run: str, nested: int = 0) -> str:
        """A condition that is 0 or 1, never NULL, on the run in the column `run`."""
        match tree:
            case Not(Not(part)):
                return self.condition(part, run, nested)
            case Not(And(parts)):
                return self.condition(Or(tuple(map(Not, parts))), run, nested)
            case Not(Or(parts)):
                return self.condition(And(tuple(map(Not, parts))), run, nested)
            case Not(part):
                return f"NOT {self.condition(part, run, nested)}"
            case And() | Or() if nested >= _NESTED:
                return self.hoist(tree, run)
            case And(parts):
                return f"({_joined(' AND ', self.all_of(parts, run, nested + 1))})"
            case Or(parts):
                return f"({_joined(' OR ', [self.condition(part, run, nested + 1) for part in parts])})"
            case IsNull(path, False):
                return f"NOT {self.value(path, [IsNull(path, negated=True)], run)}"
            case _:
                return self.value(tree.path, [tree], run)

    def all_of(self, parts: tuple[Tree, ...], run: str, nested: int) -> list[str]:
        values = [self.value(path, leaves, run) for path, leaves in _by_path(parts).items()]
        return values + [self.condition(part, run, nested) for part in parts if not _asks(part)]

    def hoist(self, tree: Tree, run: str) -> str:
        """The runs that fit as a set, named before the statement: SQLite's parser nests less deep than filters may."""
        condition = self.condition(tree, "r.run")
        name = f"h{len(self.hoisted)}"
        self.hoisted.append(f"{name} AS (SELECT r.run FROM runs r WHERE {condition})")
        return f"{run} IN {name}"

    def value(self, path: Path, leaves: list[Leaf], run: str) -> str:
        """The condition that the run has a value at `path` which meets all of `leaves`."""
        if path == self.walk and run == self.run:
            return f"({' AND '.join(_holds(leaf, self.walked, self.bind) for leaf in leaves)})"
        at = place(path)
        holds = (_holds(leaf, f"v.{at.column}", self.bind) for leaf in leaves)
        where = " AND ".join((f"v.key = {_key(path, self.bind)}", *holds))
        if self.sets:
            index = " INDEXED BY vals_value" if at.table == "vals" else ""
            return f"{run} IN (SELECT v.run FROM {at.table} v{index} WHERE {where})"
        return f"EXISTS (SELECT 1 FROM {at.table} v WHERE v.run = {run} AND {where})"


def _key(path: Path, bind: Binder) -> str:
    return f"(SELECT key FROM keys WHERE name = {bind(place(path).key)})"


def _holds(leaf: Leaf, column: str, bind: Binder) -> str:
    """The condition on a column in which what is missing has no row, or NULL."""
    match leaf:
        case Compare(_, op, value):
            return compares(column, op, value, type_rank(value), bind)
        case IsNull(_, negated):
            return f"{column} IS {'NOT ' if negated else ''}NULL"
        case In(_, values, negated):
            # NaN is equal to nothing; as a bound value it would be.
            bound = ", ".join(bind(value) for value in map(to_sqlite, values) if value != NAN)
            return f"{column} IS NOT NULL AND {column} {'NOT ' if negated else ''}IN ({bound})"


def _by_path(parts: Iterable[Tree]) -> dict[Path, list[Leaf]]:
    """The conditions among `parts` that ask for a value, by whose: they are tested together."""
    found: dict[Path, list[Leaf]] = {}
    for part in parts:
        if _asks(part):
            found.setdefault(part.path, []).append(part)
    return found


def _asks(tree: Tree) -> TypeGuard[Leaf]:
    """Whether this is a condition on one value, which what is missing does not meet."""
    return isinstance(tree, Compare | In) or (isinstance(tree, IsNull) and tree.negated)


def _joined(joint: str, conditions: list[str]) -> str:
    """Conditions side by side, in groups: SQLite counts each one more in a row as one level deeper, and has a limit."""
    if len(conditions) <= _SIDE_BY_SIDE:
        return joint.join(conditions)
    groups = [conditions[i : i + _SIDE_BY_SIDE] for i in range(0, len(conditions), _SIDE_BY_SIDE)]
    return joint.join(f"({joint.join(group)})" for group in groups)


def _parts(tree: Tree | None, order: Order, position: Position | None) -> Iterator[Part]:
    """The parts of an answer, those left out that the filter or the position rule out."""
    if not order:
        yield "all"
        return
    first, descending = order[0]
    begin = position.values[0] if position else b""
    # Ascending, NaN is the last of the values anyhow.
    if begin is not None and (begin != NAN or not descending):
        yield "values"
    if descending and begin is not None and not _comparable(tree, first):
        yield "nan"
    if first not in _by_path(conjuncts(tree)):
        yield "missing"


def _comparable(tree: Tree | None, path: Path) -> bool:
    """Whether every run that fits has a value there that is not NaN."""
    for leaf in _by_path(conjuncts(tree)).get(path, ()):
        if isinstance(leaf, In) and not leaf.negated:
            return True
        if isinstance(leaf, Compare) and leaf.op not in ("!=", "not like"):
            return True
    return False


def _narrow(connection: sqlite3.Connection, tree: Tree | None, limit: int | None) -> Path | None:
    """The path whose index range under the filter has the fewest rows, if fewer than `limit`; it looks no further."""
    best = None
    operators = (*_RANGES, "like") if limit is None else _RANGES
    for path, leaves in _by_path(conjuncts(tree)).items():
        ranges = [leaf for leaf in leaves if _is_range(leaf, operators)]
        if not ranges or place(path).table != "vals":
            continue
        bind = Binder()
        where = [f"o.key = {_key(path, bind)}", *(_holds(leaf, "o.value", bind) for leaf in ranges)]
        rows_of = f"SELECT 1 FROM vals o INDEXED BY vals_value WHERE {' AND '.join(where)}"
        rows_of += "" if limit is None else f" LIMIT {limit}"
        (rows,) = connection.execute(f"SELECT count(*) FROM ({rows_of})", bind.values).fetchone()
        if limit is None or rows < limit:
            best, limit = path, rows
    return best


# The conditions that are a range of the index by themselves: counting `FEW` that meet them looks at no more than these.
_RANGES = ("=", "<", "<=", ">", ">=")


def _is_range(leaf: Leaf, operators: tuple[str, ...]) -> bool:
    return leaf.op in operators if isinstance(leaf, Compare) else isinstance(leaf, In) and not leaf.negated


def _cursor(row: tuple[SqlValue | None, ...]) -> str:
    values = [{"blob": value.hex()} if isinstance(value, bytes) else value for value in row[2:]]
    return json.dumps([row[1], *values], separators=(",", ":"))


def _position(after: str, order: Order) -> Position:
    try:
        run, *values = json.loads(after)
        decoded = tuple(_value(value) for value in values)
    except (ValueError, TypeError, KeyError, RecursionError):
        run, decoded = None, ()
    if not isinstance(run, str) or len(decoded) != len(order):
        raise QueryError(
            f"{after[:80]!r} is not where an answer in this ordering stopped; ask again from the beginning"
        )
    return Position(decoded, clean_text(run))


def _value(value: Any) -> SqlValue | None:
    if isinstance(value, dict):
        return bytes.fromhex(value["blob"])
    if value is None or type(value) in (int, float, str):
        return None if value is None else to_sqlite(value)
    raise TypeError(f"{type(value).__name__} is nothing to order by")
