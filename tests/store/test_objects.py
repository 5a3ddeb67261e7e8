"""A bucket as a store: the contract suites on real servers, and what is a bucket's own."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

import mlsdk
from mlsdk.errors import AccessError, DigestError, NewerFormatError, StoreError, UnavailableError
from mlsdk.store import objects
from mlsdk.store.objects.keys import blob_key
from mlsdk.store.objects.logs import ObjectLogs
from mlsdk.store.seams import Piece
from mlsdk.store.sqlite import SQLiteCatalog
from mlsdk.testing import BlobsContract, CatalogContract, LogsContract, MadeLog
from mlsdk.testing.logs import _error
from mlsdk.testing.made import START_NS
from tests.servers import s3
from tests.servers.proxy import Proxy, answer, cut_request, drop, duplicate, lose_answer

pytest.importorskip("obstore")


@pytest.fixture(autouse=True)
def _credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.SECRET)


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name == "ceph")) for name in s3.SERVERS])
def server(request):
    return s3.SERVERS[request.param]()


@pytest.fixture
def uri(server):
    return server.uri()


def open_logs(uri: str) -> ObjectLogs:
    return objects.open_objects(uri).logs


class TestObjectLogs(LogsContract):
    @pytest.fixture
    def logs(self, uri):
        return open_logs(uri)

    @pytest.fixture
    def reopen(self, uri):
        return functools.partial(open_logs, uri)


class TestObjectBlobs(BlobsContract):
    resolution_s = 1.0

    @pytest.fixture
    def store(self, uri):
        return objects.open_objects(uri)

    @pytest.fixture
    def blobs(self, store):
        return store.blobs

    @pytest.fixture
    def damage(self, store):
        return lambda digest: store.logs.bucket.put(blob_key(digest), b"no")


class TestCatalogOfABucket(CatalogContract):
    @pytest.fixture
    def logs(self, uri):
        return open_logs(uri)

    @pytest.fixture
    def catalog(self, logs, tmp_path):
        catalog = SQLiteCatalog(str(tmp_path / "catalog.db"), logs, objects.ObjectBlobs(logs.bucket))
        yield catalog
        catalog.close()


# what is a bucket's own


@pytest.fixture
def honouring():
    """A server that honours conditions."""
    return s3.moto()


@pytest.fixture
def proxy(honouring):
    with Proxy(honouring.port) as found:
        yield found


def through(proxy, server) -> str:
    return server.uri(f"http://127.0.0.1:{proxy.port}")


def finished(name: str, *, at: int = 0, points: int = 4) -> MadeLog:
    log = MadeLog(order=START_NS + at).facts({"run": {"name": name, "experiment": "x", "started_ns": START_NS + at}})
    log.points(["loss"], [(step, step / 3) for step in range(points)])
    return log.facts({"run": {"status": "finished", "ended_ns": START_NS + at + 1}}).close()


def names(store) -> list[str]:
    return sorted(run.name for run in store.find().runs)


def test_a_lost_catalog_comes_back(server, uri, tmp_path):
    """A catalog of another machine, and one that was deleted, find what the first one found."""
    store = objects.open_objects(uri, str(tmp_path / "a.db"))
    logs = [finished("a"), finished("b", at=1)]
    for log in logs:
        store.logs.append(log.name, 0, log.data)
    first = names(store)
    other = objects.open_objects(uri, str(tmp_path / "b.db"))
    second = names(other)
    (tmp_path / "a.db").unlink()
    third = names(store)
    history = list(other.catalog.series(logs[0].run, "loss").values)

    assert first == second == third == ["a", "b"]
    assert history == [0, 1 / 3, 2 / 3, 1]


def test_what_grows_and_ends_is_seen(server, uri, tmp_path):
    """Another reader sees a log begin, grow and end, whether or not it looked in between."""
    writer, reader = open_logs(uri), objects.open_objects(uri, str(tmp_path / "r.db"))
    log, quick = finished("slow", points=50), finished("quick")
    seen = [names(reader)]
    for start, end in [(0, log.borders[1]), (log.borders[1], log.borders[20]), (log.borders[20], len(log.data))]:
        writer.append(log.name, start, log.data[start:end])
        seen.append([(run.name, run.metrics["loss"].count if run.metrics else 0) for run in reader.find().runs])
    writer.append(quick.name, 0, quick.data)

    assert seen == [[], [("slow", 0)], [("slow", 18)], [("slow", 50)]]
    assert names(reader) == ["quick", "slow"]
    assert {run.status for run in reader.find().runs} == {"finished"}
    assert writer.marks.opened() == []
    assert len(list(writer.marks.closed(0))) == 2


def test_nothing_new_costs_two_listings(proxy, honouring, tmp_path):
    """A look when nothing is new costs the same few requests however many runs there are."""
    uri = through(proxy, honouring)
    logs, reader = open_logs(uri), objects.open_objects(uri, str(tmp_path / "r.db"))
    asked = []
    for many in (1, 30):
        pieces = [Piece(log.name, 0, log.data) for log in (finished(f"{many}-{n}") for n in range(many))]
        logs.append_all(pieces)
        reader.find()
        proxy.requests.clear()
        reader.find()
        asked.append([request.method for request in proxy.requests])
    later = objects.open_objects(uri, str(tmp_path / "r.db"))
    proxy.requests.clear()

    assert asked == [["GET", "GET"], ["GET", "GET"]]
    assert len(names(later)) == 31
    assert len(proxy.requests) == 3, "the version of the layout is looked at once in a process"


def test_an_end_that_was_not_announced(proxy, honouring, tmp_path):
    """A sender that was cut off between the last piece and its marker announces the end when it sends again."""
    uri = through(proxy, honouring)
    log = finished("a")
    proxy.only = lambda request: "/closed/" in request.path
    proxy.always(answer(503))
    with pytest.raises(UnavailableError):
        open_logs(uri).append(log.name, 0, log.data)
    proxy.calm()
    before = list(open_logs(uri).marks.closed(0))
    open_logs(uri).append(log.name, 0, log.data)
    again = open_logs(uri)
    again.append(log.name, 0, log.data)

    assert before == []
    assert [found for _, found in again.marks.closed(0)] == [log.name]
    assert again.marks.opened() == []


def test_two_senders_of_one_log(server, uri):
    """Two processes that ship the same log in other pieces at once leave it whole, and nothing twice."""
    log = finished("a", points=200)
    first, second = open_logs(uri), open_logs(uri)

    def send(logs, size):
        for start in range(0, len(log.data), size):
            logs.append(log.name, start, log.data[start : start + size])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(send, (first, second), (500, 700)))

    for logs in (first, second, open_logs(uri)):
        assert logs.read(log.name) == log.data
        assert logs.size(log.name) == len(log.data)


def test_pieces_of_many_logs_in_one_call(server, uri):
    """Pieces of many logs go in one call; a piece that does not fit hinders no other, and says the true end."""
    logs = open_logs(uri)
    many = [finished(str(number)) for number in range(8)]
    pieces = [Piece(log.name, at, log.data[at : at + 100]) for log in many for at in range(0, len(log.data), 100)]
    hole = Piece(finished("hole").name, 7, b"x")
    found = logs.append_all([*pieces, hole, Piece(many[0].name, 3, b"other")])
    objects_of_one = list(logs.bucket.list(many[0].name))

    assert [int(end) for end in found[: len(pieces)]] == [
        len(log.data) for log in many for _ in range(0, len(log.data), 100)
    ]
    assert [(conflict.log, conflict.end) for conflict in found[-2:]] == [
        (hole.log, 0),
        (many[0].name, len(many[0].data)),
    ]
    assert len(objects_of_one) == 1


def test_seals_take_the_place_of_pieces(server, uri, tmp_path):
    """A sealed log is one object; a reader that knew its pieces, and one who never did, read the same."""
    logs, other = open_logs(uri), objects.open_objects(uri, str(tmp_path / "r.db"))
    log = finished("a", points=300)
    for start in range(0, len(log.data), 2000):
        logs.append(log.name, start, log.data[start : start + 2000])
    before = other.logs.read(log.name, 10, 3000)
    sealed = logs.seal(log.name)
    left = [item.key for item in logs.bucket.list(log.name)]

    assert before == other.logs.read(log.name, 10, 3000) == log.data[10:3010]
    assert sealed
    assert [key.rpartition("/")[2].partition("-")[0] for key in left] == ["seal"]
    assert other.logs.size(log.name) == len(log.data)
    assert list(other.find().runs[0].history("loss").values) == [step / 3 for step in range(300)]
    assert logs.open_sealed(log.name).raw_length == len(log.data)


# servers that differ, and networks that fail


@pytest.mark.parametrize(("kind", "wanted"), [("moto", True), ("rclone", False)])
def test_what_a_server_can_do_is_asked_once(kind, wanted, tmp_path):
    """Whether a server honours conditions is tried out once and remembered in the bucket."""
    server = s3.SERVERS[kind]()
    with Proxy(server.port) as proxy:
        uri = through(proxy, server)
        found = "shared" in open_logs(uri).capabilities
        proxy.requests.clear()
        again = "shared" in open_logs(uri).capabilities
        asked = [request.method for request in proxy.requests]

    assert found is again is wanted
    assert asked == ["GET", "GET"]


def test_shared_logs_are_refused_where_conditions_are_ignored():
    """Where the server would overwrite, shared logs are refused with an error that says what to do."""
    with pytest.raises(StoreError, match=r"If-None-Match, or a team server"):
        open_logs(s3.rclone().uri()).append("shared/models/churn", 0, b"x")


@pytest.mark.parametrize(
    "fault", [lose_answer(), cut_request(20), drop(), answer(503), duplicate()], ids=lambda f: f.kind
)
def test_a_put_with_an_unknown_outcome(proxy, honouring, fault):
    """An entry whose put was cut in the middle, or done and never confirmed, stands there once after another try."""
    logs = open_logs(through(proxy, honouring))
    logs.append("shared/models/churn", 0, b"first;")
    proxy.only = lambda request: request.method == "PUT" and "/shared/" in request.path
    proxy.next(*[fault] * 5)
    for _ in range(4):
        try:
            end = logs.append("shared/models/churn", 6, b"mine;")
            break
        except UnavailableError:
            continue

    assert end == 11
    assert logs.read("shared/models/churn") == b"first;mine;"
    assert len(list(logs.bucket.list("shared/models/churn"))) == 2


def test_errors_say_what_to_do(proxy, honouring, monkeypatch):
    """A store that is away, overloaded, forbidden or without its bucket says which."""
    uri = through(proxy, honouring)
    logs = open_logs(uri)
    found = []
    for fault in (answer(503), answer(429), answer(403), answer(401)):
        proxy.always(fault)
        found.append(_error(lambda: logs.size("shared/x/y")))
    proxy.calm()
    missing = uri.replace("s3://tests/", "s3://nowhere/")
    found.append(_error(lambda: open_logs(missing).append(finished("a").name, 0, b"x")))
    found.append(_error(lambda: list(open_logs(missing).list())))
    proxy.down()
    found.append(_error(lambda: logs.size("shared/x/y")))
    kinds = [UnavailableError] * 2 + [AccessError] * 2 + [StoreError] * 2 + [UnavailableError]

    assert [type(error) for error in found] == kinds
    assert "does not exist: make it first" in str(found[4])
    assert "does not exist: make it first" in str(found[5])
    assert s3.SECRET not in "".join(map(str, found))


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
        ("s3://key:secret@bucket/x", "a name or a password in it"),
        ("s3://bucket/x?secret_access_key=secret", "its options are endpoint"),
        ("s3:///x", "names no bucket"),
    ],
)
def test_secrets_do_not_stand_in_uris(uri, wanted):
    """A URI with credentials, or with an option that is none, is refused without repeating the secret."""
    with pytest.raises(StoreError, match=wanted) as caught:
        objects.open_objects(uri)

    assert "=secret" not in str(caught.value)
    assert ":secret" not in str(caught.value)


def test_a_newer_layout_is_refused(uri):
    """A bucket of a newer mlsdk is neither read nor written."""
    store = objects.open_objects(uri, ":memory:")
    store.logs.bucket.put("format", b"mlsdk store 99\n")

    for call in (store.find, lambda: store.logs.append(finished("a").name, 0, b"x")):
        with pytest.raises(NewerFormatError, match="pip install -U mlsdk"):
            call()


# blobs


LARGE = os.urandom(1 << 20) * 20


def test_large_blobs_go_once(proxy, honouring, tmp_path):
    """A large file is sent in parts, and not sent again where it is there; the whole and ranges come back."""
    blobs = objects.open_objects(through(proxy, honouring), ":memory:").blobs
    (tmp_path / "large").write_bytes(LARGE)
    digest, size = blobs.put(str(tmp_path / "large"))
    proxy.requests.clear()
    again = blobs.put(io.BytesIO(LARGE))
    sent = sum(len(request.body) for request in proxy.requests)
    with blobs.open(digest) as file:
        whole = file.read()
    with blobs.open(digest, 1 << 20, 10) as file:
        part = file.read()

    assert again == (digest, size)
    assert sent < 1000
    assert whole == LARGE
    assert part == LARGE[:10]


def test_a_file_that_changes_while_it_is_put(uri, tmp_path, monkeypatch):
    """A file that changes between being hashed and being sent leaves nothing under the old digest."""
    blobs = objects.open_objects(uri, ":memory:").blobs
    path = tmp_path / "file"
    path.write_bytes(LARGE)
    renew = blobs.renew
    monkeypatch.setattr(blobs, "renew", lambda *args: path.write_bytes(LARGE[:-1] + b"!") and renew(*args))
    with pytest.raises(StoreError, match="changed while it was put"):
        blobs.put(str(path))

    assert list(blobs.list()) == []


def test_presigned(uri):
    """Who has no credentials puts and gets by presigned URLs; other bytes than promised are refused."""
    blobs = objects.open_objects(uri, ":memory:").blobs
    digest = hashlib.sha256(b"content").hexdigest()
    early = blobs.accept(digest, 7)
    for content in (b"another", b"content"):
        url = blobs.presign(digest, "PUT", 60)
        request = urllib.request.Request(url, content, {"Content-Type": "application/octet-stream"}, method="PUT")
        urllib.request.urlopen(request, timeout=10).close()
        visible = blobs.exists(digest)
        if content == b"another":
            with pytest.raises(DigestError):
                blobs.accept(digest, 7)
    taken = [blobs.accept(digest, 7), blobs.accept(digest, 7)]
    with urllib.request.urlopen(blobs.presign(digest, "GET", 60), timeout=10) as response:
        content = response.read()

    assert not early
    assert not visible
    assert taken == [True, True]
    assert content == b"content"


def test_what_is_put_again_is_not_removed(uri, monkeypatch):
    """A blob that is renewed in the moment in which it is removed stays; one that is not goes."""
    blobs = objects.open_objects(uri, ":memory:").blobs
    digest, size = blobs.put(b"content")
    young = blobs.delete(digest, 3600)
    copy = blobs._bucket.copy
    monkeypatch.setattr(blobs._bucket, "copy", lambda *keys: (copy(*keys), blobs.renew(digest, size)))
    raced = blobs.delete(digest, 0)
    monkeypatch.undo()
    kept = blobs.exists(digest)
    gone = blobs.delete(digest, 0)

    assert (young, raced, kept, gone) == (False, False, True, True)
    assert [item.key for item in blobs._bucket.list("") if digest in item.key] == []


def test_a_forked_child_is_told(honouring):
    """A forked child of a process that used a bucket gets an error that says so, rather than waiting for ever."""
    logs = open_logs(honouring.uri())
    logs.size("shared/x/y")
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, str(_error(lambda: logs.size("shared/x/y"))).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()

    assert "start the process by spawn" in said


def test_credentials_of_a_profile(honouring, tmp_path, monkeypatch):
    """Without variables in the environment the profile in `~/.aws` is used."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    path = tmp_path / "credentials"
    path.write_text(f"[default]\naws_access_key_id = {s3.KEY}\naws_secret_access_key = {s3.SECRET}\n", "utf-8")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    logs = open_logs(s3.rclone().uri())

    assert logs.size("shared/x/y") == 0


