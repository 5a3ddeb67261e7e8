"""The beginning of a log, as the companion reads it: its writer, what was asked for, what was known before the body."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping

from mlsdk.log.decode import Facts, Opened, decode
from mlsdk.log.identity import is_alive
from mlsdk.log.values import LongValue, dumps, loads
from mlsdk.log.values import decode as decode_value
from mlsdk.store.layout import Layout

_HEAD_BYTES = 262_144


class Header:
    """What the companion needs to know of a log: who writes it, and what was asked for."""

    def __init__(self, layout: Layout, run: str, writer: str) -> None:
        self.run, self.writer = run, writer
        self.log = f"runs/{run}/{writer}"
        self.path = layout.log_path(self.log)
        self.role = "?"
        self.identity: dict[str, object] = {}
        self.owed: str | None = None
        self.order = 0
        self.facts: dict[str, dict[str, object]] = {}
        """What was recorded before the body, by kind and key, as tagged JSON."""
        size = _HEAD_BYTES
        while self._read(size) and self.owed and not self.captures:  # behind a great many params
            size *= 4

    @property
    def captures(self) -> dict[str, object]:
        """Captures and how they are to be taken, with the folder of the run; the last thing said before the body."""
        return self.facts.get("captures", {})

    @functools.cached_property
    def environment_told(self) -> str:
        """Stands for what the process said of its environment before the body."""
        return hashlib.sha256(dumps([self.facts.get("env", {}), self.identity, self.settings])).hexdigest()

    @functools.cached_property
    def code_told(self) -> str:
        """Stands for that, and for what it said of its code, but for the state of its generators."""
        said = {name: value for name, value in self.facts.get("code", {}).items() if name != "chance"}
        return hashlib.sha256(self.environment_told.encode() + dumps(said)).hexdigest()

    @property
    def settings(self) -> dict[str, object]:
        """Settings of the run that are not the defaults."""
        found = self.captures.get("settings")
        return found if isinstance(found, dict) else {}

    def _read(self, size: int) -> bool:
        """Read the beginning of the log; whether there is more."""
        with open(self.path, "rb") as file:
            head = file.read(size)
        for entry, _ in decode(head, live=True):
            if isinstance(entry, Opened):
                self._read_open(entry.header)
            elif isinstance(entry, Facts) and not self.captures:
                for kind, values in entry.kinds.items():
                    self.facts.setdefault(kind, {}).update(values)
                self.order = max(self.order, entry.order)
        return len(head) == size

    def _read_open(self, header: dict[str, object]) -> None:
        identity, owed, order = header.get("writer"), header.get("owed"), header.get("order")
        self.role = str(header.get("role"))
        self.identity = dict(identity) if isinstance(identity, dict) else {}
        self.owed = str(owed) if owed else None
        self.order = order if isinstance(order, int) else 0

    @property
    def start(self) -> float | None:
        """When the writer's process began, in clock ticks since boot, if known."""
        start = self.identity.get("start")
        return start if isinstance(start, int) else None

    @property
    def place(self) -> object:
        """The writer's place."""
        return self.identity.get("place")


class Decoded(Mapping[str, object]):
    """Facts as the values that they stand for, what was put away for its length fetched when it is asked for."""

    def __init__(self, values: Mapping[str, object], read_blob: Callable[[str], bytes]) -> None:
        self._values = values
        self._read_blob = read_blob

    def __getitem__(self, key: str) -> object:
        value = decode_value(self._values[key])
        return decode_value(loads(self._read_blob(value.digest))) if isinstance(value, LongValue) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def is_gone(header: Header) -> bool:
    """Whether the writer of a log is known to have died."""
    return is_alive(header.identity) is False
