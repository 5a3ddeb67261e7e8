"""The store in PostgreSQL: the contract suites, and what a real server does to it."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mlsdk
from mlsdk.errors import (
    AccessError,
    ConfigError,
    ConflictError,
    NewerFormatError,
    NotFoundError,
    ReadOnlyError,
    StoreError,
    UnavailableError,
)
from mlsdk.query.parse import parse
from mlsdk.store.postgres import bulk, intake, open_postgres
from mlsdk.store.postgres import pool as pool_module
from mlsdk.store.postgres.address import address
from mlsdk.store.postgres.blobs import PIECE_BYTES, PostgresBlobs
from mlsdk.store.postgres.catalog import PostgresCatalog
from mlsdk.store.postgres.logs import CHUNK_BYTES, MANY_SMALL, PostgresLogs
from mlsdk.store.postgres.migrate import migrate, migrations
from mlsdk.store.postgres.pool import Pool
from mlsdk.store.seams import Piece
from mlsdk.testing import BlobsContract, CatalogContract, LogsContract, MadeLog
from mlsdk.testing.catalog import made
from tests.servers.postgres import own_server, shared_server
from tests.store.test_merging import sets

LOG = "runs/01900000000070008000000000000001/01900000000070008000000000000002"


def open_pool(uri: str) -> Pool:
    found = address(uri)
    pool = Pool(found.conninfo, found.schema)
    migrate(pool)
    return pool


def open_logs(uri: str) -> PostgresLogs:
    return PostgresLogs(open_pool(uri))


@pytest.fixture
def uri():
    return shared_server().uri()


@pytest.fixture
def pool(uri):
    found = open_pool(uri)
    yield found
    found.close()


class TestPostgresLogs(LogsContract):
    @pytest.fixture
    def logs(self, pool):
        return PostgresLogs(pool)

    @pytest.fixture
    def reopen(self, uri):
        return functools.partial(open_logs, uri)


class TestPostgresBlobs(BlobsContract):
    @pytest.fixture
    def blobs(self, pool):
        return PostgresBlobs(pool)

    @pytest.fixture
    def damage(self, pool):
        def spoil(digest):
            pool.do(lambda db: db.execute("UPDATE blob_pieces SET data = 'no'"))

        return spoil


class TestPostgresCatalog(CatalogContract):
    @pytest.fixture
    def logs(self, pool):
        return PostgresLogs(pool)

    @pytest.fixture
    def catalog(self, pool, logs):
        return PostgresCatalog(pool, logs, PostgresBlobs(pool))


@pytest.fixture
def store(uri):
    return open_postgres(uri)


def chunks_of(pool: Pool, log: str) -> list[int]:
    statement = "SELECT octet_length(data) FROM chunks JOIN logs USING (id) WHERE log = %s ORDER BY start"
    return [row[0] for row in pool.do(lambda db: db.execute(statement, (log,)).fetchall())]


# logs


def test_a_batch(pool):
    """Pieces of many logs go in one call; one that does not fit hinders no other, and says where its log ends."""
    logs = PostgresLogs(pool)
    logs.append(LOG, 0, b"abc")
    other, none = f"{LOG[:-1]}3", f"{LOG[:-1]}4"
    pieces = [(LOG, 3, b"de"), (other, 0, b"x"), (LOG, 9, b"!"), (LOG, 2, b"cde"), (LOG, 4, b"efg"), (LOG, 3, b"X")]
    ends = logs.append_all([Piece(*piece) for piece in [*pieces, (none, 1, b"x"), (none, 0, b"")]])

    assert [end if isinstance(end, int) else -end.end for end in ends] == [5, 1, -5, 5, 7, -7, 0, 0]
    assert [isinstance(end, ConflictError) for end in ends] == [False, False, True, False, False, True, True, False]
    assert (logs.read(LOG), logs.read(other), list(logs.list())) == (b"abcdefg", b"x", [LOG, other])


def test_small_chunks_are_put_together(pool):
    """A log that comes in tiny pieces is kept in few chunks, and in whole ones when it has closed."""
    logs, log = PostgresLogs(pool), MadeLog().points(["loss"], [(step, step / 3) for step in range(400)]).close()
    for start in range(0, len(log.data), 97):
        logs.append(log.name, start, log.data[start : start + 97])
    sizes = chunks_of(pool, log.name)

    assert logs.read(log.name) == log.data
    assert [logs.read(log.name, at, 333) for at in (0, 7_990, 8_000, 16_001)] == [
        log.data[at : at + 333] for at in (0, 7_990, 8_000, 16_001)
    ]
    assert len(sizes) <= len(log.data) // CHUNK_BYTES + MANY_SMALL
    assert sizes[0] == CHUNK_BYTES


def test_a_long_piece_is_read_in_parts(pool):
    """A piece of megabytes is cut into chunks, and any part of it can be read."""
    data = random.Random(3).randbytes(3_000_001)
    logs = PostgresLogs(pool)
    logs.append(LOG, 0, data)
    parts = [(0, 10), (7_999, 2), (1_234_567, 99_999), (2_999_999, 50), (16_000, 8_000)]

    assert logs.read(LOG) == data
    assert [logs.read(LOG, *part) for part in parts] == [data[at : at + length] for at, length in parts]


def test_blobs_are_read_piece_by_piece(pool):
    """A part of a blob of several pieces is fetched as it is read, over the borders of the pieces."""
    blobs, data = PostgresBlobs(pool), random.Random(1).randbytes(2 * PIECE_BYTES + 77)
    digest, _ = blobs.put(data)
    with blobs.open(digest, PIECE_BYTES - 3, PIECE_BYTES + 9) as part, blobs.open(digest) as whole:
        read = [part.read(5), part.read()]

        assert b"".join(read) == data[PIECE_BYTES - 3 : 2 * PIECE_BYTES + 6]
        assert whole.read() == data


def test_waiting_for_news(pool):
    """Who waits hears that something was appended elsewhere, and nothing where nothing was."""
    logs, other = PostgresLogs(pool), PostgresLogs(pool)
    first = logs.wait_for_news(0.0)
    nothing = logs.wait_for_news(0.01)
    other.append(LOG, 0, b"abc")

    assert (first, nothing, logs.wait_for_news(20.0)) == (True, False, True)
    logs.close()


# opening


def test_a_run_from_start_to_end(uri, store):
    """What a log says is found as soon as it was appended, through a store opened by its URI."""
    log = made("a", acc=1.0, lr=0.5)
    store.logs.append(log.name, 0, log.data)
    run = mlsdk.open_store(uri).find(parse("params.lr > 0.4")).runs[0]

    assert (run.name, run.status, run.metrics["acc"].last) == ("a", "finished", 1.0)
    assert list(run.history("acc").values) == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    "uri",
    ["postgresql://u:geheim@h/db", "postgresql://u@h/db?password=geheim", "postgresql://u@h/db?schema=A-b"],
)
def test_wrong_addresses(uri):
    """A URI that holds a password, or a schema that cannot be one, is refused, and the password is not shown."""
    with pytest.raises(ConfigError) as refused:
        open_postgres(uri)

    assert "geheim" not in str(refused.value)


def test_what_is_ours_in_a_uri():
    """Schema and blobs are taken out of the URI; everything else is libpq's."""
    found = address("postgresql://me@h:5433/db?schema=team_a&sslmode=require&blobs=s3://b/x")

    assert found == ("postgresql://me@h:5433/db?sslmode=require", "team_a", "s3://b/x")


