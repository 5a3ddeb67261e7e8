"""Keeping a local catalog of a bucket up to date: a look at the open markers and at those of logs that ended since.

Nothing new costs two listings and one more for each log that is being written, however many runs there are.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable

from mlsdk.errors import NotFoundError
from mlsdk.store.intake import in_parts, run_of
from mlsdk.store.objects.bucket import together
from mlsdk.store.objects.logs import ObjectLogs
from mlsdk.store.objects.probe import check_layout
from mlsdk.store.sqlite import SQLiteCatalog

_LATE_S = 900.0
"""So long after the time in its name a marker may come into sight."""

_WIDE_EVERY_S = 3_600.0
_WIDE_S = 2 * 86_400.0
"""Once an hour it is looked so far back: for a sender that stood still between two requests."""

_QUIET_S = 86_400.0
"""A log that has not grown for so long, as its writer was killed, is looked at once an hour too."""

_OLD_S = 20 * 86_400.0
"""A catalog that has not looked for so long looks at all logs: markers may have been deleted since."""

_LOGS_AT_ONCE = 64


def refresh(logs: ObjectLogs, catalog: SQLiteCatalog) -> None:
    """Take in what is new, then look whether processes of open runs are still there.

    Args:
        logs: of the bucket.
        catalog: what to bring up to date.
    """
    notes = catalog.database.notes
    if "checked" not in notes:
        check_layout(logs.bucket, make=False)
    now = time.time()
    memo = json.loads(catalog.memo("looked") or "{}")
    opened = logs.marks.opened()
    if memo and 0 <= now - memo["wide"] < _OLD_S:
        wide = now - memo["wide"] > _WIDE_EVERY_S
        before: dict[str, list[float]] = memo["open"]
        watched = [log for log in opened if wide or log not in before or now - before[log][1] < _QUIET_S]
        sizes = zip(watched, together(logs.size, watched), strict=True)
        grown = {log for log, size in sizes if log not in before or size != before[log][0]}
    else:
        memo, wide, before = {"since": 0.0, "wide": now}, True, {}
        grown = set(logs.list("runs/"))
    ends = _take_in(logs, catalog, grown)
    marked = dict(logs.marks.closed(max(0.0, memo["since"] - (_WIDE_S if wide else _LATE_S))))
    over = {*marked.values(), *(set(before) - set(opened))}
    over -= catalog.closed(over)
    _take_in(logs, catalog, over)
    _end(catalog, over)
    found = {
        "since": max(memo["since"], *map(_time_of, marked), 0.0),
        "wide": now if wide else memo["wide"],
        "open": {log: [ends[log], now] if log in ends else before.get(log, [0, now]) for log in sorted(opened)},
    }
    if found != memo:
        catalog.memo("looked", json.dumps(found))
    notes["checked"] = True
    catalog.look_at_living()


def _take_in(logs: ObjectLogs, catalog: SQLiteCatalog, names: Iterable[str]) -> dict[str, int]:
    """Read what logs have grown, several at the same time, and take it in; returns how far each was read."""
    ends: dict[str, int] = {}

    def news(wanted: tuple[str, int]) -> bytes:
        try:
            return logs.read(*wanted)
        except NotFoundError:  # its marker was there first
            return b""

    for part in in_parts(sorted(names), _LOGS_AT_ONCE):
        wanted = [(log, catalog.ingest(log, 0, b"")) for log in part]
        found = together(news, wanted)
        with catalog.transaction():
            for (log, offset), data in zip(wanted, found, strict=True):
                catalog.ingest(log, offset, data)
                ends[log] = offset + len(data)
    return ends


def _end(catalog: SQLiteCatalog, logs: Iterable[str]) -> None:
    """Note of logs that ended without a close frame that they will not grow."""
    torn = catalog.unread(sorted(logs))
    for _, names in itertools.groupby(torn, key=run_of):
        catalog.catch_up(list(names), final=True)


def _time_of(key: str) -> float:
    """The time that the key of a marker says."""
    from calendar import timegm

    _, day, name = key.split("/")
    try:
        return float(timegm(time.strptime(day + name[:6], "%Y-%m-%d%H%M%S")))
    except ValueError:  # not one of ours
        return 0.0
