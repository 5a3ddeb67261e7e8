"""Can a run be made again? Two reruns, their content compared with the run's, a level, and what is to blame."""

from __future__ import annotations

import getpass
import math
import os
import platform
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import NamedTuple

import attrs

from mlsdk.compare import causes
from mlsdk.compare.difference import Difference
from mlsdk.errors import RerunError, UsageError
from mlsdk.log.ids import new_id
from mlsdk.records import Run, RunStatus
from mlsdk.reproduce.attest import attach
from mlsdk.reproduce.blame import Blamed, Search
from mlsdk.reproduce.levels import largest, nothing_to_compare, said, statistical
from mlsdk.reproduce.recipe import Kind, Recipe, recipe_of
from mlsdk.reproduce.rerun import captured
from mlsdk.reproduce.suspects import suspects_of
from mlsdk.reproduce.trials import Tell, Trials
from mlsdk.reproduce.verdict import Divergence, Level, Verdict
from mlsdk.store import open_store
from mlsdk.version import VERSION

MOST_RERUNS = 12
"""Reruns that are spent on finding the cause, beyond those that the level takes."""


def verify(
    run: Run | str,
    *,
    env: Kind = "lock",
    here: bool = False,
    tolerance: float = 1e-6,
    reruns: int = 5,
    timeout_s: float | None = None,
    all_causes: bool = False,
    most_reruns: int = MOST_RERUNS,
    progress: Tell | None = None,
    store: str | os.PathLike[str] | None = None,
) -> Verdict:
    """Make a run again, twice, and say whether the same comes of it; if not, why.

    Metrics, returned values and artifacts are compared by their content. The verdict is attached to the run:
    `run.reproduced` is its level from then on, `run.verdict` all of it.

    Args:
        run: the run, or what `get_run` takes; it must have ended.
        env: `lock`: an environment that is as the run's lock says, built where the present one is another; `fresh`:
            built in any case; `same`: the present one as it is.
        here: take code, data, variables and environment as they are here now: does the same come of them? By default
            all is as it was in the run: can it be made again?
        tolerance: the relative difference up to which a number counts as reproduced (level T).
        reruns: how many reruns the statistical level takes, where the program is not deterministic.
        timeout_s: after so long a rerun is stopped; by default ten times what the run took, at least a minute.
        all_causes: go on looking for causes when one is confirmed.
        most_reruns: how many reruns may be spent on causes.
        progress: called with a line for each rerun that begins.
        store: folder or URI of the store that the run is in; by default the settings' store.

    Returns:
        The verdict. That a run cannot be made again is one too: level U, with the reason.

    Raises:
        UsageError: an argument that means nothing, or a run that has not ended.
        NotFoundError: there is no such run.

    Example::

        verdict = mlsdk.verify("latest")
        print(verdict.level, verdict.reason)
        for cause in verdict.causes:
            print(cause.kind, cause.what, cause.confirmed)
    """
    recipe = recipe_of(env=env, here=here, timeout_s=timeout_s)
    _check(tolerance, reruns, most_reruns)
    opened = open_store(store)
    found = opened.find_one(run.id if isinstance(run, Run) else run)
    if found.status is RunStatus.RUNNING:
        raise UsageError(f"run {found.name} ({found.short_id}) is still running: verify it when it has ended")
    found = captured(opened, found)
    trials = Trials(opened, found, progress or _nothing)
    judged = _judged(trials, recipe, _Asked(tolerance, reruns, all_causes, most_reruns))
    verdict = attrs.evolve(
        judged,
        env=recipe.env,
        here=here,
        tolerance=tolerance,
        reruns=[one.id for one in trials.made],
        at=datetime.now(timezone.utc),
        took_s=round(trials.took_s, 3),
        by={"mlsdk": VERSION, "user": _user(), "host": platform.node()},
        id=new_id(),
    )
    return attach(opened, opened.find_one(found.id), verdict, trials.made)


def _nothing(_: str) -> None:
    pass


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as somebody without a name
        return ""


