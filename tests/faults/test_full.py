"""A disk that fills up while training: training goes on, and what was acknowledged before stays."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlsdk
from tests import programs


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB, where the tests may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system may not be mounted here; the file size limit is tested instead")
    yield folder
    programs.eventually(lambda: not programs.companions(folder / "store"))
    subprocess.run(["umount", "-l", str(folder)], check=True)


FILL = """
import json, resource, sys, warnings
if limit := int(sys.argv[2]) if len(sys.argv) > 2 else 0:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
caught = []
warnings.showwarning = lambda message, *_, **__: caught.append(str(message))
run = mlsdk.run(name="it", store=sys.argv[1], params={"lr": 0.1})
told_at = count = 0
while count < 1_000_000 and (not told_at or count < told_at + 20_000):
    run.log(a=count)
    count += 1
    if caught and not told_at:
        told_at = count
run.log_params({"late": "x" * 1000})
run.log_artifact(b"x" * 30_000_000, name="big")
print("still here")
problems = [[problem.kind, problem.message, problem.count] for problem in run.problems]
run.finish()
print(json.dumps([count, told_at, caught, problems]))
"""


def fill(store: Path, *limit: str, **settings: str) -> list:  # type: ignore[type-arg]
    """Run the program that fills the disk."""
    import json
    import sys

    path = programs.program(FILL)
    done = subprocess.run(
        [sys.executable, str(path), str(store), *limit],
        env=programs.environment(**settings),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    first, last = done.stdout.splitlines()
    assert first == "still here"
    assert "Traceback" not in done.stderr
    return json.loads(last)  # type: ignore[no-any-return]


@pytest.mark.parametrize("way", ["map", "write"])
def test_a_full_disk(small_disk: Path, way: str) -> None:
    """The loop goes on, there is one warning, the run says so and ends well, and what was before is read back."""
    store = small_disk / "store"
    count, told_at, caught, problems = fill(store, MLSDK_MAP="1" if way == "map" else "0")
    run = mlsdk.get_run("it", store=str(store))
    values = list(run.history("a").values)

    assert told_at
    assert count == told_at + 20_000
    assert [message for message in caught if "disk is full" in message] == caught[:1]
    assert len(caught) <= 2  # the artifact is another matter
    assert problems[0][0] == "disk-full"
    assert values[: told_at - 1] == list(range(told_at - 1))
    assert run.params["lr"] == 0.1
    assert run.status == "finished"
    assert [problem.count >= 20_000 for problem in run.problems if problem.kind == "disk-full"] == [True]


@pytest.mark.parametrize("way", ["map", "write"])
def test_a_file_size_limit(tmp_path: Path, way: str) -> None:
    """A limit on the size of files is met like a full disk."""
    store = tmp_path / "store"
    _, told_at, caught, problems = fill(store, "2000000", MLSDK_MAP="1" if way == "map" else "0", MLSDK_COMPANION="0")
    run = mlsdk.get_run("it", store=str(store))

    assert told_at
    assert "disk is full" in caught[0]
    assert problems[0][0] == "disk-full"
    assert list(run.history("a").values)[: told_at - 1] == list(range(told_at - 1))
    assert run.status == "finished"


TAKE_ALL = """
        import os
        def fill(path):
            ballast = os.open(path, os.O_WRONLY | os.O_CREAT)
            for size in (65536, 4096, 1):
                try:
                    while True: os.write(ballast, bytes(size))
                except OSError: pass
            os.close(ballast)
"""
"""Leaves not a byte on the disk."""


@pytest.mark.parametrize("way", ["map", "write"])
def test_space_comes_back(small_disk: Path, way: str) -> None:
    """When space comes back points are recorded again, and the run says how many were dropped."""
    store = small_disk / "store"
    out = programs.execute(
        TAKE_ALL
        + f"""
        import os, time, warnings
        warnings.simplefilter("ignore")
        run = mlsdk.run(name="it", store={str(store)!r})
        run.log(a=0)
        fill({str(small_disk / "ballast")!r})
        count = 1
        while not run.problems:
            run.log(a=count); count += 1
        os.unlink({str(small_disk / "ballast")!r})
        lost = first = count
        while run._writer.segment.full:
            time.sleep(0.1)
            run.log(a=first); first += 1
        for count in range(first, first + 1000): run.log(a=count)
        run.finish()
        print(lost, first)
        """,
        MLSDK_MAP="1" if way == "map" else "0",
    )
    lost, first = map(int, out.stdout.split())
    run = mlsdk.get_run("it", store=str(store))
    values = list(run.history("a").values)

    assert values[-1000:] == list(range(first, first + 1000))
    assert values[: lost - 1] == list(range(lost - 1))
    (problem,) = [problem for problem in run.problems if problem.kind == "disk-full"]
    assert "was full" in problem.message
    assert problem.count >= 1


def test_no_space_to_start(small_disk: Path) -> None:
    """A run that cannot be started for lack of space says so at once, and leaves nothing live."""
    out = programs.execute(
        TAKE_ALL
        + f"""
        mlsdk.run(store={str(small_disk / "store")!r}).finish()
        fill({str(small_disk / "ballast")!r})
        try:
            mlsdk.run(store={str(small_disk / "store")!r})
        except Exception as error:
            print(type(error).__name__, error)
        try:
            mlsdk.log(a=1)
        except mlsdk.NoRunError:
            print("none")
        os.unlink({str(small_disk / "ballast")!r})
        """
    )

    assert "No space left" in out.stdout
    assert out.stdout.endswith("none\n")
    assert os.path.isdir(small_disk / "store")
