"""The processor: model, the instructions that matter for numbers, sockets, caches, memory nodes, frequency governor."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping

from mlsdk.capture import Context
from mlsdk.capture.hardware.sysfs import names, read_text, word

_NUMERIC = re.compile(
    r"sse4_[12]|ssse3|f16c|fma4?|avx\w*|amx\w*|bmi2"  # x86
    r"|neon|asimd\w*|sve\w*|sme(?!p)\w*|bf16|i8mm|fphp|vfpv\d|fp"  # Arm
    r"|altivec\w*|vsx"  # Power
)
"""Libraries choose their kernels by these, and with the kernel the last bits of a sum."""


def capture(_: Context) -> Mapping[str, object]:
    """Fact `cpu`, a mapping; what is not known is left out.

    `model`, `vendor`, `family`, `stepping`, `microcode`, `flags` (those that numeric libraries choose kernels by),
    `sockets`, `physical_cores`, `logical_cores`, `caches` (by `L1d`, `L1i`, `L2`, `L3`: bytes of one), `numa_nodes`,
    `governor`, `boost`, `smt`.
    """
    found = describe()
    return {"cpu": found} if found else {"cpu_missing": {"cpu": "this platform says nothing about its processor"}}


def describe(root: str = "") -> dict[str, object]:
    """What is known of the processor; `root` is the folder under which `/proc` and `/sys` are looked for.

    >>> describe()["logical_cores"] > 0
    True
    """
    system = f"{root}/sys/devices/system"
    found = _cpuinfo(read_text(f"{root}/proc/cpuinfo"))
    if not found and platform.processor():
        found["model"] = platform.processor()
    cores = os.cpu_count() if not root else None
    found.setdefault("logical_cores", cores)
    found["caches"] = _caches(f"{system}/cpu/cpu0/cache")
    found["numa_nodes"] = sum(name[4:].isdigit() for name in names(f"{system}/node") if name.startswith("node"))
    found["governor"] = word(f"{system}/cpu/cpu0/cpufreq/scaling_governor")
    boost = word(f"{system}/cpu/cpufreq/boost")
    no_turbo = word(f"{system}/cpu/intel_pstate/no_turbo")
    found["boost"] = boost == "1" if boost else no_turbo == "0" if no_turbo else None
    smt = word(f"{system}/cpu/smt/active")
    found["smt"] = smt == "1" if smt else None
    return {name: value for name, value in found.items() if value not in ("", None, 0, {}, ()) or value is False}


def _cpuinfo(text: str) -> dict[str, object]:
    """The facts of `/proc/cpuinfo`, whose names differ between x86, Arm and Power."""
    blocks = [
        {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in block.splitlines())}
        for block in text.split("\n\n")
        if block.strip()
    ]
    processors = [block for block in blocks if "processor" in block]
    if not processors:
        return {}
    first = {**blocks[-1], **processors[0]}
    flags = (first.get("flags") or first.get("Features") or "").split()
    places = {(block["physical id"], block.get("core id")) for block in processors if "physical id" in block}
    return {
        "model": first.get("model name") or first.get("Model") or first.get("cpu") or first.get("Hardware"),
        "vendor": first.get("vendor_id") or first.get("CPU implementer"),
        "family": first.get("cpu family") or first.get("CPU architecture"),
        "number": first.get("model") or first.get("CPU part"),
        "stepping": first.get("stepping") or first.get("CPU revision"),
        "microcode": first.get("microcode"),
        "flags": sorted(flag for flag in set(flags) if _NUMERIC.fullmatch(flag)),
        "sockets": len({socket for socket, _ in places}),
        "physical_cores": len(places),
        "logical_cores": len(processors),
    }


def _caches(folder: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names(folder):
        level, kind = word(f"{folder}/{name}/level"), word(f"{folder}/{name}/type")
        size = re.fullmatch(r"(\d+)([KMG]?)", word(f"{folder}/{name}/size"))
        if level and size:
            letter = {"Data": "d", "Instruction": "i"}.get(kind, "")
            found[f"L{level}{letter}"] = int(size[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[size[2]]
    return found
