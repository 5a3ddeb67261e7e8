"""Collecting garbage in stores that are no folders: in memory, in a bucket, on a server."""

from __future__ import annotations

import time

import pytest

import mlsdk
from mlsdk.store import open_store
from mlsdk.store.gc import collect
from mlsdk.testing import MadeLog
from tests.servers import s3
from tests.servers.http import running

DAY_NS = 86_400 * 1_000_000_000


@pytest.fixture(params=["memory", "moto", "http"])
def store(request, tmp_path, monkeypatch):
    if request.param == "memory":
        yield open_store(f"memory:{time.time_ns()}")
    elif request.param == "moto":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.SECRET)
        yield open_store(s3.moto().uri())
    else:
        with running(f"file:{tmp_path}/served") as served:
            monkeypatch.setenv("MLSDK_STORE", f"{served.url}/default")
            monkeypatch.setenv("MLSDK_TOKEN", served.token)
            yield open_store(f"{served.url}/default")


def made(store, name: str, *, artifact: bytes = b"", age_ns: int = 0, open_ended: bool = False) -> MadeLog:
    """A run of another host, in the store."""
    order = time.time_ns() - age_ns
    log = MadeLog(order=order).facts({"run": {"name": name, "experiment": "x", "started_ns": order}})
    if artifact:
        digest, size = store.blobs.put(artifact)
        log.facts({"artifacts": {"weights": {"digest": digest, "size_bytes": size, "kind": "file"}}})
    if not open_ended:
        log.facts({"run": {"status": "finished", "ended_ns": order + 1}}).close()
    store.logs.append(log.name, 0, log.data)
    return log


def delete(store, name: str) -> None:
    mlsdk.edit(store.find_one(name), store=store.uri).delete()


def erased(done) -> list[tuple[str, str]]:
    return sorted((item.kind, item.name) for item in done.erased)


def test_a_deleted_run_becomes_a_tombstone(store):
    """Of a deleted run one log is left, which says so in every catalog; what only it referred to goes as well."""
    gone, kept = made(store, "gone", artifact=b"only mine"), made(store, "kept", artifact=b"theirs")
    delete(store, "gone")
    dry = erased(collect(store, older_than_s=0, dry_run=True))
    done = collect(store, older_than_s=0)
    again = collect(store, older_than_s=0)
    run = store.find_one(gone.run)
    left = list(store.logs.list(f"runs/{gone.run}/"))

    assert dry == erased(done)
    assert [kind for kind, _ in dry] == ["blob", "run"]
    assert again.erased == ()
    assert (run.deleted, run.erased, run.name, dict(run.artifacts)) == (True, True, "gone", {})
    assert len(left) == 1
    assert left != [gone.name]
    assert [found.name for found in store.find().runs] == ["kept"]
    assert store.logs.read(kept.name) == kept.data
    assert len(list(store.blobs.list())) == 1


def test_what_is_young_or_written_stays(store):
    """A run deleted lately, one that another host may still write, and a blob that was put lately are kept."""
    made(store, "lately")
    live = made(store, "live", open_ended=True)
    delete(store, "lately")
    delete(store, "live")
    store.blobs.put(b"nobody's yet")
    first = collect(store)
    second = collect(store, older_than_s=0)

    assert first.erased == ()
    assert len(first.kept) == 2
    assert [kind for kind, _ in erased(second)] == ["run"]
    assert live.name in second.kept[0]
    assert len(list(store.blobs.list())) == 1


def test_who_was_silent_for_a_day_is_gone(store):
    """A deleted run whose writer, on another host, ended without a word is erased when it was silent for a day."""
    lost = made(store, "lost", open_ended=True, age_ns=2 * DAY_NS)
    delete(store, "lost")
    done = collect(store, older_than_s=0)

    assert erased(done) == [("run", lost.run)]


def test_a_collection_from_the_command_line(store, capsys):
    """`mlsdk gc --store URI` collects in any store."""
    from mlsdk.cli import main

    made(store, "gone")
    delete(store, "gone")
    code = main(["gc", "--store", store.uri, "--older-than", "0"])

    assert code == 0
    assert "erased 1 run" in capsys.readouterr().out
