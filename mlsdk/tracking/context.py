"""Which run is meant: the context's, else the process's only live one."""

from __future__ import annotations

from contextvars import ContextVar
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


def current_run() -> ActiveRun:
    """The run that `mlsdk.log` would write to.

    Raises:
        NoRunError: there is none, or several live ones and none belongs to this context.

    >>> import mlsdk
    >>> with mlsdk.run("docs") as run:
    ...     mlsdk.current_run() is run
    True
    """
    run = find()
    if run is not None:
        return run
    if not live:
        run = _inherited()
        if run is not None:
            return run
        raise NoRunError("no run is live here; start one by `with mlsdk.run(...):` or `@mlsdk.track`")
    names = ", ".join(run.name for run in live.values())
    raise NoRunError(
        f"{len(live)} runs are live ({names}) and none belongs to this thread or task; say which one: run.log(...)"
    )


def find() -> ActiveRun | None:
    """The run meant in this context, or None."""
    run = entered.get()
    if run is not None and not run.finished:
        return run
    return _without_context()


def _without_context() -> ActiveRun | None:
    run = bare.get()
    if run is not None and not run.finished:
        return run
    if len(live) == 1:
        for only in tuple(live.values()):
            return only
    return None


def _inherited() -> ActiveRun | None:
    """In a process that multiprocessing spawned: the run of the process that spawned it, joined as a worker."""
    import os
    import sys

    processes = sys.modules.get("multiprocessing.process")
    inherited = os.environ.get("MLSDK_INHERITED_RUN")
    if not inherited or processes is None or processes.parent_process() is None:
        return None
    from mlsdk.tracking.start import join

    run_id, _, uri = inherited.partition("@")
    return join(run_id, store=uri)
