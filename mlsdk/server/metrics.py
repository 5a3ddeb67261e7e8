"""Figures of a server for Prometheus and its kin, as OpenMetrics text."""

from __future__ import annotations

import bisect
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from threading import Lock

from mlsdk.version import VERSION

TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histogram of latencies."""

_ADDED = {
    "append_bytes": "raw bytes that requests brought to be appended",
    "append_points": "values of metrics in them",
    "append_pieces": "pieces of logs in them",
    "append_conflicts": "pieces that did not continue their log",
    "blob_bytes_in": "bytes of blobs taken in",
    "blob_bytes_out": "bytes of blobs handed out",
    "refused": "requests turned away: over a limit, too slow, too many",
}

_SHOWN = {
    "requests_in_flight": "requests under way",
    "held_body_bytes": "bytes of bodies in memory",
    "streams": "listeners to live runs",
    "threads_busy_reads": "threads at work on queries and downloads",
    "threads_busy_writes": "threads at work on appends and uploads",
}


class Metrics:
    """Counters of one server process.

    Args:
        figures: what is so at this moment, by the names in `_SHOWN`.

    >>> metrics = Metrics(dict)
    >>> metrics.add("append_bytes", 10)
    >>> "mlsdk_append_bytes_total 10" in metrics.text()
    True
    """

    def __init__(self, figures: Callable[[], Mapping[str, float]]) -> None:
        self._figures = figures
        self._lock = Lock()
        self._added: dict[str, float] = dict.fromkeys(_ADDED, 0)
        self._requests: dict[tuple[str, str, int], int] = defaultdict(int)
        self._times: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
        self._started = time.time()

    def add(self, name: str, amount: float = 1) -> None:
        """Count something."""
        with self._lock:
            self._added[name] += amount

    def request(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count a request that is done."""
        with self._lock:
            self._requests[method, route, status] += 1
            counts, total = self._times.setdefault((method, route), ([0] * (len(BOUNDS_S) + 1), [0.0]))
            counts[bisect.bisect_left(BOUNDS_S, took_s)] += 1
            total[0] += took_s

    def text(self) -> str:
        """Everything, as OpenMetrics."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _about("build", "info", "the version that runs")
        yield f'mlsdk_build_info{{version="{VERSION}"}} 1'
        yield from _about("start_time_seconds", "gauge", "when the process began, since 1970")
        yield f"mlsdk_start_time_seconds {self._started:.3f}"
        yield from _about("requests", "counter", "requests that are done")
        for (method, route, status), count in sorted(self._requests.items()):
            yield f'mlsdk_requests_total{{method="{method}",route="{_label(route)}",status="{status}"}} {count}'
        yield from _about("request_seconds", "histogram", "from the first byte of a request to the last of its answer")
        for (method, route), (counts, total) in sorted(self._times.items()):
            of = f'method="{method}",route="{_label(route)}"'
            below = 0
            for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), counts, strict=True):
                below += count
                yield f'mlsdk_request_seconds_bucket{{{of},le="{bound}"}} {below}'
            yield f"mlsdk_request_seconds_sum{{{of}}} {total[0]:.6f}"
            yield f"mlsdk_request_seconds_count{{{of}}} {below}"
        for name, meaning in _ADDED.items():
            yield from _about(name, "counter", meaning)
            yield (
                f"mlsdk_{name}_total {self._added[name]:g}"
                if self._added[name] < 1e6
                else (f"mlsdk_{name}_total {int(self._added[name])}")
            )
        figures = self._figures()
        for name, meaning in _SHOWN.items():
            yield from _about(name, "gauge", meaning)
            yield f"mlsdk_{name} {figures.get(name, 0)}"
        yield "# EOF"


def _about(name: str, kind: str, meaning: str) -> Iterator[str]:
    yield f"# TYPE mlsdk_{name} {kind}"
    yield f"# HELP mlsdk_{name} {meaning}"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
