"""Tasks on a real Dask cluster log into the run of the process that sent them, each worker as a rank of its own."""

from __future__ import annotations

import importlib.util

import pytest

import mlsdk
from tests import programs
from tests.conftest import require

PROGRAM = """
import os, signal, threading, time
from dask.distributed import Client, LocalCluster

def work(n):
    mlsdk.log({"part" if isinstance(n, int) else n: n if isinstance(n, int) else 1})
    time.sleep(0.02)
    return os.getpid()

def die():
    mlsdk.log(last=1)
    os.kill(os.getpid(), signal.SIGKILL)

def alone():
    try: mlsdk.log(x=1)
    except mlsdk.NoRunError: return "none"

def train(client, name, both):
    with mlsdk.run("at once", name=name):
        both.wait(30)
        client.gather(client.map(work, [f"{name}{n}" for n in range(20)]))
        both.wait(30)

if __name__ == "__main__":
    with LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        with mlsdk.run("dask", name="first"):
            mlsdk.log(loss=1.0)
            used = set(client.gather(client.map(work, range(200))))
            assert len(used) == 4, used
            lost = client.submit(die, retries=0)
            try: lost.result()
            except Exception: pass
            time.sleep(1.0)
        with mlsdk.run("dask", name="second"):
            client.gather(client.map(work, range(1000, 1020)))
        print(client.submit(alone).result())
        both = threading.Barrier(2)
        threads = [threading.Thread(target=train, args=(client, name, both)) for name in "ab"]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(client.submit(alone).result())
"""


@pytest.mark.slow
def test_workers_are_ranks() -> None:
    """Tasks on four workers are one run with every worker's points, a killed one seen; the next run has its own."""
    require(importlib.util.find_spec("distributed"), "dask[distributed]")
    done = programs.execute(
        PROGRAM, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0", DASK_LOGGING__DISTRIBUTED="critical"
    )
    first, second = mlsdk.get_run("first"), mlsdk.get_run("second")
    parts = [value for series in first.history("part", rank="all").values() for value in series.values]
    killed = [rank.role for rank in first.ranks.values() if rank.status == "killed"]

    at_once = {
        run.name: {name for rank in run.ranks.values() for name in rank.metrics if name[0] in "ab"}
        for run in mlsdk.runs(experiment="at once")
    }

    assert done.stdout == "none\nnone\n"
    assert at_once == {name: {f"{name}{n}" for n in range(20)} for name in "ab"}
    assert sorted(parts) == list(range(200))
    assert set(first.ranks) == {"rank 1", "rank 2", "rank 3", "rank 4"}
    assert (first.status, second.status) == ("finished", "finished")
    assert len(killed) == 1
    assert [problem.kind for problem in first.problems] == killed
    assert sum(len(series) for series in second.history("part", rank="all").values()) == 20
    assert second.problems == ()
    assert len(mlsdk.runs()) == 4
