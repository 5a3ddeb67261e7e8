"""Bringing files into a world: copied while they are small, linked where they are large or many."""

from __future__ import annotations

import glob
import os
import shutil
from typing import BinaryIO

COPIED_BYTES = 64_000_000
"""A larger file, or folder, is linked."""

_MOST_BYTES = 1_000_000_000
"""After so much has been copied, all else is linked."""


class Carrier:
    """Brings files to one world."""

    def __init__(self) -> None:
        self._copied = 0

    def bring(self, lies: str, now: str) -> None:
        """Put a file, a folder, or what fits a pattern somewhere else, over what is there.

        Raises:
            OSError: it cannot be read.
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
        _make_way(path)
        with open(path, "wb") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                shutil.copyfileobj(data, file)

    def _folder(self, lies: str, now: str) -> None:
        files = [os.path.join(parent, name) for parent, _, names in os.walk(lies) for name in names]
        if _is_bare(now) and sum(os.lstat(path).st_size for path in files) > COPIED_BYTES:
            shutil.rmtree(now, ignore_errors=True)
            os.makedirs(os.path.dirname(now), exist_ok=True)
            os.symlink(lies, now)
            return
        for path in files:
            self._file(path, now + path[len(lies) :], as_link=True)

    def _file(self, lies: str, now: str, *, as_link: bool) -> None:
        """Copy a file, times too, or link it. A link stays one only `as_link`."""
        _make_way(now)
        size = os.path.getsize(lies) if os.path.isfile(lies) else 0
        if size > COPIED_BYTES or self._copied + size > _MOST_BYTES:
            os.symlink(os.path.realpath(lies), now)
        else:
            shutil.copy2(lies, now, follow_symlinks=not as_link)
            self._copied += size


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


def _make_way(path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
