"""The command line of a rerun: options of the interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timezone

import pytest

from mlsdk.records import Run, RunStatus
from mlsdk.reproduce.program.command import options_of

ALL = (
    *("optimize", "dont_write_bytecode", "no_user_site", "no_site", "ignore_environment", "isolated", "safe_path"),
    *("bytes_warning", "verbose", "debug", "dev_mode", "utf8_mode"),
)
REPORT = (
    "import json, sys\n"
    f"found = {{name: int(getattr(sys.flags, name, 0)) for name in {ALL!r}}}\n"
    "print(json.dumps({**found, 'warnoptions': sys.warnoptions, 'xoptions': sys._xoptions}))"
)


@pytest.mark.parametrize(
    "options",
    ["-OO -B", "-I", "-E -s", "-bb -W error::FutureWarning -W ignore", "-X dev", "-X utf8 -X importtime", "-S"],
)
def test_options_of_the_interpreter(options: str) -> None:
    """An interpreter that is started by the options found is in the state of the one that was asked."""
    told = _flags(options.split())
    now = datetime.now(timezone.utc)
    run = Run("0" * 32, "made", "options", RunStatus.FINISHED, now, environment={"flags": told})

    assert _flags(options_of(run)) == told


def _flags(options: list[str]) -> object:
    done = subprocess.run([sys.executable, *options, "-c", REPORT], capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout)
