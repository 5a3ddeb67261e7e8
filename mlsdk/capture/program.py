"""The sources of a program: its modules parsed, compiled and hashed, each once as long as its file stays as it is.

What was found is kept in the process and below the store's `cache/functions/`, by path, times and size; a file that was
changed less than two seconds before it was read is not trusted by these: git has the same rule.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import hashlib
import json
import os
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from types import CodeType
from typing import Any, NamedTuple

from mlsdk.capture.loaded import code_digest
from mlsdk.capture.pieces import Module, Piece, read
from mlsdk.capture.redaction import REDACTED
from mlsdk.capture.secret_files import redact_source
from mlsdk.capture.source import is_installed

LIMIT_S = 60.0
"""For one look. Some 50 microseconds a line are a slow machine's; what was read by then need not be read again."""
_FORM = "mlsdk functions 1"
"""Changes with what is kept, or with how it is found."""
_RACY_NS = 2_000_000_000
_MOST_KEPT = 200
"""Results kept in a store's cache; the oldest go."""

Stamp = list[int]


class _Source(NamedTuple):
    """What one file, or the cells of a notebook, say."""

    sha256: str
    module: Module | None
    codes: dict[str, list[str]]
    """Digests of the code objects by qualified name."""
    problem: str | None


_sources: dict[str, tuple[Stamp, _Source]] = {}
_results: dict[str, dict[str, Any]] = {}


