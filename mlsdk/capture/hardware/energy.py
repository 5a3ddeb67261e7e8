"""Energy in joules, each part with its source: counters of the hardware where they can be read, estimates else.

The processor's counter is RAPL (Intel's Software Developer's Manual, volume 3, "Running average power limit"; the
kernel's power/powercap documentation): of whole packages, so that a process gets a share. The GPUs' is NVML's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from mlsdk.capture.hardware.nvml import GpuReading
from mlsdk.capture.hardware.sysfs import names, number, word

WATTS_PER_CORE = 3.5
"""Of a busy logical core, where nothing better is known: the mean of server processors at full load in the coefficients
of Cloud Carbon Footprint (`MAX_WATTS_AVG` of AWS's virtual cores; 4.1 to 4.3 for Google's, 3.5 to 3.8 for Azure's)."""

ESTIMATE, RAPL, COUNTER, POWER = "estimate from TDP and use", "RAPL", "NVML counter", "NVML power"
UNAVAILABLE = "unavailable"


class Rapl:
    """The energy counters of the processor packages and their memory.

    Args:
        folder: `/sys/class/powercap`.
    """

    def __init__(self, folder: str = "/sys/class/powercap") -> None:
        self.missing: str | None = None
        """Why the counters cannot be read."""
        self._total_uj = 0
        self._zones: dict[str, int] = {}
        zones = [name for name in names(folder) if re.fullmatch(r"intel-rapl:\d+(:\d+)?", name)]
        for name in zones:
            # A package holds its cores, and `psys` the packages: only memory is counted apart.
            if re.match("package" if name.count(":") == 1 else "dram", word(f"{folder}/{name}/name")):
                path = f"{folder}/{name}"
                value = number(f"{path}/energy_uj")
                if value is None:
                    self.missing = f"{path}/energy_uj is not readable; by default only root may"
                else:
                    self._zones[path] = value
        if not self._zones and self.missing is None:
            self.missing = "this machine shows no RAPL counters"

    def read(self) -> float | None:
        """Joules since this was made; None if they cannot be read. To be asked before a counter goes round twice."""
        if self.missing is not None:
            return None
        for path, last in self._zones.items():
            now = number(f"{path}/energy_uj")
            if now is None:
                self.missing = f"{path}/energy_uj could not be read any more"
                return None
            step = now - last
            if step < 0:  # the counter begins again after its largest value
                step += number(f"{path}/max_energy_range_uj") or -step
            self._total_uj += step
            self._zones[path] = now
        return self._total_uj / 1e6


class Meter:
    """The energy of one process and its children, summed up from look to look.

    Args:
        tdp_w: thermal design power of all the machine's processors in watts; 0 for `WATTS_PER_CORE`.
        cores: logical cores of the machine.
    """

    def __init__(self, tdp_w: float = 0.0, cores: int | None = None) -> None:
        self._watts = tdp_w / (cores or os.cpu_count() or 1) if tdp_w > 0 else WATTS_PER_CORE
        self._told = f"TDP {tdp_w:g} W" if tdp_w > 0 else f"{WATTS_PER_CORE:g} W for a busy core"
        self.rapl_j: float | None = 0.0
        self.estimate_j = 0.0
        self.gpu_j: dict[int, float] = {}
        """By number, of those GPUs that the processes used."""
        self.gpu_sources: set[str] = set()
        self.gpu_missing: dict[str, str] = {}

    def add_cpu(self, cpu_s: float, busy_s: float, rapl_j: float | None) -> None:
        """Count processor time.

        Args:
            cpu_s: of the processes since the last look.
            busy_s: of the whole machine in the same time.
            rapl_j: what the counters rose by in that time; None if they cannot be read.
        """
        self.estimate_j += cpu_s * self._watts
        if rapl_j is None or self.rapl_j is None:
            self.rapl_j = None
        elif cpu_s > 0:
            # The clocks of a process and of the machine do not tick together: a share is never above 1.
            self.rapl_j += rapl_j * min(1.0, cpu_s / busy_s if busy_s > 0 else 1.0)

    def add_gpus(
        self,
        before: Sequence[GpuReading],
        now: Sequence[GpuReading],
        seconds: float,
        pids: AbstractSet[int],
        files: AbstractSet[str],
    ) -> None:
        """Count the energy of the GPUs that the processes use; `files` are the device files that they hold open."""
        for index, (first, last) in enumerate(zip(before, now, strict=False)):
            share = share_of(last, pids, files) or share_of(first, pids, files)
            if share is None:
                self.gpu_missing[f"gpu{index}"] = "it does not tell which processes use it"
            if not share:
                continue
            counted = first.energy_j is not None and last.energy_j is not None and last.energy_j >= first.energy_j
            powers = [power for power in (first.power_w, last.power_w) if power is not None]
            if counted:
                joules, source = (last.energy_j or 0.0) - (first.energy_j or 0.0), COUNTER
            elif powers:
                joules, source = seconds * sum(powers) / len(powers), POWER
            else:
                self.gpu_missing[f"gpu{index}"] = "it was used, and tells neither energy nor power"
                continue
            self.gpu_j[index] = self.gpu_j.get(index, 0.0) + joules * share
            self.gpu_sources.add(source)

    @property
    def cpu_j(self) -> float:
        """Joules of the processor: measured where that was possible all the time, else estimated."""
        return self.estimate_j if self.rapl_j is None else self.rapl_j

    def facts(self, gpus: int, base: Mapping[str, float] | None = None) -> dict[str, object]:
        """Facts `energy_j`, `energy_cpu_j`, `energy_gpu_j`, `energy_source`, `energy_note`, `energy_missing`.

        Args:
            gpus: how many the machine has.
            base: what `marks` said at the start, where the meter had run before.

        >>> meter = Meter(tdp_w=65, cores=8)
        >>> meter.add_cpu(cpu_s=80.0, busy_s=100.0, rapl_j=None)
        >>> meter.facts(gpus=0)["energy_j"], meter.facts(gpus=0)["energy_source"]
        (650.0, 'cpu: estimate from TDP and use')
        """
        base = base or {}
        measured = self.rapl_j is not None
        key = "rapl" if measured else "estimate"
        cpu_j = self.cpu_j - base.get(key, 0.0)
        found: dict[str, object] = {"energy_cpu_j": cpu_j, "energy_j": cpu_j}
        sources = [f"cpu: {RAPL if measured else ESTIMATE}"]
        notes = [
            "cpu: the packages' energy by the share of the machine's busy processor time"
            if measured
            else f"cpu: processor time x {self._told}"
        ]
        if gpus:
            gpu_j = sum(self.gpu_j.values()) - base.get("gpu", 0.0)
            if self.gpu_j or not self.gpu_missing:
                found.update(energy_gpu_j=gpu_j, energy_j=cpu_j + gpu_j)
                sources.append("gpu: " + (" and ".join(sorted(self.gpu_sources)) or "none used"))
                notes.append("gpu: of devices that several processes used, by the share of use, else in equal parts")
            else:
                sources.append(f"gpu: {UNAVAILABLE}")
        if self.gpu_missing:
            found["energy_missing"] = dict(self.gpu_missing)
        return {**found, "energy_source": "; ".join(sources), "energy_note": "; ".join(notes)}

    def marks(self) -> dict[str, float]:
        """Where the sums stand, for who joins later."""
        return {"rapl": self.rapl_j or 0.0, "estimate": self.estimate_j, "gpu": sum(self.gpu_j.values())}


def share_of(reading: GpuReading, pids: AbstractSet[int], files: AbstractSet[str]) -> float | None:
    """The part of a GPU's work that some processes do: 0 to 1; None if the device does not tell.

    In a container NVML may name processes of the host, by numbers that mean nothing here: then it counts which device
    files are held open, and the device is taken to be shared in equal parts by those who use it.

    >>> share_of(GpuReading(processes={7: 100, 8: 300}), {7}, frozenset())
    0.5
    """
    users = reading.processes
    if users is None:
        return None
    if not users:
        return 0.0
    ours = pids & users.keys()
    if not ours:
        elsewhere = reading.device in files and are_foreign(users)
        return 1 / len(users) if elsewhere else 0.0
    if len(ours) == len(users):
        return 1.0
    if any(pid in reading.shares for pid in users):
        return sum(reading.shares.get(pid, 0.0) for pid in ours)
    return len(ours) / len(users)


def memory_of(reading: GpuReading, pids: AbstractSet[int], files: AbstractSet[str]) -> int | None:
    """Bytes of a GPU's memory that some processes hold; None if that is not told."""
    users = reading.processes
    if not users:
        return None if users is None else 0
    held = [memory for pid, memory in users.items() if pid in pids]
    if not held:
        if len(users) > 1 or reading.device not in files or not are_foreign(users):
            return 0
        held = list(users.values())
    return None if None in held else sum(memory or 0 for memory in held)


def are_foreign(pids: Iterable[int]) -> bool:
    """Whether none of these processes is to be seen from here."""
    return os.path.isdir("/proc/self") and not any(os.path.exists(f"/proc/{pid}") for pid in pids)
