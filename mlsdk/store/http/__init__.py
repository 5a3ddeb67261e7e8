"""A store on a server: `http(s)://host[:port][/prefix]/<workspace>`. Finding, reading and writing are calls to it."""

from __future__ import annotations

from mlsdk.store.base import Store
from mlsdk.store.http.address import address_of
from mlsdk.store.http.blobs import HttpBlobs
from mlsdk.store.http.catalog import HttpCatalog
from mlsdk.store.http.logs import HttpLogs
from mlsdk.store.http.session import ATTEMPTS, Session


def open_http(uri: str, attempts: int = ATTEMPTS) -> Store:
    """The store in a workspace of a server. Nothing is sent yet.

    Args:
        uri: the server's address and the workspace, which is `default` if none is named.
        attempts: how often a call is tried while the server cannot be reached; 1 for callers with a loop of their own.

    Raises:
        ConfigError: the address names no host, or holds a password.

    Example: `open_http("https://runs.example/team").find()`.
    """
    session = Session(address_of(uri), attempts)
    blobs = HttpBlobs(session)
    return Store(uri, HttpLogs(session), blobs, HttpCatalog(session, blobs), _nothing_to_catch_up)


def _nothing_to_catch_up() -> None:
    """The server brings its catalog up to date before it answers."""
