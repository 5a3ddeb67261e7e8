"""Live runs as server-sent events: one look at the store a second serves all listeners of a workspace."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timezone
from threading import Condition, Thread

from mlsdk.errors import MlsdkError, NotFoundError
from mlsdk.query.parse import parse
from mlsdk.query.tree import Compare, Tree
from mlsdk.server.limits import Limits
from mlsdk.store.base import Store
from mlsdk.store.listing import Listed

TYPE = "text/event-stream"

_EVERY_S = 1.0
_AT_ONCE_S = 0.1
"""What came through this server is looked at after this time: many appends are one look."""
_HEARTBEAT_S = 15.0
_MOST = 500
"""Runs that one look is about, and that wait for one listener: who is slower than that has to come again."""

_NEWEST = 50
"""So many of the last runs are looked at, too: one may have begun and ended at another server since the last look."""

_LIVE: Tree = parse("status = 'running'")


class Events:
    """The listeners of all workspaces.

    Args:
        limits: how many may listen.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._watches: dict[str, _Watch] = {}
        self._condition = Condition()
        self._stopping = False

    def listeners(self) -> int:
        """How many listen."""
        return sum(len(watch.listeners) for watch in list(self._watches.values()))

    def is_full(self) -> bool:
        """Whether nobody else can listen."""
        return self._stopping or self.listeners() >= self._limits.streams

    def touch(self, workspace: str, runs: Iterable[str]) -> None:
        """Runs have changed through this server: tell listeners soon."""
        watch = self._watches.get(workspace)
        if watch is not None:
            watch.touch(runs)

    def stop(self) -> None:
        """End all streams."""
        self._stopping = True
        for watch in list(self._watches.values()):
            watch.stop()

    async def listen(
        self, store: Store, workspace: str, run: str | None, since: str, may: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        """The stream of one listener.

        Args:
            store: of the workspace.
            workspace: where.
            run: only this run; None for all.
            since: the id of the last event that it got, else empty: what has ended since then is told again.
            may: whether it may still listen; looked at before anything is sent.
        """
        is_stamp = since.isascii() and since.isdigit() and len(since) < 15
        listener = _Listener(asyncio.get_running_loop(), run, int(since) if is_stamp else None)
        with self._condition:
            watch = self._watches.get(workspace)
            if watch is None or not watch.add(listener):
                watch = self._watches[workspace] = _Watch(store)
                watch.add(listener)
        if self._stopping:
            watch.stop()
        try:
            yield b"retry: 2000\n\n"
            while not listener.is_over:
                news = await listener.next(_HEARTBEAT_S)
                if not may():
                    return
                yield news
        finally:
            watch.remove(listener)


class _Listener:
    """One open stream: what waits to be sent, the latest state of each run only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, run: str | None, since_ms: int | None) -> None:
        self.run, self.since_ms = run, since_ms
        self.is_new, self.is_over = True, False
        self._loop, self._news = loop, asyncio.Event()
        self._waiting: dict[str, bytes] = {}

    def wants(self, run: str) -> bool:
        return self.run is None or self.run == run

    def tell(self, run: str, event: bytes) -> None:
        """Called by the watch's thread."""
        self._loop.call_soon_threadsafe(self._put, run, event)

    def end(self) -> None:
        """Called by the watch's thread, or any other."""
        self.is_over = True
        self._loop.call_soon_threadsafe(self._news.set)

    def _put(self, run: str, event: bytes) -> None:
        self._waiting.pop(run, None)
        self._waiting[run] = event
        self.is_over = self.is_over or len(self._waiting) > 2 * _MOST
        self._news.set()

    async def next(self, wait_s: float) -> bytes:
        try:
            await asyncio.wait_for(self._news.wait(), wait_s)
        except asyncio.TimeoutError:
            return b": here\n\n"
        self._news.clear()
        events, self._waiting = b"".join(self._waiting.values()), {}
        return events


class _Watch:
    """Looks at the store of one workspace, in a thread of its own, while anybody listens."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._condition = Condition()
        self._touched: set[str] = set()
        self._known: dict[str, Listed] = {}
        self._over = False
        self.listeners: list[_Listener] = []
        self._thread = Thread(target=self._go, name="mlsdk-events", daemon=True)

    def add(self, listener: _Listener) -> bool:
        """Take a listener in; False if the watch has ended just now."""
        with self._condition:
            if self._over:
                return False
            self.listeners.append(listener)
            self._condition.notify()
            if not self._thread.is_alive():
                self._thread.start()
            return True

    def remove(self, listener: _Listener) -> None:
        with self._condition:
            if listener in self.listeners:
                self.listeners.remove(listener)
            self._condition.notify()

    def touch(self, runs: Iterable[str]) -> None:
        with self._condition:
            self._touched.update(runs)
            self._condition.notify()

    def stop(self) -> None:
        with self._condition:
            self._over = True
            for listener in self.listeners:
                listener.end()
            self._condition.notify()

    def _go(self) -> None:
        while self._wait():
            with self._condition:
                touched, self._touched = self._touched, set()
            try:
                self._look(touched)
            except Exception:  # the store cannot be read at present: the listeners stay, and hear of it later
                self.touch(touched)
                time.sleep(_EVERY_S)

    def _wait(self) -> bool:
        """Until it is time to look again; False when nobody listens any more."""
        with self._condition:
            if not any(listener.is_new for listener in self.listeners) and not self._touched:
                self._condition.wait(_EVERY_S)
            if not self.listeners:
                self._over = True
            if self._over:
                return False
        time.sleep(_AT_ONCE_S)
        return True

    def _look(self, touched: set[str]) -> None:
        with self._condition:
            listeners = list(self.listeners)
        self._store.refresh()
        found = self._found(_LIVE, _MOST)
        newest = self._found(None, _NEWEST)
        named = {listener.run for listener in listeners if listener.run is not None}
        found |= {run: newest[run] for run in (touched | named) & newest.keys()}
        for run in (*touched, *named, *self._known):
            if run not in found and run not in newest and len(found) < 2 * _MOST:
                try:
                    found[run] = self._store.catalog.document(run)
                except MlsdkError:  # gone, or of a newer version
                    continue
        at_first, found = found, newest | found
        stamp = time.time_ns() // 1_000_000
        for listener in listeners:
            if listener.is_new:
                listener.is_new = False
                news = at_first | self._ended_since(listener)
            else:
                news = {run: listed for run, listed in found.items() if self._known.get(run) != listed}
            for run, listed in news.items():
                if listener.wants(run):
                    listener.tell(run, _event(stamp, listed))
        kept = named | newest.keys()
        self._known = {run: listed for run, listed in found.items() if listed.status == "running" or run in kept}

    def _found(self, query: Tree | None, most: int) -> dict[str, Listed]:
        return {_id(listed): listed for listed in self._store.catalog.documents(query, (), None, most).runs}

    def _ended_since(self, listener: _Listener) -> dict[str, Listed]:
        if listener.since_ms is None or listener.run is not None:
            return {}
        since = datetime.fromtimestamp(max(0, listener.since_ms / 1000 - 2 * _EVERY_S), timezone.utc)
        return self._found(Compare(("ended_at",), ">=", since), _MOST)


def _id(listed: Listed) -> str:
    head = '{"id":"'
    if listed.document.startswith(head):
        return listed.document[len(head) : len(head) + 32]
    found = json.loads(listed.document).get("id")
    if not isinstance(found, str):
        raise NotFoundError("a document without an id")
    return found


def _event(stamp: int, listed: Listed) -> bytes:
    return f"id: {stamp}\nevent: run\ndata: {json.dumps(listed._asdict())}\n\n".encode()
