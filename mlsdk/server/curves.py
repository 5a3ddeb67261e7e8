"""A metric as a small SVG curve: the extremes of each stretch of steps, so that no peak is lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT = 300, 80
_COLUMNS = 150


def drawn(steps: Sequence[int], values: Sequence[float]) -> str:
    """SVG of a series; empty where nothing is finite.

    >>> drawn([0, 1], [1.0, 3.0]).count("polyline")
    1
    """
    points = _extremes(steps, values)
    if len(points) < 2:
        return ""
    left, right = points[0][0], max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    wide, tall = (right - left) or 1, (high / 2 - low / 2) or 1.0  # halved: the difference may be beyond all floats
    text = " ".join(
        f"{(x - left) / wide * WIDTH:.1f},{HEIGHT - 4 - (y / 2 - low / 2) / tall * (HEIGHT - 8):.1f}" for x, y in points
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" preserveAspectRatio="none"><polyline points="{text}"/></svg>'
    )


def _extremes(steps: Sequence[int], values: Sequence[float]) -> list[tuple[float, float]]:
    """The first, least and greatest point of each stretch, in the order of steps."""
    pairs = sorted(zip(_plain(steps), _plain(values), strict=True), key=lambda pair: pair[0])
    finite = [(float(step), float(value)) for step, value in pairs if math.isfinite(value)]
    size = len(finite)
    if size <= 2 * _COLUMNS:
        return finite
    found: list[tuple[float, float]] = []
    for column in range(_COLUMNS):
        part = finite[size * column // _COLUMNS : size * (column + 1) // _COLUMNS]
        least, most = min(part, key=lambda pair: pair[1]), max(part, key=lambda pair: pair[1])
        found += sorted({least, most})
    return found


def _plain(column: Any) -> list[Any]:
    return list(column.tolist()) if hasattr(column, "tolist") else list(column)
