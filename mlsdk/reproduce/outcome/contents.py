"""What two runs came to, compared: metrics point by point, returned values, artifacts by their content.

Files as such are never compared, nor is what a run took: measures of the machine (`system/…`) are left out, and a
metric that measures time is compared but does not count where it is another each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import attrs

from mlsdk.capture.secrets.redaction import REDACTED
from mlsdk.errors import DigestError, NotFoundError
from mlsdk.records import Artifact, MetricSummary, Run, RunStatus
from mlsdk.reproduce.outcome.artifacts import LARGEST_BYTES, NotLookedIntoError, file_gap
from mlsdk.reproduce.outcome.gap import Gap, gap, number_gap, series_gap, text_gap

Kind = Literal["metric", "final", "returned", "artifact", "end", "output"]

SAMPLED = "system/"
CUT_SHORT = (RunStatus.KILLED, RunStatus.LOST, RunStatus.INTERRUPTED)
"""Of a run that ended so, what it has is compared, and not what it would have had."""

TIME = "a measure of time"
BYTES = "bytes of a format that is not known"
MESSAGE = "what it says may hold paths or times"

_OF_TIME = re.compile(
    r"(?:^|[^a-z])(?:time|times|timing|duration|durations|elapsed|fps|latency|throughput|walltime|runtime|eta"
    r"|secs?|seconds?|millis|per_s|per_sec|per_second)(?:[^a-z0-9]|$)|_(?:s|ms|us|ns)$"
)
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PLACES = 3
"""A measure of time with no more decimals is rounded: two of them may agree by chance."""


@attrs.frozen
class Unlike:
    """One thing that two runs came to, and that is not the same.

    Attributes:
        kind: what it is; `final` is the last value of a metric without a history, `end` how the run ended.
        what: its name.
        gap: where and how far it differs; values of the first difference.
        step: of a metric, the step of the first point that differs.
        logged_ns: of a metric, when the first run logged that point.
        doubt: why it may be no content, `TIME`, `BYTES` or `MESSAGE`: see `settled`.
    """

    kind: Kind
    what: str
    gap: Gap
    step: int | None = None
    logged_ns: int | None = None
    doubt: str | None = None


@attrs.frozen
class Match:
    """How two runs compare.

    Attributes:
        compared: by kind, how many things were compared.
        unlike: those that are not the same, what differed first in time before the others.
        aside: those that are not the same and do not count: measures of time, and what nobody can say of.
        skipped: by kind and name, why something was not looked into: neither a match nor a mismatch.
        steady: kinds and names of what is in doubt by its name, and is the same all the same.
    """

    compared: Mapping[str, int] = attrs.field(factory=dict)
    unlike: tuple[Unlike, ...] = ()
    aside: tuple[Unlike, ...] = ()
    skipped: Mapping[str, str] = attrs.field(factory=dict)
    steady: frozenset[tuple[str, str]] = frozenset()

    @property
    def anything(self) -> bool:
        """Whether anything could be compared."""
        return bool(self.compared or self.unlike)

    def level(self, tolerance: float) -> Literal["B", "T", "X"]:
        """`B` if all is the same bit by bit, `T` if it is within a relative tolerance, else `X`."""
        if not self.unlike:
            return "B"
        return "T" if all(one.gap.relative <= tolerance for one in self.unlike) else "X"


def compare(a: Run, b: Run) -> Match:
    """How two runs compare; what is in doubt stays among `unlike` until `settled`.

    Example::

        match = compare(mlsdk.get_run("one"), mlsdk.get_run("other"))
        print(match.level(1e-6), *match.unlike)
    """
    looks = {"metric": _metrics, "final": _finals, "returned": _returned, "artifact": _artifacts, "end": _end}
    compared: dict[str, int] = {}
    unlike: list[Unlike] = []
    skipped: dict[str, str] = {}
    steady: set[tuple[str, str]] = set()
    for kind, look in looks.items():
        for name, one in look(a, b):
            if isinstance(one, str):
                skipped[f"{kind} {name}"] = one
                continue
            is_timed = kind != "artifact" and is_of_time(name)
            if one is not None:
                unlike.append(one)
            elif is_timed or kind in ("artifact", "end"):
                steady.add((kind, name))
            if not is_timed and (one is None or one.doubt in (None, MESSAGE)):
                compared[kind] = compared.get(kind, 0) + 1
    if a.ranks:
        skipped["ranks"] = "metrics of other ranks and of workers come in no certain order"
    parted = {one.what for one in unlike if one.kind == "metric"}
    told = [one for one in unlike if one.kind != "final" or one.what not in parted]  # the last point is told already
    return Match(compared, tuple(sorted(told, key=_place)), (), skipped, frozenset(steady))


def _place(one: Unlike) -> tuple[bool, int, int, str]:
    """In the order of time; what has no time comes after it, in the order in which it was looked at."""
    if one.logged_ns is None:
        return (True, 0, 0, "")
    return (False, one.logged_ns, one.step or 0, one.what)


def settled(match: Match, again: Match) -> Match:
    """What is in doubt settled by how two reruns compare with each other.

    A measure of time that two reruns gave alike, to many digits, is no measure of time. Bytes of an unknown format, or
    the message of an error, on which they agree are the program's own. These count. Where the reruns do not show that,
    nothing can be said.
    """

    def counts(one: Unlike) -> bool:
        if one.doubt is None:
            return True
        return (one.kind, one.what) in again.steady and not (one.doubt == TIME and _is_rounded(one.gap))

    return attrs.evolve(
        match,
        unlike=tuple(one for one in match.unlike if counts(one)),
        aside=(*match.aside, *(one for one in match.unlike if not counts(one))),
    )


def is_of_time(name: str) -> bool:
    """Whether a metric is called as one that measures time.

    >>> [name for name in ("epoch_s", "fitTime", "train/fps", "loss", "times_table") if is_of_time(name)]
    ['epoch_s', 'fitTime', 'train/fps', 'times_table']
    """
    return _OF_TIME.search(_WORDS.sub("_", name).lower()) is not None


def _is_rounded(found: Gap) -> bool:
    return all(not isinstance(value, float) or round(value, _PLACES) == value for value in (found.a, found.b))


Found = Iterator[tuple[str, Unlike | str | None]]
"""By name what differs, why it was not looked into, or None where it is the same."""


def _names(a: Iterable[str], b: Iterable[str], *, cut: bool) -> list[str]:
    names = a if cut else (*a, *b)
    return [name for name in dict.fromkeys(names) if not name.startswith(SAMPLED)]


def _metrics(a: Run, b: Run) -> Found:
    """The points of metrics that have a history."""
    cut = a.status in CUT_SHORT
    for name in _names(a.metrics, b.metrics, cut=cut):
        ours, theirs = a.metrics.get(name), b.metrics.get(name)
        if not (ours and ours.count) and not (theirs and theirs.count):
            continue
        doubt = TIME if is_of_time(name) else None
        if not (ours and ours.count) or not (theirs and theirs.count):
            yield name, Unlike("metric", name, Gap("", _points(ours), _points(theirs)), doubt=doubt)
            continue
        one, other = a.history(name), b.history(name)
        if cut and len(other) > len(one):
            other = attrs.evolve(other, steps=other.steps[: len(one)], values=other.values[: len(one)])
        found = series_gap(one, other)
        if found is None:
            yield name, None
            continue
        whole, place = found
        known = one if place < len(one) else other
        at = int(one.times[place]) if place < len(one) else None
        yield name, Unlike("metric", name, whole, int(known.steps[place]), at, doubt)


def _points(metric: MetricSummary | None) -> str | None:
    return f"{metric.count:,} points" if metric and metric.count else None


def _finals(a: Run, b: Run) -> Found:
    """The last values of metrics: those that were logged last, or returned."""
    if a.status in CUT_SHORT:
        return
    for name in _names(a.metrics, b.metrics, cut=False):
        ours, theirs = a.metrics.get(name), b.metrics.get(name)
        doubt = TIME if is_of_time(name) else None
        if ours is None or theirs is None:
            found: Gap | None = Gap("", ours and ours.last, theirs and theirs.last)
        else:
            found = number_gap(ours.last, theirs.last)
        if found is None and ours is not None and ours.count:  # the last of its points
            continue
        yield name, None if found is None else Unlike("final", name, found, doubt=doubt)


def _returned(a: Run, b: Run) -> Found:
    """What the tracked functions returned: numbers, texts, and digests of what is large."""
    one, other = a.code.get("returned"), b.code.get("returned")
    if not isinstance(one, Mapping):  # nothing, or nobody looked: a run of an earlier version
        return
    other = other if isinstance(other, Mapping) else {}
    for path in dict.fromkeys((*one, *other)):
        ours, theirs = one.get(path), other.get(path)
        notes = list(filter(None, map(_not_read, (ours, theirs))))
        if path in a.metrics and path in b.metrics:  # a number that was returned by name: its last value
            continue
        if notes:
            yield path, notes[0]
            continue
        found = gap(ours, theirs) if path in one and path in other else Gap("", ours, theirs)
        doubt = TIME if is_of_time(path) else None
        yield path, None if found is None else Unlike("returned", path, found, doubt=doubt)


def _not_read(part: object) -> str | None:
    """Why nothing is known of a part of what was returned."""
    if part == REDACTED:
        return "it was left out as a secret"
    return str(part["note"]) if isinstance(part, Mapping) and "note" in part else None


def _artifacts(a: Run, b: Run) -> Found:
    cut = a.status in CUT_SHORT
    for name in _names(a.artifacts, b.artifacts, cut=cut):
        ours, theirs = a.artifacts.get(name), b.artifacts.get(name)
        if ours is None or theirs is None or bool(ours.files) != bool(theirs.files):
            yield name, Unlike("artifact", name, Gap("", _what(ours), _what(theirs)))
            continue
        one, other = ours.files or {"": ours.digest}, theirs.files or {"": theirs.digest}
        for path in dict.fromkeys((*one, *other)):
            yield _artifact(a, b, f"{name}/{path}" if path else name, one.get(path), other.get(path))


def _what(artifact: Artifact | None) -> str | None:
    if artifact is None:
        return None
    return f"{len(artifact.files):,} files" if artifact.files else f"{artifact.size_bytes:,} bytes"


def _artifact(a: Run, b: Run, name: str, one: str | None, other: str | None) -> tuple[str, Unlike | str | None]:
    if one == other:
        return name, None
    if one is None or other is None:
        return name, Unlike("artifact", name, Gap("", one and "a file", other and "a file"))
    try:
        with a.open(name) as ours, b.open(name) as theirs:
            found = file_gap(name, ours.read(LARGEST_BYTES + 1), theirs.read(LARGEST_BYTES + 1))
    except NotFoundError as error:
        return name, f"other bytes, and not in the store: {error}"
    except DigestError as error:
        return name, f"other bytes, and damaged in the store: {error}"
    except NotLookedIntoError as error:
        if not error.unknown:
            return name, str(error)
        return name, Unlike("artifact", name, Gap("", f"sha256 {one[:12]}", f"sha256 {other[:12]}"), doubt=BYTES)
    return name, None if found is None else Unlike("artifact", name, found)


def _end(a: Run, b: Run) -> Found:
    """How the runs ended. That both finished is nothing to compare; that both failed in the same way is."""
    if a.status in CUT_SHORT:
        return
    if a.status is not b.status:
        yield "status", Unlike("end", "status", Gap("", _ending(a), _ending(b)))
    elif a.error is not None and b.error is not None:
        doubt = MESSAGE if a.error.get("type") == b.error.get("type") else None
        found = text_gap(_ending(a), _ending(b)) if doubt else Gap("", _ending(a), _ending(b))
        yield "error", None if found is None else Unlike("end", "error", found, doubt=doubt)


def _ending(run: Run) -> str:
    error = run.error or {}
    return f"{run.status}: {error.get('type', '?')}: {error.get('message', '')}" if run.error else str(run.status)
