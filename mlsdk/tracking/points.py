"""The hot path: names and values of one `log` call become one frame of points."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from functools import partial

from mlsdk.errors import MetricError
from mlsdk.log.frames import HEADER, KINDS, POINTS, POINTS_HEAD, SCHEMA, schema_payload
from mlsdk.log.segment import Segment
from mlsdk.tracking.numbers import Number, check_name, flatten, integer_step, kind_of, number


class _Plan:
    """How calls with the same names and types are written.

    A plan whose names occur in no other is `alone` and knows the next step itself; names that several plans share have
    theirs in `PointWriter`'s table.
    """

    __slots__ = ("alone", "kinds", "length", "names", "next_step", "number", "pack")

    def __init__(self, number: int, names: tuple[str, ...], kinds: str) -> None:
        self.number = number
        self.names = names
        self.kinds = kinds
        layout = struct.Struct(HEADER.format + POINTS_HEAD.format[1:] + "".join(KINDS[kind] for kind in kinds))
        self.pack = layout.pack
        self.length = layout.size - HEADER.size
        self.next_step = 0
        self.alone = False


class PointWriter:
    """Writes points into a segment. Any thread may call `log`.

    Args:
        segment: where to.
        next_steps: by metric, the step that follows the last one of an earlier part of the run.
    """

    def __init__(self, segment: Segment, next_steps: Mapping[str, int] | None = None) -> None:
        self._segment = segment
        self._lock = segment.lock
        self._plans: dict[tuple[object, ...], _Plan] = {}
        """By the names of a call and the types of its values, one after the other."""
        self._single: dict[str, _Plan] = {}
        """Plans of one float that nobody shares: the shortest way, for the commonest call."""
        self._numbers: dict[tuple[tuple[str, ...], str], _Plan] = {}
        self._steps: dict[str, int] = dict(next_steps or {})
        self._owner: dict[str, _Plan | None] = dict.fromkeys(self._steps)
        self._busy = False
        self._deferred: list[Callable[[], bool]] = []

    def log(self, named: dict[str, object], step: int | None, at_ns: int) -> bool:
        """Write one point for each name.

        A call from a signal handler or a finaliser that interrupts another call in the same thread is written right
        after that one.

        Returns:
            False if the disk is full and points were dropped.

        Raises:
            MetricError: some value or name cannot be used; the others of the call are recorded.
        """
        with self._lock:
            if self._busy:
                self._deferred.append(partial(self.log, dict(named), step, at_ns))
                return True
            self._busy = True
            try:
                if len(named) == 1 and step is None:
                    for name, value in named.items():
                        plan = self._single.get(name)
                        if plan is not None and type(value) is float:
                            reached, segment = plan.next_step, self._segment
                            plan.next_step = reached + 1
                            return segment.put(
                                plan.pack(plan.length, POINTS, segment.at[1], plan.number, reached, at_ns, value)
                            )
                values = named.values()
                plan = self._plans.get((*named, *map(type, values)))
                if plan is None:
                    return self._log_any(named, step, at_ns)
                try:
                    if step is None and plan.alone:  # written out: what training calls most
                        reached, segment = plan.next_step, self._segment
                        body = plan.pack(plan.length, POINTS, segment.at[1], plan.number, reached, at_ns, *values)
                        plan.next_step = reached + 1
                        return segment.put(body)
                    whole = self._next_step(plan) if step is None else integer_step(step)
                    if whole is None:
                        return self._log_any(named, step, at_ns)
                    return self._put(plan, whole, at_ns, *values)
                except struct.error:
                    return self._log_any(named, step, at_ns)
            finally:
                self._busy = False
                if self._deferred:
                    self._catch_up()

    def alone(self, write: Callable[[], bool]) -> bool:
        """Write something else into the segment; right after the call of this thread that it interrupts, if it does."""
        with self._lock:
            if self._busy:
                self._deferred.append(partial(self.alone, write))
                return True
            self._busy = True
            try:
                return write()
            finally:
                self._busy = False
                if self._deferred:
                    self._catch_up()

    def _put(self, plan: _Plan, step: int, at_ns: int, *values: object) -> bool:
        segment = self._segment
        body = plan.pack(plan.length, POINTS, segment.at[1], plan.number, step, at_ns, *values)
        if plan.alone:
            plan.next_step = step + 1
        else:
            self._steps.update(dict.fromkeys(plan.names, step + 1))
        return segment.put(body)

    def _next_step(self, plan: _Plan) -> int | None:
        """The step that a plan's metrics, which it shares, have all reached; None if they have not reached the same."""
        steps = {self._steps[name] for name in plan.names}
        return steps.pop() if len(steps) == 1 else None

    def _catch_up(self) -> None:
        """Write what was put off; a mistake in it is raised when all is written."""
        waiting, self._deferred = self._deferred, []
        mistake = None
        for call in waiting:
            try:
                call()
            except Exception as error:  # the others come first; it is raised below
                mistake = error
        if mistake is not None:
            raise mistake

    def next_steps(self) -> dict[str, int]:
        """By metric, the step that a call without one would get."""
        with self._lock:
            alone = {name: plan.next_step for name, plan in self._owner.items() if plan is not None}
            return {**self._steps, **alone}

    def _log_any(self, named: dict[str, object], step: int | None, at_ns: int) -> bool:
        """The careful way: any type of value, names that several calls share, mistakes."""
        if step is not None:
            step = integer_step(step)
        good: dict[str, Number] = {}
        mistakes: list[MetricError] = []
        for name, value in _leaves(named, mistakes):
            try:
                good[check_name(name)] = number(name, value)
            except MetricError as error:
                mistakes.append(error)
        written = True
        for group, group_step in self._by_step(good, step):
            plan = self._plan_for(tuple(group), "".join(map(kind_of, group.values())))
            if plan is None:
                written = False
                continue
            if group.keys() == named.keys() and all(map(_packs_exactly, named.values())):
                call = (*plan.names, *map(type, named.values()))
                self._plans[call] = plan
                if plan.alone and plan.kinds == "f":
                    self._single[plan.names[0]] = plan
            written = self._put(plan, group_step, at_ns, *group.values()) and written
        if mistakes:
            rest = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
            kept = "; the other values of the call were recorded" if good else ""
            raise MetricError(f"{mistakes[0]}{rest}{kept}")
        return written

    def _by_step(self, values: dict[str, Number], step: int | None) -> list[tuple[dict[str, Number], int]]:
        """Values parted by the step that each metric has reached; one part when a step was given."""
        if not values:
            return []
        if step is not None:
            return [(values, step)]
        parts: dict[int, dict[str, Number]] = {}
        for name, value in values.items():
            plan = self._owner.get(name)
            parts.setdefault(self._steps.get(name, 0) if plan is None else plan.next_step, {})[name] = value
        return [(part, reached) for reached, part in parts.items()]

    def _plan_for(self, names: tuple[str, ...], kinds: str) -> _Plan | None:
        """The plan for these metrics, its schema announced in the log; None if the disk is too full for that."""
        plan = self._numbers.get((names, kinds))
        if plan is None:
            plan = _Plan(len(self._numbers), names, kinds)
            if not self._segment.write(SCHEMA, schema_payload(plan.number, names, kinds)):
                return None
            self._numbers[names, kinds] = plan
            self._adopt(plan)
        return plan

    def _adopt(self, plan: _Plan) -> None:
        """Let a new plan keep its own steps if nobody else has its names; else all that share them use the table."""
        shared = [name for name in plan.names if name in self._owner]
        plan.alone = not shared
        for name in shared:
            other = self._owner[name]
            if other is not None:
                other.alone = False
                self._single.pop(name, None)
                self._steps.update(dict.fromkeys(other.names, other.next_step))
                self._owner.update(dict.fromkeys(other.names))
        self._owner.update(dict.fromkeys(plan.names, plan if plan.alone else None))


def _leaves(named: dict[str, object], mistakes: list[MetricError]) -> list[tuple[str, object]]:
    if not any(isinstance(value, Mapping) for value in named.values()):
        return list(named.items())
    found: list[tuple[str, object]] = []
    try:
        found.extend(flatten(named))
    except MetricError as error:
        mistakes.append(error)
    return found


def _packs_exactly(value: object) -> bool:
    """Whether `struct` takes the number out of every value of this type, so that the next call need not convert."""
    kind = type(value)
    return (
        kind is int
        or isinstance(value, float)
        or (kind.__module__ == "numpy" and kind.__name__ in ("float32", "float16"))
    )


now_ns = time.time_ns
"""The wall clock in nanoseconds since 1970."""