def test_a_live_run_and_a_sync(server, uri, tmp_path, monkeypatch):
    """A live run arrives in the bucket from its outbox; a sync brings it to a folder, where nothing is missing."""
    monkeypatch.setenv("MLSDK_COMPANION", "0")
    mlsdk.configure(outbox=str(tmp_path / "outbox"), ship_wait_s=20.0)
    with mlsdk.run("churn", name="live", store=uri, capture=(), params={"lr": 0.1}) as run:
        for step in range(5000):
            run.log(loss=1 / (step + 1))
        run.log_artifact(b"weights", name="model")
    there = mlsdk.get_run(run.id, store=uri)
    logs = mlsdk.open_store(uri).logs
    for log in logs.list("runs/"):
        logs.seal(log)
    first = mlsdk.sync(uri, str(tmp_path / "folder"))
    again = mlsdk.sync(uri, str(tmp_path / "folder"))
    here = mlsdk.get_run(run.id, store=str(tmp_path / "folder"))
    with here.open("model") as file:
        content = file.read()

    assert (there.status, there.params, len(there.history("loss"))) == ("finished", {"lr": 0.1}, 5000)
    assert here.metrics == there.metrics
    assert list(here.history("loss").values) == list(there.history("loss").values)
    assert content == b"weights"
    assert not first.left
    assert sum(part.size_bytes for part in again.passes) == 0


def test_markers_of_long_ago_may_be_deleted(uri, tmp_path):
    """A catalog that has not looked for weeks finds what is new without the markers."""
    writer, reader = open_logs(uri), objects.open_objects(uri, str(tmp_path / "r.db"))
    first, second = finished("a"), finished("b")
    writer.append(first.name, 0, first.data)
    before = names(reader)
    writer.append(second.name, 0, second.data)
    writer.bucket.delete([item.key for item in writer.bucket.list("closed")])
    early = names(reader)
    memo = json.loads(reader.catalog.memo("looked"))
    reader.catalog.memo("looked", json.dumps({**memo, "wide": memo["wide"] - 21 * 86_400}))

    assert before == early == ["a"]
    assert names(reader) == ["a", "b"]
