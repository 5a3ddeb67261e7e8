"""`export`: runs and points in files that other programs read."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from importlib import import_module

import pytest

import mlsdk
from tests.conftest import ROOT


def test_json_has_everything(call, runs, tmp_path):
    """The JSON file has every run whole and every point; numbers come back as they were."""
    code, out, _ = call("export", "-o", "all.json", "--history")
    found = json.loads((tmp_path / "all.json").read_text("utf-8"), parse_constant=pytest.fail)
    losses = [point for point in found["points"] if point["run"] == runs[0] and point["metric"] == "loss"]

    assert code == 0
    assert "3 runs and 160 points" in out
    assert {run["id"] for run in found["runs"]} == set(runs)
    assert found["runs"][-1]["params"] == {"lr": 0.1, "model": {"depth": 3}}
    assert [point["step"] for point in losses] == list(range(40))
    assert [point["value"] for point in losses] == [1 / (step + 1) for step in range(40)]
    assert {point["role"] for point in found["points"]} == {"main"}


def test_csv(call, runs, tmp_path):
    """CSV has a row for each run, and a second file a row for each point."""
    assert call("export", "status = 'finished'", "-o", "r.csv", "--history")[0] == 0
    with open(tmp_path / "r.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    with open(tmp_path / "r.points.csv", encoding="utf-8", newline="") as file:
        points = list(csv.DictReader(file))

    assert [row["name"] for row in table] == ["run-1", "run-0"]
    assert table[1]["params.lr"] == "0.1"
    assert float(table[1]["metrics.loss"]) == 1 / 40
    assert list(points[0]) == ["run", "metric", "role", "step", "time", "value"]
    assert len(points) == 160


def test_parquet(call, runs, tmp_path):
    """Parquet has the same tables; an integer beyond a float's digits is kept exactly."""
    pq = import_module("pyarrow.parquet")
    big = 2**60 + 1
    with mlsdk.run("big") as run:
        run.log(n=big, x=math.nan)
    assert call("export", "-o", "r.parquet", "--history")[0] == 0
    table = pq.read_table(tmp_path / "r.parquet").to_pylist()
    points = pq.read_table(tmp_path / "r.points.parquet").to_pylist()
    of_big = {row["metric"]: row for row in points if row["run"] == run.id}

    assert {row["id"] for row in table} == {*runs, run.id}
    assert len(points) == 162
    assert of_big["n"]["exact"] == str(big)
    assert math.isnan(of_big["x"]["value"])
    assert of_big["x"]["exact"] is None


def test_parquet_without_pyarrow(call, runs, monkeypatch):
    """Where pyarrow is not installed, the message says what to install, and no file is left."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    code, _, err = call("export", "-o", "r.parquet")

    assert code == 2
    assert "pip install 'mlsdk[frames]'" in err


def test_to_stdout(call, runs):
    """Without a file JSON and CSV go to stdout, and nothing else does."""
    assert len(json.loads(call("export", "params.lr < 1")[1])) == 2
    assert call("export", "--format", "csv")[1].splitlines()[0].startswith("id,name,experiment,status")


def test_deleted_runs_on_request(ask, call, runs):
    """Deleted runs are left out unless --all asks for them."""
    call("delete", "run-0")

    assert len(json.loads(call("export")[1])) == 2
    assert len(json.loads(call("export", "--all")[1])) == 3


def test_points_of_other_writers_bear_their_role(call, tmp_path):
    """What another rank logged is exported under its role."""
    with mlsdk.run("ranks") as run:
        run.log(loss=1.0)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLSDK_RUN": run.id, "RANK": "1"}
        subprocess.run([sys.executable, "-c", "import mlsdk; mlsdk.run().log(loss=2.0)"], env=environment, check=True)
    call("export", "--history", "-o", "x.json")
    points = json.loads((tmp_path / "x.json").read_text("utf-8"))["points"]

    assert sorted((point["role"], point["value"]) for point in points) == [("main", 1.0), ("rank 1", 2.0)]


def test_nothing_half_written(call, runs, tmp_path):
    """A file that cannot be written leaves nothing behind."""
    code, _, err = call("export", "-o", "no/such/folder/x.json")

    assert code == 2
    assert err.startswith("mlsdk: ")
    assert [path.name for path in tmp_path.iterdir()] == [".mlsdk"]
