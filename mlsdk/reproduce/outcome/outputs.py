"""What two runs printed, compared: where a run logged, returned and put away nothing, that is all there is to go by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from mlsdk.errors import NotFoundError
from mlsdk.log.decode import Output, decode
from mlsdk.records import Run
from mlsdk.reproduce.outcome.contents import Match, Unlike
from mlsdk.reproduce.outcome.gap import Gap, text_gap
from mlsdk.store.base import Store

STDOUT = 1

_TIMES = re.compile(
    r"\b\d\d?:\d\d(?::\d\d)?\b|\b\d{4}-\d\d-\d\d\b|\b\d+(?:\.\d+)?\s*(?:s|ms|us|µs|ns|secs?|seconds?|minutes?|mins?|hours?)\b"
    r"|\b\d+(?:\.\d+)?\s*[\w ]{0,12}(?:/s|/sec|/second|per second)\b",
    re.IGNORECASE,
)


class Steady(NamedTuple):
    """What two reruns of a program printed alike."""

    lines: int
    """How many lines there are; -1 if the reruns differ in that."""
    kept: tuple[int, ...]
    """The places of the lines to go by: those in which the reruns agree, and that hold no times."""
    unlike: tuple[Unlike, ...]
    """How the reruns differ from each other."""


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


def steady(one: Sequence[str], other: Sequence[str]) -> Steady:
    """What two reruns printed alike.

    >>> steady(["acc 0.5", "took 4 s", "tmp a"], ["acc 0.5", "took 5 s", "tmp b"]).kept
    (0,)
    """
    same_length = len(one) == len(other)
    timed = {place for place, line in enumerate(one) if _TIMES.search(line)}
    places = [place for place in range(min(len(one), len(other))) if place not in timed]
    unlike = [_unlike(place, one, other) for place in places if one[place] != other[place]]
    kept = tuple(place for place in places if one[place] == other[place])
    return Steady(len(one) if same_length else -1, kept, (*unlike, *([] if same_length else [_lengths(one, other)])))


def compare(run: Sequence[str], new: Sequence[str], by: Steady) -> Match:
    """How the lines of a run compare with those of a rerun, line by line.

    >>> one = ["acc 0.5", "took 4 s"]
    >>> compare(["acc 0.5", "took 3 s"], one, steady(one, ["acc 0.5", "took 5 s"])).level(0.0)
    'B'
    """
    found = [_unlike(place, run, new) for place in by.kept if run[place : place + 1] != new[place : place + 1]]
    if by.lines >= 0 and len(run) != len(new):
        found.append(_lengths(run, new))
    left_out = by.lines - len(by.kept)
    skipped = (
        {"output": f"{left_out:,} lines that hold times, or that no two reruns have alike"} if left_out > 0 else {}
    )
    return Match({"output": len(by.kept)} if by.kept else {}, tuple(found), skipped=skipped)


def _unlike(place: int, a: Sequence[str], b: Sequence[str]) -> Unlike:
    ours, theirs = (lines[place] if place < len(lines) else None for lines in (a, b))
    gap = Gap("", ours, theirs) if ours is None or theirs is None else text_gap(ours, theirs)
    return Unlike("output", f"line {place + 1}", gap or Gap("", ours, theirs, 0.0))


def _lengths(a: Sequence[str], b: Sequence[str]) -> Unlike:
    return Unlike("output", "number of lines", Gap("", len(a), len(b)))
