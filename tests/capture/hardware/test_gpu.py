"""The GPUs, by recorded answers of NVML, by the kernel's files, and by this machine's own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import threading
from pathlib import Path
from types import ModuleType

import pytest

from mlsdk.capture import Context
from mlsdk.capture.hardware import gpu, nvml
from mlsdk.capture.hardware.gpu import Amd, Gpus, driver_says, visible, within
from mlsdk.capture.hardware.nvml import GpuReading, Nvml, Unavailable
from tests.capture.hardware.nvml_answers import (
    DRIVER_NOT_LOADED,
    GIB,
    NO_PERMISSION,
    Answers,
    Driver,
    NVMLError,
    h200,
    old_card,
    process,
    use,
)
from tests.conftest import require

MIB = 1 << 20


def test_facts_of_two_cards(tmp_path: Path) -> None:
    """Each card is known by name, UUID, place, memory, capability, limit and modes, with the driver's versions."""
    found = Gpus(Nvml(Answers(h200(0), h200(1))), str(tmp_path)).facts()

    assert found["gpu_count"] == 2
    assert (found["gpu"], found["gpu_driver"], found["cuda_driver"]) == ("NVIDIA H200", "570.133.20", "12.8")
    assert found["gpus"][1] == {  # type: ignore[index]
        "index": 1,
        "name": "NVIDIA H200",
        "uuid": "GPU-1a5e7c1b-9f33-4c0e-8d3b-2f1f4f8f6a01",
        "pci": "00000000:1A:00.0",
        "memory_bytes": 150_754_820_096,
        "compute_capability": "9.0",
        "power_limit_w": 700.0,
        "mig": False,
        "ecc": True,
    }
    assert "gpu_missing" not in found


def test_reading() -> None:
    """Utilisation is a share, memory bytes, power watts, energy joules; processes come with what they hold."""
    card = h200(0)
    card["UtilizationRates"].gpu = 97
    card["ComputeRunningProcesses"] = [process(41, 3 * GIB), process(42, None)]
    card["GraphicsRunningProcesses"] = [process(43, GIB)]
    card["ProcessUtilization"] = [use(41, 60), use(41, 90), use(42, 50)]
    reading = Nvml(Answers(card)).read(0)

    assert (reading.utilisation, reading.memory_bytes, reading.temperature_c) == (0.97, 618_659_840, 31)
    assert (reading.power_w, reading.energy_j) == (76.431, 8_215_403.917)
    assert reading.processes == {41: 3 * GIB, 42: None, 43: GIB}
    assert reading.shares == {41: 0.75, 42: 0.25}
    assert reading.device == "/dev/nvidia0"


def test_a_card_that_supports_little(tmp_path: Path) -> None:
    """What one card does not support is said of that card, question by question, and not asked again."""
    answers = Answers(h200(0), old_card(1))
    reader = Nvml(answers)
    found = Gpus(reader, str(tmp_path)).facts()
    readings = [reader.read(1), reader.read(1)]

    assert found["gpus"][1] == {"index": 1, "name": "Tesla K80", "uuid": "GPU-10ld", "pci": "0000:04:00.0",
                                "memory_bytes": 12 * GIB}  # type: ignore[index]  # fmt: skip
    assert found["gpu_missing"]["gpu1 power limit"] == "Not Supported"  # type: ignore[index]
    assert readings[0] == GpuReading(memory_bytes=0, temperature_c=44, device="/dev/nvidia1")
    assert answers.asked.count("1 PowerUsage") == 1
    assert answers.asked.count("1 Temperature") == 2
    assert reader.read(0).power_w is not None


def test_a_card_lost_in_the_middle() -> None:
    """A lost card is said to be lost, once, and not asked again; the other one goes on."""
    answers = Answers(h200(0), h200(1))
    reader = Nvml(answers)
    before = reader.read(1)
    answers.lose(1)
    after = reader.read(1)
    asked = len(answers.asked)

    assert before.power_w is not None
    assert after == GpuReading(device="/dev/nvidia1")
    assert reader.missing == {"gpu1": "GPU is lost"}
    assert reader.read(1) == after
    assert len(answers.asked) == asked
    assert reader.read(0).power_w is not None


def test_a_question_refused() -> None:
    """A question that is refused is asked again: the permission may be given."""
    card = h200(0)
    card["ComputeRunningProcesses"] = NVMLError(NO_PERMISSION)
    reader = Nvml(Answers(card))
    first = reader.read(0)
    card["ComputeRunningProcesses"] = []

    assert first.processes is None
    assert reader.missing["gpu0 processes"] == "Insufficient Permissions"
    assert reader.read(0).processes == {}


