"""What a kill may cost: nothing that was acknowledged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mlsdk
from tests import programs

PROGRAM = """
import os, struct, sys
pipe = int(sys.argv[1])
with mlsdk.run(name=sys.argv[2], capture=()):
    os.write(pipe, struct.pack("<q", -1))
    for number in range(10**9):
        mlsdk.log(a=number)
        if not number % 3:
            mlsdk.log({"b": number, "c": 0.5})
        os.write(pipe, struct.pack("<q", number))
"""


@pytest.mark.parametrize("way", ["map", "write"])
def test_ten_kills(way: str) -> None:
    """Killed at random moments, a run has every point that was acknowledged on a pipe before, and reads killed."""
    chance = random.Random(way)
    path = programs.program(PROGRAM)
    settings = programs.environment(MLSDK_MAP="1" if way == "map" else "0")
    acknowledged = {}
    for kill in range(10):
        ours, theirs = os.pipe()
        process = subprocess.Popen(
            [sys.executable, str(path), str(theirs), f"run {kill}"], env=settings, pass_fds=[theirs]
        )
        os.close(theirs)
        heard = os.read(ours, 8)
        deadline = time.monotonic() + chance.uniform(0.0, 0.25)
        while time.monotonic() < deadline:
            heard = (heard + os.read(ours, 65_536))[-16:]
        process.send_signal(signal.SIGKILL)
        while more := os.read(ours, 65_536):
            heard = (heard + more)[-16:]
        process.wait()
        os.close(ours)
        acknowledged[f"run {kill}"] = int.from_bytes(heard[-8:], "little", signed=True)
    for name, last in acknowledged.items():
        run = mlsdk.get_run(name)
        assert run.status == "killed"
        if last >= 0:
            values = list(run.history("a").values)
            assert values == list(range(len(values)))
            assert len(values) >= last + 1
            assert len(run.history("b")) == len(run.history("c")) >= last // 3 + 1

    assert max(acknowledged.values()) > 100
    assert Path(".mlsdk").is_dir()
