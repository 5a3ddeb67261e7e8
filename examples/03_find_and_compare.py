"""Find runs by what they are and did, and compare them: filters, the best, trade-offs, data frames, histories.

Several kinds of models learn to read digits, from more and more of the data. Some are right more often, others smaller.

    pip install '.[examples]'
    python examples/03_find_and_compare.py

It prints::

    run       name        status      took    ago  kind       size     acc  size_kb
    ────────  ──────────  ...
    ...       train-...   ✓ finished  ...  neighbors    10  0.9...  7...
    ...       train-...   ✓ finished  ...  neighbors     1  0.9...  7...
    ...       train-...   ✓ finished  ...  forest      100  0.9...  4...
    ...       train-...   ✓ finished  ...  forest       20  0.9...  9...
    ...       train-...   ✓ finished  ...  tree         15  0.8...  ...
    ...       train-...   ✓ finished  ...  tree          5  0.6...  ...
    ...       train-...   ✓ finished  ...  vectors          0.9...  3...
    ...       train-...   ✓ finished  ...  linear           0.9...  ...

    right more than nine times in ten, and below a megabyte, the smallest first:
      linear          acc 0.9...        6 kB
      vectors         acc 0.9...      3... kB
      neighbors    1  acc 0.9...      7... kB
      neighbors   10  acc 0.9...      7... kB
      forest      20  acc 0.9...      9... kB

    trees and forests:
      forest     100  acc 0.9...    4,... kB
      forest      20  acc 0.9...      9... kB
      tree        15  acc 0.8...       ... kB
      tree         5  acc 0.6...        ... kB

    no other is both better and smaller:
      linear          acc 0.9...        6 kB
      vectors         acc 0.9...      3... kB

    the best of each kind, by pandas:
      forest     0.9...
      linear     0.9...
      neighbors  0.9...
      tree       0.8...
      vectors    0.9...

    from more and more of the data: vectors, tree of 15 levels, difference
       20%  0.9...  0.7...  +0.2...
       40%  0.9...  0.8...  +0.1...
       60%  0.9...  0.8...  +0.1...
       80%  0.9...  0.8...  +0.1...
      100%  0.9...  0.8...  +0.1...
"""

from __future__ import annotations

import pickle
from datetime import datetime, timezone

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import mlsdk

pixels, digits = load_digits(return_X_y=True)
seen, unseen, seen_digits, unseen_digits = train_test_split(pixels / 16, digits, stratify=digits, random_state=2)


@mlsdk.track(experiment="kinds of models", tags={"data": "digits"})
def train(kind: str, size: int | None = None) -> dict[str, float]:
    model = {
        "linear": SGDClassifier(random_state=0),
        "vectors": SVC(),
        "tree": DecisionTreeClassifier(max_depth=size, random_state=0),
        "forest": RandomForestClassifier(size or 100, random_state=0),
        "neighbors": KNeighborsClassifier(size or 5),
    }[kind]
    for percent in (20, 40, 60, 80, 100):
        count = len(seen) * percent // 100
        model.fit(seen[:count], seen_digits[:count])
        mlsdk.log(acc=model.score(unseen, unseen_digits), step=percent)
    return {"size_kb": len(pickle.dumps(model)) / 1000}


began = datetime.now(timezone.utc)
train("linear")
train("vectors")
for kind, sizes in {"tree": (5, 15), "forest": (20, 100), "neighbors": (1, 10)}.items():
    for size in sizes:
        train(kind, size)

# A query is a sequence of frozen records, read when it is first looked at.
runs = mlsdk.runs(f"started_at >= '{began.isoformat()}'")
print(runs)


def show(title: str, some: mlsdk.Runs) -> None:
    print(f"\n{title}")
    for run in some:
        acc, size_kb = run.metrics["acc"], run.metrics["size_kb"]
        print(f"  {run.params['kind']:9}  {run.params['size'] or '':3}  acc {acc.last:.3f}  {size_kb.last:7,.0f} kB")


show(
    "right more than nine times in ten, and below a megabyte, the smallest first:",
    runs.where("metrics.acc > 0.9 and metrics.size_kb < 1000").sort("metrics.size_kb"),
)
show("trees and forests:", runs.where("params.kind in ('tree', 'forest') and params.size is not null"))
show("no other is both better and smaller:", runs.pareto({"acc": "max", "size_kb": "min"}).sort("metrics.size_kb"))

print("\nthe best of each kind, by pandas:")
frame = runs.to_pandas()
for kind, acc in frame.groupby("params.kind")["metrics.acc"].max().items():
    print(f"  {kind:9}  {acc:.3f}")

best, tree = runs.best("acc"), runs.where("params.kind = 'tree'").best("acc")
print(f"\nfrom more and more of the data: {best.params['kind']}, tree of {tree.params['size']} levels, difference")
ours, theirs = best.history("acc"), tree.history("acc")
for percent, our, their in zip(ours.steps, ours.values, theirs.values, strict=True):
    print(f"  {percent:3}%  {our:.3f}  {their:.3f}  {our - their:+.3f}")
