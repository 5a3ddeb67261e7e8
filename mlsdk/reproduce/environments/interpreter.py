"""Interpreters of Python: what one is, and finding one of a version."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from typing import NamedTuple

_ASK = "import json, sys; print(json.dumps([sys.version.split()[0], sys.prefix, sys.base_prefix, sys.path[1:]]))"
_PATIENCE_S = 60.0


class Interpreter(NamedTuple):
    """One that can be started."""

    executable: str
    version: str
    prefix: str
    base_prefix: str
    path: list[str]
    """Where it finds modules, in an empty folder."""

    @property
    def minor(self) -> str:
        """The version without its last part: packages that fit one fit all of it."""
        return minor(self.version)


def minor(version: str) -> str:
    """`3.11` of `3.11.7`."""
    return ".".join(version.split(".")[:2])


def ask(executable: str, *options: str) -> Interpreter | None:
    """What an interpreter, started with some options, says of itself; None where there is none that works."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(
            [executable, *options, "-c", _ASK],
            capture_output=True,
            timeout=_PATIENCE_S,
            check=True,
            env=kept,
            stdin=subprocess.DEVNULL,
        )
        return Interpreter(executable, *json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return None


def find(version: str, prefixes: Iterable[str]) -> Interpreter | None:
    """An interpreter of a minor version, and if there is one, of the very version.

    Args:
        version: such as `3.11.7`.
        prefixes: where to look first; then this one's, and `PATH`.
    """
    found = None
    name = f"python{minor(version)}"
    places = [os.path.join(prefix, "bin", name) for prefix in (*prefixes, sys.base_prefix) if prefix]
    for place in dict.fromkeys([*places, shutil.which(name) or ""]):
        one = ask(place) if place and os.access(place, os.X_OK) else None
        if one is not None and one.version == version:
            return one
        if one is not None and one.minor == minor(version):
            found = found or one
    return found
