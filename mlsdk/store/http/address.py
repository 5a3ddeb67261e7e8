"""Addresses of workspaces."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from mlsdk.errors import ConfigError, StoreError
from mlsdk.store.credentials import origin_of

DEFAULT_WORKSPACE = "default"
_WORKSPACE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Address(NamedTuple):
    """Where a workspace is."""

    origin: str
    base: str
    """The origin, and the path under which the server answers, without a slash at its end."""
    workspace: str


def address_of(uri: str) -> Address:
    """The parts of a store's URI.

    Raises:
        ConfigError: it cannot be the address of a workspace, or holds a secret.

    >>> address_of("http://127.0.0.1:8383")
    Address(origin='http://127.0.0.1:8383', base='http://127.0.0.1:8383', workspace='default')
    >>> address_of("https://example.org/runs/team").base
    'https://example.org/runs'
    """
    origin = origin_of(uri)
    parts = urlsplit(uri)
    if parts.query or parts.fragment:
        raise ConfigError(
            f"the address of a workspace on {origin} ends with its path; a token belongs into `mlsdk login {origin}`"
        )
    segments = [segment for segment in parts.path.split("/") if segment]
    if any(set(segment) <= {"."} or "%" in segment for segment in segments):
        raise ConfigError(f"{uri!r} is no address of a workspace: write {origin}/<workspace>")
    *prefix, workspace = segments or [DEFAULT_WORKSPACE]
    if not _WORKSPACE.fullmatch(workspace):
        raise ConfigError(
            f"{workspace!r} is no name of a workspace: lower-case letters, digits and -, as in {origin}/team"
        )
    return Address(origin, "/".join([origin, *map(quote, prefix)]), workspace)


def in_path(name: str, safe: str = "") -> str:
    """A name as a part of a path.

    Raises:
        StoreError: no path can hold it.
    """
    try:
        return quote(name, safe=safe)
    except UnicodeEncodeError:
        raise StoreError(f"{name!r} holds half a character; no server has such a name") from None
