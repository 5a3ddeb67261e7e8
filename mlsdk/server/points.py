"""How many values of metrics a piece of a log holds: by the lengths of its frames, without reading them."""

from __future__ import annotations

from mlsdk.log.frames import CHECKSUM, HEADER, POINTS, POINTS_HEAD, TYPES

_FEW = 8
"""Frames that are alike before it is tried whether more are."""


def count_points(data: bytes) -> int:
    """Values in the points frames of a piece that begins at a frame; 0 from where it is something else.

    Frames that follow each other are mostly of one length: they are looked at together, by the bytes of their lengths.

    >>> from mlsdk.testing import MadeLog
    >>> log = MadeLog().points(["a", "b"], [(step, 1.0, 2.0) for step in range(100)])
    >>> count_points(log.data)
    200
    """
    view, at, end, found = memoryview(data), 0, len(data), 0
    while at + HEADER.size <= end:
        length, kind, _ = HEADER.unpack_from(view, at)
        size = HEADER.size + length + CHECKSUM.size
        if kind not in TYPES or at + size > end:
            break
        if kind != POINTS:
            at += size
            continue
        count = _alike(data, at, size)
        found += count * max(0, (length - POINTS_HEAD.size) // 8)
        at += count * size
    return found


def _alike(data: bytes, at: int, size: int) -> int:
    """How many frames from `at` on have its length and type: of those that a doubling look finds."""
    count, most = 1, (len(data) - at) // size
    head = data[at : at + 5]
    while count < most:
        step = min(max(count, _FEW), most - count)
        start = at + count * size
        stop = start + step * size
        if any(data[start + place : stop : size] != head[place : place + 1] * step for place in range(5)):
            return count if step == 1 else count + _one_by_one(data, start, step, size, head)
        count += step
    return count


def _one_by_one(data: bytes, start: int, most: int, size: int, head: bytes) -> int:
    count = 0
    while count < most and data[start + count * size : start + count * size + 5] == head:
        count += 1
    return count
