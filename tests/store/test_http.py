"""The HTTP store over a real server: the contracts of the seams, and what is its own: pages, series, formats, forks."""

from __future__ import annotations

import functools
import json
import os
import shutil
from array import array
from itertools import count

import pytest

import mlsdk
from mlsdk.errors import AccessError, ConfigError, NewerFormatError, NotFoundError, QueryError, StoreError
from mlsdk.log.frames import FORMAT_VERSION
from mlsdk.query.tree import In
from mlsdk.server.accounts import Role
from mlsdk.store.blobs import blob_path
from mlsdk.store.files import FileLogs
from mlsdk.store.http import HttpLogs, Session, open_http
from mlsdk.store.http.address import address_of
from mlsdk.store.http.catalog import read_series
from mlsdk.store.seams import Piece
from mlsdk.testing import BlobsContract, CatalogContract, LogsContract, MadeLog
from tests.servers.http import running

_numbers = count()


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A server over a folder, for which this process and those that it starts have a token."""
    with running(f"file:{tmp_path}/served") as found:
        monkeypatch.setenv("MLSDK_STORE", f"{found.url}/default")
        monkeypatch.setenv("MLSDK_TOKEN", found.token)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        yield found


@pytest.fixture
def store(served):
    return open_http(f"{served.url}/default")


@pytest.fixture
def logs(store):
    return store.logs


@pytest.fixture
def blobs(store):
    return store.blobs


@pytest.fixture
def catalog(store):
    return store.catalog


def open_logs(uri):
    return HttpLogs(Session(address_of(uri)))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One server for all contracts: each test has a workspace of its own."""
    with running(f"file:{tmp_path_factory.mktemp('http')}/served") as found:
        yield found


class Workspace:
    """What the contracts have in common."""

    @pytest.fixture
    def workspace(self, shared, tmp_path, monkeypatch):
        name = f"w{next(_numbers)}"
        shared.service.access.make_workspace("operator", name)
        monkeypatch.setenv("MLSDK_STORE", f"{shared.url}/{name}")
        monkeypatch.setenv("MLSDK_TOKEN", shared.token)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        return name

    @pytest.fixture
    def store(self, shared, workspace):
        return open_http(f"{shared.url}/{workspace}")

    @pytest.fixture
    def layout(self, shared, workspace):
        """That of the folder which is served."""
        return shared.service.workspaces.store(workspace).layout


class TestHttpLogs(Workspace, LogsContract):
    @pytest.fixture
    def reopen(self, shared, workspace):
        return functools.partial(open_logs, f"{shared.url}/{workspace}")


class TestHttpBlobs(Workspace, BlobsContract):
    @pytest.fixture
    def damage(self, layout):
        def spoil(digest):
            with open(blob_path(layout.blobs, digest), "r+b") as file:
                file.write(b"no")

        return spoil


class UnannouncedLogs(FileLogs):
    """Logs in a folder that come without markers, so that the catalog has only what it is handed."""

    def append(self, log, offset, data):
        end = super().append(log, offset, data)
        shutil.rmtree(self.layout.open)
        shutil.rmtree(self.layout.closed)
        self.layout.make()
        return end


class TestHttpCatalog(Workspace, CatalogContract):
    @pytest.fixture
    def logs(self, store, layout):
        layout.make()
        store.catalog.count()  # its first look goes through all logs, later ones through the markers
        return UnannouncedLogs(layout)


# Addresses


@pytest.mark.parametrize(
    ("uri", "base", "workspace"),
    [
        ("http://127.0.0.1:8383", "http://127.0.0.1:8383", "default"),
        ("http://127.0.0.1:8383/", "http://127.0.0.1:8383", "default"),
        ("https://Runs.example/team-1", "https://runs.example", "team-1"),
        ("https://runs.example/a/b/team/", "https://runs.example/a/b", "team"),
    ],
)
def test_addresses(uri, base, workspace):
    """The last segment of an address is the workspace, what is before it belongs to the server."""
    address = address_of(uri)

    assert (address.base, address.workspace) == (base, workspace)


@pytest.mark.parametrize(
    "uri", ["http://h/Team", "http://h/..", "http://h/a%2fb", "http://h/t?token=x", "http://h/t#x", "http://u:p@h/t"]
)
def test_what_is_no_address_of_a_workspace(uri):
    """An address with a query, a password, or what is no name of a workspace is refused before anything is sent."""
    with pytest.raises(ConfigError) as caught:
        open_http(uri)

    assert "token=x" not in str(caught.value)
    assert "u:p" not in str(caught.value)


