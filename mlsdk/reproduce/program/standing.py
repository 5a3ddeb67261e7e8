"""The folder by which a rerun stands still: its `sitecustomize` runs before anything of the program."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping

from mlsdk.capture.listed import summary
from mlsdk.errors import RerunError
from mlsdk.records import Run
from mlsdk.reproduce.program import standstill
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.world.world import World

_SITE = '''"""Put in place by mlsdk for a rerun; goes on with the `sitecustomize` that the environment has itself."""

import importlib.machinery
import importlib.util
import json
import os
import sys


def _load(name, spec):
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(_here, "standing.json"), encoding="utf-8") as _file:
    _asked = json.load(_file)
_standstill = _load("_mlsdk_standstill", importlib.util.spec_from_file_location("_mlsdk_standstill", _asked["by"]))
if _asked["clock_s"] is not None:
    _standstill.stand_still(_asked["clock_s"])
if _asked["listings"]:
    _standstill.order_listings(_asked["listings"])
if _asked["seed"] is not None:
    _standstill.hold_chance(_asked["seed"])
_others = [entry for entry in sys.path if os.path.abspath(entry) != _here]
_spec = importlib.machinery.PathFinder.find_spec("sitecustomize", _others)
if _spec is not None:
    _load("sitecustomize", _spec)
'''


def standing_folder(run: Run, recipe: Recipe, world: World) -> str | None:
    """A folder for the front of the path by which clocks stand, listings have an order, chance comes from a seed.

    None where nothing of that is asked, and no folder was seen to be listed.

    Raises:
        RerunError: the interpreter was told to look at no such folder.
    """
    orders = _orders(run, recipe, world)
    orders.update((_folder(world, path), list(names)) for path, names in recipe.listings.items())
    asked = recipe.clock_s is not None or recipe.seed is not None or recipe.listings
    if not asked and not orders:
        return None
    flags = run.environment.get("flags")
    told = [
        flag for flag in ("isolated", "ignore_environment", "no_site") if isinstance(flags, Mapping) and flags.get(flag)
    ]
    if told and not asked:
        return None
    if told:
        raise RerunError(
            f"clocks, listings and chance cannot be held still for run {run.name} ({run.short_id}): its interpreter was"
            f" started with {', '.join(told)}",
            "program",
        )
    folder = os.path.join(world.base, "standing")
    os.makedirs(folder)
    by = os.path.abspath(standstill.__file__)
    values = {"by": by, "clock_s": recipe.clock_s, "listings": orders, "seed": recipe.seed}
    with open(os.path.join(folder, "standing.json"), "w", encoding="utf-8") as file:
        json.dump(values, file)
    with open(os.path.join(folder, "sitecustomize.py"), "w", encoding="utf-8") as file:
        file.write(_SITE)
    return folder


def _orders(run: Run, recipe: Recipe, world: World) -> dict[str, list[str]]:
    """The order of folders that the run listed: a copy would have another one.

    As it was in the run; with what lies here, as it lies here, of folders that are copied.
    """
    listings = run.code.get("listings")
    found: dict[str, list[str]] = {}
    for path, names in listings.items() if isinstance(listings, Mapping) else ():
        now = _folder(world, str(path))
        lies: list[str] = []
        with contextlib.suppress(OSError):
            lies = os.listdir(world.place.of(world.folders.back().now(now) or now))
        if recipe.data == "here":
            if os.path.join(now, "").startswith(os.path.join(world.base, "")):
                found[now] = lies
        elif isinstance(names, (list, tuple)):
            found[now] = [str(name) for name in names]
        elif lies and summary(lies) == names:  # of so many names a digest was kept
            found[now] = lies
    return found


def _folder(world: World, path: str) -> str:
    """The folder that a run's record names: from its working folder, where it lies in that."""
    return world.folders.now(path) or os.path.normpath(os.path.join(world.folder, path))
