"""The URI of a store in PostgreSQL: what in it is for us, and what for the database's own library."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from mlsdk.errors import ConfigError

SCHEMA = "mlsdk"
"""Where a store is kept if the URI does not say."""


class Address(NamedTuple):
    """Where a store is."""

    conninfo: str
    """For libpq, without a password."""
    schema: str
    """The PostgreSQL schema; each workspace has one."""
    blobs: str | None
    """The URI of the bucket that holds the blobs; None if the database does."""


def address(uri: str) -> Address:
    """The parts of `postgresql://user@host:port/db?schema=mlsdk&blobs=s3://bucket/prefix`.

    Parameters that are not ours (`sslmode`, `host` of a socket) are libpq's.

    Raises:
        ConfigError: it holds a password, or its schema cannot be one.
    """
    parts = urlsplit(uri)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.password is not None or "password" in given:
        shown = parts.netloc.rpartition("@")[2]
        raise ConfigError(
            f"the URI of the store at {shown} holds a password, and a URI is kept and shown:"
            " leave it out, and set PGPASSWORD or write it into ~/.pgpass"
        )
    schema, blobs = given.pop("schema", SCHEMA), given.pop("blobs", None)
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,47}", schema) or schema.startswith("pg_"):
        raise ConfigError(f"{schema!r} cannot be the schema of a store: lower-case letters, digits and _, at most 48")
    query = f"?{urlencode(given)}" if given else ""
    return Address(f"postgresql://{parts.netloc}{parts.path}{query}", schema, blobs or None)
