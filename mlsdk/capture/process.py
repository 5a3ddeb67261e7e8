"""How the run was started: command line (secrets redacted), folder, entry point, standard input, locale, time zone."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping

from mlsdk.capture import Context
from mlsdk.capture.secrets.redaction import redact_argv

_fixed: dict[str, object] = {}


def capture(where: Context) -> Mapping[str, object]:
    """How this process was started.

    Facts:
        argv, folder, entry: the command line, the working directory, and `entry_point()`.
        notebook: path of the notebook, where its server or editor tells it.
        worker: name of this process, if `multiprocessing` started it.
        umask: as text, `0022`; locale: of the C library, all categories; timezone: a name of the tz database or of
            the C library; stdin: what `standard_input` finds.
    """
    if not _fixed:
        _fixed.update(umask=_umask(), stdin=standard_input())
    found = {
        "argv": redact_argv(list(map(str, getattr(sys, "argv", None) or ()))),
        "folder": where.folder,
        "entry": entry_point(),
        "locale": _locale(),
        "timezone": time_zone(),
        **_fixed,
        "notebook": _notebook(),
        "worker": _worker(),
    }
    return {name: value for name, value in found.items() if value is not None}


def entry_point() -> str:
    """What was started: a script's absolute path, `-m module`, `-c`, `-` (standard input) or `interactive`.

    In a process that `multiprocessing` started, it is what was started in the first place.
    """
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return f"-m {spec.name.removesuffix('.__main__')}"
    path: str | None = getattr(main, "__file__", None)
    if path and path != "<stdin>":
        return os.path.abspath(path)
    first = str(next(iter(getattr(sys, "argv", None) or ()), ""))
    if hasattr(sys, "ps1") or ("ipykernel" in sys.modules and first != "-c"):
        return "interactive"
    if os.path.basename(first) == "__main__.py":  # a spawned worker of `-m package` has its command line only
        return _as_module(os.path.dirname(os.path.abspath(first)))
    if first in ("", "-") and "-c" not in getattr(sys, "orig_argv", ()):  # a spawned worker has its parent's argv
        return "-"
    return "-c"


def _as_module(folder: str) -> str:
    """`-m a.b` for the package in a folder; the folder itself where it is no package."""
    names: list[str] = []
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, name = os.path.split(folder)
        names.insert(0, name)
    return f"-m {'.'.join(names)}" if names else folder


def entry_name() -> str:
    """A short name of the entry point: what an experiment is called when nobody names it."""
    entry = entry_point()
    if entry.startswith("-m "):
        return entry[3:].rpartition(".")[2]
    names = {"interactive": "notebook", "-c": "default", "-": "default"}
    return names.get(entry) or os.path.splitext(os.path.basename(entry))[0]


def standard_input() -> dict[str, object]:
    """Its `kind` (`tty`, `null`, `pipe`, `socket`, `file`, `closed`, `other`), of a file `path` and `size_bytes`."""
    import stat

    try:
        found = os.fstat(0)
        is_terminal = os.isatty(0)
    except OSError:
        return {"kind": "closed"}
    if stat.S_ISREG(found.st_mode):
        file: dict[str, object] = {"kind": "file", "size_bytes": found.st_size}
        try:
            file["path"] = os.readlink("/proc/self/fd/0")
        except (OSError, AttributeError):
            return file
        return file
    if is_terminal:
        return {"kind": "tty"}
    if stat.S_ISCHR(found.st_mode):
        return {"kind": "null" if _is_null(found) else "other"}
    if stat.S_ISFIFO(found.st_mode):
        return {"kind": "pipe"}
    return {"kind": "socket" if stat.S_ISSOCK(found.st_mode) else "other"}


def _is_null(found: os.stat_result) -> bool:
    try:
        return os.stat(os.devnull).st_rdev == found.st_rdev
    except (OSError, AttributeError):
        return False


def _umask() -> str | None:
    """From the kernel's table: `os.umask` can only be read by setting it, for a moment, in all threads."""
    try:
        with open("/proc/self/status", "rb") as file:
            found = file.read(4096).partition(b"\nUmask:")[2].split(None, 1)
    except OSError:
        return None
    return found[0].decode() if found else None


def _locale() -> str | None:
    try:
        from _locale import LC_ALL, setlocale  # without a second argument it only asks
    except ImportError:
        return None
    return _brief(setlocale(LC_ALL))


def _brief(locale: str) -> str:
    """The commonest of several categories alone, the others by name: `C, LC_CTYPE=C.UTF-8`."""
    parts = [part.split("=", 1) for part in locale.split(";")]
    if any(len(part) != 2 for part in parts):
        return locale
    values = [value for _, value in parts]
    common = max(values, key=values.count)
    return ", ".join([common, *(f"{name}={value}" for name, value in parts if value != common)])


def time_zone() -> str:
    """The tz database's name where it can be seen, else what the C library calls it, with its daylight saving time."""
    name = os.environ.get("TZ", "").removeprefix(":")
    if not name:
        try:
            link = os.readlink("/etc/localtime")
            name = link.partition("/zoneinfo/")[2]
        except OSError:
            name = ""
    return name or "/".join(dict.fromkeys(time.tzname))


def _notebook() -> str | None:
    """Path of the notebook: Jupyter tells it in the environment, VS Code in a global of the notebook."""
    if "ipykernel" not in sys.modules:
        return None
    main = getattr(sys.modules.get("__main__"), "__dict__", {})
    found = main.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    return str(found) if found else None


def _worker() -> str | None:
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return None
    name = str(process.current_process().name)
    return name if name != "MainProcess" else None
