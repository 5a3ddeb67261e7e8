"""Writing a log of a run: opened with the writer's identity, given facts, closed."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from mlsdk.log import frames
from mlsdk.log.identity import writer_identity
from mlsdk.log.ids import new_id
from mlsdk.log.values import dumps
from mlsdk.store.target import Target
from mlsdk.version import SOURCE


class LogWriter:
    """A log being written.

    Args:
        target: where.
        run: id of the run.
        role: `main`, `rank n`, `worker`, `companion`, `edit`.
        seen: the highest order key known of the run so far; what is written here comes after it.
        writer: id of this log; by default a new one.
        owed: id that the companion's log for this one shall have, if one is wanted.
    """

    def __init__(
        self, target: Target, run: str, role: str, *, seen: int = 0, writer: str | None = None, owed: str | None = None
    ) -> None:
        self.target = target
        self.run = run
        self.role = role
        self.id = writer or new_id()
        self.owed = owed
        self.pid = os.getpid()
        now = time.time_ns()
        self.order = max(now, seen + 1)
        """The highest order key written."""
        self._schemas: dict[tuple[str, ...], tuple[int, int]] = {}
        self.segment = target.segment(run, self.id)
        self.segment.write(frames.OPEN, dumps(opening(run, self.id, role, self.order, now, owed)), vital=True)

    def facts(self, kinds: Mapping[str, Mapping[str, object]], *, vital: bool = False) -> bool:
        """Write encoded facts by kind and key; False if the disk is full."""
        with self.segment.lock:
            now = time.time_ns()
            self.order = max(now, self.order + 1)
            payload = {"t": now, "set": kinds} if self.order == now else {"t": now, "o": self.order, "set": kinds}
            return self.segment.write(frames.FACTS, dumps(payload), vital=vital)

    def points(self, values: Mapping[str, float], t_ns: int) -> bool:
        """Write a point of each metric, at the step after the last one of the same names; False if the disk is full."""
        names = tuple(values)
        with self.segment.lock:
            known = self._schemas.get(names)
            if known is None:
                known = (len(self._schemas), 0)
                payload = frames.schema_payload(known[0], names, "f" * len(names))
                if not self.segment.write(frames.SCHEMA, payload):
                    return False
            number, step = known
            self._schemas[names] = (number, step + 1)
            packed = frames.values_struct("f" * len(names)).pack(*values.values())
            return self.segment.write(frames.POINTS, frames.POINTS_HEAD.pack(number, step, t_ns) + packed)

    def announce(self) -> None:
        """Tell readers, and the companion that is owed, that this log is there."""
        self.target.announce(self.run, self.id)
        if self.owed:
            self.target.announce(self.run, self.owed)

    def close(self) -> None:
        """End the log. Where even that cannot be written, a reader sees by and by that the writer is gone."""
        with self.segment.lock:
            try:
                self.segment.write(frames.CLOSE, dumps({"t": time.time_ns()}), vital=True)
                self.segment.close()
                self.target.retire(self.run, self.id)
            except OSError:
                self.segment.abandon()


def opening(run: str, writer: str, role: str, order: int, now: int, owed: str | None = None) -> dict[str, object]:
    """The payload of an open frame."""
    opened = {
        "format": frames.FORMAT_VERSION,
        "log": f"runs/{run}/{writer}",
        "role": role,
        "source": SOURCE,
        "order": order,
        "t": now,
    }
    return {**opened, "writer": writer_identity(), **({"owed": owed} if owed else {})}
