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

from mlsdk.errors import MlsdkError, RerunError
from mlsdk.records import Run
from mlsdk.reproduce.folders import Folders, origin
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.restore import Tree, tree_of, write_tree

CARRIED = (
    *("commit", "branch", "remote", "ahead", "behind", "dirty", "changed", "untracked"),
    *("left_out", "left_out_count", "redacted", "tree_missing"),
)
"""Facts of code that are known of a world without looking at it."""


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
    lay: Folders
    """Paths of the run's record as paths of its first making."""
    tree: Tree
    """What the code was written from."""
    code: Mapping[str, Any]
    """Facts of code that hold here."""


@contextlib.contextmanager
def world_of(run: Run, recipe: Recipe) -> Iterator[World]:
    """Make the world of a run; it is there as long as the context.

    Raises:
        RerunError: the run has no code, or it cannot be written as it was.
    """
    base = os.path.realpath(tempfile.mkdtemp(prefix="mlsdk-rerun-"))
    try:
        yield _made(run, recipe, base)
    finally:
        _delete(base)


def _made(run: Run, recipe: Recipe, base: str) -> World:
    about = run.code.get("tree")
    if not isinstance(about, Mapping) or "root" not in about:
        raise RerunError(_no_code(run), "code")
    before, worked = str(about["root"]), str(run.code.get("folder") or about["root"])
    top, folder = _places(base, before, worked)
    lay = origin(run.code)
    tree, code = _code_of(run, recipe, lay)
    os.makedirs(top)
    try:
        write_tree(top, tree)
    except MlsdkError as error:
        raise RerunError(f"the code of run {run.name} ({run.short_id}) cannot be written: {error}", "code") from error
    os.makedirs(folder, exist_ok=True)
    folders = Folders([(before, top), (worked, folder), (os.path.realpath(worked), folder)])
    found: dict[str, Any] = {**code, "root": top}
    if "tree" in found:
        found["tree"] = {**found["tree"], "root": top}
    return World(base, top, folder, folders, lay, tree, found)


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


def _code_of(run: Run, recipe: Recipe, lay: Folders) -> tuple[Tree, dict[str, Any]]:
    """The tree to be written, and the facts that it makes known."""
    if recipe.code == "here":
        return _code_here(run, recipe, lay)
    try:
        tree = tree_of(run)
    except MlsdkError as error:
        raise RerunError(f"{_no_code(run)}: {error}", "code") from error
    return tree, {name: run.code[name] for name in (*CARRIED, "tree") if name in run.code}


def _code_here(run: Run, recipe: Recipe, lay: Folders) -> tuple[Tree, dict[str, Any]]:
    raise NotImplementedError


def _delete(base: str) -> None:
    """Take the world away, read-only folders in it too."""
    shutil.rmtree(base, ignore_errors=True)
    if os.path.lexists(base):
        for parent, folders, _ in os.walk(base):
            for name in folders:
                with contextlib.suppress(OSError):
                    os.chmod(os.path.join(parent, name), 0o700, follow_symlinks=False)
        shutil.rmtree(base, ignore_errors=True)
