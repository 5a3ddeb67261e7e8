"""Disks that fill up where a server keeps its store, and where clients keep what is not sent yet."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlsdk.store import outbox
from mlsdk.store.base import open_file
from tests import programs
from tests.faults.remote import Served, call, differences, end_companions, settle

FILL = """
import os
with mlsdk.run("full", name="trained") as run:
    for step in range(STEPS):
        mlsdk.log(a=float(step), b=0.5, c=0.25)
    run.log_artifact(os.urandom(2_000_000), name="model")
print("ended", [problem.kind for problem in run.problems], flush=True)
"""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system may not be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_the_disk_of_the_server_fills_up(small: Path, tmp_path: Path) -> None:
    """On a server whose disk is full nothing half is kept; the run says why, and with room again all is sent."""
    (small / "ballast").write_bytes(bytes(2_500_000))
    with Served(f"{small}/served", tmp_path / "home") as served:
        settings = served.client(MLSDK_SHIP_WAIT_S="2")
        done = programs.execute(FILL.replace("STEPS", "20_000"), **settings)
        root = served.outbox()
        left = call(settings, "sync")
        said = outbox.status(str(root)).why
        answers = served.answers()
        (small / "ballast").unlink()
        end_companions(root)
        subprocess.run(["mount", "-o", "remount,size=40m", str(small)], check=True)
        settle(root, settings)
        store = open_file(f"file:{served.place}", ":memory:")

        assert "ended" in done.stdout
        assert "Traceback" not in done.stderr
        assert left[0]["left"]
        assert said
        assert answers
        assert differences(root, store) == []
        assert len(store.find_one("trained").history("a")) == 20_000


@pytest.mark.slow
def test_the_disk_of_the_outbox_fills_up(small: Path, tmp_path: Path) -> None:
    """What was acknowledged before the outbox's disk was full arrives, with what the run says of the rest."""
    with Served(f"{tmp_path}/served", tmp_path / "home") as served:
        settings = served.client(MLSDK_OUTBOX=str(small / "outboxes"), MLSDK_SHIP_WAIT_S="5")
        done = programs.execute(FILL.replace("STEPS", "80_000"), **settings)
        root = small / "outboxes" / served.outbox().name
        end_companions(root)
        settle(root, settings)
        store = open_file(f"file:{served.place}", ":memory:")
        run = store.find_one("trained")
        values = list(run.history("a").values)

        assert "disk-full" in done.stdout
        assert "Traceback" not in done.stderr
        assert len(values) > 10_000
        assert values == sorted(set(values))
        assert "disk-full" in {problem.kind for problem in run.problems}
        assert differences(root, store) == []
