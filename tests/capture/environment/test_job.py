"""The job that a process is part of."""

from __future__ import annotations

import os
import sys
import types
from typing import Any

import pytest

from mlsdk.capture import Context
from mlsdk.capture.environment.job import SIGNS, SYSTEMS, capture, from_environment

HERE = Context(".")


@pytest.fixture(autouse=True)
def _outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the signs of whatever these tests themselves run in away."""
    for name in {*" ".join(SIGNS.values()).split(), *os.environ}:
        if name.startswith(("SLURM_", "OMPI_", "PMI", "TORCHELASTIC_", "KUBERNETES_")) or name == "WORLD_SIZE":
            monkeypatch.delenv(name, raising=False)


def test_outside() -> None:
    """Outside of any job there is nothing to say."""
    assert capture(HERE) is None


def test_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task of SLURM knows job, array, rank, size and nodes."""
    told = {"JOB_ID": "4711", "PROCID": "3", "NTASKS": "8", "ARRAY_JOB_ID": "4700", "ARRAY_TASK_ID": "11"}
    for name, value in {**told, "JOB_NODELIST": "gpu[01-02]", "JOB_NUM_NODES": "2", "JWT": "eyJhbGciOi.x.y"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    found = capture(HERE)

    assert found == {
        "job": {
            "slurm": {
                "id": 4711,
                "array_id": 4700,
                "array_task": 11,
                "nodes": "gpu[01-02]",
                "node_count": 2,
                "rank": 3,
                "size": 8,
            }
        }
    }


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"TORCHELASTIC_RUN_ID": "abc", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "n1"},
            {"torchrun": {"id": "abc", "rank": 1, "local_rank": 1, "size": 2, "master": "n1"}},
        ),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "4"}, {"mpi": {"rank": 0, "size": 4}}),
        ({"PMI_RANK": "2", "PMI_SIZE": "3"}, {"mpi": {"rank": 2, "size": 3}}),
        (
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "train-0", "POD_NAMESPACE": "ml"},
            {"kubernetes": {"pod": "train-0", "namespace": "ml"}},
        ),
        ({"PBS_JOBID": "1.host"}, {"pbs": {"id": "1.host"}}),
        ({"LSB_JOBID": "12"}, {"lsf": {"id": 12}}),
        ({"RANK": "1", "HOSTNAME": "x", "NODE_NAME": "y"}, {}),
    ],
)
def test_systems(environment: dict[str, str], expected: dict[str, object]) -> None:
    """Each system is known by its own sign, and what it does not tell is not among the facts."""
    assert from_environment(environment) == expected


def test_every_system_has_a_sign() -> None:
    """No system is in one table and not in the other."""
    assert set(SYSTEMS) == set(SIGNS)


def test_ray_and_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray and Dask are asked where they are loaded and at work, and only there; their failures are theirs."""
    context = types.SimpleNamespace(
        get_job_id=lambda: "01",
        get_node_id=lambda: "n",
        get_worker_id=lambda: "w",
        get_task_id=lambda: None,
        get_actor_id=lambda: None,
    )
    ray: Any = types.ModuleType("ray")
    ray.is_initialized, ray.get_runtime_context = lambda: True, lambda: context
    dask: Any = types.ModuleType("distributed.worker")
    scheduler = types.SimpleNamespace(address="tcp://s")
    dask.get_worker = lambda: types.SimpleNamespace(name=3, address="tcp://w", scheduler=scheduler)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "distributed", types.ModuleType("distributed"))
    monkeypatch.setitem(sys.modules, "distributed.worker", dask)
    found = capture(HERE)

    def no_worker() -> None:
        raise ValueError("no worker found")

    dask.get_worker, ray.is_initialized = no_worker, lambda: False

    assert found == {
        "job": {
            "slurm": {"id": 7},
            "ray": {"id": "01", "node": "n", "worker": "w"},
            "dask": {"worker": "3", "address": "tcp://w", "scheduler": "tcp://s"},
        }
    }
    assert capture(HERE) == {"job": {"slurm": {"id": 7}}}
