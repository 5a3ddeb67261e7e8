"""A filter and an ordering as SQL over the catalog's tables: the same answer as `evaluate`, no record being read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeGuard

from mlsdk.query.dialect import Binder, Dialect, Params, SqlValue
from mlsdk.query.evaluate import type_rank
from mlsdk.query.names import Path
from mlsdk.query.tree import And, Compare, In, IsNull, Leaf, Not, Or, Order, Tree, conjuncts, hides_deleted, is_nan

_SIDE_BY_SIDE = 100

Row = tuple[Any, ...]
Part = Literal["all", "values", "nan", "missing"]
"""Which runs a statement is about: all, or those whose first key of the ordering is a value, NaN, or missing."""
Sets = Literal["none", "outer", "all"]
"""Which conditions are made a set of runs first, while the others are tested run by run: none, those on a value that
each run has to meet, or those inside of `or` and `not` too."""


class Position(NamedTuple):
    """A run's place in an ordering: the value of each key, and its id."""

    values: tuple[SqlValue | None, ...]
    id: str


def select(
    dialect: Dialect,
    tree: Tree | None = None,
    order: Order = (),
    limit: int | None = None,
    position: Position | None = None,
    *,
    walk: Path | None = None,
    part: Part = "all",
    sets: Sets = "none",
) -> tuple[str, Params]:
    """The statement for the runs that fit, each as row number, id and the value of each key of the ordering.

    Args:
        dialect: of the database.
        tree: as for `find`.
        order: as for `find`.
        limit: as for `find`.
        position: return what comes after it.
        walk: go through the index of this path. For the part "all" it has to be a path that every fitting run has; for
            "values" and "nan" it is the first of the ordering.
        sets: see `Sets`.
        part: which runs; the parts "values", "nan" and "missing", one after another, are all of them in order.
    """
    statement = _Statement(dialect, tree, walk, part, sets=sets)
    columns = [statement.ordered_by(path, first=not i) for i, (path, _) in enumerate(order)]
    bind = statement.bind
    by = [_terms(dialect, column, descending) for column, (_, descending) in zip(columns, order, strict=True)]
    if part in ("values", "nan"):
        # Nothing before the walked column, or the index could not give the order.
        by[0] = dialect.walked(columns[0], descending=order[0][1])
        if part == "values" and order[0][1]:
            statement.where.append(f"{columns[0]} < {dialect.nan_text}")
    elif part == "missing":
        by = by[1:]  # the same of all
    by.append("r.id ASC" if order else "r.id DESC")
    if position:
        after = f"r.id {'>' if order else '<'} {bind(position.id)}"
        for column, (_, descending), value in reversed(list(zip(columns, order, position.values, strict=True))):
            later, same = _following(dialect, column, descending, value, bind)
            after = f"({later} OR ({same} AND {after}))"
        statement.where.append(after)
        if part == "values" and position.values[0] is not None:
            statement.where.append(f"{columns[0]} {'<=' if order[0][1] else '>='} {bind(position.values[0])}")
    text = f"{statement.text(', '.join(('r.run', 'r.id', *columns)))} ORDER BY {', '.join(by)}"
    return (text if limit is None else f"{text} LIMIT {int(limit)}"), bind.values


def counting(dialect: Dialect, tree: Tree | None, narrow: Path | None, sets: Sets) -> tuple[str, Params]:
    """The statement for how many runs fit; `narrow` is the path whose index range is gone through, if one is."""
    statement = _Statement(dialect, tree, narrow, "all", sets=sets)
    return statement.text("count(*)"), statement.bind.values


def _terms(dialect: Dialect, column: str, descending: bool) -> str:
    """The terms of an ordering by a column that may be NULL: values, NaN, missing, in both directions."""
    nan = f"{column} = {dialect.nan_text}, " if descending else ""
    return f"{column} IS NULL, {nan}{column} {'DESC' if descending else 'ASC'}"


def _following(
    dialect: Dialect, column: str, descending: bool, value: SqlValue | None, bind: Binder
) -> tuple[str, str]:
    """Two conditions on such a column, to go on after a row with `value`: that it is later, and that it is the same."""
    if value is None:
        return dialect.false, f"{column} IS NULL"
    nan = dialect.nan_text
    if value == dialect.nan:
        return f"{column} IS NULL", f"{column} = {nan}"
    bound = bind(value)
    later = f"{column} < {bound} OR {column} = {nan}" if descending else f"{column} > {bound}"
    return f"{later} OR {column} IS NULL", f"{column} = {bound}"


