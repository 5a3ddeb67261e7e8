"""The catalog of a server: finding is asked of it, and the records are made here."""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Mapping
from typing import Any, BinaryIO

from mlsdk.errors import NotFoundError, StoreError
from mlsdk.log.decode import numpy_for
from mlsdk.query.tree import Order, Tree, order_text, text
from mlsdk.records import Series
from mlsdk.store.http.address import in_path
from mlsdk.store.http.session import Session
from mlsdk.store.layout import check_log_name
from mlsdk.store.listing import Listed, Listing, Listings
from mlsdk.store.seams import Blobs

_CODES = "qQd"
"""Of columns in a series: signed and unsigned integers, floats; 64 bits, little endian."""


class HttpCatalog(Listings):
    """The catalog of a workspace; see `mlsdk.store.seams.Catalog`."""

    def __init__(self, session: Session, blobs: Blobs) -> None:
        self._session = session
        self._blobs = blobs

    def documents(
        self, query: Tree | None = None, order: Order = (), after: str | None = None, limit: int | None = None
    ) -> Listing:
        """See `Listings.documents`. As many pages as it takes are asked for."""
        asked = {"where": None if query is None else text(query), "order_by": order_text(order) if order else None}
        runs: list[Listed] = []
        while limit is None or len(runs) < limit:
            left = None if limit is None else limit - len(runs)
            page = self._session.call("POST", "/find", value={**asked, "after": after, "limit": left}).json()
            runs += [_listed(found) for found in page["runs"]]
            after = page.get("after")
            if after is None:
                break
        return Listing(runs, after)

    def count(self, query: Tree | None = None) -> int:
        """See `Catalog.count`."""
        where = None if query is None else text(query)
        return int(self._session.call("POST", "/count", value={"where": where}).json()["count"])

    def document(self, run: str) -> Listed:
        """See `Listings.document`."""
        return _listed(self._session.call("GET", _of(run)).json())

    def details(self, run: str) -> Mapping[str, Any]:
        """See `Catalog.details`."""
        found: Mapping[str, Any] = json.loads(self._session.call("GET", f"{_of(run)}/details").json()["details"])
        return found

    def children(self, run: str) -> tuple[str, ...]:
        """See `Catalog.children`."""
        return tuple(self._session.call("GET", f"{_of(run)}/children").json()["children"])

    def open_blob(self, digest: str) -> BinaryIO:
        """See `Catalog.open_blob`."""
        return self._blobs.open(digest)

    def series(self, run: str, metric: str, rank: int | str | None = None) -> Series:
        """See `Catalog.series`."""
        return read_series(
            self._session.call("GET", f"{_of(run)}/series", params={"metric": metric, "rank": rank}).body
        )

    def keys(self, kind: str = "", prefix: str = "") -> list[str]:
        """See `Catalog.keys`."""
        params = {"kind": kind or None, "prefix": prefix or None}
        return list(self._session.call("GET", "/keys", params=params).json()["keys"])

    def has_key(self, key: str) -> bool:
        """See `Catalog.has_key`."""
        return bool(self._session.call("GET", "/has", params={"key": key}).json()["has"])

    def matching_ids(self, beginning: str = "", end: str = "", limit: int = 20) -> list[str]:
        """See `Catalog.matching_ids`."""
        params = {"beginning": beginning or None, "end": end or None, "limit": limit}
        return list(self._session.call("GET", "/ids", params=params).json()["ids"])

    def unreadable(self) -> list[str]:
        """See `Catalog.unreadable`."""
        return list(self._session.call("GET", "/unreadable").json()["unreadable"])

    def ingest(self, log: str, offset: int, data: bytes) -> int:
        """See `Catalog.ingest`. A server does this by itself with what is appended to it."""
        path, most = f"/ingest/{in_path(check_log_name(log), safe='/')}", self._session.server().part_bytes
        at, end = offset, offset + len(data)
        while True:
            part = data[at - offset : at - offset + most]
            wanted = int(self._session.call("POST", path, params={"offset": at}, body=part).json()["wanted"])
            if not at < wanted < end or at + len(part) >= end:
                return wanted
            at = wanted

    def forget(self, run: str) -> None:
        """See `Catalog.forget`."""
        self._session.call("DELETE", _of(run))


def read_series(data: bytes) -> Series:
    """The points of a metric from what a server sends: a line of JSON, then steps, values and times as columns.

    Raises:
        StoreError: it is not that.
    """
    head, _, rest = data.partition(b"\n")
    try:
        about = json.loads(head)
        count, codes = int(about["count"]), list(about["kinds"])
        columns: list[Any] = []
        at = 0
        for place, code in enumerate(codes):
            if place == 1 and about.get("values") is not None:
                columns.append([float(value) if isinstance(value, str) else value for value in about["values"]])
                continue
            columns.append(_column(rest[at : at + 8 * count], code, count))
            at += 8 * count
        steps, values, times = columns
        return Series(str(about["name"]), steps, values, lambda: times)
    except (ValueError, TypeError, LookupError) as error:
        raise StoreError(
            f"the server sent what is no series ({error}); is it a newer one? pip install -U mlsdk"
        ) from None


def _column(data: bytes, code: str, count: int) -> Any:
    if code not in _CODES or len(data) != 8 * count:
        raise ValueError(f"{len(data)} bytes for {count} of {code!r}")
    np = numpy_for(len(data))
    if np is not None:
        return np.frombuffer(data, dtype={"q": "<i8", "Q": "<u8", "d": "<f8"}[code]).astype(code)
    column = array(code, data)
    if sys.byteorder == "big":
        column.byteswap()
    return column


def _of(run: str) -> str:
    if not run:
        raise NotFoundError("no run ''")
    return f"/runs/{in_path(run)}"


def _listed(found: Mapping[str, Any]) -> Listed:
    return Listed(found["document"], found["status"], found["ended_ns"])
