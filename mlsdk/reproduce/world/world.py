"""The world of a rerun: a new folder with the code of the run, where the program finds what it found then.

It lies outside of everybody's folders and is deleted afterwards.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mlsdk.capture import Context
from mlsdk.capture.code import git, tree
from mlsdk.errors import MlsdkError, RerunError
from mlsdk.records import Run
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.restore import Tree, tree_of, write_tree
from mlsdk.reproduce.world.carrier import is_inside
from mlsdk.reproduce.world.folders import Folders
from mlsdk.reproduce.world.held import Held
from mlsdk.reproduce.world.links import lead_inside
from mlsdk.reproduce.world.pieces import with_piece
from mlsdk.reproduce.world.place import Place, Places
from mlsdk.store.base import Store
from mlsdk.store.blobs import FileBlobs
from mlsdk.store.layout import Layout
from mlsdk.store.target import open_target

CARRIED = (
    *("commit", "branch", "remote", "ahead", "behind", "dirty", "changed", "untracked"),
    *("left_out", "left_out_count", "redacted", "tree_missing"),
)
"""Facts of code that are known of a world without looking at it."""

_PREFIX = "mlsdk-rerun-"
_MOST_FOLDERS = 10_000
_NO_TREE = Tree([], [], lambda _: b"")


class World(NamedTuple):
    """Folders of one rerun, and what is known of them."""

    base: str
    """The folder that holds all others, and what must not lie among the code."""
    top: str
    """Where the code lies."""
    folder: str
    """The working folder."""
    folders: Folders
    """Paths of the run's record as paths here."""
    place: Place
    """Where the run's project lies outside of this world."""
    tree: Tree
    """What the code was written from."""
    code: Mapping[str, Any]
    """Facts of code that hold here."""
    elsewhere: Folders
    """Folders outside of the project that links in it lead to, as they are here."""
    notes: tuple[str, ...]

    def inside(self, path: str) -> str | None:
        """Where a path of the run's record lies in this world; None where a link in it leads out."""
        now = self.folders.now(path) or self.elsewhere.now(self.place.lay.now(path) or path)
        return now if now is not None and is_inside(now, self.base) else None