def open_it(uri: str) -> int:
    return open_postgres(uri).catalog.count()


def test_migrations_are_applied_once(uri, pool):
    """Opening again changes nothing."""
    statement = "SELECT number, name, applied_at FROM migrations ORDER BY number"
    before = pool.do(lambda db: db.execute(statement).fetchall())
    migrate(pool)

    assert pool.do(lambda db: db.execute(statement).fetchall()) == before
    assert [row[0] for row in before] == [step.number for step in migrations()]


@pytest.mark.slow
def test_processes_open_an_empty_database_at_once():
    """Several processes that open what is not there yet make it once, and all work."""
    with ProcessPoolExecutor(3, get_context("spawn")) as processes:
        found = list(processes.map(open_it, [shared_server().uri()] * 3))

    assert found == [0] * 3


def test_a_newer_database_is_refused(uri, pool):
    """A schema that a newer mlsdk has changed is refused by what to do."""
    pool.do(lambda db: db.execute("INSERT INTO migrations (number, name) VALUES (9999, 'later')"))

    with pytest.raises(NewerFormatError, match="pip install -U mlsdk"):
        open_postgres(uri)


def test_psycopg_is_missing(uri, monkeypatch):
    """Without psycopg the error names what to install."""
    monkeypatch.setitem(sys.modules, "psycopg_pool", None)

    with pytest.raises(StoreError, match=r"pip install 'mlsdk\[postgres\]'"):
        open_postgres(uri)


