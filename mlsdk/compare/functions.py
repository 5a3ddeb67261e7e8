"""Functions that differ, each with what it says now and said then, and who calls it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from mlsdk.capture.functions.pieces import BODY
from mlsdk.capture.functions.reachable import changed
from mlsdk.compare.difference import Difference
from mlsdk.compare.side import Side
from mlsdk.compare.sources import Sources
from mlsdk.compare.values import differing, mapping, plain_line

MOST_EXPLAINED = 100
"""Functions of which it is said how they differ, and on which way they are reached."""


def function_differences(a: Side, b: Side) -> list[Difference]:
    """Functions, classes and constants that the runs could reach and whose normalised hashes differ.

    What only one of them reaches, and the other has unchanged, follows from a change elsewhere and is not listed; nor
    are the methods of a class that only one of them has.
    """
    tables = [
        {str(place): str(digest) for place, digest in mapping(side.code.get("functions")).items()} for side in (a, b)
    ]
    if not all(tables):
        return []
    names = changed(*tables)
    then, now = Sources(a), Sources(b)
    added = [place for place in _tops(names.added) if then.digest(place) != tables[1][place]]
    removed = [place for place in _tops(names.removed) if now.digest(place) != tables[0][place]]
    places = _with_names([*names.changed, *added, *removed])
    found: list[Difference] = []
    for place in sorted(places):
        explains = len(found) < MOST_EXPLAINED
        found.append(_difference(place, then, now, tables[0].get(place), tables[1].get(place), explains=explains))
    return [*found, *_in_memory(a, b, {*names.changed, *names.added, *names.removed})]


def value_differences(a: Side, b: Side) -> list[Difference]:
    """Globals that functions read and that held other values, though their sources are the same."""
    known = [
        {str(name): side.plain(value) for name, value in mapping(side.code.get("constants")).items()} for side in (a, b)
    ]
    tables = [mapping(side.code.get("functions")) for side in (a, b)]
    pairs = [pair for pair in differing(*known) if pair[0] in known[0] and pair[0] in known[1]]
    found = []
    for name, x, y in pairs:
        if tables[0].get(name) == tables[1].get(name) and not (_is_ours(x) and _is_ours(y)):
            source = "its source is the same" if name in tables[0] else "its source is not known"
            details = (f"{source}: another value was in memory",)
            found.append(Difference("function", name, x, y, details, facts={"how": "value"}))
    return found


def _is_ours(value: object) -> bool:
    """Whether a value is an object of mlsdk: a run, which is another one each time."""
    return str(mapping(value).get("type", "")).startswith("mlsdk.")


def reach_differences(a: Side, b: Side) -> list[Difference]:
    """Functions that only one of the runs could reach, whatever they say; for where nothing else tells why."""
    tables = [{str(place): "" for place in mapping(side.code.get("functions"))} for side in (a, b)]
    if not all(tables):
        return []
    names = changed(*tables)
    details = ("its source is the same: only one of the runs could reach it",)
    added = [Difference("function", place, None, "reached", details, facts={"how": "reach"}) for place in names.added]
    return added + [
        Difference("function", place, "reached", None, details, facts={"how": "reach"}) for place in names.removed
    ]


def _with_names(places: list[str]) -> list[str]:
    """Places without lambdas where something around them, of their module, differs too: there they stand."""
    modules = {place.partition(":")[0] for place in places if "<lambda>" not in place}
    return [place for place in places if "<lambda>" not in place or place.partition(":")[0] not in modules]


def _tops(places: list[str]) -> list[str]:
    """Places without the methods of classes among them."""
    known = set(places)
    return [place for place in places if place.rpartition(".")[0] not in known]


def _difference(place: str, a: Sources, b: Sources, x: str | None, y: str | None, *, explains: bool) -> Difference:
    how = "changed" if x and y else "added" if y else "removed"
    facts: dict[str, object] = {"how": how}
    details: list[str] = []
    left: object = None if x is None else x[:8]
    right: object = None if y is None else y[:8]
    if explains:
        way = (b if y else a).way_to(place)
        facts["way"] = way
        if way:
            details.append(f"reached by {' > '.join(map(short_name, way))}")
        lines = _said(a, b, place, x, y)
        if lines[0] is None or lines[1] is None:
            details.append("its source is not with the run, or is nested too deeply")
        else:
            facts["diff"] = text = unified(lines[0], lines[1])
            details += text or ["what it says is the same; what its names mean is not"]
            if x and y and len(lines[0]) == len(lines[1]) == 1:
                left, right = lines[0][0], lines[1][0]
    return Difference("function", place, left, right, tuple(details), facts=facts)


def _said(a: Sources, b: Sources, place: str, x: str | None, y: str | None) -> list[list[str] | None]:
    """What a piece says in both runs, below those of its imports that differ; [] for a run that does not have it."""
    origins = [a.origins(place) if x else [], b.origins(place) if y else []]
    common = {*origins[0]} & {*origins[1]} if x and y else {*origins[0], *origins[1]}
    found: list[list[str] | None] = []
    for sources, digest, imports in ((a, x, origins[0]), (b, y, origins[1])):
        lines = sources.lines(place) if digest else []
        found.append(None if lines is None else [*(line for line in imports if line not in common), *lines])
    return found


def unified(a: list[str], b: list[str]) -> list[str]:
    """A unified diff of two texts, without its head.

    >>> unified(["x = 1", "y = 2"], ["x = 1", "y = 3"])
    ['  x = 1', '- y = 2', '+ y = 3']
    """
    lines = list(difflib.unified_diff(a, b, lineterm="", n=3))[2:]
    return [f"{line[:1]} {plain_line(line[1:])}" if line[:2] != "@@" else "  …" for line in lines][1:]


def short_name(place: str) -> str:
    """A piece as people call it: without its module, but for what a module does by itself."""
    module, _, name = place.partition(":")
    return f"{module} (top level)" if name == BODY else name


def _in_memory(a: Side, b: Side, listed: set[str]) -> list[Difference]:
    """Functions whose code in memory was not that on the disk, in one of the runs, and which differ."""
    if a.code.get("compiled_by") != b.code.get("compiled_by"):
        return []
    loaded = [mapping(side.code.get("loaded")) for side in (a, b)]
    replaced = [{str(place) for place in _names(side.code.get("differs"))} for side in (a, b)]
    details = ("the code in memory was not that on the disk",)
    found = []
    for place in sorted((replaced[0] | replaced[1]) - listed):
        x, y = (_digest(of, place) for of in loaded)
        if x != y or (place in replaced[0]) != (place in replaced[1]):
            left, right = (f"{'another' if place in of else 'its source'}" for of in replaced)
            both = (x, y) if left == right else (left, right)
            found.append(Difference("function", place, both[0], both[1], details, facts={"how": "memory"}))
    return found


def _digest(loaded: Mapping[str, object], place: str) -> str | None:
    return None if place not in loaded else str(loaded[place])[:8]


def _names(value: object) -> list[object]:
    return [*value] if isinstance(value, (list, tuple)) else []