class _Statement:
    """One SELECT while it is put together: from where, under which conditions."""

    def __init__(
        self, dialect: Dialect, tree: Tree | None, walk: Path | None, part: Part, *, sets: Sets = "none"
    ) -> None:
        self.dialect = dialect
        self.bind = dialect.binder()
        self.where: list[str] = []
        self.joins: list[str] = []
        self.hoisted: list[str] = []
        self.sets = sets
        self.part = part
        self.walk = None if part == "missing" else walk
        self.walked = ""
        self.run = "r.run"
        if self.walk:
            at = dialect.place(self.walk)
            # The planner knows no sizes. It is told the index, and to keep the walk outside.
            index = dialect.by_index if at.table != "metrics" else ""
            self.joins.append(f"{at.table} o{index} {dialect.crossed} runs r ON r.run = o.run")
            self.walked, self.run = f"o.{at.column}", "o.run"
            self.where.append(f"o.key = {dialect.key(self.walk, self.bind)}")
            if part == "nan":
                self.where.append(f"{self.walked} = {dialect.nan_text}")
            elif at.table == "metrics":
                self.where.append(f"{self.walked} IS NOT NULL")
        else:
            self.joins.append("runs r")
            if part == "missing" and walk:
                self.where.append(self.condition(IsNull(walk), "r.run"))
        if hides_deleted(tree):
            self.where.append(dialect.visible)
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
        at, alias = self.dialect.place(path), f"k{len(self.joins)}"
        same = f"{alias}.run = {self.run} AND {alias}.key = {self.dialect.key(path, self.bind)}"
        self.joins.append(f"LEFT JOIN {at.table} {alias} ON {same}")
        return f"{alias}.{at.column}"

    def as_set(self, nested: int) -> bool:
        """Whether conditions so deep are made sets of runs."""
        return self.sets == "all" or (self.sets == "outer" and not nested)

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
            case And() | Or() if nested >= self.dialect.deepest:
                return self.hoist(tree, run)
            case And(parts):
                return f"({_joined(' AND ', self.all_of(parts, run, nested + 1))})"
            case Or(parts) if self.as_set(nested) and len(parts) <= _SIDE_BY_SIDE and all(map(_asks, parts)):
                # As one set it can be gone through; as several, each run has to be tested.
                found = (self.found(part.path, [part], as_set=True) for part in parts if _asks(part))
                return f"{run} IN ({' UNION ALL '.join(found)})"
            case Or(parts):
                return f"({_joined(' OR ', [self.condition(part, run, nested + 1) for part in parts])})"
            case IsNull(path, False):
                return f"NOT {self.value(path, [IsNull(path, negated=True)], run, as_set=self.sets == 'all')}"
            case _:
                return self.value(tree.path, [tree], run, as_set=self.sets == "all")

    def all_of(self, parts: tuple[Tree, ...], run: str, nested: int) -> list[str]:
        as_set = self.as_set(nested)
        values = [self.value(path, leaves, run, as_set=as_set) for path, leaves in by_path(parts).items()]
        return values + [self.condition(part, run, nested) for part in parts if not _asks(part)]

    def hoist(self, tree: Tree, run: str) -> str:
        """The runs that fit as a set, named before the statement: SQLite's parser nests less deep than filters may."""
        condition = self.condition(tree, "r.run")
        name = f"h{len(self.hoisted)}"
        self.hoisted.append(f"{name} AS (SELECT r.run FROM runs r WHERE {condition})")
        return f"{run} IN {name}"

    def value(self, path: Path, leaves: list[Leaf], run: str, *, as_set: bool) -> str:
        """The condition that the run has a value at `path` which meets all of `leaves`."""
        if path == self.walk and run == self.run:
            return f"({' AND '.join(holds(self.dialect, leaf, self.walked, self.bind) for leaf in leaves)})"
        found = self.found(path, leaves, as_set=as_set)
        if as_set:
            return f"{run} IN ({found})"
        return f"EXISTS ({found} AND v.run = {run}{self.dialect.probe_end})"

    def found(self, path: Path, leaves: list[Leaf], *, as_set: bool) -> str:
        """The runs that have a value at `path` which meets all of `leaves`."""
        at = self.dialect.place(path)
        held = (holds(self.dialect, leaf, f"v.{at.column}", self.bind) for leaf in leaves)
        where = " AND ".join((f"v.key = {self.dialect.key(path, self.bind)}", *held))
        index = self.dialect.by_index if as_set and at.table != "metrics" else ""
        return f"SELECT v.run FROM {at.table} v{index} WHERE {where}"


def holds(dialect: Dialect, leaf: Leaf, column: str, bind: Binder) -> str:
    """The condition on a column in which what is missing has no row, or NULL."""
    match leaf:
        case Compare(_, op, value):
            return dialect.compares(column, op, value, type_rank(value), bind)
        case IsNull(_, negated):
            return f"{column} IS {'NOT ' if negated else ''}NULL"
        case In(_, values, negated):
            # NaN is equal to nothing; as a bound value it would be.
            among = dialect.among(column, [value for value in values if not is_nan(value)], bind)
            return f"{column} IS NOT NULL AND {'NOT ' if negated else ''}{among}"


def by_path(parts: Iterable[Tree]) -> dict[Path, list[Leaf]]:
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
