"""The server itself: health, readiness, figures, its description; and what is said to clients of other versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlsdk.errors import MlsdkError, NewerFormatError, UnavailableError, UsageError
from mlsdk.log.frames import FORMAT_VERSION
from mlsdk.server.calls import Answer, Call, Refused
from mlsdk.server.metrics import TYPE
from mlsdk.version import VERSION

API_VERSION = 1

_UPGRADE = {"Upgrade": f"mlsdk/{API_VERSION}"}


def check_api(headers: Mapping[str, str]) -> None:
    """A client speaks an API that this server has, or says nothing of it.

    Raises:
        Refused: another one.
    """
    asked = headers.get("mlsdk-api", "")
    if asked and asked != str(API_VERSION):
        newer = asked.isascii() and asked.isdigit() and len(asked) < 9 and int(asked) > API_VERSION
        side = "upgrade the server" if newer else "upgrade the client: pip install -U mlsdk"
        said = f"this server (mlsdk {VERSION}) speaks API {API_VERSION}, the client {asked[:20]!r}: {side}"
        raise Refused(426, UsageError(said), _UPGRADE)


def check_format(headers: Mapping[str, str]) -> None:
    """Logs of a format that this server cannot read are not taken in.

    Raises:
        Refused: the client writes a newer one.
    """
    written = headers.get("mlsdk-format", "")
    if written.isascii() and written.isdigit() and len(written) < 9 and int(written) > FORMAT_VERSION:
        said = (
            f"this server (mlsdk {VERSION}) reads logs up to format {FORMAT_VERSION}, the client writes format"
            f" {written}: upgrade the server"
        )
        raise Refused(426, NewerFormatError(said), _UPGRADE)


def health(_: Call) -> Any:
    """Whether the process answers. It tells nothing else."""
    return {"status": "ok"}


def ready(call: Call) -> Any:
    """Whether requests can be served. It tells nothing else."""
    try:
        is_ready = call.service.ready()
    except MlsdkError:
        is_ready = False
    if not is_ready:
        raise Refused(503, UnavailableError("not ready", 1.0))
    return {"status": "ok"}


def figures(call: Call) -> Answer:
    """Figures of this process as OpenMetrics."""
    return Answer(call.service.metrics.text().encode(), 200, TYPE)


def about(call: Call) -> Any:
    """What this server speaks and takes."""
    limits = call.service.limits
    return {
        "version": VERSION,
        "api": [API_VERSION],
        "format": FORMAT_VERSION,
        "limits": {
            "body_bytes": limits.body_bytes,
            "inflated_bytes": limits.inflated_bytes,
            "blob_bytes": limits.blob_bytes,
            "page": limits.page,
            "rate_per_s": limits.rate_per_s,
        },
        "encodings": ["deflate", "gzip"],
        "capabilities": sorted(call.service.workspaces.home.logs.capabilities | {"batch"}),
    }


def openapi(call: Call) -> Any:
    """The description of the API, made from the table of routes."""
    from mlsdk.server.openapi import document

    return document(call.service.rows)
