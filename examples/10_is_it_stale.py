"""Is the model stale? A model of wines, its data and its code a week later, and what retraining makes of it.

Touching, copying and reformatting changes nothing; a corrected row does, and so does a function that is reached.

    pip install '.[examples]'
    python examples/10_is_it_stale.py

It prints::

    as it was made
      wine-model: up to date
    the table is written again, with other quotes and line ends; the code gets a comment
      wine-model: up to date
    ten wines more are known, and logarithms are taken of all that was measured
      wine-model: stale
        train > prepared: scaled() changed
        data.data: 178 rows instead of 168 (10 added)
    made again, on what is there now: acc 0.9... instead of 0.9...
      wine-model: up to date
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sklearn.datasets import load_wine

import mlsdk

PROGRAM = """
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

import mlsdk


def scaled(column):
    return (column - column.mean()) / column.std()


def prepared(wines):
    return wines.drop(columns="target").apply(scaled)


@mlsdk.track(experiment="wines", name="wine-model")
def train(data: Path):
    wines = pd.read_csv(data)
    scores = cross_val_score(LogisticRegression(), prepared(wines), wines["target"], cv=3)
    return {"acc": scores.mean()}


if __name__ == "__main__":
    train(Path("wines.csv"))
"""

project = Path("wines").absolute()
project.mkdir()
program, table = project / "train.py", project / "wines.csv"
program.write_text(PROGRAM)
wines = load_wine(as_frame=True).frame.sample(frac=1, random_state=1)
wines[:168].to_csv(table, index=False)
store = project / ".mlsdk"
subprocess.run([sys.executable, program.name], cwd=project, env={**os.environ, "MLSDK_STORE": str(store)}, check=True)


def show(what: str) -> None:
    print(what)
    for model in mlsdk.status("wines", store=store):
        print("  " + str(model).replace("\n", "\n  "))


show("as it was made")

wines[:168].to_csv(table, index=False, quoting=1, lineterminator="\r\n")
program.write_text(PROGRAM.replace("def scaled(column):", "def scaled(column):  # mean 0, deviation 1"))
show("the table is written again, with other quotes and line ends; the code gets a comment")

wines.to_csv(table, index=False)
program.write_text(PROGRAM.replace("    return (column", "    column = np.log1p(column)\n    return (column"))
show("ten wines more are known, and logarithms are taken of all that was measured")

(made,) = mlsdk.retrain("wines", store=store)
old, new = (run.metrics["acc"].last for run in (made.old.run, made.new))
show(f"made again, on what is there now: acc {new:.3f} instead of {old:.3f}")
