"""Which run is meant: the context's, else the process's only live one."""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

from mlsdk.errors import NoRunError

if TYPE_CHECKING:
    from mlsdk.tracking.active import ActiveRun

entered: ContextVar[ActiveRun | None] = ContextVar("mlsdk_entered_run", default=None)
"""The run of the innermost `with` block or decorated function of this context: the parent of runs started in it."""

bare: ContextVar[ActiveRun | None] = ContextVar("mlsdk_bare_run", default=None)
"""The run that was started in this context without `with`."""

live: dict[str, ActiveRun] = {}
"""All live runs of this process by writer id."""

handed: set[str] = set()
"""Of these, by writer id, those that belong to tasks of a cluster: only a task that says so means them."""

_WORD = "MLSDK_INHERITED_RUN"


def current_run() -> ActiveRun:
    """The run that `mlsdk.log` would write to.

    Raises:
        NoRunError: there is none, several live ones and none belongs to this context, or this context's has ended.

    >>> import mlsdk
    >>> with mlsdk.run("docs") as run:
    ...     mlsdk.current_run() is run
    True
    """
    run = find()
    if run is not None:
        return run
    ended = entered.get()
    if ended is not None:
        raise NoRunError(
            f"run {ended.name} ({ended.id[-8:]}), which this code belongs to, is finished;"
            f" go on with it by mlsdk.run(resume={ended.id!r}), or name another: run.log(...)"
        )
    if not live:
        run = _disabled() or _inherited()
        if run is not None:
            return run
        raise NoRunError("no run is live here; start one by `with mlsdk.run(...):` or `@mlsdk.track`")
    names = ", ".join(run.name for run in live.values())
    raise NoRunError(
        f"{len(live)} runs are live ({names}) and none belongs to this thread or task; say which one: run.log(...)"
    )


def find() -> ActiveRun | None:
    """The live run meant in this context, or None. What belongs to a run that has ended is never given to another."""
    run = entered.get()
    if run is not None:
        return None if run.finished else run
    run = bare.get()
    if run is not None and not run.finished:
        return run
    if "distributed.worker" in sys.modules:
        from mlsdk.tracking.clusters import of_task

        run = of_task()
        if run is not None:
            return run
    alive = [run for writer, run in tuple(live.items()) if writer not in handed]
    return alive[0] if len(alive) == 1 else None


def leave(token: Token[ActiveRun | None]) -> None:
    """Take back what `entered.set` gave the token for."""
    try:
        entered.reset(token)
    except ValueError:  # left in another context than entered: an async framework moved us
        entered.set(None)


def hand_down(started: ActiveRun | None = None) -> None:
    """Leave word for others: of the newest live run for processes that are spawned, of this context's for Dask's tasks.

    Args:
        started: the run that this context has just started; by default the one that it has by now.
    """
    newest = next((run for writer, run in reversed(tuple(live.items())) if writer not in handed), None)
    word = _word(newest)
    if os.environ.get(_WORD, "") != word:
        os.environ[_WORD] = word
    if "dask.base" in sys.modules:
        from mlsdk.tracking.clusters import annotate

        own = started or entered.get() or bare.get()
        annotate(_word(None if own is None or own.finished else own))


def _word(run: ActiveRun | None) -> str:
    return "" if run is None else f"{run.id}@{run.store_uri}"


def _disabled() -> ActiveRun | None:
    """While nothing is to be recorded: the run that records nothing."""
    from mlsdk import config

    if not config.disabled():
        return None
    from mlsdk.tracking.disabled import DisabledRun

    return DisabledRun("disabled", "disabled")


def _inherited() -> ActiveRun | None:
    """In a process that multiprocessing spawned: the run of the process that spawned it, joined as a worker."""
    processes = sys.modules.get("multiprocessing.process")
    inherited = os.environ.get(_WORD)
    if not inherited or processes is None or processes.parent_process() is None:
        return None
    from mlsdk.tracking.start import join

    run_id, _, uri = inherited.partition("@")
    return join(run_id, store=uri)
