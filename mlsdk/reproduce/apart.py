"""Code that the tree of a run does not hold: files left out or kept without secrets, modules from elsewhere.

What was not kept is taken from where it lay, if it is what it was; what was imported and is neither, stops a rerun.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlsdk.capture.secrets.keyed import keyed_digest
from mlsdk.compare.values import mapping
from mlsdk.data.listing import hash_file
from mlsdk.errors import RerunError
from mlsdk.records import Run
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.restore import check_path
from mlsdk.reproduce.world.carrier import is_inside
from mlsdk.reproduce.world.world import World
from mlsdk.store.base import Store
from mlsdk.store.target import open_target


class Completed(NamedTuple):
    """What was added to a world."""

    path: tuple[str, ...]
    """Folders that modules are to be found in before all others."""
    notes: tuple[str, ...]


def complete(run: Run, recipe: Recipe, world: World, store: Store) -> Completed:
    """Add to a world what its tree does not hold.

    Raises:
        RerunError: something that the run imported was not kept, and is not what it was.
    """
    notes: list[str] = []
    _left_out(run, recipe, world, str(open_target(store.uri).root), notes)
    path = _modules(run, recipe, world)
    return Completed(path, tuple(notes))


def _left_out(run: Run, recipe: Recipe, world: World, root: str, notes: list[str]) -> None:
    """Bring files of which the tree has a digest only, or a text without its secrets."""
    imported = {world.folders.now(str(path)) for path in mapping(run.code.get("modules")).values()}
    lay = str(mapping(run.code.get("tree")).get("root"))
    for entry in world.tree.entries:
        if entry["kind"] != "left out" and not entry.get("spans"):
            continue
        was = os.path.join(lay, entry["path"])
        there, lies = os.path.join(world.top, entry["path"]), world.place.of(was)
        if not is_inside(there, world.base):
            notes.append(f"{entry['path']} lies behind a link out of the project: it was not put there")
            continue
        if recipe.code == "here" and entry["path"] not in recipe.files:
            if os.path.isfile(lies):
                _copy(lies, there)
        elif _is_as_was(lies, entry, root):
            _copy(lies, there)
        elif there in imported:
            raise RerunError(
                f"run {run.name} ({run.short_id}) imported {entry['path']}, which was not kept as it was"
                f" ({entry.get('why') or 'there is a secret in it'}), and {lies} is not what it was: put it back there",
                "code",
            )
        elif entry.get("spans"):
            notes.append(f"{entry['path']} is without the secrets that were in it")


def _is_as_was(path: str, entry: Mapping[str, Any], root: str) -> bool:
    if not os.path.isfile(path):
        return False
    if "keyed" in entry:
        with open(path, "rb") as file:
            return keyed_digest(root, file.read()) == str(entry["keyed"])
    return os.path.getsize(path) == entry["size"] and hash_file(path).sha256 == str(entry.get("sha256"))


def _modules(run: Run, recipe: Recipe, world: World) -> tuple[str, ...]:
    """Bring modules that git ignores or that lie elsewhere; the folder of those that are others there by now."""
    files, digests = mapping(run.code.get("modules")), mapping(run.code.get("sources"))
    kept = mapping(run.code.get("sources_kept"))
    moved: dict[str, bytes] = {}
    changed = set()
    for name in kept:
        was = str(files.get(name, ""))
        there, lies = world.inside(was), world.place.of(was)
        if there is not None and os.path.exists(there):
            continue
        is_here = recipe.code == "here" and (there is None or os.path.relpath(there, world.top) not in recipe.files)
        data = _read(lies) if is_here else _as_was(run, name, str(kept[name]), lies, digests.get(name))
        if data is None:
            continue
        if there is not None:
            _write(there, data)
        else:
            moved[check_path(_place(name, was))] = data
            if _read(lies) != data:
                changed.add(name.partition(".")[0])
    apart = os.path.join(world.base, "apart")
    for path, data in moved.items():
        if path.partition("/")[0].removesuffix(".py") in changed:
            _write(os.path.join(apart, path), data)
    return (apart,) if os.path.isdir(apart) else ()


def _as_was(run: Run, name: str, kept: str, lies: str, digest: object) -> bytes:
    """The source of a module: as it was kept, or, where a secret was taken out, as it lies there if it is the same."""
    for data in (kept.encode("utf-8", "surrogateescape"), _read(lies)):
        if data is not None and hashlib.sha256(data).hexdigest() == digest:
            return data
    raise RerunError(
        f"run {run.name} ({run.short_id}) imported the module {name}, which was kept without the secrets in it, and"
        f" {lies} is not what it was: put it back there",
        "code",
    )


def _place(name: str, path: str) -> str:
    """Where the file of a module belongs below a folder of the path."""
    place = name.replace(".", "/")
    return f"{place}/__init__.py" if os.path.basename(path) == "__init__.py" else f"{place}.py"


def _read(path: str) -> bytes | None:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read()
    return None


def _write(there: str, data: bytes) -> None:
    _make_way(there)
    with open(there, "wb") as file:
        file.write(data)


def _copy(lies: str, there: str) -> None:
    _make_way(there)
    shutil.copy2(lies, there)


def _make_way(there: str) -> None:
    os.makedirs(os.path.dirname(there), exist_ok=True)
    if os.path.lexists(there):  # a link, which may lead out
        os.unlink(there)
