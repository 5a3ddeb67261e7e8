"""What is wrong with a store in a folder, and how to mend it.

Every finding says what to do. Mending loses no content: see `mending.py`. Logs whose writers may still be at work are
left alone.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from mlsdk.errors import DigestError, FormatError, NewerFormatError, NotFoundError
from mlsdk.log.decode import Facts, decode
from mlsdk.log.identity import is_alive
from mlsdk.store import mending
from mlsdk.store.base import FolderStore
from mlsdk.store.blobs import blob_path
from mlsdk.store.fold import LogState
from mlsdk.store.gc import DAY_S, DAYS_OF_MARKERS
from mlsdk.store.grown import end_of
from mlsdk.store.layout import Layout, split_marker, utc_day

GRACE_S = 60.0
"""What is younger may be in the middle of being written."""
LEFTOVER_S = 3600.0
"""A temporary file that is older was left by a process that died."""


class Finding(NamedTuple):
    """Something wrong."""

    kind: str
    where: str
    message: str
    advice: str
    mend: Callable[[], object] | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.message}; {self.advice}"


class Log(NamedTuple):
    """A log as it lies in the folder."""

    name: str
    state: LogState
    raw: bool
    end: int
    """Where the last valid frame ends."""
    size: int
    zeros: bool
    """Whether nothing but zeros stands behind it."""
    live: bool
    """Whether a writer may still own it."""
    age_s: float
    blobs: dict[str, str]
    """Digest to what of the run it is."""


def examine(store: FolderStore, *, deep: bool = False) -> list[Finding]:
    """Look at everything in a store.

    Args:
        store: which.
        deep: also read every blob and sealed log whole, and compare the catalog with one built anew.
    """
    layout = store.layout
    found = list(_catalog_file(store, deep=deep))
    usable = not found  # a damaged catalog would be built anew by using it
    if usable:
        store.refresh()
    logs: dict[str, Log] = {}
    for name in store.logs.list("runs/"):
        found += _look(store, layout, name, logs)
    for log in logs.values():
        found += _of_log(layout, log)
    found += _markers(store, layout, logs)
    found += _lost(store, layout, logs) if usable else []
    found += _blobs(store, layout, logs, deep=deep)
    found += _leftovers(layout)
    found += _catalog(store, logs, deep=deep) if usable else []
    return found


def mend(findings: Sequence[Finding]) -> list[tuple[Finding, str]]:
    """Mend what can be; returns what went wrong, with the reason."""
    failed = []
    for finding in findings:
        if finding.mend is not None:
            try:
                finding.mend()
            except (OSError, FormatError, NotFoundError, sqlite3.Error) as error:
                failed.append((finding, str(error)))
    return failed


# logs


def _look(store: FolderStore, layout: Layout, name: str, logs: dict[str, Log]) -> Iterator[Finding]:
    """Read a log into `logs`; findings where that cannot be done."""
    path, sealed = layout.log_path(name), layout.seal_path(name)
    raw = os.path.exists(path)
    try:
        age = time.time() - os.stat(path if raw else sealed).st_mtime
        if raw and os.path.exists(sealed) and age > GRACE_S:
            advice = "the raw one counts; --fix keeps it"
            yield Finding("double", name, "is there raw and sealed", advice, lambda: mending.drop_copy(layout, name))
        data = store.logs.read(name)
        state, blobs, end = LogState(name), dict[str, str](), end_of(data)
        for entry, position in decode(data):
            state.add(entry, position)
            if isinstance(entry, Facts):
                blobs.update(_digests(entry))
    except FileNotFoundError:  # sealed or erased in this moment
        return
    except NotFoundError:
        return
    except NewerFormatError as error:
        yield Finding("newer", name, str(error), "upgrade mlsdk to read it")
        return
    except (FormatError, DigestError) as error:
        yield Finding("damaged", name, str(error), f"its columns cannot be read: put {sealed} back from a copy")
        return
    alive = is_alive(state.writer) if state.writer else (None if age < GRACE_S else False)
    live = not state.closed and alive is not False
    zeros = not any(data[end:])
    logs[name] = Log(name, state, raw, end, len(data), zeros, live, age, blobs)


def _digests(facts: Facts) -> Iterator[tuple[str, str]]:
    """Digests of blobs that a frame names, and what they are."""
    for name, value in facts.kinds.get("artifacts", {}).items():
        if isinstance(value, dict) and isinstance(value.get("digest"), str):
            yield value["digest"], f"artifact {name}"
            files = value.get("files")
            yield from ((str(d), f"artifact {name}/{path}") for path, d in (files or {}).items())
    for kind, values in facts.kinds.items():
        for name, value in values.items():
            if isinstance(value, dict) and value.get("$") == "blob":
                yield str(value.get("sha256")), f"{kind} {name}"


def _of_log(layout: Layout, log: Log) -> Iterator[Finding]:
    if log.live or not log.raw:
        return
    name, rest = log.name, log.size - log.end
    if log.end == 0:
        advice = "nothing in it can be read; --fix puts it aside"
        yield Finding(
            "empty",
            name,
            f"{log.size:,} bytes without a frame",
            advice,
            lambda: mending.put_aside(layout, layout.log_path(name)),
        )
        return
    if log.state.damaged_bytes:
        message = (
            f"{log.state.damaged_bytes:,} bytes in the middle are no frames; what stands before and behind them is read"
        )
        advice = "put the file back from a copy, or --fix keeps it aside and goes on with the rest"
        yield Finding("damaged", name, message, advice, lambda: mending.excise(layout, name))
    elif rest and log.zeros:
        message = f"its writer died and left {rest:,} bytes of allocated space"
        yield Finding("oversized", name, message, "--fix gives them back", lambda: mending.cut(layout, name))
    elif rest:
        message = f"its last {rest:,} bytes are no whole frame: the writer died in the middle of it"
        yield Finding(
            "torn",
            name,
            message,
            "--fix ends it before them, and keeps them aside",
            lambda: mending.cut(layout, name),
        )


# markers


def _markers(store: FolderStore, layout: Layout, logs: dict[str, Log]) -> Iterator[Finding]:
    """Markers in `open/` of logs that will not grow any more."""
    owners = {f"runs/{log.state.run}/{log.state.owed}": log for log in logs.values() if log.state.owed}
    for marker in sorted(_names(layout.open)):
        parts = split_marker(marker)
        path = os.path.join(layout.open, marker)
        if parts is None or _age(path) < GRACE_S:
            continue
        name = f"runs/{parts[0]}/{parts[1]}"
        log, owner = logs.get(name), owners.get(name)
        if log is not None:
            if not log.live:
                message = "is in open/, though its writer " + ("closed it" if log.state.closed else "is gone")
                yield Finding("stale", name, message, "--fix moves its marker", _marker(layout, name))
        elif owner is not None and not owner.live:
            message = f"a companion should have worked for {owner.name}, and never came"
            yield Finding(
                "stale",
                name,
                message,
                "the next run's companion does it, or --fix notes it on the run",
                _note(store, layout, parts, owner),
            )
        elif owner is None and not os.path.exists(layout.seal_path(name)):
            yield Finding(
                "stale", name, "a marker in open/ speaks of a log that is not there", "--fix removes it", _removal(path)
            )


def _lost(store: FolderStore, layout: Layout, logs: dict[str, Log]) -> Iterator[Finding]:
    """Logs without a marker, which no catalog would find."""
    days = sorted(_names(layout.closed))
    marked = set(_names(layout.open)).union(*(_names(os.path.join(layout.closed, day)) for day in days))
    oldest = days[0] if days else utc_day(time.time() - DAYS_OF_MARKERS * DAY_S)
    bare = [log for log in logs.values() if ".".join(log.name.split("/")[1:]) not in marked and log.age_s > GRACE_S]
    unread = set(store.catalog.unread([log.name for log in bare]))
    for log in bare:
        if log.name in unread or (log.raw and utc_day(time.time() - log.age_s) >= oldest):
            advice = "--fix gives it one"
            yield Finding(
                "lost",
                log.name,
                "has no marker, so that catalogs do not find it",
                advice,
                _marker(layout, log.name, open_=log.live),
            )


def _marker(layout: Layout, log: str, *, open_: bool = False) -> Callable[[], object]:
    return lambda: mending.mark(layout, log, open_=open_)


def _note(store: FolderStore, layout: Layout, parts: tuple[str, str], owner: Log) -> Callable[[], object]:
    return lambda: mending.companion_never_came(store.uri, layout, *parts, owner.state.order)


def _removal(path: str) -> Callable[[], object]:
    return lambda: os.unlink(path)


# blobs and leftovers


def _blobs(store: FolderStore, layout: Layout, logs: dict[str, Log], *, deep: bool) -> Iterator[Finding]:
    for log in logs.values():
        for digest, what in log.blobs.items():
            try:
                there = store.blobs.exists(digest)
            except Exception as error:  # no digest at all: whoever wrote it
                yield Finding(
                    "missing", f"run {log.state.run[-8:]}", f"{what}: {error}", "nothing can be done about it here"
                )
                continue
            if not there:
                path = os.path.relpath(blob_path(layout.blobs, digest), layout.root)
                advice = f"put {path} back from a copy, or delete the run"
                yield Finding("missing", f"run {log.state.run[-8:]}", f"the bytes of {what} are gone", advice)
    if not deep:
        return
    for digest in list(store.blobs.list()):
        try:
            store.blobs.open(digest).close()
        except NotFoundError:
            continue
        except DigestError as error:
            path = blob_path(layout.blobs, digest)
            advice = "put it back from a copy; --fix puts it aside, so that it can be logged again"
            yield Finding("damaged", f"blob {digest[:12]}", str(error), advice, _aside(layout, path))


def _aside(layout: Layout, path: str) -> Callable[[], object]:
    return lambda: mending.put_aside(layout, path)


def _leftovers(layout: Layout) -> Iterator[Finding]:
    for top in (layout.runs, layout.blobs, layout.shared):
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                temporary = name.endswith(".part") or (top == layout.shared and name.startswith("."))
                if temporary and _age(path) > LEFTOVER_S:
                    where = os.path.relpath(path, layout.root)
                    advice = "--fix removes it: what it was to become is elsewhere, or was never acknowledged"
                    yield Finding("leftover", where, "a temporary file of a process that died", advice, _removal(path))


# the catalog


def _catalog_file(store: FolderStore, *, deep: bool) -> Iterator[Finding]:
    """Look at the database before it is used: using a damaged one mends it in silence."""
    path = store.catalog.path
    if path == ":memory:" or not os.path.exists(path):
        return
    from urllib.parse import quote

    check = "integrity_check" if deep else "quick_check"
    try:
        db = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?mode=ro", uri=True, timeout=10.0)
        try:
            said = str(db.execute(f"PRAGMA {check}").fetchone()[0])
        finally:
            db.close()
    except sqlite3.DatabaseError as error:
        said = "ok" if "locked" in str(error) else str(error)
    if said != "ok":
        yield Finding(
            "catalog",
            path,
            f"damaged: {said}",
            "it is a cache: --fix or `mlsdk reindex` builds it anew",
            lambda: reindex(store),
        )


def _catalog(store: FolderStore, logs: dict[str, Log], *, deep: bool) -> Iterator[Finding]:
    """Whether it says what the logs say."""
    from mlsdk.query.parse import parse

    settled = [log for log in logs.values() if not log.live and log.end and log.age_s > GRACE_S]
    behind = len(store.catalog.unread([log.name for log in settled if log.state.closed]))
    runs = {log.state.run for log in logs.values() if log.end}
    known = {run.id for run in store.catalog.find(parse("deleted in (true, false)")).runs}
    gone, new = known - runs, {log.state.run for log in settled} - known
    wrong = _different(store, {log.state.run for log in settled} & known) if deep else 0
    counts = (
        (behind, "logs not read"),
        (len(gone), "runs without logs"),
        (len(new), "runs not known"),
        (wrong, "runs other than their logs say"),
    )
    said = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    if said:
        yield Finding(
            "catalog",
            store.catalog.path,
            f"out of step: {said}",
            "--fix or `mlsdk reindex` builds it anew",
            lambda: reindex(store),
        )


def _different(store: FolderStore, runs: set[str]) -> int:
    """Runs that a catalog built anew in memory shows otherwise."""
    import attrs

    from mlsdk.store.sqlite import SQLiteCatalog

    fresh = SQLiteCatalog(":memory:", store.logs, store.blobs)
    fresh.rebuild()
    fresh.look_at_living()
    count = 0
    for run in runs:
        try:
            a, b = (attrs.asdict(catalog.get(run), recurse=False) for catalog in (store.catalog, fresh))
        except (NotFoundError, NewerFormatError):
            continue
        count += any(
            repr(a[name]) != repr(b[name]) for name in a if name not in ("_source", "status", "ended_at", "duration_s")
        )
    fresh.close()
    return count


def reindex(store: FolderStore) -> None:
    """Throw the catalog away and build it anew from the logs."""
    store.catalog.discard()
    store.refresh()


def _age(path: str) -> float:
    """Seconds since a file was changed; 0 where it is gone."""
    try:
        return time.time() - os.stat(path).st_mtime
    except OSError:
        return 0.0


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
