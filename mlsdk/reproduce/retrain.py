"""`mlsdk.retrain`: make the stale runs again, on what is there now, each after those that make its data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import attrs

from mlsdk.errors import RerunError, UsageError
from mlsdk.records import Run, RunStatus
from mlsdk.reproduce.now.choosing import Wanted, chosen
from mlsdk.reproduce.now.lineage import artifacts_of
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.rerun import rerun_by
from mlsdk.reproduce.staleness import Judge, Staleness
from mlsdk.store import open_store
from mlsdk.store.base import Store


@attrs.frozen
class Retrained:
    """What came of retraining one run.

    Attributes:
        old: why it was stale.
        new: the new run. None if there is none: it could not be made, or was not needed any more, as what makes its
            data made the same again.
        problem: why it could not be made, or what is wrong with it; None if all is well.
    """

    old: Staleness
    new: Run | None = None
    problem: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain values, as `mlsdk retrain --json` prints them."""
        run, new = self.old.run, self.new
        return {
            "run": run.id,
            "new": None if new is None else new.id,
            "problem": self.problem,
            "lines": list(self.old.lines),
            "metrics": {} if new is None else {name: {"a": a, "b": b} for name, a, b in metrics(run, new)},
        }


def retrain(
    runs: Wanted,
    *,
    env: Literal["same", "lock"] = "same",
    timeout_s: float | None = None,
    store: str | os.PathLike[str] | None = None,
) -> tuple[Retrained, ...]:
    """Make the stale ones of some runs again, with the code and the data that are there now.

    A new run is a child of the old one, in the same experiment. Runs that made the data of others, and are stale
    themselves, are made again first, whether or not they were named; what they make is the data of those that follow.
    What is up to date, or cannot be known, is left alone.

    Args:
        runs: as for `mlsdk.status`: a run, a name, an experiment, a filter, several of them.
        env: `same`: the present environment; `lock`: one as it was recorded.
        timeout_s: after so long a program is stopped; by default ten times what the run took, at least a minute.
        store: folder or URI; by default the settings' store.

    Returns:
        What came of each, in the order in which they were made.

    Raises:
        NotFoundError: there is no such run.
        QueryError: a filter that cannot be understood.

    >>> import mlsdk
    >>> with mlsdk.run("docs", name="fresh", store="memory:retrain"):
    ...     pass
    >>> mlsdk.retrain("fresh", store="memory:retrain")
    ()
    """
    opened = open_store(store)
    return tuple(retraining(opened, stale(opened, runs), env=env, timeout_s=timeout_s))


def stale(store: Store, runs: Wanted) -> list[Staleness]:
    """The stale ones of some runs, and of the runs that made their data, in the order in which they are to be made."""
    found = chosen(store, runs)
    judge = Judge(store, found)
    ordered: dict[str, Staleness] = {}

    def add(run: Run) -> None:
        if run.id in seen:
            return
        seen.add(run.id)
        judge.lineage.add([run])
        for _, made in judge.lineage.parents(run):
            add(judge.lineage.latest(made))
        one = judge.status([run])[0]
        if one.replaced_by is not None:
            add(one.replaced_by)
        elif one.is_stale:
            ordered[run.id] = one

    seen: set[str] = set()
    for run in found:
        if run.status is not RunStatus.RUNNING:
            add(run)
    return list(ordered.values())


def retraining(
    store: Store,
    found: Sequence[Staleness],
    *,
    env: Literal["same", "lock"] = "same",
    timeout_s: float | None = None,
    begun: Callable[[Staleness], object] = lambda _: None,
) -> Iterator[Retrained]:
    """Make runs again, one after the other; what comes of each as soon as it is known.

    Args:
        store: where they are.
        found: from `stale`.
        env: see `retrain`.
        timeout_s: see `retrain`.
        begun: called before each.
    """
    if env not in ("same", "lock"):
        raise UsageError(f"env must be 'same' or 'lock', not {env!r}")
    failed: dict[str, Run] = {}
    for one in found:
        judge = Judge(store, [one.run])
        parents = [made for _, made in judge.lineage.parents(one.run)]
        lacking = [made for made in parents if judge.lineage.latest(made).id in failed]
        if lacking:
            failed[one.run.id] = one.run
            yield Retrained(one, None, f"what makes {lacking[0].artifact} could not be made again")
            continue
        if parents and not judge.judge(one.run).is_stale:
            yield Retrained(one)
            continue
        begun(one)
        contents = _contents(judge, one.run)
        recipe = Recipe(code="here", data="here", variables="here", env=env, contents=contents, timeout_s=timeout_s)
        made = _made(store, one, recipe)
        if made.problem is not None:
            failed[one.run.id] = one.run
        yield made


def _contents(judge: Judge, run: Run) -> dict[str, str]:
    """By path, the newest of the artifacts that a run has for its data."""
    found = {}
    for one, made in judge.lineage.parents(run):
        digest = artifacts_of(judge.lineage.latest(made)).get(made.artifact)
        if one.path is not None and digest is not None:
            found[one.path] = digest
    return found


def _made(store: Store, one: Staleness, recipe: Recipe) -> Retrained:
    try:
        new = rerun_by(one.run, recipe, experiment=one.run.experiment, store=store.uri)
    except RerunError as error:
        return Retrained(one, None, f"{error}{_path_then(one.run)}")
    if new.status is not RunStatus.FINISHED:
        told = (new.error or {}).get("message") or (new.error or {}).get("type") or ""
        return Retrained(one, new, f"the new run {new.status}{f': {told}' if told else ''}")
    return Retrained(one, new)


def _path_then(run: Run) -> str:
    """That modules were found by a variable that is set otherwise now: where a program does not start, often why."""
    variables = run.environment.get("variables")
    if not isinstance(variables, Mapping):
        return ""
    then, now = variables.get("PYTHONPATH"), os.environ.get("PYTHONPATH")
    if then is None or then == now:
        return ""
    return f"; PYTHONPATH was {then!r} then, and is {'not set' if now is None else repr(now)} now"


def metrics(old: Run, new: Run) -> list[tuple[str, object, object]]:
    """Name, old and new last value of the metrics; what was sampled of the machine is left out."""
    names = [*old.metrics, *(name for name in new.metrics if name not in old.metrics)]
    return [
        (
            name,
            old.metrics[name].last if name in old.metrics else None,
            new.metrics[name].last if name in new.metrics else None,
        )
        for name in names
        if not name.startswith("system/")
    ]
