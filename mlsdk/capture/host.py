"""The machine: its name, and how many cores this process may use."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mlsdk.capture import Context
from mlsdk.log.identity import writer_identity


def capture(_: Context) -> Mapping[str, object]:
    """Facts `host`, `cores` (of the machine), `usable_cores` (of this process), `memory_bytes`."""
    found: dict[str, object] = {"host": writer_identity()["host"], "cores": os.cpu_count()}
    if hasattr(os, "sched_getaffinity"):
        found["usable_cores"] = len(os.sched_getaffinity(0))
    try:
        found["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        found["memory_bytes"] = None
    return found
