"""A chained shared log that several servers read and append to, each knowing how far it has read."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from mlsdk.errors import ConflictError, NotFoundError, StoreError
from mlsdk.server.chain import NONE, digest, line, walk
from mlsdk.store.base import Store


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
