"""A store: logs, blobs and catalog together."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from mlsdk import config
from mlsdk.errors import AmbiguousError, NewerFormatError, NotFoundError, StoreError
from mlsdk.log.filesystem import filesystem_of, is_network
from mlsdk.query.names import VERIFYING
from mlsdk.query.tree import Compare, Not, Order, Tree
from mlsdk.records import Page, Run
from mlsdk.store.blobs import FileBlobs
from mlsdk.store.direct import DirectTarget
from mlsdk.store.files import FileLogs
from mlsdk.store.layout import Layout
from mlsdk.store.markers import refresh
from mlsdk.store.memory import shelf
from mlsdk.store.seams import Blobs, Catalog, Logs
from mlsdk.store.sqlite import SQLiteCatalog
from mlsdk.store.target import Target, file_root, open_target

_SHOWN = 5
"""Of runs that a name may mean, so many are told."""


class Store:
    """The three seams of one place, and what is done with them together.

    Attributes:
        uri: what it was opened by.
        logs: the truth.
        blobs: artifacts and long values.
        catalog: a view of the logs, for finding.

    Args:
        uri: see above; without passwords.
        logs: see above.
        blobs: see above.
        catalog: see above.
        catch_up: brings the catalog up to date with the logs.
    """

    def __init__(self, uri: str, logs: Logs, blobs: Blobs, catalog: Catalog, catch_up: Callable[[], None]) -> None:
        self.uri = uri
        self.logs = logs
        self.blobs = blobs
        self.catalog = catalog
        self._catch_up = catch_up
        self._warned_of = 0

    def __repr__(self) -> str:
        return f"<Store {self.uri}>"

    def refresh(self) -> None:
        """Bring the catalog up to date with the logs."""
        self._catch_up()

    def first(self, wait: Callable[[], None]) -> None:
        """Let every `refresh` from now on begin with something: waiting for what this process has to send there."""
        catch_up = self._catch_up

        def both() -> None:
            wait()
            catch_up()

        self._catch_up = both

    def target(self) -> Target:
        """Where a caller who waits writes a short log, such as an edit."""
        return DirectTarget(self.uri, self.logs, self.blobs)

    def find(
        self, query: Tree | None = None, order: Order = (), after: str | None = None, limit: int | None = None
    ) -> Page:
        """Runs that fit, up to date; see `Catalog.find`. Warns of runs that only a newer mlsdk can read."""
        self.refresh()
        self._warn_of_newer()
        return self.catalog.find(query, order, after, limit)

    def find_one(self, which: str) -> Run:
        """A run by its id, its name, an end or a beginning of its id, or `latest`: of those that no `verify` has made.

        Raises:
            NotFoundError: there is none.
            AmbiguousError: several fit; the message lists them.
            NewerFormatError: only a newer mlsdk can read it.
        """
        self.refresh()
        which = str(which)
        if which == "latest":
            newest: Order = ((("started_at",), True),)
            own = Not(Compare(("experiment",), "=", VERIFYING))
            found = self.catalog.find(own, newest, limit=1).runs or self.catalog.find(None, newest, limit=1).runs
            if not found:
                raise NotFoundError(f"the store {self.uri} has no runs yet")
            return found[0]
        hexadecimal = bool(which) and set(which) <= set("0123456789abcdef")
        if hexadecimal and len(which) == 32:
            return self._get(which)
        ids = [run.id for run in self.catalog.find(Compare(("name",), "=", which), limit=_SHOWN + 1).runs]
        if not ids and hexadecimal:
            ids = self.catalog.matching_ids(end=which) or self.catalog.matching_ids(beginning=which)
        if not ids:
            raise NotFoundError(self._nothing_called(which))
        if len(ids) > 1:
            shown = ", ".join(map(self._name_of, ids[:_SHOWN]))
            more = ", …" if len(ids) > _SHOWN else ""
            raise AmbiguousError(f"{which!r} fits several runs: {shown}{more}; type more of the id", tuple(ids))
        return self.catalog.get(ids[0])

    def _name_of(self, run: str) -> str:
        with contextlib.suppress(NewerFormatError):
            return f"{self.catalog.get(run).name} ({run[-8:]})"
        return run[-8:]

    def _get(self, run: str) -> Run:
        try:
            return self.catalog.get(run)
        except NotFoundError:
            raise NotFoundError(f"the store {self.uri} has no run {run}") from None

    def _warn_of_newer(self) -> None:
        unreadable = self.catalog.unreadable()
        if len(unreadable) > self._warned_of:
            self._warned_of = len(unreadable)
            import warnings

            warnings.warn(f"{len(unreadable)} runs are left out: {unreadable[0]}", UserWarning, stacklevel=4)

    def _nothing_called(self, which: str) -> str:
        from mlsdk.query.names import suggest

        names = [run.name for run in self.catalog.find(limit=200).runs]
        near = suggest(which, names)
        hint = f"; did you mean {near[0]!r}?" if near else "; `mlsdk ls` shows what is there"
        return f"no run has the id or name {which!r} in {self.uri}{hint}"


class FolderStore(Store):
    """A store in a folder.

    Attributes:
        layout: the folder.
    """

    logs: FileLogs
    blobs: FileBlobs
    catalog: SQLiteCatalog

    def __init__(
        self,
        uri: str,
        layout: Layout,
        logs: FileLogs,
        blobs: FileBlobs,
        catalog: SQLiteCatalog,
        catch_up: Callable[[], None],
    ) -> None:
        super().__init__(uri, logs, blobs, catalog, catch_up)
        self.layout = layout

    def target(self) -> Target:
        """See `Store.target`."""
        return open_target(self.uri)


def open_file(uri: str, catalog: str | None = None) -> FolderStore:
    """The store in a folder. Nothing is made: a folder that is not there has no runs.

    Args:
        uri: `file:` and the folder.
        catalog: the file of the catalog, or `:memory:`; by default as `catalog_path` says.

    Raises:
        NewerFormatError: made by a newer mlsdk.
    """
    layout = Layout(file_root(uri.partition(":")[2]))
    logs, blobs = FileLogs(layout), FileBlobs(layout.blobs)
    there = layout.check()
    view = SQLiteCatalog((catalog or catalog_path(layout)) if there else ":memory:", logs, blobs)

    def take_in() -> None:
        view.database.do(lambda _: refresh(layout, view))

    def catch_up() -> None:
        nonlocal there
        if not there and layout.check():
            there = True
            view.database.relocate(catalog or catalog_path(layout))
        try:
            take_in()
        except StoreError:
            if view.database.in_memory:
                raise
            # The file cannot be written (read-only, full): a view in memory serves as well.
            view.database.relocate(":memory:")
            take_in()

    view.database.refill = take_in
    return FolderStore(uri, layout, logs, blobs, view, catch_up)


def catalog_path(layout: Layout) -> str:
    """Where the catalog of a folder is kept: in it, or in a local folder if it lies on a network file system.

    `:memory:` if it can be written nowhere.
    """
    if not os.access(layout.root, os.W_OK):
        return ":memory:"
    if not is_network(filesystem_of(layout.root)):
        return os.path.join(layout.root, "catalog.db")
    return cached_catalog(layout.root)


def cached_catalog(place: str) -> str:
    """Where the catalog of a place that cannot hold one itself is kept: in a local folder of the user.

    `:memory:` if it can be written nowhere.
    """
    import hashlib
    import tempfile

    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    for folder in (config.cache_folder(), os.path.join(tempfile.gettempdir(), f"mlsdk-{user}")):
        with contextlib.suppress(OSError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            ours = not hasattr(os, "getuid") or os.stat(folder).st_uid == os.getuid()
            # A home may lie on a network too, and be used by many hosts at once.
            if ours and os.access(folder, os.W_OK) and not is_network(filesystem_of(folder)):
                return os.path.join(folder, f"{hashlib.sha256(os.fsencode(place)).hexdigest()[:16]}.db")
    return ":memory:"


def open_memory(uri: str) -> Store:
    """A store in this process's memory."""
    logs, blobs = shelf(uri)
    catalog = SQLiteCatalog(":memory:", logs, blobs)

    def catch_up() -> None:
        catalog.take_in_all()
        catalog.look_at_living()

    return Store(uri, logs, blobs, catalog, catch_up)
