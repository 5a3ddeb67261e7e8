"""Mending logs. A mended log is a new file in the place of the old; content that it lacks is put aside, never lost.

Nothing here is called for a log whose writer may still own it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from mlsdk.log.frames import Frame, frames
from mlsdk.log.ids import new_id
from mlsdk.store.files import locked
from mlsdk.store.grown import end_of
from mlsdk.store.layout import Layout
from mlsdk.store.target import FileTarget
from mlsdk.store.writer import LogWriter


def aside_folder(layout: Layout) -> str:
    """Where files go that were replaced: kept until somebody removes them by hand."""
    return os.path.join(layout.root, "mended")


def put_aside(layout: Layout, path: str) -> str:
    """Move a file out of the way; returns where it is now."""
    folder = aside_folder(layout)
    os.makedirs(folder, exist_ok=True)
    inside = os.path.relpath(path, layout.root).replace(os.sep, "_")
    kept = os.path.join(folder, f"{inside}.{new_id()[:12]}")
    os.rename(path, kept)
    return kept


def cut(layout: Layout, log: str) -> None:
    """End a log after its last whole frame. What stood behind is kept aside, unless it was only allocated space."""
    _rewrite(layout, layout.log_path(log), lambda data: data[: end_of(data)])


def excise(layout: Layout, log: str) -> None:
    """Keep of a log the valid frames; the file as it was is kept aside."""
    _rewrite(layout, layout.log_path(log), _frames_of)


def _frames_of(data: bytes) -> bytes:
    return b"".join(data[frame.start : frame.end] for frame in frames(data) if isinstance(frame, Frame))


def _rewrite(layout: Layout, path: str, change: Callable[[bytes], bytes]) -> None:
    """Put other content in the place of a log, while nobody who ships to it appends."""
    with open(path, "rb") as file, locked(file.fileno()):
        data = file.read()
        if not os.fstat(file.fileno()).st_nlink:  # sealed, erased or mended in this moment
            return
        content = change(data)
        if content == data:
            return
        keep = not data.startswith(content) or any(data[len(content) :])
        _replace(layout, path, content, keep=keep)


def _replace(layout: Layout, path: str, content: bytes, *, keep: bool) -> None:
    temporary = f"{path}.{os.getpid()}-{os.urandom(4).hex()}.part"
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep:
            os.link(path, _aside_name(layout, path)) if hasattr(os, "link") else None
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _aside_name(layout: Layout, path: str) -> str:
    folder = aside_folder(layout)
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, f"{os.path.relpath(path, layout.root).replace(os.sep, '_')}.{new_id()[:12]}")


def drop_copy(layout: Layout, log: str) -> None:
    """Of a log that is there raw and sealed, keep the raw file; the sealed one too, aside, unless it says the same."""
    from mlsdk.errors import FormatError
    from mlsdk.log.seal import unseal

    sealed = layout.seal_path(log)
    with open(layout.log_path(log), "rb") as raw, open(sealed, "rb") as file:
        try:
            same = raw.read().startswith(unseal(file.read()))
        except FormatError:
            same = False
    if same:
        os.unlink(sealed)
    else:
        put_aside(layout, sealed)


def companion_never_came(uri: str, layout: Layout, run: str, writer: str, owner_order: int) -> None:
    """Close what a companion was to do for a run long ended, and say so on it: a look now would find another commit."""
    log = LogWriter(FileTarget(uri, layout.root), run, "companion", seen=owner_order, writer=writer)
    message = "no companion came while it ran: what is captured beside a run (the commit) was not taken"
    log.facts({"problems": {"companion": {"message": message, "t": log.order, "count": 1}}}, vital=True)
    log.close()


def mark(layout: Layout, log: str, *, open_: bool) -> None:
    """Give a log the marker that lets readers find it."""
    _, run, writer = log.split("/")
    if open_:
        layout.mark_open(run, writer)
    else:
        layout.mark_closed(run, writer)
