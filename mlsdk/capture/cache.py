"""What a capture wants to find again: files below `cache/` in the store, which may be gone at any time."""

from __future__ import annotations

import contextlib
import os


def path_of(root: str, name: str) -> str:
    """Where an entry lies, or would lie; its name may have folders, parted by slashes."""
    return os.path.join(root, "cache", *name.split("/"))


def read(root: str | None, name: str) -> bytes | None:
    """What was kept, or None."""
    if root is None:
        return None
    try:
        with open(path_of(root, name), "rb") as file:
            return file.read()
    except OSError:
        return None


def write(root: str | None, name: str, data: bytes) -> None:
    """Keep something, whole or not at all; a full disk costs the next run time and nothing else.

    A store that was deleted meanwhile does not come back by it.
    """
    if root is None or not os.path.isdir(os.path.join(root, "open")):
        return
    path = path_of(root, name)
    part = f"{path}.{os.getpid()}-{os.urandom(4).hex()}.part"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(part, "xb") as file:
            file.write(data)
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
