"""Packages: every distribution of the run's environment, those that it had imported, and where they came from."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from mlsdk import config
from mlsdk.capture import Context
from mlsdk.capture.environment.installed import Distribution, Scan, normalised, scan
from mlsdk.capture.environment.recorded import holds, modified, tops
from mlsdk.capture.facts import ByName

MODIFIED_LIMIT_S = 60.0
"""For looking at all installed files, where that is asked for."""

_MOST_EDITABLE = 50
_GIT_FACTS = ("commit", "branch", "remote", "ahead", "behind", "dirty", "changed", "untracked")

_states: dict[str, tuple[int, Mapping[str, object]]] = {}
"""By folder of a repository: when git was asked (ns), and what it said."""


def capture(where: Context) -> Mapping[str, object]:
    """What was installed where the run's modules come from; needs the facts of the capture `python`.

    Facts:
        distributions: version by name (normalised, PEP 503) of everything installed.
        packages: the same of those that were imported when the run began.
        installed_from: by name, of those that come from no index: `url`, `editable`, `vcs`, `commit`, `revision`,
            `hashes`; of editable ones what git says of their folder, under `git`.
        conda: by name, version and build, where there is a conda environment.
        modified: by name, the files that are not what was installed, `changed` and `missing`; where the setting
            `check_packages` asks for it.
        packages_missing: what could not be found out, and why.
    """
    known = where.facts.get("env", {})
    path, loaded = known.get("path"), known.get("imported")
    if not isinstance(path, (list, tuple)):
        return {"packages_missing": {"distributions": "the capture `python`, which knows the path, was not taken"}}
    found = scan([str(entry) for entry in path])
    missing = dict(found.missing)
    facts = {
        "distributions": ByName({name: one.version for name, one in sorted(found.distributions.items())}),
        "packages": ByName(imported(found, str(loaded or "").split())),
        "installed_from": ByName(_origins(found, where, missing)),
        "conda": ByName(conda(known)),
    }
    if config.flag("check_packages"):
        facts["modified"] = ByName(_modified(found, missing))
    facts["packages_missing"] = ByName(missing)
    return {name: value for name, value in facts.items() if value or name in ("distributions", "modified")}


def imported(found: Scan, modules: list[str]) -> dict[str, str]:
    """Version by name of the distributions that brought the modules; what belongs to none is left out.

    Args:
        found: what is installed.
        modules: top-level names, and dotted ones within namespaces.
    """
    named: dict[str, str] = {}
    for module in modules:
        for one in _owners(found, module):
            named[one.name] = one.version
    return dict(sorted(named.items()))


def _owners(found: Scan, module: str) -> list[Distribution]:
    """The distributions that a module is of: by its name where that is enough, else by their RECORDs."""
    top = module.partition(".")[0]
    entry = found.modules.get(top)
    namesake = found.distributions.get(normalised(top))
    if namesake is not None and "." not in module and (namesake.editable or top in tops(namesake.info)):
        return [namesake]
    every = found.distributions.values()
    if "." in module:  # a namespace may lie in several entries
        within = [one for one in every if top in tops(one.info) and holds(one.info, module)]
    else:
        within = [one for one in every if one.site == entry and top in tops(one.info)]
    return within or [one for one in every if one.editable and _lies_in(one, entry, top)]


def _lies_in(one: Distribution, entry: str | None, top: str) -> bool:
    """Whether an editable distribution's folder is where a module lies."""
    folder = one.folder
    if folder is None:
        return False
    places = [folder, os.path.join(folder, "src"), os.path.join(folder, "lib")]
    if entry is not None:
        return entry in places
    return any(os.path.exists(os.path.join(place, name)) for place in places for name in (top, f"{top}.py"))


def _origins(found: Scan, where: Context, missing: dict[str, str]) -> dict[str, object]:
    """Where those distributions come from that are of no index; of the editable ones with the state of their folder."""
    origins: dict[str, object] = {}
    started = where.facts.get("run", {}).get("started_ns")
    asked = 0
    for name, one in sorted(found.distributions.items()):
        if one.origin is None:
            continue
        origins[name] = one.origin
        if not one.editable or one.folder is None:
            continue
        asked += 1
        if asked > _MOST_EDITABLE:
            missing[name] = f"git was not asked: more than {_MOST_EDITABLE} distributions are editable"
            continue
        state = _git(name, one.folder, started if isinstance(started, int) else None, missing)
        if state:
            origins[name] = {**one.origin, "git": state}
    return origins


def _git(name: str, folder: str, started_ns: int | None, missing: dict[str, str]) -> Mapping[str, object] | None:
    """What git says of a folder; a look begun after the run's start serves it."""
    from mlsdk.capture.code.git import capture as look
    from mlsdk.capture.code.git import marked_root

    root = marked_root(folder)
    if root is None:
        return None
    begun, state = _states.get(root, (0, {}))
    if started_ns is None or begun <= started_ns:
        begun = time.time_ns()
        try:
            state = look(Context(folder)) or {}
        except Exception as error:  # a repository in any state, of somebody else's
            missing[name] = f"git: {type(error).__name__}: {str(error)[:200]}"
            return None
        _states[root] = (begun, state)
    for what, why in dict(state.get("git_missing", {})).items():  # type: ignore[call-overload]
        missing[name] = f"{what}: {why}"
    return {fact: state[fact] for fact in _GIT_FACTS if fact in state}


def conda(known: Mapping[str, object]) -> dict[str, str]:
    """Version and build by name of what conda installed: the names of its records say it, none is opened.

    Args:
        known: facts of the environment: `prefix`, `base_prefix`, `variables`.
    """
    variables = known.get("variables")
    activated = variables.get("CONDA_PREFIX") if isinstance(variables, Mapping) else None
    for prefix in (known.get("prefix"), known.get("base_prefix"), activated):
        if isinstance(prefix, str) and prefix:
            try:
                names = sorted(os.listdir(os.path.join(prefix, "conda-meta")))
            except OSError:
                continue
            parts = [name.removesuffix(".json").rsplit("-", 2) for name in names if name.endswith(".json")]
            return {part[0]: f"{part[1]} {part[2]}" for part in parts if len(part) == 3}
    return {}


def _modified(found: Scan, missing: dict[str, str]) -> dict[str, object]:
    files: dict[str, object] = {}
    until = time.monotonic() + MODIFIED_LIMIT_S
    for name, one in sorted(found.distributions.items()):
        if time.monotonic() > until:
            missing[f"modified.{name}"] = f"not looked at: others took more than {MODIFIED_LIMIT_S:g} s"
            continue
        try:
            changes = modified(one.info)
        except OSError as error:
            missing[f"modified.{name}"] = f"no RECORD: {error.strerror}"
            continue
        if changes.changed or changes.missing:
            files[name] = {"changed": changes.changed, "missing": changes.missing}
    return files
