"""The whole machine, looked at once for all runs that are live on it, and what each training process takes of it."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

from mlsdk.capture.hardware.energy import Meter, Rapl, memory_of, share_of
from mlsdk.capture.hardware.gpu import gpus as open_gpus
from mlsdk.capture.hardware.gpu import within
from mlsdk.capture.hardware.nvml import GpuReading
from mlsdk.companion.processes import Tree, gpu_files

T = TypeVar("T")

FRESH_S = 0.2
"""Whoever looks within this time after another sees what that one saw."""

GPU_ANSWER_S = 5.0
"""Longer than opening the driver takes; a companion must not hang where a driver does."""

_LOOPBACK = ("lo", "Loopback")


class Devices(Protocol):
    """The GPUs: `mlsdk.capture.hardware.gpu.Gpus`, or what stands in for them."""

    @property
    def missing(self) -> dict[str, str]:
        """What was asked and not answered, and why."""

    def __len__(self) -> int:
        """How many there are."""

    def read(self) -> list[GpuReading]:
        """What each says now."""


class Look(NamedTuple):
    """The machine at one time. Numbers of bytes and seconds of work count from some time before."""

    at: float
    """On the monotonic clock."""
    busy_s: float | None
    cpu_s: float | None
    """Of all cores, idle or not."""
    memory_bytes: int | None
    disk: tuple[int, int] | None
    """Read and written; None if the machine does not tell."""
    network: tuple[int, int] | None
    """Received and sent, without what a machine sends to itself."""
    gpus: list[GpuReading]
    rapl_j: float | None


class Machine:
    """The machine, for all samplers of a companion.

    Args:
        gpus: opens the GPUs; by default those of this machine.
        rapl: by default this machine's.
    """

    def __init__(self, gpus: Callable[[], Devices] = open_gpus, rapl: Rapl | None = None) -> None:
        self._open_gpus = gpus
        self._gpus: Devices | None = None
        self._missing: dict[str, str] = {}
        self._rapl = rapl
        self._last: Look | None = None
        self._followed: weakref.WeakValueDictionary[tuple[int, float], Followed] = weakref.WeakValueDictionary()

    @property
    def missing(self) -> dict[str, str]:
        """What was asked and not answered, and why."""
        return {**({} if self._gpus is None else self._gpus.missing), **self._missing}

    def _read_gpus(self) -> list[GpuReading]:
        """What the GPUs say, opened when first asked for. Who does not answer in time is not asked again."""
        if "gpus" in self._missing or (self._gpus is not None and not len(self._gpus)):
            return []
        return self._try("gpus", lambda: within(GPU_ANSWER_S, self._ask_gpus)) or []

    def _ask_gpus(self) -> list[GpuReading]:
        if self._gpus is None:
            self._gpus = self._open_gpus()
        return self._gpus.read()

    def look(self, now: float) -> Look:
        """The machine now, or as it was seen `FRESH_S` ago at most."""
        if self._last is None or not 0 <= now - self._last.at < FRESH_S:
            self._last = self._read(now)
        return self._last

    def _read(self, now: float) -> Look:
        import psutil

        if self._rapl is None:
            self._rapl = Rapl()
        busy_s, cpu_s = self._try("processors", lambda: _processors(psutil.cpu_times())) or (None, None)
        return Look(
            now,
            busy_s,
            cpu_s,
            self._try("memory", lambda: _memory(psutil.virtual_memory())),
            self._try("disks", lambda: _disks(psutil.disk_io_counters())),
            self._try("network", lambda: _network(psutil.net_io_counters(pernic=True))),
            self._read_gpus(),
            self._rapl.read(),
        )

    def _try(self, what: str, read: Callable[[], T]) -> T | None:
        """A part of the look; what does not answer is noted, and the others go on."""
        try:
            return read()
        except Exception as error:  # systems and containers show their counters in no end of forms
            self._missing[what] = f"{type(error).__name__}: {error}"
            return None

    def follow(self, pid: int, start: float | None, tdp_w: float) -> Followed:
        """A process to be followed; runs of one process share what is seen of it."""
        key = (pid, tdp_w)
        found = self._followed.get(key)
        if found is None or not found.tree.alive or (start is not None and found.tree.start != start):
            found = self._followed[key] = Followed(self, Tree(pid, start), Meter(tdp_w))
        return found


class Moment(NamedTuple):
    """A process and its machine at one time."""

    look: Look
    cpu_s: float
    read_bytes: int
    written_bytes: int
    energy: dict[str, float]
    """Where the sums of the meter stood."""


class Followed:
    """A training process with its children, and what of the machine's energy is theirs."""

    def __init__(self, machine: Machine, tree: Tree, meter: Meter) -> None:
        self.tree = tree
        self.meter = meter
        self.gpu_memory: dict[int, int] = {}
        """Bytes that the processes hold now, by number of the GPU."""
        self.gpus_used: set[int] = set()
        """Numbers of the GPUs that they use now."""
        self._machine = machine
        self._last: Moment | None = None

    @property
    def missing(self) -> dict[str, str]:
        """What the machine did not answer, and why."""
        return self._machine.missing

    def look(self, now: float) -> Moment:
        """The process now. Once it has ended, its sums stay as they are, but for the energy of the last moments."""
        look = self._machine.look(now)
        last = self._last
        if last is not None and last.look is look:
            return last
        pids = self.tree.pids
        before_s = self.tree.cpu_s
        self.tree.look()
        if last is not None:
            self._measure(last.look, look, self.tree.cpu_s - before_s, pids | self.tree.pids)
        elif look.gpus:
            self._hold(look, self.tree.pids)
        self._last = Moment(look, self.tree.cpu_s, self.tree.read_bytes, self.tree.written_bytes, self.meter.marks())
        return self._last

    def _measure(self, before: Look, look: Look, cpu_s: float, pids: set[int]) -> None:
        rapl_j = None if look.rapl_j is None or before.rapl_j is None else look.rapl_j - before.rapl_j
        if look.busy_s is None or before.busy_s is None:
            rapl_j = None  # without the machine's time there is no share
        self.meter.add_cpu(cpu_s, (look.busy_s or 0.0) - (before.busy_s or 0.0), rapl_j)
        if look.gpus:
            files = self._hold(look, self.tree.pids)
            self.meter.add_gpus(before.gpus, look.gpus, look.at - before.at, pids, files)

    def _hold(self, look: Look, pids: set[int]) -> set[str]:
        """See how much memory the processes hold on each GPU; the device files that they hold open."""
        # Only processes of another container are to be known by their open files, which are many to look through.
        users = {pid for reading in look.gpus for pid in reading.processes or ()}
        foreign = bool(users) and users.isdisjoint(pids) and os.path.isdir("/proc/self/fd")
        files = gpu_files(pids) if foreign else set()
        for index, reading in enumerate(look.gpus):
            held = memory_of(reading, pids, files)
            if held is not None:
                self.gpu_memory[index] = held
        self.gpus_used = {index for index, reading in enumerate(look.gpus) if share_of(reading, pids, files)}
        return files


def _processors(times: Any) -> tuple[float, float]:
    """Seconds that all cores were busy, and seconds in all."""
    # Guests' time is in the users' already.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def _memory(memory: Any) -> int:
    return int(memory.total - memory.available)


def _disks(counters: Any) -> tuple[int, int] | None:
    return None if counters is None else (counters.read_bytes, counters.write_bytes)


def _network(links: dict[str, Any]) -> tuple[int, int] | None:
    real = [link for name, link in links.items() if not name.startswith(_LOOPBACK)]
    return (sum(link.bytes_recv for link in real), sum(link.bytes_sent for link in real)) if real else None
