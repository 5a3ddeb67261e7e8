"""The interval in which one more result is to be expected, after some results of the same program."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """From the lowest to the highest value that one more result is expected to have."""

    low: float
    high: float


def prediction_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Mean ± t · s · sqrt(1 + 1/k) of k values, which are taken to be normally distributed.

    Args:
        values: at least two.
        confidence: how often one more value of the same kind lies in it.

    >>> low, high = prediction_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> round((high - 3) / statistics.stdev([1.0, 2.0, 3.0, 4.0, 5.0]), 2)
    3.04
    """
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    reach = student_t(len(values) - 1, confidence) * spread * math.sqrt(1 + 1 / len(values))
    return Interval(mean - reach, mean + reach)


def student_t(freedom: int, confidence: float) -> float:
    """The t for which a Student variable lies within ±t that often.

    The angle atan(t / sqrt(n)) is looked for by halving: in it the probability is a finite sum (Abramowitz and Stegun,
    Handbook of Mathematical Functions, 26.7.3 and 26.7.4).

    >>> round(student_t(4, 0.95), 4), round(student_t(1, 0.95), 4), round(student_t(30, 0.99), 4)
    (2.7764, 12.7062, 2.75)
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _probability(middle, freedom) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _probability(angle: float, freedom: int) -> float:
    """How often a Student variable is within ±sqrt(n)·tan(angle)."""
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = term if freedom > 1 else 0.0
    for place in range(2 if odd else 1, freedom - 1, 2):
        term *= square * place / (place + 1)
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
