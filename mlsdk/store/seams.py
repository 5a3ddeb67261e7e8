"""The three seams, with the promises that their types cannot state. `mlsdk.testing` holds every implementation to them.

All methods may be called from any thread. Errors are those of `mlsdk.errors`; no error of a lower library gets through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple, Protocol

from mlsdk.errors import ConflictError
from mlsdk.query.tree import Order, Tree
from mlsdk.records import Page, Run, Series
from mlsdk.store.listing import Listed, Listing


class Piece(NamedTuple):
    """What is to be appended to a log."""

    log: str
    offset: int
    data: bytes


class Logs(Protocol):
    """Append-only byte sequences by name.

    Names are `runs/<run id>/<writer id>` for logs of one writer and `shared/<noun>/<name>` for those that several
    append to; any other is a `StoreError`. What `append` returned for is seen by every later `read`.
    """

    @property
    def capabilities(self) -> frozenset[str]:
        """What this implementation can do beyond the least.

        `shared`: shared logs. `processes`: other processes on this host see the same logs. `seal`: it can keep logs as
        column blocks (`seal`, `is_sealed`, `open_sealed`; where it can go back, `unseal`). `batch`: pieces of many logs
        go in one call (`append_all`).
        """

    def append(self, log: str, offset: int, data: bytes) -> int:
        """Make `data` stand at `offset`; returns the end of the log.

        Bytes that are there already are accepted whatever the borders of the pieces: sending again is no error.
        Appending nothing makes no log. For a shared log, appending at the expected end is compare-and-set: of two who
        append at the same offset one gets the conflict, and an entry is there whole or not at all.

        Raises:
            ConflictError: there is a hole before `offset`, or other bytes are there; it says the true end.
            StoreError: shared logs are not offered here.
        """

    def read(self, log: str, offset: int = 0, limit: int | None = None) -> bytes:
        """Up to `limit` raw bytes from `offset`; empty at the end. Raw also where the log is kept sealed.

        Raises:
            NotFoundError: no such log.
        """

    def size(self, log: str) -> int:
        """Raw size in bytes; 0 for a log that is not there."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """Names of logs that begin with `prefix`, in the order of text."""

    def delete(self, log: str) -> None:
        """Remove a log; one that is not there is no error."""


class Blobs(Protocol):
    """Bytes by their SHA-256 (64 lowercase hexadecimal digits, else a `StoreError`).

    A blob is there whole or not at all, and never changes.
    """

    def put(self, source: bytes | str | BinaryIO) -> tuple[str, int]:
        """Keep bytes, the file at a path, or what an open binary file gives; returns (digest, size in bytes).

        Putting again what is there renews its age, so that garbage collection leaves it. A source that fails leaves
        nothing.
        """

    def open(self, digest: str, start: int = 0, length: int | None = None) -> BinaryIO:
        """Open for reading: the whole, its digest checked, or `length` bytes from `start`.

        Raises:
            NotFoundError: no such blob.
            DigestError: the bytes are not what was put.
        """

    def exists(self, digest: str) -> bool:
        """Whether the blob is there."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """Digests that begin with `prefix`, in order."""

    def delete(self, digest: str, older_than_s: float | None = None) -> bool:
        """Remove a blob; False if it is not there, or stays because it was put less than so many seconds ago.

        What is put again in this very moment is young: looking and removing are one act.
        """

    def info(self, digest: str) -> tuple[int, float]:
        """(size in bytes, seconds since it was last put).

        Raises:
            NotFoundError: no such blob.
        """


class Catalog(Protocol):
    """A view of the logs for finding runs. It holds nothing else: thrown away, it is rebuilt from them.

    The records that it returns look up what they do not carry in it (`mlsdk.store.record.Source`).
    """

    def ingest(self, log: str, offset: int, data: bytes) -> int:
        """Take in raw bytes of a log; returns the offset from which it wants to go on.

        Any set of logs, in any order, in any pieces gives the same runs. Bytes known already are passed over; for bytes
        beyond a gap nothing is taken and the wanted offset is returned. The bytes are final: they stand in the `Logs`
        too.
        """

    def forget(self, run: str) -> None:
        """Remove all that is known of a run."""

    def get(self, run: str) -> Run:
        """A run by its whole id, deleted or not.

        Raises:
            NotFoundError: unknown.
            NewerFormatError: one of its logs was written by a newer mlsdk.
        """

    def find(
        self, query: Tree | None = None, order: Order = (), after: str | None = None, limit: int | None = None
    ) -> Page:
        """Runs that fit, in order (newest first by default), a page at a time.

        Deleted runs only if the query speaks of `deleted`.
        """

    def series(self, run: str, metric: str, rank: int | str | None = None) -> Series:
        """All points of a metric in the order of logging, without what a later restart repeats.

        Raises:
            NotFoundError: the run has no such metric from that writer.
        """

    def keys(self, kind: str = "", prefix: str = "") -> list[str]:
        """Names of fields in use, as in filters, that begin with `kind.` and then `prefix`; sorted."""

    def documents(
        self, query: Tree | None = None, order: Order = (), after: str | None = None, limit: int | None = None
    ) -> Listing:
        """What `find` finds, as it is kept: for a server, which passes it on (`mlsdk.store.listing`)."""

    def document(self, run: str) -> Listed:
        """What `get` gets, as it is kept."""

    def count(self, query: Tree | None = None) -> int:
        """How many runs fit."""

    def has_key(self, key: str) -> bool:
        """Whether any run has a field."""

    def matching_ids(self, beginning: str = "", end: str = "", limit: int = 20) -> list[str]:
        """Ids of runs, deleted or not, that begin and end so; newest first."""

    def unreadable(self) -> list[str]:
        """Why runs cannot be read by this version, one sentence for each; in order of their ids."""

    def details(self, run: str) -> Mapping[str, Any]:
        """The parts of a run's document that are read when they are asked for.

        Raises:
            NotFoundError: unknown.
        """

    def open_blob(self, digest: str) -> BinaryIO:
        """The bytes of an artifact; see `Blobs.open`."""

    def children(self, run: str) -> tuple[str, ...]:
        """Ids of the runs started inside a run, oldest first."""


class BatchLogs(Logs, Protocol):
    """Logs with the capability `batch`."""

    def append_all(self, pieces: Sequence[Piece]) -> list[int | ConflictError]:
        """Append each piece as `append` would; for each the end of its log, or the conflict that `append` would raise.

        Pieces of one log stand in rising order. One that does not fit hinders no other.
        """
