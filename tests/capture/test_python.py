"""The interpreter."""

from __future__ import annotations

import platform
import sys

from mlsdk.capture import Context
from mlsdk.capture.python import capture


def test_python() -> None:
    """Version, implementation and platform are those of this interpreter."""
    found = capture(Context("."))

    assert found["python"] == platform.python_version().rstrip("+")
    assert found["implementation"] == platform.python_implementation().lower()
    assert (found["executable"], found["platform"]) == (sys.executable, sys.platform)
    assert (found["machine"], found["kernel"]) == (platform.machine(), platform.release())
