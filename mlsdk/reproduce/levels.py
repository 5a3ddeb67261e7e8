"""Levels in words: what was compared, how far it differs, and what is to be expected of a program that varies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import NamedTuple

from mlsdk.errors import RerunError
from mlsdk.records import Run
from mlsdk.reproduce.outcome.contents import SAMPLED, Match, Unlike, is_of_time
from mlsdk.reproduce.outcome.gap import number_gap
from mlsdk.reproduce.outcome.interval import CONFIDENCE, prediction_interval
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.trials import Trials
from mlsdk.reproduce.verdict import Level

_SHOWN = 3
"""Of names, so many are told."""


class Size(NamedTuple):
    """How large differences are; None where not all can be measured so."""

    relative: float | None
    ulps: int | None


def largest(unlike: Sequence[Unlike]) -> Size:
    """The largest differences."""
    relative = max((one.gap.relative for one in unlike), default=0.0)
    ulps = [one.gap.ulps for one in unlike if one.gap.ulps is not None]
    return Size(
        relative if math.isfinite(relative) else None, max(ulps, default=0) if len(ulps) == len(unlike) else None
    )


_KINDS = MappingProxyType(
    {
        "metric": ("metric", "metrics"),
        "final": ("last value", "last values"),
        "returned": ("returned value", "returned values"),
        "artifact": ("artifact", "artifacts"),
        "end": ("failure", "failures"),
        "output": ("line of output", "lines of output"),
    }
)


def _compared(match: Match) -> str:
    return ", ".join(f"{count:,} {_KINDS[kind][count != 1]}" for kind, count in match.compared.items())


def nothing_to_compare(match: Match) -> str:
    """Why there is no level, and what to do."""
    timed = dict.fromkeys([*(one.what for one in match.aside), *sorted(name for _, name in match.steady)])
    but = f" but measures of time: {', '.join(timed)}" if timed else ""
    more = f" (not looked into: {', '.join(match.skipped)})" if match.skipped else ""
    return f"there is nothing to compare{but}{more}; log a metric, return a value, or put an artifact away"


def said(match: Match, level: Level, tolerance: float) -> str:
    """What was compared, and how much of it differs."""
    if level == "B":
        return f"the same bit by bit in two reruns: {_compared(match)}"
    size = largest(match.unlike)
    large = "" if size.relative is None else f", by {size.relative:.2g} at most"
    ulps = "" if size.ulps is None or level != "T" else f" ({size.ulps:,} ulps)"
    alone = len(match.unlike) == 1
    how = f"within {tolerance:g}" if level == "T" else "from the run"
    return f"{_names(match.unlike)} {'differs' if alone else 'differ'} {how}{large}{ulps}"


def _names(unlike: Sequence[Unlike]) -> str:
    kinds = {"final": "last value of", "end": "how it ended:"}
    return _some(
        [one.what if one.kind == "output" else f"{kinds.get(one.kind, one.kind)} {one.what}" for one in unlike]
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def statistical(trials: Trials, recipe: Recipe, reruns: int, reason: str) -> tuple[Level, str]:
    """`S` if the run's final numbers are such as more reruns give, else `X`, and why."""
    try:
        while len(trials.made) < reruns:
            trials.rerun(recipe, f"{len(trials.made) + 1} of {reruns}, to see how much they vary")
    except RerunError as error:
        return "X", f"{reason}; not every rerun could be made: {error}"
    made = trials.made[:reruns]
    varying = {one.what for other in made[1:] for one in trials.unlike(made[0], other)}
    steady = [one for one in trials.match(made[0]).unlike if one.what not in varying]
    if steady:
        return "X", f"{reason}; {len(made)} reruns agree with each other on {_names(steady)}"
    if any(one.status is not trials.run.status for one in made):
        return "X", f"{reason}; of {len(made)} reruns not all ended as the run did"
    names = [name for name in _finals(trials.run) if all(name in _finals(one) for one in made)]
    if not names:
        return "X", f"{reason}; no number that all reruns have at their end tells how much they vary"
    # Each of many intervals is left now and then: together they are to be as sure as one alone.
    confidence = 1 - (1 - CONFIDENCE) / len(names)
    for name in names:
        value, values = _finals(trials.run)[name], [_finals(one)[name] for one in made]
        low, high = prediction_interval(values, confidence) if all(map(math.isfinite, values)) else (math.nan, math.nan)
        if not (low <= value <= high or any(number_gap(value, one) is None for one in values)):
            return "X", (
                f"{name} was {value:g}, and after {len(made)} reruns, which vary too, a value from {low:g} to {high:g}"
                f" was to be expected ({CONFIDENCE:.0%} for all)"
            )
    return "S", (
        f"reruns differ from each other too; what the run came to in {_some(names)} is what {len(made)} of them"
        f" let expect ({CONFIDENCE:.0%} prediction interval)"
    )


def _finals(run: Run) -> dict[str, float]:
    """The last values of metrics that are content."""
    kept = {
        name: one.last for name, one in run.metrics.items() if not name.startswith(SAMPLED) and not is_of_time(name)
    }
    returned = run.code.get("returned")
    if not kept and isinstance(returned, dict):
        kept = {path: value for path, value in returned.items() if type(value) in (int, float)}
    return kept
