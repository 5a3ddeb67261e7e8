"""What one server takes at most, and how often one token may call."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import attrs

MIB = 1 << 20


@attrs.frozen
class Limits:
    """Sizes in bytes, times in seconds; `mlsdk serve` has an option for those that people change.

    Attributes:
        body_bytes: of one request, as it is sent.
        inflated_bytes: of one request, decompressed.
        json_bytes: of a body in JSON.
        form_bytes: of a request that needs no token.
        held_bytes: of all bodies and large answers that are in memory at once; beyond, callers are asked to come again.
        blob_bytes: of one blob.
        url_bytes: of path and query together.
        header_bytes: of all headers of a request.
        connections: at once; more are closed unheard.
        requests: at once, streams apart.
        doors: requests at once of those that need no token, such as for signing in.
        share: requests at once of one actor, streams too.
        streams: of server-sent events at once.
        rate_per_s: requests of one token, in the long run; 0 for no limit.
        burst: requests of one token at once, above that rate.
        stranger_rate_per_s: requests of one address without a valid token, in the long run; 0 for no limit.
        stranger_burst: such requests at once, above that rate.
        request_s: for the work of one request.
        headers_s: until the headers of a request are there.
        idle_s: without a byte of a body, or of an answer taken.
        settle_s: that a body may take to get going, before its speed is looked at.
        least_bytes_per_s: a body that comes slower than this in the long run is given up; so is an answer taken so.
        page: entries in one answer.
        readers: threads for queries and downloads.
        writers: threads for appends and uploads.
        drain_s: between the signal to stop and the end of listening, while readiness is denied.
        stop_s: that a stop waits for requests under way.
    """

    body_bytes: int = 32 * MIB
    inflated_bytes: int = 128 * MIB
    json_bytes: int = MIB
    form_bytes: int = 16_384
    held_bytes: int = 512 * MIB
    blob_bytes: int = 1 << 40
    url_bytes: int = 8_192
    header_bytes: int = 32_768
    connections: int = 8_192
    requests: int = 256
    doors: int = 32
    share: int = 128
    streams: int = 500
    rate_per_s: float = 200.0
    burst: int = 1_000
    stranger_rate_per_s: float = 10.0
    stranger_burst: int = 200
    request_s: float = 60.0
    headers_s: float = 10.0
    idle_s: float = 15.0
    settle_s: float = 5.0
    least_bytes_per_s: int = 2_048
    page: int = 1_000
    readers: int = 16
    writers: int = 16
    drain_s: float = 0.0
    stop_s: float = 20.0


class Rates:
    """A bucket of tokens for each caller: it fills at a rate, each request takes one.

    Args:
        rate_per_s: how fast; 0 for no limit.
        burst: how many it holds.
        clock: seconds that only rise.

    >>> now = [0.0]
    >>> rates = Rates(1.0, 2, lambda: now[0])
    >>> rates.wait_s("a"), rates.wait_s("a"), rates.wait_s("a")
    (0.0, 0.0, 1.0)
    """

    _KNOWN = 10_000
    """Callers that are remembered: a bucket that is forgotten is full."""

    def __init__(self, rate_per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate_per_s, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def wait_s(self, caller: str, *, look: bool = False) -> float:
        """0 and one request taken, or the seconds after which there is one again; a look takes none."""
        if not self._rate:
            return 0.0
        now = self._clock()
        with self._lock:
            left, at = self._buckets.pop(caller, (float(self._burst), now))
            left = min(self._burst, left + (now - at) * self._rate)
            wait = 0.0 if left >= 1 else (1 - left) / self._rate
            self._buckets[caller] = (left if wait or look else left - 1, now)
            while len(self._buckets) > self._KNOWN:
                self._buckets.popitem(last=False)
        return wait


class Gauge:
    """How much of something is in use, against a limit.

    Args:
        limit: what may be in use at once.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._lock = Lock()

    def take(self, amount: int = 1) -> bool:
        """Take some; False, and nothing taken, if that would be too much."""
        with self._lock:
            if self.used + amount > self.limit:
                return False
            self.used += amount
            return True

    def give(self, amount: int = 1) -> None:
        """Give it back."""
        with self._lock:
            self.used -= amount


class Shares:
    """How much each of many has in use, against a limit for each.

    Args:
        limit: what one may have in use at once.

    >>> shares = Shares(1)
    >>> shares.take("a"), shares.take("a"), shares.take("b")
    (True, False, True)
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used: dict[str, int] = {}
        self._lock = Lock()

    def take(self, whose: str) -> bool:
        """Take one; False, and nothing taken, if that would be too much."""
        with self._lock:
            used = self._used.get(whose, 0)
            if used < self._limit:
                self._used[whose] = used + 1
            return used < self._limit

    def give(self, whose: str) -> None:
        """Give it back."""
        with self._lock:
            self._used[whose] -= 1
            if not self._used[whose]:
                del self._used[whose]
