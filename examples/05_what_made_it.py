"""What made a result: the data row by row, the functions, the environment; and what changed since.

    pip install '.[examples]'
    python examples/05_what_made_it.py

It prints::

    the same file, copied: same bytes
    three cells edited: same schema; changed columns: bmi; 3 rows changed
      the run before: mlfp1:..., 442 rows x 11 columns
      the run after:  mlfp1:..., 442 rows x 11 columns
    rows to test on that were trained on: 0 of 89

    what the run can reach:
      05_what_made_it.py: ALPHAS, prepare, train
    the code, uncommitted changes too: ... files, tree ...
    the environment: Python 3..., scikit-learn ..., lock of ... packages
    read, but not declared as data: notes.txt
    time spent in mlsdk: ... of ... s
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split

import mlsdk

ALPHAS = (0.1, 1.0)


def prepare(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    seen, unseen = train_test_split(table, test_size=0.2, random_state=0)
    return seen, unseen


@mlsdk.track(experiment="diabetes")
def train(data: Path) -> dict[str, float]:
    Path("notes.txt").read_text("utf-8")
    seen, unseen = prepare(pd.read_csv(data))
    fitted = [Ridge(alpha).fit(seen.drop(columns="target"), seen["target"]) for alpha in ALPHAS]
    return {"r2": max(model.score(unseen.drop(columns="target"), unseen["target"]) for model in fitted)}


def latest(*, captures: str) -> mlsdk.Run:
    """The run of just now, when the helper process has written down what it found."""
    while captures not in mlsdk.get_run("latest").code or not mlsdk.get_run("latest").datasets["data"].fingerprint:
        time.sleep(0.05)
    return mlsdk.get_run("latest")


table = load_diabetes(as_frame=True).frame
table.to_csv("diabetes.csv", index=False)
Path("notes.txt").write_text("nobody says that this is read\n", "utf-8")

shutil.copy("diabetes.csv", "copy.csv")
print("the same file, copied:", mlsdk.fingerprint("diabetes.csv").compare(mlsdk.fingerprint("copy.csv")).level.value)

train(Path("diabetes.csv"))
before = latest(captures="functions")

table.loc[[7, 70, 400], "bmi"] += 1e-12
table.to_csv("diabetes.csv", index=False)
train(Path("diabetes.csv"))
after = latest(captures="functions")

old, new = (mlsdk.fingerprint(run.datasets["data"]) for run in (before, after))
diff = old.compare(new)
changed = ", ".join(diff.changed_columns)
print(f"three cells edited: {diff.level.value}; changed columns: {changed}; {diff.changed_rows} rows changed")
for title, found in (("before:", before.datasets["data"]), ("after: ", after.datasets["data"])):
    print(f"  the run {title} {found.fingerprint}, {found.rows} rows x {found.columns} columns")

seen, unseen = prepare(table)
leaked = mlsdk.fingerprint(unseen).overlap(mlsdk.fingerprint(seen))
print(f"rows to test on that were trained on: {leaked.rows} of {len(unseen)}")

print("\nwhat the run can reach:")
own = [name.removeprefix("__main__:") for name in after.code["functions"] if name.startswith("__main__:")]
print(f"  {Path(after.code['entry']).name}: {', '.join(sorted(own))}")
tree, environment = after.code["tree"], after.environment
print(f"the code, uncommitted changes too: {tree['files']} files, tree {tree['identity'][:12]}")
packages, lock = environment["packages"], environment["lock"]
print(
    f"the environment: Python {environment['python']}, scikit-learn {packages['scikit-learn']},"
    f" lock of {lock['packages']} packages"
)
print("read, but not declared as data:", *(Path(one.name).name for one in after.inputs.values() if not one.declared))
print(f"time spent in mlsdk: {after.hardware['overhead_s']:.3f} of {after.duration_s:.3f} s")
