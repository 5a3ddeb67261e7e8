"""The row about status: a thousand runs of one project, compared with what lies there now."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.measure import Row, child, environment, folder, settle

RUNS, MODULES, FILES = 1000, 50, 20

_PROGRAM = """
import sys
from pathlib import Path

import mlsdk
from big import m0


@mlsdk.track(experiment="many")
def train(data: Path, lr: float = 0.1):
    return {{"loss": m0.step_0(lr)}}


for number in range({runs}):
    train(Path(f"data/{{number % {files}}}.csv"), lr=number / 10)
"""


def make(runs: int, modules: int, files: int) -> None:
    """A project in the working folder, and so many runs of it."""
    from tests.projects import make_project

    make_project(Path.cwd(), modules)
    Path("data").mkdir()
    for number in range(files):
        rows = "".join(f"{row},{row * number}\n" for row in range(1000))
        Path(f"data/{number}.csv").write_text(f"x,y\n{rows}")
    Path("train.py").write_text(_PROGRAM.format(runs=runs, files=files))
    subprocess.run(["git", "init", "-q"], check=True)
    settings = environment(MLSDK_EXIT_WAIT_S="600")
    subprocess.run([sys.executable, "train.py"], env=settings, check=True, capture_output=True)


def judged() -> dict[str, object]:
    """How long it takes to judge all runs, and how many are in which state."""
    import mlsdk

    len(mlsdk.runs(limit=1))  # the catalog has taken in what came last: that is another row's time
    begun, used = time.perf_counter(), time.process_time()
    found = mlsdk.status("experiment = 'many'")
    taken, cpu = time.perf_counter() - begun, time.process_time() - used
    return {
        "s": taken,
        "cpu_s": cpu,
        "states": {state: len(found.of(state)) for state in ("up to date", "stale", "unknown")},
    }  # type: ignore[arg-type]


def status() -> list[Row]:
    """A thousand runs: as they were made, and after a row of one file and one function have changed."""
    with folder() as where:
        child("stale.make", where, RUNS, MODULES, FILES)
        settle(where)
        fresh = child("stale.judged", where)
        data, helper = where / "data" / "3.csv", where / "big" / "m7.py"
        data.write_text(data.read_text().replace("\n17,51\n", "\n17,52\n"))
        helper.write_text(helper.read_text().replace("total = 0.0", "total = 0.5"))
        stale = child("stale.judged", where)
    right = fresh["states"]["up to date"] == RUNS and stale["states"]["stale"] == RUNS
    shown = f"{fresh['s']:.1f} s, {'right' if right else 'WRONG'}"
    told = f"{MODULES} modules, {FILES} data files; {fresh['cpu_s']:.1f} s of CPU"
    again = f"{stale['cpu_s']:.1f} s of CPU"
    return [
        Row(f"status of {RUNS:,} runs, all up to date", shown, "<= 5 s", told, right and fresh["s"] <= 5),
        Row("… all stale: a row, and a function", f"{stale['s']:.1f} s", "<= 5 s", again, right and stale["s"] <= 5),
    ]


STATUS_ROWS: tuple[Callable[[], list[Row]], ...] = (status,)
