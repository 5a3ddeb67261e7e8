"""From logs to a run: how facts and points of many logs become one (`document` says what they mean together).

Everything here is a merge that does not care in which order, or in how many pieces, the logs arrive: for each (kind,
key) the fact with the highest (order, log) wins; points are summed up for each log, and logs are put together in the
order in which they were opened.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

from mlsdk.log.decode import Batch, Closed, Entry, Facts, Opened, Output, Position
from mlsdk.log.frames import Damage, Schema, values_struct

MAIN_ONLY = ("status", "ended_ns", "error")
"""Keys of kind `run` that count only from the main process: no worker can end a run."""

SAID_BY_RANK = (*MAIN_ONLY, "name", "experiment", "started_ns")
"""Keys of kind `run` that a rank above 0 says of itself; they stand for the run where it has no main process."""

NOT_OF_RANKS = frozenset(("params", "metrics", "code", "env", "hardware", "captures"))
"""Kinds that count from the first rank that takes part: what the others say of these is in their logs."""


class LogState:
    """What is known of one log: who writes it, how far it was read, its metrics summed up."""

    def __init__(self, log: str) -> None:
        self.log = log
        self.role = "?"
        self.order = 0
        self.writer: dict[str, Any] = {}
        self.owed: str | None = None
        self.closed = False
        self.seen_ns = 0
        self.output_lines = 0
        self.damaged_bytes = 0
        self.limit: int | None = None
        self.newer: str | None = None
        self.position = Position()
        self.metrics: dict[str, MetricState] = {}
        self.said: dict[str, Any] = {}
        """Of a rank above 0: what it says of itself as kind `run`."""

    @property
    def run(self) -> str:
        """Id of the run."""
        return self.log.split("/")[1]

    @property
    def id(self) -> str:
        """Id of the writer, which with the run's makes the name of the log."""
        return self.log.rpartition("/")[2]

    @property
    def is_main(self) -> bool:
        """Whether plain `metrics` and `history()` mean this log: the main process's, and what was sampled beside it."""
        return self.role in ("main", "rank 0", "companion")

    @property
    def rank(self) -> int | None:
        """The rank above 0 that wrote it, or beside which a companion did; None of the others."""
        before, _, number = self.role.rpartition(" ")
        if before in ("rank", "companion rank") and number.isascii() and number.isdigit():
            return int(number) or None
        return None

    @property
    def belongs_to(self) -> str:
        """The role under which its points are found: `main`, `rank n`, `worker`."""
        if self.is_main:
            return "main"
        return self.role if self.rank is None else f"rank {self.rank}"

    def dump(self) -> dict[str, Any]:
        """As JSON can hold it."""
        schemas = [[schema.number, list(schema.names), schema.kinds] for schema in self.position.schemas]
        plain = {name: value for name, value in vars(self).items() if name not in ("position", "metrics")}
        metrics = {name: metric.dump() for name, metric in self.metrics.items()}
        return {**plain, "at": [self.position.offset, self.position.last, schemas], "metrics": metrics}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> LogState:
        """Back from `dump`."""
        state = cls(dumped["log"])
        for name in vars(state):
            if name in dumped and name != "metrics":
                setattr(state, name, dumped[name])
        offset, last, schemas = dumped["at"]
        state.position = Position(
            offset, last, tuple(Schema(n, tuple(names), kinds, values_struct(kinds)) for n, names, kinds in schemas)
        )
        state.metrics = {name: MetricState.load(metric) for name, metric in dumped["metrics"].items()}
        return state

    def add(self, entry: Entry, position: Position) -> None:
        """Take in the next entry of the log."""
        self.position = position
        if isinstance(entry, Batch):
            self._add_points(entry)
            self.seen_ns = max(self.seen_ns, int(entry.times[-1]))
        elif isinstance(entry, Opened):
            header = entry.header
            writer, owed, order = header.get("writer"), header.get("owed"), header.get("order")
            self.role, self.order = str(header.get("role", "?")), order if type(order) is int else 0
            self.writer = dict(writer) if isinstance(writer, dict) else {}
            self.owed = str(owed) if owed else None
            self.seen_ns = self.order
        elif isinstance(entry, (Facts, Closed)):
            self.seen_ns = max(self.seen_ns, entry.t)
            self.closed = self.closed or isinstance(entry, Closed)
            if isinstance(entry, Facts) and self.role.startswith("rank ") and self.rank:
                self.said.update({k: v for k, v in entry.kinds.get("run", {}).items() if k in SAID_BY_RANK})
        elif isinstance(entry, Output):
            self.output_lines += 1
            self.seen_ns = max(self.seen_ns, entry.t)
        elif isinstance(entry, Damage):
            self.damaged_bytes += entry.end - entry.start

    def sum_up_again(self, batches: Iterable[Batch], limit: int | None) -> None:
        """Sum up all points read so far, without the steps from `limit` on."""
        self.limit, self.metrics = limit, {}
        for batch in batches:
            self._add_points(batch)

    def _add_points(self, batch: Batch) -> None:
        for name, column in zip(batch.schema.names, batch.values, strict=True):
            metric = self.metrics.get(name) or MetricState()
            metric.add(batch.steps, column, self.limit)
            if metric.count:  # not all of it is hidden
                self.metrics[name] = metric


