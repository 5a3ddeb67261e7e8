"""Can it be made again? A scikit-learn model on real data, verified; then the same asked of a folder that has moved on.

    pip install '.[examples]'
    python examples/08_made_again.py

It prints::

    as it was: B, the same bit by bit in two reruns: 1 metric, 1 returned value, 1 artifact
      does not count: metric fit_s, a measure of time
      the run says: B

    a colleague has tidied up; with what lies here now: X
      first: metric loss at step 2: 0.1... in the run, 0.1... in the rerun
      confirmed: data data
        same schema
        rows: 1 changed
        changed columns: mean radius
      without effect: function __main__:tumours
      the run says: X
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sklearn.datasets import load_breast_cancer

import mlsdk

TRAIN = """
import time
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

import mlsdk


def tumours(data):
    table = np.genfromtxt(data, delimiter=",", skip_header=1)
    target = table[:, -1]
    inputs = table[:, :-1]
    return inputs, target


@mlsdk.track(experiment="tumours")
def train(data: Path, trees: int = 20, seed: int = 0):
    inputs, target = tumours(data)
    found = np.zeros((len(target), 2))
    for seen, unseen in StratifiedKFold(3).split(inputs, target):
        began = time.perf_counter()
        model = RandomForestClassifier(trees, random_state=seed).fit(inputs[seen], target[seen])
        found[unseen] = model.predict_proba(inputs[unseen])
        mlsdk.log(loss=log_loss(target[unseen], found[unseen]), fit_s=time.perf_counter() - began)
    np.save("predictions.npy", found)
    mlsdk.current_run().log_artifact("predictions.npy")
    return {"importances": model.feature_importances_}


train(Path("tumours.csv"))
"""


def show(title: str, verdict: mlsdk.Verdict) -> None:
    print(f"{title}: {verdict.level}")
    print(f"  first: {verdict.first_divergence}")
    for cause in verdict.causes:
        print(f"  {'confirmed' if cause.confirmed else 'suspected'}: {cause.kind} {cause.what}")
        for line in cause.details:
            print(f"    {line}")
    print(f"  without effect: {', '.join(verdict.others)}")


os.environ["OMP_NUM_THREADS"] = "1"  # the number of threads is part of what a result comes from
Path("project").mkdir()
os.chdir("project")
Path("train.py").write_text(TRAIN, "utf-8")
table = load_breast_cancer(as_frame=True).frame
table.to_csv("tumours.csv", index=False)
subprocess.run([sys.executable, "train.py"], check=True)
run = mlsdk.get_run("latest")

# Everything as it was in the run; without `env="same"` its environment is built where this one is another.
verdict = mlsdk.verify(run, env="same")
print(f"as it was: {verdict.level}, {verdict.reason}")
print(f"  does not count: {', '.join(verdict.aside)}")
print(f"  the run says: {mlsdk.get_run(run.id).reproduced}")

# A colleague tidies up, and corrects a cell.
tidier = TRAIN.replace("    target = table[:, -1]\n", "").replace(
    "return inputs, target", "return inputs, table[:, -1]"
)
Path("train.py").write_text(tidier, "utf-8")
table.loc[3, "mean radius"] *= 2
table.to_csv("tumours.csv", index=False)
show("\na colleague has tidied up; with what lies here now", mlsdk.verify(run, here=True))
print(f"  the run says: {mlsdk.get_run(run.id).reproduced}")
