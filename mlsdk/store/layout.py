"""The folder of the embedded store: names, markers, and making it. Light: the training process uses it."""

from __future__ import annotations

import contextlib
import os
import time

from mlsdk.errors import NewerFormatError, ReadOnlyError, StoreError

LAYOUT_VERSION = 1
_VERSION_FILE = "format"
_IGNORE = "# Made by mlsdk: runs do not belong into version control.\n*\n"


class Layout:
    """Paths inside one store folder. Making the object touches nothing.

    ::

        runs/<run id>/<writer id>.log    a log; `.seal` instead of `.log` when sealed
        shared/…/<offset>                a log that several append to: an entry a file
        blobs/ab/abcd…                   bytes by their SHA-256
        open/  closed/<UTC day>/         an empty marker `<run id>.<writer id>` for each log
        remote  ship/                    in an outbox: whose it is, and a marker for each log that is not wholly there
        catalog.db  cache/               caches that can be deleted
        key                              random; under it go digests of what must stay secret
        format                           version of this layout
    """

    __slots__ = ("blobs", "closed", "open", "root", "runs", "shared", "ship")

    def __init__(self, root: str) -> None:
        self.root = root
        self.runs = os.path.join(root, "runs")
        self.shared = os.path.join(root, "shared")
        self.blobs = os.path.join(root, "blobs")
        self.open = os.path.join(root, "open")
        self.closed = os.path.join(root, "closed")
        self.ship = os.path.join(root, "ship")

    def make(self) -> None:
        """Make the folders, or check that those found are of a version that can be used.

        Raises:
            NewerFormatError: made by a newer mlsdk.
            ReadOnlyError: may not be written.
            StoreError: cannot be made here.
        """
        if self.check() and os.path.isdir(self.open):
            if not os.access(self.open, os.W_OK):
                raise ReadOnlyError(f"the store {self.root} may only be read; choose another by MLSDK_STORE or store=")
            return
        try:
            for folder in (self.runs, self.blobs, self.open, self.closed):
                os.makedirs(folder, exist_ok=True)
            _write_once(os.path.join(self.root, ".gitignore"), _IGNORE)
            _write_once(os.path.join(self.root, _VERSION_FILE), f"mlsdk store {LAYOUT_VERSION}\n")
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise ReadOnlyError(
                f"no store can be made at {self.root} ({error.strerror}); choose another by MLSDK_STORE or store="
            ) from error
        except OSError as error:
            raise StoreError(f"no store can be made at {self.root}: {error}") from error

    def check(self) -> bool:
        """Whether there is a store here.

        Raises:
            NewerFormatError: made by a newer mlsdk.
        """
        try:
            with open(os.path.join(self.root, _VERSION_FILE), encoding="utf-8") as file:
                word = file.read().split()
        except OSError:
            return False
        if len(word) == 3 and word[2].isdigit() and int(word[2]) > LAYOUT_VERSION:
            raise NewerFormatError(
                f"the store {self.root} has layout {word[2]}, this mlsdk reads up to {LAYOUT_VERSION}:"
                " pip install -U mlsdk"
            )
        return True

    def log_path(self, log: str) -> str:
        """Path of a raw log from its name `runs/<run id>/<writer id>`."""
        return os.path.join(self.root, *log.split("/")) + ".log"

    def seal_path(self, log: str) -> str:
        """Path of a sealed log from its name."""
        return os.path.join(self.root, *log.split("/")) + ".seal"

    def mark_open(self, run: str, writer: str) -> None:
        """Announce a log to readers; in an outbox first to whoever ships it, so that no crash loses one."""
        with contextlib.suppress(FileNotFoundError):
            _touch(os.path.join(self.ship, f"{run}.{writer}"))
        _touch(os.path.join(self.open, f"{run}.{writer}"))

    def mark_closed(self, run: str, writer: str) -> None:
        """Move a log's marker to today's folder. A marker that is not there is made."""
        day = os.path.join(self.closed, utc_day(time.time()))
        source, target = os.path.join(self.open, f"{run}.{writer}"), os.path.join(day, f"{run}.{writer}")
        for attempt in range(3):
            try:
                os.rename(source, target)
                return
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(day)  # not its parents: a store that was deleted stays so
                if attempt and not os.path.exists(target):
                    os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
                    return


def check_log_name(log: str) -> str:
    """The name itself.

    Raises:
        StoreError: it is no name of a log, `runs/<run id>/<writer id>` or `shared/<noun>/<name>`.
    """
    top, *parts = log.split("/")
    strange = any(not part or part.startswith(".") or "\\" in part or "\0" in part for part in parts)
    if strange or (len(parts) != 2 if top == "runs" else top != "shared" or not parts):
        raise StoreError(f"{log!r} is no name of a log: runs/<run id>/<writer id> or shared/<noun>/<name>")
    return log


def utc_day(seconds: float) -> str:
    """The UTC day of a time, as `2026-11-20`: the name of a folder of markers."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def split_marker(name: str) -> tuple[str, str] | None:
    """(run id, writer id) of a marker's name, or None for a foreign file."""
    run, dot, writer = name.partition(".")
    return (run, writer) if dot and len(run) == 32 and len(writer) == 32 else None


def _touch(path: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def _write_once(path: str, text: str) -> None:
    with contextlib.suppress(FileExistsError), open(path, "x", encoding="utf-8") as file:
        file.write(text)
