"""The store in PostgreSQL: the contract suites, and what a real server does to it."""

from __future__ import annotations

import functools

import pytest

from mlsdk.store.postgres.address import address
from mlsdk.store.postgres.blobs import PostgresBlobs
from mlsdk.store.postgres.catalog import PostgresCatalog
from mlsdk.store.postgres.logs import PostgresLogs
from mlsdk.store.postgres.migrate import migrate
from mlsdk.store.postgres.pool import Pool
from mlsdk.testing import BlobsContract, CatalogContract, LogsContract
from tests.servers.postgres import shared_server


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
