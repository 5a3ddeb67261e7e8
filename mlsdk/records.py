"""The vocabulary: frozen records that queries return. Times are aware UTC, durations seconds, sizes bytes."""

from __future__ import annotations

import contextlib
import enum
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO, Literal, Protocol, overload

import attrs

Number = int | float
"""A metric value: a 64-bit float, or an integer exact to 64 bits."""


class RunStatus(str, enum.Enum):
    """What became of a run; derived when it is read, never stored as a final word by a process that might die."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    KILLED = "killed"
    LOST = "lost"

    def __str__(self) -> str:
        return self.value


@attrs.frozen
class MetricSummary:
    """One metric of one run in seven numbers.

    `last` is the value logged latest (or returned by the function), whatever its step. The others speak of the
    recorded history; they are None where there is none. NaN does not count for `min`, `max` and `mean`, but does for
    `count`.
    """

    last: Number
    min: Number | None = None
    max: Number | None = None
    mean: float | None = None
    count: int = 0
    min_step: int | None = None
    max_step: int | None = None
    last_step: int | None = None


@attrs.frozen(eq=False)
class Series:
    """The history of one metric, in the order in which it was logged.

    `steps` (int64), `values` (float64, int64 or uint64) and `times` (int64, nanoseconds since 1970 UTC) are
    one-dimensional, of the same length: numpy arrays where numpy is installed, the standard library's `array.array`
    otherwise.
    """

    name: str
    steps: Sequence[int]
    values: Sequence[Number]
    _read_times: Callable[[], Sequence[int]] = attrs.field(repr=False, alias="times")

    @property
    def times(self) -> Sequence[int]:
        """When each point was measured; read when it is first asked for, since a chart by step needs none."""
        return self._read_times()

    def __len__(self) -> int:
        return len(self.steps)


def _mean(values: list[Number]) -> float:
    return math.fsum(values) / len(values)


def _std(values: list[Number]) -> float:
    """Of the population. An infinity is no distance from a mean: NaN."""
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values)) if math.isfinite(mean) else mean


SPREADS: dict[str, Callable[[list[Number]], Number]] = {"mean": _mean, "min": min, "max": max, "sum": sum, "std": _std}
"""What may be asked of a metric over all ranks."""


def over_ranks(metric: str, ranks: Iterable[Series], spread: str) -> Series:
    """One series of several ranks' ones, by rising step.

    At each step the ranks that logged it count, each with its last value there; one NaN makes the result NaN, so that
    no rank's trouble is averaged away. Its time is that of the last of them.
    """
    values: dict[int, list[Number]] = {}
    times: dict[int, int] = {}
    for series in ranks:
        steps = [int(step) for step in series.steps]
        numbers = series.values.tolist() if hasattr(series.values, "tolist") else list(series.values)
        for step, value in dict(zip(steps, numbers, strict=True)).items():
            values.setdefault(step, []).append(value)
        for step, at in zip(steps, series.times, strict=True):
            times[step] = max(times.get(step, 0), int(at))
    order = sorted(values)
    found = [_spread(values[step], SPREADS[spread]) for step in order]
    whole = all(type(value) is int for value in found)
    columns: list[Any] = [array("q", order), found if whole else array("d", found)]
    columns.append(array("q", [times[step] for step in order]))
    with contextlib.suppress(ImportError):
        import numpy as np

        columns = [np.asarray(column) for column in columns]
    return Series(metric, columns[0], columns[1], lambda: columns[2])


def _spread(values: list[Number], spread: Callable[[list[Number]], Number]) -> Number:
    return math.nan if any(value != value for value in values) else spread(values)


@attrs.frozen
class Rank(Mapping[str, MetricSummary]):
    """One rank of a run above 0, or its workers: a mapping of its metrics, and what became of it.

    `role` is `rank 3`, or `worker` for all workers together, of which no `status` is known. A rank is `killed`, `lost`
    or `failed` by itself: the run's own status is that of the main process.
    """

    role: str
    status: RunStatus | None = None
    host: str | None = None
    ended_at: datetime | None = None
    error: Mapping[str, object] | None = None
    metrics: Mapping[str, MetricSummary] = attrs.field(factory=dict)

    def __getitem__(self, metric: str) -> MetricSummary:
        return self.metrics[metric]

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics)

    def __len__(self) -> int:
        return len(self.metrics)


@attrs.frozen
class Artifact:
    """Bytes that a run put away. A folder is one artifact whose `files` name the parts by relative path."""

    name: str
    digest: str
    size_bytes: int
    files: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Dataset:
    """Data that a run used, or was seen to read.

    `digest` (SHA-256) is of the bytes, where the data are files; `fingerprint` is the id of their content; both are
    None where nothing is claimed, and `note` says why. `mlsdk.fingerprint(dataset)` gives the whole fingerprint back,
    to be compared with what is there now.
    """

    name: str
    description: str
    digest: str | None = None
    size_bytes: int | None = None
    path: str | None = None
    fingerprint: str | None = None
    rows: int | None = None
    columns: int | None = None
    note: str | None = None
    blob: str | None = None
    """SHA-256 of the blob that holds the whole fingerprint."""
    declared: bool = True
    """False for an input that was only seen to be read: no argument and no `use_data` names it."""
    _open: Callable[[str], BinaryIO] | None = attrs.field(default=None, repr=False, eq=False, alias="open")

    def stored(self) -> bytes | None:
        """The stored form of the fingerprint; None where none was taken."""
        if self.blob is None or self._open is None:
            return None
        with self._open(self.blob) as file:
            return file.read()


@attrs.frozen
class Problem:
    """Something that mlsdk could not do, or a reader should know: never silent, never fatal."""

    kind: str
    message: str
    at: datetime
    count: int = 1

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@attrs.frozen
class Change:
    """A param that was set again to another value."""

    param: str
    old: object
    new: object
    at: datetime


class RunSource(Protocol):
    """Where a `Run` looks up what is too large to carry: its store."""

    def series(self, run: str, metric: str, rank: int | str | None) -> Series:
        """All points of a metric."""

    def open_blob(self, digest: str) -> BinaryIO:
        """The bytes of an artifact."""

    def children(self, run: str) -> tuple[str, ...]:
        """Ids of the runs started inside a run."""


@attrs.frozen(eq=False)
class Run:
    """A run as a query returned it: frozen; ask again for what happened since.

    Two records are equal when they are of the same run.
    """

    id: str
    name: str
    experiment: str
    status: RunStatus
    started_at: datetime
    ended_at: datetime | None = None
    duration_s: float | None = None
    params: Mapping[str, object] = attrs.field(factory=dict)
    metrics: Mapping[str, MetricSummary] = attrs.field(factory=dict)
    tags: Mapping[str, object] = attrs.field(factory=dict)
    datasets: Mapping[str, Dataset] = attrs.field(factory=dict)
    artifacts: Mapping[str, Artifact] = attrs.field(factory=dict)
    inputs: Mapping[str, Dataset] = attrs.field(factory=dict)
    """Files by path, and addresses, that the run was seen to read."""
    code: Mapping[str, object] = attrs.field(factory=dict)
    environment: Mapping[str, object] = attrs.field(factory=dict)
    hardware: Mapping[str, object] = attrs.field(factory=dict)
    parent: str | None = None
    problems: tuple[Problem, ...] = ()
    changes: tuple[Change, ...] = ()
    note: str | None = None
    reproduced: str | None = None
    """The level of the last verdict on making it again, `B`, `T`, `S`, `X` or `U`; None before the first one."""
    verdict: Mapping[str, object] = attrs.field(factory=dict)
    """The last verdict itself, as `mlsdk verify --json` prints it; empty before the first one."""
    verdicts: Mapping[str, Mapping[str, object]] = attrs.field(factory=dict)
    """All verdicts by their ids, the oldest first."""
    error: Mapping[str, object] | None = None
    host: str | None = None
    user: str | None = None
    deleted: bool = False
    erased: bool = False
    """Deleted, and its content gone for good: what is left is that it was there."""
    ranks: Mapping[str, Rank] = attrs.field(factory=dict)
    """The other writers by role, `rank 1`, `worker`: their metrics and what became of them. Rank 0 is the run."""
    order: int = 0
    """The highest order key seen in its logs: what is written next comes after it."""
    _source: RunSource | None = attrs.field(default=None, repr=False, alias="source")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def short_id(self) -> str:
        """The last eight characters of the id: what people type."""
        return self.id[-8:]

    @property
    def children(self) -> tuple[str, ...]:
        """Ids of the runs that were started inside this one, oldest first."""
        return self._store().children(self.id)

    @overload
    # "all" is the one text that means several series
    def history(self, metric: str, rank: Literal["all"]) -> dict[int, Series]: ...  # type: ignore[overload-overlap]

    @overload
    def history(self, metric: str, rank: int | str | None = None) -> Series: ...

    def history(self, metric: str, rank: int | str | None = None) -> Series | dict[int, Series]:
        """Every recorded point of a metric.

        Args:
            metric: the name under which it was logged.
            rank: whose points: None for the main process (or rank 0), a rank's number, or `"worker"`; `"all"` for a
                dict of all ranks that logged it, by number; `"mean"`, `"min"`, `"max"`, `"sum"` or `"std"` (of the
                whole population) for one series over the ranks, a point a step.

        Raises:
            NotFoundError: this run has no such metric; the message names the nearest one.
        """
        if rank != "all" and rank not in SPREADS:
            return self._store().series(self.id, metric, rank)
        named = {role: int(role[5:]) for role in self.ranks if role.startswith("rank ")}
        others = {number: role for role, number in named.items() if metric in self.ranks[role]}
        first = metric in self.metrics and self.metrics[metric].count
        found = {0: self._store().series(self.id, metric, None)} if first or not others else {}
        found.update((number, self._store().series(self.id, metric, number)) for number in sorted(others))
        return found if rank == "all" else over_ranks(metric, found.values(), str(rank))

    def open(self, artifact: str) -> BinaryIO:
        """Open an artifact for reading; its digest is checked before the first byte is handed out.

        A file inside a folder artifact is named `folder/path/in/it`.

        Raises:
            NotFoundError: this run has no such artifact.
            DigestError: the stored bytes are not those that were logged.
        """
        return self._store().open_blob(self._digest_of(artifact))

    def _digest_of(self, name: str) -> str:
        if name in self.artifacts and not self.artifacts[name].files:
            return self.artifacts[name].digest
        for artifact in self.artifacts.values():
            for path, digest in artifact.files.items():
                if f"{artifact.name}/{path}" == name:
                    return digest
        from mlsdk.errors import NotFoundError

        known = [f"{a.name}/{path}" for a in self.artifacts.values() for path in a.files]
        known += [a.name for a in self.artifacts.values() if not a.files]
        shown = ", ".join(sorted(known)[:20]) or "none"
        raise NotFoundError(f"run {self.short_id} has no artifact {name!r}; it has: {shown}")

    def _store(self) -> RunSource:
        if self._source is None:
            from mlsdk.errors import NotFoundError

            raise NotFoundError(
                f"run {self.short_id} was made without a store; read it with mlsdk.get_run({self.id!r})"
            )
        return self._source


@attrs.frozen
class Page:
    """A part of a query's answer: the runs, and what to hand to `find(after=...)` for the next part (None: no more)."""

    runs: tuple[Run, ...]
    after: str | None = None
