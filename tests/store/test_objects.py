"""A bucket as a store: the contract suites on real servers, and what is a bucket's own."""

from __future__ import annotations

import functools

import pytest

from mlsdk.store import objects
from mlsdk.store.objects.keys import blob_key
from mlsdk.store.objects.logs import ObjectLogs
from mlsdk.store.sqlite import SQLiteCatalog
from mlsdk.testing import BlobsContract, CatalogContract, LogsContract
from tests.servers import s3

pytest.importorskip("obstore")


@pytest.fixture(autouse=True)
def _credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.SECRET)


@pytest.fixture(params=["moto", "rclone", pytest.param("ceph", marks=pytest.mark.slow)])
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
