"""The distributions that an interpreter finds: their folders are listed, next to none of their files is read.

Reading the metadata of 500 distributions takes a quarter of a second; what is wanted of it is in the names of the
folders (https://packaging.python.org/specifications/recording-installed-packages).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

_YOUNG_NS = 2_000_000_000
"""A folder changed less than this before it was listed may change again without another time (git's racy rule)."""

_HEAD_BYTES = 65_536
_MOST_SCANS = 8
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tar.bz2", ".tar.xz")


class Distribution(NamedTuple):
    """One installed distribution."""

    name: str
    """Normalised: `scikit-learn`."""
    version: str
    site: str
    """The entry of `sys.path` that it was found in."""
    info: str
    """Path of its `.dist-info` or `.egg-info`; of the file that points to it, where there is neither."""
    origin: Mapping[str, object] | None = None
    """What it was installed from, where that was no index: `url`, `editable`, `vcs`, `commit`, `hashes` …"""

    @property
    def folder(self) -> str | None:
        """Of an editable one, or one made of a local folder, that folder."""
        url = str((self.origin or {}).get("url", ""))
        local = url.startswith("file:") and not url.endswith(_ARCHIVES)
        return url2pathname(urlsplit(url).path) if local else None

    @property
    def editable(self) -> bool:
        """Whether its modules are imported from the folder that it was installed from."""
        return bool((self.origin or {}).get("editable"))


class Scan(NamedTuple):
    """What one look at a path found."""

    distributions: dict[str, Distribution]
    """By name."""
    modules: dict[str, str]
    """By name of each top-level module that lies on the path: the entry that it lies in."""
    missing: dict[str, str]
    """What could not be read, and why."""


_scans: dict[tuple[object, ...], Scan] = {}


def scan(path: Sequence[str]) -> Scan:
    """Look at the entries of a `sys.path`; of two distributions with one name the first counts, as in an import.

    Args:
        path: absolute folders, in their order.
    """
    now = time.time_ns()
    stamps = [(entry, _changed_ns(entry)) for entry in dict.fromkeys(path)]
    key = tuple(stamps)
    if key in _scans:
        return _scans[key]
    found = Scan({}, {}, {})
    for entry, changed in stamps:
        if changed is not None:
            _look(entry, found)
    if all(now - changed > _YOUNG_NS for _, changed in stamps if changed is not None):
        if len(_scans) >= _MOST_SCANS:
            _scans.clear()
        _scans[key] = found
    return found


def _changed_ns(entry: str) -> int | None:
    try:
        return os.stat(entry).st_mtime_ns
    except OSError:
        return None


def _look(entry: str, found: Scan) -> None:
    if not os.path.isdir(entry):  # a zip file
        return
    try:
        names = sorted(os.listdir(entry))
    except OSError as error:
        found.missing[entry] = f"cannot be listed: {error.strerror}"
        return
    here: dict[str, Distribution] = {}
    pointers: list[str] = []
    for name in names:
        stem, dot, ending = name.partition(".")
        if not dot or ending == "py" or ending.endswith((".so", ".pyd")) or ending in ("so", "pyd"):
            found.modules.setdefault(stem, entry)
        if name.endswith((".dist-info", ".egg-info")) and name[0] != "~":  # `~` is what pip could not remove
            for one in _of_info(entry, name, found.missing):
                here.setdefault(one.name, one)
        elif name.endswith(".egg-link") or (name.startswith("__editable__") and name.endswith(".pth")):
            pointers.append(name)
    if entry.endswith(".egg") and "EGG-INFO" in names:
        for one in _of_info(entry, "EGG-INFO", found.missing, os.path.basename(entry)):
            here.setdefault(one.name, one)
    for name in pointers:
        for one in _of_pointer(entry, name):
            before = here.get(one.name)
            if before is None:
                here[one.name] = one
            elif before.origin is None:
                here[one.name] = before._replace(origin=one.origin)
    for one in here.values():
        found.distributions.setdefault(one.name, one)


def normalised(name: str) -> str:
    """A distribution's name as it is compared (PEP 503).

    Example:
        >>> normalised("Typing_Extensions")
        'typing-extensions'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _of_info(entry: str, folder: str, missing: dict[str, str], called: str | None = None) -> Iterator[Distribution]:
    info = os.path.join(entry, folder)
    stem = (called or folder).rpartition(".")[0]
    if folder.endswith(".dist-info"):
        name, _, version = stem.rpartition("-")
    else:  # name-1.0-py3.11.egg-info, or name.egg-info
        name, version, *_ = [*stem.split("-"), ""]
    if not name or not version[:1].isdigit():
        name, version = _from_metadata(info)
    if not name:
        missing[info] = "has neither a name nor a version"
        return
    origin = _origin(info, missing) if folder.endswith(".dist-info") else None
    if origin is None and folder.endswith(".egg-info") and called is None and version and _is_source(entry, folder):
        origin = {"url": _as_url(entry), "editable": True}
    yield Distribution(normalised(name), version, entry, info, origin)


def _is_source(entry: str, folder: str) -> bool:
    """Whether a `name.egg-info` lies in a source tree that is on the path, as `setup.py develop` left it."""
    return "-" not in folder.removesuffix(".egg-info") and os.path.isfile(os.path.join(entry, folder, "SOURCES.txt"))


def _from_metadata(info: str) -> tuple[str, str]:
    """Name and version from a file of headers; empty where there is none."""
    for path in (os.path.join(info, "METADATA"), os.path.join(info, "PKG-INFO"), info):
        text = _read(path)
        if text:
            head = text.partition("\n\n")[0]
            found = dict(re.findall(r"^(Name|Version):[ \t]*(\S+)", head, re.MULTILINE))
            if "Name" in found:
                return found["Name"], found.get("Version", "")
    return "", ""


def _origin(info: str, missing: dict[str, str]) -> dict[str, object] | None:
    """What `direct_url.json` says (PEP 610), without passwords."""
    path = os.path.join(info, "direct_url.json")
    if not os.path.exists(path):  # most: to ask is a third of the cost of trying to open it
        return None
    import json

    from mlsdk.capture.code.git import without_credentials

    try:
        told = json.loads(_read(path))
        found: dict[str, object] = {"url": without_credentials(str(told["url"]))}
        if told.get("subdirectory"):
            found["subdirectory"] = str(told["subdirectory"])
        if told.get("dir_info", {}).get("editable"):
            found["editable"] = True
        vcs, archive = told.get("vcs_info", {}), told.get("archive_info", {})
        found.update((new, str(vcs[old])) for old, new in _VCS if vcs.get(old))
        name, _, digest = str(archive.get("hash", "")).partition("=")
        hashes = archive.get("hashes") or ({name: digest} if digest else None)
        return {**found, **({"hashes": dict(hashes)} if hashes else {})}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        missing[path] = f"{type(error).__name__}: {error}"
        return None


_VCS = (("vcs", "vcs"), ("commit_id", "commit"), ("requested_revision", "revision"))


def _of_pointer(entry: str, name: str) -> Iterator[Distribution]:
    """A distribution installed in place, of which only a file that leads there is in the folder."""
    path = os.path.join(entry, name)
    lines = [line.strip() for line in _read(path).splitlines() if line.strip()]
    folder = next((line for line in lines if os.path.isabs(line)), None)
    origin = {"editable": True, **({"url": _as_url(folder)} if folder else {})}
    if name.endswith(".pth"):  # __editable__.name-1.0.pth
        called, _, version = name.removeprefix("__editable__").strip("._").removesuffix(".pth").rpartition("-")
        if called and version[:1].isdigit():
            yield Distribution(normalised(called), version, entry, path, origin)
    elif folder:
        called = name.removesuffix(".egg-link")
        info = os.path.join(folder, f"{called.replace('-', '_')}.egg-info")
        yield Distribution(normalised(called), _from_metadata(info)[1], entry, info, origin)


def _as_url(folder: str) -> str:
    from urllib.request import pathname2url

    return "file://" + pathname2url(folder)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return ""
