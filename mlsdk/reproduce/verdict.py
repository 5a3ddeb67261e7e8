"""What became of making a run again: a level, how that is known, and what is to blame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

import attrs

from mlsdk.compare.difference import Difference
from mlsdk.records import Run
from mlsdk.reproduce.outcome.contents import Unlike

Level = Literal["B", "T", "S", "X", "U"]

LEVELS: Mapping[str, str] = MappingProxyType(
    {
        "B": "bitwise the same",
        "T": "the same within tolerance",
        "S": "statistically the same",
        "X": "differs",
        "U": "could not be made again",
    }
)
"""What the levels mean, the best first."""


def _texts(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(found)


def _causes(found: Iterable[Cause]) -> tuple[Cause, ...]:
    return tuple(found)


@attrs.frozen
class Divergence:
    """The first thing in time at which a rerun came to something else than the run.

    Attributes:
        what: the metric, artifact or returned value; with the place in it that differs.
        step: of a metric.
        a: what the run had there; None for nothing.
        b: what the rerun has there.
        kind: as in `contents.Unlike`.
        relative: the largest relative difference from there on; None where it cannot be measured so.
        ulps: the same as a number of floats between the two.
    """

    kind: str
    what: str
    step: int | None
    a: object
    b: object
    relative: float | None = None
    ulps: int | None = None

    @classmethod
    def of(cls, unlike: Unlike) -> Divergence:
        """The divergence that is the first thing unlike."""
        gap = unlike.gap
        relative = gap.relative if math.isfinite(gap.relative) else None
        return cls(unlike.kind, unlike.what + gap.where, unlike.step, gap.a, gap.b, relative, gap.ulps)

    def __str__(self) -> str:
        name = self.what if self.kind == "output" else f"{_KINDS.get(self.kind, self.kind)} {self.what}"
        at = "" if self.step is None else f" at step {self.step}"
        return f"{name}{at}: {_shown(self.a)} in the run, {_shown(self.b)} in the rerun"


_KINDS = {"final": "metric", "end": "its"}


def _shown(value: object) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else repr(value)


@attrs.frozen
class Cause:
    """Something that may be why a rerun came to something else.

    Attributes:
        kind: one of `mlsdk.compare.difference.KINDS`.
        what: its name within that kind.
        confirmed: whether the match came back when it alone (or, as `reason` says, with others) was as in the run.
        a: what it was in the run.
        b: what it is in the rerun.
        details: readable lines.
        reason: how it was confirmed, or why it could not be.
    """

    kind: str
    what: str
    confirmed: bool
    a: object = None
    b: object = None
    details: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    reason: str = ""

    @classmethod
    def of(cls, difference: Difference, *, confirmed: bool, reason: str) -> Cause:
        """The cause that a difference is."""
        d = difference
        return cls(d.kind, d.what, confirmed, d.a, d.b, d.details, reason)


@attrs.frozen
class Verdict:
    """Whether a run can be made again.

    Attributes:
        run: id of the run.
        level: `B` bitwise the same, `T` within tolerance, `S` statistically the same, `X` differs, `U` could not be
            made again.
        reason: why it is that level, and what to do about it.
        deterministic: whether two reruns came to the same bit by bit; None where there were no two.
        reruns: ids of the runs that were made, in order; the first two are those that were compared with the run.
        first_divergence: where the first rerun left the run's ways; None if nowhere.
        causes: the confirmed ones first, then in causal order. Empty where nothing differs.
        others: differences that have no effect of their own: the match came back without their being as in the run.
        why: of level `U`, what stood in the way, in a word: as `RerunError.why`, or `content`.
        env: which environment was used: `lock`, `fresh` or `same`.
        here: whether code, data, variables and environment were those that are here now, and not the run's.
        tolerance: the relative difference that level `T` allows.
        relative: the largest relative difference; None where it cannot be measured so.
        ulps: the largest difference as a number of floats between the two; None where it cannot be measured so.
        compared: by kind, how many things were compared.
        aside: what was another thing and does not count, such as measures of time.
        skipped: by name, why something was not looked into: neither a match nor a mismatch.
        at: when it was found.
        took_s: how long all reruns took together, in seconds.
        by: versions, user and host that found it.
        id: its own.
        statement: SHA-256 of the blob that holds it as an in-toto statement, once it is attached to its run.
    """

    run: str
    level: Level
    reason: str
    deterministic: bool | None = None
    reruns: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    first_divergence: Divergence | None = None
    causes: tuple[Cause, ...] = attrs.field(default=(), converter=_causes)
    others: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    why: str | None = None
    env: str = "lock"
    here: bool = False
    tolerance: float = 1e-6
    relative: float | None = None
    ulps: int | None = None
    compared: Mapping[str, int] = attrs.field(factory=dict)
    aside: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    skipped: Mapping[str, str] = attrs.field(factory=dict)
    at: datetime | None = None
    took_s: float | None = None
    by: Mapping[str, str] = attrs.field(factory=dict)
    id: str = ""
    statement: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The verdict as `mlsdk verify --json` prints it, and as it is kept with the run."""
        divergence = self.first_divergence
        found = {field.name: getattr(self, field.name) for field in attrs.fields(Verdict)}
        return {
            **found,
            "reruns": list(self.reruns),
            "first_divergence": None if divergence is None else _of_divergence(divergence),
            "causes": [{**_fields(cause), "details": list(cause.details)} for cause in self.causes],
            "others": list(self.others),
            "compared": dict(self.compared),
            "aside": list(self.aside),
            "skipped": dict(self.skipped),
            "at": None if self.at is None else self.at.isoformat().replace("+00:00", "Z"),
            "by": dict(self.by),
        }

    def __str__(self) -> str:
        return "\n".join(lines_of(self))


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in attrs.fields(type(record))}


