"""From a run's document to the frozen `Run` that queries return."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from mlsdk.log.values import decode
from mlsdk.records import Artifact, Change, Dataset, MetricSummary, Problem, Run, RunSource, RunStatus

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def utc(ns: int) -> datetime:
    """Nanoseconds since 1970 as an aware time, to the microsecond."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def record(document: Mapping[str, Any], status: str, ended_ns: int | None, source: RunSource | None = None) -> Run:
    """The `Run` that a document describes."""
    run, kinds = document["run"], document["kinds"]
    started = int(run["started_ns"])
    code, environment, hardware = (_decoded(kinds.get(kind)) for kind in ("code", "env", "hardware"))
    return Run(
        id=document["id"],
        name=str(run.get("name", document["id"][-8:])),
        experiment=str(run.get("experiment", "?")),
        status=RunStatus(status),
        started_at=utc(started),
        ended_at=None if ended_ns is None else utc(ended_ns),
        duration_s=None if ended_ns is None else (ended_ns - started) / 1e9,
        params=_decoded(kinds.get("params")),
        metrics=_summaries(document["metrics"]),
        tags=_decoded(kinds.get("tags")),
        datasets={
            name: Dataset(name=name, **_known(value, Dataset)) for name, value in kinds.get("datasets", {}).items()
        },
        artifacts={
            name: Artifact(name=name, **_known(value, Artifact)) for name, value in kinds.get("artifacts", {}).items()
        },
        code=code,
        environment=environment,
        hardware=hardware,
        parent=run.get("parent"),
        problems=tuple(_problem(kind, found) for kind, found in document["problems"].items()),
        changes=tuple(Change(param, decode(old), decode(new), utc(t)) for param, old, new, t in document["changes"]),
        note=run.get("note"),
        error=run.get("error"),
        host=document["host"],
        user=run.get("user"),
        deleted=bool(run.get("deleted", False)),
        ranks={role: _summaries(metrics) for role, metrics in document["ranks"].items()},
        order=document["order"],
        source=source,
    )


def _decoded(values: Mapping[str, Any] | None) -> dict[str, object]:
    if not values:
        return {}
    return {key: decode(value) if type(value) in (dict, list) else value for key, value in values.items()}


def _summaries(metrics: Mapping[str, list[Any]]) -> dict[str, MetricSummary]:
    return {name: MetricSummary(decode(fields[0]), *fields[1:]) for name, fields in metrics.items()}


def _known(value: Any, kind: type) -> dict[str, Any]:
    """The fields of a fact that this version's record has; a newer version may write more."""
    import attrs

    names = {field.name for field in attrs.fields(kind)} - {"name"}
    return {key: part for key, part in value.items() if key in names} if isinstance(value, dict) else {}


def _problem(kind: str, found: Mapping[str, Any]) -> Problem:
    return Problem(kind, str(found.get("message", "")), utc(int(found.get("t", 0))), int(found.get("count", 1)))
