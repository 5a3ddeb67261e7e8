"""The packages and the interpreter that a run would have now: listed, nothing is imported or executed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

from mlsdk.capture.environment.installed import Scan, scan
from mlsdk.compare.difference import Difference
from mlsdk.log.values import decode
from mlsdk.records import Run
from mlsdk.reproduce.now.code import Found
from mlsdk.reproduce.world.held import Coded, Held, coded, told_apart

_ASKED = ("python", "implementation", "prefix", "executable", "path", "packages", "distributions", "installed_from")
_OURS = "mlsdk"
"""What records does not change results; `status` would otherwise call every model stale after each upgrade of it."""


class EnvironmentFound(NamedTuple):
    """What a look at the environment has found."""

    found: Found
    others: tuple[Difference, ...]
    """Packages that the run had not imported, and which are others now."""


class _Interpreter(NamedTuple):
    where: str
    python: str | None
    """Its version; None where it cannot be seen without starting it."""
    installed: Scan


class EnvironmentNow:
    """Looks at the environments of runs, each once.

    Args:
        held: reads facts.
    """

    def __init__(self, held: Held) -> None:
        self._held = held
        self._compared: dict[str, EnvironmentFound] = {}

    def look(self, run: Run) -> EnvironmentFound:
        """Which packages are not those that the run had imported.

        The environment is the run's own where that still exists, else the one that asks.
        """
        environment = coded(run.environment)
        asked = told_apart(environment, _ASKED)
        if asked not in self._compared:
            self._compared[asked] = self._compare(environment)
        return self._compared[asked]

    def _compare(self, environment: Coded) -> EnvironmentFound:
        imported, every = self._held.value(environment, "packages"), self._held.value(environment, "distributions")
        if not isinstance(imported, Mapping):
            imported = {}
        unknown = [] if "packages" in environment or every == {} else ["its packages were not recorded"]
        now = self._now(environment)
        origins = self._held.value(environment, "installed_from")
        editable = {
            name
            for name, origin in (origins.items() if isinstance(origins, Mapping) else ())
            if isinstance(origin, Mapping) and origin.get("editable")
        }
        differences = _interpreter(environment, now, unknown)
        apart: dict[str, object] = {**(every if isinstance(every, Mapping) else {})}
        for name, version in imported.items():
            if name == _OURS or name in editable:  # of what is edited where it lies, the functions count
                continue
            apart.pop(name, None)
            here = now.installed.distributions.get(name)
            if here is None:
                unknown.append(f"package {name} {version} is not installed in {now.where}")
            elif here.version != version:
                differences.append(Difference("package", name, str(version), here.version))
            else:
                differences += _commits(name, (origins or {}).get(name), here.origin)
        others = [
            Difference("package", name, str(version), here.version if here else None, direct=False)
            for name, version in apart.items()
            if (here := now.installed.distributions.get(name)) is None or here.version != version
        ]
        ranked = sorted(differences, key=lambda one: one.rank)
        return EnvironmentFound(Found(tuple(ranked), tuple(unknown)), tuple(sorted(others, key=lambda one: one.rank)))

    def _now(self, environment: Coded) -> _Interpreter:
        prefix, path = str(decode(environment.get("prefix")) or ""), self._held.value(environment, "path")
        executable = str(decode(environment.get("executable")) or "")
        if prefix != sys.prefix and os.path.isdir(prefix) and os.path.exists(executable) and isinstance(path, list):
            return _Interpreter(prefix, _version_in(prefix), scan([str(entry) for entry in path]))
        own = [os.path.abspath(entry) for entry in sys.path]
        return _Interpreter(sys.prefix, ".".join(map(str, sys.version_info[:3])), scan(own))


def _interpreter(environment: Coded, now: _Interpreter, unknown: list[str]) -> list[Difference]:
    then = decode(environment.get("python"))
    if then is None:
        unknown.append("its interpreter was not recorded")
        return []
    if now.python is None:
        unknown.append(f"which Python {now.where} has now")
        return []
    found = [] if then == now.python else [Difference("interpreter", "python", str(then), now.python)]
    kind = decode(environment.get("implementation"))
    if now.where == sys.prefix and kind is not None and kind != sys.implementation.name:
        found.append(Difference("interpreter", "implementation", str(kind), sys.implementation.name))
    return found


def _version_in(prefix: str) -> str | None:
    """The version of Python that a virtual environment says it has."""
    try:
        with open(os.path.join(prefix, "pyvenv.cfg"), encoding="utf-8", errors="replace") as file:
            told = dict([part.strip() for part in line.split("=", 1)] for line in file if "=" in line)
    except (OSError, ValueError):
        return None
    version = told.get("version") or told.get("version_info")
    return None if version is None else ".".join(version.split(".")[:3])


def _commits(name: str, then: object, now: Mapping[str, object] | None) -> list[Difference]:
    """A package of one version, installed from two commits."""
    a = then.get("commit") if isinstance(then, Mapping) else None
    b = (now or {}).get("commit")
    return [] if a == b or a is None or b is None else [Difference("package", name, f"commit {a}", f"commit {b}")]
