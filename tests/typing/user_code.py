"""A user's file, never run: read by type checkers. Lines ending in `# expect-error` must be errors, no others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import mlsdk

if TYPE_CHECKING:
    from typing_extensions import assert_type

# Functions


@mlsdk.track
def train(data: Path, lr: float = 0.1) -> dict[str, float]:
    return {"acc": lr}


assert_type(train(Path("data.csv"), lr=0.3), dict[str, float])
train("data.csv")  # expect-error
train(Path("data.csv"), rate=0.3)  # expect-error
train()  # expect-error


@mlsdk.track(experiment="churn", name="big", tags={"team": "growth"}, capture=())
def fit(*, depth: int) -> str:
    return str(depth)


assert_type(fit(depth=3), str)
fit(3)  # expect-error


@mlsdk.track()
def called(x: int) -> int:
    return x


assert_type(called(1), int)
called("1")  # expect-error


# Coroutines and generators


@mlsdk.track
async def fetch(n: int) -> str:
    return str(n)


@mlsdk.track(experiment="churn")
def batches(n: int) -> Iterator[int]:
    yield n


@mlsdk.track
async def stream(n: int) -> AsyncIterator[bytes]:
    yield bytes(n)


async def consume() -> None:
    assert_type(await fetch(3), str)
    await fetch("3")  # expect-error
    async for chunk in stream(3):
        assert_type(chunk, bytes)
    stream("3")  # expect-error


for batch in batches(3):
    assert_type(batch, int)
batches("3")  # expect-error


# Methods


class Trainer:
    def __init__(self, lr: float) -> None:
        self.lr = lr

    @mlsdk.track
    def fit(self, epochs: int) -> list[int]:
        return [epochs]

    @mlsdk.track(name="later")
    async def fit_later(self, epochs: int) -> list[int]:
        return [epochs]

    @classmethod
    @mlsdk.track
    def make(cls, lr: float) -> Trainer:
        return cls(lr)

    @staticmethod
    @mlsdk.track(experiment="churn")
    def score(truth: list[int]) -> float:
        return float(len(truth))


trainer = Trainer(0.1)
assert_type(trainer.fit(3), list[int])
assert_type(trainer.fit(epochs=3), list[int])
trainer.fit("3")  # expect-error
trainer.fit()  # expect-error
assert_type(Trainer.make(0.1), Trainer)
Trainer.make("0.1")  # expect-error
assert_type(Trainer.score([1]), float)
Trainer.score(1)  # expect-error


# Blocks

with mlsdk.run("churn", name="one", params={"lr": 0.1}, tags=["baseline"]) as run:
    assert_type(run, mlsdk.ActiveRun)
    assert_type(run.id, str)
    run.log(loss=0.5, acc=1)
    run.log({"train/loss": 0.5}, step=3)
    run.log_params({"depth": 3, "layers": [1, 2]})
    run.set_tags({"checked": True})
    run.log_artifact(b"bytes", name="weights")
    run.log_artifact(Path("model.bin"))
    run.log(loss=0.5, step="3")  # expect-error

mlsdk.log(loss=0.5)
mlsdk.log({"loss": 0.5}, step=1)
mlsdk.log("loss")  # expect-error
assert_type(mlsdk.current_run(), mlsdk.ActiveRun)
mlsdk.run(params=3)  # expect-error

# Finding

found = mlsdk.runs("metrics.acc > 0.9", experiment="churn", order_by="-metrics.acc", limit=10)
assert_type(found, mlsdk.Runs)
assert_type(found[0], mlsdk.Run)
assert_type(len(found), int)
for one in found.where("params.lr < 0.5").sort("-metrics.acc"):
    assert_type(one, mlsdk.Run)
assert_type(found.best("acc"), mlsdk.Run)
found.best("acc", mode="largest")  # expect-error
latest = mlsdk.get_run("latest")
assert_type(latest, mlsdk.Run)
latest.name = "other"  # expect-error
mlsdk.runs(3)  # expect-error

# Comparing

compared = mlsdk.diff("latest", latest)
assert_type(compared, mlsdk.Comparison)
assert_type(compared.only, mlsdk.Difference | None)
assert_type(compared.causes[0].kind, str)
assert_type(mlsdk.diff("one", "other", latest), mlsdk.ComparisonTable)
mlsdk.diff("one")  # expect-error

verdict = mlsdk.verify(latest, env="same", tolerance=1e-9, here=False)
assert_type(verdict, mlsdk.Verdict)
assert_type(verdict.deterministic, bool | None)
assert_type([cause.confirmed for cause in verdict.causes], list[bool])
mlsdk.verify("latest", env="docker")  # expect-error
