"""The environment variables of a rerun: those that the run had, with its paths as they are now."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mlsdk.capture.redaction import REDACTED
from mlsdk.capture.variables import allowed
from mlsdk.records import Run
from mlsdk.reproduce.environment import Environment
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.world import World
from mlsdk.tracking.again import VARIABLE

_ZONES = "/usr/share/zoneinfo"

_OURS = ("STORE", "RUN", "INHERITED_RUN", "MODE", "EXPERIMENT", "COMPANION", "EXIT_WAIT_S", "SHIP_WAIT_S", "OUTBOX")
"""What says where and how a process records; of the run's settings all others hold again."""


def variables_of(
    run: Run, recipe: Recipe, world: World, environment: Environment, order: str, store: str
) -> dict[str, str]:
    """All variables of the process.

    Args:
        run: the run that is made again.
        recipe: whose variables are taken, and which are set on top of them.
        world: where it runs.
        environment: what it runs in.
        order: path of the order.
        store: URI of the store.
    """
    ours = {f"MLSDK_{name}" for name in _OURS}
    found = dict(os.environ)
    recorded = run.environment.get("variables")
    if recipe.variables == "run" and isinstance(recorded, Mapping):
        told = {str(name): str(value) for name, value in recorded.items()}
        further = told.get("MLSDK_ENVIRONMENT", "")
        found = {name: value for name, value in found.items() if name in told or not allowed(name, further)}
        found.update(
            (name, world.folders.path_list(value))
            for name, value in told.items()
            if REDACTED not in value and name not in ours
        )
        found.update(_zone(run, found))
    found = {name: value for name, value in found.items() if name not in ours or name == "MLSDK_OUTBOX"}
    _find_modules(run, recipe, world, found)
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


def _find_modules(run: Run, recipe: Recipe, world: World, found: dict[str, str]) -> None:
    """Let the program's own folders come before what leads back to where they lay: an editable installation, say."""
    path = run.environment.get("path")
    known = found.get("PYTHONPATH", "").split(os.pathsep)
    first: list[str] = []
    for entry in path if isinstance(path, (list, tuple)) else ():
        here = world.folders.now(str(entry))
        if here is not None and os.path.isdir(here) and here not in known:
            first.append(here)
    if first:
        found["PYTHONPATH"] = os.pathsep.join([*first, *filter(None, known)])
