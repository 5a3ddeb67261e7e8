"""Inputs found by observation: files and databases that the code of a run opens, folders it lists, addresses it asks.

Python tells of them by audit events (PEP 578), which cannot be switched off again: the hook therefore does next to
nothing where no run is live. Files that a library opens by itself, below Python, are not seen: Arrow's readers, HDF5,
memory maps of C code. Nor are those of the interpreter and its packages, of the system, of Python's own sources, of
this store, and what the run itself wrote before.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from mlsdk.capture import listed
from mlsdk.capture.secrets.redaction import redact_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Watched(Protocol):
        """A run."""

        opened: Opened | None

    Find = Callable[[], Watched | None]

MOST = 1000
"""Inputs that are named for one run."""

MOST_SEEN = 100_000
"""Names that are remembered of one run, some 30 MB: a set of a million pictures must not fill the memory."""

_SOURCES = (".py", ".pyc", ".pyi", ".so", ".pyd", ".dll", ".pth", "pyvenv.cfg")
_WRITING = os.O_WRONLY | os.O_RDWR
_PACKAGES = ("site-packages", "dist-packages")
_INSTALLED = ("bin", "etc", "include", "lib", "lib64", "share", "DLLs", "Lib", "Scripts")
"""Folders of an installed Python, and of a virtual environment."""
_SYSTEM = ("/proc/", "/sys/", "/etc/", "/usr/share/", "/usr/lib/", "/lib/")


class Opened:
    """What one run has opened.

    Args:
        root: folder of the store, whose files are not inputs.
    """

    def __init__(self, root: str | None) -> None:
        packages = (path for path in filter(_is_text, sys.path) if path.rstrip(os.sep).endswith(_PACKAGES))
        roots = dict.fromkeys(path.rstrip(os.sep) for path in (*_of_python(), root or "", *packages))
        self._own = (*_SYSTEM, *(path + os.sep for path in roots if path))
        self._seen: dict[str, str | None] = {}
        """By absolute name: the input, or None for what is none."""
        self._untold: list[str] = []
        self.listed = listed.Listed(self._own, self._wrote)
        self.names: dict[str, None] = {}
        """Absolute paths, and addresses, in the order in which they were first opened."""
        self.is_cut = False
        """Whether there were more."""

    def read(self, path: str) -> None:
        """A file was opened for reading."""
        if path in self._seen or self._is_full():
            return
        whole = os.path.abspath(path)
        if whole not in self._seen:
            self._seen[whole] = None if whole.startswith(self._own) else whole
            if self._seen[whole]:
                self._add(whole)
        if os.path.isabs(path):  # a relative name means another file in another working folder
            self._seen[path] = self._seen[whole]

    def wrote(self, path: str) -> None:
        """A file was opened for writing: what is read back from it later is no input."""
        whole = os.path.abspath(path)
        if whole not in self._seen and not self._is_full():
            self._seen[whole] = None

    def _wrote(self, path: str) -> bool:
        return self._seen.get(path, "") is None

    def asked(self, address: str) -> None:
        """An address was asked, perhaps with a secret in it."""
        if address not in self._seen and not self._is_full():
            self._seen[address] = named = redact_text(address)[0]
            self._add(named)

    def _is_full(self) -> bool:
        self.is_cut = self.is_cut or len(self._seen) >= MOST_SEEN
        return len(self._seen) >= MOST_SEEN

    def _add(self, name: str) -> None:
        if name in self.names:
            return
        if len(self.names) >= MOST:
            self.is_cut = True
            return
        self.names[name] = None
        self._untold.append(name)

    def news(self) -> dict[str, dict[str, object]]:
        """Facts of the inputs that were seen since the last call: what the files are like now."""
        found: dict[str, dict[str, object]] = {}
        while self._untold:
            name = self._untold.pop()
            if not os.path.isabs(name):
                found[name] = {"description": "address"}
                continue
            try:
                state = os.stat(name)
            except OSError:  # it was not there, or is gone: a file for a moment is no input
                self.names.pop(name, None)
                continue
            if os.path.isfile(name):
                key = redact_text(name)[0]
                found[key] = {"description": "file", "path": key, "size_bytes": state.st_size}
                if key == name:
                    found[key]["pending"] = [state.st_size, state.st_mtime_ns]
                else:
                    found[key]["note"] = "not read: its name held what looks like a secret"
            else:
                self.names.pop(name, None)
        return found


def _of_python() -> list[str]:
    """The interpreter's own folders: not all that lies below `/usr`, or below a project that is its own environment."""
    prefixes = (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
    return [os.path.join(prefix, name) for prefix in prefixes for name in _INSTALLED]


def _is_text(entry: object) -> bool:
    return isinstance(entry, str)


_find: Find | None = None
_thread = threading.local()


def pass_over_this_thread() -> None:
    """What this thread opens belongs to no run: mlsdk ships and reads in threads of its own, beside the next run."""
    _thread.ours = True


def _watched() -> Watched | None:
    """The run that the calling code belongs to."""
    return None if _find is None or getattr(_thread, "ours", False) else _find()


def install(find: Find) -> None:
    """Listen from now on.

    Args:
        find: gives the run that the calling code belongs to.
    """
    global _find
    first, _find = _find is None, find
    if first:
        sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    handle = _HANDLERS.get(event)
    if handle is not None:
        try:
            handle(args)
        except Exception:  # an error here would be one of the user's `open`
            return


def _on_open(args: tuple[Any, ...]) -> None:
    path, _, flags = args
    if type(path) is not str:
        if isinstance(path, int):
            return
        path = os.fsdecode(path)
    if path.endswith(_SOURCES):
        return
    run = _watched()
    opened = None if run is None else run.opened
    if opened is None:
        return
    if flags & _WRITING:
        opened.wrote(path)
    else:
        opened.read(path)


def _on_listing(args: tuple[Any, ...]) -> None:
    path = args[0] if args[0] is not None else os.curdir
    if isinstance(path, int) or listed.is_import():
        return
    run = _watched()
    if run is not None and run.opened is not None:
        run.opened.listed.saw(os.fsdecode(path))


def _on_database(args: tuple[Any, ...]) -> None:
    path = os.fsdecode(args[0])
    if path.startswith("file:"):
        path = path[5:].partition("?")[0]
    run = _watched()
    if run is None or run.opened is None or path in ("", ":memory:"):
        return
    if os.path.isfile(path):
        run.opened.read(path)
    else:
        run.opened.wrote(path)


def _on_url(args: tuple[Any, ...]) -> None:
    _ask(str(args[0]))


def _on_connect(args: tuple[Any, ...]) -> None:
    _ask(f"{args[1]}:{args[2]}")


def _ask(address: str) -> None:
    run = _watched()
    if run is not None and run.opened is not None:
        run.opened.asked(address)


_HANDLERS: dict[str, Callable[[tuple[Any, ...]], None]] = {
    "open": _on_open,
    "os.listdir": _on_listing,
    "os.scandir": _on_listing,
    "sqlite3.connect": _on_database,
    "urllib.Request": _on_url,
    "http.client.connect": _on_connect,
}
