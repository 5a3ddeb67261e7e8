"""The environment variables of a rerun: those that the run had, with its paths as they are now."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from mlsdk.capture.environment.variables import allowed
from mlsdk.capture.secrets.redaction import REDACTED
from mlsdk.compare.values import listed
from mlsdk.records import Run
from mlsdk.reproduce.environments.environment import Environment
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.world.folders import Folders
from mlsdk.reproduce.world.world import World
from mlsdk.store.outbox import base_folder, is_remote
from mlsdk.tracking.again import VARIABLE

_ZONES = "/usr/share/zoneinfo"

_OURS = ("STORE", "RUN", "INHERITED_RUN", "MODE", "EXPERIMENT", "COMPANION", "EXIT_WAIT_S", "SHIP_WAIT_S", "OUTBOX")
"""What says where and how a process records; of the run's settings all others hold again."""

LEADING = (
    *("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV"),
    *("CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONPYCACHEPREFIX", "PYTHONBREAKPOINT"),
)
"""Variables that lead to programs, libraries and modules, which lie where they do for one person on one machine."""

_NOT_AGAIN = ("PYTHONPYCACHEPREFIX", "PYTHONINSPECT", "PYTHONSTARTUP")
"""What writes into a folder of the user's, or waits for one; of no effect on what comes out."""


def is_of_another(run: Run) -> bool:
    """Whether somebody else has recorded a run, as far as its record tells."""
    here = os.environ.get("USER") or os.environ.get("USERNAME")
    return bool(here and run.user and run.user != here)


def variables_of(
    run: Run,
    recipe: Recipe,
    world: World,
    environment: Environment,
    *,
    path: Sequence[str],
    order: str,
    store: str,
) -> dict[str, str]:
    """All variables of the process.

    Args:
        run: the run that is made again.
        recipe: whose variables are taken, and which are set on top of them.
        world: where it runs.
        environment: what it runs in.
        path: folders that modules are to be found in before all others.
        order: path of the order.
        store: URI of the store.
    """
    ours = {f"MLSDK_{name}" for name in _OURS}
    found = dict(os.environ)
    recorded = run.environment.get("variables")
    if recipe.variables == "run" and isinstance(recorded, Mapping):
        told = {str(name): str(value) for name, value in recorded.items()}
        if is_of_another(run):
            told = {name: value for name, value in told.items() if name not in LEADING}
            told.update((name, found[name]) for name in LEADING if name in found)
        further = told.get("MLSDK_ENVIRONMENT", "")
        found = {name: value for name, value in found.items() if name in told or not allowed(name, further)}
        found.update(
            (name, world.folders.path_list(value))
            for name, value in told.items()
            if REDACTED not in value and name not in ours
        )
        found.update(_zone(run, found))
    found = {name: value for name, value in found.items() if name not in ours and name not in _NOT_AGAIN}
    found["PWD"] = world.folder
    found.pop("OLDPWD", None)
    if is_remote(store):
        found["MLSDK_OUTBOX"] = base_folder()
    found.update(_module_path(run, world, environment, path, found))
    _lead_to(environment, str(run.environment.get("prefix") or ""), found)
    for name, value in recipe.variable_values.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = value
    return {
        **found,
        "MLSDK_STORE": store,
        "MLSDK_COMPANION": "0",
        "MLSDK_EXIT_WAIT_S": "600",
        "MLSDK_SHIP_WAIT_S": "60",
        VARIABLE: order,
    }


def _zone(run: Run, found: Mapping[str, str]) -> dict[str, str]:
    """`TZ`, where the run was in another time zone and no variable said so."""
    from mlsdk.capture.process import time_zone

    zone = run.code.get("timezone")
    if "TZ" in found or not isinstance(zone, str) or zone == time_zone():
        return {}
    return {"TZ": zone} if os.path.isfile(os.path.join(_ZONES, zone)) else {}


def _module_path(
    run: Run, world: World, environment: Environment, path: Sequence[str], found: Mapping[str, str]
) -> dict[str, str]:
    """`PYTHONPATH` with what leads into this world before what leads back: an editable installation does, say."""
    known = [entry for entry in found.get("PYTHONPATH", "").split(os.pathsep) if entry]
    was = [str(entry) for entry in listed(run.environment.get("path"))]
    back = Folders([(world.place.now or "", world.top)])
    is_other = environment.built or environment.prefix != run.environment.get("prefix")
    leading = [*(was if is_other else environment.path), *_hidden_roots(run, was)]
    here = [world.folders.now(entry) or back.now(entry) for entry in leading]
    by_itself = {world.folder, os.path.dirname(world.folders.now(str(run.code.get("entry"))) or "")}
    inside = [entry for entry in dict.fromkeys(here) if entry and entry not in known and os.path.isdir(entry)]
    whole = [*path, *(entry for entry in inside if entry not in by_itself), *known]
    return {"PYTHONPATH": os.pathsep.join(whole)} if whole else {}


def _hidden_roots(run: Run, path: Sequence[str]) -> list[str]:
    """Folders from which modules were imported though they were not on the path: an import hook leads there."""
    modules = run.code.get("modules")
    found = []
    for name, file in (modules if isinstance(modules, Mapping) else {}).items():
        folder = os.path.dirname(str(file))
        for _ in range(str(name).count(".") + (os.path.basename(str(file)) == "__init__.py")):
            folder = os.path.dirname(folder)
        if name != "__main__" and folder not in path:
            found.append(folder)
    return found


def _lead_to(environment: Environment, prefix: str, found: dict[str, str]) -> None:
    """Let what leads to the environment of the run lead to the one that it is made again in."""
    if not environment.built and environment.prefix == prefix:
        return
    for name in ("CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "PYTHONHOME"):
        found.pop(name, None)
    if "VIRTUAL_ENV" in found or environment.built:
        found["VIRTUAL_ENV"] = environment.prefix
    old, programs = os.path.join(prefix, "bin"), os.path.join(environment.prefix, "bin")
    others = [entry for entry in found.get("PATH", os.defpath).split(os.pathsep) if entry not in (old, programs)]
    found["PATH"] = os.pathsep.join([programs, *others])