class MetricState:
    """A metric summed up, one point after the other, so that it does not matter how the points were cut."""

    __slots__ = ("count", "last", "last_step", "max", "max_step", "min", "min_step", "numbers", "sum")

    def __init__(self) -> None:
        self.count = self.numbers = 0
        self.sum = 0.0
        self.min: float | None = None
        self.max: float | None = None
        self.min_step: int | None = None
        self.max_step: int | None = None
        self.last: float = math.nan
        self.last_step: int | None = None

    def dump(self) -> list[Any]:
        """As JSON can hold it (with Python's NaN)."""
        return [getattr(self, name) for name in self.__slots__]

    @classmethod
    def load(cls, dumped: list[Any]) -> MetricState:
        """Back from `dump`."""
        state = cls()
        for name, value in zip(cls.__slots__, dumped, strict=True):
            setattr(state, name, value)
        return state

    def add(self, steps: Any, values: Any, limit: int | None = None) -> None:
        """Take in points; those at `limit` or after do not count."""
        if hasattr(values, "dtype"):
            self._add_array(steps, values, limit)
            return
        for step, value in zip(steps, values, strict=True):
            if limit is None or step < limit:
                self._add_one(step, value)

    def _add_one(self, step: int, value: float) -> None:
        self.count += 1
        self.last, self.last_step = value, step
        if value != value:
            return
        self.numbers += 1
        self.sum += value
        if self.min is None or value < self.min:
            self.min, self.min_step = value, step
        if self.max is None or value > self.max:
            self.max, self.max_step = value, step

    def _add_array(self, steps: Any, values: Any, limit: int | None) -> None:
        import numpy as np

        if limit is not None:
            kept = steps < limit
            steps, values = steps[kept], values[kept]
        if not len(values):
            return
        self.count += len(values)
        self.last, self.last_step = values[-1].item(), int(steps[-1])
        finite = values == values
        steps, values = steps[finite], values[finite]
        if not len(values):
            return
        self.numbers += len(values)
        # accumulate adds strictly in order, as the loop above does; sum() would not
        self.sum = float(np.add.accumulate(np.concatenate(([self.sum], values.astype(np.float64))))[-1])
        low, high = int(values.argmin()), int(values.argmax())
        if self.min is None or values[low].item() < self.min:
            self.min, self.min_step = values[low].item(), int(steps[low])
        if self.max is None or values[high].item() > self.max:
            self.max, self.max_step = values[high].item(), int(steps[high])

    def merge(self, later: MetricState) -> None:
        """Take in what a log that was opened later knows."""
        if later.count:
            self.last, self.last_step = later.last, later.last_step
        self.count += later.count
        self.numbers += later.numbers
        self.sum += later.sum
        if later.min is not None and (self.min is None or later.min < self.min):
            self.min, self.min_step = later.min, later.min_step
        if later.max is not None and (self.max is None or later.max > self.max):
            self.max, self.max_step = later.max, later.max_step

    def summary(self) -> list[Any]:
        """Fields of a `MetricSummary`: last, min, max, mean, count, min_step, max_step, last_step."""
        mean = self.sum / self.numbers if self.numbers else None
        return [self.last, self.min, self.max, mean, self.count, self.min_step, self.max_step, self.last_step]


