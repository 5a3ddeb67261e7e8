"""The store that a command works on, and its answers as strict JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mlsdk.errors import StoreError, UsageError
from mlsdk.log.values import encode
from mlsdk.records import Run
from mlsdk.store import open_store
from mlsdk.store.base import FolderStore, Store

BEGIN = "runs appear here once a function decorated with @mlsdk.track, or a `with mlsdk.run(...)` block, has run"


def existing(uri: str | None) -> Store:
    """The store, which must be there.

    Raises:
        StoreError: there is none yet.
    """
    store = open_store(uri)
    if not is_there(store):
        raise StoreError(
            f"there is no store {where(store)} yet: {BEGIN}; another one is named by --store or MLSDK_STORE"
        )
    return store


def is_there(store: Store) -> bool:
    """Whether the store has been made."""
    return not isinstance(store, FolderStore) or store.layout.check()


def where(store: Store) -> str:
    """The store as people name it: its folder, where it has one."""
    return store.layout.root if isinstance(store, FolderStore) else store.uri


def in_folder(store: Store, command: str) -> FolderStore:
    """The store itself, which must be one in a folder.

    Raises:
        UsageError: it has none.
    """
    if not isinstance(store, FolderStore):
        raise UsageError(f"`mlsdk {command}` works on stores in a folder, not on {store.uri}")
    return store


def writable(store: Store, command: str) -> FolderStore:
    """The store itself, which must be one in a folder that may be written.

    Raises:
        UsageError: it has no folder.
        ReadOnlyError: it may only be read.
    """
    found = in_folder(store, command)
    if not os.access(found.layout.root, os.W_OK):
        from mlsdk.errors import ReadOnlyError

        raise ReadOnlyError(f"the store {found.layout.root} may only be read; `mlsdk {command}` has to write to it")
    return found


def emit(value: object) -> int:
    """Print a value as strict JSON: what JSON does not have is tagged as in the log format. Returns 0."""
    json.dump(plain(value), sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")
    return 0


def plain(value: object) -> Any:
    """A value as JSON has it: times as text, mappings and lists part by part, the rest tagged (docs/format.md)."""
    if isinstance(value, datetime):
        return iso(value)
    if type(value) is dict and all(isinstance(key, str) for key in value) and "$" not in value:
        return {key: plain(part) for key, part in value.items()}
    if type(value) is list:
        return [plain(part) for part in value]
    return encode(value)


def iso(moment: datetime | None) -> str | None:
    """A time in UTC, as `2026-11-20T15:21:03.123456Z`."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def summary(run: Run) -> dict[str, object]:
    """A run as `ls`, `best` and `export` print it in JSON."""
    return {
        "id": run.id,
        "name": run.name,
        "experiment": run.experiment,
        "status": run.status.value,
        "started_at": iso(run.started_at),
        "ended_at": iso(run.ended_at),
        "duration_s": run.duration_s,
        "parent": run.parent,
        "deleted": run.deleted,
        "note": run.note,
        "reproduced": run.reproduced,
        "host": run.host,
        "user": run.user,
        "params": dict(run.params),
        "metrics": {name: _fields(metric) for name, metric in run.metrics.items()},
        "tags": dict(run.tags),
    }


def everything(run: Run) -> dict[str, object]:
    """A run as `show` prints it in JSON."""
    return {
        **summary(run),
        "ranks": {role: {name: _fields(metric) for name, metric in found.items()} for role, found in run.ranks.items()},
        "rank_states": {
            rank.role: {
                "status": str(rank.status),
                "host": rank.host,
                "ended_at": iso(rank.ended_at),
                "error": None if rank.error is None else dict(rank.error),
            }
            for rank in run.ranks.values()
            if rank.status is not None
        },
        "datasets": {name: _fields(found) for name, found in run.datasets.items()},
        "artifacts": {name: _fields(found) for name, found in run.artifacts.items()},
        "inputs": {name: _fields(found) for name, found in run.inputs.items()},
        "code": dict(run.code),
        "environment": dict(run.environment),
        "hardware": dict(run.hardware),
        "problems": [_fields(found) for found in run.problems],
        "changes": [_fields(found) for found in run.changes],
        "error": None if run.error is None else dict(run.error),
        "verdict": dict(run.verdict),
        "children": list(run.children),
    }


def _fields(record: Any) -> dict[str, object]:
    import attrs

    found = {
        field.name: getattr(record, field.name) for field in attrs.fields(type(record)) if field.alias == field.name
    }
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in found.items()}
