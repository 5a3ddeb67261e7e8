"""A charge: what the companion owes one log.

The captures beside, word of its writer's death, sealing, the close of its own log.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlsdk import config
from mlsdk.capture import BUILT_IN, STRANGERS, Capture, Context, strangers
from mlsdk.capture.facts import encode_facts
from mlsdk.capture.secrets.redaction import redact_text
from mlsdk.companion.data import Reading
from mlsdk.companion.follow import Follower
from mlsdk.companion.header import Decoded, Header, is_gone
from mlsdk.companion.looks import Looks
from mlsdk.companion.sampler import Sampler
from mlsdk.log.identity import is_alive
from mlsdk.log.ids import new_id
from mlsdk.store.blobs import FileBlobs
from mlsdk.store.files import SEAL_BYTES, FileLogs
from mlsdk.store.layout import split_marker
from mlsdk.store.target import FileTarget
from mlsdk.store.writer import LogWriter

if TYPE_CHECKING:
    from mlsdk.companion.machine import Machine

SIGN_EVERY_S = 30.0

LATE_S = 60.0
"""What is found longer than this after the last word of a run's process may be another commit, another machine."""


class Charge:
    """The work for one log that asked for a companion.

    Args:
        target: the store.
        header: the log.
        looks: captures taken lately, shared between charges.
        machine: for samples of the hardware, shared between charges; None for no samples.
    """

    def __init__(self, target: FileTarget, header: Header, looks: Looks, machine: Machine | None = None) -> None:
        self.header = header
        self._target = target
        self._looks = looks
        self._writer: LogWriter | None = None
        self._follower = Follower(header.path)
        self._machine = machine
        self._sampler: Sampler | None = None
        self._reading = Reading(target.put_blob, os.path.join(target.layout.root, "cache", "data"))
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
        role = self.header.role if self.header.role.startswith("rank ") else ""
        writer = LogWriter(
            self._target, self.header.run, f"companion {role}".rstrip(), seen=self.header.order, writer=owed
        )
        if owed != self.header.owed:
            writer.announce()
        self._writer = writer
        problems = {} if note is None else {"companion": note}
        late_s = self._late_s()
        if late_s > LATE_S and self._wanted():
            missed = ", ".join(self._wanted())
            problems["companion"] = f"no companion came until {late_s:.0f} s after the end: {missed} not taken"
        with config.in_force(self.header.settings):
            for name in self._wanted() if late_s <= LATE_S else ():
                self._sample()
                try:
                    problems.update(self._take(writer, _capture_named(name)))
                except Exception as error:  # a capture may be a stranger's code; its failure is a fact of the run
                    problems[f"capture {name}"] = f"failed: {type(error).__name__}: {error}"
        self.look()
        if problems:
            now = time.time_ns()
            found = {
                redact_text(kind)[0]: {"message": redact_text(message)[0], "t": now, "count": 1}
                for kind, message in problems.items()
            }
            writer.facts({"problems": found}, vital=True)

    def _late_s(self) -> float:
        """Seconds since the log was last written, if its writer does not live any more; else 0."""
        if is_alive(self.header.identity):
            return 0.0
        return max(0.0, time.time() - os.path.getmtime(self.header.path))

    def _wanted(self) -> list[str]:
        """Names of the captures that are asked for."""
        wanted = [name for name, state in self.header.captures.items() if state == "beside"]
        if STRANGERS in wanted:
            return [*(name for name in wanted if name != STRANGERS), *strangers()]
        return wanted

    def _take(self, writer: LogWriter, capture: Capture) -> dict[str, str]:
        """Take a capture and write down what it found; returns notes on what is not kept as it was."""
        told = self.header.code_told if capture.kind == "code" else self.header.environment_told
        look = self._looks.take(capture, self._context(), started=self.header.order, told=told)
        if all(writer.facts({kind: values}) for kind, values in look.facts.items()):
            return look.notes
        return {**look.notes, f"capture {capture.name}": "not kept: the disk is full"}

    def _write(self, writer: LogWriter, found: Mapping[str, Mapping[str, object]]) -> None:
        """Write facts that are no capture's."""
        for kind, values in found.items():
            writer.facts({kind: encode_facts(kind, values, self._target.put_blob)[0]})

    def _context(self) -> Context:
        return Context(
            str(self.header.captures.get("folder", "")),
            facts={kind: Decoded(values, self._blob) for kind, values in self.header.facts.items()},
            pid=self._pid,
            root=self._target.root,
            put_blob=self._target.put_blob,
            read_blob=self._blob,
        )

    def _blob(self, digest: str) -> bytes:
        with FileBlobs(self._target.layout.blobs).open(digest) as file:
            return file.read()

    def look(self) -> None:
        """See what the run asks for while it goes on, and write down what has been done of it."""
        for facts in self._follower.look():
            self._reading.ask(facts.kinds)
        self._write_down()

    def _write_down(self, *, wait: bool = False) -> None:
        if self._writer is not None and (found := self._reading.done(wait=wait)):
            self._write(self._writer, found)

    def tick(self) -> None:
        """While the run is live: look, and now and then give a sign of life, for readers on other hosts."""
        self.look()
        now = time.monotonic()
        self._sample()
        if self._writer is not None and now - self._signed_at > SIGN_EVERY_S:
            self._signed_at = now
            self._writer.facts({"signs": {"alive_ns": time.time_ns()}})

    def _sample(self) -> None:
        """Sample the hardware, if it is time for that and the run is live."""
        if self._writer is None or self._machine is None:
            return
        if self._sampler is None:
            with config.in_force(self.header.settings):
                self._sampler = Sampler(
                    self._pid,
                    self._writer.points,
                    interval_s=config.number("sample_every_s"),
                    machine=self._machine,
                    price_per_hour=config.number("price_per_hour"),
                    tdp_w=config.number("cpu_tdp_w"),
                    start=self.header.start,
                )
        self._sampler.tick(time.monotonic())

    @property
    def _pid(self) -> int:
        pid = self.header.identity.get("pid")
        return pid if isinstance(pid, int) else 0

    @property
    def busy(self) -> bool:
        """Whether files are still being read, or what they are was not written down yet."""
        return self._reading.busy

    def end(self, logs: FileLogs, gone: list[str]) -> None:
        """The log has closed or its writer is gone: say so, seal what is large, take the marker of what is owed away.

        Args:
            logs: for sealing.
            gone: names of logs of the run whose writers died without closing them.
        """
        writer = self._writer
        self._write_down(wait=True)
        if writer is not None:
            if self._sampler is not None:
                lasted_s = os.path.getmtime(self.header.path) - self.header.order / 1e9
                self._write(writer, {"hardware": self._sampler.summary(time.monotonic(), lasted_s)})
            if gone:
                now = time.time_ns()
                writer.facts({"gone": dict.fromkeys(gone, now)}, vital=True)
            writer.close()
        waits = os.path.exists(os.path.join(self._target.layout.ship, f"{self.header.run}.{self.header.writer}"))
        # What is still to be sent would have to be unpacked again, which takes longer than all the rest of sending.
        if not waits and os.path.exists(self.header.path) and os.path.getsize(self.header.path) >= SEAL_BYTES:
            logs.seal(self.header.log)
        if self.header.owed:
            self._target.retire(self.header.run, self.header.owed)


def serve_here(root: str, run: str, writer: str, owed: str) -> None:
    """All of a companion's work for one log that has closed, in the process that wrote it."""
    target = FileTarget(f"file:{root}", root)
    header = Header(target.layout, run, writer)
    header.owed = owed
    charge = Charge(target, header, Looks(target.put_blob))
    failed = "no companion could be started: captures were taken when the run had ended, by the process itself"
    charge.capture(note=failed if config.flag("companion") else None)  # who wants none is not told that there is none
    charge.end(FileLogs(target.layout), [])
    for marker in os.listdir(target.layout.open):
        parts = split_marker(marker)
        if parts is not None and parts[0] == run:
            _retire_unfinished(target, *parts)


def _retire_unfinished(target: FileTarget, run: str, writer: str) -> None:
    """Take the marker of a log away that a companion before, which was killed, has left open."""
    with contextlib.suppress(OSError):
        header = Header(target.layout, run, writer)
        if header.role.startswith("companion") and is_gone(header):
            target.retire(run, writer)


def _capture_named(name: str) -> Capture:
    return BUILT_IN.get(name) or strangers(name)[name]
