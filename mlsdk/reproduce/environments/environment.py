"""The environment of a rerun: the interpreter to start, with the packages that the run had."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlsdk.capture.environment.installed import scan
from mlsdk.errors import MlsdkError, RerunError
from mlsdk.records import Run
from mlsdk.reproduce.environments.building import build, packages_of
from mlsdk.reproduce.environments.interpreter import Interpreter, ask, minor
from mlsdk.reproduce.environments.packages import OURSELVES, Wanted, differences, installed, listed
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.world.world import World

_SHOWN = 5


class Environment(NamedTuple):
    """An interpreter with its packages."""

    executable: str
    prefix: str
    path: tuple[str, ...]
    """Where it finds modules by itself."""
    notes: tuple[str, ...] = ()
    """What is not as the lock says."""
    built: bool = False
    """Whether it was built for reruns: variables that lead to another one do not hold."""


class Lock(NamedTuple):
    """What a run says of its environment."""

    python: str
    packages: dict[str, Wanted]


def environment_of(run: Run, recipe: Recipe, world: World) -> Environment:
    """The environment that a recipe asks for; built where it is not there.

    Raises:
        RerunError: it cannot be had; the message says what stands in the way.
    """
    if recipe.env == "same" and not recipe.packages:
        return _as_it_is(run)
    if recipe.env == "same":
        here = _known(run)
        lock = Lock(here.version, packages_of(here, _nothing))
    else:
        lock = lock_of(run)
    apart, own = _on_module_path(run), _of_project(world)

    def leave(one: Wanted) -> bool:
        return own(one) or one.name in apart

    whole = _with(run, lock, recipe.packages)
    wanted = {name: one for name, one in whole.items() if not leave(one)}
    moved = {name: one for name, one in whole.items() if name in apart}
    told = tuple(f"package {line}" for line in differences(moved, {name: apart[name] for name in moved}))
    if recipe.env != "fresh":
        for one in _candidates(run):
            if one.minor == minor(lock.python) and not differences(wanted, packages_of(one, leave)):
                return _environment(one, (*_on_python(lock.python, one), *told))
    donors = [] if recipe.env == "fresh" else _candidates(run)
    folder = world.base if recipe.env == "fresh" else None
    prefixes = [str(run.environment.get(name) or "") for name in ("base_prefix", "prefix")]
    one = build(lock.python, wanted, donors=donors, prefixes=prefixes, folder=folder, leave=leave)
    notes = [f"package {line}" for line in differences(wanted, packages_of(one, leave))]
    if run.environment.get("installation") == "conda":
        notes.append(
            "the run's environment was conda's; of its packages those that are Python's were installed as wheels"
        )
    return _environment(one, (*_on_python(lock.python, one), *told, *notes), built=True)


def _environment(one: Interpreter, notes: tuple[str, ...], *, built: bool = False) -> Environment:
    return Environment(one.executable, one.prefix, tuple(one.path), notes, built)


def _as_it_is(run: Run) -> Environment:
    """The environment of this process, with word of what is other in it."""
    here = _known(run)
    try:
        lock = lock_of(run)
    except RerunError:
        return _environment(here, ("the environment is that of here; the run's is not known",))
    lines = differences(lock.packages, {**packages_of(here, _nothing), **_on_module_path(run)})
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    told = [f"the environment is that of here, not the run's: {'; '.join(lines[:_SHOWN])}{more}"] if lines else []
    return _environment(here, (*_on_python(lock.python, here), *told))


def lock_of(run: Run) -> Lock:
    """What a run was locked to.

    Raises:
        RerunError: it has no lock, or that is not in the store.
    """
    lock, known = run.environment.get("lock"), run.environment.get("distributions")
    named = f"run {run.name} ({run.short_id})"
    if not isinstance(lock, Mapping) or not lock.get("requirements"):
        why = run.environment.get("lock_missing") or "the capture `lock` was not taken"
        raise RerunError(
            f"{named} has no lock of its environment ({why}): use the present one by --env same", "environment"
        )
    try:
        with run._store().open_blob(str(lock["requirements"])) as file:  # noqa: SLF001 - a run reads its own store
            text = file.read().decode()
    except MlsdkError as error:
        raise RerunError(f"the lock of {named} cannot be read ({error}): use --env same", "environment") from error
    versions = {str(name): str(version) for name, version in (known if isinstance(known, Mapping) else {}).items()}
    return Lock(str(run.environment.get("python") or lock.get("python")), listed(text, versions))


def _with(run: Run, lock: Lock, packages: Mapping[str, str]) -> dict[str, Wanted]:
    """The list with other versions; as the run's lock names them where it has that version."""
    wanted = dict(lock.packages)
    if not packages:
        return wanted
    try:
        known = lock_of(run).packages
    except RerunError:
        known = {}
    for name, version in packages.items():
        if name == OURSELVES:
            continue
        was = known.get(name)
        wanted[name] = was if was and was.version == version else Wanted(name, version, f"{name}=={version}")
    return wanted


def _candidates(run: Run) -> list[Interpreter]:
    """The run's own environment, if it is still there, and the present one."""
    places = dict.fromkeys([str(run.environment.get("executable") or ""), sys.executable])
    return [one for place in places if place and (one := ask(place, *_options(run))) is not None]


def _known(run: Run) -> Interpreter:
    one = ask(sys.executable, *_options(run))
    if one is None:
        raise RerunError(f"the interpreter {sys.executable} cannot be started", "environment")
    return one


def _options(run: Run) -> list[str]:
    """Options of the run's interpreter that decide where it looks for packages."""
    flags = run.environment.get("flags")
    known = {"no_user_site": "-s", "no_site": "-S"}
    return [option for name, option in known.items() if isinstance(flags, Mapping) and flags.get(name)]


def _on_module_path(run: Run) -> dict[str, Wanted]:
    """Packages that lie in folders of `PYTHONPATH`: of no environment, and found before those of any."""
    variables = run.environment.get("variables")
    told = str(variables.get("PYTHONPATH", "")) if isinstance(variables, Mapping) else ""
    folders = [os.path.abspath(entry) for entry in told.split(os.pathsep) if entry]
    return installed(scan(folders).distributions, str(run.environment.get("python"))) if folders else {}


def _of_project(world: World) -> Callable[[Wanted], bool]:
    """Whether a distribution is the project itself, installed in place: its modules are found in the world."""

    def own(one: Wanted) -> bool:
        folder = url2pathname(urlsplit(one.url or "").path) if one.editable else ""
        return bool(folder) and (world.folders.now(folder) is not None or world.place.holds(folder))

    return own


def _nothing(_: Wanted) -> bool:
    return False


def _on_python(version: str, one: Interpreter) -> tuple[str, ...]:
    return () if one.version == version else (f"on Python {one.version}, not {version}",)
