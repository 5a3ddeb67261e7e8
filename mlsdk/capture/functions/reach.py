"""Which pieces of a program can be reached from some of them.

Names are followed through imports, aliases, re-exports and `from x import *`. Of a class that is reached, those methods
are reached whose name any reached piece takes as an attribute of anything, the special ones, and all of them where a
base is a library's, which may call them. A module that is imported runs: its `<module>` is reached.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping

from mlsdk.capture.functions.pieces import BODY, Module, Piece
from mlsdk.capture.functions.uses import MAYBE

_BASES_THAT_CALL_NOTHING = frozenset(("abc", "collections", "dataclasses", "enum", "typing", "typing_extensions"))


class Reach:
    """A walk over pieces; `table` is what it has reached, `aliases` the pieces that imported names stand for.

    Args:
        load: the module of a name, or None if it is no module of the project.
        bound: by place ("module:name"), what was found there in memory beyond what the source says.
        silent: modules whose own body is not followed: `__main__`, where one function of it is asked about.
    """

    def __init__(
        self,
        load: Callable[[str], Module | None],
        bound: Mapping[str, Iterable[str]] | None = None,
        silent: Iterable[str] = (),
    ) -> None:
        self._load = load
        self._bound = bound or {}
        self._silent = frozenset(silent)
        self._waiting: list[tuple[str, str, Piece]] = []
        self._attributes: set[str] = set()
        self._methods: dict[str, list[tuple[str, str]]] = {}
        self._imported: set[str] = set()
        self.table: dict[str, str] = {}
        self.aliases: dict[str, str] = {}

    def add(self, places: Iterable[str]) -> None:
        """Reach from "module:qualified.name"; what lies within a function means that function."""
        for place in places:
            self._add(place)
        while self._waiting:
            module, name, piece = self._waiting.pop()
            for attribute in piece.attributes:
                self._attribute(attribute)
            for source, chain in piece.uses:
                self._use(source or module, chain.split(".") if chain else [])
            if piece.bases is not None:
                self._class(module, name)
            place = f"{module}:{name}"
            for other in (*self._bound.get(place, ()), *self._bound.get(f"{place}()", ())):
                self._add(other)

    def meaning(self, module: str, chain: list[str]) -> tuple[str, str] | None:
        """The module and the piece that a dotted name means in a module; ("library", "") for what is outside."""
        return self._find(module, chain)

    def _add(self, place: str) -> None:
        module, _, name = place.partition(":")
        table = self._load(module)
        if table is None:
            return
        self._import(module)
        owner, parts = name.partition(".<locals>")[0], name.split(".")
        if name == BODY:  # all of a body runs, also the statements that bind a name
            for piece in [piece for piece, found in table.pieces.items() if found.runs]:
                self._reach(module, piece)
        elif owner in table.pieces:
            self._reach(module, owner)
        elif parts[0] in table.pieces:
            self._reach(module, parts[0])
        else:
            self._follow(module, parts)

    def _reach(self, module: str, name: str) -> None:
        place = f"{module}:{name}"
        table = self._load(module)
        if place in self.table or table is None or name not in table.pieces:
            return
        piece = table.pieces[name]
        self.table[place] = piece.digest
        self._waiting.append((module, name, piece))
        outer = name.rpartition(".")[0]
        if outer:  # a method lives in its class
            self._reach(module, outer)

    def _attribute(self, name: str) -> None:
        if name not in self._attributes:
            self._attributes.add(name)
            for module, method in self._methods.pop(name, ()):
                self._reach(module, method)

    def _class(self, module: str, name: str) -> None:
        table = self._load(module)
        everything = self._may_be_called(module, name, [])
        prefix = f"{name}."
        for method in table.pieces if table else ():
            short = method[len(prefix) :]
            if not method.startswith(prefix) or "." in short:
                continue
            if everything or short in self._attributes or (short.startswith("__") and short.endswith("__")):
                self._reach(module, method)
            else:
                self._methods.setdefault(short, []).append((module, method))

    def _may_be_called(self, module: str, name: str, seen: list[str]) -> bool:
        """Whether a class has a base outside the project, which may call any of its methods."""
        place = f"{module}:{name}"
        table = self._load(module)
        piece = table.pieces.get(name) if table is not None else None
        if piece is None or piece.bases is None or place in seen:
            return False
        seen.append(place)
        for base in piece.bases:
            chain = base.split(".")
            found = self._find(module, chain)
            if found is not None and found[1]:
                if self._may_be_called(found[0], found[1], seen):
                    return True
            elif found is not None or not hasattr(builtins, base):
                origin = found[0] if found is not None else "?"
                if origin.partition(".")[0] not in _BASES_THAT_CALL_NOTHING:
                    return True
        return False

    def _use(self, module: str, chain: list[str]) -> None:
        if module.startswith(MAYBE):  # a text that names nothing of the project imports nothing either
            module = module.removeprefix(MAYBE)
            found = self._find(module, chain)
            if found is None or not found[1]:
                return
        self._follow(module, chain)

    def _follow(self, module: str, chain: list[str]) -> None:
        """Reach what a dotted name means in a module."""
        found = self._find(module, chain, self._import)
        if found is not None and found[1]:
            self._reach(*found)

    def _find(
        self, module: str, chain: list[str], passing: Callable[[str], None] = lambda _: None, seen: tuple[str, ...] = ()
    ) -> tuple[str, str] | None:
        """The module and the piece that a dotted name means: ("library", "") outside the project, None if nothing.

        `passing` is told of each module on the way.
        """
        table = self._load(module)
        if table is None:
            for end in range(1, len(chain) + 1):  # a package without a file of its own
                inner = ".".join([module, *chain[:end]])
                if self._load(inner) is not None:
                    return self._find(inner, chain[end:], passing, seen)
            return (module, "")
        passing(module)
        if not chain:
            return (module, "")
        head, rest = chain[0], chain[1:]
        key = f"{module}:{head}"
        if key in seen:
            return None
        seen = (*seen, key)
        found = None
        if head in table.imports:
            source, name = table.imports[head]
            if (source, name) != (module, head):
                found = self._find(source, [name, *rest] if name else rest, passing, seen)
        if found is not None:
            self._alias(key, *table.imports[head])
        if head in table.pieces:
            if found is not None and found[1]:
                self._reach(*found)  # bound twice: imported, and defined where the import fails
            nested = head
            for name in rest:
                if f"{nested}.{name}" not in table.pieces:
                    break
                nested = f"{nested}.{name}"
            return (module, nested)
        if found is None and self._load(f"{module}.{head}") is not None:
            found = self._find(f"{module}.{head}", rest, passing, seen)
        for star in table.stars if found is None else ():
            if self._load(star) is not None:
                found = found or self._find(star, chain, passing, seen)
        if found is None and "__getattr__" in table.pieces:
            return (module, "__getattr__")
        return found

    def _alias(self, place: str, source: str, name: str) -> None:
        """An imported name: what it means in memory may be another thing than what the import says."""
        if place not in self.aliases:
            self.aliases[place] = ""
            found = self._find(source, [name]) if name else None
            if found is not None and found[1]:
                self.aliases[place] = ":".join(found)
            for other in self._bound.get(place, ()):
                self._add(other)

    def _import(self, module: str) -> None:
        """A module is imported, hence runs: so do the packages that it lies in, and the modules that it imports."""
        waiting = [module]
        while waiting:
            name = waiting.pop()
            if name in self._imported:
                continue
            self._imported.add(name)
            table = self._load(name)
            if table is None:
                continue
            waiting += [*table.runs, *filter(None, (name.rpartition(".")[0],))]
            if name not in self._silent:
                self._reach(name, BODY)
