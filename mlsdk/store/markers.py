"""Finding what is new by the markers: the logs in `open/`, and those that closed since the last look.

A marker moves from `open/` to a day's folder when its log closes. Looking at `open/` first and at the days after it, no log is missed: one that
moves in between is met in one of the two.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterable
from datetime import date, timedelta

from mlsdk.store.layout import Layout, split_marker, utc_day
from mlsdk.store.sqlite import SQLiteCatalog

_RACY_NS = 2_000_000_000
"""A folder changed less than this ago may change again without a new time."""



def refresh(layout: Layout, catalog: SQLiteCatalog, seen: dict[str, set[str]]) -> None:
    """Take in what the markers say is new, then look whether processes of open runs are still there.

    Args:
        layout: the store's folder.
        catalog: what to bring up to date.
        seen: by day, markers that this process has dealt with; kept by the caller.
    """
    looked = json.loads(catalog.memo("looked") or "{}")
    opened = _markers(layout.open)
    days = sorted(name for name in _names(layout.closed))
    if not looked or (days and looked["day"] < days[0] and utc_day(looked["at"]) < days[0]):
        _everything(layout, catalog, opened)
        looked = {"day": days[-1] if days else utc_day(time.time()), "at": time.time(), "mtimes": {}}
        catalog.memo("looked", json.dumps(looked))
        days = []
    else:
        _read(catalog, opened, final=False)
    since = str(date.fromisoformat(looked["day"]) - timedelta(days=1))
    mtimes = dict(looked["mtimes"])
    for day in days:
        if day >= since:
            _look_at_day(layout, catalog, day, mtimes, seen.setdefault(day, set()))
    new = {"day": max([looked["day"], *days]), "mtimes": {day: mtime for day, mtime in mtimes.items() if day >= since}}
    if new["mtimes"] != looked["mtimes"] or new["day"] != looked["day"]:
        catalog.memo("looked", json.dumps({**new, "at": time.time()}))
    catalog.look_at_living()


def _look_at_day(layout: Layout, catalog: SQLiteCatalog, day: str, mtimes: dict[str, int], seen: set[str]) -> None:
    folder = os.path.join(layout.closed, day)
    changed = os.stat(folder).st_mtime_ns
    if mtimes.get(day) == changed:
        return
    new = [marker for marker in _names(folder) if marker not in seen]
    logs = [(marker, _log(marker)) for marker in sorted(new)]
    _read(catalog, [log for _, log in logs if log is not None and not catalog.is_done(log)], final=True)
    seen.update(marker for marker, log in logs if log is None or catalog.is_done(log))
    settled = time.time_ns() - changed > _RACY_NS and seen.issuperset(new)
    mtimes[day] = changed if settled else 0


def _read(catalog: SQLiteCatalog, logs: Iterable[str], *, final: bool) -> None:
    """Take in logs, run by run, a few hundred runs in one transaction."""
    runs = [list(names) for _, names in itertools.groupby(sorted(logs), key=lambda log: log.split("/")[1])]
    for start in range(0, len(runs), 500):
        with catalog.transaction():
            for names in runs[start : start + 500]:
                catalog.catch_up(names, final=final)


def _everything(layout: Layout, catalog: SQLiteCatalog, opened: list[str]) -> None:
    """Take in every log that is there, whatever the markers say: a new catalog, or one that is older than the oldest day."""
    still_open = set(opened)
    for run in sorted(_names(layout.runs)):
        names = {
            name.rpartition(".")[0]
            for name in _names(os.path.join(layout.runs, run))
            if name.endswith((".log", ".seal"))
        }
        logs = [f"runs/{run}/{name}" for name in sorted(names)]
        with catalog.transaction():
            catalog.catch_up([log for log in logs if log not in still_open], final=True)
            catalog.catch_up([log for log in logs if log in still_open])


def _markers(folder: str) -> list[str]:
    """Names of the logs that the markers in a folder speak of."""
    return [log for log in map(_log, _names(folder)) if log is not None]


def _log(marker: str) -> str | None:
    parts = split_marker(marker)
    return None if parts is None else f"runs/{parts[0]}/{parts[1]}"


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
