"""A store in PostgreSQL: logs, blobs and catalog in one schema, the blobs in a bucket if the URI names one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from mlsdk.errors import AccessError, ReadOnlyError
from mlsdk.store.postgres.address import address
from mlsdk.store.postgres.pool import Pool, load

if TYPE_CHECKING:
    from mlsdk.store.base import Store


def open_postgres(uri: str) -> Store:
    """Open the store at `postgresql://user@host:port/db?schema=mlsdk&blobs=s3://bucket/prefix`; made if not there.

    The password comes from PGPASSWORD or ~/.pgpass.

    Raises:
        ConfigError: the URI holds a password, or cannot be understood.
        UnavailableError: the database cannot be reached.
        AccessError: it lets us not in.
        NewerFormatError: a newer mlsdk has changed its tables.
        StoreError: psycopg is missing, or the database cannot hold a store.
    """
    from mlsdk.store import open_store
    from mlsdk.store.base import Store
    from mlsdk.store.postgres.blobs import PostgresBlobs
    from mlsdk.store.postgres.catalog import PostgresCatalog
    from mlsdk.store.postgres.logs import PostgresLogs
    from mlsdk.store.postgres.migrate import migrate

    where = address(uri)
    load()
    pool = Pool(where.conninfo, where.schema)
    migrate(pool)
    logs = PostgresLogs(pool)
    blobs = open_store(where.blobs).blobs if where.blobs else PostgresBlobs(pool)
    catalog = PostgresCatalog(pool, logs, blobs)

    def catch_up() -> None:
        # Who may only read sees what others have taken in.
        with contextlib.suppress(AccessError, ReadOnlyError):
            catalog.catch_up()

    return Store(uri, logs, blobs, catalog, catch_up)
