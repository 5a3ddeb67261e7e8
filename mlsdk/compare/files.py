"""Files that differ and are no sources of functions: those that a run was seen to read, and others of the code."""

from __future__ import annotations

import posixpath

import attrs

from mlsdk.compare.data import DIGITS, compared, is_same
from mlsdk.compare.difference import Difference
from mlsdk.compare.functions import unified
from mlsdk.compare.meaning import is_rewritten
from mlsdk.compare.side import Side
from mlsdk.data.files import READERS
from mlsdk.records import Dataset

MOST_LINES = 40
MOST_BYTES = 200_000
"""A larger file is not compared line by line."""


def input_differences(a: Side, b: Side) -> list[Difference]:
    """Files that a run was seen to read and that differ, but for those that a data set names.

    A `file` is one of the code tree that is no table, a configuration say; any other is `data`. One that only lies in
    another folder does not differ: the param or the function that says so does.
    """
    then, now = inputs(a), inputs(b)
    found = []
    moved = _moved(a, b, then, now)
    for place in sorted({*then, *now} - moved):
        x, y = then.get(place), now.get(place)
        left, right = _digest(a, place, x), _digest(b, place, y)
        in_tree = place in a.entries or place in b.entries
        if x is not None and y is not None:
            if is_same(x, y) or left == right or not (left and right):
                continue
            if _lay_so(a, place, left) and _lay_so(b, place, right) and is_rewritten(a, b, (place, place)):
                continue
        elif left == right or a.is_temporary(place) or not (a if x is None else b).names_what_it_read:
            continue  # read by one only: it is there unchanged for the other, or nobody can tell
        if in_tree and not place.lower().endswith(tuple(READERS)):
            facts = {"how": "changed" if left and right else "removed" if left else "added"}
            few = _few(x, left), _few(y, right)
            details = tuple(text_diff(a, b, place))
            found.append(Difference("file", place, few[0], few[1], details, facts=facts))
        elif x is not None and y is not None:
            found.append(compared(a, b, attrs.evolve(x, name=place), attrs.evolve(y, name=place)))
        else:
            details = (f"read by {'B' if x is None else 'A'} only",)
            facts = {"how": "added" if x is None else "removed"}
            found.append(Difference("data", place, _few(x, left), _few(y, right), details, facts=facts))
    return found


def _moved(a: Side, b: Side, then: dict[str, Dataset], now: dict[str, Dataset]) -> set[str]:
    """Places of files that both runs read by one name and with one content, from other folders."""
    found: list[dict[tuple[str, str], list[str]]] = [{}, {}]
    for side, ours, theirs, by_content in ((a, then, now, found[0]), (b, now, then, found[1])):
        for place in sorted(ours.keys() - theirs.keys()):
            digest = _digest(side, place, ours[place])
            if digest is not None:
                by_content.setdefault((posixpath.basename(place), digest), []).append(place)
    return {
        place
        for content in found[0].keys() & found[1].keys()
        for pair in zip(found[0][content], found[1][content], strict=False)
        for place in pair
    }


def inputs(side: Side) -> dict[str, Dataset]:
    """Files that a run was seen to read and that no data set names, by place."""
    files = {name: one for name, one in side.run.inputs.items() if not one.declared and one.path is not None}
    return {side.place(name): one for name, one in files.items()}


def _digest(side: Side, place: str, one: Dataset | None) -> str | None:
    """SHA-256 of a file's bytes: as they were read, else as they lay in the code tree."""
    if one is not None and one.digest is not None:
        return one.digest
    found = side.entries.get(place, {}).get("sha256")
    return None if found is None else str(found)


def _lay_so(side: Side, place: str, digest: str) -> bool:
    """Whether a file was in the code tree what it was when it was read."""
    return bool(side.entries.get(place, {}).get("sha256") == digest)


def _few(one: Dataset | None, digest: str | None) -> str | None:
    if digest is None:
        return None
    count = None if one is None else one.size_bytes
    size = "" if count is None else f"{count:,} byte{'' if count == 1 else 's'}, "
    return f"{size}{digest[:DIGITS]}"


def other_files(a: Side, b: Side, read: set[str]) -> tuple[str, ...]:
    """Files that differ between the code trees, and that nothing is known to have read.

    A source whose functions were compared is none of them, whatever else stands in it.

    Args:
        a: the first run.
        b: the second.
        read: places that were compared already.
    """
    trees = [side.code.get("tree") for side in (a, b)]
    identities = [tree.get("identity") if isinstance(tree, dict) else None for tree in trees]
    if identities[0] == identities[1] or None in identities:
        return ()
    modules = {place for side in (a, b) if side.code.get("functions") for place in side.module_places.values()}
    differ = (place for place in {*a.entries, *b.entries} if _mark(a, place) != _mark(b, place))
    return tuple(sorted(place for place in differ if place not in read and place not in modules))


def _mark(side: Side, place: str) -> object:
    """What a file is, without how it may be used."""
    entry = side.entries.get(place)
    if entry is None:
        return None
    kind = entry["kind"]
    if kind == "repository":
        return kind, entry.get("head") or entry.get("commit")
    mark = entry.get("keyed") or entry.get("sha256") or entry.get("target") or entry.get("size")
    return kind, mark


def text_diff(a: Side, b: Side, place: str) -> list[str]:
    """The lines in which a small text file of the code trees differs; nothing for any other."""
    texts = []
    for side in (a, b):
        entry = side.entries.get(place, {})
        digest = entry.get("sha256")
        if digest is None or entry.get("size", 0) > MOST_BYTES:
            return []
        data = side.contents([str(digest)]).get(str(digest))
        if data is None or b"\0" in data:
            return []
        texts.append(data.decode("utf-8", "replace").splitlines())
    found = unified(*texts)
    more = [f"  … and {len(found) - MOST_LINES} more lines"] if len(found) > MOST_LINES else []
    return [*found[:MOST_LINES], *more]
