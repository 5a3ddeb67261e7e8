"""The live run: what `mlsdk.run()` returns and `mlsdk.log` writes to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from contextvars import Token
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING

from mlsdk import config
from mlsdk.capture.datasets import dataset
from mlsdk.capture.facts import encode_facts
from mlsdk.capture.output import flush_lines
from mlsdk.errors import UsageError
from mlsdk.log import frames
from mlsdk.log.facts import Tags, checked_mapping, checked_tags, is_covered
from mlsdk.tracking import context, facts
from mlsdk.tracking.captures import closing, since
from mlsdk.tracking.numbers import together
from mlsdk.tracking.points import PointWriter, now_ns
from mlsdk.tracking.problems import Problems, shipping
from mlsdk.tracking.writer import Writer, tell

if TYPE_CHECKING:
    from datetime import datetime

    from mlsdk.capture import Capture, Context
    from mlsdk.capture.opened import Opened
    from mlsdk.records import Problem

_CHECK_EVERY_NS = 5_000_000_000
_MEASURE_EACH = 64
"""Of so many `log` calls one is timed and stands for all: timing each would cost a tenth of it."""
_LONG_CALL_NS = 100_000


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
        self._problems = Problems(name, self._write_problems)
        self._token: Token[ActiveRun | None] | None = None
        self._warned_full = False
        self._began_ns = now_ns()
        self._spent_ns = self._calls = 0
        self._data_paths: list[str] = []
        self.looked_at: list[tuple[Capture, Context, Mapping[str, object]]] = []
        """Captures that look again when the run ends, and what they found."""

    opened: Opened | None = None
    """What the code of this run was seen to read."""
    returned: object = None
    """What the tracked function returned, until it was looked at."""

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
            UsageError: not names with numbers, or the run is finished.
        """
        self._log(named if values is None else together(values, named), step, at)

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
        self._calls = calls = self._calls + 1
        if not calls % _MEASURE_EACH:
            taken = now_ns() - now
            # What is rare and long is counted once: a wait for the disk does not stand for calls not looked at.
            self._spent_ns += taken if taken > _LONG_CALL_NS else taken * _MEASURE_EACH

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

        What is in memory is read here and now; files, folders and patterns such as `data/*.csv` are read beside the
        training, and what was changed meanwhile is not claimed. See `mlsdk.fingerprint`.

        Args:
            data: a path or pattern, a frame, an array, a data set of a framework, or a `Fingerprint` taken before.
            name: under which it is found as `data.<name>`; by default the file's name or `data`.
        """
        self._writable()
        begun, writer = now_ns(), self._writer
        try:
            found, fact = dataset(data, name, writer.target.put_blob, config.number("capture_limit_s"))
            if "pending" in fact and (writer.owed is None or writer.target.root is None):
                from mlsdk.companion.data import read

                fact = read(fact, writer.target.put_blob)
            if "path" in fact:
                self._data_paths.append(str(fact["path"]))
            self._set("datasets", {found: fact})
        except OSError as error:
            self._failed(f"data set {name or data!r}", error)
        self.spent(begun)

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
        begun, opened = now_ns(), self.opened
        self.opened = None  # what is kept is an output, though it is read here
        try:
            self._set("artifacts", facts.artifact(self._writer.target.put_blob, artifact, name))
        except OSError as error:
            self._failed(f"artifact {name or artifact!r}", error)
        finally:
            self.opened = opened
        self.spent(begun)

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
            self._problems.note(about, note, warn=False)
        if not written:
            self._look_around(now_ns())

    def _write_facts(self, kinds: Mapping[str, Mapping[str, object]]) -> None:
        """Write facts that are encoded."""
        points = self._points
        if points is not None and not points.alone(lambda: self._writer.facts(kinds)):
            self._look_around(now_ns())

    def spent(self, since_ns: int) -> None:
        """Count the time since then as spent by mlsdk, not by the run's own code."""
        self._spent_ns += now_ns() - since_ns

    def _news(self) -> dict[str, dict[str, object]]:
        """Facts of what the run was seen to read since the last time."""
        return {} if self.opened is None else self.opened.news()

    def _warn_of_undeclared(self) -> None:
        if self.opened is None or not config.flag("warn_undeclared"):
            return
        found = [name for name in tuple(self.opened.names) if not is_covered(name, self._data_paths)]
        if found:
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            tell(f"mlsdk: run {self.name} read what no use_data names: {', '.join(found[:5])}{more}")

    # health

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What could not be done so far; empty while everything that was logged is safe."""
        return (*self._problems.records(), *shipping(self._writer.target))

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

    def _write_problems(self, found: Mapping[str, Mapping[str, object]]) -> None:
        if self._points is not None:
            with contextlib.suppress(OSError):  # what is failing is known already, and warned about
                self._points.alone(lambda: self._writer.facts({"problems": found}, vital=True))

    def _failed(self, what: str, error: OSError) -> None:
        """Something could not be written: training goes on. A run that has ended meanwhile says so instead."""
        if self.finished:
            self._writable()
        self._problems.note("write-failed", f"{what} could not be written: {error}")

    def _look_around(self, now: int) -> None:
        """Now and then, from `log`: is the disk full, or has it recovered; is the companion still there."""
        segment = self._writer.segment
        if segment.full and not self._warned_full:
            self._warned_full = True
            self._problems.note("disk-full", "the disk is full: points are being dropped and counted; training goes on")
        elif self._warned_full and not segment.full:
            self._warned_full = False
            self._say_dropped()
        if now >= self._check_at:
            self._check_at = now + _CHECK_EVERY_NS
            self._writer.call_companion()
            if news := self._news():
                self._write_facts({"inputs": news})

    def _say_dropped(self) -> None:
        dropped = self._writer.segment.dropped
        if dropped:
            self._problems.note("disk-full", f"the disk was full: {dropped:,} frames were dropped", dropped, warn=False)

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
        if self.opened is not None:
            self.opened = type(self.opened)(self._writer.target.root)
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
        begun = now_ns()
        flush_lines(self)
        came: dict[str, Mapping[str, object]] = {**since(self)}
        if news := self._news():
            came["inputs"] = news
        with self._writer.segment.lock:
            if self.finished:
                return
            self._say_dropped()
            if self.opened is not None and self.opened.is_cut:
                self._problems.note(
                    "inputs", f"more was read than the {len(self.opened.names):,} inputs named", warn=False
                )
            self._problems.say()
            self.spent(begun)
            came["hardware"] = closing(self._began_ns, self._spent_ns, now_ns())
            with contextlib.suppress(OSError):  # `end` meets the same fault
                self._writer.facts(came)  # not by `alone`: this may interrupt a `log` that will not go on
            self.finished = True
        context.live.pop(self._writer.id, None)
        context.hand_down()
        if context.bare.get() is self:
            context.bare.set(None)
        self._writer.end(status, error)
        self._points = None
        self._warn_of_undeclared()

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

    def final_metrics(self, returned: object) -> None:
        """Record the numbers that a tracked function returned: each metric's last value, without a point of history."""
        numbers = facts.final_numbers(returned)
        if numbers:
            self._set("metrics", numbers)
