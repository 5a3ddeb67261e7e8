"""Workspaces: each is a store of its own; together they lie in one place, a folder, a database or a bucket."""

from __future__ import annotations

import hashlib
import re
from threading import RLock
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from mlsdk.errors import StoreError, UsageError
from mlsdk.store import open_store
from mlsdk.store.base import Store
from mlsdk.store.layout import Layout
from mlsdk.store.target import file_root

DEFAULT = "default"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_RESERVED = frozenset(
    [
        "admin",
        "api",
        "assets",
        "auth",
        "docs",
        "favicon-ico",
        "health",
        "login",
        "logout",
        "metrics",
        "openapi",
        "ready",
        "robots-txt",
        "server",
        "static",
        "v1",
        "v2",
        "workspaces",
        "www",
    ]
)
"""Names that mean, or may come to mean, something else in a URL or in a store."""

_LONGEST_SCHEMA = 63
"""PostgreSQL cuts longer names, without a word."""


def check_name(name: str) -> str:
    """The name itself.

    Raises:
        UsageError: it cannot be a workspace's name.

    >>> check_name("team-a")
    'team-a'
    """
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise UsageError(
            f"{name[:80]!r} cannot be the name of a workspace: a to z, 0 to 9 and -, at most 63 characters, not"
            f" beginning with -, and none of {', '.join(sorted(_RESERVED))}"
        )
    return name


class Workspaces:
    """The stores of a server.

    In a folder the workspace `default` is that folder itself, others lie in `workspaces/<name>/`, and what the server
    knows of people and tokens, the home store, in `server/`. In PostgreSQL each is a schema, in a bucket a prefix.

    Args:
        uri: of the workspace `default`: `file:`, `memory:`, `postgresql:`, `s3:`, `gs:` or `az:`.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._lock = RLock()
        self._stores: dict[str, Store] = {}
        self.home = self._open(place_of(uri, None))

    def store(self, name: str) -> Store:
        """The store of a workspace; it is made when it is first asked for.

        Raises:
            UsageError: no such name.
        """
        found = self._stores.get(name)
        if found is None:
            with self._lock:
                found = self._stores.get(name)
                if found is None:
                    found = self._stores[name] = self._open(place_of(self.uri, check_name(name)))
        return found

    def opened(self) -> list[Store]:
        """The home store and those of workspaces that were asked for."""
        return [self.home, *self._stores.values()]

    @staticmethod
    def _open(uri: str) -> Store:
        scheme, _, rest = uri.partition(":")
        if scheme == "file":
            Layout(file_root(rest)).make()
        return open_store(uri)


def place_of(uri: str, name: str | None) -> str:
    """The URI of a workspace, given that of `default`; of the home store, given None.

    Raises:
        StoreError: nothing can be kept beside such a store.
    """
    scheme, _, rest = uri.partition(":")
    if name == DEFAULT:
        return uri
    if scheme == "file":
        return f"file:{file_root(rest)}/" + ("server" if name is None else f"workspaces/{name}")
    if scheme == "memory":
        return f"{uri}.server" if name is None else f"{uri}.workspaces.{name}"
    if scheme in ("postgresql", "postgres"):
        return _other_schema(uri, "server" if name is None else name)
    if scheme in ("s3", "gs", "az"):
        parts = urlsplit(uri)
        path = parts.path.rstrip("/") + ("/server" if name is None else f"/workspaces/{name}")
        return urlunsplit(parts._replace(path=path))
    if scheme in ("http", "https"):
        raise StoreError(f"{uri} is a server already; `mlsdk serve` wants a folder, a database or a bucket")
    raise StoreError(f"workspaces cannot be kept in a {scheme!r} store; use a folder, postgresql:, s3:, gs: or az:")


def _other_schema(uri: str, name: str) -> str:
    """`postgresql:` URI of another schema, whose blobs lie beside, where they lie in a bucket."""
    parts = urlsplit(uri)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    schema = f"{query.get('schema', 'mlsdk')}_{name.replace('-', '_')}"
    if len(schema) > _LONGEST_SCHEMA:
        schema = f"{schema[: _LONGEST_SCHEMA - 17]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    query["schema"] = schema
    if "blobs" in query:
        query["blobs"] = place_of(query["blobs"], None if name == "server" else name)
    return urlunsplit(parts._replace(query=urlencode(query)))
