"""Sync: any two stores of the same logs end equal, whatever was cut, sealed, copied, erased or sent before."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import mlsdk
from mlsdk.log.identity import writer_identity
from mlsdk.store import mending
from mlsdk.store.base import FolderStore, Store, open_file
from mlsdk.store.blobs import blob_path
from mlsdk.store.gc import collect
from mlsdk.store.grown import Walk, end_of
from mlsdk.store.memory import MemoryBlobs, MemoryLogs
from mlsdk.store.sqlite import SQLiteCatalog
from mlsdk.store.sync import BlobSender, carry
from mlsdk.testing import MadeLog
from tests.store.test_merging import RUN, logs, rows

CHANCE = st.randoms(use_true_random=False)


def folder_store(path: Path) -> FolderStore:
    store = open_file(f"file:{path}", ":memory:")
    store.layout.make()
    return store


def memory_store() -> Store:
    kept, blobs = MemoryLogs(), MemoryBlobs()
    catalog = SQLiteCatalog(":memory:", kept, blobs)
    return Store("memory:x", kept, blobs, catalog, catalog.take_in_all)


def fill(store: Store, log: str, data: bytes, how: str) -> None:
    """Put a log into a store as somebody may have left it there."""
    if not data:
        return
    if isinstance(store, FolderStore):
        _, run, writer = log.split("/")
        path = Path(store.layout.log_path(log))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data + (bytes(300) if how == "allocated" else b""))
        store.layout.mark_open(run, writer)
        if how == "sealed" and end_of(data):
            store.logs.seal(log)
        os.utime(store.layout.runs)
        if path.exists():
            os.utime(path, (1e9, 1e9))  # nobody is writing it
    else:
        store.logs.append(log, 0, data)


def content(store: Store) -> dict[str, bytes]:
    """What each log says: up to its last whole frame."""
    found = {log: store.logs.read(log) for log in store.logs.list("runs/")}
    return {log: data[: end_of(data)] for log, data in found.items() if end_of(data)}


def view(store: Store) -> object:
    """What a catalog built anew from a store's logs holds."""
    fresh = MemoryLogs()
    for log, data in content(store).items():
        fresh.append(log, 0, data)
    catalog = SQLiteCatalog(":memory:", fresh, MemoryBlobs())
    catalog.rebuild()
    return rows(catalog)


def refreshed(store: Store) -> object:
    store.refresh()
    try:
        return store.catalog.get(RUN).status
    except mlsdk.NotFoundError:
        return None


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(st.lists(logs(damaged=False), min_size=1, max_size=4, unique_by=lambda log: log.name), CHANCE)
def test_any_stores_end_equal(found, chance: random.Random) -> None:
    """Three stores with any cuts of the same logs, torn, sealed or allocated, end equal to a merge of them all."""
    home = Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR")))
    stores: list[Store] = [folder_store(home / "a"), folder_store(home / "b"), memory_store()]
    longest: dict[str, bytes] = {}
    for log in found:
        for store in stores:
            cut = log.data[: chance.choice([0, len(log.data), chance.randrange(len(log.data) + 1)])]
            fill(store, log.name, cut, chance.choice(["raw", "sealed", "allocated"]))
            valid = cut[: end_of(cut)]
            if valid:
                longest[log.name] = max(longest.get(log.name, b""), valid, key=len)
    pairs = [(a, b) for a in stores for b in stores if a is not b]
    left = [carry(*pair).left for pair in chance.sample(pairs, len(pairs))]
    left += [carry(*pair).left for pair in pairs]  # what came late goes round
    again = [carry(*pair) for pair in pairs]

    assert [part for part in left if part] == []
    assert [content(store) for store in stores] == [longest] * 3
    assert view(stores[0]) == view(stores[2])
    assert len({refreshed(store) for store in stores}) == 1
    assert [(part.logs, part.blobs) for part in again] == [(0, 0)] * len(pairs)
    shutil.rmtree(home, ignore_errors=True)


@settings(max_examples=80)
@given(logs(), CHANCE, st.booleans())
@example(MadeLog(RUN).points(["a"], [(step, float(step)) for step in range(500)]).close(), random.Random(1), False)
def test_a_walk_ends_where_the_last_valid_frame_ends(log, chance: random.Random, live: bool) -> None:
    """In pieces of any length a walk passes over all that valid frames stand in, and nothing behind them."""
    data = log.data + bytes(chance.randrange(60))
    walk = Walk()
    while True:
        size = chance.choice([40, 200, 2000, len(data)])
        piece = data[walk.offset : walk.offset + size]
        used = walk.take(piece, live=live, whole=walk.offset + len(piece) >= len(data))
        if not used:
            rest = data[walk.offset :]
            used = walk.take(rest, live=live, whole=True)
        if not used:
            break

    assert walk.offset == end_of(data) or (live and walk.offset < end_of(data))


def made(steps: int = 100, *, run: str | None = None, closed: bool = True, **options) -> MadeLog:
    log = MadeLog(run, **options).facts({"run": {"name": "a", "status": "finished"}})
    log.points(["loss"], [(step, step / 3) for step in range(steps)])
    return log.close() if closed else log


