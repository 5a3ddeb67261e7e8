"""A bucket as a team's store, without any server: `s3://`, `gs://`, `az://`. See docs/objects.md."""

from __future__ import annotations

from mlsdk.store.base import Store, cached_catalog
from mlsdk.store.objects.blobs import ObjectBlobs
from mlsdk.store.objects.connect import connect
from mlsdk.store.objects.feed import refresh
from mlsdk.store.objects.logs import ObjectLogs
from mlsdk.store.sqlite import SQLiteCatalog

__all__ = ["open_objects"]


def open_objects(uri: str, catalog: str | None = None) -> Store:
    """The store in a bucket, or in a folder of one. Nothing is asked of it before it is used.

    Args:
        uri: `s3://bucket/folder?endpoint=…&region=…`, `gs://` or `az://` likewise; see docs/objects.md.
        catalog: the file of the local catalog, or `:memory:`; by default in the user's cache folder.

    Raises:
        StoreError: the URI cannot be understood, or a secret stands in it.
    """
    bucket, server = connect(uri)
    logs, blobs = ObjectLogs(bucket, server), ObjectBlobs(bucket)
    view = SQLiteCatalog(catalog or cached_catalog(uri), logs, blobs)

    def catch_up() -> None:
        view.database.do(lambda _: refresh(logs, view))

    view.database.refill = catch_up
    return Store(uri, logs, blobs, view, catch_up)
