"""One function of a file as it was in the run, in the file as it lies here: what stands beside it stays.

It is done by lines, and only where that is clean: the file then says of this piece what it said in the run, and of all
others what it says here.
"""

from __future__ import annotations

import ast
import warnings
from typing import NamedTuple

from mlsdk.capture.functions.pieces import Reader

_STATEMENTS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Assign, ast.AnnAssign)
"""What can be taken out of a file by its lines; of a class its methods, one by one."""


class _Text(NamedTuple):
    lines: list[bytes]
    module: Reader
    digests: dict[str, str]
    """By piece."""


def with_piece(now: bytes, then: bytes, name: str) -> bytes | None:
    r"""A source with one piece as an earlier source has it; None where that is not to be had alone.

    Args:
        now: the source as it lies here.
        then: the source as it was.
        name: of the piece, within its module.

    >>> with_piece(b"A = 2\n\ndef f():\n    return 2\n", b"A = 1\n\ndef f():\n    return 1\n", "f")
    b'A = 2\n\ndef f():\n    return 1\n'
    """
    ours, theirs = _read(now), _read(then)
    if ours is None or theirs is None:
        return None
    here, there = _place(ours, name), _place(theirs, name)
    if here is None or there is None or ours.digests[name] == theirs.digests[name]:
        return None
    needed = {chain.partition(".")[0] for module, chain in theirs.module.uses(name).names if not module}
    if not needed & theirs.digests.keys() <= ours.digests.keys():
        return None
    found = b"\n".join([*ours.lines[: here.start], *theirs.lines[there.start : there.stop], *ours.lines[here.stop :]])
    made = _read(found)
    expected = {**ours.digests, name: theirs.digests[name]}  # with what its names are imported from
    return found if made is not None and made.digests == expected else None


def _read(source: bytes) -> _Text | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the user's code, which says them itself
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # another Python's, or none
            return None
    module = Reader([tree], "", main=True)
    return _Text(source.split(b"\n"), module, {name: module.piece(name).digest for name in module.parts})


def _place(text: _Text, name: str) -> slice | None:
    """The lines of a piece that is one statement."""
    found = text.module.parts[name].nodes if name in text.module.parts else []
    node = found[0] if len(found) == 1 else None
    if not isinstance(node, _STATEMENTS) or getattr(node, "lineno", None) is None:
        return None
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
    return slice(first - 1, node.end_lineno)
