"""Chained logs: entries that each name the digest of the one before, so that a change in the middle shows.

An entry is one line of strict JSON with the member `prev`: the SHA-256 of the line before, its line feed included, or
`""` for the first. Who can write to the store can still make a whole chain anew; what other chains say of its end, and
copies elsewhere, show that.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mlsdk.errors import ConflictError, DigestError, NotFoundError, StoreError
from mlsdk.store.base import Store

NONE = ""
"""What the first entry of a chain names."""


class Link(NamedTuple):
    """An entry of a chain, checked."""

    entry: dict[str, Any]
    digest: str
    """Of its line: what the next one has to name."""
    end: int
    """The offset behind it."""


class BrokenError(DigestError):
    """A chain is broken.

    Attributes:
        log: its name.
        number: of the entry, from 0.
        offset: at which the entry begins.
    """

    def __init__(self, message: str, log: str, number: int, offset: int) -> None:
        self.log = log
        self.number = number
        self.offset = offset
        super().__init__(f"{log} is broken at entry {number} (byte {offset:,}): {message}")


def line(entry: Mapping[str, Any], prev: str) -> bytes:
    r"""The bytes of an entry behind the one with the digest `prev`.

    >>> line({"act": "begin"}, "")
    b'{"act":"begin","prev":""}\n'
    """
    text = json.dumps({**entry, "prev": prev}, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.encode("ascii") + b"\n"


def digest(entry: bytes) -> str:
    """What the next entry names."""
    return hashlib.sha256(entry).hexdigest()


def walk(data: bytes, log: str, prev: str = NONE, offset: int = 0, number: int = 0) -> Iterator[Link]:
    """The entries in raw bytes of a chain, each checked against the one before.

    Args:
        data: bytes from `offset` on.
        log: name of the log, for the message.
        prev: digest of the entry before.
        offset: where `data` begins.
        number: of the first entry in `data`.

    Raises:
        BrokenError: an entry does not continue the one before, or is none.
    """
    for raw in data.splitlines(keepends=True):
        if not raw.endswith(b"\n"):
            raise BrokenError("it has no end", log, number, offset)
        try:
            entry = json.loads(raw)
        except (ValueError, RecursionError):
            raise BrokenError("it is no JSON", log, number, offset) from None
        if not isinstance(entry, dict) or entry.get("prev") != prev:
            raise BrokenError("it does not name the digest of the entry before", log, number, offset)
        prev, offset = digest(raw), offset + len(raw)
        yield Link(entry, prev, offset)
        number += 1


class Ledger:
    """One chained log. Calls must not overlap: the caller holds a lock.

    Attributes:
        name: of the log.
        read_to: the offset up to which it was read.

    Args:
        store: where it is kept.
        name: see above.

    Raises:
        StoreError: the store offers no shared logs.
    """

    def __init__(self, store: Store, name: str) -> None:
        if "shared" not in store.logs.capabilities:
            raise StoreError(f"{store.uri} has no shared logs: it cannot keep {name}; use another store")
        self.name = name
        self.read_to = 0
        self._logs = store.logs
        self._prev = NONE
        self._number = 0

    def news(self) -> list[dict[str, Any]]:
        """Entries since the last call, of others; each is checked.

        Raises:
            BrokenError: the chain is broken.
            StoreError: the log was cut.
            UnavailableError: the store cannot be reached.
        """
        end = self._logs.size(self.name)
        if end == self.read_to:
            return []
        if end < self.read_to:
            raise StoreError(f"{self.name} was cut to {end:,} of {self.read_to:,} bytes: bring it back from a backup")
        try:
            data = self._logs.read(self.name, self.read_to)
        except NotFoundError:
            raise StoreError(f"{self.name} went away while it was read; bring it back from a backup") from None
        links = list(walk(data, self.name, self._prev, self.read_to, self._number))
        if links:
            self._prev, self.read_to = links[-1].digest, links[-1].end
            self._number += len(links)
        return [link.entry for link in links]

    def add(self, entry: Mapping[str, Any]) -> dict[str, Any] | None:
        """Append an entry at the end as it is known here; None if another came before: read `news` and think again.

        Returns:
            The entry, with its random id and time.
        """
        full = {"id": os.urandom(8).hex(), "t": round(time.time(), 3), **entry}
        made = line(full, self._prev)
        try:
            self.read_to = self._logs.append(self.name, self.read_to, made)
        except ConflictError:
            return None
        self._prev = digest(made)
        self._number += 1
        return full
