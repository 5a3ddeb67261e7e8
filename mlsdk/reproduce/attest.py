"""A verdict as an in-toto statement, and its place on the run: facts of an edit, and a blob.

The statement is version 1 of the in-toto attestation framework (https://github.com/in-toto/attestation), not signed:
whoever wants a signature puts it into an envelope of their own. Its predicate follows the shape of SLSA's provenance:
what was made again, from what, by whom, with which result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from mlsdk.editing import Edit
from mlsdk.log.decode import Opened, decode
from mlsdk.log.values import encode
from mlsdk.records import Artifact, Run
from mlsdk.reproduce.verdict import Verdict
from mlsdk.store.base import Store

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:mlsdk:rerun-verdict:v1"

_HEAD_BYTES = 64 << 10
_PART_BYTES = 4 << 20


def attach(store: Store, run: Run, verdict: Verdict, reruns: Iterable[Run] = ()) -> Verdict:
    """Write a verdict onto its run, as facts and as a statement; returns it with the statement's digest.

    The last verdict counts as the run's; earlier ones stay in `run.verdicts`.
    """
    data = json.dumps(encode(statement(store, run, verdict, reruns)), ensure_ascii=False, indent=1).encode()
    values = {name: value for name, value in verdict.to_dict().items() if name != "statement"}
    Edit(store, run).judge(verdict.id, verdict.level, values, data)
    return attrs.evolve(verdict, statement=hashlib.sha256(data).hexdigest())


def statement(store: Store, run: Run, verdict: Verdict, reruns: Iterable[Run] = ()) -> dict[str, Any]:
    """The statement: its subjects are the logs and the artifacts of the run, by their SHA-256."""
    artifacts = [
        {"name": f"artifacts/{name}", "digest": {"sha256": digest}}
        for artifact in run.artifacts.values()
        for name, digest in _files(artifact)
    ]
    about = {"run", "id", "reruns", "env", "here", "at", "took_s", "by", "statement"}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [*_logs(store, run), *artifacts],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "rerunDefinition": {
                "run": run.id,
                "environment": verdict.env,
                "here": verdict.here,
                "resolvedDependencies": list(_made_from(run)),
            },
            "runDetails": {
                "builder": {"id": "urn:mlsdk:verify", "version": {"mlsdk": verdict.by.get("mlsdk", "")}},
                "metadata": {
                    "invocationId": verdict.id,
                    "finishedOn": verdict.to_dict()["at"],
                    "tookSeconds": verdict.took_s,
                    "user": verdict.by.get("user", ""),
                    "host": verdict.by.get("host", ""),
                },
                "byproducts": [log for rerun in reruns for log in _logs(store, rerun)],
            },
            "verdict": {name: value for name, value in verdict.to_dict().items() if name not in about},
        },
    }


def _files(artifact: Artifact) -> Iterator[tuple[str, str]]:
    """The files of an artifact with the digest of their bytes: of a folder each, for a folder has no bytes."""
    if not artifact.files:
        yield artifact.name, artifact.digest
    for path, digest in artifact.files.items():
        yield f"{artifact.name}/{path}", digest


def _made_from(run: Run) -> Iterator[dict[str, Any]]:
    """What the run was made from, by digest."""
    for name, found, key in (("code", run.code.get("tree"), "digest"), ("lock", run.environment.get("lock"), "digest")):
        if isinstance(found, Mapping) and isinstance(found.get(key), str):
            yield {"name": name, "digest": {"sha256": found[key]}}
    for name, dataset in run.datasets.items():
        known = {"digest": {"sha256": dataset.digest}} if dataset.digest else {}
        content = {"uri": f"urn:mlsdk:fingerprint:{dataset.fingerprint}"} if dataset.fingerprint else {}
        if known or content:  # a descriptor needs one of the two
            yield {"name": f"data/{name}", **known, **content}


def _logs(store: Store, run: Run) -> Iterator[dict[str, Any]]:
    """The logs of the main process, raw as they were written: sealed or not, here or on a server."""
    for log in sorted(store.logs.list(f"runs/{run.id}/")):
        head = next((entry for entry, _ in decode(store.logs.read(log, 0, _HEAD_BYTES), live=True)), None)
        if not isinstance(head, Opened) or head.header.get("role") not in ("main", "rank 0"):
            continue
        digest, offset = hashlib.sha256(), 0
        while part := store.logs.read(log, offset, _PART_BYTES):
            digest.update(part)
            offset += len(part)
        yield {"name": log, "digest": {"sha256": digest.hexdigest()}}
