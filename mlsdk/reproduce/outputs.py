"""What two runs printed, compared: where a run logged, returned and put away nothing, that is all there is to go by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from mlsdk.errors import NotFoundError
from mlsdk.log.decode import Output, decode
from mlsdk.records import Run
from mlsdk.reproduce.alike import Gap, text_gap
from mlsdk.reproduce.contents import Match, Unlike
from mlsdk.store.base import Store

STDOUT = 1

_TIMES = re.compile(
    r"\b\d\d?:\d\d(?::\d\d)?\b|\b\d{4}-\d\d-\d\d\b|\b\d+(?:\.\d+)?\s*(?:s|ms|us|µs|ns|secs?|seconds?|minutes?|mins?|hours?)\b"
    r"|\b\d+(?:\.\d+)?\s*[\w ]{0,12}(?:/s|/sec|/second|per second)\b",
    re.IGNORECASE,
)


class Compared(NamedTuple):
    """How an output compares with that of two reruns."""

    match: Match
    """The original against the first rerun."""
    again: Match
    """The first rerun against the second."""
    left_out: int
    """Lines that were not compared: they hold times, or the reruns differ in them."""


def printed(store: Store, run: Run) -> list[str]:
    """The lines that a run wrote to stdout, secrets left out."""
    pieces: list[Output] = []
    for log in store.logs.list(f"runs/{run.id}/"):
        try:
            found = [entry for entry, _ in decode(store.logs.read(log), live=True) if isinstance(entry, Output)]
        except NotFoundError:  # erased in this moment
            continue
        pieces += [piece for piece in found if piece.stream == STDOUT]
    pieces.sort(key=lambda piece: piece.t)
    return "".join(piece.text for piece in pieces).splitlines()


def compare(run: Sequence[str], one: Sequence[str], other: Sequence[str]) -> Compared:
    """How the lines of a run compare with those of two reruns of it, line by line.

    >>> compare(["acc 0.5", "took 3 s"], ["acc 0.5", "took 4 s"], ["acc 0.5", "took 5 s"]).match.level(0.0)
    'B'
    """
    same_length = len(one) == len(other)
    moving = {place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]}
    timed = {place for place, line in enumerate(one) if _TIMES.search(line)}
    apart = [place for place in sorted(moving - timed) if text_gap(one[place], other[place])]
    again = [_unlike(place, one, other) for place in apart]
    if not same_length:
        again.append(_lengths(one, other))
    kept = [place for place in range(min(len(one), len(other))) if place not in moving and place not in timed]
    found = [_unlike(place, run, one) for place in kept if place >= len(run) or run[place] != one[place]]
    if same_length and len(run) > len(one):
        found.append(_lengths(run, one))
    lines = {"output": len(kept)} if kept else {}
    return Compared(Match(lines, tuple(found)), Match(lines, tuple(again)), len(one) - len(kept))


def _unlike(place: int, a: Sequence[str], b: Sequence[str]) -> Unlike:
    ours = a[place] if place < len(a) else None
    gap = Gap("", None, b[place]) if ours is None else text_gap(ours, b[place])
    return Unlike("output", f"line {place + 1}", gap or Gap("", ours, b[place], 0.0))


def _lengths(a: Sequence[str], b: Sequence[str]) -> Unlike:
    return Unlike("output", "lines", Gap("", len(a), len(b)))
