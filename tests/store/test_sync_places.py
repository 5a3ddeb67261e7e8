"""Sync between stores of all kinds, on real servers: each kind with two others, both ways, twice."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import mlsdk
from mlsdk.store import credentials, open_store
from mlsdk.store.base import Store
from mlsdk.testing import MadeLog
from tests.conftest import require
from tests.servers import s3
from tests.servers.http import running
from tests.servers.postgres import shared_server

KINDS = ("memory", "file", "http", "postgresql", "bucket")


@pytest.fixture
def new(tmp_path, monkeypatch) -> Iterator[Callable[[str], str]]:
    """Makes an empty store of a kind and returns its URI."""
    numbers = itertools.count()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.SECRET)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with ExitStack() as stack:

        def make(kind: str) -> str:
            number = next(numbers)
            if kind == "http":
                served = stack.enter_context(running(f"file:{tmp_path}/served-{number}"))
                credentials.save(served.url, served.token)
                return f"{served.url}/default"
            if kind == "postgresql":
                return shared_server().uri()
            if kind == "bucket":
                require(importlib.util.find_spec("obstore"), "obstore")
                return s3.moto().uri()
            return f"memory:{tmp_path}/{number}" if kind == "memory" else f"file:{tmp_path}/{number}"

        yield make


def filled(uri: str, name: str) -> Store:
    """A store with a run that has ended, one that has not, a folder of files, and what several append to."""
    store = open_store(uri)
    weights, _ = store.blobs.put(b"weights of " + name.encode())
    listed, _ = store.blobs.put(f'{{"files": {{"w": "{weights}"}}}}'.encode())
    ended = MadeLog().facts({"run": {"name": name, "status": "finished"}, "artifacts": {"a": {"digest": listed}}})
    ended.points(["loss"], [(step, step / 3) for step in range(4000)]).close()  # long enough to be packed
    live = MadeLog().facts({"run": {"name": f"{name} goes on", "status": "running"}}).points(["a"], [(0, 1.0)])
    for log in (ended, live):
        store.logs.append(log.name, 0, log.data)
    if "seal" in store.logs.capabilities:
        store.logs.seal(ended.name)
    store.logs.append(f"shared/models/{name}", 0, b"an entry")
    return store


def content(store: Store) -> dict[str, bytes]:
    return {
        log: store.logs.read(log) for log in store.logs.list() if not log.startswith(("shared/access", "shared/audit"))
    }


def records(store: Store) -> list[object]:
    runs = store.find().runs
    return sorted((run.id, run.name, run.status.value, len(run.metrics), sorted(run.artifacts)) for run in runs)


PAIRS = [
    pytest.param(*pair, marks=[pytest.mark.slow] * bool({"postgresql", "bucket"} & {*pair}))
    for pair in zip(KINDS, (*KINDS[1:], KINDS[0]), strict=True)
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_any_two_kinds_end_equal(one: str, other: str, new) -> None:
    """Two stores of any kinds that know nothing of each other end with the same bytes, blobs and records."""
    here, there = new(one), new(other)
    if not there.startswith("memory:"):
        mlsdk.sync("memory:nothing", there)  # makes the folder
    if not here.startswith("memory:"):
        mlsdk.sync("memory:nothing", here)
    stores = [filled(here, "one"), filled(there, "other")]
    first, second = mlsdk.sync(here, there, check=True), mlsdk.sync(there, here, check=True)

    assert (first.left, second.left) == ((), ())
    assert (second.logs, second.blobs) == (0, 0)
    assert (first.logs, first.blobs) == (4, 4)
    assert content(stores[0]) == content(stores[1])
    assert len(content(stores[0])) == 6
    assert set(stores[0].blobs.list()) == set(stores[1].blobs.list())
    assert records(stores[0]) == records(stores[1])
    assert len(records(stores[0])) == 4
