"""What differs between the databases that hold runs: how a value is kept in a column, and how a condition is written.

There is one table of values and one of metrics' statistics in each, so that the statements of `sql` are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from mlsdk.query.names import Path, join_key
from mlsdk.query.tree import Scalar

T = TypeVar("T")

SqlValue = int | float | str | bytes
Params = dict[str, SqlValue | None]
Connection = Any
"""A connection of the database's own library, with `execute`."""


class Place(NamedTuple):
    """Where the values of a path are."""

    table: str
    column: str
    key: str


def place(path: Path) -> Place:
    """The table, column and key name of a path."""
    if path[0] == "metrics" and len(path) == 3:
        return Place("metrics", path[2], join_key(path[:2]))
    return Place("vals", "value", join_key(path))


class Binder:
    """The parameters of one statement, by name: so the text can be put together in any order.

    Args:
        written: how a parameter of a name is written, as a format.
    """

    def __init__(self, written: str = ":{}") -> None:
        self.values: Params = {}
        self._written = written
        self._names: dict[tuple[type, SqlValue | None], str] = {}

    def __call__(self, value: SqlValue | None) -> str:
        """What to write where `value` is meant."""
        name = self._names.setdefault((type(value), value), f"p{len(self._names)}")
        self.values[name] = value
        return self._written.format(name)


class Dialect(Protocol):
    """One database. Columns are named `alias.column`."""

    few: int
    """A range of fewer rows is gone through whole."""
    joins_sets: bool
    """Whether its planner knows how large sets of runs are, and joins them: then no range is counted."""
    deepest: int
    """Conditions nested deeper are written apart."""
    by_index: str
    """What tells the planner to use the index of values."""
    crossed: str
    """A join whose left side is the outer loop."""
    probe_end: str
    """The end of a subquery that is to be asked run by run."""
    visible: str
    """That the run `r` is not deleted."""
    false: str
    nan: SqlValue
    nan_text: str

    def binder(self) -> Binder:
        """For a new statement."""

    def place(self, path: Path) -> Place:
        """Where the values of a path are."""

    def key(self, path: Path, bind: Binder) -> str:
        """The number of a path's key, or what stands for none."""

    def read_back(self, value: SqlValue) -> SqlValue:
        """A column's value from a page's end, which a stranger may have written.

        Raises:
            TypeError: no column holds it.
        """

    def compares(self, column: str, op: str, value: Scalar, rank: int, bind: Binder) -> str:
        """The condition that a column stands in `op` to `value`, whose type is `rank` (see `evaluate.type_rank`)."""

    def among(self, column: str, values: Sequence[Scalar], bind: Binder) -> str:
        """The condition that a column is one of `values`; never NULL where the column is not."""

    def walked(self, column: str, *, descending: bool) -> str:
        """The terms of an ordering by a column, so that its index gives the order."""

    def begin(self, connection: Connection, way: str) -> None:
        """Get ready for statements that go a way: `walk`, `narrow`, `sets`."""

    def patiently(self, connection: Connection, ask: Callable[[], T], wanted: int) -> T | None:
        """What `ask` answers, or None where it takes too long for so many wanted rows."""
