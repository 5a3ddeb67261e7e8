"""The ranks of one run find each other: what launcher started this process, as which rank, and which run they share.

The run's id comes from something that all ranks of one launch share and no other launch ever has; the first rank to
come is waited for by nobody. `docs/ranks.md` has the table of what is taken from where, and of what is refused.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from mlsdk.log.identity import read_text, start_ticks, writer_identity
from mlsdk.log.ids import new_id, shared_id, started_ns

T = TypeVar("T")

WAIT_S = 5.0
"""So long a launcher's store may take to answer; one that did not is not asked again."""

_FIRST_OWN_STEP = 0xFFFFFFF0
"""SLURM numbers the steps that `srun` starts from 0; batch scripts and interactive shells have numbers from here on."""

_TAKEN = "MLSDK_RANK_OF"
"""Word for children: the process that has the rank which the launcher's variables speak of."""

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

_MPI = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE"),
)
_MPI_JOB = ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "OMPI_MCA_orte_precondition_transports")

_born = os.getpid()
_calls: dict[str, int] = {}
_told: set[tuple[str | None, str, int]] = set()
_silent: set[str] = set()
"""Stores that did not answer in time."""


class Seat(NamedTuple):
    """A process's place among those that were started together."""

    rank: int
    run: str | None
    """Id of the run that all of them share; None where it could not be agreed on."""
    group: str
    """What their runs have in common, also those of a restart: becomes the tag `group`; empty for none."""
    why: str = ""
    """Where there is no `run`: what was missing, and what to do."""


class _Call(NamedTuple):
    """A call that starts a run: the same line of the program, for the same time, on every rank."""

    site: str
    number: int


class _Launcher(NamedTuple):
    """The process on this host that started all ranks."""

    name: str
    started_ns: int


def find(root: str | None, label: str | None = None, told: tuple[str, int] | None = None) -> Seat | None:
    """The seat of this process for the run that it is about to start; None where it was started alone.

    Only the process that a launcher started has one, not its children: they inherit the variables.

    Args:
        root: folder of the store, where a rank notes which runs it has had.
        label: name of the tracked function, if it is one.
        told: `MLSDK_RUN` and the rank, where both are given.
    """
    if os.getpid() != _born or os.environ.get(_TAKEN, str(_born)) != str(_born):
        return None
    call = _this_call(label)
    if told is not None:
        seat: Seat | None = _of_told(*told, root, call)
    else:
        seat = _of_launcher(call)
        while seat is not None and seat.run is not None and not _claim(root, seat.run, seat.rank):
            _calls[call.site] = number = call.number + 1
            call = call._replace(number=number)
            seat = _of_launcher(call)
    if seat is not None and seat.run is not None:
        os.environ[_TAKEN] = str(_born)
    return seat


def _of_launcher(call: _Call) -> Seat | None:
    seat = None
    if not _is_spawned():
        seat = _of_torchrun(call) or _of_mpi(call) or _of_slurm(call)
    if seat is not None and seat.run is not None:
        return seat
    asked = _of_torch(call) or _of_ray(call)
    if asked is not None and asked.run is not None:
        return asked
    return seat or _of_variables() or asked


def _of_told(run: str, rank: int, root: str | None, call: _Call) -> Seat:
    """`MLSDK_RUN` is the first run that a rank starts; those after it are others, which all ranks share too."""
    again = (root, run, rank) in _told
    _told.add((root, run, rank))
    return Seat(rank, _derived(started_ns(run), call, run), _group("run", run)) if again else Seat(rank, run, "")


