"""What the logs of a run say together, as JSON: the catalog keeps it, and `record` makes a `Run` of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from mlsdk.log.ids import started_ns
from mlsdk.log.values import decode
from mlsdk.store.fold import LogState, MetricState, RunState

Json = dict[str, Any]


class Document(NamedTuple):
    """A run in three parts, as they are needed: values as tagged JSON, summaries as lists.

    Whoever wrote the facts, another version or a stranger: what cannot be understood is left out and never hides the
    run.
    """

    main: Json
    """What runs are found and listed by."""
    more: Json
    """What is looked up run by run: code, environment, hardware, artifacts, inputs, metrics of the other writers."""
    life: Json
    """What `status.derive` wants to know."""


def document(state: RunState, logs: Iterable[LogState]) -> Document:
    """The run that facts and logs make together, whatever the order in which they came.

    Of a run that `gc` has erased, what its tombstone says counts and nothing else, whichever logs come back from
    elsewhere.
    """
    if isinstance(state.values("run").get("erased"), dict):
        state, logs = _tombstone(state), []
    logs = sorted(logs, key=lambda log: (log.order, log.log))
    lead = _lead(logs)
    said = {} if lead is None else lead.said
    run = {**_understood(said, _OF_RUN, str), **_understood(state.values("run"), _OF_RUN, str)}
    run.setdefault("started_ns", min((log.order for log in logs if log.order), default=started_ns(state.run)))
    metrics, ranks = _metrics(state, logs)
    lives = _lives(state, logs)
    main = {
        "id": state.run,
        "run": run,
        "order": max([state.order(), *(log.order for log in logs)], default=0),
        "params": state.values("params"),
        "tags": state.values("tags"),
        "datasets": state.values("datasets"),
        "metrics": metrics,
        "problems": _problems(state, logs, run["started_ns"]),
        "changes": _changes(state),
        "host": None if lead is None else str(lead.writer.get("host", "?")),
        "unsound": {role: life for role, life in lives.items() if not life["closed"] or life["status"] == "failed"},
    }
    more = {kind: state.values(kind) for kind in ("code", "env", "hardware", "artifacts", "inputs", "verdicts")}
    return Document(main, {**more, "ranks": ranks, "lives": lives}, _life(state, logs, run))


_OF_RUN = {"started_ns": int, "ended_ns": int, "error": dict, "deleted": bool, "erased": dict}
"""What facts of kind `run` are; the others are text."""

_OF_PROBLEM = {"message": str, "t": int, "count": int}


def _understood(values: Mapping[str, Any], types: Mapping[str, type], others: type | None = None) -> Json:
    return {
        key: value
        for key, value in values.items()
        if type(value) is types.get(key, others) and (type(value) is not int or -(2**63) <= value < 2**63)
    }


def _tombstone(state: RunState) -> RunState:
    """What is left of an erased run: what the fact of its erasing says, whatever else is known of it."""
    order, writer, t, erased = state.facts["run"]["erased"]
    kept = RunState(state.run)
    values = {**erased, "erased": erased, "deleted": True}
    kept.facts["run"] = {key: [order, writer, t, value] for key, value in values.items()}
    return kept


def _metrics(state: RunState, logs: list[LogState]) -> tuple[Json, Json]:
    """Summaries of the main process, and those of the other roles."""
    roles: dict[str, dict[str, MetricState]] = {}
    for log in logs:
        into = roles.setdefault(log.belongs_to, {})
        for name, metric in log.metrics.items():
            if metric.count:
                into.setdefault(name, MetricState()).merge(metric)
    ranks = {
        role: {name: metric.summary() for name, metric in metrics.items()} for role, metrics in roles.items() if metrics
    }
    metrics = ranks.pop("main", {})
    for name, final in state.values("metrics").items():
        if type(decode(final)) not in (int, float):
            continue
        known = metrics.get(name, [None, None, None, None, 0, None, None, None])
        returned = state.facts["metrics"][name][0]
        if not any(log.is_main and log.order > returned and _has_points(log, name) for log in logs):
            metrics[name] = [final, *known[1:]]
    return metrics, ranks


def _has_points(log: LogState, metric: str) -> bool:
    return metric in log.metrics and log.metrics[metric].count > 0


def _problems(state: RunState, logs: list[LogState], started: int) -> Json:
    found = state.values("problems")
    problems = {kind: _understood(told, _OF_PROBLEM) for kind, told in found.items() if isinstance(told, dict)}
    damaged = sum(log.damaged_bytes for log in logs)
    if damaged:
        message = f"{damaged:,} bytes of its logs are damaged and were skipped"
        problems["damage"] = {"message": message, "t": started, "count": 1}
    return problems


def _changes(state: RunState) -> list[list[Any]]:
    """[param, old value, new value, when] of each param that was set again to another value."""
    changes = [
        [key, old[3], new[3], new[2]]
        for key, versions in state.versions.items()
        for old, new in pairwise(versions)
        if old[3] != new[3]
    ]
    return sorted(changes, key=lambda change: (change[3], change[0]))


def _lead(logs: list[LogState]) -> LogState | None:
    """The first log that speaks for the run: the main process's; where none has come, that of the lowest rank."""
    mains = [log for log in logs if log.role == "main"]
    return next(iter(mains), None) or min((log for log in logs if _is_rank(log)), key=_by_rank, default=None)


def _is_rank(log: LogState) -> bool:
    return log.rank is not None and log.role.startswith("rank ")


def _by_rank(log: LogState) -> tuple[int, int, str]:
    return (log.rank or 0, log.order, log.log)


def _lives(state: RunState, logs: list[LogState]) -> Json:
    """By role, what `status.derive` wants to know of each rank above 0, with its host and its error."""
    signs: dict[str, int] = {}
    for log in logs:
        signs[log.belongs_to] = max(signs.get(log.belongs_to, 0), log.seen_ns)
    gone, lives = state.values("gone"), {}
    for log in sorted(filter(_is_rank, logs), key=_by_rank):  # of several logs of a rank the last one counts
        said = _understood(log.said, _OF_RUN, str)
        told = gone.get(log.log)
        lives[log.belongs_to] = {
            # one that an earlier version closed has said no more
            "status": "finished" if log.closed and "status" not in said else said.get("status", "running"),
            "ended_ns": said.get("ended_ns", log.seen_ns if log.closed else None),
            "error": said.get("error"),
            "host": str(log.writer.get("host", "?")),
            "signs_ns": signs[log.belongs_to],
            "gone_ns": told if type(told) is int else None,
            "writer": log.writer,
            "closed": log.closed,
            "seen_ns": log.seen_ns,
        }
    return lives


def _life(state: RunState, logs: list[LogState], run: Json) -> Json:
    lead = _lead(logs)
    writer = None if lead is None else next(log for log in reversed(logs) if log.role == lead.role)
    gone = None if writer is None else state.values("gone").get(writer.log)
    return {
        **{key: run[key] for key in ("status", "ended_ns", "erased") if key in run},
        "signs_ns": max((log.seen_ns for log in logs if log.role != "edit"), default=0),
        "gone_ns": gone if type(gone) is int else None,
        "writer": None if writer is None else writer.writer,
        "closed": writer is not None and writer.closed,
        "seen_ns": 0 if writer is None else writer.seen_ns,
    }
