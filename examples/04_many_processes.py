"""Many processes, one store: a sweep in parallel, workers that log into one run, and the ranks of one training.

Every process writes a log of its own: no server, no lock, nothing to set up.

    pip install '.[examples]'
    python examples/04_many_processes.py

It prints::

    run       name        status      took    ago   rate     acc
    ────────  ──────────  ...
    ...       train-...   ✓ finished  ...  0.001  0...
    ...       train-...   ✓ finished  ...  0.003  0...
    ...       train-...   ✓ finished  ...   0.01  0...
    ...       train-...   ✓ finished  ...   0.03  0...
    ...       train-...   ✓ finished  ...    0.1  0...
    ...       train-...   ✓ finished  ...    0.3  0...

    two workers logged 1,797 images into one run
      ink per pixel from 2.89 to 6.77, 4.88 on average

    3 ranks, one run: ranks-..., finished
      rank 0  10 epochs, acc 0...
      rank 1  10 epochs, acc 0...
      rank 2  10 epochs, acc 0...
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from datetime import datetime, timezone

import numpy as np

import mlsdk

SEEN = 1300


def images() -> tuple[np.ndarray, np.ndarray]:
    """Pixels from 0 to 16 and digits, as the first process has left them for all."""
    table = np.load("digits.npy")
    return table[:, :-1], table[:, -1]


def epoch(weights: np.ndarray, pixels: np.ndarray, digits: np.ndarray, rate: float) -> None:
    """Once through the images, 32 at a time: gradient descent of a softmax regression."""
    for start in range(0, len(pixels), 32):
        some, right = pixels[start : start + 32] / 16, digits[start : start + 32]
        found = np.exp(some @ weights)
        found /= found.sum(axis=1, keepdims=True)
        found[np.arange(len(right)), right] -= 1
        weights -= rate * some.T @ found


def accuracy(weights: np.ndarray, pixels: np.ndarray, digits: np.ndarray) -> float:
    return float(((pixels @ weights).argmax(axis=1) == digits).mean())


@mlsdk.track(experiment="sweep")
def train(rate: float, epochs: int = 10) -> None:
    """One run of a sweep, in whatever process calls it."""
    (pixels, digits), weights = images(), np.zeros((64, 10))
    for _ in range(epochs):
        epoch(weights, pixels[:SEEN], digits[:SEEN], rate)
        mlsdk.log(acc=accuracy(weights, pixels[SEEN:], digits[SEEN:]))


def count_ink(part: int) -> None:
    """What a data loader's worker does: it logs into the run of the process that started it."""
    for image in images()[0][part::4]:
        mlsdk.log(ink=image.mean())


def train_rank(rank: int, ranks: int) -> None:
    """One rank of a training, with its share of the data. MLSDK_RUN says which run it joins, RANK as whom."""
    (pixels, digits), weights = images(), np.zeros((64, 10))
    with mlsdk.run("ranks", params={"ranks": ranks}):
        for _ in range(10):
            epoch(weights, pixels[rank:SEEN:ranks], digits[rank:SEEN:ranks], rate=0.01)
            mlsdk.log(acc=accuracy(weights, pixels[SEEN:], digits[SEEN:]))


def main() -> None:
    from sklearn.datasets import load_digits

    began = datetime.now(timezone.utc)
    pixels, digits = load_digits(return_X_y=True)
    np.save("digits.npy", np.column_stack([pixels, digits]).astype(int))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(train, (0.001, 0.003, 0.01, 0.03, 0.1, 0.3), chunksize=1)
    print(mlsdk.runs(f"started_at >= '{began.isoformat()}'", experiment="sweep", order_by="params.rate"))

    with mlsdk.run("loading") as run, multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(count_ink, range(4))
    ink = mlsdk.get_run(run.id).ranks["worker"]["ink"]
    print(f"\ntwo workers logged {ink.count:,} images into one run")
    print(f"  ink per pixel from {ink.min:.2f} to {ink.max:.2f}, {ink.mean:.2f} on average")

    ranks, run_id = 3, os.urandom(16).hex()
    command = [sys.executable, __file__]
    started = [
        subprocess.Popen([*command, str(rank), str(ranks)], env={**os.environ, "MLSDK_RUN": run_id, "RANK": str(rank)})
        for rank in range(ranks)
    ]
    for process in started:
        process.wait()
    together = mlsdk.get_run(run_id)
    print(f"\n{ranks} ranks, one run: {together.name}, {together.status}")
    for rank in range(ranks):
        acc = together.history("acc", rank=rank)
        print(f"  rank {rank}  {len(acc)} epochs, acc {acc.values[-1]:.3f}")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        train_rank(int(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
