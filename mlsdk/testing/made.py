"""Logs made frame by frame, for tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from mlsdk.log import frames
from mlsdk.log.ids import new_id
from mlsdk.log.values import dumps

START_NS = 1_790_000_000_000_000_000


class MadeLog:
    """A log as a writer would have left it. Clocks and order are given, not read.

    Args:
        run: id of the run; by default a new one.
        role: `main`, `rank n`, `worker`, `companion`, `edit`.
        order: the order key at which it is opened; its facts follow in steps of 1,000 unless told.
        writer: id of the log; by default a new one.
        identity: who writes it; by default a process of another host.

    >>> log = MadeLog().facts({"run": {"name": "a", "status": "finished"}}).points(["loss"], [(0, 0.5)]).close()
    >>> len(log.data) > 200
    True
    """

    def __init__(
        self,
        run: str | None = None,
        role: str = "main",
        *,
        order: int = START_NS,
        writer: str | None = None,
        identity: Mapping[str, object] | None = None,
        version: int = frames.FORMAT_VERSION,
    ) -> None:
        self.run = run or new_id()
        self.role = role
        self.name = f"runs/{self.run}/{writer or new_id()}"
        self.order = order
        self.data = b""
        self.borders: list[int] = []
        """Where frames end."""
        self._schemas: dict[tuple[tuple[str, ...], str], int] = {}
        opened = {"format": version, "log": self.name, "role": role, "source": "test", "order": order, "t": order}
        self.add(frames.OPEN, dumps({**opened, "writer": dict(identity or {"host": "elsewhere", "pid": 1})}))

    def add(self, kind: int, payload: bytes) -> MadeLog:
        """Add any frame."""
        self.data += frames.encode(kind, len(self.borders), payload)
        self.borders.append(len(self.data))
        return self

    def facts(self, kinds: Mapping[str, Mapping[str, object]], *, order: int | None = None) -> MadeLog:
        """Add facts, whose values are tagged JSON."""
        self.order = self.order + 1_000 if order is None else order
        return self.add(frames.FACTS, dumps({"t": self.order, "set": kinds}))

    def points(self, names: Sequence[str], rows: Sequence[Sequence[float]], kinds: str = "") -> MadeLog:
        """Add points: in each row the step, then a value for each name; `kinds` as in `frames.KINDS`, else floats."""
        key = (tuple(names), kinds or "f" * len(names))
        if key not in self._schemas:
            self._schemas[key] = len(self._schemas)
            self.add(frames.SCHEMA, frames.schema_payload(self._schemas[key], *key))
        codes = "".join(frames.KINDS[kind] for kind in key[1])
        for step, *values in rows:
            self.add(frames.POINTS, struct.pack(f"<Iqq{codes}", self._schemas[key], step, self.order, *values))
        return self

    def close(self) -> MadeLog:
        """Add the close frame."""
        return self.add(frames.CLOSE, dumps({"t": self.order + 1_000}))