class RunState:
    """The facts of one run: for each kind and key the winner, and every value of a param that was set more than once.

    A fact is a list [order, writer id, clock in ns, tagged JSON].
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.facts: dict[str, dict[str, list[Any]]] = {}
        self.versions: dict[str, list[list[Any]]] = {}
        self.lead: int | None = None
        """The lowest rank that has said anything; 0 is the main process."""
        self.of_lead: dict[str, dict[str, list[Any]]] = {}
        """What that rank said of `NOT_OF_RANKS`, where it is not the main process."""

    def dump(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return vars(self)

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> RunState:
        """Back from `dump`."""
        state = cls(dumped["run"])
        state.facts, state.versions = dumped["facts"], dumped["versions"]
        state.lead, state.of_lead = dumped.get("lead"), dumped.get("of_lead", {})
        return state

    def add(self, found: Facts, log: LogState) -> None:
        """Take in a facts frame of a log."""
        rank = log.rank
        speaks = rank or (0 if log.role in ("main", "rank 0") else None)
        if speaks is not None and (self.lead is None or speaks < self.lead):
            self.lead, self.of_lead = speaks, {}
        for kind, values in found.kinds.items():
            if rank and kind in NOT_OF_RANKS:
                if rank == self.lead and kind != "metrics":
                    self._add_of_lead(kind, values, found, log)
                continue
            known = self.facts.setdefault(kind, {})
            for name, value in values.items():
                if kind == "run" and name in (SAID_BY_RANK if rank else MAIN_ONLY) and log.role != "main":
                    continue
                key = f"rank {rank}: {name}" if rank and kind == "problems" else name
                fact = [found.order, log.id, found.t, value]
                before = known.get(key)
                if before is not None and kind == "params" and before != fact:
                    versions = self.versions.setdefault(key, [before])
                    place = bisect_left(versions, _rank(fact), key=_rank)
                    if place == len(versions) or versions[place] != fact:
                        versions.insert(place, fact)
                if before is None or _rank(fact) >= _rank(before):
                    known[key] = fact

    def _add_of_lead(self, kind: str, values: Mapping[str, Any], found: Facts, log: LogState) -> None:
        known = self.of_lead.setdefault(kind, {})
        for name, value in values.items():
            fact = [found.order, log.id, found.t, value]
            if name not in known or _rank(fact) >= _rank(known[name]):
                known[name] = fact

    def values(self, kind: str) -> dict[str, Any]:
        """Present values of a kind; removed ones are absent. Nothing removes a param: None is a value of it."""
        entries = {**self.of_lead.get(kind, {}), **self.facts.get(kind, {})}.items()
        return {key: entry[3] for key, entry in entries if entry[3] is not None or kind == "params"}

    def order(self) -> int:
        """The highest order key of a fact."""
        return max((entry[0] for kind in self.facts.values() for entry in kind.values()), default=0)

    def limit_for(self, log: LogState) -> int | None:
        """The step from which on the points of a log are hidden by a later restart, or None.

        A restart repeats steps of the training; what the companion samples has steps of its own.
        """
        if log.role.startswith("companion"):
            return None
        later = [
            entry[3]
            for entry in self.facts.get("rewinds", {}).values()
            if entry[0] > log.order and entry[1] != log.id and type(entry[3]) is int
        ]
        return min(later, default=None)


def _rank(fact: list[Any]) -> list[Any]:
    return fact[:2]