def test_an_older_library() -> None:
    """A question that the library does not know is a question without an answer."""
    card = h200(0)
    del card["TotalEnergyConsumption"]
    reader = Nvml(Answers(card))

    assert reader.read(0).energy_j is None
    assert "nvmlDeviceGetTotalEnergyConsumption" in reader.missing["gpu0 energy"]


def test_nvml_that_fails_at_once(tmp_path: Path) -> None:
    """Where NVML cannot be initialised, what the kernel module tells is still there, and why that is all."""
    with pytest.raises(Unavailable, match="Driver Not Loaded") as why:
        Nvml(Answers(init=NVMLError(DRIVER_NOT_LOADED)))
    place = tmp_path / "proc/driver/nvidia/gpus/0000:19:00.0"
    place.mkdir(parents=True)
    (place / "information").write_text("Model: \t\t NVIDIA H200\nGPU UUID: \t GPU-7\nBus Location: \t 0000:19:00.0\n")
    version = (
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build\nGCC version: 12.2.0\n"
    )
    (tmp_path / "proc/driver/nvidia/version").write_text(version)
    found = Gpus(str(why.value), str(tmp_path)).facts()

    assert found == {
        "gpu_driver": "570.133.20",
        "gpu_count": 1,
        "gpu": "NVIDIA H200",
        "gpus": [{"index": 0, "name": "NVIDIA H200", "uuid": "GPU-7", "pci": "0000:19:00.0"}],
        "gpu_missing": {"nvidia": "NVML cannot be initialised: Driver Not Loaded"},
    }
    assert driver_says(str(tmp_path / "nowhere")) == {}


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where there is a driver and no library, the reason says what to install."""
    (tmp_path / "version").write_text("")
    monkeypatch.setattr(nvml, "_SIGNS", (str(tmp_path / "version"),))
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)

    with pytest.raises(Unavailable, match=r"pip install 'mlsdk\[gpu\]'"):
        nvml.load()


def test_the_library_itself() -> None:
    """The real library opens this machine's driver, or says why not."""
    require(importlib.util.find_spec("pynvml"), "nvidia-ml-py")
    import pynvml

    if any(map(os.path.exists, nvml._SIGNS)):
        assert len(Nvml(pynvml)) >= 0
    else:
        with pytest.raises(Unavailable, match="NVML cannot be initialised"):
            Nvml(pynvml)


