"""A filter of which a database decides what it can, and `evaluate` the rest."""

from __future__ import annotations

from mlsdk.query.names import DELETED
from mlsdk.query.tree import And, Compare, IsNull, Not, Or, Tree, all_of, any_of, hides_deleted


def is_for_python(tree: Tree | None) -> bool:
    """Whether a part of the filter is Python's: a regular expression."""
    match tree:
        case None:
            return False
        case And(parts) | Or(parts):
            return any(map(is_for_python, parts))
        case Not(part):
            return is_for_python(part)
        case _:
            return isinstance(tree, Compare) and tree.op == "~"


def loosened(tree: Tree) -> Tree | None:
    """A filter without regular expressions that holds wherever `tree` does, and elsewhere perhaps; None: everywhere.

    It speaks of `deleted` where `tree` does.
    """
    found = _loosened(tree, wanted=True)
    if hides_deleted(tree) or (found is not None and not hides_deleted(found)):
        return found
    either = any_of(IsNull(DELETED), IsNull(DELETED, negated=True))
    return either if found is None else all_of(either, found)


def _loosened(tree: Tree, *, wanted: bool) -> Tree | None:
    """What must hold for `tree` to be `wanted`: negation is taken down to the leaves, where it can be dropped."""
    match tree:
        case Not(part):
            return _loosened(part, wanted=not wanted)
        case And(parts) | Or(parts):
            found = [_loosened(part, wanted=wanted) for part in parts]
            if isinstance(tree, And) == wanted:
                kept = [part for part in found if part is not None]
                return all_of(*kept) if kept else None
            alternatives = [part for part in found if part is not None]
            return any_of(*alternatives) if len(alternatives) == len(found) else None
        case Compare(path, "~", _):
            return IsNull(path, negated=True) if wanted else None
        case _:
            return tree if wanted else Not(tree)
