"""The contract suites over our own implementations: files and memory, the catalog in a file and in memory."""

from __future__ import annotations

import functools

import pytest

from mlsdk.store.blobs import FileBlobs, blob_path
from mlsdk.store.files import FileLogs
from mlsdk.store.layout import Layout
from mlsdk.store.memory import MemoryBlobs, MemoryLogs
from mlsdk.store.sqlite import SQLiteCatalog
from mlsdk.testing import BlobsContract, CatalogContract, LogsContract


def open_files(root: str) -> FileLogs:
    return FileLogs(Layout(root))


class TestFileLogs(LogsContract):
    @pytest.fixture
    def logs(self, tmp_path):
        return open_files(str(tmp_path))

    @pytest.fixture
    def reopen(self, tmp_path):
        return functools.partial(open_files, str(tmp_path))


class TestMemoryLogs(LogsContract):
    @pytest.fixture
    def logs(self):
        return MemoryLogs()


class NoSharedLogs(MemoryLogs):
    capabilities = frozenset()

    def append(self, log, offset, data):
        if log.startswith("shared/"):
            from mlsdk.errors import StoreError

            raise StoreError("shared logs are not offered here")
        return super().append(log, offset, data)


class TestLogsWithoutSharedOnes(LogsContract):
    @pytest.fixture
    def logs(self):
        return NoSharedLogs()


class TestFileBlobs(BlobsContract):
    @pytest.fixture
    def blobs(self, tmp_path):
        return FileBlobs(str(tmp_path / "blobs"))

    @pytest.fixture
    def damage(self, tmp_path):
        def spoil(digest):
            with open(blob_path(str(tmp_path / "blobs"), digest), "r+b") as file:
                file.write(b"no")

        return spoil


class TestMemoryBlobs(BlobsContract):
    @pytest.fixture
    def blobs(self):
        return MemoryBlobs()

    @pytest.fixture
    def damage(self, blobs):
        def spoil(digest):
            blobs._blobs[digest] = (b"no", 0.0)

        return spoil


@pytest.mark.parametrize("logs_kind", ["files", "memory"])
@pytest.mark.parametrize("path", ["catalog.db", ":memory:"])
class TestSQLiteCatalog(CatalogContract):
    @pytest.fixture
    def logs(self, logs_kind, tmp_path):
        return open_files(str(tmp_path)) if logs_kind == "files" else MemoryLogs()

    @pytest.fixture
    def catalog(self, logs, path, tmp_path):
        catalog = SQLiteCatalog(path if path == ":memory:" else str(tmp_path / path), logs, MemoryBlobs())
        yield catalog
        catalog.close()
