"""The outbox: where it lies, what its URI may hold, what is let in, and how long its local copies stay."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import time
from pathlib import Path

import pytest

import mlsdk
from mlsdk.store import outbox, posting, shipment
from mlsdk.store.base import Store, open_file
from mlsdk.store.blobs import chunks
from mlsdk.store.memory import MemoryBlobs, MemoryLogs
from mlsdk.store.shipment import Shipment, send_outbox
from mlsdk.store.sqlite import SQLiteCatalog
from mlsdk.store.target import open_target
from mlsdk.store.trimming import trim
from mlsdk.testing import MadeLog
from tests import far
from tests.conftest import require


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A far store, its outbox in the test's own folder, and no companion."""
    monkeypatch.syspath_prepend(str(far.install(tmp_path)))
    monkeypatch.setenv("MLSDK_COMPANION", "0")
    monkeypatch.setattr(posting, "_announced", {})
    mlsdk.configure(outbox=str(tmp_path / "outbox"), ship_wait_s=5.0)
    return far.uri(tmp_path)


def record(uri: str, **options: object) -> mlsdk.ActiveRun:
    with mlsdk.run("far", store=uri, capture=(), **options) as run:  # type: ignore[arg-type]
        run.log(loss=0.5)
        run.log_artifact(b"some weights", name="weights")
    return run


