"""The interpreter and the platform that it runs on."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from mlsdk.capture import Context


def capture(_: Context) -> Mapping[str, object]:
    """Facts `python`, `implementation`, `executable`, `platform`, `machine`, `kernel`."""
    system = os.uname() if hasattr(os, "uname") else None
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "implementation": sys.implementation.name,
        "executable": sys.executable,
        "platform": sys.platform,
        "machine": system.machine if system else os.environ.get("PROCESSOR_ARCHITECTURE", ""),
        "kernel": system.release if system else "",
    }
