"""Keeping an outbox small: of runs that are wholly shipped the oldest local copies go, once there is too much."""

from __future__ import annotations

import contextlib
import os
import time

from mlsdk.store import outbox
from mlsdk.store.base import FolderStore, open_file
from mlsdk.store.gc import references

_FRESH_S = 3600.0
"""A run that is younger stays, and so do blobs that were put lately: a run of now may be about to name them."""


def trim(root: str, budget: int) -> int:
    """Erase the oldest copies of what is shipped until an outbox takes at most `budget` bytes; returns how many bytes.

    What is not wholly shipped stays, whatever it takes.
    """
    store = open_file(f"file:{root}", ":memory:")
    layout = store.layout
    runs = {run: _size(os.path.join(layout.runs, run)) for run in sorted(_names(layout.runs))}
    blobs = {digest: store.blobs.info(digest)[0] for digest in store.blobs.list()}
    over = sum(runs.values()) + sum(blobs.values()) - budget
    if over <= 0:
        return 0
    kept = {marker.partition(".")[0] for marker in (*outbox.markers(root), *_names(layout.open))}
    needed: set[str] = set()
    for run in kept & runs.keys():
        needed |= _named(store, run)
    freed = 0
    for run, size in runs.items():
        if freed >= over:
            break
        logs = list(
            store.logs.list(f"runs/{run}/")
        )  # before the look: one that a resumed run makes now is not among them
        if run in kept or time.time() - os.stat(os.path.join(layout.runs, run)).st_mtime < _FRESH_S:
            continue
        for digest in (_named(store, run) & blobs.keys()) - needed:
            if store.blobs.delete(digest, _FRESH_S):
                freed += blobs.pop(digest)
        for log in logs:
            store.logs.delete(log)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.join(layout.runs, run))
        freed += size
    return freed


def _named(store: FolderStore, run: str) -> set[str]:
    """What the logs of a run name that may be blobs, and what is named in those."""
    return references(store, store.logs.list(f"runs/{run}/"), [])


def _size(folder: str) -> int:
    found = 0
    for name in _names(folder):
        with contextlib.suppress(OSError):
            found += os.stat(os.path.join(folder, name)).st_size
    return found


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
