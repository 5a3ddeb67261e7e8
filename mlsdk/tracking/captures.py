"""The captures before the body: taken in the caller, written in one frame with the request for those beside."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mlsdk import config
from mlsdk.capture import STRANGERS, Capture, Context
from mlsdk.capture.facts import Encoder, Facts, encode_facts

if TYPE_CHECKING:
    from mlsdk.store.target import Target
    from mlsdk.tracking.active import ActiveRun

_last: tuple[Target, Encoder] | None = None


def take(active: ActiveRun, captures: list[Capture], where: Context, *, everything: bool) -> None:
    """Take the captures that belong before the body, within the time limit; ask the companion for the others.

    Those of other packages are looked for by the companion: reading all entry points takes too long here.
    """
    limit, begun = config.number("capture_limit_s"), time.monotonic()
    taken: dict[str, object] = {STRANGERS: "beside"} if everything else {}
    facts: Facts = {}
    encode = _encoder(active._writer.target)
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
            encoded, notes = encode(capture, found)
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


def _encoder(target: Target) -> Encoder:
    """The encoder for a store."""
    global _last
    if _last is None or _last[0] is not target:
        _last = (target, Encoder(target.put_blob))
    return _last[1]


def since(active: ActiveRun) -> Facts:
    """When a run ends: facts of its captures that came while it was live, encoded."""
    facts: Facts = {}
    returned, active.returned = active.returned, None  # a model is not held longer than its run
    listings = {} if active.opened is None else active.opened.listed.orders
    for capture, where, already in active.looked_at:
        try:
            found = capture.since(where._replace(returned=returned, listings=listings), already)
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
