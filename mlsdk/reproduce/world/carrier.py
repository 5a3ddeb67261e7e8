"""Bringing files into a world: copied while they are small, linked where they are large and nobody writes to them.

What was written since the run began may be what the program writes: it is copied whatever its size, since writing
through a link would change what somebody else has.
"""

from __future__ import annotations

import glob
import os
import shutil
from typing import BinaryIO

from mlsdk.errors import RerunError

COPIED_BYTES = 64_000_000
"""A larger file, or folder, is linked."""

_MOST_BYTES = 1_000_000_000
"""After so much has been copied, all else is linked."""

_MOST_LOOKED_AT = 1_000_000


class Carrier:
    """Brings files to one world.

    Args:
        base: the folder that all goes to; nothing is ever written through a link that leads out of it.
        since_s: when the run began, in seconds since 1970.
    """

    def __init__(self, base: str, since_s: float) -> None:
        self._base, self._since_s = base, since_s
        self._copied = 0

    def bring(self, lies: str, now: str) -> None:
        """Put a file, a folder, or what fits a pattern somewhere else, over what is there.

        Raises:
            OSError: it cannot be read.
            RerunError: it would be written out of the world, or there is no room for a copy.
        """
        if os.path.isdir(lies):
            self._folder(lies, now)
        elif os.path.exists(lies):
            self._file(lies, now, as_link=False)
        else:
            before, there = _fixed(lies), _fixed(now)
            for path in files_at(lies):
                self.bring(path, there + path[len(before) :])

    def write(self, path: str, data: bytes | BinaryIO) -> None:
        """Write a file, over what is there."""
        self._make_way(path)
        with open(path, "wb") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                shutil.copyfileobj(data, file)

    def _folder(self, lies: str, now: str) -> None:
        files = [os.path.join(parent, name) for parent, _, names in os.walk(lies) for name in names]
        size = sum(os.lstat(path).st_size for path in files)
        if _is_bare(now) and size > COPIED_BYTES and not written_since(lies, self._since_s):
            self._check(now)
            shutil.rmtree(now, ignore_errors=True)
            os.makedirs(os.path.dirname(now), exist_ok=True)
            os.symlink(lies, now)
            return
        for path in files:
            self._file(path, now + path[len(lies) :], as_link=True)

    def _file(self, lies: str, now: str, *, as_link: bool) -> None:
        """Copy a file, times too, or link it. A link stays one only `as_link`."""
        self._make_way(now)
        size = os.path.getsize(lies) if os.path.isfile(lies) else 0
        is_large = size > COPIED_BYTES or self._copied + size > _MOST_BYTES
        if is_large and os.stat(lies).st_mtime < self._since_s:
            os.symlink(os.path.realpath(lies), now)
            return
        if is_large and shutil.disk_usage(self._base).free < size:
            raise RerunError(
                f"there is no room for a copy of {lies} ({size:,} bytes), which was written since the run began, in"
                f" {os.path.dirname(self._base)}: let TMPDIR name a larger place",
                "data",
            )
        shutil.copy2(lies, now, follow_symlinks=not as_link)
        self._copied += 0 if is_large else size

    def _make_way(self, path: str) -> None:
        self._check(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)

    def _check(self, path: str) -> None:
        """See that a path lies in the world, whatever links lead to it."""
        if not is_inside(path, self._base):
            raise RerunError(f"{path} leads out of the copy of the project: nothing is written there", "data")


def is_inside(path: str, base: str) -> bool:
    """Whether what is made at a path lies in a folder: no link on the way to it leads out."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), "").startswith(os.path.join(base, ""))


def written_since(folder: str, since_s: float) -> bool:
    """Whether anything in a folder was written after a moment; also where there is too much to tell."""
    left = _MOST_LOOKED_AT
    for parent, _, names in os.walk(folder):
        left -= 1 + len(names)
        if left < 0 or os.stat(parent).st_mtime >= since_s:
            return True
        if any(os.lstat(os.path.join(parent, name)).st_mtime >= since_s for name in names):
            return True
    return False


def files_at(path: str) -> list[str]:
    """What a path or pattern names; nothing where nothing is there."""
    if os.path.exists(path):
        return [path]
    return sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []


def _fixed(pattern: str) -> str:
    """The folder that a pattern begins with."""
    parts = pattern.split(os.sep)
    return os.sep.join(parts[: next((place for place, part in enumerate(parts) if glob.has_magic(part)), 0)])


def _is_bare(folder: str) -> bool:
    """Whether there is nothing in a folder but folders, or no folder."""
    return not os.path.islink(folder) and not any(names for _, _, names in os.walk(folder))
