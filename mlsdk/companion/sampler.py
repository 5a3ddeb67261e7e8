"""Samples of the hardware while a run is live, as metrics `system/...`, and what they come to when it ends.

Everything is read from outside: the training process does nothing for it. `docs/hardware.md` lists the names and units.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from mlsdk.capture.hardware.energy import UNAVAILABLE
from mlsdk.companion.machine import Followed, Look, Machine, Moment

FIRST_S = 0.25
"""The first sample is taken so long after the start, the next ones after twice the time, until the interval is reached:
a run of two seconds has samples too."""

Log = Callable[[Mapping[str, float], int], object]
"""Takes values by name and the time (ns since 1970) that they belong to."""


class Sampler:
    """Samples one run's training process and its machine. To be ticked a few times a second; it never raises.

    Args:
        pid: the training process.
        log: takes each sample.
        interval_s: seconds between two samples; 0 for none.
        machine: shared by the samplers of a companion.
        price_per_hour: of the machine; 0 if unknown.
        tdp_w: thermal design power of its processors; 0 if unknown.
        start: when the process began (clock ticks since boot, as in `writer_identity()`), if known.

    Example:
        >>> import os
        >>> sampler = Sampler(os.getpid(), lambda values, t_ns: None, interval_s=5.0, machine=Machine())
        >>> sampler.tick(0.0)
        >>> sorted(sampler.summary(10.0))[:3]
        ['cpu_s', 'energy_cpu_j', 'energy_j']
    """

    def __init__(
        self,
        pid: int,
        log: Log,
        *,
        interval_s: float,
        machine: Machine,
        price_per_hour: float = 0.0,
        tdp_w: float = 0.0,
        start: float | None = None,
    ) -> None:
        self._log = log
        self._interval_s = interval_s
        self._price_per_hour = price_per_hour
        self._machine = machine
        self._process = (pid, start, tdp_w)
        self._followed: Followed | None = None
        self._first: Moment | None = None
        self._last: Moment | None = None
        self._high_water_bytes: int | None = None
        self._due = 0.0
        self._samples = 0
        self._peak_bytes = 0
        self._gpu_peak_bytes = 0
        self._gpus_used: set[int] = set()
        self._problem: str | None = None

    def tick(self, now: float) -> None:
        """Take a sample if it is time for one.

        Args:
            now: `time.monotonic()`.
        """
        if self._interval_s <= 0 or now < self._due:
            return
        try:
            self._look(now)
        except Exception as error:  # what a machine shows has no end of forms; the run and its companion must go on
            self._problem = f"{type(error).__name__}: {error}"
            self._due = now + self._interval_s

    def _look(self, now: float, *, ended: bool = False) -> None:
        if self._followed is None:
            self._followed = self._machine.follow(*self._process)
        followed, last = self._followed, self._last
        moment = followed.look(now)
        if self._first is None:
            self._first = moment
            self._high_water_bytes = followed.tree.high_water_bytes
        self._last = moment
        if followed.tree.alive:
            self._peak_bytes = max(self._peak_bytes, followed.tree.memory_bytes)
            self._gpu_peak_bytes = max(self._gpu_peak_bytes, sum(followed.gpu_memory.values()))
            self._gpus_used |= followed.gpus_used
            # What is seen after the end is not the run's own, save in a run that had no sample at all.
            if last is not None and moment.look.at > last.look.at and not (ended and self._samples):
                self._samples += 1
                self._log(
                    {**_of_process(followed, last, moment), **_of_machine(last.look, moment.look)}, time.time_ns()
                )
        self._due = self._next(now, self._first.look.at)

    def _next(self, now: float, began: float) -> float:
        """When the next sample is due: on the same beat for all runs, so that they share the look at the machine."""
        interval = self._interval_s
        soon = began + max(FIRST_S, 2 * (now - began))
        beat = (now // interval + 1) * interval
        return min(soon, beat) if now - began < interval else beat

    def summary(self, now: float, duration_s: float | None = None) -> dict[str, object]:
        """What the samples come to, for the facts of kind `hardware`; to be asked once, when the run has ended.

        `energy_j`, `energy_cpu_j`, `energy_gpu_j` (joules), `energy_source`, `energy_note`, `energy_missing`, `cost`,
        `cpu_s`, `peak_memory_bytes`, `process_peak_memory_bytes`, `gpu_peak_memory_bytes`, `gpus_used` (numbers),
        `samples`, `sampled_s`, `sampler_missing`. What cannot be said is left out.

        Args:
            now: `time.monotonic()`.
            duration_s: of the run, for its cost; by default the time that was sampled.
        """
        if self._interval_s <= 0:
            return {}
        try:
            self._look(now, ended=True)
        except Exception as error:  # as in `tick`: what was seen before is still said
            self._problem = f"{type(error).__name__}: {error}"
        found: dict[str, object] = {"samples": self._samples}
        first, last, followed = self._first, self._last, self._followed
        missing: dict[str, str] = {}
        if self._problem is not None:
            missing["sampler"] = self._problem
        if first is not None and last is not None and followed is not None:
            sampled_s = last.look.at - first.look.at
            found["sampled_s"] = sampled_s
            duration_s = sampled_s if duration_s is None else duration_s
            if self._peak_bytes:
                found.update(self._used(followed, first, last))
            else:
                missing["process"] = f"process {self._process[0]} had ended before it could be looked at"
            missing.update(followed.missing)
        if self._price_per_hour > 0 and duration_s is not None:
            found["cost"] = duration_s / 3600 * self._price_per_hour
        return {**found, **({"sampler_missing": missing} if missing else {})}

    def _used(self, followed: Followed, first: Moment, last: Moment) -> dict[str, object]:
        found: dict[str, object] = {}
        high, high_before = followed.tree.high_water_bytes, self._high_water_bytes
        peak = self._peak_bytes
        if high is not None:
            found["process_peak_memory_bytes"] = high
            if high_before is not None and high > high_before:  # it was reached during the run, between two samples
                peak = max(peak, high)
        found["peak_memory_bytes"] = peak
        gpus = len(last.look.gpus)
        if gpus:
            found.update(gpu_peak_memory_bytes=self._gpu_peak_bytes, gpus_used=sorted(self._gpus_used))
        if last is first:  # it had ended before a second look
            return {**found, "energy_source": UNAVAILABLE}
        return {**found, "cpu_s": last.cpu_s - first.cpu_s, **followed.meter.facts(gpus, first.energy)}


def _of_process(followed: Followed, before: Moment, now: Moment) -> dict[str, float]:
    seconds, tree = now.look.at - before.look.at, followed.tree
    found: dict[str, float] = {
        "system/process/cpu": (now.cpu_s - before.cpu_s) / seconds,
        "system/process/memory_bytes": tree.memory_bytes,
        "system/process/own_memory_bytes": tree.own_memory_bytes,
        "system/process/threads": tree.threads,
        "system/process/processes": len(tree.pids),
        "system/process/read_bytes_per_s": (now.read_bytes - before.read_bytes) / seconds,
        "system/process/write_bytes_per_s": (now.written_bytes - before.written_bytes) / seconds,
    }
    for index, held in followed.gpu_memory.items():
        found[f"system/gpu{index}/process_memory_bytes"] = held
    return found


def _of_machine(before: Look, now: Look) -> dict[str, float]:
    seconds = now.at - before.at
    found: dict[str, float] = {}
    passed_s = (now.cpu_s or 0.0) - (before.cpu_s or 0.0)
    if before.cpu_s is not None and passed_s > 0:
        found["system/machine/cpu"] = min(1.0, max(0.0, ((now.busy_s or 0.0) - (before.busy_s or 0.0)) / passed_s))
    if now.memory_bytes is not None:
        found["system/machine/memory_bytes"] = now.memory_bytes
    for names, new, old in (
        (("disk_read_bytes_per_s", "disk_write_bytes_per_s"), now.disk, before.disk),
        (("network_received_bytes_per_s", "network_sent_bytes_per_s"), now.network, before.network),
    ):
        if new is not None and old is not None:
            for name, after, earlier in zip(names, new, old, strict=True):
                found[f"system/machine/{name}"] = (
                    max(0, after - earlier) / seconds
                )  # a device that left takes its count along
    for index, gpu in enumerate(now.gpus):
        for name in ("utilisation", "memory_bytes", "temperature_c", "power_w"):
            value = getattr(gpu, name)
            if value is not None:
                found[f"system/gpu{index}/{name}"] = value
    return found
