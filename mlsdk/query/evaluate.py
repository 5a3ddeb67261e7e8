"""A filter and an ordering on the fields of a record: the meaning that the SQL of every engine has to have."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

from mlsdk.query.fields import Fields
from mlsdk.query.names import join_key
from mlsdk.query.tree import And, Compare, In, IsNull, Not, Or, Order, Scalar, Tree, is_nan

Item = TypeVar("Item")

_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def matches(tree: Tree | None, fields: Fields) -> bool:
    """Whether a run with these fields is in the answer; no filter takes every run.

    It does not hide deleted runs by itself: ask `tree.hides_deleted`.

    Example: `matches(parse("metrics.acc > 0.9"), fields(run))`.
    """
    match tree:
        case None:
            return True
        case And(parts):
            return all(matches(part, fields) for part in parts)
        case Or(parts):
            return any(matches(part, fields) for part in parts)
        case Not(part):
            return not matches(part, fields)
        case IsNull(path, negated):
            return (fields.get(join_key(path)) is None) != negated
        case In(path, values, negated):
            value = fields.get(join_key(path))
            return value is not None and any(_equal(value, other) for other in values) != negated
        case Compare(path, op, wanted):
            value = fields.get(join_key(path))
            return value is not None and _compare(value, op, wanted)


def _compare(value: Scalar, op: str, wanted: Scalar) -> bool:
    if op == "=":
        return _equal(value, wanted)
    if op == "!=":
        return not _equal(value, wanted)
    if op in _ORDERED:
        return type_rank(value) == type_rank(wanted) and _ORDERED[op](value, wanted)
    pattern = str(wanted)
    if op == "~":
        return isinstance(value, str) and compiled(pattern).search(value) is not None
    like = isinstance(value, str) and like_pattern(pattern).fullmatch(value) is not None
    return like != (op == "not like")


def _equal(value: Scalar, other: Scalar) -> bool:
    return type_rank(value) == type_rank(other) and value == other


def type_rank(value: Scalar) -> int:
    """Place of a value's type in an ordering: numbers, text, true and false, dates."""
    if isinstance(value, bool):
        return 2
    if isinstance(value, str):
        return 1
    return 3 if isinstance(value, datetime) else 0


@functools.lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """The regular expression of `~`, searched for anywhere in the text.

    Raises:
        re.error: it is not one.
    """
    return re.compile(pattern)


@functools.lru_cache(maxsize=256)
def like_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern of `like` as a regular expression for the whole text, linear in its length for any pattern."""
    pieces = [""]
    for char, wild in like_tokens(pattern):
        if wild and char == "%":
            pieces.append("")
        else:
            pieces[-1] += "." if wild else re.escape(char)
    if len(pieces) == 1:
        return re.compile(pieces[0], re.DOTALL)
    first, *middle, last = pieces
    # Each piece is taken where it first fits and never tried again: a capture in a look-ahead cannot backtrack.
    found = [f"(?=(?P<g{i}>.*?{piece}))(?P=g{i})" for i, piece in enumerate(filter(None, middle))]
    return re.compile("".join((first, *found, ".*", last)), re.DOTALL)


def like_tokens(pattern: str) -> Iterable[tuple[str, bool]]:
    r"""The characters of a `like` pattern, each with whether it is a wildcard: `%` or `_`, not after a backslash."""
    chars = iter(pattern)
    for char in chars:
        if char == "\\":
            yield next(chars, "\\"), False
        else:
            yield char, char in "%_"


def ordered(items: Iterable[Item], order: Order, fields_of: Callable[[Item], Fields]) -> list[Item]:
    """`items` in the order of a query.

    Numbers, then text, true and false, dates; reversed when descending. NaN comes after all values, what is
    missing after that, both whatever the direction. Ties by id; without any order the newest id is first.

    Args:
        items: what to order.
        order: as from `parse_order`; empty for newest first.
        fields_of: the fields of an item.
    """
    rows = [(fields_of(item), item) for item in items]
    rows.sort(key=lambda row: str(row[0]["id"]), reverse=not order)
    for path, descending in reversed(order):
        rows = _sorted_by(rows, join_key(path), descending)
    return [item for _, item in rows]


def _sorted_by(rows: list[tuple[Fields, Item]], key: str, descending: bool) -> list[tuple[Fields, Item]]:
    comparable: list[tuple[Fields, Item]] = []
    nan: list[tuple[Fields, Item]] = []
    missing: list[tuple[Fields, Item]] = []
    for row in rows:
        value = row[0].get(key)
        (missing if value is None else nan if is_nan(value) else comparable).append(row)
    # Stable in both directions: ties keep the order that they had.
    comparable.sort(key=lambda row: (type_rank(row[0][key]), row[0][key]), reverse=descending)
    return comparable + nan + missing
