"""The interpreter: what it is, how it was built and started, where it finds modules and which it has loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import ModuleType

from mlsdk.capture import Context

_fixed: dict[str, object] = {}
"""What cannot change while a process lives."""

_last: tuple[object, Mapping[str, object]] = (None, {})


def capture(where: Context) -> Mapping[str, object]:
    """Facts about the interpreter of this process; the same object as long as nothing has changed.

    Facts:
        python, implementation, build: version, `cpython`, and the rest of `sys.version` (build date, compiler).
        gil, free_threaded: whether the lock is in use, and whether this build can do without.
        flags: those of `sys.flags` that are not as usual, warning options and `-X` options.
        platform, machine, kernel, libc: what it runs on.
        executable, prefix, base_prefix, installation: where it lies; `venv`, `conda`, or `base`.
        path: `sys.path`, absolute.
        imported: top-level modules that were loaded when the run began and are not Python's own, as one text; of a
            namespace package, what of it was loaded (`google.protobuf`).
    """
    global _last
    key = (*map(str, sys.path), where.folder, len(sys.modules), _newest())
    if _last[0] != key:
        if not _fixed:
            _fixed.update(_interpreter())
        path = [os.path.normpath(os.path.join(where.folder, str(entry))) for entry in sys.path]
        _last = (key, {**_fixed, "path": path, "imported": " ".join(imported())})
    return _last[1]


def _interpreter() -> dict[str, object]:
    system = os.uname() if hasattr(os, "uname") else None
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "implementation": sys.implementation.name,
        "build": " ".join(sys.version.partition(" ")[2].split()),
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "free_threaded": "t" in getattr(sys, "abiflags", "") or "free-threading" in sys.version,
        "flags": _flags(),
        "platform": sys.platform,
        "machine": system.machine if system else os.environ.get("PROCESSOR_ARCHITECTURE", ""),
        "kernel": system.release if system else "",
        "libc": _libc(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "installation": _installation(),
    }


def _flags() -> dict[str, object]:
    usual = {"hash_randomization": 1, "int_max_str_digits": 4300, "gil": 1, "thread_inherit_context": 0}
    names = [name for name in dir(sys.flags) if not name.startswith(("_", "n_")) and name not in ("count", "index")]
    flags: dict[str, object] = {name: getattr(sys.flags, name) for name in names}
    found = {name: value for name, value in flags.items() if value not in (usual.get(name, 0), None, -1)}
    if sys.warnoptions:
        found["warnoptions"] = list(sys.warnoptions)
    if options := getattr(sys, "_xoptions", None):
        found["xoptions"] = dict(options)
    return found


def _libc() -> str | None:
    """Name and version of the C library, `musl` without a version; None where there is no such thing."""
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):
        version = None
    return version or ("musl" if "musl" in getattr(sys.implementation, "_multiarch", "") else None)


def _installation() -> str:
    if sys.prefix != sys.base_prefix:
        return "venv"
    return "conda" if os.path.isdir(os.path.join(sys.prefix, "conda-meta")) else "base"


def _newest() -> object:
    """The module that was imported last."""
    try:
        return next(reversed(sys.modules), None)
    except RuntimeError:  # another thread imports one at this moment
        return None


def imported() -> list[str]:
    """Names of the loaded modules that are not of the standard library: top-level ones, parts of namespaces."""
    loaded = {name: module for name, module in sys.modules.copy().items() if type(name) is str}
    top = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    top -= {"__main__", "__mp_main__"}
    namespaces = {name for name in top if _is_namespace(loaded.get(name))}
    parts = [name for name in loaded if "." in name and name.partition(".")[0] in namespaces] if namespaces else []
    inner = {name for name in parts if not _is_namespace(loaded[name]) and _is_namespace(loaded.get(_parent(name)))}
    return sorted(name for name in (top - namespaces) | inner if " " not in name)


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _is_namespace(module: object) -> bool:
    """Whether several distributions may share a package: it has a path and no file (PEP 420)."""
    if not issubclass(type(module), ModuleType):
        return False
    found = object.__getattribute__(module, "__dict__")  # past what a lazy module does when it is asked for anything
    return "__path__" in found and found.get("__file__") is None
