"""Many processes, one store: a sweep in parallel, workers that log into one run, and the ranks of one training.

Every process writes a log of its own: no server, no lock, nothing to set up.

    pip install '.[examples]'
    python examples/04_many_processes.py

It prints::

    run       name        status      took    ago   alpha     acc
    ────────  ──────────  ...
    ...       train-...   ✓ finished  ...   1e-05  0...
    ...       train-...   ✓ finished  ...  0.0001  0...
    ...       train-...   ✓ finished  ...   0.001  0...
    ...       train-...   ✓ finished  ...    0.01  0...
    ...       train-...   ✓ finished  ...     0.1  0...
    ...       train-...   ✓ finished  ...       1  0...

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

from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

import mlsdk

pixels, digits = load_digits(return_X_y=True)
seen, unseen, seen_digits, unseen_digits = train_test_split(pixels / 16, digits, stratify=digits, random_state=0)


@mlsdk.track(experiment="sweep")
def train(alpha: float, epochs: int = 10) -> None:
    """One run of a sweep, in whatever process calls it."""
    model = SGDClassifier(alpha=alpha, random_state=0)
    for _ in range(epochs):
        model.partial_fit(seen, seen_digits, classes=range(10))
        mlsdk.log(acc=model.score(unseen, unseen_digits))


def count_ink(part: int) -> None:
    """What a data loader's worker does: it logs into the run of the process that started it."""
    for image in pixels[part::4]:
        mlsdk.log(ink=image.mean())


def train_rank(rank: int, ranks: int) -> None:
    """One rank of a training, with its share of the data. MLSDK_RUN says which run it joins, RANK as whom."""
    model = SGDClassifier(random_state=0)
    with mlsdk.run("ranks", params={"ranks": ranks}):
        for _ in range(10):
            model.partial_fit(seen[rank::ranks], seen_digits[rank::ranks], classes=range(10))
            mlsdk.log(acc=model.score(unseen, unseen_digits))


def main() -> None:
    began = datetime.now(timezone.utc)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(train, (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0), chunksize=1)
    print(mlsdk.runs(f"started_at >= '{began.isoformat()}'", experiment="sweep", order_by="params.alpha"))

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
