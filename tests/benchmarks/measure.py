"""Running a piece of work in a fresh process and folder, and telling times apart."""

from __future__ import annotations

import atexit
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Row(NamedTuple):
    """A line of the table."""

    what: str
    ours: str
    bound: str
    limit: str = ""
    """The bare limit measured in the same run, and the ratio to it."""
    met: bool | None = None


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder on the disk of the temporary files, that a store will be made in.

    It is removed at the very end: for seconds after many files were deleted, ext4 takes ten times as long to make new
    ones, and the next row would pay for it.
    """
    path = Path(tempfile.mkdtemp(prefix="mlsdk-bench-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    yield path


def environment(**more: str) -> dict[str, str]:
    """The environment of a child: this one without settings, mlsdk on its path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLSDK_")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def child(work: str, where: Path, *arguments: object, **variables: str) -> Any:
    """What `tests.benchmarks.work.<work>(*arguments)` returns in a fresh process in a folder.

    Args:
        work: name of a function there, or `module.function` of another module beside it.
        where: the folder.
        *arguments: literals.
        **variables: of the environment.
    """
    module, _, function = work.rpartition(".")
    module = module or "work"
    call = f"{module}.{function}(*{arguments!r})"
    code = f"import json; from tests.benchmarks import {module}; print('RESULT', json.dumps({call}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=where,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("RESULT "):
            return json.loads(line[7:])
    raise RuntimeError(f"{work} failed with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def settle(where: Path, within_s: float = 60.0) -> None:
    """Wait until no companion works on the store in a folder, so that it does not disturb what is measured next."""
    from mlsdk.companion.spawn import is_present
    from mlsdk.log.identity import writer_identity

    until = time.monotonic() + within_s
    while time.monotonic() < until and is_present(str(where / ".mlsdk"), str(writer_identity()["place"])):
        time.sleep(0.1)


def cpu_of_python(code: str, times: int = 15) -> float:
    """The least CPU seconds of some fresh `python -c code`."""
    least = 1e9
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], env=environment(), check=True, cwd="/")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        least = min(least, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return least


def seconds(call: Callable[[], object]) -> float:
    """Wall time of a call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def percentiles(nanoseconds: list[int]) -> tuple[float, float, float]:
    """Median, 99th percentile and longest, in microseconds."""
    ordered = sorted(nanoseconds)
    return ordered[len(ordered) // 2] / 1e3, ordered[int(len(ordered) * 0.99)] / 1e3, ordered[-1] / 1e3
