"""The code of a run, written back into a folder: names, modes, links and contents as they were."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from mlsdk.capture.code.packs import contents_of
from mlsdk.capture.code.tree import read_tree
from mlsdk.errors import FormatError, NotFoundError, UsageError
from mlsdk.finding import get_run
from mlsdk.records import Run

_OPEN = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class Restored(NamedTuple):
    """What was written, and what could not be because the run does not have it."""

    folder: str
    commit: str | None
    """The commit that was checked out; the files may differ from it."""
    files: int
    links: int
    size_bytes: int
    repositories: Mapping[str, str | None]
    """By path, the commit of each submodule and repository inside, which are plain folders here."""
    left_out: Mapping[str, str]
    """By path, why a file was not kept."""
    redacted: Mapping[str, int]
    """By path, how many secrets were replaced in a file: it is not the file that ran."""
    missing: Mapping[str, str]
    """By path, why the run does not have a file; `git` and others that are no path: what else was not seen."""

    @property
    def is_exact(self) -> bool:
        """Whether the folder holds all that the run's folder held."""
        return not (self.left_out or self.redacted or self.missing)


def restore(run: Run | str, folder: str | os.PathLike[str], *, store: str | os.PathLike[str] | None = None) -> Restored:
    """Write the files of a run's code into a new or empty folder.

    Args:
        run: the run, or what `get_run` takes.
        folder: where to; made if it is not there.
        store: folder or URI; by default the settings' store.

    Raises:
        UsageError: the folder is not empty, or is none.
        NotFoundError: the run has no code tree, or its blobs are not in the store.
        FormatError: what is stored is damaged, or wants to write outside the folder; nothing is left of it then.

    Example::

        restored = restore("latest", "as-it-was")
        print(restored.files, restored.commit, restored.left_out)
    """
    found = run if isinstance(run, Run) else get_run(run, store=store)
    tree = tree_of(found)
    top = _empty(folder)
    try:
        write_tree(top, tree)
    except BaseException:
        _clear(top)
        raise
    by_kind = _by_kind(tree.entries)
    files, links = by_kind.get("file", []), by_kind.get("link", [])
    commit, missing = found.code.get("commit"), found.code.get("tree_missing")
    return Restored(
        folder=top,
        commit=commit if isinstance(commit, str) else None,
        files=len(files),
        links=len(links),
        size_bytes=sum(entry["size"] for entry in files),
        repositories={
            entry["path"]: entry.get("head") or entry.get("commit") for entry in by_kind.get("repository", [])
        },
        left_out={entry["path"]: entry["why"] for entry in by_kind.get("left out", [])},
        redacted={entry["path"]: entry["spans"] for entry in files if entry.get("spans")},
        missing={
            **{str(what): str(why) for what, why in (missing.items() if isinstance(missing, Mapping) else ())},
            **{entry["path"]: entry["why"] for entry in by_kind.get("missing", [])},
        },
    )


