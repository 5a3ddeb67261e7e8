"""Runs as a catalog hands them out: stored documents, which a server passes on as they are, and the records of them."""

from __future__ import annotations

import contextlib
import gc
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

from mlsdk.query.tree import Order, Tree
from mlsdk.records import Page, Run, Series
from mlsdk.store.record import record

_AT_ONCE = 500


class Listed(NamedTuple):
    """A run as a catalog keeps it."""

    document: str
    """`document.Document.main` as JSON with Python's NaN and infinities."""
    status: str
    ended_ns: int | None


class Listing(NamedTuple):
    """A part of an answer; see `records.Page`."""

    runs: list[Listed]
    after: str | None = None


class Listings(ABC):
    """The half of a `Catalog` that makes records, for those that can say what stands in their documents."""

    @abstractmethod
    def documents(
        self, query: Tree | None = None, order: Order = (), after: str | None = None, limit: int | None = None
    ) -> Listing:
        """What `find` finds, as it is kept."""

    @abstractmethod
    def document(self, run: str) -> Listed:
        """What `get` gets, as it is kept."""

    @abstractmethod
    def details(self, run: str) -> Mapping[str, Any]:
        """See `Catalog.details`."""

    @abstractmethod
    def open_blob(self, digest: str) -> BinaryIO:
        """See `Catalog.open_blob`."""

    @abstractmethod
    def children(self, run: str) -> tuple[str, ...]:
        """See `Catalog.children`."""

    @abstractmethod
    def series(self, run: str, metric: str, rank: int | str | None = None) -> Series:
        """See `Catalog.series`."""

    def get(self, run: str) -> Run:
        """See `Catalog.get`."""
        return self._records([self.document(run)])[0]

    def find(
        self, query: Tree | None = None, order: Order = (), after: str | None = None, limit: int | None = None
    ) -> Page:
        """See `Catalog.find`."""
        listing = self.documents(query, order, after, limit)
        runs: list[Run] = []
        with _without_collector():
            for start in range(0, len(listing.runs), _AT_ONCE):
                runs += self._records(listing.runs[start : start + _AT_ONCE])
        return Page(tuple(runs), listing.after)

    def _records(self, listed: list[Listed]) -> list[Run]:
        documents = self.parse(f"[{','.join(found.document for found in listed)}]")  # at once: a third faster
        pairs = zip(documents, listed, strict=True)
        return [record(document, found.status, found.ended_ns, self) for document, found in pairs]

    def parse(self, text: str) -> Any:
        """Documents from their JSON."""
        return json.loads(text)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Make many records, none of which is garbage: looking for cycles among them takes as long as making them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
