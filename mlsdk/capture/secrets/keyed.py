"""Digests that tell of a change and of nothing else: keyed, with a key that stays beside the store.

A plain digest of a short value (an environment variable, a password in a file) can be undone by trying all values. With
a random key it cannot, unless the key is had too: it lies in the store's folder as `key`, readable by its owner only,
and is no part of what is exported or synchronised. Digests of one store can be compared with each other, and with those
of no other store.
"""

from __future__ import annotations

import contextlib
import os

try:
    from _blake2 import blake2b  # a hundredth of the cost of importing hashlib
except ImportError:
    from hashlib import blake2b

FILE = "key"
"""Name of the key's file in the store's folder."""
_KEY_BYTES = 32

_keys: dict[str | None, bytes] = {}


def keyed_digest(root: str | None, data: bytes, *, digits: int = 32) -> str:
    """A digest that only those who have the store's key could try values against: BLAKE2b (RFC 7693), keyed.

    Args:
        root: folder of the store. Of None (a store in memory) the key is one of this process and its forked children.
        data: what to digest.
        digits: hexadecimal digits, up to 32; fewer are the beginning of the 32.

    Where the key can be neither read nor kept, it is one of this process: nothing leaks, and the digests compare with
    those of this process only.

    Example:
        >>> keyed_digest(None, b"a") == keyed_digest(None, b"a"), len(keyed_digest(None, b"b", digits=16))
        (True, 16)
    """
    key = _keys.get(root) or _find_key(root)
    return blake2b(data, digest_size=16, key=key).hexdigest()[:digits]


def _find_key(root: str | None) -> bytes:
    if root is not None:
        with contextlib.suppress(OSError):
            # setdefault: of two threads both use the one that came first
            return _keys.setdefault(root, _read(root) or _make(root))
    return _keys.setdefault(None, os.urandom(_KEY_BYTES))


def _read(root: str) -> bytes | None:
    """The key that is kept, or None if there is none, or only the beginning of one."""
    try:
        with open(os.path.join(root, FILE), "rb") as file:
            key = file.read(_KEY_BYTES)
    except FileNotFoundError:
        return None
    return key if len(key) == _KEY_BYTES else None


def _make(root: str) -> bytes:
    """Keep a new key, or read that of whoever was first. It appears whole: nobody can read half of it."""
    path = os.path.join(root, FILE)
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.part"
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    handle = os.open(temporary, flags, 0o600)
    try:
        try:
            os.write(handle, os.urandom(_KEY_BYTES))
        finally:
            os.close(handle)
        if os.path.exists(path) and os.stat(path).st_size < _KEY_BYTES:  # after a power cut
            os.replace(temporary, path)
        else:
            _keep_first(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    return _read(root) or os.urandom(_KEY_BYTES)


def _keep_first(temporary: str, path: str) -> None:
    """Give a file its name unless that is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not os.path.exists(path):
            os.rename(temporary, path)
