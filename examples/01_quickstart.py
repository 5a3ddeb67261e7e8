"""Track a training function on real data, and find the best run.

Six settings of a small network learn to read handwritten digits: 1,797 images of 8 x 8 pixels that come with
scikit-learn. Each call of `train` is a run. It takes seconds and leaves its runs in the folder `.mlsdk`.

    pip install '.[examples]'
    python examples/01_quickstart.py

It prints::

    run       name        status      took    ago  hidden     lr     loss     acc  misread
    ────────  ──────────  ...
    ...       train-...   ✓ finished  ...  128   0.01  0.0...  0.9...  ...
    ...       train-...   ✓ finished  ...   32   0.01  0.0...  0.9...  ...
    ...       train-...   ✓ finished  ...  128  0.001  0...   0.9...  ...
    ...       train-...   ✓ finished  ...    8   0.01  0...   0...   ...
    ...       train-...   ✓ finished  ...   32  0.001  0...   0...   ...
    ...       train-...   ✓ finished  ...    8  0.001  1...   0...   ...

    best: train-... misread ... of 450 digits that it had not seen

    from the second, train-..., to the best:
      params.hidden    32 -> 128
      metrics.loss     0.0... -> 0.0...
      metrics.acc      0.9... -> 0.9...
      metrics.misread  ... -> ...

    how the best one learned:
      epoch  0  acc 0...  loss ...
      epoch  5  acc 0...  loss ...
      epoch 10  acc 0...  loss ...
      epoch 15  acc 0...  loss ...
      epoch 19  acc 0...  loss ...
"""

from __future__ import annotations

from datetime import datetime, timezone

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import mlsdk

pixels, digits = load_digits(return_X_y=True)
seen, unseen, seen_digits, unseen_digits = train_test_split(pixels / 16, digits, stratify=digits, random_state=2)


@mlsdk.track(experiment="digits")
def train(hidden: int, lr: float, epochs: int = 20) -> dict[str, int]:
    model = MLPClassifier((hidden,), learning_rate_init=lr, random_state=2)
    for _ in range(epochs):
        model.partial_fit(seen, seen_digits, classes=range(10))
        mlsdk.log(loss=model.loss_, acc=model.score(unseen, unseen_digits))
    return {"misread": int((model.predict(unseen) != unseen_digits).sum())}


began = datetime.now(timezone.utc)
for hidden in (8, 32, 128):
    for lr in (0.001, 0.01):
        train(hidden, lr)

# Only the runs of just now: the store keeps those of every time that this program is started.
board = mlsdk.runs(f"started_at >= '{began.isoformat()}'", order_by="-metrics.acc")
print(board)

best, second = board[0], board[1]
print(f"\nbest: {best.name} misread {best.metrics['misread'].last} of {len(unseen)} digits that it had not seen")

print(f"\nfrom the second, {second.name}, to the best:")
for name, value in best.params.items():
    if value != second.params[name]:
        print(f"  {'params.' + name:15}  {second.params[name]} -> {value}")
for name in ("loss", "acc", "misread"):
    print(f"  {'metrics.' + name:15}  {second.metrics[name].last:.4g} -> {best.metrics[name].last:.4g}")

print("\nhow the best one learned:")
acc, loss = best.history("acc"), best.history("loss")
for epoch in (0, 5, 10, 15, 19):
    print(f"  epoch {acc.steps[epoch]:2}  acc {acc.values[epoch]:.3f}  loss {loss.values[epoch]:.3f}")