def test_nobody_is_there():
    """A server that cannot be reached, one that knows not the user, one that has not the database: each says so."""
    with pytest.raises(UnavailableError):
        open_postgres("postgresql://mlsdk@127.0.0.1:1/postgres")
    with pytest.raises(AccessError):
        open_postgres(shared_server().uri().replace("mlsdk@", "stranger@"))

    with pytest.raises(StoreError, match="createdb"):
        open_postgres(shared_server().uri().replace("/postgres?", "/nothing?"))


def test_who_may_only_read(uri, store):
    """A role without the right to write reads what others have taken in, and is refused when it writes."""
    log, later = made("a", lr=1), made("b", at=1)
    store.logs.append(log.name, 0, log.data)
    store.refresh()
    schema, role = address(uri).schema, f"reader_{address(uri).schema}"
    for statement in (
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}",
    ):
        store.catalog._pool.do(lambda db, statement=statement: db.execute(statement))
    reader = open_postgres(uri.replace("mlsdk@", f"{role}@"))

    assert [run.name for run in reader.find().runs] == ["a"]
    with pytest.raises((AccessError, ReadOnlyError)):
        reader.logs.append(later.name, 0, later.data)


# what happens to a server


def test_a_killed_backend(pool):
    """Connections that the server has ended are replaced, and nobody notices."""
    logs = PostgresLogs(pool)
    logs.append(LOG, 0, b"abc")
    with contextlib.closing(pool.connect()) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'mlsdk' AND pid <> pg_backend_pid() AND state = 'idle'"
        )

    assert logs.append(LOG, 3, b"def") == 6
    assert logs.read(LOG) == b"abcdef"


@pytest.mark.slow
def test_the_server_is_killed_and_starts_again(monkeypatch):
    """What was acknowledged before the server was killed is there; while it is away calls say why; then they go on."""
    server = own_server("fsync=on")
    store = open_postgres(server.uri())
    log = made("a", acc=1.0, lr=1)
    store.logs.append(log.name, 0, log.data[:100])
    server.stop(signal.SIGQUIT)
    with monkeypatch.context() as patch, pytest.raises(UnavailableError, match="refused"):
        patch.setattr(pool_module, "WAIT_S", 1.0)
        store.logs.append(log.name, 100, log.data[100:])
    server.start()
    end = store.logs.append(log.name, 100, log.data[100:])

    assert end == len(log.data)
    assert store.find().runs[0].params == {"lr": 1}
    server.remove()


def test_a_forked_child(pool):
    """A child that was forked makes connections of its own; those of the parent go on."""
    logs = PostgresLogs(pool)
    logs.append(LOG, 0, b"abc")
    child = os.fork()
    if not child:
        done = 1
        with contextlib.suppress(Exception):
            done = 0 if logs.append(LOG, 3, b"def") == 6 else 2
        os._exit(done)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert logs.read(LOG) == b"abcdef"


# the catalog


def test_many_take_in_at_once(uri):
    """Catalogs of several servers that look at the same new logs at once take each in once, and see all of them."""
    stores = [open_postgres(uri) for _ in range(4)]
    logs = [made(f"r{at}", acc=0.5, at=at, lr=at) for at in range(40)]
    stores[0].logs.append_all([Piece(log.name, 0, log.data) for log in logs])
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda store: [run.name for run in store.find().runs], stores))

    assert found == [[f"r{at}" for at in reversed(range(40))]] * 4


