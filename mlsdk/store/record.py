"""From a run's document to the frozen `Run` that queries return."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, BinaryIO, Protocol, TypeVar

import attrs

from mlsdk.errors import NotFoundError
from mlsdk.log.facts import is_covered
from mlsdk.log.values import LongValue, decode, loads
from mlsdk.records import Artifact, Change, Dataset, MetricSummary, Problem, Rank, Run, RunSource, RunStatus
from mlsdk.store.status import derive

T = TypeVar("T")
OpenBlob = Callable[[str], BinaryIO]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def utc(ns: int) -> datetime:
    """Nanoseconds since 1970 as an aware time, to the microsecond."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


class Source(RunSource, Protocol):
    """Where a `Run` looks up the rest of its document."""

    def details(self, run: str) -> Mapping[str, Any]:
        """That rest."""


def record(document: Mapping[str, Any], status: str, ended_ns: int | None, source: Source | Mapping[str, Any]) -> Run:
    """The `Run` that a document describes.

    Args:
        document: the main part.
        status: as derived.
        ended_ns: as derived.
        source: where the rest is looked up when it is first asked for; or that rest.
    """
    run = document["run"]
    started = run["started_ns"]
    rest = _Rest(source, document["id"])
    blobs = None if isinstance(source, Mapping) else source.open_blob
    whole = functools.partial(_whole, blobs=blobs)
    return Run(
        id=document["id"],
        name=run.get("name") or document["id"][-8:],
        experiment=run.get("experiment", "?"),
        status=RunStatus(status),
        started_at=utc(started),
        ended_at=None if ended_ns is None else utc(ended_ns),
        duration_s=None if ended_ns is None else (ended_ns - started) / 1e9,
        params=_decoded(document["params"]),
        metrics=_summaries(document["metrics"]),
        tags=_decoded(document["tags"]),
        datasets=_datasets(document["datasets"], blobs),
        artifacts=Later(rest, "artifacts", _artifacts),
        inputs=Later(rest, "inputs", functools.partial(_inputs, document["datasets"], blobs)),
        code=Later(rest, "code", whole),
        environment=Later(rest, "env", whole),
        hardware=Later(rest, "hardware", whole),
        parent=run.get("parent"),
        problems=(
            *(_problem(kind, found) for kind, found in document["problems"].items()),
            *_dead(document.get("unsound", {}), status, ended_ns),
        ),
        changes=tuple(Change(param, decode(old), decode(new), utc(t)) for param, old, new, t in document["changes"]),
        note=run.get("note"),
        reproduced=run.get("reproduced"),
        verdict=Later(rest, "verdicts", functools.partial(_verdict, run.get("verdict"), blobs)),
        verdicts=Later(rest, "verdicts", functools.partial(_verdicts, blobs)),
        error=run.get("error"),
        host=document["host"],
        user=run.get("user"),
        deleted=run.get("deleted", False),
        erased="erased" in run,
        ranks=Later(rest, "ranks", functools.partial(_ranks, rest, status, ended_ns)),
        order=document["order"],
        source=None if isinstance(source, Mapping) else source,
    )


class _Rest:
    """The rest of a run's document, read once."""

    __slots__ = ("_run", "_source")

    def __init__(self, source: Source | Mapping[str, Any], run: str) -> None:
        self._source = source
        self._run = run

    def __getitem__(self, kind: str) -> Mapping[str, Any]:
        if not isinstance(self._source, Mapping):
            self._source = self._source.details(self._run)
        found: Mapping[str, Any] = self._source.get(kind, {})
        return found


