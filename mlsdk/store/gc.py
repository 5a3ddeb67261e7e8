"""Erasing what is not wanted any more: the content of deleted runs, bytes that nothing refers to, markers of long ago.

A deleted run stays known as deleted: its logs are replaced by one small log, a tombstone, whose fact `erased` outweighs
whatever logs of the run come back from elsewhere (`fold.document`), and tells who syncs to bring none.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import NamedTuple

from mlsdk.errors import FormatError, NotFoundError
from mlsdk.log.decode import Facts, Opened, decode
from mlsdk.log.identity import is_alive
from mlsdk.records import Run
from mlsdk.store.base import FolderStore, Store
from mlsdk.store.fold import LogState, RunState
from mlsdk.store.layout import Layout, split_marker, utc_day
from mlsdk.store.writer import LogWriter

DAY_S = 86_400
DAYS_OF_MARKERS = 30
"""Folders of markers that are older than this many days go; a catalog older than the oldest looks at every log."""

DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
"""What may be the name of a blob."""

_LIST_BYTES = 64 << 20
"""Larger blobs are no list of files and no value of a fact: they are not looked into for further references."""


class Erased(NamedTuple):
    """Something that was erased, or would be."""

    kind: str
    """`run`, `blob` or `markers`."""
    name: str
    size_bytes: int


class Collected(NamedTuple):
    """What a collection did."""

    erased: tuple[Erased, ...]
    kept: tuple[str, ...]
    """Why something that was asked for stays: a sentence for each."""
    referenced: int
    """Digests that logs name."""

    @property
    def size_bytes(self) -> int:
        """Bytes that were freed."""
        return sum(item.size_bytes for item in self.erased)


def collect(store: Store, *, older_than_s: float = DAY_S, dry_run: bool = False) -> Collected:
    """Erase deleted runs and unreferenced blobs that are older than `older_than_s`, and a folder's old days of markers.

    While a run lives, blobs younger than a day stay in any case: it may be about to name them.
    """
    store.refresh()
    kept: list[str] = []
    erased = list(_runs(store, older_than_s, kept, dry_run=dry_run))
    gone = {item.name for item in erased} if dry_run else set()
    unread: list[str] = []
    referenced = references(store, (log for log in store.logs.list() if log.split("/")[1] not in gone), unread)
    if unread:
        kept.append(f"all blobs stay: {unread[0]} cannot be read, and may name any of them; see `mlsdk doctor`")
    else:
        erased += _blobs(store, referenced, _youngest(store, older_than_s), dry_run=dry_run)
    if isinstance(store, FolderStore):
        erased += _markers(store, store.layout, kept, dry_run=dry_run)
    return Collected(tuple(erased), tuple(kept), len(referenced))


# runs


def _runs(store: Store, older_than_s: float, kept: list[str], *, dry_run: bool) -> Iterator[Erased]:
    from mlsdk.query.parse import parse

    silent = None if isinstance(store, FolderStore) else float(DAY_S)  # a team's: its hosts come and go
    for run in store.catalog.find(parse("deleted = true")).runs:
        logs = list(store.logs.list(f"runs/{run.id}/"))
        tombstone = tombstone_of(store, logs) if run.erased else None
        if logs == [tombstone]:
            continue
        if not run.erased and (deleted_s := time.time() - _deleted_at(store, logs)) < older_than_s:
            kept.append(f"run {run.name} ({run.short_id}) was deleted only {deleted_s / 3600:.1f} hours ago")
            continue
        writing = [log for log in logs if log != tombstone and may_be_written(store, log, silent)]
        if writing:
            kept.append(f"run {run.name} ({run.short_id}) may still be written: {writing[0]} is open")
            continue
        size = sum(_size(store, log) for log in logs if log != tombstone)
        if not dry_run:
            erase(store, run, tombstone)
        yield Erased("run", run.id, size)


def erase(store: Store, run: Run, tombstone: str | None = None) -> None:
    """Replace all logs of a run by a tombstone, there before the first of them goes: interrupted, go on again."""
    logs = list(store.logs.list(f"runs/{run.id}/"))
    if tombstone is None:
        ended = run.ended_at
        about = {
            "name": run.name,
            "experiment": run.experiment,
            "status": run.status.value,
            "started_ns": _ns(run.started_at),
            "ended_ns": None if ended is None else _ns(ended),
        }
        writer = LogWriter(store.target(), run.id, "edit", seen=run.order)
        writer.facts({"run": {"deleted": True, "erased": about}}, vital=True)
        writer.announce()
        writer.close()
        tombstone = f"runs/{run.id}/{writer.id}"
    for log in logs:
        if log != tombstone:
            store.logs.delete(log)
            if isinstance(store, FolderStore):
                _drop_marker(store.layout, log)
    store.catalog.forget(run.id)
    store.catalog.ingest(tombstone, 0, store.logs.read(tombstone))


def _ns(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * DAY_S + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def tombstone_of(store: Store, logs: Iterable[str]) -> str | None:
    """The log that says that a run was erased."""
    state = _facts_of(store, logs)
    entry = state.facts.get("run", {}).get("erased")
    return None if entry is None else f"runs/{state.run}/{entry[1]}"


def _deleted_at(store: Store, logs: Iterable[str]) -> float:
    """When a run was deleted, in seconds since 1970."""
    entry = _facts_of(store, logs).facts.get("run", {}).get("deleted")
    return time.time() if entry is None else entry[2] / 1e9


def _facts_of(store: Store, logs: Iterable[str]) -> RunState:
    names = list(logs)
    state = RunState(names[0].split("/")[1] if names else "")
    for log in names:
        of_log = LogState(log)
        for entry, position in decode(_read(store, log)):
            if isinstance(entry, (Opened, Facts)):
                of_log.add(entry, position)
            if isinstance(entry, Facts):
                state.add(entry, of_log)
    return state


def may_be_written(store: Store, log: str, silent_s: float | None = None) -> bool:
    """Whether a log has not ended and its writer is not known to be gone.

    Args:
        store: where it is.
        log: its name.
        silent_s: a writer of which nothing can be known counts as gone after so many seconds without an entry.
    """
    of_log = LogState(log)
    for entry, position in decode(_read(store, log)):
        of_log.add(entry, position)
    if of_log.closed:
        return False
    alive = is_alive(of_log.writer)
    if alive is None and silent_s is not None:
        return time.time() - of_log.seen_ns / 1e9 < silent_s
    return alive is not False


def _size(store: Store, log: str) -> int:
    """Bytes that a log takes: in a folder those on the disk, elsewhere the raw ones."""
    if not isinstance(store, FolderStore):
        return store.logs.size(log)
    found = 0
    for path in (store.layout.log_path(log), store.layout.seal_path(log)):
        with contextlib.suppress(OSError):
            found += os.stat(path).st_size
    return found


def _drop_marker(layout: Layout, log: str) -> None:
    _, run, writer = log.split("/")
    for folder in (layout.open, *(os.path.join(layout.closed, day) for day in _names(layout.closed))):
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, f"{run}.{writer}"))


# blobs


def references(store: Store, logs: Iterable[str], unread: list[str]) -> set[str]:
    """Digests that logs name, in whatever kind of fact, damaged pieces too; and those that blobs which are lists name.

    A list is the manifest of a folder, or a value that was too long for a fact. Looking for every SHA-256 keeps a blob
    too many rather than one too few. Logs that cannot be read are put into `unread`.
    """
    found: set[str] = set()
    for log in logs:
        try:
            found.update(match.decode() for match in DIGEST.findall(store.logs.read(log)))
        except NotFoundError:  # gone in this moment
            continue
        except (FormatError, OSError):
            unread.append(log)
    waiting = list(found)
    while waiting:
        new = named_inside(store, waiting.pop()) - found
        found |= new
        waiting += new
    return found


def named_inside(store: Store, digest: str) -> set[str]:
    """Digests in a blob that is JSON; an artifact that happens to be JSON is read too, which does no harm."""
    try:
        if store.blobs.info(digest)[0] > _LIST_BYTES:
            return set()
        with store.blobs.open(digest, 0, _LIST_BYTES) as file:
            data = file.read(1)
            return {match.decode() for match in DIGEST.findall(file.read())} if data in b"{[" and data else set()
    except (OSError, NotFoundError):
        return set()


def _youngest(store: Store, older_than_s: float) -> float:
    """How old an unreferenced blob must be, in seconds."""
    if isinstance(store, FolderStore):
        lives = bool(_names(store.layout.open))
    else:
        from mlsdk.query.parse import parse

        lives = store.catalog.count(parse("status in ('running', 'lost') and deleted in (true, false)")) > 0
    return max(older_than_s, DAY_S) if lives else older_than_s


def _blobs(store: Store, referenced: set[str], older_than_s: float, *, dry_run: bool) -> Iterator[Erased]:
    for digest in list(store.blobs.list()):
        if digest in referenced:
            continue
        try:
            size, age_s = store.blobs.info(digest)
        except NotFoundError:  # gone in this moment
            continue
        if age_s >= older_than_s and (dry_run or store.blobs.delete(digest, older_than_s)):
            yield Erased("blob", digest, size)


# markers


def _markers(store: FolderStore, layout: Layout, kept: list[str], *, dry_run: bool) -> Iterator[Erased]:
    """Drop days of markers that this catalog has looked through; another sees by the oldest to look at all logs."""
    before = utc_day(time.time() - DAYS_OF_MARKERS * DAY_S)
    for day in sorted(_names(layout.closed)):
        if day >= before:
            continue
        folder = os.path.join(layout.closed, day)
        markers = [name for name in _names(folder) if split_marker(name)]
        logs = [f"runs/{name.replace('.', '/')}" for name in markers]
        unseen = store.catalog.unread([log for log in logs if _size(store, log)])
        if unseen:
            kept.append(f"markers of {day} stay: the catalog has not read {len(unseen)} of their logs")
            continue
        if not dry_run:
            for name in markers:
                os.unlink(os.path.join(folder, name))
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        yield Erased("markers", day, 0)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(store: Store, log: str) -> bytes:
    try:
        return store.logs.read(log)
    except (NotFoundError, FormatError):  # gone in this moment, or a damaged seal: `mlsdk doctor` says so
        return b""
