"""Bringing two stores to the same runs: logs by (log, offset), blobs by digest, in one direction or both.

The companion ships by the same loop (`mlsdk.store.shipment`). It may be broken off and repeated at any time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from mlsdk.errors import (
    AccessError,
    ConflictError,
    DigestError,
    FormatError,
    MlsdkError,
    NewerFormatError,
    NotFoundError,
    StoreError,
    UnavailableError,
)
from mlsdk.query.parse import parse
from mlsdk.store import open_store
from mlsdk.store.base import FolderStore, Store
from mlsdk.store.gc import named_inside, references, tombstone_of
from mlsdk.store.grown import end_of
from mlsdk.store.intake import in_parts
from mlsdk.store.sending import Left, Sender, Way, ends

_PRIVATE = ("shared/access/", "shared/audit/", "shared/uploads/")
"""Who may do what on a server, who did, and what is half there, are that server's own."""

_RENEW_S = 3600.0
"""A blob that was put longer ago is put again where a log that comes now names it: `gc` may be about to take it."""

_PAGE = 500


class Pass(NamedTuple):
    """What was brought from one store to another."""

    source: str
    destination: str
    logs: int = 0
    size_bytes: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    left: tuple[Left, ...] = ()
    """What could not be brought over, and why."""


class Report(NamedTuple):
    """What a sync did."""

    passes: tuple[Pass, ...]

    @property
    def left(self) -> tuple[Left, ...]:
        """What could not be brought over, and why; empty if all is there."""
        return tuple(left for part in self.passes for left in part.left)

    @property
    def logs(self) -> int:
        """Logs of which something was sent."""
        return sum(part.logs for part in self.passes)

    @property
    def blobs(self) -> int:
        """Blobs that were sent."""
        return sum(part.blobs for part in self.passes)

    @property
    def size_bytes(self) -> int:
        """Bytes that were sent, of logs and blobs."""
        return sum(part.size_bytes + part.blob_bytes for part in self.passes)


def sync(
    source: str | os.PathLike[str] | None = None,
    destination: str | os.PathLike[str] | None = None,
    *,
    one_way: bool = False,
    check: bool = False,
) -> Report:
    """Bring two stores to the same runs, or send what waits for remote stores.

    Any number of times, in any order, while runs are going on: what is there already is not sent again. Nothing is
    overwritten, and what `mlsdk gc` has erased on one side does not come back from the other.

    Args:
        source: folder or URI of a store; without it, all outboxes of this user are sent, or the one of the store that
            the settings name.
        destination: folder or URI of the other; by default the store of the settings.
        one_way: only from source to destination.
        check: read on both sides all that both have, and say where the bytes differ. Otherwise what is as long on both
            sides, and was sent before, is taken to be the same.

    Returns:
        What was brought over, and what is left with the reason.

    Raises:
        StoreError: a store cannot be opened.

    >>> import mlsdk
    >>> with mlsdk.run("docs", store="memory:here") as run:
    ...     run.log(acc=0.9)
    >>> mlsdk.sync("memory:here", "memory:there").left
    ()
    >>> mlsdk.get_run(run.id, store="memory:there").metrics["acc"].last
    0.9
    """
    if source is None and destination is None:
        from mlsdk.store.shipment import send_outboxes

        return Report(tuple(send_outboxes()))
    one, other = _opened(source, made=False), _opened(destination, made=True)
    passes = [carry(one, other)]
    if not one_way:
        passes.append(carry(other, one))
    if check:
        found = (*passes[0].left, *differences(one, other))
        passes[0] = passes[0]._replace(left=found)
    return Report(tuple(passes))


def differences(one: Store, other: Store) -> Iterator[Left]:
    """Logs of which two stores hold other bytes, as far as both have them; all of it is read."""
    theirs = set(other.logs.list("runs/"))
    for log in one.logs.list("runs/"):
        if log not in theirs:
            continue
        try:
            here, there = one.logs.read(log), other.logs.read(log)
        except NotFoundError:  # erased in this moment
            continue
        except FormatError as error:
            yield Left(log, 0, f"it cannot be read: {error}")
            continue
        length = min(end_of(here), end_of(there))
        if here[:length] != there[:length]:
            at = next(at for at in range(length) if here[at] != there[at])
            yield Left(log, len(here), f"other bytes stand in {other.uri} from {at:,} on: both stay as they are")


def _opened(uri: str | os.PathLike[str] | None, *, made: bool) -> Store:
    """A store; a folder that is not there yet is made where something is to be brought."""
    from mlsdk.config import store_uri
    from mlsdk.store.target import open_target

    wanted = store_uri(uri)
    if made and wanted.startswith("file:"):
        open_target(wanted)
    return open_store(wanted if uri is not None else None)


def carry(source: Store, destination: Store) -> Pass:
    """Bring what a destination lacks from a source. Errors that end the work are among what is left."""
    sender = Sender(source, destination)
    blobs = BlobSender(source, destination)
    left: list[Left] = []
    try:
        erased = erased_runs(destination)
        tombs = erased_runs(source) - erased
        names = list(_to_carry(source, erased, tombs))
        named: set[str] = set()
        for part in in_parts(names, _PAGE):
            named |= _send(sender, part, left)
        _send_shared(source, destination, left)
        _send_blobs(blobs, names, named, left)
    except (UnavailableError, AccessError, NewerFormatError) as error:
        left.append(Left(destination.uri, 0, str(error)))
    return Pass(
        source.uri, destination.uri, len(sender.logs), sender.size_bytes, blobs.count, blobs.size_bytes, tuple(left)
    )


