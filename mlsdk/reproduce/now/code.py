"""The functions that a run could reach, as the sources on the disk say them now: parsed, never executed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from mlsdk.capture.functions.program import Program
from mlsdk.capture.functions.reachable import changed, walked
from mlsdk.compare.difference import Difference
from mlsdk.compare.functions import function_differences
from mlsdk.compare.side import Entries, Side
from mlsdk.log.values import decode
from mlsdk.records import Run
from mlsdk.reproduce.now.told import some
from mlsdk.reproduce.world.held import Coded, Held, coded, told_apart
from mlsdk.reproduce.world.place import Place

_ASKED = ("modules", "main", "cells", "roots", "bound", "compiled_by")
_LOADED = (*_ASKED, "loaded")
_MOST_NAMED = 3
_MOST_EXPLAINED = 50
"""Pairs of tables of functions of which it is said who calls what has changed: it takes some 20 ms each."""


class Found(NamedTuple):
    """What a look at one side of a run has found."""

    differences: tuple[Difference, ...] = ()
    unknown: tuple[str, ...] = ()
    """What cannot be known, and why, in readable lines."""


class _Table(NamedTuple):
    functions: Mapping[str, str]
    """Hash by name; empty where the code is not here."""
    unknown: tuple[str, ...]
    files: Mapping[str, str]
    """Path of its source by module."""
    facts: Mapping[str, Any]
    """What the walk began with."""
    unread: Mapping[str, str]
    """Why modules that are there cannot be read or parsed: what lies behind them may be reached, or not."""
    by_memory: bool = False
    """Whether what was loaded had to do for sources that are not there: then the walk serves no other run."""


class _Now(Side):
    """The code of a run as it lies on the disk, as the side of a comparison."""

    def __init__(self, run: Run, table: _Table) -> None:
        super().__init__(run)
        kept = {name: table.facts[name] for name in ("roots", "modules", "main", "cells") if name in table.facts}
        self.code = {**kept, "functions": table.functions}
        self._files = table.files

    @cached_property
    def _tree(self) -> tuple[Entries, list[str]]:
        return {}, []

    @cached_property
    def sources(self) -> dict[str, list[bytes]]:
        """The sources of the modules by name, read now."""
        found = super().sources  # what no file has
        for name, path in self._files.items():
            if not os.path.isfile(path):  # a pipe may have no end
                continue
            with contextlib.suppress(OSError), open(path, "rb") as file:
                found.setdefault(name, [file.read()])
        return found


class CodeNow:
    """Looks at the code of runs; what runs have in common is walked once.

    Args:
        held: reads facts.
        root: folder of the store, in which what sources say is kept; None for nowhere.
    """

    def __init__(self, held: Held, root: str | None) -> None:
        self._held = held
        self._root = root
        self._tables: dict[tuple[object, ...], _Table] = {}
        self._compared: dict[tuple[str, int], Found] = {}
        self._explained = 0

    def look(self, run: Run, place: Place) -> Found:
        """Which functions are not what they were when the run was made."""
        code = coded(run.code)
        if "functions" not in code:
            return Found((), (_why_missing(decode(code.get("functions_missing")), run),))
        if place.now is None:
            return Found((), (f"its code is not here: {place.then or 'where it lay was not recorded'} is no folder",))
        table = self._known_table(code, place)
        pair = told_apart(code, ("functions", "functions_missing", "differs")), id(table)
        if pair not in self._compared:
            self._compared[pair] = self._compare(run, code, table)
        return self._compared[pair]

    def _known_table(self, code: Coded, place: Place) -> _Table:
        asked = told_apart(code, _ASKED), place.key
        if asked not in self._tables:
            self._tables[asked] = self._table(code, place)
        if not self._tables[asked].by_memory:
            return self._tables[asked]
        own = told_apart(code, _LOADED), place.key
        if own not in self._tables:
            self._tables[own] = self._table(code, place)
        return self._tables[own]

    def _compare(self, run: Run, code: Coded, table: _Table) -> Found:
        then = self._held.value(code, "functions")
        if then is None:
            return Found((), ("its functions: the list of them is not in the store",))
        modules = {name.partition(":")[0] for name in then} | {*(self._held.value(code, "functions_missing") or ())}
        unread = [f"its functions: {why}" for name, why in table.unread.items() if name in modules]
        unknown = [*table.unknown, *unread]
        if not table.functions:
            return Found((), tuple(unknown))
        if others := self._held.value(code, "differs"):
            unknown.append(f"what ran was not what lay on the disk then: {some([*map(str, others)], _MOST_NAMED)}")
        if then == table.functions:
            return Found((), tuple(unknown))
        self._explained += 1
        explained = function_differences(Side(run), _Now(run, table)) if self._explained <= _MOST_EXPLAINED else []
        found = explained or _by_name(then, table.functions)
        if unread:
            found = [one for one in found if one.facts.get("how") not in ("added", "removed")]
        return Found(tuple(found), tuple(unknown))

    def _table(self, code: Coded, place: Place) -> _Table:
        facts: dict[str, Any] = {name: self._held.value(code, name) for name in _LOADED if name in code}
        if not isinstance(facts.get("modules"), Mapping):
            return _not_here("its functions: the list of its modules is not in the store")
        if (facts.get("main") or {}).get("how") in ("notebook", "interactive"):
            return _not_here("it ran in a notebook, or at a prompt: which of its cells ran then cannot be seen now")
        facts["modules"] = {name: _lies(place.of(str(path))) for name, path in facts["modules"].items()}
        program = Program(facts, place.of(str(decode(code.get("folder")) or "")), self._root)
        reach = walked(program)
        if not reach.table:
            shown = [*map(str, program.missing.values() or facts.get("roots") or ())]
            return _not_here(f"its code is not here: {some(shown, _MOST_NAMED)}")
        odd = {name: why for name, why in program.missing.items() if _hides(name, why)}
        told = tuple(f"its functions: {name}: {why}" for name, why in odd.items())
        roots = [str(root) for root in facts.get("roots") or ()]
        by_memory = any(root.endswith(":<lambda>") or program.load(root.partition(":")[0]) is None for root in roots)
        there = {name for name, path in program.files.items() if os.path.exists(path)}
        unread = {name: why for name, why in program.missing.items() if name in there - odd.keys()}
        return _Table(reach.table, told, program.files, facts, unread, by_memory)


def _by_name(then: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    """The functions of which the hashes differ, without who calls them."""
    found = changed(then, now)
    told = {"changed": found.changed, "added": found.added, "removed": found.removed}
    return [
        Difference("function", name, then.get(name), now.get(name), facts={"how": how})
        for how, names in told.items()
        for name in names
    ]


def _not_here(why: str) -> _Table:
    return _Table({}, (why,), {}, {}, {})


def _hides(name: str, why: str) -> bool:
    """Whether something may have changed there unseen: what is gone shows in the functions that are gone with it."""
    return name == "functions" or why.endswith("is no source")


def _lies(path: str) -> str:
    """Where a module lies that has become a package since, or the other way round."""
    if os.path.exists(path):
        return path
    folder, name = os.path.split(path)
    other = f"{folder}.py" if name == "__init__.py" else os.path.join(os.path.splitext(path)[0], "__init__.py")
    return other if os.path.isfile(other) else path


def _why_missing(missing: object, run: Run) -> str:
    told = missing.get("functions") if isinstance(missing, Mapping) else None
    if told is None and run.ended_at is None:
        told = "the run is not over"
    return f"its functions were not recorded{f': {told}' if told else ' (a capture was switched off, or is not done)'}"
