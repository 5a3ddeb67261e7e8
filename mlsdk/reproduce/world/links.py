"""Links in a project that lead out of its copy: who writes through one would write into somebody's folders.

A link to elsewhere in the project leads to the same place in the copy. What lies outside is copied while it is small.
What is large stays linked if nobody has written there since the run began; else there are its folders, and in them what
the run was seen to read.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from mlsdk.reproduce.restore import Tree
from mlsdk.reproduce.world.carrier import COPIED_BYTES, Carrier, written_since
from mlsdk.reproduce.world.folders import Folders
from mlsdk.reproduce.world.place import Place

_MOST_FILES = 10_000


def lead_inside(
    base: str,
    top: str,
    tree: Tree,
    folders: Folders,
    place: Place,
    make_folders: Callable[[str, str], None],
    since_s: float,
) -> tuple[Folders, list[str]]:
    """Let links lead to nothing outside that the program may write to.

    Args:
        base: the folder of the world.
        top: the copy of the project.
        tree: what it was written from.
        folders: paths of the run's record as paths here.
        place: where the project lies.
        make_folders: makes the folders of a folder in another one, without files.
        since_s: when the run began, in seconds since 1970.

    Returns:
        What lies elsewhere now, and what is to be said of it.
    """
    back, carrier = folders.back(), Carrier(base, since_s)
    moved: dict[str, str] = {}
    notes: list[str] = []
    for entry in tree.entries:
        path = os.path.join(top, entry["path"])
        if entry["kind"] != "link" or not os.path.islink(path):
            continue
        target = os.readlink(path)
        lay = place.of(back.now(path) or path)
        was = os.path.normpath(
            os.path.join(os.path.dirname(lay), place.of(target) if os.path.isabs(target) else target)
        )
        within = _within(was, top, folders, place)
        if within is not None:
            if os.path.isabs(target):
                _relink(path, within)
            continue
        lies = os.path.realpath(was)
        there = moved.get(lies) or os.path.join(base, "elsewhere", str(len(moved)), os.path.basename(was) or "root")
        if lies not in moved and not _is_brought(carrier, lies, there):
            if os.path.isdir(lies) and not written_since(lies, since_s):
                _relink(path, lies)
                continue
            os.makedirs(there, exist_ok=True)
            make_folders(lies, there)
            notes.append(
                f"{entry['path']} leads out of the project, to {lies}: in its place are folders, with what the run was"
                " seen to read"
            )
        moved[lies] = there
        _relink(path, there)
    return Folders(moved.items()), notes


def _within(path: str, top: str, folders: Folders, place: Place) -> str | None:
    """A path in the project, or in the run's folders, as it is in the copy."""
    if place.now is not None and (path == place.now or path.startswith(place.now.rstrip(os.sep) + os.sep)):
        return os.path.normpath(os.path.join(top, os.path.relpath(path, place.now)))
    return os.path.normpath(os.path.join(top, place.name(path))) if place.holds(path) else folders.now(path)


def _is_brought(carrier: Carrier, lies: str, there: str) -> bool:
    """Copy what is small; whether it was."""
    os.makedirs(os.path.dirname(there), exist_ok=True)
    if not os.path.isdir(lies):
        if os.path.isfile(lies):
            carrier.bring(lies, there)
        return not os.path.lexists(lies) or os.path.isfile(lies)
    if not _is_small(lies):
        return False
    os.makedirs(there)
    carrier.bring(lies, there)
    return True


def _is_small(folder: str) -> bool:
    files = size = 0
    for parent, _, names in os.walk(folder):
        files += 1 + len(names)
        size += sum(os.lstat(os.path.join(parent, name)).st_size for name in names)
        if files > _MOST_FILES or size > COPIED_BYTES:
            return False
    return True


def _relink(path: str, target: str) -> None:
    os.unlink(path)
    os.symlink(target, path)
