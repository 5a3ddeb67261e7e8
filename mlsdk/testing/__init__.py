"""The promises of the seams as tests, to which every implementation of `Logs`, `Blobs` or `Catalog` is held.

    from mlsdk.testing import LogsContract

    class TestMyLogs(LogsContract):
        @pytest.fixture
        def logs(self):
            return MyLogs()

Each test is one promise of `mlsdk.store.seams`. What an implementation can do beyond the least it declares in
`capabilities`; nothing here looks at its class. Running them needs pytest.
"""

from mlsdk.testing.blobs import BlobsContract
from mlsdk.testing.catalog import CatalogContract
from mlsdk.testing.logs import LogsContract
from mlsdk.testing.made import MadeLog

__all__ = ["BlobsContract", "CatalogContract", "LogsContract", "MadeLog"]