# Finding and reading


def test_runs_of_a_server_read_like_those_of_a_folder(served, store, tmp_path):
    """What a folder says of a run, its server says too: the record, its details, its series."""
    with mlsdk.run("http", name="a", params={"lr": 0.1, "odd": float("nan")}, store=str(tmp_path / "served")) as run:
        for step in range(50):
            run.log(loss=1 / (step + 1), n=step)
        run.log_artifact(b"bytes", name="file")
    here = mlsdk.get_run(run.id, store=str(tmp_path / "served"))
    there = store.find_one("a")

    assert there == here
    assert repr(there.params) == repr(here.params)
    assert (there.metrics, there.tags, there.status) == (here.metrics, here.tags, here.status)
    assert dict(there.environment) == dict(here.environment)
    assert there.history("loss").values.tolist() == here.history("loss").values.tolist()
    assert list(there.history("n").times) == list(here.history("n").times)
    assert there.open("file").read() == b"bytes"
    assert there.children == ()
    with pytest.raises(NotFoundError, match="nope"):
        there.history("nope")


def test_pages_are_put_together(served, store, catalog):
    """More runs, names and ids than the server gives at once come in as many requests as it takes."""
    served.service.limits = _with_page(served.service.limits, 3)
    made = [MadeLog().facts({"run": {"name": f"r{n}", "started_ns": 10**18 + n}}).close() for n in range(8)]
    store.logs.append_all([Piece(log.name, 0, log.data) for log in made])

    assert [run.name for run in catalog.find().runs] == [f"r{n}" for n in reversed(range(8))]
    assert len(catalog.find(limit=7).runs) == 7
    assert catalog.count() == 8
    assert list(store.logs.list()) == sorted(log.name for log in made)


def _with_page(limits, page):
    import attrs

    return attrs.evolve(limits, page=page)


def test_a_query_for_many_ids(store, catalog):
    """A filter that a program made of thousands of values goes through."""
    made = [MadeLog().facts({"run": {"name": f"r{n}", "started_ns": 10**18 + n}}).close() for n in range(3)]
    store.logs.append_all([Piece(log.name, 0, log.data) for log in made])
    wanted = In(("id",), (*(f"{n:032x}" for n in range(5_000)), made[1].run))

    assert [run.name for run in catalog.find(wanted).runs] == ["r1"]
    assert catalog.count(wanted) == 1


def test_a_filter_that_the_server_refuses(catalog):
    """An error of the query language is the same error here, with its text and position."""
    found = _error_of(lambda: catalog._session.call("POST", "/find", value={"where": "params.lr >"}))

    assert isinstance(found, QueryError)
    assert (found.text, found.position) == ("params.lr >", 11)
    assert str(found).count("params.lr >") == 1


def _error_of(call):
    with pytest.raises(mlsdk.MlsdkError) as caught:
        call()
    return caught.value


def test_series_of_mixed_values():
    """Values that fit no column of 64 bits come as they are: whole numbers exact, floats with NaN."""
    head = {"name": "m", "kinds": ["q", "", "q"], "count": 3, "values": [2**63 + 1, "nan", "0.5"]}
    data = json.dumps(head).encode() + b"\n" + array("q", [1, 2, 3, 7, 8, 9]).tobytes()
    series = read_series(data)

    assert list(series.steps) == [1, 2, 3]
    assert list(series.times) == [7, 8, 9]
    assert str(series.values) == "[9223372036854775809, nan, 0.5]"


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"{}\n", b'{"name":"m","kinds":["q","x","q"],"count":1}\n' + bytes(24)]
)
def test_what_is_no_series(data):
    """Bytes that are no series are an error, not numbers."""
    with pytest.raises(StoreError, match="series"):
        read_series(data)


# Appending


def test_large_pieces_go_in_several_requests(store, logs, monkeypatch):
    """A piece larger than a request is cut; the answers are those of the pieces."""
    logs._session._server = logs._session.server()._replace(part_bytes=1000)
    names = [f"runs/{n:032x}/{n:032x}" for n in range(3)]
    data = [os.urandom(2_500), b"x", os.urandom(1_001)]
    ends = logs.append_all([Piece(name, 0, part) for name, part in zip(names, data, strict=True)])
    again = logs.append_all([Piece(names[0], 0, data[0]), Piece(names[0], 2_500, b"yz"), Piece(names[2], 0, b"other")])

    assert ends == [2_500, 1, 1_001]
    assert [logs.read(name) for name in names] == [data[0] + b"yz", *data[1:]]
    assert again[:2] == [2_500, 2_502]
    assert (again[2].log, again[2].end) == (names[2], 1_001)


