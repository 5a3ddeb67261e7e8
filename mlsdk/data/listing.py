"""Files, folders and patterns: the id of their bytes, and the table of their names.

The id of a file is the SHA-256 of its bytes. That of a folder, and of a pattern such as `data/*.csv`, is the SHA-256
over what it holds, one entry a file, sorted by name: size, a blank, the file's SHA-256 in hexadecimal, a blank, the
path below the folder with slashes, a zero byte. Hidden files count, a store
(`.mlsdk`) does not; folders without a file do not. A link inside a
folder is what it points to: it stands with `-> target` for its content and is not followed, so that a folder never
drags in what lies outside of it.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from typing import NamedTuple

from mlsdk.config import STORE_FOLDER
from mlsdk.data.statcache import Note, StatCache, stat_of, trusted
from mlsdk.errors import UsageError

_BUFFER = 256 << 10
_SHOWN = 5


class File(NamedTuple):
    """A file by its bytes."""

    path: str
    """Below the folder, with slashes."""
    size_bytes: int
    sha256: str
    is_link: bool = False


def hash_file(path: str) -> Note:
    """Read a file once; its SHA-256, with the stat under which that holds.

    Raises:
        OSError: it cannot be read.
        UsageError: it was changed meanwhile, or is a device, a pipe or a socket.
    """
    noted_ns = time.time_ns()
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise UsageError(f"{path!r} is no regular file; fingerprint what it gives, as bytes or rows")
    hashed = hashlib.sha256()
    buffer = bytearray(_BUFFER)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as file:
        before = stat_of(os.fstat(file.fileno()))
        while count := file.readinto(buffer):
            hashed.update(view[:count])
        if stat_of(os.fstat(file.fileno())) != before:
            raise UsageError(f"{path!r} was changed while it was read; fingerprint it when nobody writes to it")
    return Note(before, noted_ns, hashed.hexdigest())


def note_of(path: str, cache: StatCache, *, trust_mtime: bool = False) -> Note:
    """What is known of a file's bytes, from the cache where it is unchanged.

    Raises:
        UsageError: it cannot be read, was changed meanwhile, or is no regular file.
    """
    real = os.path.realpath(path)
    trust = cache.folder is not None and (trust_mtime or trusted(real))
    try:
        if trust:
            note = cache.notes(real).get("")
            if note and note.holds(stat_of(os.stat(real))):
                return note
        note = hash_file(real)
    except OSError as error:
        raise UsageError(f"cannot read {path!r}: {error.strerror or error}") from error
    if trust:
        cache.keep_notes(real, {"": note})
    return note


def listing(path: str, cache: StatCache, *, trust_mtime: bool = False) -> list[File]:
    """What a folder, or a pattern, holds, sorted by the bytes of the names.

    Raises:
        UsageError: something in it cannot be read, or was changed meanwhile; the message names it.
    """
    folder = os.path.isdir(path)
    name = os.path.realpath(path) if folder else os.path.abspath(path)
    root = name if folder else _fixed_part(name)
    known = cache.notes(name)
    trust: dict[int, bool] = {}
    """By device: another file system may be mounted below."""
    notes: dict[str, Note] = {}
    files: list[File] = []
    failed: list[str] = []
    found = dict.fromkeys(_walk(root, "", failed), False) if folder else _matches(name, root, failed)
    for relative, named in found.items():
        whole = os.path.join(root, relative)
        try:
            # A name that the pattern gave is the caller's own word: a link there is followed. See the module's text.
            looks = os.stat(whole) if named else os.lstat(whole)
            if stat.S_ISLNK(looks.st_mode):
                target = os.fsencode(os.readlink(whole))
                digest = hashlib.sha256(b"-> " + target).hexdigest()
                files.append(File(_slashes(relative), len(target), digest, is_link=True))
                continue
            if looks.st_dev not in trust:
                trust[looks.st_dev] = trust_mtime or trusted(os.path.realpath(whole))
            note = known.get(relative) if trust[looks.st_dev] else None
            if note is None or not note.holds(stat_of(looks)):
                note = hash_file(whole)
            if trust[looks.st_dev]:
                notes[relative] = note
            files.append(File(_slashes(relative), note.stat.size, note.sha256))
        except OSError as error:
            failed.append(f"cannot read {whole!r} ({error.strerror or error})")
        except UsageError as error:
            failed.append(str(error))
    if failed:
        more = f" and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
        raise UsageError(f"cannot fingerprint {path!r}: " + "; ".join(sorted(failed)[:_SHOWN]) + more)
    if notes != known:
        cache.keep_notes(name, notes)
    return sorted(files, key=lambda file: _bytes(file.path))


def digest_of_listing(files: list[File]) -> str:
    """The SHA-256 of a folder or pattern: see the module's text for its form."""
    hashed = hashlib.sha256()
    for file in files:
        hashed.update(b"%d %s %s\0" % (file.size_bytes, file.sha256.encode("ascii"), _bytes(file.path)))
    return hashed.hexdigest()


def _walk(root: str, below: str, failed: list[str]) -> Iterator[str]:
    """Every file and link below a folder, by relative path."""
    folder = os.path.join(root, below)
    try:
        with os.scandir(folder) as found:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    except OSError as error:
        failed.append(f"cannot read {folder!r} ({error.strerror or error})")
        return
    for name, is_folder in entries:
        if name == STORE_FOLDER:
            continue
        relative = os.path.join(below, name)
        if is_folder:
            yield from _walk(root, relative, failed)
        else:
            yield relative


def _matches(pattern: str, root: str, failed: list[str]) -> dict[str, bool]:
    """Every file of a pattern, by path below its fixed part: whether it is named itself, or only a folder above it."""
    found: dict[str, bool] = {}
    for match in glob.iglob(pattern, recursive=True):
        relative = os.path.relpath(match, root)
        relative = "" if relative == os.curdir else relative
        if os.path.isdir(match):
            for below in _walk(root, relative, failed):
                found.setdefault(below, False)
        else:
            found[relative] = True
    return found


def _fixed_part(pattern: str) -> str:
    """The folder above the first name with a wildcard."""
    while glob.has_magic(pattern):
        pattern = os.path.dirname(pattern)
    return pattern


def _slashes(path: str) -> str:
    return path.replace(os.sep, "/")


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
