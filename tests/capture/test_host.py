"""The machine."""

from __future__ import annotations

import os
import socket

from mlsdk.capture import Context
from mlsdk.capture.host import capture


def test_host() -> None:
    """Name, cores and memory are those of this machine."""
    found = capture(Context("."))

    assert found["host"] == socket.gethostname()
    assert found["cores"] == os.cpu_count()
    assert 1 <= int(str(found["usable_cores"])) <= int(str(found["cores"]))
    assert int(str(found["memory_bytes"])) > 2**27
