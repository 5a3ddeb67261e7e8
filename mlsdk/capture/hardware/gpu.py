"""The GPUs: which there are, by which driver, and which of them the run may see."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from mlsdk.capture import Context
from mlsdk.capture.hardware.nvml import GpuReading, Nvml, Unavailable, load
from mlsdk.capture.hardware.sysfs import names, number, read_text, word

T = TypeVar("T")

ANSWER_S = 10.0
"""A driver that has not answered by then hangs, as one may whose device was lost."""

_AMD = "0x1002"

_opened: Gpus | None = None


class Make(Protocol):
    """The devices of one maker: `Nvml`, `Amd`, or what stands in for them."""

    missing: dict[str, str]

    def __len__(self) -> int:
        """How many there are."""

    def describe(self, index: int) -> dict[str, object]:
        """What a device is."""

    def read(self, index: int) -> GpuReading:
        """What it says now."""


class Gpus:
    """All GPUs of the machine, numbered through: NVIDIA's first, in NVML's order, then AMD's.

    Args:
        nvidia: its devices, or why there are none.
        root: folder under which `/proc` and `/sys` are looked for.
    """

    def __init__(self, nvidia: Nvml | str, root: str = "") -> None:
        self._root = root
        self._why = nvidia if isinstance(nvidia, str) else None
        amd = Amd(f"{root}/sys/class/drm")
        self._makes: list[Make] = [make for make in (nvidia, amd) if not isinstance(make, str)]
        self._places = [(make, index) for make in self._makes for index in range(len(make))]

    def __len__(self) -> int:
        return len(self._places)

    def read(self) -> list[GpuReading]:
        """What each GPU says now."""
        return [make.read(index) for make, index in self._places]

    @property
    def missing(self) -> dict[str, str]:
        """What was asked and not answered, and why."""
        return {what: why for make in self._makes for what, why in make.missing.items()}

    def facts(self) -> dict[str, object]:
        """The facts of `capture`, save those that depend on the run."""
        found: dict[str, object] = {}
        devices: list[dict[str, object]] = []
        missing: dict[str, str] = {}
        for make in self._makes:
            if isinstance(make, Nvml):
                found.update(make.system())
        for place, (make, index) in enumerate(self._places):
            devices.append({**make.describe(index), "index": place})
        if self._why is not None:
            driver = driver_says(f"{self._root}/proc/driver/nvidia")
            found.update({name: value for name, value in driver.items() if name != "gpus"})
            devices += driver.get("gpus", [])  # type: ignore[arg-type]
            if driver or not devices:
                missing["nvidia"] = self._why
        missing.update(self.missing)
        found["gpu_count"] = len(devices)
        if devices:
            found.update(gpu=devices[0].get("name"), gpus=devices)
        return {**found, **({"gpu_missing": missing} if missing else {})}


def gpus() -> Gpus:
    """The GPUs of this machine, opened once in a process."""
    global _opened
    if _opened is None:
        try:
            _opened = Gpus(load())
        except Unavailable as why:
            _opened = Gpus(str(why))
    return _opened


def within(limit_s: float, work: Callable[[], T]) -> T:
    """Do a piece of work that may hang: in a thread, which is left alone when the time is over.

    Raises:
        Unavailable: it took too long.

    >>> within(5.0, lambda: 7)
    7
    """
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # handed to the caller
            errors.append(error)

    thread = threading.Thread(target=run, name="mlsdk-gpu", daemon=True)
    thread.start()
    thread.join(limit_s)
    if errors:
        raise errors[0]
    if not results:
        raise Unavailable(f"the driver has not answered for {limit_s:g} s")
    return results[0]


def capture(where: Context) -> Mapping[str, object]:
    """Facts `gpu_count`, `gpu` (name of the first), `gpus`, `gpu_driver`, `cuda_driver`, `gpus_visible`, `gpu_missing`.

    `gpus` is a list of mappings: `index`, `name`, `uuid`, `pci`, `memory_bytes`, `compute_capability`, `power_limit_w`,
    `mig`, `ecc`. `gpus_visible` are the indices that the environment of the run leaves to CUDA; it is absent where
    nothing restricts them.
    """
    try:
        found = within(ANSWER_S, lambda: gpus().facts())
    except Unavailable as why:
        return {"gpu_missing": {"gpus": str(why)}}
    variables = where.facts.get("env", {}).get("variables")
    devices = found.get("gpus")
    if isinstance(variables, Mapping) and isinstance(devices, list):
        seen = visible(variables, devices)
        if seen is not None:
            found["gpus_visible"] = seen
    return found


def visible(variables: Mapping[str, object], devices: list[dict[str, object]]) -> list[int] | None:
    """Indices of the GPUs that CUDA may see, in its order; None if CUDA_VISIBLE_DEVICES is not set.

    As CUDA does, the list is read up to its first invalid entry; entries are numbers or beginnings of UUIDs (CUDA C++
    programming guide, "CUDA environment variables"). Numbers are taken in the order of the PCI bus: without
    `CUDA_DEVICE_ORDER=PCI_BUS_ID` and with GPUs of different kinds, CUDA may count otherwise.

    >>> visible({"CUDA_VISIBLE_DEVICES": "1,GPU-0a"}, [{"uuid": "GPU-0abc"}, {"uuid": "GPU-7def"}])
    [1, 0]
    """
    listed = variables.get("CUDA_VISIBLE_DEVICES")
    if not isinstance(listed, str):
        return None
    found: list[int] = []
    for entry in map(str.strip, listed.split(",")):
        if entry.isdigit() and int(entry) < len(devices):
            found.append(int(entry))
            continue
        of_uuid = [
            at
            for at, device in enumerate(devices)
            if entry.startswith("GPU-") and str(device.get("uuid")).startswith(entry)
        ]
        if len(of_uuid) != 1:
            break
        found += of_uuid
    return found


def driver_says(folder: str) -> dict[str, object]:
    """What NVIDIA's kernel module tells without NVML: `gpu_driver` and `gpus` (`name`, `uuid`, `pci`)."""
    version = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)", read_text(f"{folder}/version"))
    devices: list[dict[str, object]] = []
    for at, place in enumerate(names(f"{folder}/gpus")):
        lines = read_text(f"{folder}/gpus/{place}/information").splitlines()
        told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        named = {"name": told.get("Model"), "uuid": told.get("GPU UUID"), "pci": place}
        devices.append({"index": at, **{name: value for name, value in named.items() if value}})
    found: dict[str, object] = {"gpu_driver": version[1]} if version else {}
    return {**found, "gpus": devices} if devices else found


