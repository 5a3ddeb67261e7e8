"""Ranks of one run: who finds whom by what launchers tell, what is refused, and what a run says of its ranks."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import mlsdk
from mlsdk.log.ids import started_ns
from mlsdk.records import Series, over_ranks
from tests import programs
from tests.conftest import require

BEGAN = 1_700_000_000

SLURM = {
    "SLURM_JOB_ID": "71",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_NTASKS": "2",
    "SLURM_CLUSTER_NAME": "c",
    "SLURM_JOB_START_TIME": str(BEGAN),
}
"""What srun(1) of SLURM 23.02 and later tells each task of a step of two."""

OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "PMIX_NAMESPACE": "prterun-h-7@1"}
HYDRA = {"PMI_SIZE": "2", "MPI_LOCALNRANKS": "2", "PMI_FD": "5"}

PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
with mlsdk.run("ranks", store="../store", capture=()) as run: mlsdk.log(x=1.0)
said = [run.id, run._writer.role, [str(problem) for problem in run.problems]]
sys.stdout.write(json.dumps(said) + "\\n")  # at once: two processes write here
"""

LAUNCHER = """
import json, os, subprocess, sys
script, *told = json.loads(sys.argv[1])
words = [sys.executable, sys.argv[2]]
if script: words = ["/bin/sh", "-c", script, "sh", *words]
for each in [subprocess.Popen(words, env={**os.environ, **more}) for more in told]:
    assert each.wait() == 0
"""


def launched(*told: dict[str, str], script: str = "", first: Sequence[str] = ()) -> list[tuple[str, str, list[str]]]:
    """What processes, started by one that stands for a launcher, make of the variables that each is told."""
    folder = Path("programs")
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text("import mlsdk\n" + PROGRAM)
    (folder / "launcher.py").write_text(LAUNCHER)
    done = subprocess.run(
        [*first, sys.executable, "launcher.py", json.dumps([script, *told]), "train.py"],
        env=programs.environment(MLSDK_COMPANION="0"),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=programs.PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sorted((tuple(json.loads(line)) for line in done.stdout.splitlines()), key=lambda found: found[1])


def numbered(variable: str, told: dict[str, str]) -> list[dict[str, str]]:
    """What two ranks are told."""
    return [{**told, variable: str(rank)} for rank in range(2)]


def test_a_step_of_slurm() -> None:
    """Tasks of one step of SLURM are one run, whose id sorts by the job's start; a requeued job is another, linked."""
    first = launched(*numbered("SLURM_PROCID", SLURM))
    requeued = launched(*numbered("SLURM_PROCID", {**SLURM, "SLURM_RESTART_COUNT": "1"}))
    other_step = launched(*numbered("SLURM_PROCID", {**SLURM, "SLURM_STEP_ID": "1"}))
    groups = {run.tags["group"] for run in mlsdk.runs(store="store")}

    assert [role for _, role, _ in first] == ["main", "rank 1"]
    assert first[0][0] == first[1][0]
    assert len({run for run, _, _ in (*first, *requeued, *other_step)}) == 3
    assert started_ns(first[0][0]) == BEGAN * 10**9
    assert len(groups) == 1


@pytest.mark.parametrize(
    "told",
    [
        {**SLURM, "SLURM_STEP_ID": "4294967291"},  # a batch script
        {**SLURM, "SLURM_STEP_ID": "4294967290"},  # a shell of salloc
        {name: value for name, value in SLURM.items() if name not in ("SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS")},
    ],
)
def test_an_allocation_without_srun(told: dict[str, str]) -> None:
    """In an allocation where `srun` has started nobody, each process is a run of its own, without a word."""
    found = launched({**told, "SLURM_PROCID": "0"}, {**told, "SLURM_PROCID": "0"})

    assert [role for _, role, _ in found] == ["main", "main"]
    assert found[0][0] != found[1][0]
    assert [said for _, _, said in found] == [[], []]


@pytest.mark.parametrize(
    ("variable", "told", "script"),
    [("OMPI_COMM_WORLD_RANK", OPEN_MPI, '"$@"; exit $?'), ("PMI_RANK", HYDRA, "")],
)
def test_mpi_on_one_host(variable: str, told: dict[str, str], script: str) -> None:
    """Ranks that one launcher of MPI has started here are one run, also through a shell; another launch is another."""
    first, second = (launched(*numbered(variable, told), script=script) for _ in range(2))

    assert [role for _, role, _ in first] == ["main", "rank 1"]
    assert first[0][0] == first[1][0]
    assert second[0][0] == second[1][0] != first[0][0]


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("OMPI_COMM_WORLD_RANK", {**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "4"}),
        ("RANK", {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}),
        ("SLURM_PROCID", {**SLURM, "SLURM_JOB_START_TIME": ""}),
        ("RANK", {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "h"}),
    ],
)
def test_what_is_refused(variable: str, told: dict[str, str]) -> None:
    """What two jobs could share makes no run of two: they are separate, in one group, and each says why."""
    found = launched(*numbered(variable, told))
    runs = mlsdk.runs(store="store")

    assert [role for _, role, _ in found] == ["main", "main"]
    assert found[0][0] != found[1][0]
    assert len({run.tags["group"] for run in runs}) == 1
    assert all("MLSDK_RUN" in run.problems[0].message for run in runs)