def erased_runs(store: Store) -> set[str]:
    """Runs of which `gc` has left only that they were."""
    store.refresh()
    found: set[str] = set()
    after = None
    while True:
        page = store.catalog.find(parse("deleted = true"), (), after, _PAGE)
        found.update(run.id for run in page.runs if run.erased)
        after = page.after
        if after is None:
            return found


def _to_carry(source: Store, erased: set[str], tombs: set[str]) -> Iterator[str]:
    """Logs of runs that were not erased on the other side; of those erased here, what says so."""
    tombstones: dict[str, str | None] = {}
    for log in source.logs.list("runs/"):
        run = log.split("/")[1]
        if run in tombs and run not in tombstones:
            tombstones[run] = tombstone_of(source, list(source.logs.list(f"runs/{run}/")))
        if run not in erased and tombstones.get(run, log) == log:
            yield log


def _send(sender: Sender, names: list[str], left: list[Left]) -> set[str]:
    """Send logs; what they may name of blobs."""
    there, here = ends(sender.destination.logs, names), _sizes(sender.source, names)
    ways = []
    for name, end, size in zip(names, there, here, strict=True):
        if end and end == size and _is_done(sender, name, end):
            continue
        way = Way(name, end)
        sender.reader.begin_at(way, end)
        sender.reader.look(way)
        ways.append(way)
    try:
        sender.send(ways)
    except MlsdkError:
        if not any(way.failed for way in ways):
            raise
    for way in ways:
        if way.failed:
            left.append(Left(way.log, way.end, str(way.failed)))
        elif way.aside and not way.erased:
            left.append(Left(way.log, way.behind, way.aside))
        elif way.ended and way.log in sender.logs and not way.behind:
            sender.finish(way)
            sender.pack(way)
    return {digest for way in ways for digest in way.digests}


def _sizes(source: Store, names: list[str]) -> list[int]:
    """Sizes of logs in a source: in few calls, where that may be asked of it."""
    try:
        return ends(source.logs, names)
    except AccessError:  # of one that may only be read
        return [source.logs.size(name) for name in names]


def _is_done(sender: Sender, log: str, end: int) -> bool:
    """Whether what is there, as much as here, needs no further look: space that is allocated is no part of a log."""
    from mlsdk.log.frames import LONGEST_CLOSE_BYTES, is_closed

    if not isinstance(sender.source, FolderStore) or sender.reader.is_sealed(log):
        return True
    return is_closed(sender.reader.read(log, max(0, end - LONGEST_CLOSE_BYTES), LONGEST_CLOSE_BYTES))


def _send_shared(source: Store, destination: Store, left: list[Left]) -> None:
    """Bring entries of shared logs that the other side has not, if it has no others in their place."""
    if "shared" not in source.logs.capabilities:
        return
    for log in source.logs.list("shared/"):
        if f"{log}/".startswith(_PRIVATE):
            continue
        size, there = source.logs.size(log), destination.logs.size(log)
        if size <= there:
            continue
        try:
            if there and destination.logs.read(log, 0, there) != source.logs.read(log, 0, there):
                left.append(Left(log, size - there, "others have appended other entries there; both stay as they are"))
                continue
            destination.logs.append(log, there, source.logs.read(log, there, size - there))
        except (ConflictError, StoreError) as error:
            if isinstance(error, (UnavailableError, AccessError)):
                raise
            left.append(Left(log, size - there, str(error)))


def blobs_named(source: Store, digests: Iterable[str]) -> dict[str, int]:
    """Those of some digests that are blobs of a store, with what is named inside them, and their sizes."""
    found: dict[str, int] = {}
    waiting = list(digests)
    while waiting:
        digest = waiting.pop()
        if digest in found:
            continue
        with contextlib.suppress(NotFoundError):
            found[digest] = source.blobs.info(digest)[0]
            waiting += named_inside(source, digest)
    return found


class BlobSender:
    """Brings blobs over.

    Attributes:
        count: how many were sent.
        size_bytes: of them.

    Args:
        source: where they are.
        destination: where they are to be.
    """

    def __init__(self, source: Store, destination: Store) -> None:
        self.source = source
        self.destination = destination
        self._there: set[str] = set()
        self.count = 0
        self.size_bytes = 0

    def send(self, digest: str) -> None:
        """Bring a blob over, if it is not there; renew its age, if it is.

        Raises:
            DigestError: its bytes here are damaged.
            UnavailableError, AccessError, StoreError: the destination does not take it.
        """
        if digest in self._there:
            return
        try:
            age_s: float | None = self.destination.blobs.info(digest)[1]
        except NotFoundError:
            age_s = None
        if age_s is None or age_s > _RENEW_S:
            with self.source.blobs.open(digest) as file:  # this is where damage here is seen
                size = self._put(digest, file)
            if age_s is None:
                self.count += 1
                self.size_bytes += size
        self._there.add(digest)

    def _put(self, digest: str, file: BinaryIO) -> int:
        try:
            return self.destination.blobs.put(file)[1]
        except DigestError as error:
            raise UnavailableError(f"blob {digest} was altered on its way to {self.destination.uri}: {error}") from None


def _send_blobs(blobs: BlobSender, names: list[str], named: set[str], left: list[Left]) -> None:
    """Bring over the blobs that logs name and that are missing there, those of logs sent long ago too."""
    source = blobs.source
    missing = set(source.blobs.list()) - set(blobs.destination.blobs.list())
    if not missing:
        return
    wanted = set(blobs_named(source, named)) & missing
    if wanted != missing:
        wanted |= references(source, names, []) & missing
    for digest in sorted(wanted):
        try:
            blobs.send(digest)
        except NotFoundError:  # erased in this moment
            continue
        except (DigestError, StoreError) as error:
            if isinstance(error, (UnavailableError, AccessError)):
                raise
            left.append(Left(f"blob {digest}", 0, str(error)))
