"""Filters of strangers: read as anybody's, and refused where one of them could keep the whole server busy.

Python searches a regular expression without letting anything else run. So where `~` is searched by Python, on folders
and buckets, one that can take for ever would stop the server for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from mlsdk.errors import QueryError
from mlsdk.query.parse import parse
from mlsdk.query.tree import And, Compare, Not, Or, Tree

_CHARACTERS = 1 << 20
"""Of a filter: programs ask for many ids at once. Bodies in JSON have a limit of their own."""

_COMPARISONS = 100
_PATTERN_CHARACTERS = 200
_REPEATS = 2
"""In one pattern: the time of a search grows with the length of the text to the power of one more than this."""

_SHORT = 10
"""A repeat of at most so many counts for none."""

_REPEATED = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})
_REFUSED = frozenset({"GROUPREF", "GROUPREF_EXISTS", "ASSERT", "ASSERT_NOT"})


def filter_of(text: str | None) -> Tree | None:
    """The tree of a filter, or None for an empty one.

    Raises:
        QueryError: it cannot be understood, or is too much for a server that others use too.
    """
    if not text or not text.strip():
        return None
    tree = parse(text, _CHARACTERS)
    leaves = list(_leaves(tree))
    if len(leaves) > _COMPARISONS:
        raise QueryError(f"more than {_COMPARISONS} comparisons; use `in (...)` for many values, or ask in parts")
    for leaf in leaves:
        if isinstance(leaf, Compare) and leaf.op == "~":
            _check_pattern(str(leaf.value))
    return tree


def _leaves(tree: Tree) -> Iterator[Tree]:
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, (And, Or)):
            waiting += part.parts
        elif isinstance(part, Not):
            waiting.append(part.part)
        else:
            yield part


def _check_pattern(pattern: str) -> None:
    """See that the time for a search cannot explode.

    Raises:
        QueryError: it might.
    """
    if len(pattern) > _PATTERN_CHARACTERS:
        raise QueryError(f"a pattern of `~` has at most {_PATTERN_CHARACTERS} characters on a server")
    try:
        parser = import_module("re._parser")
    except ImportError:  # Python 3.10
        parser = import_module("sre_parse")
    try:
        parsed = parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise QueryError(f"{pattern!r} is no regular expression: {error}") from None
    if _repeats(parsed, inside=False) > _REPEATS:
        raise QueryError(
            f"{pattern!r} may take too long on a server: at most {_REPEATS} of `*`, `+` and large `{{m,n}}`, with no"
            " choice inside them, no references to groups and no looking around; `like` is always quick"
        )


def _repeats(parsed: Any, *, inside: bool) -> int:
    """How many repeats without a small bound a parsed pattern has; more than allowed if one holds a choice."""
    count = 0
    for kind, about in parsed:
        name = str(kind)
        if name in _REFUSED or (inside and name == "BRANCH"):
            return _REPEATS + 1
        if name in _REPEATED:
            least, most, part = about
            if inside and least != most:
                return _REPEATS + 1
            count += (int(most) > _SHORT) + _repeats(part, inside=inside or int(most) > 1)
        elif name in ("SUBPATTERN", "ATOMIC_GROUP"):
            count += _repeats(about[-1] if name == "SUBPATTERN" else about, inside=inside)
        elif name == "BRANCH":
            count += sum(_repeats(branch, inside=inside) for branch in about[1])
    return count
