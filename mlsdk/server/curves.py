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
    steps, values = _plain(steps), _plain(values)
    if not math.isfinite(sum(values)):
        finite = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
        steps, values = [step for step, _ in finite], [value for _, value in finite]
    if steps != sorted(steps):
        pairs = sorted(zip(steps, values, strict=True), key=lambda pair: pair[0])
        steps, values = [step for step, _ in pairs], [value for _, value in pairs]
    size = len(steps)
    if size <= 2 * _COLUMNS:
        return [(float(step), float(value)) for step, value in zip(steps, values, strict=True)]
    found: list[tuple[float, float]] = []
    for column in range(_COLUMNS):
        begin, end = size * column // _COLUMNS, size * (column + 1) // _COLUMNS
        part = values[begin:end]
        places = {begin + part.index(min(part)), begin + part.index(max(part))}
        found += [(float(steps[at]), float(values[at])) for at in sorted(places)]
    return found


def _plain(column: Any) -> list[Any]:
    return list(column.tolist()) if hasattr(column, "tolist") else list(column)
