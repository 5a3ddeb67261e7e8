"""The sources of one run, in pieces: what a function said, and who calls it."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from mlsdk.capture.functions.pieces import BODY, Module, Piece, Reader
from mlsdk.capture.functions.reach import Reach
from mlsdk.capture.functions.syntax import is_text
from mlsdk.capture.functions.uses import Use, Uses
from mlsdk.compare.side import Side
from mlsdk.compare.values import listed, mapping

MOST_MODULES = 200
"""Modules that are parsed: of names that stand in more of them the callers are not told."""

_WORD = re.compile(rb"[^\W\d]\w*")


class _Pieces(Mapping[str, Piece]):
    """The pieces of a module by name, each hashed when it is asked for: next to none is."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __getitem__(self, name: str) -> Piece:
        return self._reader.piece(name)

    def __contains__(self, name: object) -> bool:
        return name in self._reader.parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._reader.parts)

    def __len__(self) -> int:
        return len(self._reader.parts)


class Sources:
    """What the modules of one run say; each is parsed when it is first asked for.

    Args:
        side: the run.
    """

    def __init__(self, side: Side) -> None:
        self._side = side
        self._readers: dict[str, Reader | None] = {}
        self._reach = Reach(self._module)
        self._called_by: dict[str, list[str]] = {}
        self.table = {str(place) for place in mapping(side.code.get("functions"))}
        self.roots = {str(root) for root in listed(side.code.get("roots"))}

    def lines(self, place: str) -> list[str] | None:
        """What a piece says, written anew from its syntax tree: no comments, no docstrings, one format.

        None where there is no such piece, no source, or one that is nested too deeply.
        """
        reader, name = self._lies_in(place)
        if reader is None:
            return None
        _uses(reader, name)  # is remembered: below, its tree loses its texts
        try:
            parts = [ast.unparse(ast.fix_missing_locations(_without_texts(part))) for part in reader.parts[name].nodes]
        except RecursionError:
            return None
        return [line for text in parts for line in text.split("\n") if line.strip()]

    def origins(self, place: str) -> list[str]:
        """What the imported names mean that a piece uses: they count for it."""
        reader, name = self._lies_in(place)
        found = []
        known = {} if reader is None or not _uses(reader, name).names else reader.origins(name)
        for head, (source, inner) in known.items():
            last = (inner or source).rpartition(".")[2]
            alias = "" if head in (last, source.partition(".")[0]) else f" as {head}"
            found.append(f"from {source} import {inner}{alias}" if inner else f"import {source}{alias}")
        return found

    def digest(self, place: str) -> str | None:
        """The hash of a piece, reached or not; None where there is none, or it is nested too deeply."""
        reader, name = self._lies_in(place)
        try:
            return None if reader is None else reader.piece(name).digest
        except RecursionError:
            return None

    def pieces(self, module: str) -> list[str]:
        """The places of all pieces of a module, reached or not; empty where it cannot be read."""
        reader = self._reader(module)
        return [] if reader is None else [f"{module}:{name}" for name in reader.parts]

    def _lies_in(self, place: str) -> tuple[Reader | None, str]:
        """The module that a piece lies in, if it has it, and the piece's name there."""
        module, _, name = place.partition(":")
        reader = self._reader(module)
        return (reader, name) if reader is not None and name in reader.parts else (None, name)

    def _module(self, name: str) -> Module | None:
        reader = self._reader(name)
        return None if reader is None else Module(_Pieces(reader), reader.imports, reader.stars, reader.runs)

    def _reader(self, name: str) -> Reader | None:
        """A module that is taken apart; None if it is none of the project's, or cannot be parsed."""
        if name not in self._readers:
            trees = self._parsed(name)
            self._readers[name] = Reader(trees, self._package(name), main=name == "__main__") if trees else None
        return self._readers[name]

    def _parsed(self, name: str) -> list[ast.Module]:
        trees = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's code, which says them itself
            for data in self._side.sources.get(name, ()):
                try:
                    trees.append(ast.parse(data))
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    continue  # a newer Python's, or a cell that did not run; its hash says that it differs
        return trees

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
            if other not in self._readers and len(self._readers) >= MOST_MODULES:
                return
            reader = self._reader(other)
            for piece in reader.parts if reader is not None else ():
                caller = f"{other}:{piece}"
                if reader is None or caller == target or not (caller in self.table or caller in self.roots):
                    continue
                uses = _uses(reader, piece)
                is_method = bool(owner) and short in uses.attributes
                if is_method or self._uses(other, reader.imports, uses.names, (module, name)):
                    yield caller

    @cached_property
    def _naming(self) -> dict[bytes, list[str]]:
        """By word, the modules in which it stands."""
        found: dict[bytes, list[str]] = {}
        for module, texts in self._side.sources.items():
            for word in {word for text in texts for word in _WORD.findall(text)}:
                found.setdefault(word, []).append(module)
        return found

    def _uses(self, module: str, imports: Mapping[str, Use], uses: Iterable[Use], target: tuple[str, str]) -> bool:
        """Whether a name that is used in a module means a piece; those that do not end in its name are not followed."""
        short = target[1].rpartition(".")[2]
        for source, chain in uses:
            parts = chain.split(".") if chain else []
            named = {*parts, imports.get(parts[0], ("", ""))[1] if parts and not source else ""}
            if short in named and self._reach.meaning(source.lstrip("?") or module, parts) == target:
                return True
        return False


def _uses(reader: Reader, piece: str) -> Uses:
    """What a piece uses; nothing of one that is nested too deeply."""
    try:
        return reader.uses(piece)
    except RecursionError:
        return Uses(reader.package)


def _without_texts(node: ast.AST) -> ast.AST:
    """A piece without docstrings and other texts that stand alone."""
    for part in ast.walk(node):
        body = getattr(part, "body", None)
        if isinstance(body, list):
            kept = [statement for statement in body if not (isinstance(statement, ast.stmt) and is_text(statement))]
            if len(kept) < len(body):
                part.body = kept or [ast.Pass()]  # type: ignore[attr-defined]  # it has one
    return node