class Tree(NamedTuple):
    """A code tree as it is stored."""

    entries: list[dict[str, Any]]
    """By path: `docs/format.md` says what is in one."""
    packs: list[str]
    read_blob: Callable[[str], bytes]

    def contents(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Contents by digest, of those that the tree has."""
        wanted = set(digests) & {entry["sha256"] for entry in self.entries if entry["kind"] == "file"}
        return dict(contents_of(self.read_blob, self.packs, wanted)) if wanted else {}


def tree_of(run: Run) -> Tree:
    """The code tree of a run.

    Raises:
        NotFoundError: it has none, or its blobs are not in the store.
        FormatError: what is stored is damaged, or wants to write outside of a folder.
    """
    tree = run.code.get("tree")
    if not isinstance(tree, Mapping) or "digest" not in tree:
        raise NotFoundError(
            f"run {run.name} ({run.short_id}) has no code tree: the capture `tree` was switched off, is not done"
            " yet, or failed (`mlsdk show` says so under problems)"
        )

    def read_blob(digest: str) -> bytes:
        with run._store().open_blob(digest) as file:  # noqa: SLF001 - a run reads its own store
            return file.read()

    found = Tree(*read_tree(read_blob, str(tree["digest"])), read_blob)
    _check_places(_by_kind(found.entries))
    return found


def write_tree(top: str, tree: Tree) -> None:
    """Write what a tree holds into an empty folder.

    Raises:
        FormatError: what is stored is damaged.
        NotFoundError: its blobs are not in the store.
    """
    by_kind = _by_kind(tree.entries)
    for entry in by_kind.get("repository", []):
        os.makedirs(_inside(top, entry["path"]), exist_ok=True)
    _write(top, by_kind.get("file", []), tree.packs, tree.read_blob)
    for entry in by_kind.get("link", []):  # last, so that nothing is ever written through one
        _link(top, entry)


def _by_kind(entries: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        found.setdefault(entry["kind"], []).append(entry)
    return found


def _check_places(by_kind: Mapping[str, list[dict[str, Any]]]) -> None:
    """Whether the entries can be written side by side into one folder."""
    folders: set[str] = set()
    things: set[str] = set()
    for entry in (*by_kind.get("file", []), *by_kind.get("link", []), *by_kind.get("repository", [])):
        path, kind = entry["path"], entry["kind"]
        check_path(path)
        while "/" in path:
            path = path.rpartition("/")[0]
            folders.add(path)
        if kind in ("file", "link"):
            if entry["path"] in things:
                raise FormatError(f"the code tree has two entries {entry['path']!r}")
            things.add(entry["path"])
    if both := folders & things:
        raise FormatError(f"the code tree has an entry {min(both)!r} that is no folder, and others in it")


def check_path(path: object) -> str:
    """The path of an entry, if it leads nowhere but into the folder.

    Raises:
        FormatError: it is absolute, climbs, or lies in a `.git`, whose hooks git would run.

    >>> check_path("a/b.py")
    'a/b.py'
    """
    parts = path.split("/") if isinstance(path, str) else [""]
    climbs = any(part in ("", ".", "..") or part.rstrip(". ").lower() == ".git" for part in parts)
    strange = any("\0" in part or (os.name == "nt" and set(part) & set('\\:*?"<>|')) for part in parts)
    if climbs or strange:
        raise FormatError(f"the code tree has an entry {path!r}, which must not be written: it leads out of the folder")
    return str(path)


def _empty(folder: str | os.PathLike[str]) -> str:
    """The folder, made if need be.

    Raises:
        UsageError: there is something in it.
    """
    top = os.path.abspath(os.fspath(folder))
    if os.path.lexists(top) and not os.path.isdir(top):
        raise UsageError(f"{top} is a file; name a new or empty folder")
    os.makedirs(top, exist_ok=True)
    inside = sorted(os.listdir(top))
    if inside:
        raise UsageError(f"{top} is not empty ({inside[0]!r} is in it); name a new or empty folder")
    return os.path.realpath(top)


def _clear(top: str) -> None:
    """Take away what was written: the folder was empty, so all in it is ours."""
    for name in os.listdir(top):
        path = os.path.join(top, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _inside(top: str, path: str) -> str:
    return os.path.join(top, *path.split("/"))


def _write(top: str, files: list[dict[str, Any]], packs: list[str], read_blob: Any) -> None:
    places: dict[str, list[dict[str, Any]]] = {}
    for entry in files:
        os.makedirs(os.path.dirname(_inside(top, entry["path"])), exist_ok=True)
        places.setdefault(entry["sha256"], []).append(entry)
    for digest, data in contents_of(read_blob, packs, places):
        for entry in places.pop(digest):
            _write_one(_inside(top, entry["path"]), data, int(entry["mode"], 8) & 0o777)
    if places:
        lost = next(iter(places.values()))[0]["path"]
        raise FormatError(f"the code tree is damaged: the content of {lost!r} is in none of its packs")


def _write_one(path: str, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, _OPEN, 0o600)
    except FileExistsError:
        raise FormatError(f"the code tree has two entries for {path}, or names that differ only in case") from None
    with open(descriptor, "wb") as file:
        file.write(data)
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, mode)


def _link(top: str, entry: dict[str, Any]) -> None:
    path = _inside(top, entry["path"])
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    if os.path.realpath(folder) != folder:  # another link, whose name differs in case only
        raise FormatError(f"the code tree has a link {entry['path']!r} behind another one")
    try:
        os.symlink(entry["target"], path)
    except FileExistsError:
        raise FormatError(f"the code tree has two entries for {path}") from None