def test_a_script_that_starts_a_program_twice() -> None:
    """What each rank's script starts a second time is a second run of all ranks, not more of the first."""
    found = launched(*numbered("OMPI_COMM_WORLD_RANK", OPEN_MPI), script='"$@"; "$@"; exit $?')

    assert [role for _, role, _ in found] == ["main", "main", "rank 1", "rank 1"]
    assert {run for run, _, _ in found[:2]} == {run for run, _, _ in found[2:]}
    assert len({run for run, _, _ in found}) == 2


def test_a_launcher_that_is_all_of_a_container() -> None:
    """Ranks find each other where their launcher is the first process of a container."""
    first = ["unshare", "--pid", "--fork", "--mount-proc"]
    can = shutil.which("unshare") is not None and subprocess.run([*first, "true"], check=False).returncode == 0
    require(can, "leave to make a namespace of processes")
    found = launched(*numbered("OMPI_COMM_WORLD_RANK", OPEN_MPI), first=first)

    assert [role for _, role, _ in found] == ["main", "rank 1"]
    assert found[0][0] == found[1][0]


def test_mpi_of_several_hosts_in_a_job() -> None:
    """Where `mpirun` has sent `srun` to the other hosts, the steps differ and the ranks are one run all the same."""
    told = {**OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_SIZE": "1", **SLURM}
    batch = {name: value for name, value in told.items() if name != "SLURM_STEP_ID"}
    found = launched({**batch, "OMPI_COMM_WORLD_RANK": "0"}, {**told, "OMPI_COMM_WORLD_RANK": "1"})

    assert [role for _, role, _ in found] == ["main", "rank 1"]
    assert found[0][0] == found[1][0]


def test_processes_that_are_no_ranks() -> None:
    """With MLSDK_RUN=own what a launcher starts is nobody's rank: a sweep by `srun` is as many runs."""
    found = launched(*numbered("SLURM_PROCID", {**SLURM, "MLSDK_RUN": "own"}))

    assert [role for _, role, _ in found] == ["main", "main"]
    assert found[0][0] != found[1][0]


def test_what_a_rank_that_was_told_its_run_starts() -> None:
    """MLSDK_RUN is the first run of a rank; the next ones are shared too, and its children are its workers."""
    told = "0123456789abcdef" * 2
    code = """
    import subprocess, sys
    for turn in range(2 if len(sys.argv) == 1 else 1):
        with mlsdk.run("told", params={"by": len(sys.argv)}) as run:
            mlsdk.log(x=1.0)
            print(run.id, run._writer.role, flush=True)
            if len(sys.argv) == 1 and turn == 0: subprocess.run([sys.executable, *sys.argv, "c"], check=True)
    """
    said = [
        programs.execute(code, MLSDK_RUN=told, RANK=str(rank), MLSDK_COMPANION="0").stdout.splitlines()
        for rank in range(2)
    ]
    runs = [[line.split()[0] for line in lines] for lines in said]

    assert [line.partition(" ")[2] for lines in said for line in lines] == [
        *("main", "worker", "main"),
        *("rank 1", "worker", "rank 1"),
    ]
    assert runs[0] == runs[1]
    assert runs[0][:2] == [told, told] != runs[0][1:]
    assert {frozenset(run.ranks) for run in mlsdk.runs()} == {frozenset(("rank 1", "worker")), frozenset(("rank 1",))}


def test_children_of_a_rank() -> None:
    """A process that a rank starts has its variables, and is not that rank."""
    done = programs.execute(
        """
        import subprocess, sys
        with mlsdk.run("rank") as run: pass
        if len(sys.argv) == 1: subprocess.run([sys.executable, sys.argv[0], "child"], check=True)
        print(run._writer.role)
        """,
        **SLURM,
        SLURM_PROCID="1",
        MLSDK_COMPANION="0",
        MLSDK_CAPTURE="none",
    )

    assert done.stdout.split() == ["main", "rank", "1"]


def test_a_run_without_rank_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rank 0 takes no part, the lowest rank speaks for the run."""
    monkeypatch.setenv("MLSDK_RUN", "0123456789abcdef" * 2)
    for rank in (2, 1):
        monkeypatch.setenv("RANK", str(rank))
        with mlsdk.run("odd", name=f"of {rank}", params={"rank": rank}) as run:
            run.log(loss=rank)
    found = mlsdk.get_run("latest")

    assert (found.name, found.experiment, found.status) == ("of 1", "odd", "finished")
    assert found.history("loss", rank="max").values[0] == 2
    assert dict(found.params) == {"rank": 1}


def test_a_rank_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank's exception is the rank's: the run ends as its main process does, and names the rank."""
    monkeypatch.setenv("MLSDK_RUN", "0123456789abcdef" * 2)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ValueError, match="bad batch"), mlsdk.run("ranks"):
        raise ValueError("bad batch")
    monkeypatch.setenv("RANK", "0")
    with mlsdk.run("ranks"):
        pass
    found = mlsdk.get_run("latest")
    (problem,) = (problem for problem in found.problems if problem.kind == "rank 1")

    assert (found.status, found.error, found.ranks["rank 1"].status) == ("finished", None, "failed")
    assert found.ranks["rank 1"].host == os.uname().nodename
    assert "failed on" in problem.message
    assert "ValueError: bad batch" in problem.message


def test_series_over_ranks() -> None:
    """A step counts those ranks that have it, each with its last value; one NaN is not averaged away."""
    ranks = [
        Series("x", [0, 1, 2, 2], [1, 2, 9, 3], times=lambda: [10, 11, 12, 13]),
        Series("x", [2, 1, 3], [5, math.nan, math.inf], times=lambda: [99, 11, 14]),
    ]
    found = {spread: over_ranks("x", ranks, spread) for spread in ("mean", "min", "max", "sum", "std")}

    assert [list(series.steps) for series in found.values()] == [[0, 1, 2, 3]] * 5
    assert [list(series.times) for series in found.values()] == [[10, 11, 99, 14]] * 5
    assert [series.values[2] for series in found.values()] == [4, 3, 5, 8, 1]
    assert all(math.isnan(series.values[1]) for series in found.values())
    assert found["mean"].values[3] == math.inf
    assert list(over_ranks("x", [Series("x", [0], [2**63], times=lambda: [1])], "max").values) == [2**63]
