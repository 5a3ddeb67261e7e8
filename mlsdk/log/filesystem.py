"""Which file systems may be written through a memory map, and which lie on a network.

A map is used only where allocated blocks are known to be there for good: on others a store into the map could end the
process with SIGBUS, or another host could read stale pages.
"""

from __future__ import annotations

import os

MAPPABLE = frozenset({"ext4", "ext3", "ext2", "xfs", "tmpfs"})
NETWORK = frozenset(
    {
        "nfs",
        "nfs4",
        "lustre",
        "gpfs",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "ceph",
        "glusterfs",
        "beegfs",
        "afs",
        "orangefs",
        "virtiofs",
    }
)


def mounts(text: str) -> list[tuple[str, str, str]]:
    """(mount point, type, super options) of each line of a `mountinfo` (proc(5)), in the order of mounting."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if len(fields) >= 5 and len(rest) >= 3:
            found.append((_unescape(fields[4]), rest[0], rest[2]))
    return found


def _unescape(field: str) -> str:
    """Undo the octal escapes of blanks and backslashes in `mountinfo`."""
    if "\\" not in field:
        return field
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def filesystem_of(path: str) -> str:
    """Type of the file system that holds `path`, as the kernel names it; "" where it cannot be known (not Linux).

    An overlay answers the type of its upper layer, where the writes go, as `overlay:ext4`.
    """
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            known = mounts(file.read())
    except OSError:
        return ""
    kind, options = _holding(os.path.realpath(path), known)
    if kind != "overlay":
        return kind
    upper = dict(part.partition("=")[::2] for part in options.split(",")).get("upperdir", "")
    under = _holding(upper, known)[0] if upper else ""
    return f"overlay:{'' if under == 'overlay' else under}"


def _holding(path: str, known: list[tuple[str, str, str]]) -> tuple[str, str]:
    """Type and options of the mount with the longest point above `path`; of equal ones the last, which covers them."""
    best = ("", "")
    length = -1
    for point, kind, options in known:
        inside = path == point or path.startswith(point if point.endswith("/") else point + "/")
        if inside and len(point) >= length:
            best, length = (kind, options), len(point)
    return best


def may_map(kind: str) -> bool:
    """Whether logs on a file system of this type are written through a map."""
    return hasattr(os, "posix_fallocate") and kind.removeprefix("overlay:") in MAPPABLE


def is_network(kind: str) -> bool:
    """Whether a file system of this type may be shared between hosts; those of FUSE are taken to be."""
    return kind in NETWORK or kind.startswith("fuse")
