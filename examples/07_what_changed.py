"""What moved since last week: two runs of a project that a colleague went on with, told by `mlsdk.diff`.

    pip install '.[examples]'
    python examples/07_what_changed.py

It prints::

    A  train-...  finished  ...  took ... s
    B  train-...  finished  ...  took ... s

    2 causes

    causes
      function    features:clipped  changed
        reached by train > features > clipped
          def clipped(table, limit):
        -     return table.clip(-limit, limit)
        +     return table.clip(-limit / 2, limit / 2)
      data        data              442 rows × 11 columns, ... → 440 rows × 11 columns, ...
        same schema
        rows: 3 changed, 2 removed
        columns that differ: age, sex, bmi, bp, s1 and 6 more

    effects
      mae  4... → 4...  ...  parts at step 0: ... → ...
      r2   0.4... → 0.4...  ...

    also differs
      other files  NOTES.md (nothing is known to have read them)

    same otherwise: 3 params, 2 functions, ... packages

    with the helper as it was: only data data differs
    with the data as they were: only function features:clipped differs

    r2        last week  helper and data  data alone  helper alone
              0.4...     0.4...           0.4...      0.4...
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sklearn.datasets import load_diabetes

import mlsdk

FEATURES = '''
def clipped(table, limit):
    """No value is further from the mean than so many deviations."""
    return table.clip(-limit, limit)


def features(table, limit):
    """All columns but the last, scaled."""
    inputs = table.iloc[:, :-1]
    return clipped((inputs - inputs.mean()) / inputs.std(), limit)
'''

TRAIN = """
from pathlib import Path

import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import KFold

import mlsdk
from features import features


@mlsdk.track(experiment="progression")
def train(data: Path, alpha: float = 1.0, limit: float = 3.0):
    table = pd.read_csv(data)
    inputs, target = features(table, limit), table["target"]
    scores = []
    for seen, unseen in KFold(5).split(inputs):
        model = Ridge(alpha).fit(inputs.iloc[seen], target.iloc[seen])
        scores.append(model.score(inputs.iloc[unseen], target.iloc[unseen]))
        mlsdk.log(mae=mean_absolute_error(target.iloc[unseen], model.predict(inputs.iloc[unseen])))
    return {"r2": sum(scores) / len(scores)}


train(Path("diabetes.csv"))
"""


def train() -> mlsdk.Run:
    """Run the project as it lies there, in a process of its own."""
    subprocess.run([sys.executable, "train.py"], check=True)
    return mlsdk.get_run("latest")


Path("project").mkdir()
os.chdir("project")
Path("features.py").write_text(FEATURES, "utf-8")
Path("train.py").write_text(TRAIN, "utf-8")
table = load_diabetes(as_frame=True).frame
table.to_csv("diabetes.csv", index=False)
last_week = train()

# A week of work: a helper, some rows, comments, formatting, notes.
newer = FEATURES.replace("clip(-limit, limit)", "clip(-limit / 2, limit / 2)  # outliers!")
Path("features.py").write_text(newer.replace('    """All columns but the last, scaled."""\n', ""), "utf-8")
Path("train.py").write_text(TRAIN.replace("scores = []", "scores = []  # of each fold"), "utf-8")
Path("NOTES.md").write_text("limits seem too wide\n", "utf-8")
corrected = table.drop(index=[17, 230])
corrected.loc[[7, 70, 400], "bmi"] *= 1.5
corrected.to_csv("diabetes.csv", index=False)
now = train()
print(mlsdk.diff(last_week, now))

# Which of the two was it? One at a time.
Path("features.py").write_text(FEATURES, "utf-8")
data_alone = train()
print(f"\nwith the helper as it was: {str(mlsdk.diff(last_week, data_alone)).splitlines()[3]}")

Path("features.py").write_text(newer, "utf-8")
table.to_csv("diabetes.csv", index=False)
helper_alone = train()
print(f"with the data as they were: {str(mlsdk.diff(last_week, helper_alone)).splitlines()[3]}")

print("\nr2        last week  helper and data  data alone  helper alone")
runs = mlsdk.diff(last_week, now, data_alone, helper_alone).columns["metric r2"]
print("          {:<9.4f}  {:<15.4f}  {:<10.4f}  {:.4f}".format(*runs))
