"""Files of the code tree that differ and are no sources of functions that were compared."""

from __future__ import annotations

from mlsdk.compare.functions import unified
from mlsdk.compare.side import Side

MOST_LINES = 40
MOST_BYTES = 200_000
"""A larger file is not compared line by line."""


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
