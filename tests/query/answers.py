"""What every engine has to answer: what `evaluate` says of each record, in the order that `ordered` gives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from mlsdk.query.evaluate import matches, ordered
from mlsdk.query.fields import Fields, scalar
from mlsdk.query.find import Found
from mlsdk.query.names import Path, join_key
from mlsdk.query.tree import Compare, In, IsNull, Not, Order, Tree, hides_deleted
from tests.strategies import EXPRESSIONS, MOMENTS, NUMBERS, PATTERNS, TEXTS


def expected(records: list[Fields], tree: Tree | None, order: Order) -> list[int]:
    """The numbers of the records that fit, from 1."""
    rows = [(row, record) for row, record in enumerate(records, 1) if matches(tree, record)]
    rows = [(row, record) for row, record in rows if not (hides_deleted(tree) and record["deleted"])]
    return [row for row, _ in ordered(rows, order, lambda item: item[1])]


def all_pages(find: Callable[[str | None], Found]) -> list[int]:
    """What `find` gives, page by page."""
    found: list[int] = []
    after = None
    while True:
        page = find(after)
        found += page.runs
        after = page.after
        if after is None:
            return found


def one_of_each(path: Path) -> list[Fields]:
    """A record for each kind of value at a path, and one without."""
    records: list[Fields] = [
        {"id": f"{i:03}", "deleted": False, join_key(path): value} for i, value in enumerate(_values())
    ]
    return [*records, {"id": "999", "deleted": False}]


def every_condition(path: Path) -> list[Tree]:
    """Each operator with each literal on a path, and its opposite."""
    literals = [value for value in _values() if not isinstance(value, datetime)]
    leaves: list[Tree] = [Compare(path, op, value) for op in ("=", "!=", "<", "<=", ">", ">=") for value in literals]
    leaves += [In(path, (value, 2), negated) for value in literals for negated in (False, True)]
    leaves += [Compare(path, op, pattern) for op in ("like", "not like") for pattern in PATTERNS]
    leaves += [Compare(path, "~", expression) for expression in EXPRESSIONS]
    leaves += [IsNull(path), IsNull(path, negated=True)]
    return [tree for leaf in leaves for tree in (leaf, Not(leaf))]


def _values() -> list:
    return [scalar(value) for value in (*NUMBERS, *TEXTS, *MOMENTS, True, False)]
