"""What a filter means: a small frozen tree, and the text of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime

import attrs

from mlsdk.query.names import DELETED, Path

Scalar = bool | int | float | str | datetime
"""What a filter compares. Dates are aware UTC; integers fit into 64 bits (larger ones count as their float)."""

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "like", "not like", "~")


@attrs.frozen
class Compare:
    """`path op value`: false where the path is missing, whatever the operator; types are unequal and unordered."""

    path: Path
    op: str
    value: Scalar


@attrs.frozen
class In:
    """`path in (values)`, or `path not in (values)` when negated: both false where the path is missing."""

    path: Path
    values: tuple[Scalar, ...]
    negated: bool = False


@attrs.frozen
class IsNull:
    """`path is null`, or `path is not null` when negated."""

    path: Path
    negated: bool = False


@attrs.frozen
class Not:
    """True exactly where `part` is false: nothing is unknown."""

    part: Tree


@attrs.frozen
class And:
    """Two parts or more; build it with `all_of`, which keeps it flat."""

    parts: tuple[Tree, ...]


@attrs.frozen
class Or:
    """Two parts or more; build it with `any_of`, which keeps it flat."""

    parts: tuple[Tree, ...]


Leaf = Compare | In | IsNull
Tree = Compare | In | IsNull | Not | And | Or

Order = tuple[tuple[Path, bool], ...]
"""What to order by, first things first: (path, descending)."""


def all_of(*trees: Tree) -> Tree:
    """The filter that holds where every one of `trees` holds."""
    parts = tuple(part for tree in trees for part in (tree.parts if isinstance(tree, And) else (tree,)))
    return parts[0] if len(parts) == 1 else And(parts)


def any_of(*trees: Tree) -> Tree:
    """The filter that holds where one of `trees` holds."""
    parts = tuple(part for tree in trees for part in (tree.parts if isinstance(tree, Or) else (tree,)))
    return parts[0] if len(parts) == 1 else Or(parts)


def conjuncts(tree: Tree | None) -> tuple[Tree, ...]:
    """The parts that must all hold."""
    if tree is None:
        return ()
    return tree.parts if isinstance(tree, And) else (tree,)


def paths(tree: Tree | None) -> Iterator[Path]:
    """Every path that the filter looks at, as often as it does."""
    match tree:
        case None:
            return
        case Not(part):
            yield from paths(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from paths(part)
        case _:
            yield tree.path


def hides_deleted(tree: Tree | None) -> bool:
    """Whether deleted runs stay out of the answer: they do unless the filter speaks of `deleted`."""
    return DELETED not in paths(tree)


def text(tree: Tree) -> str:
    """The filter as it would be written; `parse(text(tree)) == tree`."""
    match tree:
        case Compare(path, op, value):
            return f"{path_text(path)} {op} {value_text(value)}"
        case In(path, values, negated):
            return f"{path_text(path)} {'not in' if negated else 'in'} ({', '.join(map(value_text, values))})"
        case IsNull(path, negated):
            return f"{path_text(path)} is {'not null' if negated else 'null'}"
        case Not(part):
            return f"not {_inside(part)}"
        case And(parts):
            return " and ".join(map(_inside, parts))
        case Or(parts):
            return " or ".join(text(part) if isinstance(part, And) else _inside(part) for part in parts)


def order_text(order: Order) -> str:
    """The ordering as it would be written; `parse_order(order_text(order)) == order`."""
    return ", ".join(f"{'-' if descending else ''}{path_text(path)}" for path, descending in order)


def _inside(tree: Tree) -> str:
    return f"({text(tree)})" if isinstance(tree, And | Or) else text(tree)


def path_text(path: Path) -> str:
    """A path as it is written in a filter, with backticks around the segments that need them."""
    return ".".join(segment if is_plain(segment) else "`" + segment.replace("`", "``") + "`" for segment in path)


def is_plain(segment: str) -> bool:
    """Whether a segment needs no backticks."""
    return bool(segment) and is_name_start(segment[0]) and all(map(is_name_part, segment))


def is_name_start(char: str) -> bool:
    """Whether a segment without backticks may begin so."""
    return ("_" + char).isidentifier()


def is_name_part(char: str) -> bool:
    """Whether a segment without backticks may go on so: letters and digits of any script, and `_ / - :`."""
    return char in "/-:" or ("_" + char).isidentifier()


_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def value_text(value: Scalar) -> str:
    """A value as it is written in a filter."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return f"'{value.isoformat()}'"
    if isinstance(value, str):
        return f"'{value.translate(_ESCAPES)}'"
    return repr(value)


def is_nan(value: object) -> bool:
    """Whether a value is the float that is not a number."""
    return isinstance(value, float) and math.isnan(value)