@pytest.fixture
def pynvml(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The real library, whose driver is to be put in place."""
    require(importlib.util.find_spec("pynvml"), "nvidia-ml-py")
    import pynvml

    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return pynvml


def test_the_library_over_a_driver(pynvml: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Through the real library, from a driver that answers by C's rules, come the same facts and readings."""
    card = h200(0)
    card["ComputeRunningProcesses"] = [process(41, 3 * GIB), process(42, None)]
    card["ProcessUtilization"] = [use(41, 60), use(42, 20)]
    monkeypatch.setattr(pynvml, "nvmlLib", Driver(card, old_card(1)))
    direct, through = Nvml(Answers(card, old_card(1))), Nvml(pynvml)

    assert Gpus(through, str(tmp_path)).facts() == Gpus(direct, str(tmp_path)).facts()
    assert [through.read(index) for index in (0, 1)] == [direct.read(index) for index in (0, 1)]
    assert through.missing == direct.missing
    assert through.read(0).processes == {41: 3 * GIB, 42: None}


def test_the_library_whose_card_is_lost(pynvml: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that is lost below the real library is lost to us, and only that card."""
    driver = Driver(h200(0), h200(1))
    monkeypatch.setattr(pynvml, "nvmlLib", driver)
    reader = Nvml(pynvml)
    reader.read(1)
    driver.answers.lose(1)

    assert reader.read(1) == GpuReading(device="/dev/nvidia1")
    assert reader.missing == {"gpu1": "GPU is lost"}
    assert reader.read(0).energy_j is not None


@pytest.mark.skipif(not shutil.which("nvidia-smi"), reason="there is no nvidia-smi to compare with")
def test_against_nvidia_smi() -> None:
    """On a machine with a card, each reading is what `nvidia-smi` shows at the same time."""
    require(importlib.util.find_spec("pynvml"), "nvidia-ml-py")
    fields = "name,uuid,memory.total,memory.used,temperature.gpu,power.draw,utilization.gpu"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits", "-i", "0"]
    reader = nvml.load()
    reader.read(0)
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip().split(", ")
    facts, reading = reader.describe(0), reader.read(0)

    assert [facts["name"], facts["uuid"]] == shown[:2]
    assert int(str(facts["memory_bytes"])) / MIB == pytest.approx(float(shown[2]), abs=1)
    assert reading.memory_bytes is not None
    assert reading.memory_bytes / MIB == pytest.approx(float(shown[3]), abs=64)
    assert reading.temperature_c == pytest.approx(float(shown[4]), abs=3)
    assert reading.power_w == pytest.approx(float(shown[5]), rel=0.25)
    assert reading.utilisation == pytest.approx(float(shown[6]) / 100, abs=0.25)


def test_amd(tmp_path: Path) -> None:
    """AMD's cards are read from the kernel's files, beside displays of others."""
    drm = tmp_path / "sys/class/drm"
    files = {
        "card0/device/vendor": "0x1a03\n",
        "card1/device/vendor": "0x1002\n",
        "card1/device/device": "0x74a1\n",
        "card1/device/product_name": "AMD Instinct MI300X OAM\n",
        "card1/device/unique_id": "5f8a3b\n",
        "card1/device/uevent": "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:05:00.0\n",
        "card1/device/mem_info_vram_total": "206141652992\n",
        "card1/device/mem_info_vram_used": "297279488\n",
        "card1/device/gpu_busy_percent": "64\n",
        "card1/device/hwmon/hwmon4/temp1_input": "46000\n",
        "card1/device/hwmon/hwmon4/power1_average": "137000000\n",
        "card10/device/vendor": "0x1002\n",
        "card10/device/device": "0x74a1\n",
        "card1-DP-1/status": "connected\n",
    }
    for name, text in files.items():
        (drm / name).parent.mkdir(parents=True, exist_ok=True)
        (drm / name).write_text(text)
    cards = Amd(str(drm))
    found = Gpus("no NVIDIA driver is loaded", str(tmp_path)).facts()

    assert found["gpus"][0] == {  # type: ignore[index]
        "index": 0,
        "name": "AMD Instinct MI300X OAM",
        "uuid": "5f8a3b",
        "pci": "0000:05:00.0",
        "memory_bytes": 206_141_652_992,
    }
    assert found["gpus"][1]["name"] == "AMD 0x74a1"  # type: ignore[index]
    assert "gpu_missing" not in found
    assert cards.read(0) == GpuReading(0.64, 297_279_488, 46.0, 137.0)
    assert cards.read(1) == GpuReading()


@pytest.mark.parametrize(
    ("listed", "seen"),
    [
        (None, None),
        ("", []),
        ("-1", []),
        ("1,0", [1, 0]),
        ("0, 1", [0, 1]),
        ("0,7,1", [0]),
        ("GPU-1a5e", [1]),
        ("GPU-", []),
        ("MIG-123", []),
    ],
)
def test_visible(listed: str | None, seen: list[int] | None) -> None:
    """The list is read as CUDA reads it: numbers or beginnings of UUIDs, up to the first that means nothing."""
    devices = Gpus(Nvml(Answers(h200(0), h200(1)))).facts()["gpus"]
    variables = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}

    assert visible(variables, devices) == seen  # type: ignore[arg-type]


def test_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The capture goes by the environment of the run, not by that of the process it runs in."""
    monkeypatch.setattr(gpu, "_opened", Gpus(Nvml(Answers(h200(0), h200(1)))))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    found = gpu.capture(Context(".", facts={"env": {"variables": {"CUDA_VISIBLE_DEVICES": "1"}}}))

    assert found["gpus_visible"] == [1]
    assert "gpus_visible" not in gpu.capture(Context("."))


def test_a_driver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that does not answer is left alone after a while, and the run says so."""
    over = threading.Event()

    class Hanging:
        def facts(self) -> dict[str, object]:
            over.wait(60)
            return {}

    monkeypatch.setattr(gpu, "_opened", Hanging())
    monkeypatch.setattr(gpu, "ANSWER_S", 0.05)
    found = gpu.capture(Context("."))
    over.set()

    assert found == {"gpu_missing": {"gpus": "the driver has not answered for 0.05 s"}}
    with pytest.raises(ZeroDivisionError):
        within(10.0, lambda: 1 // 0)


def test_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine the capture says how many there are, or why it cannot know."""
    monkeypatch.setattr(gpu, "_opened", None)
    found = gpu.capture(Context("."))

    assert found["gpu_count"] or found["gpu_missing"]
