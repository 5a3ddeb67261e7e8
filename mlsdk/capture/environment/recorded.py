"""What a distribution's RECORD says of its files: which modules they are, whether they are still what was installed.

RECORD: https://packaging.python.org/specifications/recording-installed-packages/#the-record-file
"""

from __future__ import annotations

import csv
import os
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import NamedTuple

_OF_INSTALLERS = ("/INSTALLER", "/REQUESTED", "/RECORD", "/direct_url.json", "/uv_cache.json", "/uv_build.json")
_BLOCK_BYTES = 1 << 20

_tops: dict[str, tuple[int, frozenset[str]]] = {}


class Modified(NamedTuple):
    """Files of a distribution that are not what was installed, by their paths in RECORD."""

    changed: list[str]
    missing: list[str]


def entries(info: str) -> Iterator[tuple[str, str, str]]:
    """Path, digest (`sha256=…`, empty if none) and size (text) of each file.

    Args:
        info: path of the `.dist-info`.

    Raises:
        OSError: there is no RECORD, or it cannot be read.
    """
    with open(os.path.join(info, "RECORD"), encoding="utf-8", errors="surrogateescape", newline="") as file:
        for row in csv.reader(file):
            if row:
                path, digest, size, *_ = [*row, "", ""]
                yield path, digest, size


def tops(info: str) -> frozenset[str]:
    """Names of what a distribution puts at the top of the path: modules, packages, and what else lies there."""
    name = "RECORD" if info.endswith(".dist-info") else "top_level.txt"
    path = os.path.join(info, name)
    try:
        changed = os.stat(path).st_mtime_ns
        if _tops.get(path, (0,))[0] != changed:
            with open(path, encoding="utf-8", errors="replace") as file:
                found = {line.partition(",")[0].partition("/")[0].strip('" \n') for line in file}
            _tops[path] = (changed, frozenset(one.partition(".")[0] for one in found))
    except OSError:
        return frozenset()
    return _tops[path][1]


def holds(info: str, package: str) -> bool:
    """Whether a distribution has files of a package within a namespace, `google.protobuf`."""
    place = package.replace(".", "/")
    try:
        return any(path.startswith((f"{place}/", f"{place}.")) for path, _, _ in entries(info))
    except OSError:
        return False


def modified(info: str) -> Modified:
    """Files that differ from their digests in RECORD, or are gone. Each file is read: torch takes seconds.

    Files without a digest, which installers write as they like (`.pyc`), are not looked at.

    Args:
        info: path of the `.dist-info`.

    Raises:
        OSError: there is no RECORD, or it cannot be read.
    """
    site, found = os.path.dirname(info), Modified([], [])
    for path, digest, size in entries(info):
        name, _, expected = digest.partition("=")
        if not expected:
            continue
        try:
            same = _is_same(os.path.join(site, path), name, expected, size)
        except FileNotFoundError:
            found.missing.append(path)
        except (OSError, ValueError):  # not to be read, or of a digest that this Python lacks: nothing is claimed
            continue
        else:
            if not same:
                found.changed.append(path)
    return found


def _is_same(path: str, name: str, expected: str, size: str) -> bool:
    import hashlib

    if size.isdigit() and os.path.getsize(path) != int(size):
        return False
    hasher = hashlib.new(name)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            hasher.update(block)
    return urlsafe_b64encode(hasher.digest()).rstrip(b"=").decode() == expected


def content_digest(info: str) -> str | None:
    """One digest for all files that a wheel brought, by RECORD: equal for one wheel, whoever installed it.

    What installers add (scripts, bytecode, their own notes) does not count. None where there is no RECORD.

    Args:
        info: path of the `.dist-info`.

    Returns:
        The SHA-256, in hexadecimal, of the sorted lines `path,digest` of RECORD.
    """
    import hashlib

    try:
        lines = sorted(f"{path},{digest}" for path, digest, _ in entries(info) if _is_of_wheel(path, digest))
    except OSError:
        return None
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest() if lines else None


def _is_of_wheel(path: str, digest: str) -> bool:
    return bool(digest) and not path.startswith(("../", "/")) and not path.endswith((".pyc", *_OF_INSTALLERS))
