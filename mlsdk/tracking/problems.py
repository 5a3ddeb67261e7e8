"""What a live run could not do: noted once, counted when met again, written down and said."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mlsdk.capture.secrets.redaction import redact_text
from mlsdk.tracking.points import now_ns
from mlsdk.tracking.writer import tell

if TYPE_CHECKING:
    from mlsdk.records import Problem
    from mlsdk.store.target import Target

_SAY_AGAIN_NS = 1_000_000_000


class Problems:
    """The problems of one run by kind.

    Args:
        name: of the run, for warnings.
        write: writes their facts into the run's log; what is failing there is known already.
    """

    def __init__(self, name: str, write: Callable[[Mapping[str, Mapping[str, object]]], None]) -> None:
        self._name = name
        self._write = write
        self._found: dict[str, tuple[str, int, int]] = {}
        self._unsaid: set[str] = set()

    def note(self, kind: str, message: str, count: int | None = None, *, warn: bool = True) -> None:
        """Note that something could not be done: on the run, and once as a warning.

        Args:
            kind: under which it is known; met again, it is counted.
            message: what could not be done.
            count: how often in all; by default once more than before.
            warn: whether the user is to be told.
        """
        now, before = now_ns(), self._found.get(kind)
        self._found[kind] = (message, now, count or (before[2] + 1 if before else 1))
        self._unsaid.add(kind)
        if before is None or now - before[1] > _SAY_AGAIN_NS:
            self.say()
        if warn and before is None:
            what = f"{kind} {message}" if kind.startswith("capture ") else message
            tell(f"mlsdk: {what} (run {self._name})")

    def say(self) -> None:
        """Write down those that the log does not hold yet."""
        found = {}
        while self._unsaid:
            kind = self._unsaid.pop()
            message, at, count = self._found[kind]
            found[redact_text(kind)[0]] = {"message": redact_text(message)[0], "t": at, "count": count}
        if found:
            self._write(found)

    def records(self) -> tuple[Problem, ...]:
        """All of them, in the order in which they were met."""
        from datetime import datetime, timezone

        from mlsdk.records import Problem

        return tuple(
            Problem(kind, message, datetime.fromtimestamp(at / 1e9, timezone.utc), count)
            for kind, (message, at, count) in self._found.items()
        )


def shipping(target: Target) -> tuple[Problem, ...]:
    """What at present keeps a remote store from having this run; nothing of it is written down, as it may pass."""
    outbox = sys.modules.get("mlsdk.store.outbox")
    if outbox is None or target.root is None or not outbox.is_remote(target.uri):
        return ()
    said = outbox.trouble(target.root)
    if said is None:
        return ()
    from datetime import datetime, timezone

    from mlsdk.records import Problem

    return (Problem("shipping", said.message, datetime.fromtimestamp(said.since, timezone.utc), 1),)
