"""The row about `diff`: two runs of a project of 500 modules."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.measure import Row, child, environment, folder, seconds

MODULES = 500

_PROGRAM = """
from pathlib import Path

import mlsdk
from big import m0


@mlsdk.track(experiment="large")
def train(data: Path, lr: float = 0.1):
    for _ in range(1000):
        mlsdk.log(loss=m0.step_0(lr) / 1e9)


train(Path("data.csv"))
"""


def make(modules: int) -> None:
    """A project in the working folder, and three runs: as it is, a helper and a cell changed, all modules changed."""
    from tests.projects import make_project

    make_project(Path.cwd(), modules)
    Path("train.py").write_text(_PROGRAM, "utf-8")
    Path("data.csv").write_text("".join(["x,y\n", *(f"{row},{row % 7}\n" for row in range(10_000))]), "utf-8")
    subprocess.run(["git", "init", "-q"], check=True)
    _train()
    last = Path(f"big/m{modules - 1}.py")
    last.write_text(last.read_text("utf-8").replace("** power +", "** power -"), "utf-8")
    Path("data.csv").write_text(Path("data.csv").read_text("utf-8").replace("7000,0", "7000,1"), "utf-8")
    _train()
    for path in Path("big").glob("m*.py"):
        path.write_text(path.read_text("utf-8").replace("range(3)", "range(4)"), "utf-8")
    _train()


def _train() -> None:
    subprocess.run([sys.executable, "train.py"], env=environment(MLSDK_COMPANION="0"), check=True, capture_output=True)


def compared(first: int, second: int) -> dict[str, object]:
    """Seconds of comparing two of the runs, by number, in a fresh process, and what was found."""
    import mlsdk

    runs = mlsdk.runs(order_by="started_at")
    pair = runs[first], runs[second]
    begun = time.perf_counter()
    found = mlsdk.diff(*pair)
    taken = time.perf_counter() - begun
    shown = seconds(lambda: str(found))
    ways = [one.facts.get("way") for one in found.causes if one.kind == "function"]
    kinds = [one.kind for one in found.causes]
    return {"s": taken, "shown": shown, "count": len(kinds), "kinds": sorted({*kinds}), "ways": sum(map(bool, ways))}


def diff() -> list[Row]:
    """Two runs of a large project: one function and one cell changed; every module changed."""
    with folder() as where:
        child("comparing.make", where, MODULES)
        few, many = (
            sorted((child("comparing.compared", where, 0, other) for _ in range(5)), key=lambda one: one["s"])[2]
            for other in (1, 2)
        )
        command = [sys.executable, "-m", "mlsdk.cli", "diff", *_names(where)]
        wall = min(
            seconds(lambda: subprocess.run(command, cwd=where, env=environment(), check=True, capture_output=True))
            for _ in range(7)
        )
    right = few["kinds"] == ["data", "function"] and few["count"] == 2 and few["ways"] == 1
    told = f"{few['count']} causes, {'right' if right else 'WRONG'}"
    return [
        Row(
            f"`diff` of two runs of {MODULES} modules, a function and a cell changed",
            f"{few['s']:.2f} s",
            "<= 1 s",
            told,
            few["s"] <= 1 and right,
        ),
        Row("… as a command, the least of seven", f"{wall:.2f} s", "<= 1 s", "", wall <= 1),
        Row(
            "… every module changed",
            f"{many['s']:.2f} s",
            "<= 1 s",
            f"{many['count']} causes, {many['ways']} of them with the way",
            many["s"] <= 1,
        ),
    ]


def _names(where: Path) -> list[str]:
    import mlsdk

    runs = mlsdk.runs(order_by="started_at", store=f"file:{where / '.mlsdk'}")
    return [run.id for run in runs[:2]]


DIFF_ROWS: tuple[Callable[[], list[Row]], ...] = (diff,)