class Amd:
    """AMD's devices, as the kernel shows them (its gpu/amdgpu documentation).

    Args:
        folder: `/sys/class/drm`.
    """

    def __init__(self, folder: str) -> None:
        self.missing: dict[str, str] = {}
        cards = sorted(
            (name for name in names(folder) if re.fullmatch(r"card\d+", name)), key=lambda name: int(name[4:])
        )
        self._folders = [f"{folder}/{card}/device" for card in cards if word(f"{folder}/{card}/device/vendor") == _AMD]

    def __len__(self) -> int:
        return len(self._folders)

    def describe(self, index: int) -> dict[str, object]:
        """What a device is."""
        folder = self._folders[index]
        kind = word(f"{folder}/device")
        slot = re.search(r"PCI_SLOT_NAME=(\S+)", read_text(f"{folder}/uevent"))
        found = {
            "name": word(f"{folder}/product_name") or f"AMD {kind}",
            "uuid": word(f"{folder}/unique_id"),
            "pci": slot[1] if slot else None,
            "memory_bytes": number(f"{folder}/mem_info_vram_total"),
        }
        return {name: value for name, value in found.items() if value}

    def read(self, index: int) -> GpuReading:
        """What it says now. Who uses it is not told here."""
        folder = self._folders[index]
        busy = number(f"{folder}/gpu_busy_percent")
        sensors = next((f"{folder}/hwmon/{name}" for name in names(f"{folder}/hwmon")), None)
        if sensors is None:
            return GpuReading(None if busy is None else busy / 100, number(f"{folder}/mem_info_vram_used"))
        temperature = number(f"{sensors}/temp1_input")
        power = number(f"{sensors}/power1_average") or number(f"{sensors}/power1_input")
        return GpuReading(
            None if busy is None else busy / 100,
            number(f"{folder}/mem_info_vram_used"),
            None if temperature is None else temperature / 1000,
            None if power is None else power / 1e6,
        )
