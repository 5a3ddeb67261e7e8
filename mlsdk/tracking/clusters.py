"""Runs of one process whose tasks run elsewhere: the workers of Dask, and the ranks that Ray Train starts.

Tasks of Dask carry the run that was current where they were made, as an annotation: each knows its own, whichever
client has sent it, and a run that has ended is in none that is made later.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Any

from mlsdk.log.ids import new_id
from mlsdk.tracking import context

if TYPE_CHECKING:
    from mlsdk.tracking.active import ActiveRun

ANNOTATION = "mlsdk_run"
"""The annotation of a task: a run's id, `@`, the URI of its store."""

WAIT_S = 5.0
"""So long a scheduler may take to answer."""

MOST = 4
"""Runs that a worker keeps joined: two clients may send tasks at once."""

_annotated: ContextVar[Any] = ContextVar("mlsdk_dask_annotation", default=None)
_joined: dict[str, ActiveRun] = {}
_lock = Lock()


def annotate(word: str) -> None:
    """Let tasks of Dask that are made in this context from now on carry a run; none, if the word is empty."""
    dask = sys.modules.get("dask")
    if dask is None or not hasattr(dask, "annotate"):
        return
    before = _annotated.get()
    if before is not None:
        _annotated.set(None)
        with contextlib.suppress(ValueError, RuntimeError):  # made in another context, which keeps it
            before.__exit__(None, None, None)
    if word:
        carried = dask.annotate(**{ANNOTATION: word})
        carried.__enter__()
        _annotated.set(carried)


def of_task() -> ActiveRun | None:
    """In a task of Dask: the run that it carries, joined as a rank of its own; None elsewhere."""
    worker = _worker()
    if worker is None:
        return None
    with contextlib.suppress(AttributeError, KeyError):  # no thread of a task
        annotations = worker.state.tasks[worker.get_current_task()].annotations or {}
        run_id, _, uri = str(annotations.get(ANNOTATION, "")).partition("@")
        if run_id:
            return _of_process(run_id) or _join(run_id, uri, worker)
    return None


def _worker() -> Any:
    module = sys.modules.get("distributed.worker")
    try:
        return None if module is None else module.get_worker()
    except (ValueError, AttributeError):  # not on a worker
        return None


def _of_process(run_id: str) -> ActiveRun | None:
    """The run itself, where the worker is a thread of the process that records it; or as it was joined here."""
    known = _joined.get(run_id)
    if known is not None and not known.finished and known._writer.pid == os.getpid():
        return known
    return next((run for run in tuple(context.live.values()) if run.id == run_id and not run.finished), None)


def _join(run_id: str, uri: str, worker: Any) -> ActiveRun:
    from mlsdk.tracking.start import join

    with _lock:
        known = _of_process(run_id)
        if known is not None:
            return known
        while len(_joined) >= MOST:  # tasks of the earliest run: they are done, or join once more
            _joined.pop(next(iter(_joined))).finish()
        run = join(run_id, store=uri, rank=_rank(run_id, worker))
        context.handed.add(run._writer.id)
        context.hand_down()
        _joined.pop(run_id, None)
        _joined[run_id] = run
        return run


def _rank(run_id: str, worker: Any) -> int | None:
    """The next free number, kept by the scheduler under the worker's id: one that comes for a dead one is another."""
    try:
        dask: Any = sys.modules["distributed"]
        client = dask.get_client(timeout=WAIT_S)
        if client.asynchronous:  # within the worker's event loop nothing may be waited for
            return None
        lock = dask.Lock(f"mlsdk-{run_id}")
        if not lock.acquire(timeout=WAIT_S):
            return None
        try:
            taken = client.get_metadata(["mlsdk", run_id], {})
            rank = int(taken.get(worker.id) or len(taken) + 1)
            client.set_metadata(["mlsdk", run_id, worker.id], rank)
            return rank
        finally:
            lock.release()
    except Exception:  # the scheduler is another's: without its answer the process is a worker without a number
        return None


def ray_rank(call: str) -> tuple[int, str, str] | None:
    """(rank, run, group) in a worker of Ray Train; None elsewhere. Who comes first says which run it is.

    Args:
        call: which of its runs.
    """
    ray, train = sys.modules["ray"], sys.modules["ray.train"]
    seat = train.get_context()
    if not ray.is_initialized() or (seat.get_world_size() or 1) < 2:
        return None
    internal_kv: Any = importlib.import_module("ray.experimental.internal_kv")
    job = f"{ray.get_runtime_context().get_job_id()}/{_told(seat, 'get_experiment_name')}/{_told(seat, 'get_trial_id')}"
    key = f"mlsdk/{job}/{call}".encode()
    internal_kv._internal_kv_put(key, new_id().encode("ascii"), overwrite=False)
    return seat.get_world_rank(), internal_kv._internal_kv_get(key).decode("ascii"), job.replace("/", "-")


def _told(seat: Any, name: str) -> str:
    with contextlib.suppress(Exception):  # not told by every version of Ray Train
        return str(getattr(seat, name)())
    return ""
