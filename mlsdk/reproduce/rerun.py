"""Making a run again: its whole program, in a new folder, with the code, the data and the environment that it had."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

import attrs

from mlsdk.capture.secrets.redaction import redact_text, redact_value
from mlsdk.errors import NotFoundError, RerunError
from mlsdk.finding import get_run
from mlsdk.log.values import encode
from mlsdk.records import Run, RunStatus
from mlsdk.reproduce.apart import complete
from mlsdk.reproduce.environments.environment import Environment, environment_of
from mlsdk.reproduce.program.command import Command, check_entry, command_of
from mlsdk.reproduce.program.options import shows
from mlsdk.reproduce.program.order import check_answer, write_order
from mlsdk.reproduce.program.process import Ended, run_to_end
from mlsdk.reproduce.program.standing import standing_folder
from mlsdk.reproduce.program.variables import is_of_another, variables_of
from mlsdk.reproduce.recipe import Kind, Recipe, recipe_of
from mlsdk.reproduce.world.placing import place_data
from mlsdk.reproduce.world.world import World, world_of
from mlsdk.store import open_store
from mlsdk.store.base import Store
from mlsdk.store.outbox import folder_of, is_remote

_LEAST_S = 60.0
_TIMES = 10.0
_UNKNOWN_S = 86_400.0
_WAIT_S = 20.0
"""How long captures that are still being taken are waited for."""

_LINES = 15
"""Of a program's output, in an error."""


def rerun(
    run: Run | str,
    *,
    params: Mapping[str, object] | None = None,
    env: Kind = "lock",
    here: bool = False,
    timeout_s: float | None = None,
    experiment: str | None = None,
    name: str | None = None,
    store: str | os.PathLike[str] | None = None,
) -> Run:
    """Make a run again: the same program, from the code, data and environment that were recorded.

    The whole program runs, in a new folder, with the arguments that it was given; nothing is written to where it lay.
    Its run becomes a new one in the same store, a child of the old one. Runs that the program starts before it are not
    recorded, and with its end the program is ended.

    Args:
        run: the run, or what `get_run` takes.
        params: arguments of the tracked function, or options of the command line, that are to be others.
        env: `lock`: an environment that is as the run's lock says, built where the present one is another; `fresh`:
            built in any case; `same`: the present one as it is.
        here: take code, data, variables and environment as they are now, in a copy: only the command is the run's.
        timeout_s: after so long the program is stopped; by default ten times what the run took, at least a minute.
        experiment: of the new run; by default that of the old one.
        name: of the new run.
        store: folder or URI of the store that the run is in; by default the settings' store.

    Returns:
        The new run, complete. It may have failed, as the old one may have: look at its `status`.

    Raises:
        RerunError: it cannot be made again; `why` says what stands in the way, the message what to do.
        UsageError: `env` is something else, or does not fit with `here`; no time is left by `timeout_s`.
        NotFoundError: there is no such run.

    Example::

        again = mlsdk.rerun("latest", params={"lr": 0.3}, env="same")
        print(again.parent, again.params["lr"], again.metrics["acc"].last)
    """
    recipe = recipe_of(env=env, here=here, timeout_s=timeout_s, params=params)
    found = run if isinstance(run, Run) else get_run(run, store=store)
    return rerun_by(captured(open_store(store), found), recipe, experiment=experiment, name=name, store=store)


def captured(store: Store, run: Run) -> Run:
    """The run with its captures: those of one that has just ended may still be under way.

    Raises:
        NotFoundError: it is not in the store.
    """
    until = time.monotonic() + (0.0 if _is_in_memory(store) else _WAIT_S)
    while _is_pending(run) and time.monotonic() < until:
        time.sleep(0.1)
        run = store.find_one(run.id)
    return run


def _is_pending(run: Run) -> bool:
    is_captured = "tree" in run.code or "tree_missing" in run.code or "entry" not in run.code
    age = datetime.now(timezone.utc) - (run.ended_at or run.started_at)
    return not is_captured and age.total_seconds() < _WAIT_S


