"""Starting a run: fresh, resumed, or joined from another process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mlsdk import config
from mlsdk.capture import Context, chosen
from mlsdk.capture.process import entry_name
from mlsdk.capture.secrets.redaction import redact_text
from mlsdk.errors import ConfigError, UsageError
from mlsdk.log.facts import Tags, checked_mapping, checked_tags, checked_text
from mlsdk.log.ids import new_id
from mlsdk.store.target import Target, open_target
from mlsdk.tracking import again, captures, context, exits
from mlsdk.tracking.active import ActiveRun
from mlsdk.tracking.disabled import DisabledRun
from mlsdk.tracking.numbers import integer_step
from mlsdk.tracking.points import now_ns
from mlsdk.tracking.writer import Writer

if TYPE_CHECKING:
    from mlsdk.records import Run
    from mlsdk.tracking.ranks import Seat

Captures = (
    str
    | Callable[[Context], Mapping[str, object] | None]
    | Sequence[str | Callable[[Context], Mapping[str, object] | None]]
)
StorePath = str | os.PathLike[str]

_RANK_VARIABLES = (
    "RANK",
    "OMPI_COMM_WORLD_RANK",
    "PMIX_RANK",
    "PMI_RANK",
    "MV2_COMM_WORLD_RANK",
    "SLURM_PROCID",
)
_CLUSTERS = ("torch.distributed", "ray.train")
"""Modules that may know of ranks where no variable speaks of them."""

OWN = "own"
"""`MLSDK_RUN` where every process has runs of its own, whoever has started it."""

_BORN = os.getpid()
"""What is forked from here has the variables, and the process group, of another."""


def run(
    experiment: str | None = None,
    *,
    name: str | None = None,
    params: Mapping[str, object] | None = None,
    tags: Tags | None = None,
    resume: str | Run | None = None,
    from_step: int | None = None,
    capture: Captures | None = None,
    store: StorePath | None = None,
) -> ActiveRun:
    """Start a run at once; a context manager that ends it too.

    Without `with`, the run is the current one until `finish()`, the end of the process or the next `run()` without
    `with`.

    Args:
        experiment: group of runs; by default the setting `experiment`, else the name of the file that runs.
        name: by default made from the experiment and the id.
        params: hyperparameters, typed and nested as they are.
        tags: a mapping, or plain names.
        resume: id (or beginning, end, name, `"latest"`) of a finished run to go on with: steps go on, facts are added.
        from_step: with `resume`: points of earlier parts from this step on are hidden: they are about to be repeated.
        capture: names of captures or functions; by default all. () for none: then nothing is sampled or observed.
        store: folder or URI; by default the setting `store`, else the nearest `.mlsdk` folder.

    Raises:
        UsageError: arguments that do not fit together.
        StoreError: the store cannot be written.

    >>> import mlsdk
    >>> with mlsdk.run("docs", params={"lr": 0.1}) as run:
    ...     mlsdk.log(loss=0.25)
    """
    before = context.bare.get()
    if before is not None and not before.finished and not before.entered:
        before.finish()
    belongs_to = context.entered.get()
    if belongs_to is not None and belongs_to.finished:
        context.entered.set(None)
    started = start(
        experiment,
        name=name,
        params=params,
        tags=tags,
        resume=resume,
        from_step=from_step,
        capture=capture,
        store=store,
    )
    context.bare.set(started)
    return started


def start(
    experiment: str | None,
    *,
    name: str | None = None,
    params: Mapping[str, object] | None = None,
    tags: Tags | None = None,
    resume: str | Run | None = None,
    from_step: int | None = None,
    capture: object = None,
    store: StorePath | None = None,
    code: Mapping[str, object] | None = None,
    label: str | None = None,
    function: Callable[..., object] | None = None,
    arguments: Mapping[str, object] | None = None,
    number: int | None = None,
) -> ActiveRun:
    """Start a run without making it anybody's current one.

    Args, beside those of `run`:
        code: further facts of code.
        label: what its name begins with, where it has none.
        function: the tracked function.
        arguments: of its call, by name.
        number: of the run among those of this process, where it was counted already.
    """
    begun = now_ns()
    checked_text("experiment", experiment)
    checked_text("name", name)
    number = again.count() if number is None else number
    if config.disabled() or again.passes_over(number):
        return DisabledRun(name or "disabled", experiment or "disabled")
    order = again.order_for(number)
    if from_step is not None:
        from_step = integer_step(from_step)
        if resume is None:
            raise UsageError(f"from_step={from_step!r} needs resume=: it says from where a resumed run repeats steps")
    asked = {"params": checked_mapping("params", params or {}), "tags": checked_tags(tags or {})}
    asked_for = capture if capture is not None else config.text("capture")
    wanted = chosen(asked_for)
    uri = config.store_uri(store)
    facts = {**(code or {}), **_numbered(number)}
    if (rerun := again.current()) is not None:
        uri, experiment = config.store_uri(rerun.store), rerun.experiment or experiment
    if order is not None:
        name, facts = order.name or name, {**facts, **order.code}
        wanted = order.begin(wanted, asked["params"], resume)
    joined = _joined() if resume is None and order is None else None
    seat = _seat(joined, uri, label) if resume is None and order is None else None
    if seat is not None:
        joined = seat.run
        asked["tags"] = {**({"group": seat.group} if seat.group else {}), **asked["tags"]}
    rank = None if seat is None else seat.rank
    previous = None if resume is None else _previous(resume, uri)
    identity = order.id if order else previous.id if previous else joined or new_id()
    experiment = experiment or (previous.experiment if previous else None) or config.text("experiment") or entry_name()
    name = name or (previous.name if previous else None) or f"{label or experiment}-{identity[-4:]}"
    experiment, name = redact_text(experiment)[0], redact_text(name)[0]
    if joined is not None and not _first(joined, rank, uri):
        return _with_facts(_joining(joined, uri, rank, experiment, name), asked)
    target = open_target(uri)
    writer = Writer(target, identity, "main", seen=previous.order if previous else 0, owed=new_id())
    writer.call_companion(settle=False)  # it comes while the captures are taken
    active = ActiveRun(writer, name=name, experiment=experiment, next_steps=_next_steps(previous, from_step))
    _write_start(active, writer, experiment, name, previous, from_step)
    if order is not None:
        writer.facts({"run": {"parent": order.of}})
        writer.afterwards = again.leave
    _with_facts(active, {**asked, "code": facts})
    where = Context(config.working_folder(), function, arguments or {}, root=target.root, put_blob=target.put_blob)
    captures.take(active, wanted, where, everything=asked_for is None)
    writer.announce()
    _enlist(active, writer, observe=bool(wanted) and config.flag("observe"))
    if seat is not None and seat.why:
        of = f", of the tag group={seat.group}" if seat.group else ""
        active._problems.note("ranks", f"each rank is a run of its own{of}: {seat.why}")
    active.spent(begun)
    return active


def _numbered(number: int) -> dict[str, object]:
    """Facts by which a rerun finds this run among those of its process; none where it is the first."""
    return {**({"ordinal": number} if number else {}), **({"forked": True} if os.getpid() != _BORN else {})}


def _write_start(
    active: ActiveRun, writer: Writer, experiment: str, name: str, previous: Run | None, from_step: int | None
) -> None:
    parent = context.entered.get()
    first: dict[str, object] = {"experiment": experiment, "name": name, "status": "running", "user": _user()}
    if previous is None:
        first["started_ns"] = now_ns()
    else:
        first.update(error=None, ended_ns=None)
    if parent is not None and not parent.finished and not isinstance(parent, DisabledRun) and parent.id != active.id:
        first["parent"] = parent.id
    start_facts: dict[str, dict[str, object]] = {"run": first}
    if from_step is not None:
        start_facts["rewinds"] = {writer.id: from_step}
    writer.facts(start_facts)


def _with_facts(active: ActiveRun, kinds: Mapping[str, Mapping[str, object]]) -> ActiveRun:
    for kind, values in kinds.items():
        if values:
            active._set(kind, values)
    return active


def _enlist(active: ActiveRun, writer: Writer, *, observe: bool) -> None:
    context.live[writer.id] = active
    exits.install()
    exits.owe(writer)
    if config.flag("output"):
        from mlsdk.capture import output

        output.install(context.find, int(config.number("output_limit_bytes")))
    if observe:
        from mlsdk.capture import opened

        active.opened = opened.Opened(writer.target.root)
        opened.install(context.find)
    context.hand_down(active)
    writer.call_companion()


def join(run_id: str, *, store: StorePath | None = None, rank: int | None = None) -> ActiveRun:
    """Join a run from another process; what is logged goes into a log of its own, as `rank n` or `worker`.

    Raises:
        ConfigError: not an id.
    """
    _check_id(run_id)
    return _joining(run_id, config.store_uri(store), rank, config.text("experiment") or entry_name(), None)


def _joining(run_id: str, uri: str, rank: int | None, experiment: str, name: str | None) -> ActiveRun:
    """Join a run. A rank, which may be alone on its host, is served by a companion there."""
    target: Target = open_target(uri)
    role = "worker" if rank is None else f"rank {rank}"
    writer = Writer(target, run_id, role, owed=None if rank is None else new_id())
    active = ActiveRun(writer, name=f"{role} of {run_id[-8:]}", experiment=experiment)
    if rank is not None:
        writer.call_companion(settle=False)
        # of the rank; of the run it counts where no main process ever comes
        told = {"experiment": experiment, "name": name or run_id[-8:], "status": "running", "started_ns": now_ns()}
        settings = config.for_companion()
        asked = {"folder": config.working_folder(), **({"settings": settings} if settings else {})}
        writer.facts({"run": told, "captures": asked})
    writer.announce()
    context.live[writer.id] = active
    exits.install()
    if rank is not None:
        exits.owe(writer)
        context.hand_down(active)
        writer.call_companion()
    return active


def _seat(joined: str | None, uri: str, label: str | None) -> Seat | None:
    """The place of this process among ranks that a launcher has started; None within a run, and where there are none.

    What looks for them is loaded only where something speaks of them.
    """
    rank = _rank()
    told = (joined, rank) if joined is not None and rank is not None else None
    if rank is None and (joined is not None or not any(module in sys.modules for module in _CLUSTERS)):
        return None
    if context.find() is not None or os.getpid() != _BORN or config.text("run") == OWN:
        return None
    from mlsdk.tracking import ranks

    return ranks.find(open_target(uri).root, label, told)


def _joined() -> str | None:
    """The run that this process was told to join; None within a run: what starts there is a run of its own."""
    run_id = config.text("run")
    if run_id in (None, OWN) or context.find() is not None:
        return None
    _check_id(run_id)
    return run_id


def _check_id(run_id: str) -> None:
    if len(run_id) != 32 or not set(run_id) <= set("0123456789abcdef"):
        raise ConfigError(f"MLSDK_RUN must be a run's whole id, 32 hexadecimal digits, or `{OWN}`, not {run_id!r}")


def _first(run_id: str, rank: int | None, uri: str) -> bool:
    """Whether this process makes the run it was told to join: rank 0, or, without ranks, the first to come."""
    if rank is not None:
        return rank == 0
    root = open_target(uri).root
    return root is not None and not os.path.isdir(os.path.join(root, "runs", run_id))


def _rank() -> int | None:
    for variable in _RANK_VARIABLES:
        value = os.environ.get(variable, "")
        if value.isdigit():
            return int(value)
    return None


def _previous(resume: str | Run, uri: str) -> Run:
    from mlsdk.records import Run, RunStatus
    from mlsdk.store import open_store

    store = open_store(uri)
    found = store.find_one(resume.id if isinstance(resume, Run) else resume)
    if found.status is RunStatus.RUNNING:
        raise UsageError(
            f"run {found.name} ({found.short_id}) is still running;"
            f" join it from another process by MLSDK_RUN={found.id}"
        )
    return found


def _next_steps(previous: Run | None, from_step: int | None) -> dict[str, int]:
    if previous is None:
        return {}
    last = {name: summary.last_step for name, summary in previous.metrics.items() if summary.last_step is not None}
    return {name: step + 1 if from_step is None or step < from_step else from_step for name, step in last.items()}


def _user() -> str | None:
    return os.environ.get("USER") or os.environ.get("USERNAME") or None