def put(root: str, log: MadeLog) -> None:
    """A log in an outbox, as a writer of long ago left it."""
    store = open_file(f"file:{root}", ":memory:")
    store.logs.append(log.name, 0, log.data)


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ("https://ada:secret@runs.example/team", "MLSDK_TOKEN"),
        ("https://secret@runs.example/team", "MLSDK_TOKEN"),
        ("http://runs.example/team?token=secret", "MLSDK_TOKEN"),
        ("postgresql://ada:secret@db/runs", "PGPASSWORD"),
        ("postgresql://ada@db/runs?password=secret", "PGPASSWORD"),
        ("s3://bucket/runs?secret_access_key=secret", "AWS_SECRET_ACCESS_KEY"),
        ("s3://bucket/runs?endpoint=http://ada:secret@127.0.0.1:9000", "AWS_SECRET_ACCESS_KEY"),
        ("postgresql://db/runs?%70assword=secret", "PGPASSWORD"),
        ("az://container/runs?account_key=secret", "AWS_SECRET_ACCESS_KEY"),
        ("az://container/runs?sig=secret", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_no_secret_in_a_uri(given: str, where: str, tmp_path: Path) -> None:
    """A password or token in the URI is refused at the call, with where it belongs, and written nowhere."""
    mlsdk.configure(outbox=str(tmp_path / "outbox"))
    with pytest.raises(mlsdk.ConfigError, match=where) as caught:
        mlsdk.run("far", store=given)

    assert "secret" not in str(caught.value).replace("SECRET", "")
    assert not (tmp_path / "outbox").exists()


def test_where_it_lies(uri: str, tmp_path: Path) -> None:
    """There is one folder for a remote store, readable, only for its user, and it says whose it is."""
    target = open_target(uri)
    root = target.root or ""
    other = open_target(f"{uri}2").root or ""

    assert os.path.dirname(root) == os.path.dirname(other) == str(tmp_path / "outbox")
    assert root != other
    assert "far-team" in os.path.basename(root)
    assert stat.S_IMODE(os.stat(root).st_mode) == 0o700
    assert outbox.remote_of(root) == uri
    assert open_target(f"{uri}/").root == root


def test_by_default_in_the_folder_for_state(uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a setting it lies in XDG_STATE_HOME, else in ~/.local/state."""
    mlsdk.configure(outbox=None)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    at_home = outbox.folder_of(uri)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    assert at_home.startswith(str(tmp_path / "home" / ".local" / "state" / "mlsdk"))
    assert outbox.folder_of(uri).startswith(str(tmp_path / "state" / "mlsdk"))


def test_without_a_home(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home folder, as in containers, is told to name a folder; none is made below the working one."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    mlsdk.configure(outbox=None)
    with pytest.raises(mlsdk.ConfigError, match="MLSDK_OUTBOX"):
        mlsdk.run("far", store=uri)

    assert outbox.outboxes() == []
    assert not Path("~").exists()


def test_an_unknown_kind_of_store(uri: str) -> None:
    """A scheme that nobody offers is an error at the call that names those that are."""
    with pytest.raises(mlsdk.StoreError, match="known: az, far, file"):
        mlsdk.run("far", store="nowhere://else")


def test_without_a_companion_a_run_ships_itself(uri: str) -> None:
    """Where no companion may be started, a finished run is in the remote store, with its blobs, and no marker stays."""
    run = record(uri)
    found = mlsdk.get_run(run.id, store=uri)
    with found.open("weights") as file:
        weights = file.read()

    assert found.metrics["loss"].last == 0.5
    assert weights == b"some weights"
    assert outbox.markers(outbox.folder_of(uri)) == []
    assert run.store_uri == uri
    assert not Path(far.path(uri), "key").exists()


def test_what_is_left_is_kept_and_sent_later(uri: str) -> None:
    """With the network down nothing raises and all is kept; `sync` sends it, each once."""
    far.mood(uri, down=True)
    mlsdk.configure(ship_wait_s=0.3)
    runs = [record(uri), record(uri)]
    root = outbox.folder_of(uri)
    said = outbox.backlog(root)
    refused = send_outbox(root)
    far.mood(uri)
    sent = mlsdk.sync()

    assert said.startswith("2 runs are not yet up (")
    assert "connection refused, since" in said
    assert {left.why for left in refused.left} == {"connection refused"}
    assert sent.left == ()
    assert {run.id for run in mlsdk.runs(store=uri)} == {run.id for run in runs}
    assert outbox.backlog(root) == ""


def test_a_live_run_says_that_shipping_fails(uri: str) -> None:
    """While the store takes nothing, `problems` of a live run says so and why; when it works again, nothing."""
    with mlsdk.run("far", store=uri, capture=()) as run:
        root = outbox.folder_of(uri)
        before = run.problems
        far.mood(uri, refuse=True)
        send_outbox(root)
        during = run.problems
        far.mood(uri)
        send_outbox(root)
        after = run.problems

    assert (before, after) == ((), ())
    assert [problem.kind for problem in during] == ["shipping"]
    assert "the token is not valid" in during[0].message


def test_a_full_outbox_refuses_new_runs(uri: str) -> None:
    """When what waits is over the budget, a new run is refused with what to do; a live one goes on and says so."""
    far.mood(uri, down=True)
    mlsdk.configure(outbox_bytes=5_000, ship_wait_s=0.3)
    with mlsdk.run("far", store=uri, capture=()) as run:
        run.log_artifact(bytes(20_000), name="large")
        send_outbox(outbox.folder_of(uri))
        with pytest.raises(mlsdk.StoreError, match="mlsdk sync"):
            mlsdk.run("far", store=uri)
        run.log(loss=1.0)
        problems = run.problems
    far.mood(uri)
    mlsdk.sync()
    again = record(uri)
    mlsdk.sync()

    assert "MLSDK_OUTBOX_BYTES" in problems[-1].message
    assert {found.id for found in mlsdk.runs(store=uri)} == {run.id, again.id}


def test_the_oldest_copies_go_first(uri: str) -> None:
    """Over the budget the oldest wholly shipped runs go with their blobs; what is not shipped stays, however old."""
    root = open_target(uri).root or ""
    store = open_file(f"file:{root}", ":memory:")
    found = []
    for number in range(4):
        digest = store.blobs.put(bytes([number]) * 10_000)[0]
        log = MadeLog(f"01a{number}" + "0" * 28).facts({"artifacts": {"a": {"digest": digest}}}).close()
        put(root, log)
        found.append((log, digest))
    for folder, _, names in os.walk(root):
        for path in [folder, *(os.path.join(folder, name) for name in names)]:
            os.utime(path, (time.time() - 7200,) * 2)
    for number in (1, 2, 3):
        os.unlink(os.path.join(root, "ship", ".".join(found[number][0].name.split("/")[1:])))
    trim(root, 25_000)
    kept = [log.run for log, _ in found if store.logs.size(log.name)]

    assert kept == [found[0][0].run, found[3][0].run]
    assert [store.blobs.exists(digest) for _, digest in found] == [True, False, False, True]


def test_a_log_that_nobody_announced(uri: str) -> None:
    """What a crash left without any marker is found by `sync` and sent."""
    root = open_target(uri).root or ""
    log = MadeLog().close()
    put(root, log)
    for folder, _, names in os.walk(root):
        for name in names:
            if name.startswith(log.run):
                os.unlink(os.path.join(folder, name))
    os.utime(os.path.join(root, log.name + ".log"), (1e9, 1e9))
    send_outbox(root)

    assert open_file(f"file:{far.path(uri)}", ":memory:").logs.read(log.name) == log.data


def test_mended_after_a_part_was_sent(uri: str) -> None:
    """A log that was cut in the outbox after a part had gone is said to differ, and its marker stays."""
    root = open_target(uri).root or ""
    log = MadeLog(identity={"host": "elsewhere"}).points(["a"], [(step, 0.5) for step in range(50)])
    put(root, log)
    send_outbox(root)
    path = Path(root, log.name + ".log")
    path.write_bytes(log.data[: log.borders[10]] + log.data[log.borders[11] :])
    report = send_outbox(root)

    assert [left.name for left in report.left] == [log.name]
    assert "mlsdk doctor" in report.left[0].why
    assert len(outbox.markers(root)) == 1


def test_erased_there_does_not_go_back(uri: str) -> None:
    """A run that was erased in the remote store while a log of it waited here is not sent again."""
    root = open_target(uri).root or ""
    log = MadeLog(f"0190{'0' * 28}").close()
    put(root, log)
    remote = open_file(f"file:{far.path(uri)}", ":memory:")
    tombstone = MadeLog(log.run, "edit").facts({"run": {"deleted": True, "erased": {"name": "a"}}}).close()
    remote.layout.make()
    remote.logs.append(tombstone.name, 0, tombstone.data)
    report = send_outbox(root)

    assert report.left == ()
    assert list(remote.logs.list()) == [tombstone.name]
    assert outbox.markers(root) == []


def test_it_goes_on_where_it_was(uri: str) -> None:
    """A marker holds how much is there, so that the next one sends only the rest."""
    root = open_target(uri).root or ""
    log = MadeLog().points(["a"], [(step, 0.5) for step in range(1000)])
    put(root, log)
    send_outbox(root)
    marker = outbox.markers(root)[0]
    noted = Path(root, "ship", marker).read_text()
    log.points(["a"], [(1000, 0.5)]).close()
    with open(os.path.join(root, log.name + ".log"), "ab") as file:
        file.write(log.data[int(noted) :])
    shipment = Shipment(root)
    shipment.look()
    behind = [left.size_bytes for left in shipment.left()]
    shipment.send()

    assert int(noted) == log.borders[-3]
    assert behind == [len(log.data) - int(noted)]
    assert outbox.markers(root) == []


def test_a_live_run_is_found_in_its_store(uri: str) -> None:
    """A run that has just begun is found in the remote store by the process that records it, and can be edited."""
    with mlsdk.run("far", store=uri, capture=()) as run:
        run.log(loss=0.5)
        found = mlsdk.get_run(run.id, store=uri)
        mlsdk.edit(found, store=uri).set_tags({"a": 1})

    assert found.metrics["loss"].last == 0.5
    assert mlsdk.get_run(run.id, store=uri).tags == {"a": 1}


def test_a_resumed_run_whose_copy_is_gone(uri: str) -> None:
    """A run of which nothing is left here goes on where it is in the remote store: steps, points, blobs."""
    run = record(uri)
    root = outbox.folder_of(uri)
    for folder, _, names in os.walk(root):
        for name in names:
            os.utime(os.path.join(folder, name), (1e9, 1e9))
        os.utime(folder, (1e9, 1e9))
    trim(root, 0)
    kept = [name for name in os.listdir(os.path.join(root, "runs")) if name == run.id]
    with mlsdk.run(store=uri, resume=run.id, capture=()) as again:
        again.log(loss=0.25)
    found = mlsdk.get_run(run.id, store=uri)
    history = found.history("loss")
    with found.open("weights") as file:
        weights = file.read()

    assert kept == []
    assert (list(history.steps), list(history.values)) == ([0, 1], [0.5, 0.25])
    assert weights == b"some weights"


class Refusing(MemoryBlobs):
    """Blobs of which one is refused, as a store may that limits sizes."""

    def put(self, source):
        data = b"".join(chunks(source))
        if data == b"too large":
            raise mlsdk.StoreError("too large")
        return super().put(data)


def test_a_blob_that_is_refused_hinders_no_other(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob that the store does not take is told and stays marked; all others, and all logs, arrive."""
    logs, blobs = MemoryLogs(), Refusing()
    catalog = SQLiteCatalog(":memory:", logs, blobs)
    store = Store(uri, logs, blobs, catalog, catalog.take_in_all)
    monkeypatch.setattr(shipment, "_opened", lambda _: store)
    far.mood(uri, down=True)
    mlsdk.configure(ship_wait_s=0.1)
    for weights in (b"too large", b"small"):
        with mlsdk.run("far", store=uri, capture=()) as run:
            run.log_artifact(weights, name="weights")
    pass_ = send_outbox(outbox.folder_of(uri))

    assert {left.why for left in pass_.left} == {"too large"}
    assert blobs.exists(hashlib.sha256(b"small").hexdigest())
    assert len({marker.split(".")[0] for marker in outbox.markers(outbox.folder_of(uri))}) == 1
    assert len(list(logs.list())) >= 2


def test_without_file_locks(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without locks no companion is waited for: the process ships its runs itself."""
    real = fcntl.lockf

    def lockf(descriptor: int, how: int, *rest: int) -> None:
        if os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")).endswith(".lock"):
            raise OSError(errno.ENOLCK, "no locks available")
        real(descriptor, how, *rest)

    require(os.path.exists("/proc/self/fd"), "/proc")
    monkeypatch.setattr(fcntl, "lockf", lockf)
    monkeypatch.delenv("MLSDK_COMPANION")
    run = record(uri)

    assert mlsdk.get_run(run.id, store=uri).metrics["loss"].last == 0.5
    assert outbox.markers(outbox.folder_of(uri)) == []
    assert [problem.kind for problem in mlsdk.get_run(run.id, store=uri).problems] == ["companion"]
