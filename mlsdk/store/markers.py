"""Finding what is new by the markers: the logs in `open/`, and those that closed since the last look.

A marker moves from `open/` to a day's folder when its log closes. Looking at `open/` first and at the days after it,
no log is missed: one that moves in between is met in one of the two. Days are told apart by when their folders
changed, never by their names: the clocks of writers may be wrong by days.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterable
from typing import Any

from mlsdk.store.layout import Layout, split_marker, utc_day
from mlsdk.store.sqlite import SQLiteCatalog

_RACY_S = 2.0
"""A folder that changed less than this ago may change again without a new time."""

_LATE_S = 120.0
"""So long after its marker a log may come into sight: another host's, on a network file system."""

_SAVE_S = 3_600.0
"""At least so often it is written down when the last look was."""

_PART_RUNS = 500

Day = list[Any]
"""When a day's folder changed (its file system's clock, ns), when that was first met (ours, s), and whether all that is
in it is known."""


def refresh(layout: Layout, catalog: SQLiteCatalog) -> None:
    """Take in what the markers say is new, then look whether processes of open runs are still there.

    Args:
        layout: the store's folder.
        catalog: what to bring up to date.
    """
    memo = json.loads(catalog.memo("looked") or '{"at": 0, "days": {}}')
    opened = _logs(_names(layout.open))
    days = sorted(_names(layout.closed))
    now = time.time()
    if not (days and utc_day(memo["at"]) < days[0]) and 0 < memo["at"] < now + 86_400:
        _read(catalog, opened, live=True)
    else:  # a new catalog, or one whose last look was before the oldest day that is kept
        _read_all(layout, catalog, set(opened))
    looked = {day: _look_at_day(layout, catalog, day, memo["days"].get(day)) for day in days}
    if looked != memo["days"] or now - memo["at"] > _SAVE_S:
        catalog.memo("looked", json.dumps({"at": now, "days": looked}))
    catalog.look_at_living()


def _look_at_day(layout: Layout, catalog: SQLiteCatalog, day: str, before: Day | None) -> Day:
    """Take in the logs that closed on a day, if its folder changed since; returns what to remember of it."""
    folder, now = os.path.join(layout.closed, day), time.time()
    try:
        changed = os.stat(folder).st_mtime_ns
    except FileNotFoundError:  # dropped by `mlsdk gc` in this moment
        return [0, now, True]
    if before and before[0] == changed and before[2]:
        return before
    since = before[1] if before and before[0] == changed else now
    known: dict[str, int] = catalog.database.notes.setdefault("closed", {}).setdefault(day, {})
    # One that was there before under another number is of a log that has grown and closed again.
    new = {name: number for name, number in _numbered(folder).items() if known.get(name) != number}
    _read(catalog, catalog.unread(_logs(new)), final=True)
    late = catalog.unread(_logs(new))
    for log in late:
        del new[_marker(log)]
    known.update(new)
    patience = _LATE_S if late else _RACY_S
    return [changed, since, now - since > patience]


def _read(catalog: SQLiteCatalog, logs: Iterable[str], *, live: bool = False, final: bool = False) -> None:
    """Take in logs, run by run, a few hundred runs in one transaction."""
    runs = [list(names) for _, names in itertools.groupby(sorted(logs), key=lambda log: log.split("/")[1])]
    for start in range(0, len(runs), _PART_RUNS):
        with catalog.transaction():
            for names in runs[start : start + _PART_RUNS]:
                catalog.catch_up(names, live=live, final=final)


def _read_all(layout: Layout, catalog: SQLiteCatalog, opened: set[str]) -> None:
    """Take in every log that is there, whatever the markers say."""
    runs = sorted(_names(layout.runs))
    for start in range(0, len(runs), _PART_RUNS):
        with catalog.transaction():
            for run in runs[start : start + _PART_RUNS]:
                names = {name.rpartition(".") for name in _names(os.path.join(layout.runs, run))}
                logs = sorted({f"runs/{run}/{writer}" for writer, _, kind in names if kind in ("log", "seal")})
                catalog.catch_up(log for log in logs if log not in opened)
                catalog.catch_up((log for log in logs if log in opened), live=True)


def _logs(markers: Iterable[str]) -> list[str]:
    """Names of the logs that markers speak of."""
    parts = (split_marker(marker) for marker in markers)
    return [f"runs/{found[0]}/{found[1]}" for found in parts if found is not None]


def _marker(log: str) -> str:
    _, run, writer = log.split("/")
    return f"{run}.{writer}"


def _numbered(folder: str) -> dict[str, int]:
    """The files of a folder and their numbers in the file system."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.inode() for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