def _claim(root: str | None, run: str, rank: int) -> bool:
    """Take a seat; False if a process before this one had it, started by the same rank's script."""
    if root is None:
        return True
    folder = os.path.join(root, "cache", "seats")
    try:
        os.makedirs(folder, exist_ok=True)
        os.close(os.open(os.path.join(folder, f"{run}.{rank}"), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError:
        return False
    except OSError:  # whatever it is, writing the run meets it too, and says so
        return True
    return True


def _is_spawned() -> bool:
    processes = sys.modules.get("multiprocessing.process")
    return processes is not None and processes.parent_process() is not None


def _this_call(label: str | None) -> _Call:
    """Where outside this package the run is started, and for which time in this process.

    Thus a run that rank 0 starts alone, say for an evaluation, is never taken for the one that all start.
    """
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    code = frame.f_code
    site = f"{os.path.basename(code.co_filename)}:{code.co_name}:{frame.f_lineno}:{label or ''}"
    _calls[site] = number = _calls.get(site, -1) + 1
    return _Call(site, number)


def number(variable: str) -> int | None:
    """A variable of the environment as a number from 0 on."""
    value = os.environ.get(variable, "")
    return int(value) if value.isascii() and value.isdigit() else None


def _group(system: str, *parts: object) -> str:
    return f"{system}-{_digest(*parts).hex()[:12]}"


def _digest(*parts: object) -> bytes:
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogateescape")).digest()


def _derived(started_ns: int, call: _Call, *parts: object) -> str:
    """The id that every rank makes for itself of what all share."""
    return shared_id(started_ns, call.number, _digest(*parts, *call))


# torchrun


def _of_torchrun(call: _Call) -> Seat | None:
    rank, size, job = number("RANK"), number("WORLD_SIZE") or 1, os.environ.get("TORCHELASTIC_RUN_ID")
    if rank is None or size < 2 or job is None:
        return None
    address = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if number("LOCAL_WORLD_SIZE") == size:  # one agent, on this host, has started them all
        agent = _launcher("RANK", "LOCAL_RANK", "MASTER_PORT")
        if agent is not None:
            folder = os.path.dirname(os.path.dirname(os.environ.get("TORCHELASTIC_ERROR_FILE", "")))
            run = _derived(agent.started_ns, call, agent.name, job, folder, *address, attempt)
            return Seat(rank, run, _group("torchrun", agent.name, job))
    group = _group("torchrun", job, *address, _host_of(address[0]))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or "torch.distributed" not in sys.modules:
        return Seat(rank, None, group, "import torch before the run is started, or set MLSDK_RUN for all ranks")
    try:
        keys = f"mlsdk/{job}/{attempt}/{size}", f"mlsdk/{job}"
        run, group = _bounded(":".join(address), lambda: _by_store(_agents_store(*address), *keys, call))
        return Seat(rank, run, f"torchrun-{group}")
    except Exception as error:  # torch's errors are many; training goes on with separate runs, which say so
        return Seat(rank, None, group, f"set MLSDK_RUN for all ranks: the store at {':'.join(address)} failed: {error}")


def _agents_store(host: str, port: str) -> Any:
    """The store that torchrun's agent keeps, as `init_process_group` would reach it."""
    from datetime import timedelta

    store = sys.modules["torch.distributed"].TCPStore
    wait = timedelta(seconds=WAIT_S)
    return store(host, int(port), is_master=False, timeout=wait, wait_for_workers=False)


def _by_store(store: Any, launch: str, job: str, call: _Call) -> tuple[str, str]:
    """(run, group) by a store of torch: who comes first says which, and nobody waits for anybody."""
    run = _first_word(store, f"{launch}/{call.site}/{call.number}", new_id())
    return run, _first_word(store, f"{job}/group", new_id()[-12:])


def _first_word(store: Any, key: str, proposal: str) -> str:
    said = store.compare_set(key, "", proposal)
    return said.decode("ascii") if isinstance(said, bytes) else str(said)


def _bounded(name: str, ask: Callable[[], T]) -> T:
    """What a store of torch answers. One that is stuck keeps its caller for ever: a thread is left behind to it.

    Raises:
        TimeoutError: it has not answered in time, now or before.
        Exception: what asking raised.
    """
    said: list[T] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            said.append(ask())
        except Exception as error:  # torch's errors are many; it is raised where it was asked
            failed.append(error)

    if name not in _silent:
        thread = threading.Thread(target=work, name="mlsdk-ranks", daemon=True)
        thread.start()
        thread.join(WAIT_S)
    if said:
        return said[0]
    if failed:
        raise failed[0]
    _silent.add(name)
    raise TimeoutError(f"it did not answer within {WAIT_S:.0f} s")


def _of_torch(call: _Call) -> Seat | None:
    """By the store of a process group that is there, whoever started the processes."""
    torch = sys.modules.get("torch.distributed")
    if torch is None or not torch.is_available() or not torch.is_initialized() or torch.get_world_size() < 2:
        return None
    try:
        store = sys.modules["torch.distributed.distributed_c10d"]._get_default_store()
        run, group = _bounded("group", lambda: _by_store(store, "mlsdk", "mlsdk", call))
        return Seat(torch.get_rank(), run, f"torch-{group}")
    except Exception as error:  # a store that cannot compare and set, or one of a version to come: the run says so
        why = f"set MLSDK_RUN for all ranks: the store of the process group failed: {error}"
        return Seat(torch.get_rank(), None, "", why)


# MPI


def _of_mpi(call: _Call) -> Seat | None:
    for variables in _MPI:
        rank, size, local = map(number, variables)
        if rank is not None and size is not None and size > 1 and local is not None:
            break
    else:
        return None
    job = [os.environ.get(variable, "") for variable in _MPI_JOB]
    if local == size:
        launcher = _launcher(variables[0])
        if launcher is not None:
            run = _derived(launcher.started_ns, call, launcher.name, *job)
            return Seat(rank, run, _group("mpi", launcher.name, *job))
    slurm, began = _slurm_job()
    # mpirun's own host is in the batch step, where it has sent `srun` for the others: a step says less than its job
    launch = job if any(job) else [os.environ.get("SLURM_STEP_ID", "")]
    if began is not None and any(launch):
        parts = (*slurm, os.environ.get("SLURM_RESTART_COUNT", "0"), *launch)
        return Seat(rank, _derived(began * 10**9, call, "mpi", *parts), _group("mpi", *slurm))
    group = _group("mpi", *job, _host_of("localhost") if not any(job) else "")
    return Seat(rank, None, group, "MPI tells its ranks on several hosts nothing that no other job has; set MLSDK_RUN")


# SLURM


def _of_slurm(call: _Call) -> Seat | None:
    rank, step, size = number("SLURM_PROCID"), number("SLURM_STEP_ID"), number("SLURM_STEP_NUM_TASKS") or 1
    if rank is None or size < 2 or step is None or step >= _FIRST_OWN_STEP:
        return None  # in a batch script or a shell of `salloc` nobody has started ranks
    job, began = _slurm_job()
    group = _group("slurm", *job)
    if began is None:
        return Seat(rank, None, group, "this SLURM does not tell SLURM_JOB_START_TIME; set MLSDK_RUN for all ranks")
    restart = os.environ.get("SLURM_RESTART_COUNT", "0")
    return Seat(rank, _derived(began * 10**9, call, "slurm", *job, step, restart), group)


def _slurm_job() -> tuple[tuple[str, ...], int | None]:
    """What names a job among all of a cluster, and when it began (s since 1970)."""
    variables = ("SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")
    return tuple(os.environ.get(variable, "") for variable in variables), number("SLURM_JOB_START_TIME")


# Ray, and what is known of ranks alone


def _of_ray(call: _Call) -> Seat | None:
    if "ray.train" not in sys.modules:
        return None
    from mlsdk.tracking.clusters import ray_rank

    try:
        found = ray_rank(f"{call.site}/{call.number}")
    except Exception:  # Ray's inside, of any version, in any state: then it tells nothing
        return None
    return None if found is None else Seat(found[0], found[1], f"ray-{found[2]}")


def _of_variables() -> Seat | None:
    """Somebody has numbered the processes, and nothing says which belong together."""
    rank, size, host = number("RANK"), number("WORLD_SIZE") or 1, os.environ.get("MASTER_ADDR")
    if rank is None or size < 2 or not host:
        return None
    group = _group("torch", host, os.environ.get("MASTER_PORT", ""), _host_of(host))
    return Seat(rank, None, group, "start the run after init_process_group, or set MLSDK_RUN for all ranks")


def _host_of(address: str) -> str:
    """Stands for this host where an address means another one on each."""
    loopback = address in ("", "localhost", "::1") or address.startswith("127.")
    return str(writer_identity()["boot"] or writer_identity()["host"]) if loopback else ""


def _launcher(*variables: str) -> _Launcher | None:
    """The nearest ancestor that was not itself started as this rank: a shell between the two was.

    In a container it may be the first process of all. None where that cannot be seen.
    """
    ours = {f"{name}={os.environ[name]}".encode() for name in variables if name in os.environ}
    pid = os.getppid()
    while pid > 0:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                theirs = set(file.read().split(b"\0"))
        except OSError:
            return None
        began = start_ticks(pid)
        if began is None:
            return None
        if not ours <= theirs:
            return _named(pid, began)
        stat = read_text(f"/proc/{pid}/stat")
        pid = int(stat[stat.rfind(")") + 2 :].split()[1])
    return None


def _named(pid: int, began: int) -> _Launcher | None:
    booted = [line.split()[1] for line in read_text("/proc/stat").splitlines() if line.startswith("btime ")]
    here = writer_identity()
    if not booted or not here["boot"]:
        return None
    started_ns = int(booted[0]) * 10**9 + began * 10**9 // os.sysconf("SC_CLK_TCK")
    return _Launcher("|".join(map(str, (here["boot"], here["pidns"], pid, began))), started_ns)