def _of_divergence(divergence: Divergence) -> dict[str, Any]:
    is_metric = divergence.kind in ("metric", "final")
    return {"step": divergence.step, "metric": divergence.what if is_metric else None, **_fields(divergence)}


def verdict_of(run: Run) -> Verdict | None:
    """The last verdict on a run; None before the first one."""
    return from_dict(run.verdict) if run.verdict else None


def verdicts_of(run: Run) -> tuple[Verdict, ...]:
    """All verdicts on a run, the oldest first."""
    return tuple(map(from_dict, run.verdicts.values()))


def from_dict(found: Mapping[str, Any]) -> Verdict:
    """Back from `Verdict.to_dict`; what a newer version knows besides is left out."""
    known = _known(Verdict, found)
    divergence, at = found.get("first_divergence"), found.get("at")
    known["first_divergence"] = None if divergence is None else Divergence(**_known(Divergence, divergence))
    known["causes"] = [Cause(**_known(Cause, cause)) for cause in found.get("causes", ())]
    known["at"] = None if at is None else datetime.fromisoformat(at.replace("Z", "+00:00"))
    return Verdict(**known)


def _known(kind: type, found: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in attrs.fields(kind)}
    return {name: value for name, value in found.items() if name in names}


# for people


def lines_of(verdict: Verdict) -> Iterable[str]:
    """The verdict in readable lines, the level first."""
    yield f"{verdict.level}: {LEVELS[verdict.level]}"
    yield verdict.reason
    if verdict.deterministic is False:
        yield "the program is not deterministic: two reruns differ from each other"
    if verdict.first_divergence is not None:
        yield f"first divergence: {verdict.first_divergence}"
    for cause in verdict.causes:
        yield f"{'cause' if cause.confirmed else 'suspected'}: {said(cause)}"
        yield from (f"  {line}" for line in (cause.reason, *cause.details) if line)
    if verdict.others:
        yield f"differs too, without effect: {', '.join(verdict.others)}"
    if verdict.aside:
        yield f"does not count: {', '.join(verdict.aside)}"
    for name, why in verdict.skipped.items():
        yield f"not looked into: {name}: {why}"


def said(cause: Cause) -> str:
    """A cause on one line.

    >>> said(Cause("param", "lr", True, 0.1, 0.2))
    'param lr: 0.1, now 0.2'
    """
    is_shown = any(line.startswith(("+", "-")) for line in cause.details)  # better than two digests
    if is_shown or (cause.a is None and cause.b is None):
        return f"{cause.kind} {cause.what}"
    return f"{cause.kind} {cause.what}: {_shown(cause.a)}, now {_shown(cause.b)}"
