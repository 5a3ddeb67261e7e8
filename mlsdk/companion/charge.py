"""A charge: what the companion owes one log: the captures beside, word of its writer's death, sealing, its own log's close."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from mlsdk.capture import BUILT_IN, STRANGERS, Capture, Context, facts_of, strangers
from mlsdk.log.decode import Facts, Opened, decode
from mlsdk.log.identity import is_alive
from mlsdk.log.ids import new_id
from mlsdk.log.values import encode
from mlsdk.store.files import FileLogs
from mlsdk.store.layout import Layout
from mlsdk.store.target import FileTarget
from mlsdk.store.writer import LogWriter

SEAL_BYTES = 65_536
"""Smaller logs stay raw: a file of column blocks would not be smaller."""

SIGN_EVERY_S = 30.0

Taken = dict[tuple[str, str], tuple[int, dict[str, Mapping[str, object]]]]
"""By capture and folder: when it was begun (ns) and what it found. One taken after a run's start serves that run."""


class Header:
    """What the companion needs to know of a log: who writes it, and what was asked for."""

    def __init__(self, layout: Layout, run: str, writer: str) -> None:
        self.run, self.writer = run, writer
        self.log = f"runs/{run}/{writer}"
        self.path = layout.log_path(self.log)
        self.role = "?"
        self.identity: dict[str, object] = {}
        self.owed: str | None = None
        self.order = 0
        self.captures: dict[str, object] = {}
        with open(self.path, "rb") as file:
            head = file.read(262_144)
        for entry, _ in decode(head, live=True):
            if isinstance(entry, Opened):
                self._read_open(entry.header)
            elif isinstance(entry, Facts):
                self.captures.update(entry.kinds.get("captures", {}))
                self.order = max(self.order, entry.order)

    def _read_open(self, header: dict[str, object]) -> None:
        identity, owed, order = header.get("writer"), header.get("owed"), header.get("order")
        self.role = str(header.get("role"))
        self.identity = dict(identity) if isinstance(identity, dict) else {}
        self.owed = str(owed) if owed else None
        self.order = order if isinstance(order, int) else 0

    @property
    def place(self) -> object:
        """The writer's place."""
        return self.identity.get("place")


class Charge:
    """The work for one log that asked for a companion.

    Args:
        target: the store.
        header: the log.
        taken: captures taken lately, shared between charges.
    """

    def __init__(self, target: FileTarget, header: Header, taken: Taken) -> None:
        self.header = header
        self._target = target
        self._taken = taken
        self._writer: LogWriter | None = None
        self._signed_at = time.monotonic()

    @property
    def captured(self) -> bool:
        """Whether the captures are done."""
        return self._writer is not None

    def capture(self, *, note: str | None = None) -> None:
        """Take the captures that were asked for and write them into the companion's log."""
        owed = self.header.owed or new_id()
        if os.path.exists(self._target.layout.log_path(f"runs/{self.header.run}/{owed}")):
            owed = new_id()  # a companion before this one was stopped in its work
        writer = LogWriter(self._target, self.header.run, "companion", seen=self.header.order, writer=owed)
        if owed != self.header.owed:
            writer.announce()
        problems: dict[str, object] = {}
        if note:
            problems["companion"] = {"message": note, "t": time.time_ns(), "count": 1}
        for name, capture in self._wanted().items():
            try:
                for kind, values in self._found(capture).items():
                    writer.facts({kind: {key: encode(value) for key, value in values.items()}})
            except Exception as error:  # a capture may be a stranger's code; its failure is a fact of the run
                problems[f"capture {name}"] = {
                    "message": f"failed: {type(error).__name__}: {error}",
                    "t": time.time_ns(),
                    "count": 1,
                }
        if problems:
            writer.facts({"problems": problems}, vital=True)
        self._writer = writer

    def _wanted(self) -> dict[str, Capture]:
        wanted = {
            name: BUILT_IN[name]
            for name, state in self.header.captures.items()
            if state == "beside" and name in BUILT_IN
        }
        others = [name for name, state in self.header.captures.items() if state == "beside" and name not in BUILT_IN]
        if STRANGERS in others:
            return {**wanted, **strangers()}
        return {**wanted, **{name: strangers(name)[name] for name in others}}

    def _found(self, capture: Capture) -> dict[str, Mapping[str, object]]:
        folder = str(self.header.captures.get("folder", ""))
        begun, facts = self._taken.get((capture.name, folder), (0, {}))
        if begun <= self.header.order:
            begun = time.time_ns()
            facts = facts_of(capture, capture(Context(folder)) or {})
            self._taken[capture.name, folder] = (begun, facts)
        return facts

    def sign(self) -> None:
        """Give a sign of life now and then, for readers on other hosts."""
        now = time.monotonic()
        if self._writer is not None and now - self._signed_at > SIGN_EVERY_S:
            self._signed_at = now
            self._writer.facts({"signs": {"alive_ns": time.time_ns()}})

    def end(self, logs: FileLogs, gone: list[str]) -> None:
        """The log has closed or its writer is gone: say so, seal what is large, close, and take the marker of what is owed away.

        Args:
            logs: for sealing.
            gone: names of logs of the run whose writers died without closing them.
        """
        writer = self._writer
        if writer is not None:
            if gone:
                now = time.time_ns()
                writer.facts({"gone": dict.fromkeys(gone, now)}, vital=True)
            writer.close()
        if os.path.exists(self.header.path) and os.path.getsize(self.header.path) >= SEAL_BYTES:
            logs.seal(self.header.log)
        if self.header.owed:
            self._target.retire(self.header.run, self.header.owed)


def serve_here(root: str, run: str, writer: str, owed: str) -> None:
    """All of a companion's work for one log that has closed, in the process that wrote it."""
    target = FileTarget(f"file:{root}", root)
    header = Header(target.layout, run, writer)
    header.owed = owed
    charge = Charge(target, header, {})
    charge.capture(
        note="no companion could be started: captures were taken when the run had ended, by the process itself"
    )
    charge.end(FileLogs(target.layout), [])


def is_gone(header: Header) -> bool:
    """Whether the writer of a log is known to have died."""
    return is_alive(header.identity) is False
