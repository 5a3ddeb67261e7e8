"""The captures before the body: taken in the caller, written in one frame with the request for those beside."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlsdk import config
from mlsdk.capture import STRANGERS, Capture, Context, facts_of
from mlsdk.capture.facts import encode_facts

if TYPE_CHECKING:
    from mlsdk.store.target import Target
    from mlsdk.tracking.active import ActiveRun

Facts = dict[str, dict[str, object]]

_encoded: dict[tuple[str, str], tuple[Target, object, object, dict[str, str]]] = {}
"""By capture and name of a fact: the store, the value, the same encoded, and notes on it.

What is found again as it was the last time is encoded, looked through for secrets and put away once in a process.
"""


def take(active: ActiveRun, captures: list[Capture], where: Context, *, everything: bool) -> None:
    """Take the captures that belong before the body, within the time limit; ask the companion for the others.

    Those of other packages are looked for by the companion: reading all entry points takes too long here.
    """
    limit, begun = config.number("capture_limit_s"), time.monotonic()
    taken: dict[str, object] = {STRANGERS: "beside"} if everything else {}
    facts: Facts = {}
    for capture in captures:
        if capture.beside:
            taken[capture.name] = "beside"
            continue
        at = time.monotonic()
        if at - begun > limit:
            active._problems.note(
                f"capture {capture.name}", f"not taken: the captures before it took more than {limit:g} s"
            )
            continue
        try:
            found = capture(where) or {}
            encoded, notes = _take(capture, found, active._writer.target)
        except Exception as error:  # a capture is a stranger's code: its failure is noted on the run
            active._problems.note(f"capture {capture.name}", f"failed: {type(error).__name__}: {error}")
            continue
        for kind, values in encoded.items():
            facts.setdefault(kind, {}).update(values)
        if capture.later:
            active.looked_at.append((capture, where, found))
        for about, note in notes.items():
            active._problems.note(about, note, warn=False)
        taken[capture.name] = f"{(time.monotonic() - at) * 1e3:.1f} ms"
    settings = config.for_companion() if captures else {"sample_every_s": 0.0}
    asked = {**taken, "folder": where.folder, **({"settings": settings} if settings else {})}
    active._write_facts({**facts, "captures": asked})


def _take(capture: Capture, found: Mapping[str, object], target: Target) -> tuple[Facts, dict[str, str]]:
    """What a capture found, encoded, and notes on it."""
    facts: Facts = {}
    notes: dict[str, str] = {}
    for kind, values in facts_of(capture, found).items():
        into = facts.setdefault(kind, {})
        if not isinstance(capture.function, str):  # of a user's function nothing is known, not even how `==` behaves
            encoded, notes = encode_facts(kind, values, target.put_blob)
            into.update(encoded)
            continue
        for name, value in values.items():
            known = _encoded.get((capture.name, name))
            if known is None or known[0] is not target or known[1] != value:
                encoded, more = encode_facts(kind, {name: value}, target.put_blob)
                known = _encoded[capture.name, name] = (target, value, encoded[name], more)
            into[name] = known[2]
            notes.update(known[3])
    return facts, notes


def since(active: ActiveRun) -> Facts:
    """When a run ends: facts of its captures that came while it was live, encoded."""
    facts: Facts = {}
    for capture, where, already in active.looked_at:
        try:
            found = capture.since(where, already)
            encoded, notes = encode_facts(capture.kind, found, active._writer.target.put_blob) if found else ({}, {})
        except Exception as error:  # as in `take`: a failure is noted on the run
            active._problems.note(f"capture {capture.name}", f"failed at the end: {type(error).__name__}: {error}")
            continue
        facts.setdefault(capture.kind, {}).update(encoded)
        for about, note in notes.items():
            active._problems.note(about, note, warn=False)
    return {kind: values for kind, values in facts.items() if values}


def closing(started_ns: int, spent_ns: int, now_ns: int) -> dict[str, object]:
    """Facts of hardware when a run ends: seconds spent in this package by the run's own threads, and outside of it."""
    spent_s = spent_ns / 1e9
    return {"overhead_s": round(spent_s, 6), "user_s": round(max(0.0, (now_ns - started_ns) / 1e9 - spent_s), 6)}