class Later(Mapping[str, Any]):
    """A mapping of a run that is read when it is first looked at: a list of runs costs nothing for what nobody asks."""

    __slots__ = ("_kind", "_made", "_make", "_rest")

    def __init__(self, rest: _Rest, kind: str, make: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        self._rest = rest
        self._kind = kind
        self._make = make
        self._made: dict[str, Any] | None = None

    def _all(self) -> dict[str, Any]:
        if self._made is None:
            self._made = self._make(self._rest[self._kind])
        return self._made

    def short(self) -> dict[str, Any]:
        """The values without those that were put away for their length; nothing is fetched."""
        found = _decoded(self._rest[self._kind])
        return {name: value for name, value in found.items() if not isinstance(value, LongValue)}

    def coded(self) -> Mapping[str, Any]:
        """The values as they are kept, in tagged JSON: of those that are long the stand-in; nothing is fetched."""
        return self._rest[self._kind]

    def __getitem__(self, key: str) -> Any:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return dict, (self._all(),)


def _artifacts(values: Mapping[str, Any]) -> dict[str, Any]:
    return _named(values, Artifact, ("digest", "size_bytes"), ("files",))


def _ranks(rest: _Rest, status: str, ended_ns: int | None, values: Mapping[str, Any]) -> dict[str, Any]:
    lives = rest["lives"]
    found: dict[str, Any] = {}
    for role in [*lives, *(role for role in values if role not in lives)]:
        life = lives.get(role)
        became, ended = (None, None) if life is None else _became(life, status, ended_ns)
        found[role] = Rank(
            role=role,
            status=None if became is None else RunStatus(became),
            host=None if life is None else life.get("host"),
            ended_at=None if ended is None else utc(ended),
            error=None if life is None else life.get("error"),
            metrics=_summaries(values.get(role, {})),
        )
    return found


def _became(life: Mapping[str, Any], status: str, ended_ns: int | None) -> tuple[str, int | None]:
    """(status, when it ended) of a rank. One that went without a word after its run had finished was done."""
    became, ended, _ = derive(life, time.time_ns())
    if status == "finished" and became in ("killed", "lost") and ended_ns is not None:
        after = (life["gone_ns"] or life["seen_ns"]) >= ended_ns
        return ("finished", ended_ns) if after else (became, ended)
    return became, ended


def _dead(lives: Mapping[str, Any], status: str, ended_ns: int | None) -> Iterator[Problem]:
    """Ranks that did not end well, while the main process did or goes on."""
    for role, life in lives.items():
        became, ended = _became(life, status, ended_ns)
        if became not in ("killed", "lost", "failed"):
            continue
        error = life.get("error") or {}
        why = {
            "killed": "its process ended without a word",
            "lost": "no sign of life from its host for two minutes",
            "failed": f"{error.get('type', '?')}: {error.get('message', '')}",
        }[became]
        yield Problem(role, f"{became} on {life.get('host', '?')}: {why}", utc(ended or life["signs_ns"]))


def _decoded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: decode(value) if type(value) in (dict, list) else value for key, value in values.items()}


def _whole(values: Mapping[str, Any], blobs: OpenBlob | None) -> dict[str, Any]:
    """Values, those that were put away for their length fetched; the stand-in where its blob is not here."""
    found = _decoded(values)
    for key, value in found.items():
        if isinstance(value, LongValue) and blobs is not None:
            with contextlib.suppress(NotFoundError), blobs(value.digest) as file:
                found[key] = decode(loads(file.read()))
    return found


def _datasets(values: Mapping[str, Any], blobs: OpenBlob | None) -> dict[str, Dataset]:
    others = ("digest", "size_bytes", "path", "fingerprint", "rows", "columns", "note", "blob")
    return _named(values, functools.partial(Dataset, open=blobs), ("description",), others)


def _verdicts(blobs: OpenBlob | None, values: Mapping[str, Any]) -> dict[str, Any]:
    found = _whole(values, blobs)
    return {name: found[name] for name in sorted(found) if isinstance(found[name], dict)}


def _verdict(name: str | None, blobs: OpenBlob | None, values: Mapping[str, Any]) -> dict[str, Any]:
    known = {} if name is None else _verdicts(blobs, {name: values[name]} if name in values else {})
    return next(iter(known.values()), {})


def _inputs(datasets: Mapping[str, Any], blobs: OpenBlob | None, values: Mapping[str, Any]) -> dict[str, Dataset]:
    """What a run was seen to read; declared is what a data set names."""
    named = [str(fact["path"]) for fact in datasets.values() if isinstance(fact, dict) and fact.get("path")]
    found = _datasets(values, blobs)
    return {name: attrs.evolve(one, declared=is_covered(one.path or name, named)) for name, one in found.items()}


def _summaries(metrics: Mapping[str, list[Any]]) -> dict[str, MetricSummary]:
    return {
        name: MetricSummary(decode(last) if type(last) is dict else last, *rest)
        for name, (last, *rest) in metrics.items()
    }


def _named(
    values: Mapping[str, Any], kind: Callable[..., T], needed: tuple[str, ...], others: tuple[str, ...]
) -> dict[str, T]:
    """Records by name, of the fields that this version knows; what lacks a needed one is passed over."""
    return {
        name: kind(name=name, **{key: part for key, part in value.items() if key in needed or key in others})
        for name, value in values.items()
        if isinstance(value, dict) and all(key in value for key in needed)
    }


def _problem(kind: str, found: Mapping[str, Any]) -> Problem:
    return Problem(kind, found.get("message", ""), utc(found.get("t", 0)), found.get("count", 1))
