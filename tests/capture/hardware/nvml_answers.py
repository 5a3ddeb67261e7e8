"""Answers of NVML in the shapes that nvidia-ml-py gives them: two H200 and an old card that supports little.

The figures are what `nvidia-smi` shows of such cards; they can be changed between two looks, as a device changes.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, DRIVER_NOT_LOADED, LOST = 3, 4, 6, 9, 15
MESSAGES = {
    NOT_SUPPORTED: "Not Supported",
    NO_PERMISSION: "Insufficient Permissions",
    NOT_FOUND: "Not Found",
    DRIVER_NOT_LOADED: "Driver Not Loaded",
    LOST: "GPU is lost",
}

GIB = 1 << 30


class NVMLError(Exception):
    """As `pynvml.NVMLError`: a number, and a text for it."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return MESSAGES[self.value]


def h200(index: int) -> dict[str, Any]:
    """A new card, by the name of the question without `nvmlDeviceGet`."""
    return {
        "Name": "NVIDIA H200",
        "UUID": f"GPU-{index}a5e7c1b-9f33-4c0e-8d3b-2f1f4f8f6a0{index}",
        "PciInfo": SimpleNamespace(busId=f"00000000:{0x19 + index:02X}:00.0"),
        "MinorNumber": index,
        "MemoryInfo": SimpleNamespace(total=150_754_820_096, free=139 * GIB, used=618_659_840),
        "CudaComputeCapability": (9, 0),
        "PowerManagementLimit": 700_000,
        "MigMode": [0, 0],
        "EccMode": [1, 1],
        "UtilizationRates": SimpleNamespace(gpu=0, memory=0),
        "Temperature": 31,
        "PowerUsage": 76_431,
        "TotalEnergyConsumption": 8_215_403_917,
        "ComputeRunningProcesses": [],
        "GraphicsRunningProcesses": [],
        "ProcessUtilization": NVMLError(NOT_FOUND),
    }


def old_card(index: int) -> dict[str, Any]:
    """A card that says its name, its memory and its temperature, and "not supported" to all else."""
    known = h200(index)
    told = {
        "Name": b"Tesla K80",
        "UUID": f"GPU-{index}0ld".encode(),
        "PciInfo": SimpleNamespace(busId=b"0000:04:00.0"),
        "MemoryInfo": SimpleNamespace(total=12 * GIB, free=12 * GIB, used=0),
        "Temperature": 44,
        "MinorNumber": index,
    }
    return {**dict.fromkeys(known, NVMLError(NOT_SUPPORTED)), **told}


def process(pid: int, memory: int | None) -> SimpleNamespace:
    """An entry of the list of processes."""
    return SimpleNamespace(pid=pid, usedGpuMemory=memory, gpuInstanceId=0xFFFFFFFF, computeInstanceId=0xFFFFFFFF)


def use(pid: int, percent: int, stamp: int = 1) -> SimpleNamespace:
    """A sample of what a process used."""
    return SimpleNamespace(pid=pid, smUtil=percent, memUtil=0, encUtil=0, decUtil=0, timeStamp=stamp)


class Answers:
    """Stands in for the library.

    Args:
        devices: by index: the answers, or errors, by question.
        init: error of the initialisation.
    """

    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *devices: dict[str, Any], init: Exception | None = None) -> None:
        self.devices = list(devices)
        self.asked: list[str] = []
        self._init = init

    def nvmlInit(self) -> None:  # noqa: N802 (the library's name)
        if self._init is not None:
            raise self._init

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.asked.append("shutdown")

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "570.133.20"

    def nvmlSystemGetCudaDriverVersion(self) -> int:  # noqa: N802
        return 12_080

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def __getattr__(self, name: str) -> Callable[..., Any]:
        question = name.removeprefix("nvmlDeviceGet")
        if question == name or not any(question in device for device in self.devices):
            raise AttributeError(name)

        def answer(handle: int, *_: Any) -> Any:
            self.asked.append(f"{handle} {question}")
            found = self.devices[handle][question]
            if isinstance(found, Exception):
                raise found
            return found

        return answer

    def lose(self, index: int) -> None:
        """Let a device be lost: whatever it is asked fails from now on."""
        self.devices[index] = dict.fromkeys(self.devices[index], NVMLError(LOST))

    def spend(self, index: int, joules: float, watts: float) -> None:
        """Let a device use energy."""
        self.devices[index]["TotalEnergyConsumption"] += round(joules * 1000)
        self.devices[index]["PowerUsage"] = round(watts * 1000)


class Driver:
    """Stands in for the driver's own library, below `pynvml`: what that calls by C's rules, from the same answers."""

    def __init__(self, *devices: dict[str, Any]) -> None:
        self.answers = Answers(*devices)

    def __getattr__(self, name: str) -> Callable[..., int]:
        question = re.sub(r"(_v\d)+$", "", name).removeprefix("nvmlDeviceGet")
        if question in {"Count", "HandleByIndex"} or not name.startswith("nvmlDeviceGet"):
            return {
                "nvmlInitWithFlags": lambda _: 0,
                "nvmlShutdown": lambda: 0,
                "nvmlSystemGetDriverVersion": lambda buffer, _: _put(buffer, b"570.133.20"),
                "nvmlSystemGetCudaDriverVersion": lambda number: _put(number._obj, 12_080),
                "Count": lambda number: _put(number._obj, len(self.answers.devices)),
                "HandleByIndex": lambda index, handle: _put(ctypes.c_void_p.from_buffer(handle._obj), index.value + 1),
            }[question]

        def answer(handle: Any, *places: Any) -> int:
            found = self.answers.devices[ctypes.cast(handle, ctypes.c_void_p).value - 1][question]  # type: ignore[operator]
            return found.value if isinstance(found, NVMLError) else _fill(question, found, places)

        return answer


def _put(place: Any, value: Any) -> int:
    place.value = value
    return 0


def _fill(question: str, found: Any, places: Sequence[Any]) -> int:
    """Write an answer where C would; the number is NVML's success, or "insufficient size"."""
    if isinstance(found, (str, bytes)):
        return _put(places[0], found.encode() if isinstance(found, str) else found)
    if question == "Temperature":
        return _put(places[1]._obj, found)
    if isinstance(found, int):
        return _put(places[0]._obj, found)
    if isinstance(found, (tuple, list)) and not question.endswith(("Processes", "Utilization")):
        return max(_put(place._obj, value) for place, value in zip(places, found, strict=True))
    if isinstance(found, SimpleNamespace):
        _copy(found, places[0]._obj)
        return 0
    count, entries = (places[1], places[0]) if question == "ProcessUtilization" else places[:2]
    if entries is None:
        count._obj.value = len(found)
        return 7 if found else 0
    for place, value in zip(entries, found, strict=False):
        _copy(value, place)
    return _put(count._obj, len(found))


def _copy(found: SimpleNamespace, place: Any) -> None:
    for name, value in vars(found).items():
        if hasattr(type(place), name):
            hidden = 0xFFFFFFFFFFFFFFFF  # NVML_VALUE_NOT_AVAILABLE
            setattr(place, name, value.encode() if isinstance(value, str) else hidden if value is None else value)
