"""Routes about the server itself: health, readiness, figures, versions, who one is, the description of the API."""

from __future__ import annotations

from typing import Any

from mlsdk.errors import MlsdkError, UnavailableError
from mlsdk.log.frames import FORMAT_VERSION
from mlsdk.server.calls import Answer, Call, Refused
from mlsdk.server.metrics import TYPE
from mlsdk.server.versions import API_VERSION
from mlsdk.version import VERSION


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
