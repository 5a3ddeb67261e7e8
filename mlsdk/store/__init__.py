"""Stores: three small seams (`seams.py`), their implementations, and opening one by its URI."""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING

from mlsdk.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlsdk.store.base import Store

SCHEMES = MappingProxyType(
    {
        "file": "mlsdk.store.base:open_file",
        "memory": "mlsdk.store.base:open_memory",
        "http": "mlsdk.store.http:open_http",
        "https": "mlsdk.store.http:open_http",
        "postgresql": "mlsdk.store.postgres:open_postgres",
        "s3": "mlsdk.store.objects:open_objects",
        "gs": "mlsdk.store.objects:open_objects",
        "az": "mlsdk.store.objects:open_objects",
    }
)
"""Scheme of a URI and what opens such a store. Other packages join by the entry-point group `mlsdk.stores`."""

_opened: dict[str, Store] = {}


def open_store(uri: str | os.PathLike[str] | None = None) -> Store:
    """Open a store for reading and finding; the same object for the same URI.

    Args:
        uri: `file:` with a folder, `memory:` with a name, a plain folder; by default the store that the settings say,
            which need not be there yet.

    Raises:
        StoreError: no such kind of store, or nothing is there.

    >>> store = open_store("memory:docs")
    >>> store.find().runs
    ()
    """
    from mlsdk.config import store_uri

    wanted = store_uri(uri)
    store = _opened.get(wanted)
    if store is None:
        store = _opened[wanted] = _opener(wanted.partition(":")[0])(wanted)
        if not wanted.startswith(("file:", "memory:")):
            from mlsdk.store.posting import settle

            store.first(lambda: settle(wanted))
    from mlsdk.store.base import FolderStore

    if uri is not None and isinstance(store, FolderStore) and not store.layout.check():
        raise StoreError(f"there is no store at {store.layout.root}; the first run with store={str(uri)!r} makes one")
    return store


def _opener(scheme: str) -> Callable[[str], Store]:
    from importlib import import_module

    if scheme in SCHEMES:
        module, _, name = SCHEMES[scheme].partition(":")
        opener: Callable[[str], Store] = getattr(import_module(module), name)
        return opener
    from importlib.metadata import entry_points

    offered = {point.name: point for point in entry_points(group="mlsdk.stores")}
    if scheme not in offered:
        known = ", ".join(sorted([*SCHEMES, *offered]))
        raise StoreError(f"there is no store for {scheme!r} URIs; known: {known}")
    loaded: Callable[[str], Store] = offered[scheme].load()
    return loaded