@pytest.fixture
def here(tmp_path: Path) -> FolderStore:
    return folder_store(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> FolderStore:
    return folder_store(tmp_path / "there")


def test_sent_once(here, there) -> None:
    """A second pass sends nothing, and the other direction has nothing to bring back."""
    log = made(5_000)
    here.logs.append(log.name, 0, log.data)
    first, second, back = carry(here, there), carry(here, there), carry(there, here)

    assert (first.logs, first.size_bytes, first.left) == (1, len(log.data), ())
    assert (second.logs, back.logs) == (0, 0)
    assert there.logs.read(log.name) == log.data
    assert there.logs.is_sealed(log.name), "a log that has ended is packed there too"


def test_a_half_written_frame_waits(here, there) -> None:
    """Of a live log only whole frames are sent; the frame that was half there follows when it is whole."""
    log = made(10, closed=False, identity=writer_identity())
    path = Path(here.layout.log_path(log.name))
    path.parent.mkdir()
    path.write_bytes(log.data[:-5] + bytes(500))
    carry(here, there)
    before = there.logs.size(log.name)
    path.write_bytes(log.data + bytes(500))
    carry(here, there)

    assert before == log.borders[-2]
    assert there.logs.read(log.name) == log.data


def test_damage_goes_along(here, there) -> None:
    """Bytes in the middle that are no frame are carried as they are; what was allocated behind the end is not."""
    log = made(100)
    damaged = log.data[: log.borders[50]] + b"\0garbage" + log.data[log.borders[50] + 30 :]
    here.logs.append(log.name, 0, damaged + bytes(4096))
    os.utime(here.layout.log_path(log.name), (1e9, 1e9))
    carry(here, there)

    assert there.logs.read(log.name) == damaged


def test_other_bytes_are_reported_and_hinder_nobody(here, there) -> None:
    """A log that is another one there is told, changed on neither side, and all others are sent."""
    one, other = made(50), made(50)
    here.logs.append(one.name, 0, one.data)
    here.logs.append(other.name, 0, other.data)
    mended = one.data[: one.borders[9]] + one.data[one.borders[10] : one.borders[20]]
    there.logs.append(one.name, 0, mended)
    done = carry(here, there)

    assert [(left.name, "doctor" in left.why) for left in done.left] == [(one.name, True)]
    assert there.logs.read(one.name) == mended
    assert here.logs.read(one.name) == one.data
    assert there.logs.read(other.name) == other.data


class Choosy(MemoryLogs):
    """Refuses one log, as a server does whose reader does not know its format."""

    refused = ""

    def append(self, log, offset, data):
        if log == self.refused:
            raise mlsdk.StoreError("this log is refused")
        return super().append(log, offset, data)


def test_a_log_that_is_refused_hinders_nobody(here) -> None:
    """Where a store does not take one log, all others are sent and this one is told with the reason."""
    found = [made(20) for _ in range(4)]
    for log in found:
        here.logs.append(log.name, 0, log.data)
    there = memory_store()
    there.logs = Choosy()
    there.logs.refused = found[1].name
    done = carry(here, there)

    assert [(left.name, left.why) for left in done.left] == [(found[1].name, "this log is refused")]
    assert list(there.logs.list()) == [log.name for log in found if log is not found[1]]


def test_erased_runs_do_not_come_back(here, there) -> None:
    """What `gc` has erased on one side is not carried back, and the other side learns that it was."""
    log = made(10, order=1)
    here.logs.append(log.name, 0, log.data)
    carry(here, there)
    here.refresh()
    mlsdk.Edit(here, here.catalog.get(log.run)).delete()
    collect(here, older_than_s=0)
    passes = [carry(there, here), carry(here, there), carry(there, here)]
    there.refresh()

    assert [part.left for part in passes] == [()] * 3
    assert len(list(here.logs.list())) == 1
    assert there.catalog.get(log.run).erased
    assert list(there.catalog.find().runs) == []


def test_blobs_come_along(here, there, tmp_path) -> None:
    """What logs name is brought, what a list names too; what nothing names stays, and what is missing comes later."""
    part = here.blobs.put(b"part of a folder")[0]
    listed = here.blobs.put(f'{{"a.txt": "{part}"}}'.encode())[0]
    here.blobs.put(b"named by nothing")
    log = MadeLog().facts({"artifacts": {"folder": {"digest": listed}}}).close()
    here.logs.append(log.name, 0, log.data)
    first = carry(here, there)
    before = sorted(there.blobs.list())
    there.blobs.delete(part)
    second = carry(here, there)

    assert (first.blobs, second.blobs) == (2, 1)
    assert before == sorted(there.blobs.list()) == sorted([part, listed])


def test_shared_logs(here, there) -> None:
    """Entries of shared logs are brought in order; where both sides have others, both stay and it is told."""
    here.logs.append("shared/models/churn", 0, b"one;")
    here.logs.append("shared/models/churn", 4, b"two;")
    here.logs.append("shared/access", 0, b"who may do what is a server's own")
    there.logs.append("shared/models/churn", 0, b"one;")
    there.logs.append("shared/models/other", 0, b"mine")
    here.logs.append("shared/models/other", 0, b"yours")
    done = carry(here, there)

    assert there.logs.read("shared/models/churn") == b"one;two;"
    assert [left.name for left in done.left] == ["shared/models/other"]
    assert list(there.logs.list("shared/")) == ["shared/models/churn", "shared/models/other"]


def test_a_sealed_log_is_unpacked_once(here, there, monkeypatch) -> None:
    """However many pieces a sealed log is sent in, it is unpacked once."""
    log = (
        MadeLog()
        .points([f"m{number}" for number in range(1000)], [(step, *range(1000)) for step in range(300)])
        .close()
    )
    here.logs.append(log.name, 0, log.data)
    here.logs.seal(log.name)
    here.refresh()
    unpacked, unseal = [], type(here.logs)._unsealed
    monkeypatch.setattr(type(here.logs), "_unsealed", lambda self, log: unpacked.append(log) or unseal(self, log))
    carry(here, there)

    assert len(log.data) > 2 << 20
    assert unpacked == [log.name]
    assert there.logs.read(log.name) == log.data


def test_two_at_once(here, there) -> None:
    """Two who send the same logs at the same time do not disturb each other."""
    found = [made(2_000) for _ in range(8)]
    for log in found:
        here.logs.append(log.name, 0, log.data)
    done: list[object] = []
    threads = [threading.Thread(target=lambda: done.append(carry(here, there).left)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert done == [()] * 3
    assert [there.logs.read(log.name) for log in found] == [log.data for log in found]


def test_the_function_goes_both_ways(tmp_path) -> None:
    """`mlsdk.sync` of two stores gives both the runs of both, a store that is not there yet is made."""
    with mlsdk.run("a", store=tmp_path / "one") as run:
        run.log(acc=0.5)
    report = mlsdk.sync(tmp_path / "one", tmp_path / "two")
    with mlsdk.run("b", store=tmp_path / "two"):
        pass
    mlsdk.sync(tmp_path / "one", tmp_path / "two")
    there = mlsdk.get_run(run.id, store=tmp_path / "two")

    assert report.left == ()
    assert there.metrics["acc"].last == 0.5
    assert [len(mlsdk.runs(store=tmp_path / name)) for name in ("one", "two")] == [2, 2]
    assert list(there.history("acc").values) == [0.5]


def test_check_finds_other_bytes_of_the_same_length(tmp_path) -> None:
    """What was altered in the middle of a log, its length kept, is told by a check, and by nothing else."""
    here, there = folder_store(tmp_path / "a"), folder_store(tmp_path / "b")
    log, sound = made(100), made(10)
    for each in (log, sound):
        fill(here, each.name, each.data, "raw")
    mlsdk.sync(tmp_path / "a", tmp_path / "b")
    middle = len(log.data) // 2
    altered = log.data[:middle] + bytes([log.data[middle] ^ 1]) + log.data[middle + 1 :]
    Path(there.layout.log_path(log.name)).write_bytes(altered)
    plain = mlsdk.sync(tmp_path / "a", tmp_path / "b")
    checked = mlsdk.sync(tmp_path / "a", tmp_path / "b", check=True)

    assert plain.left == ()
    assert [(left.name, f"from {middle:,} on" in left.why) for left in checked.left] == [(log.name, True)]
    assert here.logs.read(log.name) == log.data
    assert there.logs.read(log.name) == altered


def test_what_is_half_there_on_a_server_stays_there(here, there) -> None:
    """Shared logs that are a server's own, such as lists of parts of uploads, are not brought over."""
    for log in ("shared/access", "shared/audit/a", "shared/uploads/default/x", "shared/models/a"):
        here.logs.append(log, 0, b"x")
    carry(here, there)

    assert list(there.logs.list()) == ["shared/models/a"]


def test_a_blob_that_is_there_is_renewed(here, there) -> None:
    """A blob which the other side has since long is made young when a log that names it comes, so that `gc` waits."""
    digest, _ = here.blobs.put(b"weights")
    there.blobs.put(b"weights")
    os.utime(blob_path(there.layout.blobs, digest), (1e9, 1e9))
    sender = BlobSender(here, there)
    sender.send(digest)

    assert there.blobs.info(digest)[1] < 3600
    assert (sender.count, sender.size_bytes) == (0, 0)


def test_space_is_cut_off_once(there) -> None:
    """What another has appended behind allocated space that was cut off meanwhile is not cut off with it."""
    log = made(100)
    fill(there, log.name, log.data[: log.borders[50]], "allocated")
    seen = there.logs.read(log.name)
    mending.cut(there.layout, log.name)
    there.logs.append(log.name, log.borders[50], log.data[log.borders[50] :])
    mending.cut(there.layout, log.name)

    assert len(seen) > log.borders[50]
    assert there.logs.read(log.name) == log.data