def test_a_flood_of_points_is_left_for_later(store, monkeypatch):
    """New logs are taken in at once however much waits; the rest of the flood follows, query by query."""
    flood = made("flood", status=None).points(["loss"], [(step, 0.5) for step in range(300)])
    store.logs.append(flood.name, 0, flood.data[: flood.borders[1]])
    store.refresh()
    monkeypatch.setattr(intake, "BUDGET_S", 0.0)
    monkeypatch.setattr(intake, "LOOK_BYTES", 1_000)
    fresh = made("fresh", at=9)
    store.logs.append_all([Piece(flood.name, flood.borders[1], flood.data[flood.borders[1] :])])
    store.logs.append(fresh.name, 0, fresh.data)
    first = {run.name: run.metrics for run in store.find().runs}
    for _ in range(40):
        store.refresh()

    assert set(first) == {"flood", "fresh"}
    assert "loss" not in first["flood"] or first["flood"]["loss"].count < 300
    assert store.catalog.find(parse("name = 'flood'")).runs[0].metrics["loss"].count == 300


def test_loading_gives_what_taking_in_gives(uri, store):
    """Runs that were loaded at once are found like those that came as logs."""
    logs = [made(f"r{at}", acc=at / 8, at=at, lr=at) for at in range(6)]
    bulk.load(store.catalog._pool, [[(log.name, log.data)] for log in logs])
    bulk.settle(store.catalog._pool)
    other = open_postgres(shared_server().uri())
    other.logs.append_all([Piece(log.name, 0, log.data) for log in logs])

    assert store.find(parse("params.lr > 2")).runs == other.find(parse("params.lr > 2")).runs
    assert rows(store.catalog) == rows(other.catalog)
    assert store.logs.read(logs[0].name) == logs[0].data


def test_forgotten_and_deleted(store):
    """A run whose logs were deleted and that was forgotten leaves no row."""
    log = made("a", acc=1.0, lr=1)
    store.logs.append(log.name, 0, log.data)
    store.refresh()
    store.logs.delete(log.name)
    store.catalog.forget(log.run)

    assert all(not found for found in rows(store.catalog).values())
    with pytest.raises(NotFoundError):
        store.catalog.get(log.run)


def rows(catalog: PostgresCatalog) -> dict[str, object]:
    """All that the catalog knows, without the numbers of rows; facts as they are after packing and unpacking."""
    from tests.store.test_merging import _plain

    by_key = "JOIN runs USING (run) JOIN keys USING (key)"
    found = {}
    for query in (
        "SELECT id, deleted, parent, live, status, ended_ns, newer, document, life, runs.state FROM runs",
        f"SELECT id, name, value, rest FROM vals {by_key}",
        f"SELECT id, name, min, max, mean, count, min_step, max_step FROM metrics {by_key}",
        "SELECT id, log, states.state FROM states JOIN runs USING (run)",
    ):
        table = catalog._pool.do(lambda db, query=query: db.execute(query).fetchall())
        found[query] = sorted(([_plain(value) for value in row] for row in table), key=repr)
    return found


@functools.cache
def two_stores():
    return open_postgres(shared_server().uri()), open_postgres(shared_server().uri())


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(sets(), st.randoms(use_true_random=False))
def test_any_order_and_any_pieces(found, chance: random.Random) -> None:
    """Logs of a run, appended in any order and cut anywhere, give the rows that they give when all are there."""
    bit_by_bit, at_once = two_stores()
    for store in two_stores():
        store.catalog.forget(found[0].run)
        for log in list(store.logs.list("runs/")):
            store.logs.delete(log)
    ends = dict.fromkeys((log.name for log in found), 0)
    for _ in range(8):
        log = chance.choice(found)
        piece = log.data[ends[log.name] : chance.randrange(len(log.data) + 1)]
        if piece:
            ends[log.name] = bit_by_bit.logs.append(log.name, ends[log.name], piece)
            bit_by_bit.refresh()
    for log in chance.sample(found, len(found)):
        bit_by_bit.logs.append(log.name, 0, log.data)
        bit_by_bit.refresh()
    at_once.logs.append_all([Piece(log.name, 0, log.data) for log in found])
    at_once.refresh()

    assert rows(bit_by_bit.catalog) == rows(at_once.catalog)
