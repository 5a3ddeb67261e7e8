"""The processor, by the kernel's files of several makes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mlsdk.capture import Context
from mlsdk.capture.hardware.cpu import capture, describe

XEON = """processor\t: {number}
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8480+
stepping\t: 8
microcode\t: 0x2b0004d0
physical id\t: {socket}
core id\t\t: {core}
flags\t\t: fpu vme sse sse2 ssse3 fma cx16 sse4_1 sse4_2 avx f16c bmi2 smep avx2 avx512f avx512_bf16 amx_tile amx_bf16

"""

GRAVITON = """processor\t: {number}
BogoMIPS\t: 2100.00
Features\t: fp asimd evtstrm aes fphp asimdhp sve i8mm bf16 sha2
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd40
CPU revision\t: 1

"""


def _write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_two_sockets(tmp_path: Path) -> None:
    """Sockets, cores, caches, memory nodes and frequency settings are counted; only flags that matter are listed."""
    places = [(socket, core) for socket in (0, 1) for core in (0, 1, 2)]
    blocks = [XEON.format(number=n, socket=s, core=c) for n, (s, c) in enumerate(places * 2)]
    system = "sys__devices__system"
    _write(tmp_path, proc__cpuinfo="".join(blocks))
    for number, (level, kind, size) in enumerate([(1, "Data", "48K"), (2, "Unified", "2048K"), (3, "Unified", "105M")]):
        place = f"{system}__cpu__cpu0__cache__index{number}"
        _write(tmp_path, **{f"{place}__level": f"{level}\n", f"{place}__type": kind + "\n", f"{place}__size": size})
    _write(tmp_path, **{f"{system}__node__node{number}__cpulist": "0\n" for number in (0, 1)})
    _write(tmp_path, **{f"{system}__cpu__cpu0__cpufreq__scaling_governor": "performance\n"})
    _write(tmp_path, **{f"{system}__cpu__intel_pstate__no_turbo": "1\n", f"{system}__cpu__smt__active": "1\n"})
    found = describe(str(tmp_path))

    assert found == {
        "model": "Intel(R) Xeon(R) Platinum 8480+",
        "vendor": "GenuineIntel",
        "family": "6",
        "number": "143",
        "stepping": "8",
        "microcode": "0x2b0004d0",
        "flags": "amx_bf16 amx_tile avx avx2 avx512_bf16 avx512f bmi2 f16c fma sse4_1 sse4_2 ssse3".split(),
        "sockets": 2,
        "physical_cores": 6,
        "logical_cores": 12,
        "caches": {"L1d": 49_152, "L2": 2_097_152, "L3": 110_100_480},
        "numa_nodes": 2,
        "governor": "performance",
        "boost": False,
        "smt": True,
    }


def test_arm(tmp_path: Path) -> None:
    """Arm names its processors by numbers and its flags otherwise; what it does not tell is left out."""
    _write(tmp_path, proc__cpuinfo="".join(GRAVITON.format(number=number) for number in range(4)))
    found = describe(str(tmp_path))

    assert (found["vendor"], found["number"], found["family"]) == ("0x41", "0xd40", "8")
    assert found["flags"] == "asimd asimdhp bf16 fp fphp i8mm sve".split()
    assert found["logical_cores"] == 4
    assert not {"model", "sockets", "physical_cores", "caches", "governor", "boost", "smt"} & set(found)


def test_here() -> None:
    """On this machine it counts the cores that Python counts."""
    found = capture(Context("."))["cpu"]

    assert found["logical_cores"] == os.cpu_count()  # type: ignore[index]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's files")
def test_here_on_linux() -> None:
    """On Linux the flags are among those that the kernel lists."""
    listed = set(Path("/proc/cpuinfo").read_text("utf-8").split())

    assert set(describe().get("flags", ())) <= listed  # type: ignore[call-overload]