def rerun_by(
    run: Run,
    recipe: Recipe,
    *,
    experiment: str | None = None,
    name: str | None = None,
    store: str | os.PathLike[str] | None = None,
) -> Run:
    """Make a run again as a recipe says.

    Args:
        run: as it was read from its store.
        recipe: what is taken from its record, what from here, and what is other.
        experiment: of the new run; by default that of the old one.
        name: of the new run.
        store: folder or URI of the store that the run is in; by default the settings' store.

    Returns:
        The new run, complete; also where it failed by an exception.

    Raises:
        NotFoundError: the run is not in that store.
        RerunError: it cannot be made again; `why` says what stands in the way.
    """
    place = _store_of(run, store)
    check_entry(run)
    with world_of(run, recipe, place) as world:
        completed = complete(run, recipe, world, place)
        placed = place_data(run, recipe, world, place)
        environment = environment_of(run, recipe, world)
        command = command_of(run, world, environment, recipe.params)
        notes = [*world.notes, *completed.notes, *placed.notes, *environment.notes]
        if recipe.variables == "run" and is_of_another(run):
            notes.append(
                f"{run.user} recorded the run: PATH, LD_PRELOAD and others that lead somewhere are those of here"
            )
        identity, order = write_order(
            run,
            recipe,
            world,
            store=place.uri,
            experiment=experiment,
            name=name,
            rerun=_fact(run, recipe, world, notes),
            shown=command.shown,
        )
        standing = standing_folder(run, recipe, world)
        path = (*([standing] if standing else ()), *completed.path)
        variables = variables_of(run, recipe, world, environment, path=path, order=order, store=place.uri)
        ended = _execute(run, recipe, world, environment, command, variables)
        return _outcome(run, recipe, world, place, identity, ended, placed.lacking)


def _is_in_memory(store: Store) -> bool:
    return store.uri.startswith("memory:")


def _store_of(run: Run, named: str | os.PathLike[str] | None) -> Store:
    """The store that a run is in.

    Raises:
        NotFoundError: it is not in that one.
        RerunError: no other process can write to it.
    """
    store = open_store(named)
    if _is_in_memory(store):
        raise RerunError(
            f"run {run.name} ({run.short_id}) is in a store that only this process sees: record it in a folder, or"
            " on a server",
            "program",
        )
    store.find_one(run.id)
    return store


def _fact(run: Run, recipe: Recipe, world: World, notes: Sequence[str]) -> dict[str, object]:
    """What is recorded of how the new run was made."""
    lay = [(now, world.place.lay.now(before) or before) for before, now in world.folders.pairs]
    lay += [(now, before) for before, now in world.elsewhere.pairs]
    changed = {
        name: value
        for name, value in attrs.asdict(recipe, recurse=False).items()
        if value != getattr(Recipe(), name) and name != "timeout_s"
    }
    return {
        **{name: dict(value) if isinstance(value, Mapping) else value for name, value in changed.items()},
        "of": run.id,
        "env": recipe.env,
        "folders": dict(lay),
        **({"notes": list(notes)} if notes else {}),
    }


def _execute(
    run: Run,
    recipe: Recipe,
    world: World,
    environment: Environment,
    command: Command,
    variables: Mapping[str, str],
) -> Ended:
    about = run.code.get("stdin")
    kind = about.get("kind") if isinstance(about, Mapping) else None
    umask = str(run.code.get("umask"))
    try:
        return run_to_end(
            [environment.executable, *command.options, *command.words],
            folder=world.folder,
            mark=world.base,
            environment=variables,
            given=None if kind in ("null", "closed") else b"\n",
            program=command.source if command.words[:1] != ["-c"] else None,
            timeout_s=_timeout_s(run, recipe),
            umask=int(umask, 8) if re.fullmatch("0?[0-7]{1,3}", umask) else -1,
        )
    except (OSError, ValueError) as error:  # a word of the record may be none that a system takes
        raise RerunError(f"{environment.executable} cannot be started: {error}", "environment") from error


