"""What became of a run, derived when it is read: no process has the last word about its own death."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlsdk.log.identity import is_alive

OVERDUE_NS = 120_000_000_000
"""A run on another host gives a sign every 30 s; after two minutes without one it counts as lost until it gives one."""

FINAL = ("finished", "failed", "interrupted")


def derive(life: Mapping[str, Any], now_ns: int) -> tuple[str, int | None, bool]:
    """(status, when it ended in ns or None, whether it may still change by itself) of a run.

    From the `life` of its document.

    `killed` when the latest main writer is known to be gone without a word; `lost` when nothing can be known and its
    sign of life is overdue.
    """
    erased = life.get("erased")
    if erased:  # its logs are gone: the tombstone says how it had ended
        ended = erased.get("ended_ns")
        status = erased.get("status")
        return status if status in FINAL else "killed", ended if type(ended) is int else None, False
    if life.get("status") in FINAL:
        return life["status"], life.get("ended_ns"), False
    if life["writer"] is None:
        return "lost", None, True
    if life["gone_ns"] is not None:
        return "killed", life["gone_ns"], False
    if life["closed"]:
        return "killed", life["seen_ns"], False
    alive = is_alive(life["writer"])
    if alive is None:
        return ("running" if now_ns - life["signs_ns"] < OVERDUE_NS else "lost"), None, True
    return ("running", None, True) if alive else ("killed", life["seen_ns"], False)
