"""What a capture wants to find again, in files that may be gone at any time.

What is about a project lies below `cache/` in the store, what is about the machine in the user's own folder for caches.
"""

from __future__ import annotations

import contextlib
import os

from mlsdk import config


def path_of(root: str, name: str) -> str:
    """Where an entry of a store lies, or would lie; its name may have folders, parted by slashes."""
    return os.path.join(root, "cache", *name.split("/"))


def read(root: str | None, name: str) -> bytes | None:
    """What was kept in a store, or None."""
    return None if root is None else _read(path_of(root, name))


def write(root: str | None, name: str, data: bytes) -> None:
    """Keep something in a store, whole or not at all; a full disk costs the next run time and nothing else.

    A store that was deleted meanwhile does not come back by it.
    """
    if root is not None and os.path.isdir(os.path.join(root, "open")):
        _write(path_of(root, name), data)


def read_own(name: str) -> bytes | None:
    """What was kept for this user on this machine, or None."""
    return _read(_own(name))


def write_own(name: str, data: bytes) -> None:
    """Keep something for this user on this machine, for all stores; whole or not at all."""
    _write(_own(name), data)


def _own(name: str) -> str:
    return os.path.join(config.cache_folder(), *name.split("/"))


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def _write(path: str, data: bytes) -> None:
    part = f"{path}.{os.getpid()}-{os.urandom(4).hex()}.part"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(part, "xb") as file:
            file.write(data)
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
