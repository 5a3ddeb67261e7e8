"""Routes of runs: finding them, what is known of one, its series."""

from __future__ import annotations

import json
import sys
from array import array
from typing import Any

import attrs

from mlsdk.errors import UnavailableError
from mlsdk.query.parse import parse_order
from mlsdk.query.tree import Order
from mlsdk.server.calls import BYTES, Answer, Call, Refused, checked, run_id, wrong
from mlsdk.server.events import TYPE
from mlsdk.server.filters import filter_of
from mlsdk.store.layout import check_log_name
from mlsdk.store.listing import Listed


@attrs.frozen
class Find:
    """What is looked for."""

    where: str | None = None
    order_by: str | None = None
    after: str | None = None
    limit: int | None = None


@attrs.frozen
class Where:
    """Which runs are counted."""

    where: str | None = None


@attrs.frozen
class Found:
    """A run: its document is text, as the catalog keeps it (JSON with NaN and infinities)."""

    document: str
    status: str
    ended_ns: int | None


@attrs.frozen
class FoundRuns:
    """A part of an answer, and what gives the next part."""

    runs: list[Found]
    after: str | None


def find(call: Call) -> Any:
    """Runs that fit, in order, a page at a time."""
    wanted: Find = call.body
    most = call.service.limits.page
    limit = most if wanted.limit is None else min(wanted.limit, most)
    if limit < 0:
        raise wrong(f"limit must not be below 0, but is {limit}")
    store = call.store
    tree, order = filter_of(wanted.where), _order(wanted.order_by)
    store.refresh()
    listing = store.catalog.documents(tree, order, wanted.after, limit)
    return FoundRuns([_found(listed) for listed in listing.runs], listing.after)


def count(call: Call) -> Any:
    """How many runs fit."""
    tree, store = filter_of(call.body.where), call.store
    store.refresh()
    return {"count": store.catalog.count(tree)}


def _order(order_by: str | None) -> Order:
    return () if not order_by else parse_order(order_by)


def _found(listed: Listed) -> Found:
    return Found(*listed)


def get(call: Call) -> Any:
    """A run, deleted or not."""
    call.store.refresh()
    return _found(call.store.catalog.document(call.run))


def details(call: Call) -> Any:
    """What of a run is only looked up when it is asked for: code, environment, hardware, artifacts."""
    found = call.store.catalog.details(call.run)
    return {"details": json.dumps(dict(found), separators=(",", ":"))}


def children(call: Call) -> Any:
    """The runs that were started inside a run."""
    return {"children": list(call.store.catalog.children(call.run))}


def series(call: Call) -> Answer:
    """All points of a metric: a line of JSON, then steps, values and times as columns, little endian."""
    metric, rank = call.query["metric"], call.query["rank"]
    if not metric:
        raise wrong("say which metric: ?metric=loss")
    role = int(rank) if rank is not None and rank.isascii() and rank.isdigit() and len(rank) < 10 else rank
    call.store.refresh()
    found = call.store.catalog.series(call.run, metric, role)
    columns = [_column(found.steps, "q"), _column(found.values, "d"), _column(found.times, "q")]
    head: dict[str, Any] = {"name": found.name, "kinds": [kind for kind, _ in columns], "count": len(found)}
    if columns[1][0] == "":
        head["values"] = [value if isinstance(value, int) else repr(float(value)) for value in found.values]
    line = json.dumps(head, separators=(",", ":")).encode() + b"\n"
    return Answer(b"".join([line, *(data for _, data in columns)]), 200, BYTES)


def _column(values: Any, empty: str) -> tuple[str, bytes]:
    """Type code and little-endian bytes of a column; no code and no bytes for numbers that fit into no one type."""
    if hasattr(values, "dtype"):
        code = {"l": "q", "L": "Q"}.get(values.dtype.char, values.dtype.char)
        if code not in "qQd":
            code = empty
        return code, values.astype({"q": "<i8", "Q": "<u8", "d": "<f8"}[code], copy=False).tobytes()
    if isinstance(values, array):
        if sys.byteorder == "big":
            values = array(values.typecode, values)
            values.byteswap()
        return values.typecode, values.tobytes()
    if not len(values):
        return empty, b""
    return "", b""


def keys(call: Call) -> Any:
    """Names of fields in use."""
    call.store.refresh()
    return {"keys": call.store.catalog.keys(call.query["kind"], call.query["prefix"])}


def has(call: Call) -> Any:
    """Whether any run has a field."""
    call.store.refresh()
    return {"has": call.store.catalog.has_key(call.query["key"])}


def ids(call: Call) -> Any:
    """Ids of runs that begin and end so, newest first."""
    beginning, end, limit = call.query["beginning"], call.query["end"], call.query["limit"]
    if not set(beginning + end) <= set("0123456789abcdef") or len(beginning + end) > 64:
        raise wrong("beginning and end are hexadecimal digits of an id")
    call.store.refresh()
    return {"ids": call.store.catalog.matching_ids(beginning, end, min(limit, call.service.limits.page))}


def unreadable(call: Call) -> Any:
    """Why runs cannot be read by this server, one sentence for each."""
    call.store.refresh()
    return {"unreadable": call.store.catalog.unreadable()}


def ingest(call: Call) -> Any:
    """Take raw bytes of a log, which stand in it, into the catalog."""
    log = checked(check_log_name, call.path["log"])
    if not log.startswith("runs/"):
        raise wrong(f"{log} is no log of a run")
    run_id(log.split("/")[1])
    offset, data, store = call.query["offset"], call.body, call.store
    if data and store.logs.read(log, offset, len(data)) != data:
        raise wrong(f"these bytes do not stand in {log} at {offset:,}; append them first")
    return {"wanted": store.catalog.ingest(log, offset, data)}


def forget(call: Call) -> Answer:
    """Remove all that the catalog knows of a run."""
    call.record("forget run", run=call.run)
    call.store.catalog.forget(call.run)
    return Answer(status=204)


def events(call: Call) -> Answer:
    """Runs as they change."""
    service, who, workspace = call.service, call.who, call.workspace
    if service.events.is_full():
        raise Refused(503, UnavailableError("as many listen as this server takes", 5.0))
    run = None if call.query["run"] is None else run_id(call.query["run"])
    if call.method == "HEAD":
        return Answer(b"", 200, TYPE)
    pieces = service.events.listen(
        call.store,
        workspace,
        run,
        call.headers.get("last-event-id", ""),
        lambda: service.access.still(who.token, workspace) and service.has(workspace),
    )
    return Answer(pieces, 200, TYPE, {"X-Accel-Buffering": "no"}, compress=False)
