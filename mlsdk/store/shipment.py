"""Shipping an outbox: what is looked at, what is sent, when a marker goes. `mlsdk.companion.ship` says when."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from mlsdk.errors import DigestError, MlsdkError, NotFoundError
from mlsdk.store import open_store, outbox, posting
from mlsdk.store.base import Store, open_file
from mlsdk.store.intake import in_parts
from mlsdk.store.sending import FOR_ALL, Left, Reader, Sender, Way
from mlsdk.store.sync import BlobSender, Pass, blobs_named

NEW_S = 60.0
"""What is younger may be about to be written."""

OLD_S = 3600.0
"""The run of an older log may have been erased in the store meanwhile: that is asked before it is sent."""

_AT_ONCE = 1000
_WAITS = "not sent yet"


class _Parcel:
    """A log of the outbox, with the blobs that it names."""

    def __init__(self, marker: str, there: int | None) -> None:
        self.marker = marker
        self.run, _, writer = marker.partition(".")
        self.way = Way(f"runs/{self.run}/{writer}", there)
        self.blobs: dict[str, int] = {}
        """That are not there yet, with their sizes."""
        self.looked_into = 0
        self.noted = there

    @property
    def behind(self) -> int:
        """Bytes that are not there yet."""
        return self.way.behind + sum(tuple(self.blobs.values()))


class Shipment:
    """The logs and blobs of one outbox on their way.

    One thread calls `look` and `send`; another may call `send_blobs` meanwhile, so that numbers need not wait for a
    large file.

    Args:
        root: the outbox.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.uri = outbox.remote_of(root) or ""
        self.source = open_file(f"file:{root}", ":memory:")
        self._reader = Reader(self.source)
        self._parcels: dict[str, _Parcel] = {}
        self._ours: tuple[Sender, BlobSender] | None = None
        self._asked: set[str] = set()
        self._unmade: set[str] = set()
        """Markers of logs that were announced and are not there yet."""
        self.shipped = 0
        """Logs that went up wholly since this was made."""

    def _open(self) -> tuple[Sender, BlobSender]:
        if self._ours is None:
            destination = _opened(self.uri)
            self._ours = Sender(self.source, destination, self._reader), BlobSender(self.source, destination)
        return self._ours

    # looking

    def look(self) -> None:
        """See which logs there are, what they have grown, and which blobs they name."""
        markers, unmade = outbox.markers(self.root), set[str]()
        for marker in self._parcels.keys() - set(markers):
            del self._parcels[marker]
        for marker in markers:
            parcel = self._parcels.get(marker) or self._meet(marker)
            if parcel is None:
                unmade.add(marker)
            if parcel is None or parcel.way.ended or parcel.way.aside:
                continue
            way = parcel.way
            self._reader.look(way)
            if way.missing:
                self._unmark(marker)  # deleted here
            elif len(way.digests) > parcel.looked_into:
                parcel.looked_into = len(way.digests)
                parcel.blobs.update(blobs_named(self.source, way.digests))
        self._unmade = unmade

    def _meet(self, marker: str) -> _Parcel | None:
        """Take on a log; None while it is not there yet."""
        path = os.path.join(self.source.layout.ship, marker)
        try:
            with open(path, encoding="ascii") as file:
                noted = file.read().strip()
            age_s = time.time() - os.stat(path).st_mtime
        except (OSError, UnicodeDecodeError):
            return None
        parcel = _Parcel(marker, int(noted) if noted.isdigit() else None)
        if not self.source.logs.size(parcel.way.log):
            if age_s > NEW_S and not os.path.exists(os.path.join(self.source.layout.open, marker)):
                self._unmark(marker)  # a companion's log that was announced and never made
            return None
        self._parcels[marker] = parcel
        return parcel

    # sending

    def send(self, said: Callable[[], None] | None = None) -> None:
        """Send what the logs have grown since it was last sent.

        Args:
            said: see `Sender.send`.

        Raises:
            UnavailableError, AccessError, StoreError: the store does not take it; try again later.
        """
        sender, _ = self._open()
        self._ask_for_erased(sender)
        due = [parcel for parcel in self._parcels.values() if not parcel.way.aside and _is_due(parcel.way)]
        due.sort(key=lambda parcel: parcel.way.ended)  # what is live first
        for part in in_parts(due, _AT_ONCE):
            try:
                sender.send([parcel.way for parcel in part], said)
            finally:
                for parcel in part:
                    self._note(parcel)
        self.settle()

    def send_blobs(self) -> None:
        """Send blobs that the logs name.

        Raises:
            UnavailableError, AccessError: the store takes nothing; try again later.
            StoreError: it does not take one of the blobs; all others were sent.
        """
        _, blobs = self._open()
        failed: MlsdkError | None = None
        for parcel in tuple(self._parcels.values()):
            if parcel.way.behind or parcel.way.there is None:
                continue  # its own bytes first
            for digest in tuple(parcel.blobs):
                try:
                    blobs.send(digest)
                except NotFoundError:  # gone here: nothing can be sent
                    pass
                except DigestError as error:
                    parcel.way.aside = str(error)
                    break
                except FOR_ALL:
                    raise
                except MlsdkError as error:
                    failed = error
                    continue
                parcel.blobs.pop(digest, None)
        if failed is not None:
            raise failed

    def settle(self) -> None:
        """Take away the markers of what is wholly there."""
        sender, _ = self._open()
        for parcel in tuple(self._parcels.values()):
            way = parcel.way
            if way.erased:
                self._unmark(parcel.marker)
            elif way.ended and not way.aside and not _is_due(way) and not parcel.behind:
                sender.finish(way)
                self._unmark(parcel.marker)
                self.shipped += 1
                sender.pack(way)  # nobody waits for this at the end of a process: the marker has gone

    def _ask_for_erased(self, sender: Sender) -> None:
        """See which runs of long ago were erased in the store meanwhile: they do not go back there."""
        for parcel in self._parcels.values():
            if parcel.run not in self._asked:
                self._asked.add(parcel.run)
                began_s = int(parcel.run[:12], 16) / 1000 if _is_hexadecimal(parcel.run[:12]) else 0.0
                if time.time() - began_s > OLD_S and sender.is_erased(parcel.way.log):
                    parcel.way.aside, parcel.way.erased = "the run was erased there", True

    def _note(self, parcel: _Parcel) -> None:
        """Write down how much is there, for whoever goes on with it."""
        there = parcel.way.there
        if there is not None and there != parcel.noted:
            path = os.path.join(self.source.layout.ship, parcel.marker)
            with contextlib.suppress(OSError), open(path, "r+", encoding="ascii") as file:
                file.truncate()
                file.write(str(there))
                parcel.noted = there

    def _unmark(self, marker: str) -> None:
        self._parcels.pop(marker, None)
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.source.layout.ship, marker))

    # how it stands

    @property
    def has_blobs(self) -> bool:
        """Whether blobs wait to be sent."""
        return any(parcel.blobs and not parcel.way.aside for parcel in tuple(self._parcels.values()))

    @property
    def is_behind(self) -> bool:
        """Whether anything waits that could be sent, or was not looked at yet."""
        for marker in outbox.markers(self.root):
            parcel = self._parcels.get(marker)
            if parcel is None:
                if marker not in self._unmade:
                    return True
            elif not parcel.way.aside and (parcel.behind or parcel.way.ended):
                return True
        return False

    def moved(self) -> tuple[int, int, int, int]:
        """What was sent so far: logs, their bytes, blobs, their bytes."""
        if self._ours is None:
            return 0, 0, 0, 0
        sender, blobs = self._ours
        return len(sender.logs), sender.size_bytes, blobs.count, blobs.size_bytes

    def left(self) -> list[Left]:
        """What is not up."""
        return [
            Left(parcel.way.log, parcel.behind, parcel.way.aside or _WAITS)
            for parcel in tuple(self._parcels.values())
            if parcel.behind or parcel.way.aside
        ]

    def status(self, why: str | None = None, failing_since: float | None = None) -> outbox.Status:
        """How shipping goes.

        Args:
            why: what fails, without secrets.
            failing_since: since when, in seconds since 1970.
        """
        left = self.left()
        runs = {item.name.split("/")[1] for item in left}
        set_aside = next((item.why for item in left if item.why != _WAITS), None)
        return outbox.Status(
            time.time(), failing_since, why or set_aside, len(runs), sum(item.size_bytes for item in left)
        )


