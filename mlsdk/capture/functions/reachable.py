"""The functions that a run can reach, each with a normalised hash: the answer to "which functions changed".

From the facts that `mlsdk.capture.code.source` found in the caller, and from the sources on disk: these are parsed and
compiled, never executed. Where the code that was loaded is not what the disk says, that is said, and exactness is not
claimed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mlsdk.capture import Context
from mlsdk.capture.code.git import GitError, marked_root, open_repository
from mlsdk.capture.facts import ByName
from mlsdk.capture.functions.clock import asked
from mlsdk.capture.functions.pieces import BODY
from mlsdk.capture.functions.program import Program
from mlsdk.capture.functions.reach import Reach
from mlsdk.capture.functions.syntax import digest_of_lines
from mlsdk.capture.secrets.files import redact_source
from mlsdk.log.values import LongValue, dumps, encode

_NEEDED = ("modules", "main", "cells", "roots", "loaded", "bound", "constants", "compiled_by")
_IGNORED = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--")
_PATHS_A_TIME = 500
_SLACK_S = 0.1
"""The clock of a file system may be behind by a tick."""


class Changed(NamedTuple):
    """Names in which two tables differ."""

    changed: list[str]
    added: list[str]
    removed: list[str]


def changed(a: Mapping[str, str], b: Mapping[str, str]) -> Changed:
    """Which functions differ between two tables of hashes, from `a` to `b`.

    Example:
        >>> changed({"m:f": "01", "m:g": "02"}, {"m:f": "03", "m:h": "02"})
        Changed(changed=['m:f'], added=['m:h'], removed=['m:g'])
    """
    return Changed(
        sorted(name for name in a.keys() & b.keys() if a[name] != b[name]),
        sorted(b.keys() - a.keys()),
        sorted(a.keys() - b.keys()),
    )


def capture(where: Context) -> Mapping[str, object] | None:
    """Facts `functions`, `differs`, `exact`, `clock`, `sources`, …, `functions_missing`; None without the caller's.

    - `functions`: normalised hash (16 hexadecimal digits) by "module:qualified.name", of each function, class body and
      constant of the project that the run can reach.
    - `differs`: those of them whose code on disk is not the code loaded in memory, or which have no source.
    - `exact`: nothing differs, and each module's source is there, unchanged since the process started.
    - `clock`: by place, the functions that tell the time of day and that it names; only those that name one.
    - `sources`: SHA-256 of the file by module.
    - `sources_kept`: the sources of modules that the code tree of the run does not have, secrets left out.
    - `functions_missing`: what could not be known, and why.
    """
    known = where.facts.get("code", {})
    if "modules" not in known:
        return None
    facts: dict[str, Any] = {name: known[name] for name in _NEEDED if name in known}  # each is read from the store once
    program = Program(facts, where.folder, where.root)
    found = program.remembered()
    if found is None:
        found = _look(program, where.folder)
        program.remember(found)
    missing = {**found["missing"], **_edited(found["files"], where.pid)}
    kept = _kept(found["files"], found["apart"], where)
    return {
        "functions": ByName(found["functions"]),
        "differs": found["differs"],
        "exact": not found["differs"] and not missing,
        "sources": ByName(found["sources"]),
        **({"clock": ByName(found["clock"])} if found["clock"] else {}),
        **({"sources_kept": kept} if kept else {}),
        **({"functions_missing": missing} if missing else {}),
    }


def walked(program: Program) -> Reach:
    """What is reached from the roots that the caller found."""
    facts = program.facts
    roots = list(facts.get("roots", ()))
    if any(program.load(root.partition(":")[0]) is None for root in roots):
        roots += facts.get("loaded", {})  # what is in memory has to do for what has no source
    silent = () if f"__main__:{BODY}" in roots else ("__main__",)
    reach = Reach(program.load, facts.get("bound", {}), silent)
    reach.add(roots)
    for root in roots:  # a lambda that stands among arguments has no piece: its code in memory has to do
        if root.endswith(":<lambda>") and root in dict(facts.get("loaded", {})):
            reach.table[root] = digest_of_lines([str(facts["loaded"][root])])
    return reach


def _look(program: Program, folder: str) -> dict[str, Any]:
    facts, reach = program.facts, walked(program)
    missing: dict[str, str] = {}
    if not reach.table:
        missing["functions"] = f"no source was found of {', '.join(facts.get('roots', ())) or 'what was started'}"
    differs = _differing(program, reach, missing)
    sources = program.digests()
    return {
        "functions": dict(sorted(reach.table.items())),
        "differs": differs,
        "clock": asked(sorted(reach.table), program.load),
        "sources": dict(sorted(sources.items())),
        "files": program.files,
        "apart": _apart(program.files, folder),
        "missing": {**program.missing, **missing},
    }


def _differing(program: Program, reach: Reach, missing: dict[str, str]) -> list[str]:
    """Reached functions of which another code is in memory than the sources give."""
    facts, table = program.facts, reach.table
    if program.compiler != sys.implementation.cache_tag:
        here = sys.implementation.cache_tag
        missing["differs"] = f"not compared: the code was compiled by {program.compiler}, and {here} looks at it"
        return []
    found = set()
    for place, digests in dict(facts.get("loaded", {})).items():
        module, _, name = place.partition(":")
        is_reached = _is_reached(module, name, table) or program.load(module) is None
        if is_reached and not program.codes(module, name).issuperset(str(digests).split()):
            found.add(place)
    bound, values = dict(facts.get("bound", {})), dict(facts.get("constants", {}))
    meanings = {place: place for place in table} | {
        place: meant for place, meant in reach.aliases.items() if place not in table
    }
    for place, meant in meanings.items():  # an alias of what was replaced itself says nothing more
        if meant not in found and _is_plain(program, meant) and (place in values or _is_other(meant, bound.get(place))):
            found.add(place)
    return sorted(found)


def _is_plain(program: Program, place: str) -> bool:
    """Whether a name can only mean what its one `def` or `class` says."""
    module, _, name = place.partition(":")
    parts = program.load(module)
    return parts is not None and name in parts.pieces and parts.pieces[name].plain


def _is_other(place: str, others: Sequence[str] | None) -> bool:
    """Whether a name means another thing than the one defined there, or around it.

    A class that says that it is of another module is none: libraries do so for those that they show.
    """
    if not others:
        return False
    renamed = len(others) == 1 and others[0].partition(":")[2] == place.partition(":")[2]
    return place not in others and not renamed


def _is_reached(module: str, name: str, table: Mapping[str, str]) -> bool:
    owner = name.partition(".<locals>")[0]
    if f"{module}:{owner}" in table:
        return True
    # a lambda, or before Python 3.11 a function that bears the name of one that it wraps, does not say where it lies
    return owner.startswith(("<", "?")) and any(place.startswith(f"{module}:") for place in table)


def _edited(files: Mapping[str, str], pid: int) -> dict[str, str]:
    """Modules whose file was changed when the process ran: their constants may be older than the file."""
    started = _started(pid)
    found = {}
    for module, path in files.items() if started else ():
        with contextlib.suppress(OSError):
            if os.stat(path).st_mtime > started + _SLACK_S:
                found[module] = "changed on disk since the process started; its constants were not compared"
    return found


def _started(pid: int) -> float:
    """When a process started, in seconds since 1970; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        pass
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def _apart(files: Mapping[str, str], folder: str) -> list[str]:
    """Modules whose source the code tree of the run does not have: outside the repository, or ignored by it."""
    if not folder:  # it was deleted
        return sorted(files)
    try:
        repository = open_repository(folder)
    except GitError:  # the tree says so; it has then been walked
        repository = None
    root = os.path.realpath(marked_root(folder) or folder if repository is None else repository.root) + os.sep
    inside = {
        real[len(root) :].replace(os.sep, "/"): module
        for module, path in files.items()
        if (real := os.path.realpath(path)).startswith(root)
    }
    apart = files.keys() - inside.values()
    paths = [f":(top,literal){path}" for path in inside] if repository is not None else []
    for start in range(0, len(paths), _PATHS_A_TIME):
        some = paths[start : start + _PATHS_A_TIME]
        with contextlib.suppress(GitError):
            listed = os.fsdecode(repository.ask(*_IGNORED, *some)) if repository is not None else ""
            apart |= {inside[path] for path in listed.split("\0") if path in inside}
    return sorted(apart)


def _kept(files: Mapping[str, str], apart: Sequence[str], where: Context) -> LongValue | None:
    """The sources that the code tree does not have, as one value."""
    sources = {}
    for module in apart:
        with contextlib.suppress(OSError):
            with open(files[module], "rb") as file:
                data, _ = redact_source(file.read(), files[module])
            sources[module] = data.decode("utf-8", "surrogateescape")
    if not sources or where.root is None:
        return None
    data = dumps(encode(sources))
    return LongValue(*where.put_blob(data), start=f"sources of {', '.join(sources)}"[:200])
