"""The table of routes: Starlette's routes, the checks of roles and the OpenAPI document are made from it."""

from __future__ import annotations

from typing import Any

import attrs

from mlsdk.server import audits, blobs, logs, members, pages, runs, signin, static, system
from mlsdk.server.accounts import Role
from mlsdk.server.calls import ANY_TOKEN, ANYONE, BYTES, HTML, Param, Row
from mlsdk.server.events import TYPE as EVENTS
from mlsdk.server.metrics import TYPE as METRICS

VIEWER, WRITER, APPROVER, ADMIN = Role

_W = "/v1/w/{w}"

_AFTER = Param("after", str, None, "the name after which to go on")
_LIMIT = Param("limit", int, None, "entries at most; the server has a limit of its own")
_PREFIX = Param("prefix", str, "", "how the names begin")
_OFFSET = Param("offset", int, 0, "in raw bytes")
_TOTAL = Param("size_bytes", int, 0, "of the whole blob")


@attrs.frozen
class Status:
    """All is well."""

    status: str


@attrs.frozen
class About:
    """What a server speaks and takes."""

    version: str
    api: list[int]
    format: int
    limits: dict[str, float]
    encodings: list[str]
    capabilities: list[str]


@attrs.frozen
class Ends:
    """For each piece the end of its log, or the error."""

    ends: list[Any]


@attrs.frozen
class LogNames:
    """Names of logs."""

    logs: list[str]
    after: str | None


@attrs.frozen
class Digests:
    """Digests of blobs."""

    blobs: list[str]
    after: str | None


@attrs.frozen
class Sealed:
    """Whether a log was sealed by this."""

    sealed: bool


@attrs.frozen
class Removed:
    """Whether a blob was there and is gone."""

    removed: bool


@attrs.frozen
class UploadBegun:
    """Whether a blob is there; if not, from where and whereto to send it."""

    there: bool
    offset: int = 0
    url: str | None = None


@attrs.frozen
class PartTaken:
    """From where to go on."""

    offset: int
    there: bool


@attrs.frozen
class There:
    """Whether a blob is there."""

    there: bool


@attrs.frozen
class Count:
    """How many runs fit."""

    count: int


@attrs.frozen
class Details:
    """JSON, as text."""

    details: str


@attrs.frozen
class Children:
    """Ids of runs."""

    children: list[str]


@attrs.frozen
class Keys:
    """Names of fields."""

    keys: list[str]


@attrs.frozen
class Has:
    """Whether there is such a field."""

    has: bool


@attrs.frozen
class Ids:
    """Ids of runs."""

    ids: list[str]


@attrs.frozen
class Unreadable:
    """Reasons."""

    unreadable: list[str]


@attrs.frozen
class Ingested:
    """From where the catalog wants to go on."""

    wanted: int


_SYSTEM = (
    Row("GET", "/health", system.health, ANYONE, "whether the process answers", answer=Status),
    Row("GET", "/ready", system.ready, ANYONE, "whether requests can be served", answer=Status),
    Row("GET", "/metrics", system.figures, ANY_TOKEN, "figures as OpenMetrics", answer=bytes, answer_type=METRICS),
    Row("GET", "/openapi.json", system.openapi, ANY_TOKEN, "this description", answer=dict),
    Row("GET", "/v1", system.about, ANY_TOKEN, "what the server speaks and takes", answer=About),
)

_LOGS = (
    Row(
        "POST",
        f"{_W}/append",
        logs.append,
        WRITER,
        "append pieces of logs",
        body=bytes,
        body_type=logs.PIECES,
        answer=Ends,
        writes=True,
    ),
    Row(
        "GET", f"{_W}/logs", logs.list_logs, VIEWER, "names of logs", answer=LogNames, params=(_PREFIX, _AFTER, _LIMIT)
    ),
    Row(
        "GET",
        f"{_W}/logs/{{log:path}}",
        logs.read,
        VIEWER,
        "raw bytes of a log",
        answer=bytes,
        answer_type=BYTES,
        params=(_OFFSET, Param("limit", int, None, "bytes at most")),
    ),
    Row("DELETE", f"{_W}/logs/{{log:path}}", logs.delete, ADMIN, "remove a log", writes=True),
    Row(
        "POST", f"{_W}/seal/{{log:path}}", logs.seal, WRITER, "keep a log as column blocks", answer=Sealed, writes=True
    ),
)

