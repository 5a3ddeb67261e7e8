"""Runs as `with` blocks: nested runs, artifacts, notes, and going on after a crash.

    pip install '.[examples]'
    python examples/02_context_manager.py

It prints::

    the cross-validation: finished, 3 folds inside
      fold 1     acc 0.9...
      fold 2     acc 0.9...
      fold 3     acc 0.9...
      mean       acc 0.9...
      note       the baseline that others have to beat
      data       digits.csv, ... bytes, SHA-256 ...
      model.pkl  ... bytes; loaded again it reads 9 of the first 10 digits right

    the long training: failed, RuntimeError: somebody pulled the plug
      epochs     0 1 2 3 4 5 6
    the same run, resumed from the checkpoint of epoch 4: finished
      epochs     0 1 2 3 4 5 6 7 8 9
      acc        0.6... at epoch 4, 0.8... at epoch 9
"""

from __future__ import annotations

import pickle

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier

import mlsdk

pixels, digits = load_digits(return_X_y=True)
np.savetxt("digits.csv", np.column_stack([pixels, digits]), fmt="%d", delimiter=",")
pixels /= 16


def network(hidden: int, lr: float) -> MLPClassifier:
    return MLPClassifier((hidden,), learning_rate_init=lr, max_iter=15, random_state=0)


# Runs inside a run: its children. The first argument is the experiment, a group of runs; a name is for one of them.
settings = {"hidden": 32, "lr": 0.01}
with mlsdk.run("cross-validation", params={"network": settings, "folds": 3}, tags=["baseline"]) as whole:
    whole.use_data("digits.csv")
    scores = []
    for number, (seen, unseen) in enumerate(StratifiedKFold(3).split(pixels, digits), 1):
        with mlsdk.run("cross-validation", name=f"fold {number}"):
            model = network(**settings)
            for _ in range(15):
                model.partial_fit(pixels[seen], digits[seen], classes=range(10))
                mlsdk.log(loss=model.loss_)
            scores.append(model.score(pixels[unseen], digits[unseen]))
            mlsdk.log(acc=scores[-1])
    whole.log(acc=np.mean(scores))
    whole.log_artifact(pickle.dumps(model), name="model.pkl")
    whole.note("the baseline that others have to beat")

# What was recorded is read from a frozen record, here or in any other program.
found = mlsdk.get_run(whole.id)
print(f"the cross-validation: {found.status}, {len(found.children)} folds inside")
for child in map(mlsdk.get_run, found.children):
    print(f"  {child.name:9}  acc {child.metrics['acc'].last:.3f}")
print(f"  mean       acc {found.metrics['acc'].last:.3f}")
print(f"  note       {found.note}")
data = found.datasets["digits.csv"]
print(f"  data       {data.name}, {data.size_bytes:,} bytes, SHA-256 {data.digest[:12]}...")
with found.open("model.pkl") as file:
    right = (pickle.load(file).predict(pixels[:10]) == digits[:10]).sum()  # noqa: S301 - our own file
size = found.artifacts["model.pkl"].size_bytes
print(f"  model.pkl  {size:,} bytes; loaded again it reads {right} of the first 10 digits right")


# A training that keeps a checkpoint every fifth epoch, and the crash that it is for.
seen, unseen, seen_digits, unseen_digits = train_test_split(pixels, digits, stratify=digits, random_state=0)


def train(run: mlsdk.ActiveRun, model: MLPClassifier, epochs: range) -> None:
    for epoch in epochs:
        model.partial_fit(seen, seen_digits, classes=range(10))
        run.log(acc=model.score(unseen, unseen_digits))
        if epoch % 5 == 4:
            run.log_artifact(pickle.dumps(model), name="checkpoint.pkl")


try:
    with mlsdk.run("long") as run:
        train(run, network(hidden=64, lr=0.001), range(7))
        raise RuntimeError("somebody pulled the plug")
except RuntimeError:
    crashed = mlsdk.get_run(run.id)
    print(f"\nthe long training: {crashed.status}, {crashed.error['type']}: {crashed.error['message']}")
    print("  epochs    ", *crashed.history("acc").steps)

# `from_step`: what was logged after the checkpoint is about to be repeated, so it is hidden.
with crashed.open("checkpoint.pkl") as file:
    model = pickle.load(file)  # noqa: S301 - our own file
with mlsdk.run(resume=crashed.id, from_step=5) as run:
    train(run, model, range(5, 10))

resumed = mlsdk.get_run(crashed.id)
acc = resumed.history("acc")
print(f"the same run, resumed from the checkpoint of epoch 4: {resumed.status}")
print("  epochs    ", *acc.steps)
print(f"  acc        {acc.values[4]:.3f} at epoch 4, {acc.values[9]:.3f} at epoch 9")
