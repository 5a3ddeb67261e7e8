"""Looking at the files of a tree: what has changed since the last look is read, all else is only asked for its state.

A file whose size, times, number and mode are those of the last look is taken for unchanged, unless it was written at
about the time of that look: then it could have changed once more within one tick of the clock (git's rule for racy
entries, https://git-scm.com/docs/racy-git).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator

from mlsdk.capture.code.listing import Listing
from mlsdk.capture.code.packs import Packer
from mlsdk.capture.secrets.files import is_secret_file, redact_source
from mlsdk.capture.secrets.keyed import keyed_digest
from mlsdk.capture.secrets.redaction import redact_text

Seen = tuple[int, int, int, int, int, str | None, str]
"""Of a file at the last look: time of change, of its state's change (ns), size, number, mode; the content that was
packed, if one was; its entry as JSON. In the cache it is a list."""

MOST_OTHERS_BYTES = 128_000_000
"""Of files that git does not track, or that a walk found."""

MOST_HASHED_BYTES = 4_000_000_000
"""Of files that are too large to be kept, in one look; what is beyond is not even read."""

_TICK_NS = 20_000_000
_COARSE_TICK_NS = 2_000_000_000
"""Some file systems know only whole seconds, or two."""

_LARGER = "larger than"
_HEAD_BYTES = 4096
_TRIES = 3
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_OPEN |= getattr(os, "O_BINARY", 0)


class Scan:
    """One look at the files of a tree.

    Args:
        listing: which files.
        packer: takes the contents.
        before: by path, what the last look saw.
        largest_bytes: larger files are not kept.
        root: folder of the store, which has the key of keyed digests.

    Attributes:
        seen: by path, what the next look needs.
        changed: whether that is something new.
        files: number of files and links.
        size_bytes: of the files.
        left_out: path, size, digest and reason of files that are not kept.
        redacted: by path, the number of spans that were replaced.
        missing: by path, why a file could not be read.
    """

    def __init__(
        self, listing: Listing, packer: Packer, before: dict[str, Seen], largest_bytes: int, root: str
    ) -> None:
        self.seen: dict[str, Seen] = {}
        self.changed = False
        self.files = 0
        self.size_bytes = 0
        self.left_out: list[dict[str, object]] = []
        self.redacted: dict[str, int] = {}
        self.missing: dict[str, str] = {}
        self._listing = listing
        self._packer = packer
        self._before = before
        self._largest = largest_bytes
        self._store = root
        self._entries: dict[str, str] = {}
        self._contents: list[str] = []
        self._others = 0
        self._hashed = 0
        self._now = time.time_ns()

    def look(self) -> None:
        """Look at every file."""
        for path, why in self._listing.left_out.items():
            self._leave_out(path, why)
        for path, about in self._listing.repositories.items():
            self._entries[path] = _line({"path": path, "kind": "repository", **about})
        for path, tracked in sorted(self._listing.paths.items()):
            if not self._listing.is_here(path):
                continue
            try:
                self._look_at(path, tracked=tracked)
            except OSError as error:  # gone, or not to be read: the others still count
                gone = isinstance(error, (FileNotFoundError, NotADirectoryError))
                self._miss(path, "it vanished before it could be read" if gone else f"cannot be read: {error.strerror}")
        self.changed = self.changed or len(self.seen) != len(self._before)

    def lines(self) -> list[str]:
        """The entries as JSON, by path."""
        return [line for _, line in sorted(self._entries.items())]

    def contents(self) -> list[str]:
        """Digests of what has to be in packs."""
        return self._contents

    def _look_at(self, path: str, *, tracked: bool) -> None:
        full = f"{self._listing.root}/{path}"
        try:
            found = os.lstat(full)
        except (FileNotFoundError, NotADirectoryError):
            if tracked:
                return  # deleted, or outside a sparse checkout: the tree is as it is, without it
            raise
        if not tracked and found.st_size <= self._largest and stat.S_ISREG(found.st_mode):
            self._others += found.st_size
            if self._others > MOST_OTHERS_BYTES:
                limit = f"{MOST_OTHERS_BYTES // 1_000_000:,} MB"
                self._leave_out(path, f"more than {limit} of files that git does not track", found.st_size)
                return
        before = self._before.get(path)
        if before is not None and _state(found) == tuple(before[:5]) and not self._is_outdated(before):
            self._take(path, tuple(before), found)  # type: ignore[arg-type]
        elif stat.S_ISLNK(found.st_mode):
            target = os.fsdecode(os.readlink(os.fsencode(full)))
            if redact_text(target, code=True)[1]:
                self._leave_out(path, "its target holds what looks like a secret")
            else:
                self._see(path, found, None, {"path": path, "kind": "link", "target": target})
        elif stat.S_ISREG(found.st_mode):
            self._read(path, full)
        elif not stat.S_ISDIR(found.st_mode):  # a folder is where git had a file: its files are listed themselves
            self._leave_out(path, "neither a file, a folder nor a link")

    def _is_outdated(self, before: Seen) -> bool:
        """Whether a file that has not changed must be looked at again: the limit may be another."""
        return (before[2] > self._largest) != ('"kind":"left out"' in before[6] and _LARGER in before[6])

    def _take(self, path: str, seen: Seen, found: os.stat_result) -> None:
        """Make what is known of a file part of the tree."""
        line = seen[6]
        self._entries[path] = line
        if '"why"' in line or '"spans"' in line:
            entry = json.loads(line)
            if entry["kind"] == "left out":
                self._tell(entry)
            elif "spans" in entry:
                self.redacted[path] = entry["spans"]
        if seen[5] is not None:
            self._contents.append(seen[5])
            self.size_bytes += seen[2]
        self.files += '"kind":"left out"' not in line
        if _is_settled(found, self._now):
            self.seen[path] = seen

    def _see(self, path: str, found: os.stat_result, content: str | None, entry: dict[str, object]) -> None:
        self.changed = True
        self._take(path, (*_state(found), content, _line(entry)), found)

    def _leave_out(self, path: str, why: str, size: int | None = None) -> None:
        entry: dict[str, object] = {"path": path, "kind": "left out", "size": size, "why": why}
        self._entries[path] = _line(entry)
        self._tell(entry)

    def _tell(self, entry: dict[str, object]) -> None:
        digest = entry.get("sha256") or entry.get("keyed")
        self.left_out.append(
            {"path": entry["path"], "size_bytes": entry["size"], "digest": digest, "why": entry["why"]}
        )

    def _miss(self, path: str, why: str) -> None:
        self._entries[path] = _line({"path": path, "kind": "missing", "why": why})
        self.missing[path] = why

    # reading

    def _read(self, path: str, full: str) -> None:
        """Read a file; one that is being written is read again, and in the end taken with a note."""
        data, entry, found, steady = self._read_once(path, full)
        for _ in range(_TRIES - 1):
            if steady:
                break
            data, entry, found, steady = self._read_once(path, full)
        if not steady:
            self.missing[path] = "it changed while it was read: what is kept may be of two moments"
        if entry is not None:
            self._see(path, found, None, entry)
        else:
            self._keep(path, data, found)

    def _read_once(self, path: str, full: str) -> tuple[bytes, dict[str, object] | None, os.stat_result, bool]:
        """The bytes of a file, or its entry if it is too large; its state, and whether that was so all the while."""
        descriptor = os.open(full, _OPEN)
        try:
            begun = os.fstat(descriptor)
            if not stat.S_ISREG(begun.st_mode):
                raise FileNotFoundError
            data, entry = b"", None
            if begun.st_size <= self._largest:
                data = _whole(descriptor, begun.st_size, self._largest)
            if max(begun.st_size, len(data)) > self._largest:
                os.lseek(descriptor, 0, os.SEEK_SET)
                entry = self._large(path, descriptor, begun)
            ended = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        steady = _state(begun) == _state(ended) and (entry is not None or len(data) == ended.st_size)
        return data, entry, ended, steady

    def _keep(self, path: str, data: bytes, found: os.stat_result) -> None:
        secret = is_secret_file(path, data[:_HEAD_BYTES])
        if secret is not None:
            self._see(path, found, None, _left_out(path, found, secret, {"keyed": keyed_digest(self._store, data)}))
            return
        # What is in a pack as it stands here has no secret in it: to look again would cost as much as all the rest.
        digest = hashlib.sha256(data).hexdigest()
        kept, spans = (data, 0) if self._packer.has(digest) else redact_source(data, path)
        digest = self._packer.add(kept, digest if kept is data else None)
        entry: dict[str, object] = {"path": path, "kind": "file", "mode": _mode(found)}
        entry |= {"size": len(kept), "sha256": digest}
        if spans:
            entry |= {"spans": spans, "keyed": keyed_digest(self._store, data)}
        self._see(path, found, digest, entry)

    def _large(self, path: str, descriptor: int, found: os.stat_result) -> dict[str, object]:
        """The entry of a file that is too large to be kept: its digest, unless too much would have to be read."""
        head = os.read(descriptor, _HEAD_BYTES)
        why = f"{_LARGER} {self._largest:,} bytes"
        if secret := is_secret_file(path, head):
            return _left_out(path, found, f"{secret}, and {why}", {})
        self._hashed += found.st_size
        if self._hashed > MOST_HASHED_BYTES:
            return _left_out(path, found, f"{why}; not read, after {MOST_HASHED_BYTES:,} bytes of others", {})
        hasher = hashlib.sha256(head)
        for chunk in _chunks(descriptor):
            hasher.update(chunk)
        return _left_out(path, found, why, {"sha256": hasher.hexdigest()})


def _left_out(path: str, found: os.stat_result, why: str, digest: dict[str, str]) -> dict[str, object]:
    return {"path": path, "kind": "left out", "mode": _mode(found), "size": found.st_size, **digest, "why": why}


_line: Callable[[dict[str, object]], str] = json.JSONEncoder(separators=(",", ":")).encode


def _mode(found: os.stat_result) -> str:
    return f"{stat.S_IMODE(found.st_mode) & 0o777:03o}"


def _state(found: os.stat_result) -> tuple[int, int, int, int, int]:
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_mode


def _is_settled(found: os.stat_result, now: int) -> bool:
    """Whether a later change of a file could not hide within the tick of the clock at which it was seen."""
    last = max(found.st_mtime_ns, found.st_ctime_ns)
    return last + (_TICK_NS if last % 1_000_000_000 else _COARSE_TICK_NS) < now


def _chunks(descriptor: int) -> Iterator[bytes]:
    yield from iter(lambda: os.read(descriptor, 1 << 20), b"")


def _whole(descriptor: int, size: int, limit: int) -> bytes:
    """All bytes of a file of about this size, but not many more than the limit: it may grow as fast as it is read."""
    data = os.read(descriptor, size + 1)
    if len(data) == size:  # most often: one byte more was asked for, and there was none
        return data
    parts, size = [data], len(data)
    for chunk in _chunks(descriptor):
        parts.append(chunk)
        size += len(chunk)
        if size > limit:
            break
    return b"".join(parts)
