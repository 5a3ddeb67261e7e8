"""Configurations in the code of a run that nobody is known to have read: what became of them is told apart.

A file that is read before the run begins, when a module is imported, is not seen to be read. So such a file that has
changed makes nothing stale, and is not kept quiet about.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from mlsdk.compare.difference import Difference
from mlsdk.compare.meaning import says_the_same
from mlsdk.compare.side import Side
from mlsdk.errors import MlsdkError
from mlsdk.records import Run
from mlsdk.reproduce.now.data import used
from mlsdk.reproduce.world.held import Held, coded
from mlsdk.reproduce.world.place import Place

ENDINGS = (".cfg", ".conf", ".ini", ".json", ".properties", ".toml", ".xml", ".yaml", ".yml")
_LARGEST_BYTES = 1_000_000
_MOST_TREES = 50
"""Of runs of more versions of the code, the others are not looked at: it takes some milliseconds each."""


class FilesNow:
    """Looks at the configurations of code trees, each once.

    Args:
        held: reads facts.
        digest: gives the SHA-256 of a file.
    """

    def __init__(self, held: Held, digest: Callable[[str], str | None]) -> None:
        self._held = held
        self._digest = digest
        self._found: dict[tuple[object, ...], tuple[Difference, ...]] = {}

    def look(self, run: Run, place: Place) -> tuple[Difference, ...]:
        """Configurations that are not what they were, without those that the run was seen to read."""
        tree = self._held.value(coded(run.code), "tree")
        if not isinstance(tree, dict) or place.now is None:
            return ()
        key = (tree.get("identity"), tree.get("root"), place.key)
        if key not in self._found and len(self._found) >= _MOST_TREES:
            return ()
        if key not in self._found:
            self._found[key] = tuple(self._changed(Side(run), str(tree.get("root")), place))
        if not self._found[key]:
            return ()
        read = {place.of(one.path) for one in used(run) if one.path is not None}
        return tuple(one for one in self._found[key] if one.facts["path"] not in read)

    def _changed(self, side: Side, root: str, place: Place) -> list[Difference]:
        found = []
        for name, entry in sorted(side.entries.items()):
            is_known = entry.get("kind") == "file" and "sha256" in entry and not entry.get("spans")
            if not is_known or not name.lower().endswith(ENDINGS) or entry.get("size", 0) > _LARGEST_BYTES:
                continue
            path = place.of(os.path.join(root, *name.split("/")))
            now = self._now(path)
            if now != entry["sha256"] and not (now and _is_rewritten(path, side, entry["sha256"])):
                how = "is gone" if now is None else "has changed"
                facts = {"path": path, "digest": {"a": entry["sha256"], "b": now}}
                found.append(Difference("file", name, details=(how,), direct=False, facts=facts))
        return found

    def _now(self, path: str) -> str | None:
        try:
            return self._digest(path)
        except (MlsdkError, OSError):  # not to be read: nothing can be said of it but that
            return None


def _is_rewritten(path: str, side: Side, digest: str) -> bool:
    then = side.contents([digest]).get(digest)
    with open(path, "rb") as file:
        return then is not None and says_the_same(path, then, file.read())
