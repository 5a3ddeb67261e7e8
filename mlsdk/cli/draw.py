"""Series drawn with characters: a spark line of one row, and a chart of several in braille dots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

BLOCKS = "▁▂▃▄▅▆▇█"
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of a braille character by column and row of its dots."""

Bucket = tuple[float, float, float]
"""Least, greatest and mean of some neighbouring values."""


def buckets(values: Sequence[float], count: int) -> list[Bucket | None]:
    """Neighbouring values put together into at most `count` buckets; None where there is nothing finite."""
    size = len(values)
    count = min(count, size)
    return [_bucket(values[size * i // count : size * (i + 1) // count]) for i in range(count)]


def _bucket(part: Any) -> Bucket | None:
    if hasattr(part, "dtype"):
        kept = part[abs(part) < math.inf] if part.dtype.kind == "f" else part
        return (float(kept.min()), float(kept.max()), float(kept.mean())) if len(kept) else None
    finite = [float(value) for value in part if math.isfinite(value)]
    return (min(finite), max(finite), math.fsum(finite) / len(finite)) if finite else None


def spark(values: Sequence[float], width: int) -> str:
    """A line of blocks: the mean of each bucket, from the lowest to the highest; a blank where nothing is finite.

    >>> spark([1, 2, 3, 4], 4)
    '▁▃▆█'
    """
    means = [None if bucket is None else bucket[2] for bucket in buckets(values, width)]
    known = [mean for mean in means if mean is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    return "".join(" " if mean is None else BLOCKS[_level(mean, low, high, len(BLOCKS))] for mean in means)


def _level(value: float, low: float, high: float, count: int) -> int:
    """The step, of `count` even ones from `low` to `high`, at which a value stands; the middle where they are one."""
    span = high / 2 - low / 2  # halved: the difference of two floats may be beyond the greatest
    if not span:
        return count // 2 - 1
    return min(max(round((value / 2 - low / 2) / span * (count - 1)), 0), count - 1)


class Chart(NamedTuple):
    """Lines of braille characters, the top first, as long as each other; the values of the lowest and highest dot."""

    lines: list[str]
    low: float
    high: float


def chart(values: Sequence[float], width: int, height: int) -> Chart | None:
    """A chart of `height` lines and `width` columns: each bucket from its least to its greatest value.

    None where nothing is finite.
    """
    found = buckets(values, 2 * width)
    known = [bucket for bucket in found if bucket is not None]
    if not known:
        return None
    low, high = min(bucket[0] for bucket in known), max(bucket[1] for bucket in known)
    rows = 4 * height
    dots = [[0] * width for _ in range(height)]
    before: int | None = None
    for x in range(2 * width):
        bucket = _between(found, x * (len(found) - 1) / (2 * width - 1))
        if bucket is None:
            before = None
            continue
        bottom, middle, top = (_level(bucket[i], low, high, rows) for i in (0, 2, 1))
        if before is not None:  # joined to the column before, so that a steep line has no gaps
            bottom = min(bottom, before + 1) if before < bottom else bottom
            top = max(top, before - 1) if before > top else top
        before = middle
        for level in range(bottom, top + 1):
            row = rows - 1 - level
            dots[row // 4][x // 2] |= _DOTS[x % 2][row % 4]
    return Chart(["".join(chr(0x2800 + bits) for bits in line) for line in dots], low, high)


def _between(found: list[Bucket | None], place: float) -> Bucket | None:
    """The bucket at a place, which may lie between two."""
    left = found[int(place)]
    right = found[min(int(place) + 1, len(found) - 1)]
    part = place - int(place)
    if left is None or right is None or not part:
        return left
    return (
        left[0] + (right[0] - left[0]) * part,
        left[1] + (right[1] - left[1]) * part,
        left[2] + (right[2] - left[2]) * part,
    )
