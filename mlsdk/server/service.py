"""What a server has: its stores, who may do what, its threads and its figures. One object for one application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from mlsdk.log.ids import new_id
from mlsdk.server.access import Access, Principal
from mlsdk.server.audit import Audit
from mlsdk.server.calls import Row
from mlsdk.server.events import Events
from mlsdk.server.limits import Gauge, Limits, Rates, Shares
from mlsdk.server.metrics import Metrics
from mlsdk.server.signin import SignIn
from mlsdk.server.workspaces import DEFAULT, Workspaces

HOME = ""
"""The home store, where a workspace's name is meant otherwise."""

_LOOK_S = 1.0
_NO_LOG = f"runs/{'0' * 32}/{'0' * 32}"


class Service:
    """What the handlers work with.

    Args:
        workspaces: the stores.
        limits: what is taken at most.
        secure: whether browsers reach it by TLS, here or at a proxy.
        proxied: whether a proxy says from where and how requests came; else nobody's word for it counts.
    """

    def __init__(
        self, workspaces: Workspaces, limits: Limits | None = None, *, secure: bool = False, proxied: bool = False
    ) -> None:
        self.workspaces = workspaces
        self.limits = limits or Limits()
        self.secure, self.proxied = secure, proxied
        self.instance = new_id()
        """The id of this server process: names its audit logs."""
        self.access = Access(workspaces.home)
        self.sign_in: SignIn | None = None
        """Where people sign in by OpenID Connect, if anywhere."""
        self.metrics = Metrics(self._figures)
        self.events = Events(self.limits)
        self.rates = Rates(self.limits.rate_per_s, self.limits.burst)
        self.strangers = Rates(self.limits.stranger_rate_per_s, self.limits.stranger_burst)
        """By address: requests without a valid token."""
        self.refusals = Rates(0.1, 20)
        """By actor: refused acts that are written down; nobody shall fill the disk with them."""
        self.requests, self.held = Gauge(self.limits.requests), Gauge(self.limits.held_bytes)
        self.doors = Gauge(self.limits.doors)
        self.shares = Shares(self.limits.share)
        self.reads = Threads(self.limits.readers, "reads")
        self.writes = Threads(self.limits.writers, "writes")
        self.gate = Threads(4, "gate")
        """Threads that look at tokens, mostly from memory but not always, and that say how the server is."""
        self.signing = Threads(4, "signing")
        """Threads for signing in: they may have to wait for a provider."""
        self.rows: tuple[Row, ...] = ()
        """The routes; `make_app` sets them."""
        self.stopping = False
        """From the signal to stop on: readiness is denied, streams end."""
        self._ready_at = -_LOOK_S
        self._audits: dict[str, Audit] = {}
        self._lock = Lock()

    def audit(self, workspace: str) -> Audit:
        """The audit chain of a workspace, or of `HOME`."""
        found = self._audits.get(workspace)
        if found is None:
            with self._lock:
                store = self.workspaces.store(workspace) if workspace else self.workspaces.home
                found = self._audits.setdefault(workspace, Audit(store, self.instance))
        return found

    def record_refusal(self, principal: Principal, wanted: str, **about: Any) -> None:
        """Write down that somebody tried what only admins or operators may; somebody who goes on, not each time."""
        if not self.refusals.wait_s(principal.actor):
            self.audit(HOME).record(principal.actor, "refused", token=principal.token, wanted=wanted, **about)

    def has(self, workspace: str) -> bool:
        """Whether there is such a workspace."""
        return workspace == DEFAULT or workspace in self.access.workspaces()

    def ready(self) -> bool:
        """Whether requests can be served: the stores answer, and nobody wants to stop. Looked at once a second.

        Raises:
            MlsdkError: a store does not answer.
        """
        if self.stopping:
            return False
        if time.monotonic() - self._ready_at > _LOOK_S:
            for store in self.workspaces.opened():
                store.logs.size(_NO_LOG)
                store.catalog.has_key("name")
            self._ready_at = time.monotonic()
        return True

    def stop(self) -> None:
        """Take no new work; what is under way ends by itself."""
        self.stopping = True
        self.events.stop()

    def close(self) -> None:
        """Let go of the threads."""
        self.access.close()
        for threads in (self.reads, self.writes, self.gate, self.signing):
            threads.pool.shutdown(wait=False, cancel_futures=True)

    def _figures(self) -> dict[str, float]:
        return {
            "requests_in_flight": self.requests.used,
            "held_body_bytes": self.held.used,
            "streams": self.events.listeners(),
            "threads_busy_reads": self.reads.busy.used,
            "threads_busy_writes": self.writes.busy.used,
        }


class Threads:
    """A bounded number of threads, and how many are busy.

    Args:
        count: how many.
        name: of the threads.
    """

    def __init__(self, count: int, name: str) -> None:
        self.pool = ThreadPoolExecutor(count, thread_name_prefix=f"mlsdk-{name}")
        self._share = max(1, count // 2)
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self.busy = Gauge(1 << 30)

    def turn(self, actor: str) -> asyncio.Semaphore:
        """What lets one actor have half of the threads at once, and no more; for the event loop's thread."""
        found = self._turns.get(actor)
        if found is None:
            found = self._turns[actor] = asyncio.Semaphore(self._share)
        return found

    def counted(self, work: Callable[[], object]) -> Callable[[], object]:
        """The same work, seen as busy while it lasts."""

        def watched() -> object:
            self.busy.take()
            try:
                return work()
            finally:
                self.busy.give()

        return watched
