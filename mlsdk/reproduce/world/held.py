"""Facts of many runs, read once: what is long was put away by content, and most runs of a project share it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlsdk.errors import MlsdkError
from mlsdk.log.values import LongValue, decode, encode, loads
from mlsdk.records import Run
from mlsdk.store.record import Later
from mlsdk.store.seams import Blobs

_AT_ONCE = 8

Coded = Mapping[str, Any]
"""Facts by name as tagged JSON."""


def coded(facts: Mapping[str, object]) -> Coded:
    """The facts of a run as they are kept: nothing is fetched."""
    return facts.coded() if isinstance(facts, Later) else {name: encode(value) for name, value in facts.items()}


def told_apart(facts: Coded, names: tuple[str, ...]) -> str:
    """A text that is equal where these facts are, without reading what is long."""
    return json.dumps([facts.get(name) for name in names], sort_keys=True, separators=(",", ":"))


def fetch(runs: Sequence[Run]) -> None:
    """Read what lists of runs leave out, of many runs at once: each is a question of its own to a remote store."""
    with ThreadPoolExecutor(_AT_ONCE, "mlsdk-facts") as pool:
        for _ in pool.map(lambda run: coded(run.code), runs):
            pass


class Held:
    """Reads facts; what is long only the first time.

    Args:
        blobs: where that lies.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._long: dict[str, object] = {}

    def value(self, facts: Coded, name: str) -> Any:
        """A fact, whole; None where there is none, or where its bytes are not here."""
        found = decode(facts.get(name))
        if not isinstance(found, LongValue):
            return found
        if found.digest not in self._long:
            self._long[found.digest] = self._read(found.digest)
        return self._long[found.digest]

    def _read(self, digest: str) -> object:
        try:
            with self._blobs.open(digest) as file:
                return decode(loads(file.read()))
        except MlsdkError:  # erased, or not brought along by a sync: then it is not known
            return None
