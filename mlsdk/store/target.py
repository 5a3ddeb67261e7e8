"""Where live runs write: the local side of a store, light enough for the training process.

A live run always writes locally first: runs of a remote store into its outbox (`outbox.py`). `open_store` gives the
full store for reading; a target is only what `run` and `log` need.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

from mlsdk.config import flag
from mlsdk.log.filesystem import filesystem_of, may_map
from mlsdk.log.segment import Segment
from mlsdk.store.layout import Layout


class Target(Protocol):
    """The local side of a store."""

    uri: str

    @property
    def root(self) -> str | None:
        """The folder, which a companion can serve; None if there is none."""

    def segment(self, run: str, writer: str) -> Segment:
        """Make the log of one writer."""

    def announce(self, run: str, writer: str) -> None:
        """Tell readers that there is a log."""

    def retire(self, run: str, writer: str) -> None:
        """Tell readers that a log will not grow any more."""

    def put_blob(self, source: bytes | str) -> tuple[str, int]:
        """Put bytes, or the file at a path, away by content: (SHA-256, size in bytes)."""


class FileTarget:
    """A store in a folder."""

    def __init__(self, uri: str, root: str) -> None:
        self.uri = uri
        self.layout = Layout(root)
        self.layout.make()
        self._mapped = flag("map") and may_map(filesystem_of(root))

    @property
    def root(self) -> str:
        """See `Target.root`."""
        return self.layout.root

    def segment(self, run: str, writer: str) -> Segment:
        """See `Target.segment`."""
        path = self.layout.log_path(f"runs/{run}/{writer}")
        try:
            return Segment(path, mapped=self._mapped, clock=time.monotonic)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return Segment(path, mapped=self._mapped, clock=time.monotonic)

    def announce(self, run: str, writer: str) -> None:
        """See `Target.announce`."""
        self.layout.mark_open(run, writer)

    def retire(self, run: str, writer: str) -> None:
        """See `Target.retire`."""
        self.layout.mark_closed(run, writer)

    def is_current(self) -> bool:
        """Whether the folder is still there, and the one that is meant."""
        return os.path.isdir(self.layout.open)

    def check_room(self) -> None:
        """Refuse what is new where there is no room for it: not here, the disk says so."""

    def put_blob(self, source: bytes | str) -> tuple[str, int]:
        """See `Target.put_blob`."""
        from mlsdk.store.blobs import put_file

        return put_file(self.layout.blobs, source)


_targets: dict[str, Target] = {}


def open_target(uri: str) -> Target:
    """The target of a store's URI; the same one each time.

    Raises:
        ConfigError: a remote store whose URI holds a password.
        StoreError: live runs cannot be written there.
    """
    found = _targets.get(uri)
    if isinstance(found, FileTarget) and found.is_current():
        found.check_room()
        return found
    if found is not None and found.root is None:
        return found
    scheme, _, rest = uri.partition(":")
    if scheme == "file":
        target: Target = FileTarget(uri, file_root(rest))
    elif scheme == "memory":
        from mlsdk.store.direct import DirectTarget
        from mlsdk.store.memory import shelf

        target = DirectTarget(uri, *shelf(uri), at_once=True)
    else:
        from mlsdk.store.posting import open_outbox

        target = open_outbox(uri)
        target.check_room()
    _targets[uri] = target
    return target


def file_root(rest: str) -> str:
    """The folder in a `file:` URI, given what follows the colon: `/a/b`, `///a/b` and `a/b` alike."""
    path = rest[2:] if rest.startswith("///") else rest
    return os.path.abspath(os.path.expanduser(path))