def _check(tolerance: float, reruns: int, most_reruns: int) -> None:
    if not 0 <= tolerance < math.inf:
        raise UsageError(f"tolerance must be a relative difference from 0 on, such as 1e-6, not {tolerance!r}")
    if reruns < 3:
        raise UsageError(f"reruns must be 3 or more, not {reruns!r}: fewer say nothing about how much they vary")
    if most_reruns < 0:
        raise UsageError(f"most_reruns must be a number of reruns from 0 on, not {most_reruns!r}")


class _Asked(NamedTuple):
    tolerance: float
    reruns: int
    all_causes: bool
    most_reruns: int


def _judged(trials: Trials, recipe: Recipe, asked: _Asked) -> Verdict:
    run = trials.run
    try:
        one = trials.rerun(recipe, "with what is here now" if recipe.code == "here" else "as it was")
        other = trials.rerun(recipe, "once more, to see whether two agree")
    except RerunError as error:
        return Verdict(run.id, "U", str(error), why=error.why)
    matches = [trials.match(one), trials.match(other)]
    match = max(matches, key=lambda found: _WORSE.index(found.level(asked.tolerance)))
    if not match.anything:
        return Verdict(
            run.id, "U", nothing_to_compare(match), trials.deterministic, why="content", skipped=match.skipped
        )
    level: Level = match.level(asked.tolerance)
    reason = said(match, level, asked.tolerance)
    blamed = Blamed([], [])
    if level != "B":
        differences = causes(run, one)
        chance = causes(one, other)
        moved = _but_for(differences, chance)
        if level == "X" and not trials.deterministic and not moved:
            level, reason = statistical(trials, recipe, asked.reruns, reason)
        # What differs between two reruns that came to the same has no effect.
        suspected = moved if trials.deterministic else [*differences, *_but_for(chance, differences)]
        blamed = _blame(trials, recipe, suspected, level, asked)
    if one.status is RunStatus.FAILED and run.status is not RunStatus.FAILED:
        level, reason = "U", f"the rerun failed: {_error(one)}"
    confirmed = [f"{cause.kind} {cause.what}" for cause in blamed.causes if cause.confirmed]
    if confirmed:
        reason += f"; {'' if blamed.is_back else 'reruns vary '}because of {' and '.join(confirmed[:3])}"
    relative, ulps = largest(match.unlike)
    return Verdict(
        run.id,
        level,
        reason,
        trials.deterministic,
        first_divergence=Divergence.of(match.unlike[0]) if match.unlike else None,
        causes=blamed.causes,
        others=blamed.others,
        why="program" if level == "U" else None,
        relative=relative,
        ulps=ulps,
        compared=match.compared,
        aside=[f"{unlike.kind} {unlike.what}, {unlike.doubt}" for unlike in match.aside],
        skipped=match.skipped,
    )


_WORSE = "BTX"
"""Levels that one rerun may have, the best first."""


def _but_for(found: Iterable[Difference], others: Iterable[Difference]) -> list[Difference]:
    """Differences that are not among others."""
    names = {(one.kind, one.what) for one in others}
    return [one for one in found if (one.kind, one.what) not in names]


def _error(run: Run) -> str:
    error = run.error or {}
    return f"{error.get('type', 'an error')}: {error.get('message', '')}"


def _blame(trials: Trials, recipe: Recipe, differences: Sequence[Difference], level: Level, asked: _Asked) -> Blamed:
    # What is within tolerance anyhow is not worth reruns on a guess: each may take as long as the run did.
    suspects = suspects_of(
        trials.run, trials.made[0], differences, recipe, deterministic=trials.deterministic, hints=level != "T"
    )
    wanted = ("B",) if level == "T" else ("B", "T")

    def is_match(new: Run) -> bool:
        return trials.match(new).level(asked.tolerance) in wanted

    return Search(trials, recipe, is_match, asked.most_reruns).blame(suspects, all_of_them=asked.all_causes)
