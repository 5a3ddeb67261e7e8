"""Routes of the audit chain: reading and checking it."""

from __future__ import annotations

from typing import Any

import attrs

from mlsdk.server.access import Role
from mlsdk.server.audit import Audit
from mlsdk.server.calls import ANY_TOKEN, Call, Param, Refused, Row, forbidden
from mlsdk.server.chain import BrokenError
from mlsdk.server.members import is_operator

_HOME = ""
_PAGE = 1000


@attrs.frozen
class Entries:
    """A part of the chain; `after` gives the next part."""

    entries: list[dict[str, Any]]
    after: str | None


@attrs.frozen
class Checked:
    """What was looked at, and what is wrong."""

    logs: int
    entries: int
    findings: list[str]


def entries(call: Call) -> Any:
    """What was done in a workspace: entries of its audit chain, each checked."""
    return _entries(call, call.service.audit(call.workspace))


def verify(call: Call) -> Any:
    """Walk the whole audit chain of a workspace."""
    return _verify(call.service.audit(call.workspace))


def own_entries(call: Call) -> Any:
    """What was done to the server itself: members, tokens, sign-ins."""
    _check(call)
    return _entries(call, call.service.audit(_HOME))


def own_verify(call: Call) -> Any:
    """Walk the whole audit chain of the server itself."""
    _check(call)
    return _verify(call.service.audit(_HOME))


def _check(call: Call) -> None:
    if not is_operator(call.who):
        raise forbidden("only an operator of the server sees its own audit chain; a workspace's is at /v1/w/…/audit")


def _entries(call: Call, audit: Audit) -> Entries:
    try:
        found, after = audit.entries(call.query["after"], min(call.query["limit"], _PAGE))
    except BrokenError as error:  # no mistake of the caller's
        raise Refused(409, error) from None
    return Entries(found, after)


def _verify(audit: Audit) -> Checked:
    found = audit.verify()
    return Checked(found.logs, found.entries, [finding.message for finding in found.findings])


_PARAMS = (
    Param("after", str, None, "what the part before gave"),
    Param("limit", int, _PAGE, f"of entries, at most {_PAGE}", least=1),
)

ROWS: tuple[Row, ...] = (
    Row("GET", "/v1/w/{w}/audit", entries, Role.APPROVER, "The audit chain", answer=Entries, params=_PARAMS),
    Row("GET", "/v1/w/{w}/audit/verified", verify, Role.APPROVER, "Check the audit chain", answer=Checked),
    Row(
        "GET", "/v1/audit", own_entries, ANY_TOKEN, "The server's own chain (operators)", answer=Entries, params=_PARAMS
    ),
    Row("GET", "/v1/audit/verified", own_verify, ANY_TOKEN, "Check it (operators)", answer=Checked),
)
"""Rows of the route table."""