@contextlib.contextmanager
def world_of(run: Run, recipe: Recipe, store: Store) -> Iterator[World]:
    """Make the world of a run; it is there as long as the context.

    Raises:
        RerunError: the run has no code, or it cannot be written as it was.
    """
    base = os.path.realpath(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        yield _made(run, recipe, store, base)
    finally:
        _delete(base)


def _made(run: Run, recipe: Recipe, store: Store, base: str) -> World:
    about = run.code.get("tree")
    if not isinstance(about, Mapping) or "root" not in about:
        raise RerunError(_no_code(run), "code")
    place = Places(Held(store.blobs)).of(run)
    before = os.path.normpath(str(about["root"]))
    worked = os.path.normpath(str(run.code.get("folder") or before))
    if recipe.code == "here":
        found, code = _code_here(run, recipe, place, store)
    else:
        found, code = _code_of(run)
    top, folder = _places(base, before, worked)
    try:
        os.makedirs(top)
        write_tree(top, found)
    except (MlsdkError, OSError) as error:
        raise RerunError(f"the code of run {run.name} ({run.short_id}) cannot be written: {error}", "code") from error
    _put_pieces(run, recipe, top)
    if not is_inside(os.path.join(folder, "any"), base):
        raise RerunError(
            f"the working folder of run {run.name} ({run.short_id}) lies behind a link that leads out of the project,"
            f" to {os.path.realpath(folder)}: put the folder itself into the project",
            "code",
        )
    os.makedirs(folder, exist_ok=True)
    missing = run.code.get("tree_missing")
    if place.now is not None and not (isinstance(missing, Mapping) and "folder" in missing):  # else it is everybody's
        _make_folders(place.now, top)
    folders = Folders([(before, top), (worked, folder), (os.path.realpath(worked), folder)])
    known = {**code, "root": top, "tree": {**code["tree"], "root": top}}
    since_s = run.started_at.timestamp()
    elsewhere, notes = lead_inside(base, top, found, folders, place, _make_folders, since_s)
    return World(base, top, folder, folders, place, found, known, elsewhere, tuple(notes))


def _put_pieces(run: Run, recipe: Recipe, top: str) -> None:
    """Let functions be in their files as they were in the run."""
    kept = tree_of(run) if recipe.pieces else _NO_TREE
    digests = {str(entry["path"]): str(entry.get("sha256")) for entry in kept.entries}
    for piece in recipe.pieces:
        place, _, name = piece.rpartition(":")
        if place in recipe.files:  # it is there whole
            continue
        path = os.path.join(top, place)
        with open(path, "rb") as file:
            now = file.read()
        then = kept.contents([digests[place]])[digests[place]]
        found = with_piece(now, then, name)
        if found is None:
            raise RerunError(f"{name} cannot be put into {place} as it lies here", "code")
        mode = os.stat(path).st_mode
        os.unlink(path)  # it may be read-only
        with open(path, "wb") as file:
            file.write(found)
        os.chmod(path, mode)


def _make_folders(now: str, top: str) -> None:
    """Make the folders that the project has, without files: no tree has empty ones, and programs write to them."""
    made = 0
    for parent, names, _ in os.walk(now):
        names[:] = [name for name in names if not _is_of_others(os.path.join(parent, name))]
        for name in names:
            path = os.path.join(top, os.path.relpath(os.path.join(parent, name), now))
            if made == _MOST_FOLDERS:
                return
            if not os.path.lexists(path) and os.path.realpath(os.path.dirname(path)) == os.path.dirname(path):
                with contextlib.suppress(OSError):  # a name that is too long here: the program may do without
                    os.mkdir(path)
                made += 1


def _is_of_others(folder: str) -> bool:
    """Whether a folder is hidden, a cache, an environment, the world of a rerun, or lies elsewhere."""
    name = os.path.basename(folder)
    marked = any(os.path.lexists(os.path.join(folder, mark)) for mark in ("pyvenv.cfg", "conda-meta", "CACHEDIR.TAG"))
    return (
        name.startswith((".", _PREFIX)) or name in ("__pycache__", "node_modules") or marked or os.path.islink(folder)
    )


def _no_code(run: Run) -> str:
    missing = run.code.get("tree_missing")
    why = "; ".join(map(str, missing.values())) if isinstance(missing, Mapping) else "the capture `tree` was not taken"
    return f"run {run.name} ({run.short_id}) has no code tree, so that its program is not known: {why}"


def _places(base: str, before: str, worked: str) -> tuple[str, str]:
    """Where the code and the working folder go, given where they lay: as they lay to each other."""
    inside = os.path.join(base, "work")
    below = os.path.relpath(before, worked)
    if not below.startswith("..") and below != "." and worked != os.sep:
        folder = os.path.join(inside, os.path.basename(worked))
        return os.path.join(folder, below), folder
    top = os.path.join(inside, os.path.basename(before) or "code")
    within = os.path.relpath(worked, before)
    if within.startswith(".."):
        return top, os.path.join(base, "folder", os.path.basename(worked) or "work")
    return top, os.path.normpath(os.path.join(top, within))


def _code_of(run: Run) -> tuple[Tree, dict[str, Any]]:
    """The run's tree, and the facts that it makes known."""
    try:
        found = tree_of(run)
    except MlsdkError as error:
        raise RerunError(f"{_no_code(run)}: {error}", "code") from error
    return found, {name: run.code[name] for name in (*CARRIED, "tree") if name in run.code}


def _code_here(run: Run, recipe: Recipe, place: Place, store: Store) -> tuple[Tree, dict[str, Any]]:
    """What lies now where the run's code lay, captured as any run captures it, and the facts of that."""
    if place.now is None or not os.path.isdir(place.now):
        raise RerunError(
            f"the project of run {run.name} ({run.short_id}), which lay at {place.then}, is not here: run this in a"
            " clone of it, or where it lies",
            "code",
        )
    target = open_target(store.uri)
    entry = run.code.get("entry")
    facts = {"code": {"entry": place.of(entry)} if isinstance(entry, str) and os.path.isabs(entry) else {}}
    where = Context(place.now, facts=facts, root=target.root, put_blob=target.put_blob)
    found: dict[str, Any] = {**(git.capture(where) or {}), **(tree.capture(where) or {})}
    if "tree" not in found:
        raise RerunError(f"the code in {place.now} cannot be read: {found.get('tree_missing')}", "code")
    kept = FileBlobs(Layout(str(target.root)).blobs)
    old = tree_of(run) if recipe.files else _NO_TREE

    def read_blob(digest: str) -> bytes:
        if not kept.exists(digest):
            return old.read_blob(digest)
        with kept.open(digest) as file:
            return file.read()

    entries, packs = tree.read_tree(read_blob, str(found["tree"]["digest"]))
    others = set(recipe.files)
    entries = [entry for entry in entries if entry["path"] not in others]
    entries += [entry for entry in old.entries if entry["path"] in others and entry["kind"] in ("file", "link")]
    return Tree(entries, [*packs, *old.packs], read_blob), found


def _delete(base: str) -> None:
    """Take the world away, read-only folders in it too; what links lead to is left alone."""
    shutil.rmtree(base, ignore_errors=True)
    if os.path.lexists(base):
        for parent, folders, _ in os.walk(base):
            for path in (os.path.join(parent, name) for name in folders):
                if not os.path.islink(path):
                    with contextlib.suppress(OSError):
                        os.chmod(path, 0o700)
        shutil.rmtree(base, ignore_errors=True)
