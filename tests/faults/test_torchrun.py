"""Ranks that the real torchrun starts: one run, every rank's points, a dead one seen, a restart linked."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys

import pytest

import mlsdk
from tests import programs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is in no extra: decision 0001"),
]

DDP = """
import os, torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
rank = int(os.environ["RANK"])
with mlsdk.run("ddp", params={"lr": 0.1, "seed": rank}) as run:
    dist.init_process_group("gloo")
    model = DistributedDataParallel(torch.nn.Linear(2, 1))
    for step in range(5):
        loss = model(torch.ones(4, 2) * (rank + 1)).mean() ** 2
        loss.backward()
        mlsdk.log(loss=loss, rank=rank, step=step)
    if rank == 0:
        with mlsdk.run("evaluation"): mlsdk.log(acc=0.5)
    dist.barrier()
if rank == 0:
    with mlsdk.run("afterwards"): mlsdk.log(acc=0.75)
with mlsdk.run("second"):
    mlsdk.log(rank=rank)
dist.destroy_process_group()
"""


def torchrun(code: str, *options: str, code_expected: int | None = 0) -> None:
    """Run a program under torchrun, by default as two ranks of this host, to its end."""
    process = begin(code, *(options or ("--standalone", "--nproc-per-node=2")))
    _, err = process.communicate(timeout=programs.PATIENCE_S)
    assert code_expected is None or process.returncode == code_expected, err


def begin(code: str, *options: str) -> subprocess.Popen[str]:
    """Start torchrun."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *options, str(programs.program(code))],
        env=programs.environment(OMP_NUM_THREADS="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def by_name(name: str) -> mlsdk.Run:
    """The only run of an experiment."""
    (run,) = mlsdk.runs(experiment=name)
    return run


def test_two_ranks_are_one_run() -> None:
    """A DDP training on two ranks is one run with both ranks' points; what rank 0 starts alone is a run of its own."""
    torchrun(DDP)
    run = by_name("ddp")
    both = run.history("loss", rank="all")
    steps = list(run.history("rank", rank="mean").steps)

    assert (run.status, dict(run.params)) == ("finished", {"lr": 0.1, "seed": 0})
    assert sorted(both) == [0, 1]
    assert all(list(series.steps) == [0, 1, 2, 3, 4] for series in both.values())
    assert (steps, list(run.history("rank", rank="mean").values)) == ([0, 1, 2, 3, 4], [0.5] * 5)
    assert list(run.history("rank", rank="sum").values) == [1] * 5
    assert (run.ranks["rank 1"].status, run.problems) == ("finished", ())
    assert {by_name(name).ranks.keys() & {"rank 1"} != set() for name in ("evaluation", "afterwards")} == {False}
    assert list(by_name("second").history("rank", rank=1).values) == [1]
    assert len({by_name(name).tags["group"] for name in ("ddp", "afterwards", "second")}) == 1
    assert len(mlsdk.runs()) == 4


def test_a_killed_rank_is_seen() -> None:
    """A rank that is killed reads so, with its points; the run says it, and each rank's own metrics were sampled."""
    torchrun(
        """
        import os, signal, time
        def is_known(run):  # rank 0's captures are done, and rank 1 was sampled
            wanted = "system/process/threads" in run.ranks.get("rank 1", {})
            return wanted and "functions" in run.code and "lock" in run.environment
        with mlsdk.run("ddp") as run:
            for value in range(100): mlsdk.log(value=value)
            while os.environ["RANK"] == "1" and not is_known(mlsdk.get_run(run.id)): time.sleep(0.1)
            if os.environ["RANK"] == "1": os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(1000)  # torchrun ends it
        """,
        code_expected=1,
    )
    programs.eventually(lambda: by_name("ddp").ranks["rank 1"].status == "killed")
    run = by_name("ddp")

    assert run.ranks["rank 1"].status == "killed"
    assert list(run.history("value", rank=1).values) == list(range(100))
    assert run.history("system/process/threads", rank=1).values[0] >= 1
    assert [problem.kind for problem in run.problems] == ["rank 1"]
    assert "killed on" in run.problems[0].message
    assert run.status == "interrupted"


def test_an_elastic_restart_is_a_linked_run() -> None:
    """Ranks that the agent starts again, here without torch in them, are a new run of the same group."""
    torchrun(
        """
        import os, sys
        with mlsdk.run("ddp") as run:
            mlsdk.log(rank=int(os.environ["RANK"]))
            assert "torch" not in sys.modules
            if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and run.id and os.environ["RANK"] == "1":
                raise RuntimeError("once")
        """,
        "--standalone",
        "--nproc-per-node=2",
        "--max-restarts=1",
    )
    first, second = mlsdk.runs(order_by="started_at")

    assert first.tags["group"] == second.tags["group"]
    assert first.ranks["rank 1"].status == "failed"
    assert "RuntimeError: once" in first.problems[0].message
    assert (second.status, second.ranks["rank 1"].status) == ("finished", "finished")
    assert [run.history("rank", rank=1).values[0] for run in (first, second)] == [1, 1]


def test_ranks_of_two_agents() -> None:
    """Ranks that two agents start, as on two hosts, find each other by the store that the agents share."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    code = """
    import os, torch, torch.distributed
    with mlsdk.run("ddp", params={"rank": int(os.environ["RANK"])}):
        mlsdk.log(rank=int(os.environ["RANK"]))
    """
    options = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}"]
    agents = [begin(code, *options) for _ in range(2)]
    for agent in agents:
        _, err = agent.communicate(timeout=programs.PATIENCE_S)
        assert agent.returncode == 0, err
    run = by_name("ddp")

    assert run.params["rank"] == 0
    assert {rank: list(found.values) for rank, found in run.history("rank", rank="all").items()} == {0: [0], 1: [1]}


def test_a_group_whose_store_cannot_agree() -> None:
    """Where the store of a process group cannot say which run it is, the ranks' runs are separate and say why."""
    programs.execute(
        """
        import torch.distributed as dist
        from torch.testing._internal.distributed.fake_pg import FakeStore
        dist.init_process_group("fake", store=FakeStore(), rank=1, world_size=2)
        with mlsdk.run("ddp", capture=()): mlsdk.log(loss=1.0)
        """
    )
    run = by_name("ddp")

    assert (run.status, dict(run.ranks), dict(run.tags)) == ("finished", {}, {})
    assert "MLSDK_RUN" in run.problems[0].message


def test_a_store_that_is_stuck() -> None:
    """Where the agents' store takes calls and answers none, training begins all the same, with separate runs."""
    with socket.socket() as stuck:
        stuck.bind(("127.0.0.1", 0))
        stuck.listen()
        done = programs.execute(
            """
            import os, torch, torch.distributed
            for _ in range(2):
                with mlsdk.run("ddp"): mlsdk.log(loss=1.0)
            """,
            RANK="1",
            WORLD_SIZE="2",
            LOCAL_WORLD_SIZE="1",
            TORCHELASTIC_USE_AGENT_STORE="True",
            TORCHELASTIC_RUN_ID="none",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(stuck.getsockname()[1]),
        )

    assert "did not answer within" in done.stderr
    assert [run.status for run in mlsdk.runs()] == ["finished"] * 2
    assert all("MLSDK_RUN" in run.problems[0].message for run in mlsdk.runs())
