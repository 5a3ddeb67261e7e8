"""Ranks of one run on hosts that share nothing but a server: each has an outbox, and the run is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mlsdk
from tests import programs
from tests.servers.http import running

LAUNCHER = """
import json, os, subprocess, sys
ranks = [subprocess.Popen([sys.executable, "train.py"], env={**os.environ, **told}) for told in json.loads(sys.argv[1])]
print(*[rank.wait() for rank in ranks])
"""

PROGRAM = """
import os, signal, sys, time
import mlsdk
rank = int(os.environ["OMPI_COMM_WORLD_RANK"])
if rank == 3: sys.exit()  # starts no run
if rank == 2: time.sleep(1.5)  # comes late
with mlsdk.run("ranks", params={"rank": rank}):
    for value in range(50): mlsdk.log(value=value)
    if rank == 1:
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(3.0 if rank == 0 else 0.5)
"""


@pytest.mark.slow
def test_hosts_that_share_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks with outboxes of their own are one run on the server: all points, a killed rank seen, a late one there."""
    Path("train.py").write_text(PROGRAM)
    Path("launcher.py").write_text(LAUNCHER)
    told = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}
    ranks = [{**told, "OMPI_COMM_WORLD_RANK": f"{n}", "MLSDK_OUTBOX": f"{Path.cwd()}/host{n}"} for n in range(4)]
    with running(f"file:{Path.cwd()}/server") as server:
        uri = f"{server.url}/default"
        done = subprocess.run(
            [sys.executable, "launcher.py", json.dumps(ranks)],
            env=programs.environment(MLSDK_STORE=uri, MLSDK_TOKEN=server.token),
            capture_output=True,
            text=True,
            timeout=programs.PATIENCE_S,
            check=False,
        )
        monkeypatch.setenv("MLSDK_STORE", uri)
        monkeypatch.setenv("MLSDK_TOKEN", server.token)
        (run,) = mlsdk.runs()
        programs.eventually(lambda: mlsdk.get_run(run.id).ranks["rank 1"].status == "killed")
        run = mlsdk.get_run(run.id)
        values = {rank: list(series.values) for rank, series in run.history("value", rank="all").items()}

    assert done.stdout == "0 -9 0 0\n", done.stderr
    assert sorted(os.listdir()) == ["host0", "host1", "host2", "launcher.py", "server", "train.py"]
    assert values == {rank: list(range(50)) for rank in range(3)}
    assert (run.status, run.params["rank"]) == ("finished", 0)
    assert {role: str(rank.status) for role, rank in run.ranks.items()} == {"rank 1": "killed", "rank 2": "finished"}
    assert [problem.kind for problem in run.problems] == ["rank 1"]
