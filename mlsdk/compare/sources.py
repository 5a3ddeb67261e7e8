"""The sources of one run, in pieces: what a function said, and who calls it."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from functools import cached_property

from mlsdk.capture.functions.pieces import BODY, Module, nodes, read
from mlsdk.capture.functions.reach import Reach
from mlsdk.capture.functions.syntax import is_text
from mlsdk.compare.side import Side
from mlsdk.compare.values import listed, mapping

MOST_MODULES = 200
"""Modules that are parsed: of names that stand in more of them the callers are not told."""

_WORD = re.compile(rb"[^\W\d]\w*")


class Sources:
    """What the modules of one run say; each is parsed when it is first asked for.

    Args:
        side: the run.
    """

    def __init__(self, side: Side) -> None:
        self._side = side
        self._trees: dict[str, list[ast.Module]] = {}
        self._modules: dict[str, Module | None] = {}
        self._nodes: dict[str, dict[str, list[ast.AST]]] = {}
        self._reach = Reach(self.module)
        self._called_by: dict[str, list[str]] = {}
        self.table = {str(place) for place in mapping(side.code.get("functions"))}
        self.roots = {str(root) for root in listed(side.code.get("roots"))}

    def module(self, name: str) -> Module | None:
        """A module in pieces; None if it is none of the project's, or cannot be parsed."""
        if name not in self._modules:
            trees = self._parsed(name)
            made = read(trees, self._package(name), main=name == "__main__") if trees else None
            self._modules[name] = made
        return self._modules[name]

    def lines(self, place: str) -> list[str] | None:
        """What a piece says, written anew from its syntax tree: no comments, no docstrings, one format.

        None where there is no such piece, or no source.
        """
        module, _, name = place.partition(":")
        if module not in self._nodes:
            trees = self._parsed(module)
            self._nodes[module] = nodes(trees, self._package(module), main=module == "__main__") if trees else {}
        parts = self._nodes[module].get(name)
        if parts is None:
            return None
        lines: list[str] = []
        for part in parts:
            text = ast.unparse(ast.fix_missing_locations(_without_texts(part))).strip("\n")
            lines += [line for line in text.split("\n") if line.strip()]
        return lines

    def origins(self, place: str) -> list[str]:
        """What the imported names mean that a piece uses: they count for it."""
        name, _, piece = place.partition(":")
        module = self.module(name)
        if module is None or piece not in module.pieces:
            return []
        heads = {chain.partition(".")[0] for source, chain in module.pieces[piece].uses if not source}
        found = []
        for head in sorted(heads & module.imports.keys()):
            source, inner = module.imports[head]
            last = (inner or source).rpartition(".")[2]
            alias = "" if head in (last, source.partition(".")[0]) else f" as {head}"
            found.append(f"from {source} import {inner}{alias}" if inner else f"import {source}{alias}")
        return found

    def digest(self, place: str) -> str | None:
        """The hash of a piece, reached or not; None where there is none."""
        module, _, name = place.partition(":")
        return self.digests(module).get(name)

    def digests(self, name: str) -> dict[str, str]:
        """The hashes of all pieces of a module, reached or not; empty where it cannot be read."""
        module = self.module(name)
        return {} if module is None else {piece: part.digest for piece, part in module.pieces.items()}

    def _parsed(self, name: str) -> list[ast.Module]:
        if name not in self._trees:
            trees = []
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the user's code, which says them itself
                for data in self._side.sources.get(name, ()):
                    try:
                        trees.append(ast.parse(data))
                    except (SyntaxError, ValueError, RecursionError, MemoryError):
                        continue  # a newer Python's, or a cell that did not run; its hash says that it differs
            self._trees[name] = trees
        return self._trees[name]

    def _package(self, name: str) -> str:
        if name == "__main__":
            return str(mapping(self._side.code.get("main")).get("name", "")).rpartition(".")[0]
        path = str(mapping(self._side.code.get("modules")).get(name) or self._side.module_places.get(name, ""))
        return name if path.endswith("__init__.py") else name.rpartition(".")[0]

    # Callers

    def way_to(self, place: str) -> list[str]:
        """The shortest way from what was started to a piece, by its callers; empty where none was found.

        Example of what is returned: `["__main__:train", "__main__:fit", "helpers:scale"]`.
        """
        ways: dict[str, str | None] = {place: None}
        waiting = [] if place.endswith(f":{BODY}") else [place]
        for target in waiting:  # grows meanwhile
            if target in self.roots and target != place:
                return self._way(target, ways)
            for caller in self._callers(target):
                if caller not in ways:
                    ways[caller] = target
                    waiting.append(caller)
        return []

    @staticmethod
    def _way(start: str, ways: dict[str, str | None]) -> list[str]:
        found: list[str] = []
        at: str | None = start
        while at is not None:
            found.append(at)
            at = ways[at]
        return found

    def _callers(self, target: str) -> list[str]:
        if target not in self._called_by:
            self._called_by[target] = list(self._look_for_callers(target))
        return self._called_by[target]

    def _look_for_callers(self, target: str) -> Iterator[str]:
        module, _, name = target.partition(":")
        owner, _, short = name.rpartition(".")
        if short.startswith("__") and short.endswith("__") and owner:  # called by whoever uses the class
            yield f"{module}:{owner}"
            return
        for other in self._naming.get(short.encode(), ()):
            if other not in self._modules and len(self._modules) >= MOST_MODULES:
                return
            found = self.module(other)
            for piece, parts in found.pieces.items() if found is not None else ():
                caller = f"{other}:{piece}"
                if caller == target or (caller not in self.table and caller not in self.roots):
                    continue
                if (owner and short in parts.attributes) or self._uses(other, parts.uses, (module, name), short):
                    yield caller

    @cached_property
    def _naming(self) -> dict[bytes, list[str]]:
        """By word, the modules in which it stands."""
        found: dict[bytes, list[str]] = {}
        for module, texts in self._side.sources.items():
            for word in {word for text in texts for word in _WORD.findall(text)}:
                found.setdefault(word, []).append(module)
        return found

    def _uses(self, module: str, uses: list[tuple[str, str]], target: tuple[str, str], short: str) -> bool:
        imports = found.imports if (found := self.module(module)) is not None else {}
        for source, chain in uses:
            parts = chain.split(".") if chain else []
            named = {*parts, imports.get(parts[0], ("", ""))[1] if parts and not source else ""}
            if short in named and self._reach.meaning(source.lstrip("?") or module, parts) == target:
                return True
        return False


def _without_texts(node: ast.AST) -> ast.AST:
    """A piece without docstrings and other texts that stand alone."""
    for part in ast.walk(node):
        body = getattr(part, "body", None)
        if isinstance(body, list):
            kept = [statement for statement in body if not (isinstance(statement, ast.stmt) and is_text(statement))]
            if len(kept) < len(body):
                part.body = kept or [ast.Pass()]  # type: ignore[attr-defined]  # it has one
    return node
