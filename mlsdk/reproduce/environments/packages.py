"""The packages of an environment as a lock lists them, and how two lists differ."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from mlsdk.capture.environment.installed import Distribution, normalised
from mlsdk.capture.environment.lock import requirements

OURSELVES = "mlsdk"
"""Is in no list that is compared or installed: who reruns is the one that records."""

_EDITABLE = re.compile(r"-e (?P<url>\S+)  # (?P<name>\S+)==(?P<version>\S*)")
_DIRECT = re.compile(r"(?P<name>\S+) @ (?P<url>\S+)(?:  # content (?P<content>[0-9a-f]+))?")
_PINNED = re.compile(r"(?P<name>[^\s=]+)==(?P<version>\S+)(?:  # content (?P<content>[0-9a-f]+))?")


class Wanted(NamedTuple):
    """One distribution."""

    name: str
    version: str
    line: str
    """For an installer."""
    content: str | None = None
    """Digest of its files; None where that is not known."""
    url: str | None = None
    """Where it comes from, if from no index."""

    @property
    def editable(self) -> bool:
        """Whether its modules lie where they are written."""
        return self.line.startswith("-e ")

    def is_same(self, other: Wanted | None) -> bool:
        """Whether another is this one, as far as it is known."""
        if other is None or self.version != other.version or self.editable != other.editable:
            return False
        if self.editable:
            return self.url == other.url
        return None in (self.content, other.content) or self.content == other.content


def listed(text: str, versions: Mapping[str, str]) -> dict[str, Wanted]:
    """The distributions of a list of requirements, by name.

    Args:
        text: as `mlsdk.capture.environment.lock.requirements` writes it.
        versions: by name, of those that the list names by where they come from.

    >>> listed("six==1.17.0  # content 0f3a", {})["six"].version
    '1.17.0'
    """
    found = {}
    for line in text.splitlines():
        match = _EDITABLE.fullmatch(line) or _DIRECT.fullmatch(line) or _PINNED.fullmatch(line)
        if match is not None:
            parts = match.groupdict()
            name = normalised(str(parts["name"]))
            version = parts.get("version") or versions.get(name, "")
            plain = line.partition("  # ")[0]
            found[name] = Wanted(name, version, plain, parts.get("content"), parts.get("url"))
    found.pop(OURSELVES, None)
    return found


def installed(distributions: Mapping[str, Distribution], python: str) -> dict[str, Wanted]:
    """What is installed somewhere, as such a list says it."""
    key = (python, *((one.name, one.info, _time_ns(one.info)) for one in distributions.values()))
    if key not in _listed:
        versions = {name: one.version for name, one in distributions.items()}
        _listed[key] = listed(requirements(distributions.values(), python), versions)
    return dict(_listed[key])


_listed: dict[tuple[object, ...], dict[str, Wanted]] = {}
"""Reading what 150 distributions hold takes half a second."""


def _time_ns(info: str) -> int:
    """When a distribution was installed."""
    try:
        return os.stat(os.path.join(info, "RECORD")).st_mtime_ns
    except OSError:
        return 0


def differences(wanted: Mapping[str, Wanted], found: Mapping[str, Wanted]) -> list[str]:
    """In what an environment is not as a list says: a line for each distribution."""
    lines = []
    for name in sorted({*wanted, *found}):
        a, b = wanted.get(name), found.get(name)
        if a is None or b is None:
            lines.append(
                f"{name} {b.version} is there, and was not" if b else f"{name} {a.version if a else ''} is missing"
            )
        elif not a.is_same(b):
            other = a.version if a.version != b.version else f"{a.version} with other files"
            lines.append(f"{name} {b.version} in place of {other}")
    return lines