def test_one_conflict_hinders_no_other_piece(logs):
    """Of a batch, what fits is appended, and what does not comes back as its conflict."""
    names = [f"runs/{n:032x}/{n:032x}" for n in range(3)]
    ends = logs.append_all([Piece(names[0], 0, b"abc"), Piece(names[1], 5, b"hole"), Piece(names[2], 0, b"def")])

    assert (ends[0], ends[2]) == (3, 3)
    assert (ends[1].log, ends[1].end) == (names[1], 0)
    assert logs.append_all([]) == []


def test_a_log_of_a_format_that_the_server_does_not_know(logs):
    """It is refused here, by a message that says which side to upgrade; nothing is sent."""
    log = MadeLog(version=FORMAT_VERSION + 1).close()

    with pytest.raises(NewerFormatError, match="upgrade mlsdk on the server"):
        logs.append(log.name, 0, log.data)
    assert list(logs.list()) == []


# Tokens and roles


def test_without_a_token(served, monkeypatch):
    """Who has no token is told how to get one, for which server."""
    monkeypatch.delenv("MLSDK_TOKEN")
    error = _error_of(open_http(f"{served.url}/default").catalog.count)

    assert isinstance(error, AccessError)
    assert f"mlsdk login {served.url}" in str(error)
    assert "MLSDK_TOKEN" in str(error)


def test_signing_in_is_seen_at_once(served, store, monkeypatch, tmp_path):
    """A store that was refused goes on by itself once there is a token."""
    from mlsdk.store import credentials

    monkeypatch.setenv("MLSDK_TOKEN", "mlsdk_none_at_all")
    before = _error_of(store.catalog.count)
    monkeypatch.delenv("MLSDK_TOKEN")
    credentials.save(served.url, served.token)

    assert isinstance(before, AccessError)
    assert "mlsdk_none" not in str(before)
    assert store.catalog.count() == 0


def test_a_saved_token_after_one_of_the_environment(served, store, monkeypatch, tmp_path):
    """Where the variable's token is refused, one that was saved is tried: a companion has variables of days ago."""
    from mlsdk.store import credentials

    monkeypatch.setenv("MLSDK_TOKEN", "mlsdk_none_at_all")
    before = _error_of(store.catalog.count)
    credentials.save(served.url, served.token)

    assert isinstance(before, AccessError)
    assert store.catalog.count() == 0


def test_roles_and_workspaces(served, monkeypatch):
    """A role that does not suffice is said; a workspace that one may not see is not there."""
    viewer = served.token_of("ada", "team", Role.VIEWER)
    monkeypatch.setenv("MLSDK_TOKEN", viewer)
    team, other = open_http(f"{served.url}/team"), open_http(f"{served.url}/default")
    refused = _error_of(lambda: team.logs.append(f"runs/{1:032x}/{2:032x}", 0, b"x"))
    hidden = _error_of(other.catalog.count)
    asked = _error_of(lambda: other.logs.size(f"runs/{1:032x}/{2:032x}"))

    assert team.catalog.count() == 0
    assert isinstance(refused, AccessError)
    assert "writer" in str(refused)
    assert isinstance(hidden, NotFoundError)
    assert isinstance(asked, NotFoundError)
    assert "workspace" in str(asked)
    assert team.logs.size(f"runs/{1:032x}/{2:032x}") == 0


def test_nothing_shows_the_token(served, store):
    """The token is in no representation of what a store is made of."""
    store.catalog.count()
    parts = [store, store.logs, store.blobs, store.catalog, store.logs._session, *store.logs._session._free]

    assert served.token not in " ".join(map(repr, parts))
    assert all(served.token not in str(one.headers) for one in store.logs._session._free)


# Processes


def test_a_fork_takes_no_connection_along(store):
    """A forked child asks over connections of its own, and the parent's go on."""
    session = store.logs._session
    store.catalog.count()
    kept = list(session._free)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            counts = [store.catalog.count() for _ in range(5)]
            code = 0 if counts == [0] * 5 and kept[0] not in session._free else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)

    assert status == 0
    assert store.catalog.count() == 0
    assert list(session._free) == kept