def _timeout_s(run: Run, recipe: Recipe) -> float:
    number = run.code.get("ordinal", 0)
    runs = number + 1 if isinstance(number, int) else 1
    if run.duration_s is None:  # it was killed: how long it would have taken is not known
        return recipe.timeout_s or _UNKNOWN_S
    return recipe.timeout_s or max(_LEAST_S, _TIMES * run.duration_s * runs)


def _outcome(
    run: Run, recipe: Recipe, world: World, store: Store, identity: str, ended: Ended, lacking: Sequence[str]
) -> Run:
    """The new run, as the store has it.

    Raises:
        RerunError: there is none, or the program read what nobody can give it again, or it did not end.
    """
    check_answer(world)
    named = f"run {run.name} ({run.short_id})"
    if not ended.in_time:
        raise RerunError(
            f"the program of {named} did not end within {_timeout_s(run, recipe):g} s and was stopped, the run took"
            f" {run.duration_s or 0:.1f} s then: give it longer by --timeout (timeout_s=); {_said(ended)}",
            "timeout",
        )
    if ended.asked:
        raise RerunError(
            f"the program of {named} reads from its standard input, and what it was given then was not kept: let it"
            " read that from a file, or take it as an argument",
            "stdin",
        )
    try:
        new = store.find_one(identity)
    except NotFoundError:
        if is_remote(store.uri) and os.path.isdir(os.path.join(folder_of(store.uri), "runs", identity)):
            raise RerunError(
                f"the new run {identity[-8:]} of {named} is made, and waits to be sent to {store.uri}: `mlsdk sync`"
                " sends it",
                "program",
            ) from None
        if lacking:
            raise RerunError(lacking[0], "data") from None
        raise RerunError(
            f"the program of {named} ended before its run began ({_how(ended)}); {_said(ended)}", "program"
        ) from None
    if new.status not in (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.INTERRUPTED):
        raise RerunError(
            f"the program of {named} ended in the middle of its run ({_how(ended)}), which is {new.short_id};"
            f" {_said(ended)}",
            "program",
        )
    if new.status is RunStatus.FAILED and run.status is not RunStatus.FAILED and lacking:
        raise RerunError(lacking[0], "data")
    _check_data(run, recipe, world, new)
    for name, given in recipe.params.items():
        value = redact_value(name, encode(given))  # as a param is recorded
        if not (shows(new, name, given) or shows(new, name, value)):
            raise RerunError(
                f"{name}={value!r} has no effect on the new run, {new.short_id}: let the program take {name} from its"
                " command line or as an argument of a tracked function",
                "arguments",
            )
    return new


def _check_data(run: Run, recipe: Recipe, world: World, new: Run) -> None:
    """See that what the program read outside of its world is what the run read: it may know its path by heart.

    Raises:
        RerunError: it is not.
    """
    for one in (*new.datasets.values(), *new.inputs.values()) if recipe.data == "run" else ():
        old = run.datasets.get(one.name) if one.declared else run.inputs.get(one.name)
        if old is None or one.path is None or one.path != old.path or one.name in recipe.params:
            continue
        is_same = old.digest == one.digest or (one.fingerprint or old.fingerprint) == (old.fingerprint or "")
        if os.path.isabs(one.path) and world.inside(one.path) != one.path and one.digest and old.digest and not is_same:
            raise RerunError(
                f"the program of run {run.name} ({run.short_id}) reads {one.path} by its absolute path, and that is not"
                f" what it was; the new run, {new.short_id}, has read it: put the old data back there, or rerun with"
                " what there is now by --here",
                "data",
            )


def _how(ended: Ended) -> str:
    return f"exit code {ended.code}" if ended.code >= 0 else f"killed by signal {-ended.code}"


def _said(ended: Ended) -> str:
    lines = redact_text(ended.output)[0].strip().splitlines()  # it may be recorded, as the reason of a verdict
    return "it said nothing" if not lines else "its last lines:\n" + "\n".join(f"  {line}" for line in lines[-_LINES:])