class Program:
    """The modules of one run.

    Args:
        facts: what `mlsdk.capture.source` found in the caller.
        folder: the run's working directory.
        root: the store, for the cache.
    """

    def __init__(self, facts: Mapping[str, Any], folder: str, root: str | None) -> None:
        self.facts = facts
        self.files: dict[str, str] = {str(name): str(path) for name, path in dict(facts.get("modules", {})).items()}
        self.missing: dict[str, str] = {}
        self._cache = None if root is None else os.path.join(root, "cache", "functions")
        self._main: Mapping[str, Any] = facts.get("main") or {}
        self.compiler, _, level = str(facts.get("compiled_by")).rpartition(".opt-")
        self._level = int(level) if level in {"0", "1", "2"} else 0
        self._deadline = time.monotonic() + LIMIT_S
        self._found: dict[str, _Source | None] = {}
        self._folders: dict[str, frozenset[str]] = {}
        self._roots = self._import_roots(folder)
        known = {"modules", "main", "cells", "roots", "loaded", "bound", "compiled_by"} & facts.keys()
        asked = [
            _FORM,
            sys.version,
            folder,
            {name: facts[name] for name in sorted(known)},
            sorted(facts.get("constants", ())),
        ]
        self._key = hashlib.sha256(json.dumps(asked, sort_keys=True, default=repr).encode()).hexdigest()[:32]

    # What the sources say

    def load(self, name: str) -> Module | None:
        """A module in pieces; None if it is none of the project's, or cannot be read."""
        source = self._source(name)
        return None if source is None else source.module

    def load_all(self) -> None:
        """Read the modules too that nothing was reached in."""
        for name in tuple(self.files):
            self._source(name)

    def digests(self) -> dict[str, str]:
        """SHA-256 by module, of each that was read."""
        return {name: source.sha256 for name, source in self._found.items() if source is not None}

    def codes(self, module: str, name: str) -> frozenset[str]:
        """Digests of what a module's source compiles to under a qualified name."""
        source = self._source(module)
        if source is None:
            return frozenset()
        if name.startswith("?."):  # only the last part of the name is known
            last = name[2:]
            return frozenset(
                digest for key, codes in source.codes.items() if key.rpartition(".")[2] == last for digest in codes
            )
        return frozenset(source.codes.get(name, ()))

    def _source(self, name: str) -> _Source | None:
        if name not in self._found:
            self._found[name] = self._read(name)
        return self._found[name]

    def _read(self, name: str) -> _Source | None:
        if name == "__main__" and self.facts.get("cells"):
            return self._noted(name, self._of_cells(self.facts["cells"]))
        if name == "__main__" and isinstance(self._main.get("source"), str):
            data = self._main["source"].encode("utf-8", "surrogateescape")
            return self._noted(name, _parsed([data], "__main__", True, level=self._level))
        path = self.files.get(name) or self._locate(name)
        if path is not None and time.monotonic() > self._deadline:
            self.missing["functions"] = (
                f"not looked at to the end: it took more than {LIMIT_S:g} s; the next run goes on"
            )
            return None
        if path is None:
            if name == "__main__":
                self.missing[name] = str(self._main.get("missing", "it has no source"))
            return None
        self.files[name] = path
        if not path.endswith((".py", ".pyw")) and name != "__main__":
            self.missing[name] = f"{path} is no source"
            return None
        package = name if os.path.basename(path) == "__init__.py" else name.rpartition(".")[0]
        if name == "__main__":
            package = str(self._main.get("name", "")).rpartition(".")[0]
        try:
            return self._noted(name, self._of_file(path, package, name == "__main__"))
        except OSError as error:
            self.missing[name] = f"{path} could not be read: {error.strerror}"
            return None

    def _of_cells(self, cells: Iterable[str]) -> _Source:
        """Cells, or what was typed behind a script that `python -i` ran."""
        sources = [str(cell).encode("utf-8", "surrogateescape") for cell in cells]
        with contextlib.suppress(OSError, KeyError), open(self.files["__main__"], "rb") as file:
            sources.insert(0, file.read())
        return _parsed(sources, "__main__", True, level=self._level)

    def _noted(self, name: str, source: _Source) -> _Source:
        if source.problem is not None:
            self.missing[name] = source.problem
        return source

    def _of_file(self, path: str, package: str, main: bool) -> _Source:
        stamp = _stamp(path)
        key = f"{path}\n{package}\n{main}\n{self._level}\n{sys.version}\n{_FORM}"
        known = _sources.get(key)
        if known is not None and known[0] == stamp:
            return known[1]
        cached = self._cached(f"{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.module")
        found = _revived(cached.read()) if cached is not None else None
        if found is not None and found[0] == stamp:
            _sources[key] = found
            return found[1]
        with open(path, "rb") as file:
            data = file.read()
        source = _parsed([data], path, main, package, self._level)
        if _is_settled(stamp):
            _sources[key] = stamp, source
            if cached is not None:
                cached.write([stamp, source])
        return source

    # Where modules lie

    def _import_roots(self, folder: str) -> list[str]:
        """The folders from which the project's modules are imported."""
        roots = dict[str, None]()
        for name, path in self.files.items():
            base = os.path.dirname(path)
            if name != "__main__":
                parts = name.count(".") + (os.path.basename(path) == "__init__.py")
                for _ in range(parts):
                    base = os.path.dirname(base)
            elif self._main.get("how") == "module":
                continue
            roots[base] = None
        return list(roots or {folder: None})

    def _locate(self, name: str) -> str | None:
        """The file of a module that is not loaded: beside the loaded ones."""
        parent, _, last = name.rpartition(".")
        if not last.isidentifier() or (not parent and last in sys.stdlib_module_names):
            return None
        init = self.files.get(parent, "")
        if os.path.basename(init) == "__init__.py":
            folders = [os.path.dirname(init)]
        elif init:
            return None
        else:  # at the top, or in a package without a file of its own
            top = parent.partition(".")[0]
            folders = [
                os.path.join(root, *parent.split(".")) for root in self._roots if not top or top in self._listed(root)
            ]
        for folder in folders:
            found = os.path.join(folder, last, "__init__.py")
            if last not in self._listed(folder) or not os.path.isfile(found):
                found = os.path.join(folder, f"{last}.py")
                if f"{last}.py" not in self._listed(folder):
                    continue
            return None if is_installed(found) else found
        return None

    def _listed(self, folder: str) -> frozenset[str]:
        if folder not in self._folders:
            self._folders[folder] = _importable(folder)
        return self._folders[folder]

    # What was found before

    def remembered(self) -> dict[str, Any] | None:
        """The result for the same program and the same files; None if there is none."""
        found = _results.get(self._key)
        cached = self._cached(f"{self._key}.result")
        if found is None and cached is not None:
            found = cached.read()
        if not isinstance(found, dict) or found.get("form") != _FORM:
            return None
        try:
            same = all(_stamp(path) == stamp for path, stamp in found["stamps"].items()) and all(
                _importable(folder) == frozenset(names) for folder, names in found["folders"].items()
            )
        except OSError:
            return None
        _results[self._key] = found
        return found["result"] if same else None

    def remember(self, result: dict[str, Any]) -> None:
        """Keep a result until one of the files changes."""
        try:
            stamps = {path: _stamp(path) for path in self.files.values()}
        except OSError:
            return
        if not all(map(_is_settled, stamps.values())):
            return
        _results.clear()
        _results[self._key] = found = {
            "form": _FORM,
            "stamps": stamps,
            "folders": {folder: sorted(names) for folder, names in self._folders.items()},
            "result": result,
        }
        cached = self._cached(f"{self._key}.result")
        if cached is not None:
            cached.write(found)
            _drop_oldest(os.path.dirname(cached.path))

    def _cached(self, name: str) -> _Cached | None:
        return None if self._cache is None else _Cached(os.path.join(self._cache, name))


