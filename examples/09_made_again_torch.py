"""A PyTorch model on real data, verified: with its seed bit by bit, without one as well as its own reruns can tell.

    pip install '.[examples]' torch
    python examples/09_made_again_torch.py

The last part is S nineteen times in twenty, as statistics go. It prints::

    with a seed: B, the same bit by bit in two reruns: 1 metric, 1 last value, 4 returned values, 1 artifact

    without: ..., not deterministic
      first: metric loss at step 0: ... in the run, ... in the rerun
      confirmed: seed torch, with it held still, two reruns are the same
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import mlsdk

TRAIN = """
import sys
from pathlib import Path

import numpy as np
import torch

import mlsdk


@mlsdk.track(experiment="digits")
def train(data: Path, epochs: int = 3, rate: float = 0.01):
    digits = np.load(data)
    inputs, target = torch.tensor(digits[:, :-1]) / 16, torch.tensor(digits[:, -1]).long()
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    optimiser = torch.optim.Adam(model.parameters(), rate)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(128):
            loss = torch.nn.functional.cross_entropy(model(inputs[batch]), target[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            mlsdk.log(loss=loss.item())
    torch.save(model.state_dict(), "model.pt")
    mlsdk.current_run().log_artifact("model.pt")
    return {"accuracy": (model(inputs).argmax(1) == target).float().mean().item(), "model": model}


if "seeded" in sys.argv:
    torch.manual_seed(0)
train(Path("digits.npy"))
"""


def verified(*words: str, **options: int) -> mlsdk.Verdict:
    """Run the program, in a process of its own, and make it again."""
    subprocess.run([sys.executable, "train.py", *words], check=True)
    return mlsdk.verify("latest", env="same", **options)


os.environ["OMP_NUM_THREADS"] = "1"  # the number of threads is part of what a result comes from
Path("project").mkdir()
os.chdir("project")
Path("train.py").write_text(TRAIN, "utf-8")
digits = load_digits()
np.save("digits.npy", np.column_stack([digits.data, digits.target]).astype(np.float32))

verdict = verified("seeded")
print(f"with a seed: {verdict.level}, {verdict.reason}")

verdict = verified(reruns=3)
print(f"\nwithout: {verdict.level}, {'deterministic' if verdict.deterministic else 'not deterministic'}")
print(f"  first: {verdict.first_divergence}")
for cause in verdict.causes:
    print(f"  {'confirmed' if cause.confirmed else 'suspected'}: {cause.kind} {cause.what}, {cause.reason}")
