"""What became of a run, derived when it is read: no process has the last word about its own death."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlsdk.log.identity import is_alive

OVERDUE_NS = 120_000_000_000
"""A run on another host gives a sign every 30 s; after two minutes without one it counts as lost until it gives one."""

FINAL = ("finished", "failed", "interrupted")


def derive(document: Mapping[str, Any], now_ns: int) -> tuple[str, int | None, bool]:
    """(status, when it ended in ns or None, whether it may still change by itself) of a run's document.

    `killed` when the latest main writer is known to be gone without a word; `lost` when nothing can be known and its sign of life is
    overdue.
    """
    run = document["run"]
    status, ended = run.get("status", "running"), run.get("ended_ns")
    if status in FINAL:
        return status, ended, False
    writer = document["writers"][-1] if document["writers"] else None
    if writer is None:
        return "lost", None, True
    gone = document["kinds"].get("gone", {}).get(writer["log"])
    if gone is not None:
        return "killed", gone, False
    if writer["closed"]:
        return "killed", writer["seen_ns"], False
    alive = is_alive(writer["writer"])
    if alive is None:
        return ("running" if now_ns - document["signs_ns"] < OVERDUE_NS else "lost"), None, True
    return ("running", None, True) if alive else ("killed", writer["seen_ns"], False)
