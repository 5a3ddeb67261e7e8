"""Which files belong to a folder of code: as git says, or, where git cannot be asked, by a bounded walk."""

from __future__ import annotations

import os
import stat
import tempfile
from collections import deque
from collections.abc import Iterator

from mlsdk.capture.code.git import GitError, Repository, marked_root, open_repository
from mlsdk.capture.secrets.redaction import redact_text
from mlsdk.config import STORE_FOLDER

MOST_WALKED = 2_000
"""Files that a walk finds; those nearest to the top come first."""

MOST_OTHERS = 100_000
"""Files that git does not track."""

MOST_NESTED = 10
"""Repositories in repositories."""

NEVER = frozenset(("", ".", "..", ".git", STORE_FOLDER))
"""Parts of paths that do not belong to the code, or lead out of it: the index of a hostile repository may have any."""

_LIST = ["ls-files", "-z", "-t", "--stage", "--cached", "--others", "--exclude-standard"]
_OF_OTHERS = frozenset(("__pycache__", "node_modules", "site-packages", "mlruns", "wandb"))
_MARKS = ("pyvenv.cfg", "conda-meta", "CACHEDIR.TAG")
"""What lies in a virtual environment, in conda's, and in a cache (bford.info/cachedir)."""

_CODE = (".py", ".ipynb")
_BYTECODE = (".pyc", ".pyo")


class Listing:
    """The files of a tree, not yet looked at.

    Attributes:
        root: folder in which the paths lie, without symbolic links; paths are relative, with `/`.
        by: `git` or `walk`.
        paths: by path, whether git tracks the file.
        repositories: by path, `commit` (which the repository above names, of a submodule) and `head` (checked out).
        left_out: by path, why a folder was not entered.
        notes: what could not be listed, and why.
    """

    def __init__(self, root: str, store: str | None = None) -> None:
        self.root = root
        self.by = "git"
        self.paths: dict[str, bool] = {}
        self.repositories: dict[str, dict[str, str]] = {}
        self.left_out: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self._store = _inside(root, store)
        self._folders: dict[str, bool] = {"": True}

    def add(self, path: str, *, tracked: bool) -> None:
        """Add a file, unless it is git's own or the store's, leads out of the tree, or is bytecode that nobody tracks.

        Bytecode is made from the files beside it, and holds the secrets that are left out of those.
        """
        if not tracked and path.endswith(_BYTECODE):
            return
        if NEVER.isdisjoint(path.split("/")) and not (self._store and f"{path}/".startswith(self._store)):
            self.paths[path] = tracked

    def is_here(self, path: str) -> bool:
        """Whether no link leads to a path: what is behind one is not of this tree, though git may still list it."""
        folder = path.rpartition("/")[0]
        known = self._folders.get(folder)
        if known is None:
            known = self.is_here(folder) and _is_folder(f"{self.root}/{folder}")
            self._folders[folder] = known
        return known


def files_of(folder: str, entry: str | None = None, store: str | None = None) -> Listing:
    """The files of the repository in which a folder lies, or else the script that was started, or else of the folder.

    Args:
        folder: working directory of the run.
        entry: path of the script that was started, if it was one.
        store: folder of the store, which is never listed.
    """
    listing = _listed(folder, entry, store)
    _drop_secret_names(listing)
    return listing


def _listed(folder: str, entry: str | None, store: str | None) -> Listing:
    beside = _folder_of(entry)
    notes: dict[str, str] = {}
    for place in filter(None, (folder, beside)):
        try:
            repository = open_repository(place)
        except GitError as error:
            notes["git"] = f"{error}; the folder was walked instead"
            return _walked(marked_root(place) or place, entry, store, notes)
        if repository is not None:
            listing = Listing(repository.root, store)
            try:
                _ask(listing, repository, "", 0)
            except GitError as error:
                notes["git"] = f"{error}; the folder was walked instead"
                return _walked(repository.root, entry, store, notes)
            _drop_environments(listing)
            _drop_most(listing)
            return listing
    return _walked(beside or folder, entry, store, notes)


def _folder_of(entry: str | None) -> str | None:
    """The folder of a script, unless it is a program that was installed."""
    if not entry or not os.path.isabs(entry) or not os.path.isfile(entry):
        return None
    folder = os.path.dirname(os.path.realpath(entry))
    above = os.path.dirname(folder)
    installed = {"site-packages", "dist-packages"} & set(folder.split(os.sep))
    programs = os.path.basename(folder) in ("bin", "Scripts") and (
        not entry.endswith(".py") or os.path.exists(os.path.join(above, "pyvenv.cfg"))
    )
    return None if installed or programs else folder


def _drop_secret_names(listing: Listing) -> None:
    """Leave out files in whose names a secret stands: what is known of them would tell it."""
    if not redact_text("\n".join(listing.paths), code=True)[1]:
        return
    for path in tuple(listing.paths):
        shown, hits = redact_text(path, code=True)
        if hits:
            del listing.paths[path]
            listing.left_out[shown] = "its name holds what looks like a secret"


def _inside(root: str, store: str | None) -> str | None:
    """The store's path in the tree with a slash behind it; None if it lies elsewhere."""
    if store is None:
        return None
    path, top = os.path.realpath(store), os.path.join(os.path.realpath(root), "")
    return path[len(top) :].replace(os.sep, "/") + "/" if path.startswith(top) else None


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


# by git


