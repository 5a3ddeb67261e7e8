"""`mlsdk tail`: follow a live run, a line at a time."""

from __future__ import annotations

import argparse
import time
from collections import deque
from datetime import datetime, timezone

from mlsdk.cli import stores
from mlsdk.cli.draw import spark
from mlsdk.cli.screen import STATUS_STYLES, Screen, Span, clean, fitted
from mlsdk.errors import NotFoundError, UsageError
from mlsdk.log.decode import Batch, Opened, Output, Position, decode
from mlsdk.query.parse import parse
from mlsdk.records import Run, RunStatus
from mlsdk.store.base import Store
from mlsdk.table import duration, number

SPARK_WIDTH = 12
RECENT = 240
"""Last values of a metric that its spark line draws."""
_LIVE = (RunStatus.RUNNING, RunStatus.LOST)


def tail_options(parser: argparse.ArgumentParser) -> None:
    """Options of `tail`."""
    add = parser.add_argument
    add("run", nargs="?", metavar="RUN", help="by default the latest that is running, else the latest")
    add("--metrics", metavar="NAMES", help="which to show, by commas; by default as many as fit")
    add("--output", action="store_true", help="print what the run writes to stdout and stderr too")
    add("--every", type=float, default=1.0, metavar="SECONDS", help="time between two lines (default: 1)")
    add("--once", action="store_true", help="one line, then end")


def tail(args: argparse.Namespace) -> int:
    """Follow a run until it ends: last values with a spark line, points and steps a second.

    Ctrl-C stops looking; the run goes on.

    With --json each line is a JSON object.
    """
    if not args.every > 0:
        raise UsageError(f"--every takes seconds above 0, not {args.every:g}")
    store = stores.existing(args.store)
    run = store.find_one(args.run) if args.run else _latest(store)
    follower = Follower(store, run.id, _names(args.metrics))
    screen = Screen()
    try:
        if not args.json:
            screen.line((run.name, "bold"), "  ", (run.id, "dim"))
        while True:
            store.refresh()
            run = store.catalog.get(run.id)
            pieces = follower.look()  # after the status: what a run logged before it ended is seen
            if args.output and not args.json:
                for piece in pieces:
                    screen.lines(piece.text.removesuffix("\n"), "yellow" if piece.stream == 2 else "dim")
            _line(screen, follower, run, as_json=args.json)
            if args.once or run.status not in _LIVE:
                break
            time.sleep(args.every)
    except KeyboardInterrupt:
        if not args.json:
            screen.line()
            screen.line((f"stopped looking at {run.name}, which goes on", "dim"))
        return 0
    if run.status not in _LIVE and not args.json:
        screen.line((run.status.value, STATUS_STYLES[run.status.value]), f" after {duration(run.duration_s)}")
        if run.error:
            screen.line(("  ", ""), (f"{run.error.get('type')}: {run.error.get('message')}", "red"))
    return 0


def _latest(store: Store) -> Run:
    store.refresh()
    running = store.catalog.find(parse("status = 'running'"), limit=1).runs
    return running[0] if running else store.find_one("latest")


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


class Metric:
    """What has been seen of a metric."""

    def __init__(self) -> None:
        self.last: float = 0.0
        self.step = 0
        self.count = 0
        self.recent: deque[float] = deque(maxlen=RECENT)


class Follower:
    """Reads what the logs of a run grow by.

    Args:
        store: where.
        run: id of the run.
        wanted: names of metrics to follow; empty for all.
    """

    def __init__(self, store: Store, run: str, wanted: list[str]) -> None:
        self._logs = store.logs
        self._run = run
        self._wanted = wanted
        self._positions: dict[str, Position] = {}
        self._roles: dict[str, str] = {}
        self._looked: tuple[float, int, int] | None = None
        self.metrics: dict[str, Metric] = {}
        self.points_per_s: float | None = None
        self.steps_per_s: float | None = None

    @property
    def step(self) -> int:
        """The highest step of what was logged latest."""
        return max((metric.step for metric in self.metrics.values()), default=0)

    @property
    def points(self) -> int:
        """Points seen."""
        return sum(metric.count for metric in self.metrics.values())

    def look(self) -> list[Output]:
        """Take in what is new; returns the output among it, in the order of time."""
        pieces: list[Output] = []
        for log in self._logs.list(f"runs/{self._run}/"):
            since = self._positions.get(log) or Position()
            try:
                data = self._logs.read(log, since.offset)
            except NotFoundError:  # it was sealed or erased in this moment
                continue
            for entry, position in decode(data, since, live=True):
                self._positions[log] = position
                if isinstance(entry, Opened):
                    self._roles[log] = str(entry.header.get("role"))
                elif isinstance(entry, Batch) and self._roles.get(log) in ("main", "rank 0"):
                    self._add(entry)
                elif isinstance(entry, Output):
                    pieces.append(entry)
        self._rate()
        return sorted(pieces, key=lambda piece: piece.t)

    def _add(self, batch: Batch) -> None:
        for name, column in zip(batch.schema.names, batch.values, strict=True):
            if self._wanted and name not in self._wanted:
                continue
            metric = self.metrics.setdefault(name, Metric())
            metric.last, metric.step = column[-1], int(batch.steps[-1])
            metric.count += len(column)
            metric.recent.extend(float(value) for value in column[-RECENT:])

    def _rate(self) -> None:
        now = (time.monotonic(), self.points, self.step)
        if self._looked is not None:
            seconds = max(now[0] - self._looked[0], 1e-9)
            self.points_per_s = (now[1] - self._looked[1]) / seconds
            self.steps_per_s = max((now[2] - self._looked[2]) / seconds, 0.0)
        self._looked = now


def _line(screen: Screen, follower: Follower, run: Run, *, as_json: bool) -> None:
    """One line about the run as it is now."""
    now = datetime.now(timezone.utc)
    if as_json:
        import json

        line = {
            "time": stores.iso(now),
            "run": run.id,
            "status": run.status.value,
            "step": follower.step,
            "points": follower.points,
            "points_per_s": follower.points_per_s,
            "steps_per_s": follower.steps_per_s,
            "metrics": {name: metric.last for name, metric in follower.metrics.items()},
        }
        print(json.dumps(stores.plain(line), allow_nan=False), flush=True)
        return
    begin = [f"{now:%H:%M:%S}", f"step {follower.step:,}"]
    if follower.points_per_s is not None and follower.steps_per_s is not None:
        begin += [
            f"{number(round(follower.steps_per_s, 1))} steps/s",
            f"{number(round(follower.points_per_s, 1))} points/s",
        ]
    if not follower.metrics:
        begin.append("no points yet")
    spans: list[Span] = [("  ".join(begin), "dim")]
    left = screen.width - len("  ".join(begin))
    for i, (name, metric) in enumerate(follower.metrics.items()):
        drawing = spark(list(metric.recent), SPARK_WIDTH) if metric.count > 1 else ""
        label, value = fitted(clean(name), 24), number(metric.last)
        needed = 4 + len(label) + len(value) + len(drawing)
        after = len(follower.metrics) - i - 1
        more = f"  +{after + 1}"
        if i and needed + (len(more) if after else 0) > left:
            spans.append((more, "dim"))
            break
        left -= needed
        spans += ["  ", label, " ", (value, "bold"), " ", (drawing, "cyan")]
    screen.line(*spans)
    screen.flush()
