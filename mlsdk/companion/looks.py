"""Looks: what captures beside have found lately, shared by all runs that a companion serves."""

from __future__ import annotations

import time
from typing import NamedTuple

from mlsdk.capture import Capture, Context, PutBlob
from mlsdk.capture.facts import Encoder, Facts

MOST = 256
"""Looks that are remembered."""


class Look(NamedTuple):
    """What a capture found, and when it began to look (ns)."""

    begun: int
    facts: Facts
    notes: dict[str, str]


class Looks:
    """Takes captures, and gives one look to every run that it serves: each that had started before the look began.

    Args:
        put_blob: where what is long goes.
    """

    def __init__(self, put_blob: PutBlob) -> None:
        self._encode = Encoder(put_blob)
        self._taken: dict[tuple[str, str, str, str], Look] = {}

    def take(self, capture: Capture, where: Context, *, started: int, told: str) -> Look:
        """What a capture finds for a run.

        Args:
            capture: the capture.
            where: what it looks at.
            started: the run's start (ns): an earlier look may have seen another state.
            told: stands for what the run's process said of itself; runs that said the same share all looks.

        Raises:
            Exception: whatever the capture raises.
        """
        entry = str(where.facts.get("code", {}).get("entry"))
        key = (capture.name, where.folder, entry, "" if capture.shared else told)
        known = self._taken.pop(key, None)
        if known is None or known.begun <= started:
            begun = time.time_ns()
            known = Look(begun, *self._encode(capture, capture(where) or {}))
        self._taken[key] = known
        if len(self._taken) > MOST:
            del self._taken[next(iter(self._taken))]
        return known