def _ask(listing: Listing, repository: Repository, prefix: str, depth: int) -> None:
    """List what a repository's index names and what is neither there nor ignored; then the repositories inside it."""
    inner: dict[str, dict[str, str]] = {}
    for record in os.fsdecode(repository.ask(*_LIST)).split("\0"):
        if record.startswith("? "):
            path = record[2:]
            if path.endswith("/"):  # a repository that is no submodule
                inner[prefix + path[:-1]] = {}
            else:
                listing.add(prefix + path, tracked=False)
        elif record:
            head, _, path = record.partition("\t")
            _, mode, commit, _ = head.split(" ")
            if mode == "160000":
                inner[prefix + path] = {"commit": commit}
            else:
                listing.add(prefix + path, tracked=True)
    if repository.warnings:
        listing.notes[prefix or "git"] = repository.warnings.strip()[:1000]
    for path, about in inner.items():
        _enter(listing, path, about, depth + 1)


def _enter(listing: Listing, path: str, about: dict[str, str], depth: int) -> None:
    """List a submodule, or a repository that lies in another: by its own git, else by walking it."""
    if not NEVER.isdisjoint(path.split("/")) or not listing.is_here(f"{path}/"):
        return
    folder = f"{listing.root}/{path}"
    if depth > MOST_NESTED:
        listing.left_out[path] = f"more than {MOST_NESTED} repositories in each other"
        return
    listing.repositories[path] = about
    try:
        repository = open_repository(folder)
        if repository is not None and os.path.realpath(repository.root) == os.path.realpath(folder):
            head = repository.head()
            listing.repositories[path] = about | ({} if head is None else {"head": head})
            _ask(listing, repository, f"{path}/", depth)
            return
    except GitError as error:
        listing.notes[path] = f"{error}; the folder was walked instead"
    _walk(listing, f"{path}/")  # a submodule that was never fetched is an empty folder


def _drop_environments(listing: Listing) -> None:
    """Leave out virtual environments and packages of node that nobody has told git to ignore."""
    others = [path for path, tracked in listing.paths.items() if not tracked]
    folders = {path.removesuffix("pyvenv.cfg"): "a virtual environment" for path in others if _is(path, "pyvenv.cfg")}
    for path in others:
        before, found, _ = f"/{path}".partition("/node_modules/")
        if found:
            folders[f"{before}{found}"[1:]] = "packages of node"
    folders.pop("", None)
    if not folders:
        return
    beginnings = tuple(folders)
    for path in others:
        if path.startswith(beginnings):
            del listing.paths[path]
    listing.left_out.update({folder.removesuffix("/"): why for folder, why in folders.items()})


def _drop_most(listing: Listing) -> None:
    """Leave out files that git does not track where they are too many to be code."""
    others = sorted(path for path, tracked in listing.paths.items() if not tracked)
    for path in others[MOST_OTHERS:]:
        del listing.paths[path]
    if len(others) > MOST_OTHERS:
        listing.notes["files"] = (
            f"{len(others) - MOST_OTHERS:,} files were not taken: git does not track them, and there are more than"
            f" {MOST_OTHERS:,} such; tell git by .gitignore which do not belong to the code"
        )


def _is(path: str, name: str) -> bool:
    return path.rpartition("/")[2] == name and "/" in path


# by walking


def _walked(folder: str, entry: str | None, store: str | None, notes: dict[str, str]) -> Listing:
    listing = Listing(os.path.realpath(folder), store)
    listing.by = "walk"
    listing.notes.update(notes)
    shared = {os.path.realpath(path) for path in (os.sep, os.path.expanduser("~"), tempfile.gettempdir())}
    if listing.root not in shared:
        _walk(listing, "")
        return listing
    # Everybody's files are there, and most are no code: only the script itself, or else what lies beside.
    listing.notes["folder"] = f"{listing.root} holds more than code: only scripts directly in it were taken"
    for name, is_folder, _ in _entries(listing, ""):
        if not is_folder and (os.path.join(listing.root, name) == entry if entry else name.endswith(_CODE)):
            listing.add(name, tracked=False)
    return listing


def _walk(listing: Listing, top: str) -> None:
    """List the files in a folder level by level, without those that are hidden, caches, or environments."""
    waiting = deque([top])
    found = 0
    while waiting:
        prefix = waiting.popleft()
        for name, is_folder, why in _entries(listing, prefix):
            path = prefix + name
            if is_folder and why:
                listing.left_out[path] = why
            elif is_folder:
                waiting.append(f"{path}/")
            elif found == MOST_WALKED:
                listing.notes["files"] = f"more than {MOST_WALKED:,} files: those deeper down were not taken"
                return
            else:
                found += 1
                listing.add(path, tracked=False)


def _entries(listing: Listing, prefix: str) -> Iterator[tuple[str, bool, str]]:
    """Name, whether it is a folder, and why not to go into it; files before folders, by name."""
    try:
        with os.scandir(f"{listing.root}/{prefix}") as entries:
            found = sorted((entry.is_dir(follow_symlinks=False), entry.name) for entry in entries)
    except OSError as error:
        listing.notes[prefix or "folder"] = f"cannot be listed: {error.strerror}"
        return
    for is_folder, name in found:
        why = ""
        if is_folder:
            path = f"{listing.root}/{prefix}{name}"
            if name.startswith(".") or name in _OF_OTHERS:
                why = "hidden" if name.startswith(".") else "a folder of caches or packages"
            elif any(os.path.lexists(f"{path}/{mark}") for mark in _MARKS):
                why = "a virtual environment or a cache"
        if name not in NEVER:
            yield name, is_folder, why