_BLOBS = (
    Row(
        "GET",
        f"{_W}/blobs",
        blobs.list_blobs,
        VIEWER,
        "digests of blobs",
        answer=Digests,
        params=(_PREFIX, _AFTER, _LIMIT),
    ),
    Row(
        "GET",
        f"{_W}/blobs/{{digest}}",
        blobs.read,
        VIEWER,
        "the bytes of a blob, or a range of them",
        answer=bytes,
        answer_type=BYTES,
        params=(Param("redirect", bool, False, "whether the answer may be another place's URL"),),
        also={"206": "a part", "307": "the bytes lie at another place"},
    ),
    Row(
        "DELETE",
        f"{_W}/blobs/{{digest}}",
        blobs.delete,
        ADMIN,
        "remove a blob",
        answer=Removed,
        params=(Param("older_than_s", int, None, "leave it where it was put less than so many seconds ago"),),
        writes=True,
    ),
    Row(
        "POST",
        f"{_W}/uploads",
        blobs.begin,
        WRITER,
        "ask whether a blob is there, and from where to send it",
        body=blobs.Wanted,
        answer=UploadBegun,
        writes=True,
    ),
    Row(
        "PUT",
        f"{_W}/uploads/{{digest}}",
        blobs.part,
        WRITER,
        "send a part of a blob",
        body=bytes,
        answer=PartTaken,
        params=(_OFFSET, _TOTAL),
        writes=True,
    ),
    Row(
        "POST",
        f"{_W}/uploads/{{digest}}/done",
        blobs.done,
        WRITER,
        "check what was sent to a presigned URL",
        answer=There,
        params=(_TOTAL,),
        writes=True,
    ),
)

_RUN = f"{_W}/runs/{{run}}"

_RUNS = (
    Row("POST", f"{_W}/find", runs.find, VIEWER, "runs that fit", body=runs.Find, answer=runs.FoundRuns),
    Row("POST", f"{_W}/count", runs.count, VIEWER, "how many runs fit", body=runs.Where, answer=Count),
    Row("GET", _RUN, runs.get, VIEWER, "a run", answer=runs.Found),
    Row("GET", f"{_RUN}/details", runs.details, VIEWER, "its code, environment, hardware, artifacts", answer=Details),
    Row("GET", f"{_RUN}/children", runs.children, VIEWER, "the runs started inside it", answer=Children),
    Row(
        "GET",
        f"{_RUN}/series",
        runs.series,
        VIEWER,
        "all points of a metric",
        answer=bytes,
        answer_type=BYTES,
        params=(
            Param("metric", str, "", "its name"),
            Param("rank", str, None, "whose: a rank's number, or a role such as `worker`; by default the main process"),
        ),
    ),
    Row("DELETE", _RUN, runs.forget, ADMIN, "forget a run, until its logs are read again", writes=True),
    Row(
        "GET",
        f"{_W}/keys",
        runs.keys,
        VIEWER,
        "names of fields in use",
        answer=Keys,
        params=(Param("kind", str, "", "such as `metrics`"), _PREFIX),
    ),
    Row(
        "GET",
        f"{_W}/has",
        runs.has,
        VIEWER,
        "whether any run has a field",
        answer=Has,
        params=(Param("key", str, "", "its name"),),
    ),
    Row(
        "GET",
        f"{_W}/ids",
        runs.ids,
        VIEWER,
        "ids of runs, newest first",
        answer=Ids,
        params=(
            Param("beginning", str, "", "how they begin"),
            Param("end", str, "", "how they end"),
            Param("limit", int, 20, "ids at most"),
        ),
    ),
    Row("GET", f"{_W}/unreadable", runs.unreadable, VIEWER, "runs of a newer format", answer=Unreadable),
    Row(
        "POST",
        f"{_W}/ingest/{{log:path}}",
        runs.ingest,
        WRITER,
        "bytes of a log for the catalog",
        body=bytes,
        answer=Ingested,
        params=(_OFFSET,),
        writes=True,
    ),
    Row(
        "GET",
        f"{_W}/events",
        runs.events,
        VIEWER,
        "runs as they change, as server-sent events",
        answer=bytes,
        answer_type=EVENTS,
        params=(Param("run", str, None, "only this run"),),
        cookie=True,
    ),
)

_PAGES = (
    Row(
        "POST",
        "/auth/token",
        pages.enter,
        ANYONE,
        "sign in with a token, by a form",
        bytes,
        bytes,
        body_type=pages.FORM,
    ),
    Row("POST", "/auth/leave", pages.leave, ANYONE, "sign out", answer=bytes, answer_type=HTML),
    Row("GET", "/", pages.front, ANY_TOKEN, "page: workspaces", answer=bytes, answer_type=HTML, cookie=True),
    Row(
        "GET",
        "/{w}",
        pages.run_list,
        VIEWER,
        "page: runs",
        answer=bytes,
        answer_type=HTML,
        params=(
            Param("where", str, "", "a filter"),
            Param("order_by", str, "", "what to order by"),
            Param("after", str, "", "what the page before gave"),
        ),
        cookie=True,
    ),
    Row("GET", "/{w}/runs/{run}", pages.one_run, VIEWER, "page: a run", None, bytes, answer_type=HTML, cookie=True),
)

ROWS: tuple[Row, ...] = (
    *_SYSTEM,
    *_LOGS,
    *_BLOBS,
    *_RUNS,
    *members.ROWS,
    *audits.ROWS,
    *signin.ROWS,
    *static.ROWS,
    *_PAGES,  # last: their paths begin with the name of a workspace
)
