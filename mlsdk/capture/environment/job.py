"""The job that the process is part of, by what SLURM, Kubernetes, torchrun, MPI and others tell their processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from mlsdk.capture import Context
from mlsdk.capture.environment.variables import snapshot
from mlsdk.log.standins import in_use

SYSTEMS: dict[str, dict[str, tuple[str, ...]]] = {
    "slurm": {
        "id": ("SLURM_JOB_ID", "SLURM_JOBID"),
        "name": ("SLURM_JOB_NAME",),
        "array_id": ("SLURM_ARRAY_JOB_ID",),
        "array_task": ("SLURM_ARRAY_TASK_ID",),
        "step": ("SLURM_STEP_ID",),
        "partition": ("SLURM_JOB_PARTITION",),
        "cluster": ("SLURM_CLUSTER_NAME",),
        "nodes": ("SLURM_JOB_NODELIST", "SLURM_NODELIST"),
        "node_count": ("SLURM_JOB_NUM_NODES", "SLURM_NNODES"),
        "node": ("SLURMD_NODENAME",),
        "node_rank": ("SLURM_NODEID",),
        "rank": ("SLURM_PROCID",),
        "local_rank": ("SLURM_LOCALID",),
        "size": ("SLURM_NTASKS", "SLURM_NPROCS"),
        "cpus_per_task": ("SLURM_CPUS_PER_TASK",),
        "gpus": ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS"),
        "restarts": ("SLURM_RESTART_COUNT",),
    },
    "kubernetes": {
        "pod": ("POD_NAME", "MY_POD_NAME", "K8S_POD_NAME"),
        "namespace": ("POD_NAMESPACE", "MY_POD_NAMESPACE", "K8S_POD_NAMESPACE"),
        "node": ("NODE_NAME", "MY_NODE_NAME", "K8S_NODE_NAME"),
        "index": ("JOB_COMPLETION_INDEX",),
    },
    "torchrun": {
        "id": ("TORCHELASTIC_RUN_ID",),
        "restarts": ("TORCHELASTIC_RESTART_COUNT",),
        "max_restarts": ("TORCHELASTIC_MAX_RESTARTS",),
        "rank": ("RANK",),
        "local_rank": ("LOCAL_RANK",),
        "node_rank": ("GROUP_RANK", "NODE_RANK"),
        "size": ("WORLD_SIZE",),
        "local_size": ("LOCAL_WORLD_SIZE",),
        "node_count": ("GROUP_WORLD_SIZE",),
        "master": ("MASTER_ADDR",),
        "master_port": ("MASTER_PORT",),
    },
    "mpi": {
        "rank": ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "MV2_COMM_WORLD_RANK"),
        "size": ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"),
        "local_rank": ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "PMI_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK"),
        "local_size": ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "PMI_LOCAL_SIZE"),
        "node_rank": ("OMPI_COMM_WORLD_NODE_RANK",),
    },
    "pbs": {
        "id": ("PBS_JOBID",),
        "name": ("PBS_JOBNAME",),
        "queue": ("PBS_QUEUE",),
        "array_task": ("PBS_ARRAY_INDEX",),
    },
    "lsf": {"id": ("LSB_JOBID",), "name": ("LSB_JOBNAME",), "queue": ("LSB_QUEUE",), "array_task": ("LSB_JOBINDEX",)},
    "ray": {"id": ("RAY_JOB_ID",)},
}
"""By system and fact: the variables that tell it, the first that is set counts.

SLURM: sbatch(1) and srun(1), "OUTPUT ENVIRONMENT VARIABLES". torchrun: torch.distributed.run, "Environment Variables".
Open MPI: "Environment variables of the process". Names of Kubernetes' downward API are chosen by who writes the pod;
these are the usual ones.
"""

SIGNS = {
    "slurm": "SLURM_JOB_ID SLURM_JOBID",
    "kubernetes": "KUBERNETES_SERVICE_HOST",
    "torchrun": "TORCHELASTIC_RUN_ID WORLD_SIZE",
    "mpi": "OMPI_COMM_WORLD_RANK PMI_RANK PMIX_RANK MV2_COMM_WORLD_RANK",
    "pbs": "PBS_JOBID",
    "lsf": "LSB_JOBID",
    "ray": "RAY_JOB_ID",
}
"""By system, the variables one of which is set in each of its processes."""

_last: tuple[object, Mapping[str, object]] = (None, {})


def capture(_: Context) -> Mapping[str, object] | None:
    """Fact `job`: by system what it tells of this process: ids, ranks, sizes, nodes; None outside of all.

    Numbers are numbers. Of Ray and Dask more is told where this process has loaded them and is one of their workers.
    """
    global _last
    environment = snapshot()
    if _last[0] != environment:
        _last = (environment, from_environment(os.environ))
    found = {**_last[1], **_of_workers(_last[1])} if "ray" in sys.modules or "distributed" in sys.modules else _last[1]
    return {"job": found} if found else None


def from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """What the systems tell by variables.

    Example:
        >>> from_environment({"SLURM_JOB_ID": "7", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"})
        {'slurm': {'id': 7, 'rank': 1, 'size': 2}}
    """
    found: dict[str, object] = {}
    for system, facts in SYSTEMS.items():
        if any(environment.get(sign) for sign in SIGNS[system].split()):
            told = {fact: _first(environment, variables) for fact, variables in facts.items()}
            found[system] = {fact: value for fact, value in told.items() if value is not None}
    kubernetes = found.get("kubernetes")
    if isinstance(kubernetes, dict) and environment.get("HOSTNAME"):
        kubernetes.setdefault("pod", environment["HOSTNAME"])  # what Kubernetes calls the machine, unless told not to
    return found


def _first(environment: Mapping[str, str], variables: tuple[str, ...]) -> str | int | None:
    for variable in variables:
        value = environment.get(variable)
        if value:
            return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else value
    return None


def _of_workers(told: Mapping[str, object]) -> dict[str, object]:
    """What Ray and Dask say of this process, where they are loaded and at work in it."""
    found: dict[str, object] = {}
    for system, look in (("ray", _ray), ("dask", _dask)):
        try:
            seen = look()
        except Exception:  # another library's inside, of any version, in any state: it then says nothing
            continue
        if seen:
            before = told.get(system)
            found[system] = {**(before if isinstance(before, dict) else {}), **seen}
    return found


def _ray() -> dict[str, object]:
    ray = in_use("ray")
    if ray is None or not ray.is_initialized():
        return {}
    context = ray.get_runtime_context()
    found = {
        "id": context.get_job_id(),
        "node": context.get_node_id(),
        "worker": context.get_worker_id(),
        "task": context.get_task_id(),
        "actor": context.get_actor_id(),
    }
    return {name: str(value) for name, value in found.items() if value}


def _dask() -> dict[str, object]:
    module = sys.modules.get("distributed.worker")
    if module is None:
        return {}
    worker = module.get_worker()  # raises where this is none
    return {"worker": str(worker.name), "address": str(worker.address), "scheduler": str(worker.scheduler.address)}
