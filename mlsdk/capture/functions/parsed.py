"""One source, parsed and compiled: its pieces, and the digests of its code objects. Nothing in it is executed.

What was found is kept in the process and below the store's `cache/functions/`, by path, times and size; a file that was
changed less than two seconds before it was read is not trusted by these: git has the same rule.
"""

from __future__ import annotations

import ast
import errno
import gc
import hashlib
import json
import os
import stat
import sys
import time
import warnings
from collections.abc import Iterable
from types import CodeType
from typing import NamedTuple

from mlsdk.capture import cache
from mlsdk.capture.code.loaded import code_digest
from mlsdk.capture.functions.pieces import Module, Piece, read
from mlsdk.capture.secrets.files import redact_source
from mlsdk.capture.secrets.redaction import REDACTED

FORM = "mlsdk functions 6"
"""Changes with what is kept, or with how it is found."""

_RACY_NS = 2_000_000_000

Stamp = list[int]


class Source(NamedTuple):
    """What one file, or the cells of a notebook, say."""

    sha256: str
    module: Module | None
    codes: dict[str, list[str]]
    """Digests of the code objects by qualified name."""
    problem: str | None


_sources: dict[str, tuple[Stamp, Source]] = {}


def of_file(path: str, package: str, main: bool, level: int, root: str | None) -> Source:
    """What a file says.

    Args:
        path: of the file.
        package: what relative imports start from.
        main: it is what was started.
        level: optimisation of the compiler.
        root: the store, for the cache.

    Raises:
        OSError: it cannot be read.
    """
    stamp = stamp_of(path)
    key = f"{path}\n{package}\n{main}\n{level}\n{sys.version}\n{FORM}"
    known = _sources.get(key)
    if known is not None and known[0] == stamp:
        return known[1]
    name = f"functions/{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.module"
    found = _revived(cache.read(root, name))
    if found is not None and found[0] == stamp:
        _sources[key] = found
        return found[1]
    with open(path, "rb") as file:
        data = file.read()
    source = parsed([data], path, main, package, level)
    if is_settled(stamp):
        _sources[key] = stamp, source
        cache.write(root, name, json.dumps([stamp, source], separators=(",", ":")).encode("ascii"))
    return source


def stamp_of(path: str) -> Stamp:
    """What changes when a file is written: times, size, inode.

    Raises:
        OSError: there is none, or it is a device or a pipe, which may have no end.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    return [found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino]


def is_settled(stamp: Stamp) -> bool:
    """Whether a file was last changed so long ago that another change shows in its times."""
    return time.time_ns() - max(stamp[:2]) > _RACY_NS


def _revived(cached: bytes | None) -> tuple[Stamp, Source] | None:
    try:
        stamp, (sha256, module, codes, problem) = json.loads(cached or b"null")
        if module is not None:
            pieces, imports, stars, runs = module
            pieces = {
                name: Piece(piece[0], [(u[0], u[1]) for u in piece[1]], *piece[2:]) for name, piece in pieces.items()
            }
            module = Module(pieces, {name: (use[0], use[1]) for name, use in imports.items()}, stars, runs)
        return stamp, Source(sha256, module, codes, problem)
    except (TypeError, ValueError, IndexError, AttributeError):
        return None


def parsed(sources: Iterable[bytes], path: str, main: bool, package: str = "", level: int = 0) -> Source:
    """What a file, or the cells of a notebook, say; the arguments are those of `of_file`."""
    collects = gc.isenabled()
    gc.disable()  # a tree is many objects, none of them garbage: looking through them would take half of the time
    try:
        return _parse(sources, path, main, package, level)
    finally:
        if collects:
            gc.enable()


def _parse(sources: Iterable[bytes], path: str, main: bool, package: str, level: int) -> Source:
    trees, codes, whole, problem = [], dict[str, list[str]](), hashlib.sha256(), None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the user's code, which says them itself
        for data in sources:
            whole.update(data)
            try:
                tree = ast.parse(data)
                trees.append(_without_secrets(data, tree, path))
                flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # notebooks have it
                _collect(compile(tree, path, "exec", flags, dont_inherit=True, optimize=level), "", codes)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                problem = f"{path} cannot be parsed: {type(error).__name__}: {error}"
            if REDACTED.encode() in data and main and path == "__main__":
                problem = "a secret was taken out of it, so that it cannot be compared"
        try:
            module = read(trees, package, main=main) if trees else None
        except RecursionError:
            return Source(whole.hexdigest(), None, codes, f"{path} is nested too deeply")
    return Source(whole.hexdigest(), module, codes, problem)


def _without_secrets(data: bytes, tree: ast.Module, path: str) -> ast.Module:
    """The tree that is hashed: a hash of little more than a password would tell it to who tries many."""
    redacted, count = redact_source(data, path)
    if count:
        try:
            return ast.parse(redacted)
        except (SyntaxError, ValueError):
            return tree
    return tree


def _collect(code: CodeType, prefix: str, codes: dict[str, list[str]]) -> None:
    """Digests of all code objects in a module's, by qualified name."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            name = str(getattr(inner, "co_qualname", prefix + inner.co_name))  # since Python 3.11
            codes.setdefault(name, []).append(code_digest(inner))
            is_function = inner.co_flags & 0x1
            _collect(inner, f"{name}.<locals>." if is_function else f"{name}.", codes)
