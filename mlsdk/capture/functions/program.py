"""The sources of a program: where its modules lie, what each says, and what was found in all of them before."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from mlsdk.capture import cache
from mlsdk.capture.code.source import is_installed
from mlsdk.capture.functions.parsed import FORM, Source, is_settled, of_file, parsed, stamp_of
from mlsdk.capture.functions.pieces import Module

LIMIT_S = 60.0
"""For one look. Some 50 microseconds a line are a slow machine's; what was read by then need not be read again."""
_MOST_KEPT = 200
"""Results kept in a store's cache; the oldest go."""

_results: dict[str, dict[str, Any]] = {}


class Program:
    """The modules of one run.

    Args:
        facts: what `mlsdk.capture.code.source` found in the caller.
        folder: the run's working directory.
        root: the store, for the cache.
    """

    def __init__(self, facts: Mapping[str, Any], folder: str, root: str | None) -> None:
        self.facts = facts
        self.files: dict[str, str] = {str(name): str(path) for name, path in dict(facts.get("modules", {})).items()}
        self.missing: dict[str, str] = {}
        self._root = root
        self._main: Mapping[str, Any] = facts.get("main") or {}
        self.compiler, _, level = str(facts.get("compiled_by")).rpartition(".opt-")
        self._level = int(level) if level in {"0", "1", "2"} else 0
        self._deadline = time.monotonic() + LIMIT_S
        self._found: dict[str, Source | None] = {}
        self._folders: dict[str, frozenset[str]] = {}
        self._roots = self._import_roots(folder)
        known = {"modules", "main", "cells", "roots", "loaded", "bound", "compiled_by"} & facts.keys()
        asked = [
            FORM,
            sys.version,
            folder,
            {name: facts[name] for name in sorted(known)},
            sorted(facts.get("constants", ())),
        ]
        self._key = hashlib.sha256(json.dumps(asked, sort_keys=True, default=repr).encode()).hexdigest()[:32]
        self._name = f"functions/{self._key}.result"

    # What the sources say

    def load(self, name: str) -> Module | None:
        """A module in pieces; None if it is none of the project's, or cannot be read."""
        source = self._source(name)
        return None if source is None else source.module

    def digests(self) -> dict[str, str]:
        """SHA-256 of the source by module; of those that nothing was reached in the files are read, and not parsed."""
        if "__main__" in self.files:  # its cells, where it is a notebook
            self._source("__main__")
        found = {name: source.sha256 for name, source in self._found.items() if source is not None}
        for name in self.files.keys() - self._found.keys():
            if self._is_source(name, self.files[name]):
                try:
                    with open(self.files[name], "rb") as file:
                        found[name] = hashlib.sha256(file.read()).hexdigest()
                except OSError as error:
                    self._unread(name, error)
        return found

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

    def _source(self, name: str) -> Source | None:
        if name not in self._found:
            self._found[name] = self._read(name)
        return self._found[name]

    def _read(self, name: str) -> Source | None:
        if name == "__main__" and self.facts.get("cells"):
            return self._noted(name, self._of_cells(self.facts["cells"]))
        if name == "__main__" and isinstance(self._main.get("source"), str):
            data = self._main["source"].encode("utf-8", "surrogateescape")
            return self._noted(name, parsed([data], "__main__", True, level=self._level))
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
        if not self._is_source(name, path):
            return None
        package = name if os.path.basename(path) == "__init__.py" else name.rpartition(".")[0]
        if name == "__main__":
            package = str(self._main.get("name", "")).rpartition(".")[0]
        try:
            return self._noted(name, of_file(path, package, name == "__main__", self._level, self._root))
        except OSError as error:
            self._unread(name, error)
            return None

    def _is_source(self, name: str, path: str) -> bool:
        if path.endswith((".py", ".pyw")) or name == "__main__":
            return True
        self.missing[name] = f"{path} is no source"
        return False

    def _unread(self, name: str, error: OSError) -> None:
        self.missing[name] = f"{self.files[name]} could not be read: {error.strerror}"

    def _of_cells(self, cells: Iterable[str]) -> Source:
        """Cells, or what was typed behind a script that `python -i` ran."""
        sources = [str(cell).encode("utf-8", "surrogateescape") for cell in cells]
        with contextlib.suppress(OSError, KeyError), open(self.files["__main__"], "rb") as file:
            sources.insert(0, file.read())
        return parsed(sources, "__main__", True, level=self._level)

    def _noted(self, name: str, source: Source) -> Source:
        if source.problem is not None:
            self.missing[name] = source.problem
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
        """The file of a module that is not loaded: beside the loaded ones. mlsdk's own are nobody's project."""
        parent, _, last = name.rpartition(".")
        if name.partition(".")[0] == "mlsdk":
            return None
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
        if found is None:
            with contextlib.suppress(ValueError):
                found = json.loads(cache.read(self._root, self._name) or b"null")
        if not isinstance(found, dict) or found.get("form") != FORM:
            return None
        try:
            same = all(stamp_of(path) == stamp for path, stamp in found["stamps"].items()) and all(
                _importable(folder) == frozenset(names) for folder, names in found["folders"].items()
            )
        except OSError:
            return None
        _results[self._key] = found
        return found["result"] if same else None

    def remember(self, result: dict[str, Any]) -> None:
        """Keep a result until one of the files changes."""
        try:
            stamps = {path: stamp_of(path) for path in self.files.values()}
        except OSError:
            return
        if not all(map(is_settled, stamps.values())):
            return
        _results.clear()
        _results[self._key] = found = {
            "form": FORM,
            "stamps": stamps,
            "folders": {folder: sorted(names) for folder, names in self._folders.items()},
            "result": result,
        }
        cache.write(self._root, self._name, json.dumps(found, separators=(",", ":")).encode("ascii"))
        if self._root is not None:
            _drop_oldest(os.path.dirname(cache.path_of(self._root, self._name)))


def _importable(folder: str) -> frozenset[str]:
    """What could be imported from a folder: a module that comes there may be another one's from now on."""
    try:
        names = os.listdir(folder)
    except OSError:
        return frozenset()
    return frozenset(name for name in names if name.endswith(".py") or (name.isidentifier() and name != "__pycache__"))


def _drop_oldest(folder: str) -> None:
    try:
        results = [entry for entry in os.scandir(folder) if entry.name.endswith(".result")]
        results.sort(key=lambda entry: entry.stat().st_mtime)
        for entry in results[:-_MOST_KEPT]:
            os.unlink(entry.path)
    except OSError:
        return
