"""Identifiers: UUIDv7 (RFC 9562) as 32 lowercase hexadecimal digits, rising within a process."""

from __future__ import annotations

import os
import time
from threading import RLock

_last = 0
_lock = RLock()


def new_id() -> str:
    """Make an id that sorts after all ids made before it in this process.

    48 bits of milliseconds, then 12 bits of a fraction of the millisecond, then 62 random bits. After a fork the random
    bits keep parent and child apart.

    >>> len(new_id()), new_id() < new_id()
    (32, True)
    """
    global _last
    ns = time.time_ns()
    stamp = (ns // 1_000_000) << 12 | (ns % 1_000_000) * 4096 // 1_000_000
    with _lock:
        stamp = _last = max(stamp, _last + 1)
    random = int.from_bytes(os.urandom(8), "big") & (1 << 62) - 1
    return f"{(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | random:032x}"


def shared_id(ns: int, number: int, digest: bytes) -> str:
    """The id that several processes make alike of what they share.

    Args:
        ns: a time that all of them know, in nanoseconds since 1970: the id sorts by it.
        number: orders ids of the same time.
        digest: 8 bytes or more that nothing else has.

    >>> shared_id(1_700_000_000_000_000_000, 0, b"8 bytes." * 4)
    '018bcfe568007000b82062797465732e'
    """
    stamp = (ns // 1_000_000) << 12 | min(number, 0xFFF)
    random = int.from_bytes(digest[:8], "big") & (1 << 62) - 1
    return f"{(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | random:032x}"


def started_ns(run_id: str) -> int:
    """The time in an id, in nanoseconds since 1970, to the millisecond."""
    return int(run_id[:12], 16) * 1_000_000


def _renew_lock() -> None:
    """In a forked child: a thread of the parent may have held the lock, and is not here to let go of it."""
    global _lock
    _lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