class _Cached(NamedTuple):
    """A file of the cache, which may be gone or torn."""

    path: str

    def read(self) -> Any:
        """What it holds, or None."""
        try:
            with open(self.path, "rb") as file:
                return json.loads(file.read())
        except (OSError, ValueError):
            return None

    def write(self, value: object) -> None:
        """Put it there whole, or not at all."""
        temporary = f"{self.path}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump(value, file, separators=(",", ":"))
            os.replace(temporary, self.path)
        except OSError:  # a full disk costs time, nothing else
            return


def _drop_oldest(folder: str) -> None:
    try:
        results = [entry for entry in os.scandir(folder) if entry.name.endswith(".result")]
        results.sort(key=lambda entry: entry.stat().st_mtime)
        for entry in results[:-_MOST_KEPT]:
            os.unlink(entry.path)
    except OSError:
        return


def _importable(folder: str) -> frozenset[str]:
    """What could be imported from a folder: a module that comes there may be another one's from now on."""
    try:
        names = os.listdir(folder)
    except OSError:
        return frozenset()
    return frozenset(name for name in names if name.endswith(".py") or (name.isidentifier() and name != "__pycache__"))


def _stamp(path: str) -> Stamp:
    found = os.stat(path)
    return [found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino]


def _is_settled(stamp: Stamp) -> bool:
    return time.time_ns() - max(stamp[:2]) > _RACY_NS


def _revived(cached: Any) -> tuple[Stamp, _Source] | None:
    try:
        stamp, (sha256, module, codes, problem) = cached
        if module is not None:
            pieces, imports, stars, runs = module
            pieces = {
                name: Piece(piece[0], [(u[0], u[1]) for u in piece[1]], *piece[2:]) for name, piece in pieces.items()
            }
            module = Module(pieces, {name: (use[0], use[1]) for name, use in imports.items()}, stars, runs)
        return stamp, _Source(sha256, module, codes, problem)
    except (TypeError, ValueError, IndexError, AttributeError):
        return None


def _parsed(sources: Iterable[bytes], path: str, main: bool, package: str = "", level: int = 0) -> _Source:
    """Parse and compile a file, or cells, without running anything."""
    collects = gc.isenabled()
    gc.disable()  # a tree is many objects, none of them garbage: looking through them would take half of the time
    try:
        return _parse(sources, path, main, package, level)
    finally:
        if collects:
            gc.enable()


def _parse(sources: Iterable[bytes], path: str, main: bool, package: str, level: int) -> _Source:
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
            return _Source(whole.hexdigest(), None, codes, f"{path} is nested too deeply")
    return _Source(whole.hexdigest(), module, codes, problem)


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
            name = inner.co_qualname if sys.version_info >= (3, 11) else prefix + inner.co_name
            codes.setdefault(name, []).append(code_digest(inner))
            is_function = inner.co_flags & 0x1
            _collect(inner, f"{name}.<locals>." if is_function else f"{name}.", codes)