def _opened(uri: str) -> Store:
    """The store that is shipped to; calls to a server are tried once, since whoever ships tries again by itself."""
    if uri.startswith(("http:", "https:")):
        from mlsdk.store.http import open_http

        return open_http(uri, attempts=1)
    return open_store(uri)


def _is_due(way: Way) -> bool:
    return way.there is None or bool(way.behind) or (not way.checked and way.end > 0)


def _is_hexadecimal(text: str) -> bool:
    return bool(text) and set(text) <= set("0123456789abcdef")


def send_outboxes(store: str | None = None) -> Iterator[Pass]:
    """Send all that waits in this user's outboxes, or in that of the store which is named, here or by the settings."""
    from mlsdk.config import store_uri

    uri = store_uri(store)
    roots = [outbox.folder_of(uri)] if outbox.is_remote(uri) else outbox.outboxes()
    for root in roots:
        if outbox.remote_of(root):
            yield send_outbox(root)


def send_outbox(root: str) -> Pass:
    """Send all that waits in one outbox, those logs too that nobody has announced."""
    _announce_forgotten(root)
    shipment = Shipment(root)
    why = None
    with posting.shipping():
        for step in (shipment.look, shipment.send, shipment.send_blobs, shipment.settle):
            try:
                step()
            except MlsdkError as error:  # the other outboxes are sent all the same
                why = why or str(error)
                if isinstance(error, FOR_ALL):
                    break
    left = shipment.left()
    if why is not None:
        left = [Left(item.name, item.size_bytes, why if item.why == _WAITS else item.why) for item in left]
        left = left or [Left(shipment.uri, 0, why)]
    since = outbox.status(root).failing_since or time.time()
    outbox.write_status(root, shipment.status(why, since if why else None))
    return Pass(root, shipment.uri, *shipment.moved(), tuple(left))


def _announce_forgotten(root: str) -> None:
    """Mark logs that stand in no folder of markers: a crash came between making and announcing them."""
    layout = open_file(f"file:{root}", ":memory:").layout
    marked = {*os.listdir(layout.open), *outbox.markers(root)}
    for day in os.listdir(layout.closed):
        with contextlib.suppress(OSError):
            marked.update(os.listdir(os.path.join(layout.closed, day)))
    for run in os.listdir(layout.runs):
        folder = os.path.join(layout.runs, run)
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                writer, _, kind = name.partition(".")
                old = time.time() - os.stat(os.path.join(folder, name)).st_mtime > NEW_S
                if kind in ("log", "seal") and old and f"{run}.{writer}" not in marked:
                    layout.mark_open(run, writer)
                    layout.mark_closed(run, writer)
