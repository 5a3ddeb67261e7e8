"""Reading the files that runs named as data, or were seen to read: in a thread, so that the rest goes on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlsdk.capture import PutBlob
from mlsdk.capture.datasets import taken
from mlsdk.capture.opened import pass_over_this_thread
from mlsdk.errors import UsageError
from mlsdk.log.values import decode

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

LARGEST_INPUT_BYTES = 1 << 30
"""A larger file that was only seen to be read is known by its size and time."""

LARGEST_TABLE_BYTES = 64 << 20
"""A larger table that was only seen to be read is known by its bytes: nobody has asked for its rows."""

_pool: ThreadPoolExecutor | None = None

Found = dict[str, dict[str, Mapping[str, object]]]
"""Facts by kind and name."""


def _reader() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        from concurrent.futures import ThreadPoolExecutor

        _pool = ThreadPoolExecutor(1, "mlsdk-data", pass_over_this_thread)
    return _pool


class Reading:
    """The files of one run that are being read.

    Args:
        put_blob: where whole fingerprints go.
        cache: folder with what is known of files read before.
    """

    def __init__(self, put_blob: PutBlob, cache: str) -> None:
        self._put_blob = put_blob
        self._cache = cache
        self._asked: dict[tuple[str, str], Future[dict[str, object]]] = {}

    def ask(self, kinds: Mapping[str, Mapping[str, Any]]) -> None:
        """Take on what facts of the run leave to the companion."""
        with contextlib.suppress(OSError):
            os.mkdir(os.path.dirname(self._cache))
        for kind in ("datasets", "inputs"):
            for name, coded in kinds.get(kind, {}).items():
                fact = decode(coded)
                if isinstance(fact, dict) and isinstance(fact.get("pending"), list):
                    work = read if kind == "datasets" else _read_bytes
                    self._asked[kind, name] = _reader().submit(work, fact, self._put_blob, self._cache)

    @property
    def busy(self) -> bool:
        """Whether something is still to be read, or to be written down."""
        return bool(self._asked)

    def done(self, *, wait: bool = False) -> Found:
        """Facts of what has been read since the last look.

        Args:
            wait: until all is read.
        """
        found: Found = {}
        for (kind, name), future in tuple(self._asked.items()):
            if wait or future.done():
                found.setdefault(kind, {})[name] = future.result()
                del self._asked[kind, name]
        return found


def read(fact: Mapping[str, Any], put_blob: PutBlob, cache: str | None = None) -> dict[str, object]:
    """The fact of a data set, completed. Files that were changed since the run named them are not claimed."""
    from mlsdk.data.files import fingerprint_path

    known = {key: value for key, value in fact.items() if key != "pending"}
    path = str(fact["path"])
    try:
        if _changed(path, fact["pending"]):
            return _unclaimed(known, "changed after the run named it, before it could be read")
        found = taken(fingerprint_path(path, cache=cache), put_blob)
        if _changed(path, fact["pending"]):
            return _unclaimed(known, "changed while it was read")
    except Exception as error:  # any file may be called a table; what is wrong with it is a fact
        return _unclaimed(known, f"could not be read: {type(error).__name__}: {error}")
    return {**found, **{key: value for key, value in known.items() if key != "digest"}}


def _read_bytes(fact: Mapping[str, Any], put_blob: PutBlob, cache: str) -> dict[str, object]:
    """The fact of a file that was seen to be read, completed: by its bytes, a small table by its content too."""
    from mlsdk.data.listing import note_of
    from mlsdk.data.statcache import StatCache

    known = {key: value for key, value in fact.items() if key != "pending"}
    path, pending = str(fact["path"]), fact["pending"]
    if pending and pending[0] > LARGEST_INPUT_BYTES:
        return {**known, "note": "too large to be read only because it was seen"}
    try:
        if _changed(path, pending):
            return _unclaimed(known, "changed after it was read")
        digest = note_of(path, StatCache(cache)).sha256
        content = _content(path, known, put_blob, cache)
        if _changed(path, pending):
            return _unclaimed(known, "changed while it was read")
    except (OSError, UsageError) as error:
        return _unclaimed(known, f"could not be read: {error}")
    return {**content, **known, "digest": digest}


def _content(path: str, known: Mapping[str, object], put_blob: PutBlob, cache: str) -> dict[str, object]:
    """What a table holds, so that the same rows written in another way are known again; empty of all other files."""
    from mlsdk.data.files import READERS, fingerprint_path

    size = known.get("size_bytes")
    if not path.lower().endswith(tuple(READERS)) or not isinstance(size, int) or size > LARGEST_TABLE_BYTES:
        return {}
    try:
        found = taken(fingerprint_path(path, cache=cache), put_blob)
    except Exception:  # any file may be called a table; its bytes are known all the same
        return {}
    return {name: found[name] for name in ("fingerprint", "rows", "columns", "blob") if name in found}


def _changed(path: str, pending: list[int]) -> bool:
    """Whether a file is not what it was when the run named it; of folders and patterns nothing is known."""
    if len(pending) != 2:
        return False
    found = os.stat(path)
    return [found.st_size, found.st_mtime_ns] != pending


def _unclaimed(known: Mapping[str, object], note: str) -> dict[str, object]:
    return {**known, "note": note}
