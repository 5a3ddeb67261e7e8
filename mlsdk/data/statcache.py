"""What was read before need not be read again: digests by stat, with git's rule for racy entries.

A file is taken for unchanged when device, inode, size, both times (in ns) and real path are those under which its
digest was noted. A change within the same tick of the clock leaves all of them as they were, so an entry counts only
if the file had been left alone for two seconds when it was noted (git's "racy" rule:
Documentation/technical/racy-git). On a network file system times are another machine's, so nothing is trusted there
unless the caller asks for it.

The cache is a folder of files that are written whole under a temporary name and then renamed: many processes may use
it at once, a damaged file is passed over, and everything in it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from mlsdk import config
from mlsdk.log.filesystem import filesystem_of, is_network

RACY_NS = 2_000_000_000
LIMIT_BYTES = 512 << 20
LIMIT_FILES = 10_000
_STALE_S = 3600.0
_DAY_S = 86_400.0


class Stat(NamedTuple):
    """By what a file is known without reading it."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Note(NamedTuple):
    """What was known of a file, and when."""

    stat: Stat
    noted_ns: int
    sha256: str

    def holds(self, now: Stat) -> bool:
        """Whether a file that looks like this now is still the one that was read."""
        return self.stat == now and not racy(now, self.noted_ns)


def stat_of(found: os.stat_result) -> Stat:
    """The part of a stat that a change of the file would change."""
    return Stat(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def racy(stat: Stat, noted_ns: int) -> bool:
    """Whether the file was changed so shortly before it was noted that a later change could look the same."""
    return max(stat.mtime_ns, stat.ctime_ns) > noted_ns - RACY_NS


def trusted(path: str) -> bool:
    """Whether times of files at `path` are this machine's own."""
    return not is_network(filesystem_of(path)) and not path.startswith("\\\\")


def default_folder() -> str:
    """Where the cache of the user lies."""
    return os.path.join(config.cache_folder(), "data")


class StatCache:
    """A folder with what is known of files read before; with no folder it knows nothing and keeps nothing.

    Nothing here raises: a cache that cannot be read or written only makes things slower.

    Args:
        folder: where to keep it; None for nowhere.
        limit_bytes: about how large it may grow; the entries that were written first go first.
    """

    def __init__(self, folder: str | None, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes

    def notes(self, name: str) -> dict[str, Note]:
        """What was noted under a name (a real path, or a pattern): relative path -> note; a lone file is `""`."""
        if self.folder is None:
            return {}
        try:
            with open(self.path(name, ".stat"), "rb") as file:
                check, _, text = file.read().partition(b"\n")
            if int(check, 16) != zlib.crc32(text):
                return {}
            held = json.loads(text)
            if held["name"] != name:
                return {}
            return {
                path: Note(Stat(*stat), noted_ns, sha256) for path, (stat, noted_ns, sha256) in held["files"].items()
            }
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def keep_notes(self, name: str, notes: Mapping[str, Note]) -> None:
        """Note what is now known under a name; what could not be trusted later is left out."""
        files = {path: tuple(note) for path, note in notes.items() if not racy(note.stat, note.noted_ns)}
        if files and self.folder is not None:
            text = json.dumps({"name": name, "files": files}, separators=(",", ":")).encode("ascii")
            self.keep(self.path(name, ".stat"), b"%08x\n" % zlib.crc32(text) + text)

    def path(self, name: str, suffix: str) -> str:
        """The file in which an entry is, or would be."""
        hashed = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
        return os.path.join(self.folder or os.devnull, hashed[:40] + suffix)

    def keep(self, path: str, data: bytes) -> bool:
        """Write an entry whole, or not at all; whether it is there now."""
        if self.folder is None or len(data) > self.limit_bytes // 4:
            return False
        # Not of `random`: whoever reads data between two random numbers shall get the same ones without us.
        chance = os.urandom(5)
        part = f"{path}.{os.getpid()}.{chance[1:].hex()}.part"
        try:
            if not os.path.isdir(self.folder):
                # Not what is above it: a store that was deleted shall not come back. And for nobody else: others could
                # plant digests in a folder that they may write.
                os.mkdir(self.folder, 0o700)
            with open(part, "wb") as file:
                file.write(data)
            os.replace(part, path)
        except OSError:
            _remove(part)
            return False
        # Looking at every entry costs milliseconds, so the small ones do it seldom.
        if len(data) > self.limit_bytes // 64 or chance[0] < 8:
            self.prune()
        return True

    def touch(self, path: str) -> None:
        """An entry that is used does not count as old; said at most once a day."""
        try:
            if time.time() - os.stat(path).st_mtime > _DAY_S:
                os.utime(path)
        except OSError:
            pass

    def prune(self) -> None:
        """Delete the oldest entries until the rest is within the limits."""
        entries = []
        try:
            with os.scandir(self.folder or os.devnull) as found:
                for entry in found:
                    seen = entry.stat()
                    if entry.name.endswith(".part"):
                        if time.time() - seen.st_mtime > _STALE_S:
                            _remove(entry.path)
                    elif entry.name.endswith((".stat", ".table")):
                        entries.append((seen.st_mtime_ns, seen.st_size, entry.path))
        except OSError:
            return
        size, count = sum(entry[1] for entry in entries), len(entries)
        for _, length, path in sorted(entries):
            if size <= self.limit_bytes and count <= LIMIT_FILES:
                break
            _remove(path)
            size, count = size - length, count - 1


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
