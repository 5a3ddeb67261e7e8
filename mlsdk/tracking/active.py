"""The live run: what `mlsdk.run()` returns and `mlsdk.log` writes to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from contextvars import Token
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING

from mlsdk.capture.facts import encode_facts
from mlsdk.capture.output import flush_lines
from mlsdk.errors import UsageError
from mlsdk.log import frames
from mlsdk.log.facts import Tags, checked_mapping, checked_tags
from mlsdk.tracking import context, facts
from mlsdk.tracking.points import PointWriter, now_ns
from mlsdk.tracking.writer import Writer, tell

if TYPE_CHECKING:
    from datetime import datetime

    from mlsdk.records import Problem

_CHECK_EVERY_NS = 5_000_000_000
_SAY_AGAIN_NS = 1_000_000_000


class ActiveRun:
    """A run that is being recorded. Made by `mlsdk.run`, `@mlsdk.track` or by joining; any thread may use it.

    Attributes:
        id: 32 hexadecimal digits, rising with the time of start.
        name: unique enough to say aloud; shown beside the id's last eight characters.
        experiment: the group of runs that it belongs to.

    >>> import mlsdk
    >>> with mlsdk.run("docs", params={"lr": 0.1}) as run:
    ...     run.log(loss=0.5)
    """

    def __init__(
        self, writer: Writer, *, name: str, experiment: str, next_steps: Mapping[str, int] | None = None
    ) -> None:
        self.id = writer.run
        self.name = name
        self.experiment = experiment
        self.finished = False
        self._writer = writer
        self._next_steps = next_steps
        self._points: PointWriter | None = PointWriter(writer.segment, next_steps)
        self._check_at = now_ns() + _CHECK_EVERY_NS
        self._problems: dict[str, tuple[str, int, int]] = {}
        self._unsaid: set[str] = set()
        self._token: Token[ActiveRun | None] | None = None
        self._warned_full = False

    def __repr__(self) -> str:
        return f"<ActiveRun {self.name} {self.id[-8:]} {'finished' if self.finished else 'live'}>"

    # recording

    def log(
        self,
        values: Mapping[str, object] | None = None,
        /,
        *,
        step: int | None = None,
        at: datetime | float | None = None,
        **named: object,
    ) -> None:
        """Record metrics: numbers by name, as keywords or as a mapping (nested ones are joined by `/`).

        When the call has returned the points outlive this process, whatever kills it.

        Args:
            values: names and numbers; for names that are no keywords, or `step` and `at`.
            step: any whole number, in any order; by default the step of that metric's last point + 1, from 0.
            at: when it was measured: an aware datetime, or seconds since 1970; by default now.
            **named: further names and numbers.

        Raises:
            MetricError: not a number, or one that would lose precision; the others of the call are recorded.
            UsageError: the run is finished.
        """
        self._log({**values, **named} if values else named, step, at)

    def _log(self, named: dict[str, object], step: int | None, at: datetime | float | None) -> None:
        now = now_ns()
        try:
            points = self._points or self._reopened()
            written = points.log(named, step, now if at is None else facts.nanoseconds(at))
        except OSError as error:
            self._failed("points", error)
            return
        if not written or now >= self._check_at:
            self._look_around(now)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record hyperparameters with their types; nested ones are found by path (`params.model.depth`).

        A param that was set before to another value is a change: both are kept with their times, the last counts.

        Raises:
            UsageError: not a mapping with text keys, or the run is finished.
        """
        self._set("params", checked_mapping("log_params", params))

    def set_tags(self, tags: Tags) -> None:
        """Set tags: a mapping, or plain names (whose value is true). A value of None removes a tag.

        Raises:
            UsageError: something else, or the run is finished.
        """
        self._set("tags", checked_tags(tags))

    def note(self, text: str) -> None:
        """Set the run's note: free text for people, shown by `mlsdk show`. The last one counts."""
        self._set("run", {"note": str(text)})

    def use_data(self, data: object, *, name: str | None = None) -> None:
        """Record that this run used some data.

        A file is known by the SHA-256 of its bytes, a folder by its path; of anything else only type and shape are kept
        and no identity is claimed.

        Args:
            data: a path, or an object.
            name: under which it is found as `data.<name>`; by default the file's name or `data`.
        """
        try:
            self._set("datasets", facts.dataset(data, name))
        except OSError as error:
            self._failed(f"data set {name or data!r}", error)

    def log_artifact(self, artifact: str | os.PathLike[str] | bytes, *, name: str | None = None) -> None:
        """Keep a file, a folder or bytes with the run, by content; `Run.open(name)` gives it back, its digest checked.

        What is in it is not looked into: do not log secrets.

        Args:
            artifact: a path, or the bytes themselves.
            name: by default the file's or folder's name; bytes need one.

        Raises:
            UsageError: bytes without a name, or a path where nothing is.
        """
        self._writable()
        try:
            self._set("artifacts", facts.artifact(self._writer.target.put_blob, artifact, name))
        except OSError as error:
            self._failed(f"artifact {name or artifact!r}", error)

    def _set(self, kind: str, values: Mapping[str, object]) -> None:
        """Record facts of one kind; values too long for a fact are put away as blobs, with a note."""
        self._writable()
        try:
            encoded, notes = encode_facts(kind, values, self._writer.target.put_blob)
            points = self._points or self._reopened()
            written = not encoded or points.alone(lambda: self._writer.facts({kind: encoded}))
        except OSError as error:
            self._failed(kind, error)
            return
        for about, note in notes.items():
            self._problem(about, note, warn=False)
        if not written:
            self._look_around(now_ns())

    # health

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What could not be done so far; empty while everything that was logged is safe."""
        from datetime import datetime, timezone

        from mlsdk.records import Problem

        return tuple(
            Problem(kind, message, datetime.fromtimestamp(at / 1e9, timezone.utc), count)
            for kind, (message, at, count) in self._problems.items()
        )

    @property
    def store_uri(self) -> str:
        """Where this run is written to."""
        return self._writer.target.uri

    @property
    def path(self) -> str | None:
        """The folder that holds this run; None where the store is not a folder."""
        root = self._writer.target.root
        return None if root is None else os.path.join(root, "runs", self.id)

    @property
    def url(self) -> str:
        """Where this run is found: the store's URI and the id."""
        return f"{self.store_uri}#{self.id}"

    def _problem(self, kind: str, message: str, count: int | None = None, *, warn: bool = True) -> None:
        """Note that something could not be done: on the run, and once as a warning.

        Args:
            kind: under which it is known; met again, it is counted.
            message: what could not be done.
            count: how often in all; by default once more than before.
            warn: whether the user is to be told.
        """
        now, before = now_ns(), self._problems.get(kind)
        self._problems[kind] = (message, now, count or (before[2] + 1 if before else 1))
        self._unsaid.add(kind)
        if before is None or now - before[1] > _SAY_AGAIN_NS:
            self._say_problems()
        if warn and before is None:
            tell(f"mlsdk: {message} (run {self.name})")

    def _say_problems(self) -> None:
        """Write down the problems that the log does not hold yet."""
        found = {}
        while self._unsaid:
            kind = self._unsaid.pop()
            message, at, count = self._problems[kind]
            found[kind] = {"message": message, "t": at, "count": count}
        if found and self._points is not None:
            with contextlib.suppress(OSError):  # what is failing is known already, and warned about
                self._points.alone(lambda: self._writer.facts({"problems": found}, vital=True))

    def _failed(self, what: str, error: OSError) -> None:
        """Something could not be written: training goes on. A run that has ended meanwhile says so instead."""
        if self.finished:
            self._writable()
        self._problem("write-failed", f"{what} could not be written: {error}")

    def _look_around(self, now: int) -> None:
        """Now and then, from `log`: is the disk full, or has it recovered; is the companion still there."""
        segment = self._writer.segment
        if segment.full and not self._warned_full:
            self._warned_full = True
            self._problem("disk-full", "the disk is full: points are being dropped and counted; training goes on")
        elif self._warned_full and not segment.full:
            self._warned_full = False
            self._say_dropped()
        if now >= self._check_at:
            self._check_at = now + _CHECK_EVERY_NS
            self._writer.call_companion()

    def _say_dropped(self) -> None:
        dropped = self._writer.segment.dropped
        if dropped:
            self._problem("disk-full", f"the disk was full: {dropped:,} frames were dropped", dropped, warn=False)

    def _writable(self) -> None:
        if self.finished:
            raise UsageError(
                f"run {self.name} ({self.id[-8:]}) is finished; go on with it by mlsdk.run(resume={self.id!r}),"
                " or use mlsdk.edit(run)"
            )

    def _reopened(self) -> PointWriter:
        """The writer of points where there is none: the run is over, or this is a forked child with its own log."""
        self._writable()
        with self._writer.segment.lock:
            if self._points is None:
                self._writer = self._writer.for_child()
                self._points = PointWriter(self._writer.segment)
            return self._points

    def forget_parent(self) -> None:
        """In a forked child: let go of the parent's log. The child's own is opened when it first logs."""
        self._writer.segment.abandon()
        self._writer.segment.lock = RLock()  # a thread of the parent may hold the old one, and is not here to let go
        self._points = None

    # ending

    def finish(self, status: str = "finished") -> None:
        """End the run. A second call changes nothing.

        Args:
            status: `finished`, `failed` or `interrupted`.

        Raises:
            UsageError: another status.
        """
        if status not in ("finished", "failed", "interrupted"):
            raise UsageError(f"a run ends as finished, failed or interrupted, not {status!r}")
        self._finish(status, None)

    def _finish(self, status: str, error: Mapping[str, object] | None) -> None:
        if self.finished:
            return
        if self._points is None:  # a forked child that recorded nothing: the parent ends the run
            self.finished = True
            return
        flush_lines(self)
        with self._writer.segment.lock:
            if self.finished:
                return
            self._say_dropped()
            self._say_problems()
            self.finished = True
        context.live.pop(self._writer.id, None)
        context.hand_down()
        if context.bare.get() is self:
            context.bare.set(None)
        self._writer.end(status, error)
        self._points = None

    @property
    def entered(self) -> bool:
        """Whether a `with` block or a call stands for it, which will end it."""
        return self._token is not None

    def __enter__(self) -> ActiveRun:
        if self._token is not None:
            raise UsageError(f"run {self.name} is already entered; a run is one `with` block")
        if context.bare.get() is self:
            context.bare.set(None)
        self._token = context.entered.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            context.leave(self._token)
            self._token = None
        self.end(error)

    def end(self, error: BaseException | None) -> None:
        """End the run as the block or call that it stands for ended: well, or by an exception."""
        self._finish(*(("finished", None) if error is None else facts.outcome(error)))

    def output(self, stream: int, text: str) -> None:
        """Record a line of stdout (1) or stderr (2). Never raises."""
        points, segment = self._points, self._writer.segment
        if points is None:
            return
        payload = frames.OUTPUT_HEAD.pack(stream, now_ns()) + text.encode("utf-8", "replace")
        try:
            if not points.alone(lambda: segment.write(frames.OUTPUT, payload)):
                self._look_around(now_ns())
        except OSError as error:
            if not self.finished:
                self._failed("output", error)

    def final_metrics(self, values: Mapping[object, object]) -> None:
        """Record what a tracked function returned: each metric's last value, without a point of history."""
        numbers = facts.final_numbers(values)
        if numbers:
            self._set("metrics", numbers)
