"""Reading NVIDIA's devices through NVML, question by question: what one device does not answer, the others still do.

The library is `nvidia-ml-py` (extra `gpu`); anything with its functions can stand in for it. See NVIDIA's "NVML API
reference" for what each answer means.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

_SIGNS = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg")
"""One of them is there wherever a driver is (the last in WSL): looking costs less than loading the library."""

_LOST = {15, 16, 28}
"""NVML_ERROR_GPU_IS_LOST, NVML_ERROR_RESET_REQUIRED, NVML_ERROR_GPU_NOT_FOUND: the device will not answer again."""

_NOT_SUPPORTED = {3, 13}
"""NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_FUNCTION_NOT_FOUND: not worth asking again."""


class GpuReading(NamedTuple):
    """What a GPU said at one time; None is what it did not say."""

    utilisation: float | None = None
    """Share of the last sample period (up to a second) in which a kernel ran: 0 to 1."""
    memory_bytes: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    energy_j: float | None = None
    """Since the driver was loaded: only differences mean something."""
    processes: Mapping[int, int | None] | None = None
    """Memory in bytes (None if hidden) by process id; None if the device does not tell who uses it."""
    device: str | None = None
    """The file that a process which uses it holds open."""
    shares: Mapping[int, float] = MappingProxyType({})
    """Where several processes use the device: how the time of its multiprocessors was shared, if it says so."""


class Unavailable(Exception):  # noqa: N818 (it is a state rather than an error)
    """No GPU of this make can be read; the text says why."""


def load() -> Nvml:
    """Open NVML.

    Raises:
        Unavailable: there is no driver, the library is not installed, or it does not answer.
    """
    if sys.platform == "darwin" or (sys.platform == "linux" and not any(map(os.path.exists, _SIGNS))):
        raise Unavailable("no NVIDIA driver is loaded")
    try:
        import pynvml
    except ImportError:
        raise Unavailable("nvidia-ml-py is not installed; install it: pip install 'mlsdk[gpu]'") from None
    return Nvml(pynvml)


class Nvml:
    """The NVIDIA devices of this machine.

    Args:
        library: `pynvml`, or what stands in for it.

    Raises:
        Unavailable: the library cannot be initialised.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self.missing: dict[str, str] = {}
        """What was asked and not answered, and why."""
        self._silent: set[tuple[int, str]] = set()
        self._lost: set[int] = set()
        self._asked_us: dict[int, int] = {}
        try:
            library.nvmlInit()
        except Exception as error:  # the library's own tree of errors, or what a broken installation raises
            raise Unavailable(f"NVML cannot be initialised: {error}") from error
        count = self._ask(-1, "devices", library.nvmlDeviceGetCount) or 0
        self._handles: list[Any] = [
            self._ask(index, "handle", library.nvmlDeviceGetHandleByIndex, index) for index in range(count)
        ]

        minors = [self._of(index, "minor number", "nvmlDeviceGetMinorNumber") for index in range(count)]
        self._files = [None if minor is None else f"/dev/nvidia{minor}" for minor in minors]

    def __len__(self) -> int:
        return len(self._handles)

    def _ask(self, index: int, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """An answer, or None; why there is none is noted once."""
        if index in self._lost or (index, what) in self._silent:
            return None
        try:
            return function(*arguments)
        except Exception as error:  # each question may fail in its own way; the reason is kept for the run
            code = getattr(error, "value", None)
            name = what if index < 0 else f"gpu{index} {what}"
            if code in _LOST:
                self._lost.add(index)
                name = f"gpu{index}"
            elif code in _NOT_SUPPORTED:
                self._silent.add((index, what))
            self.missing[name] = str(error) or type(error).__name__
            return None

    def _of(self, index: int, what: str, name: str, *arguments: Any) -> Any:
        """Ask a device; a function that an older library lacks is a question without an answer."""
        function = getattr(self._library, name, None)
        if self._handles[index] is None:  # why has been noted
            return None
        if function is None:
            self._silent.add((index, what))
            self.missing[f"gpu{index} {what}"] = f"this nvidia-ml-py has no {name}"
            return None
        return self._ask(index, what, function, self._handles[index], *arguments)

    def system(self) -> dict[str, object]:
        """The versions: `gpu_driver`, `cuda_driver` (the newest CUDA that the driver can serve)."""
        driver = self._ask(-1, "driver", self._library.nvmlSystemGetDriverVersion)
        cuda = self._ask(-1, "CUDA version", self._library.nvmlSystemGetCudaDriverVersion)
        found = {
            "gpu_driver": _text(driver),
            "cuda_driver": None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
        }
        return {name: value for name, value in found.items() if value is not None}

    def describe(self, index: int) -> dict[str, object]:
        """What a device is; what it does not tell is left out, and noted in `missing`."""
        memory = self._memory(index)
        capability = self._of(index, "compute capability", "nvmlDeviceGetCudaComputeCapability")
        limit = self._of(index, "power limit", "nvmlDeviceGetPowerManagementLimit")
        mig = self._of(index, "MIG mode", "nvmlDeviceGetMigMode")
        ecc = self._of(index, "ECC mode", "nvmlDeviceGetEccMode")
        pci = self._of(index, "PCI", "nvmlDeviceGetPciInfo")
        found = {
            "index": index,
            "name": _text(self._of(index, "name", "nvmlDeviceGetName")),
            "uuid": _text(self._of(index, "UUID", "nvmlDeviceGetUUID")),
            "pci": None if pci is None else _text(pci.busId),
            "memory_bytes": None if memory is None else int(memory.total),
            "compute_capability": None if capability is None else "{}.{}".format(*capability),
            "power_limit_w": None if limit is None else limit / 1000,
            "mig": None if mig is None else bool(mig[0]),
            "ecc": None if ecc is None else bool(ecc[0]),
        }
        return {name: value for name, value in found.items() if value is not None}

    def read(self, index: int) -> GpuReading:
        """What a device says now. It takes a few tenths of a millisecond on most drivers, none in the training."""
        use = self._of(index, "utilisation", "nvmlDeviceGetUtilizationRates")
        memory = self._memory(index)
        sensor = getattr(self._library, "NVML_TEMPERATURE_GPU", 0)
        power = self._of(index, "power", "nvmlDeviceGetPowerUsage")
        energy = self._of(index, "energy", "nvmlDeviceGetTotalEnergyConsumption")
        processes = self._processes(index)
        return GpuReading(
            None if use is None else use.gpu / 100,
            None if memory is None else int(memory.used),
            self._of(index, "temperature", "nvmlDeviceGetTemperature", sensor),
            None if power is None else power / 1000,
            None if energy is None else energy / 1000,
            processes,
            self._files[index],
            self._shares(index) if processes is not None and len(processes) > 1 else {},
        )

    def _memory(self, index: int) -> Any:
        """In the second form of the answer, which `nvidia-smi` shows too, what the driver reserves is not "used"."""
        form = getattr(self._library, "nvmlMemory_v2", None)
        if form is not None and (index, "memory, second form") not in self._silent and index not in self._lost:
            try:
                return self._library.nvmlDeviceGetMemoryInfo(self._handles[index], form)
            except Exception:  # an older driver; if there is more to it, the first form fails too and is noted
                self._silent.add((index, "memory, second form"))
        return self._of(index, "memory", "nvmlDeviceGetMemoryInfo")

    def _processes(self, index: int) -> dict[int, int | None] | None:
        answers = [
            self._of(index, "processes", "nvmlDeviceGetComputeRunningProcesses"),
            self._of(index, "graphics processes", "nvmlDeviceGetGraphicsRunningProcesses"),
        ]
        if answers[0] is None:
            return None
        return {process.pid: process.usedGpuMemory for answer in reversed(answers) for process in answer or ()}

    def _shares(self, index: int) -> dict[int, float]:
        """Mean use of the multiprocessors by each process since the last time this was asked, as shares of 1."""
        function = getattr(self._library, "nvmlDeviceGetProcessUtilization", None)
        if function is None or index in self._lost:
            return {}
        try:
            samples = function(self._handles[index], self._asked_us.get(index, 0))
        except Exception:  # "not found" is the answer when nothing ran since; others mean the same to us: no shares
            return {}
        used: dict[int, float] = {}
        for sample in samples:
            used[sample.pid] = used.get(sample.pid, 0) + sample.smUtil
            self._asked_us[index] = max(self._asked_us.get(index, 0), sample.timeStamp)
        total = sum(used.values())
        return {pid: value / total for pid, value in used.items()} if total else {}

    def close(self) -> None:
        """Let NVML go."""
        self._ask(-1, "shutdown", self._library.nvmlShutdown)


def _text(value: Any) -> str | None:
    """Texts are bytes in older versions of the library."""
    if value is None:
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
