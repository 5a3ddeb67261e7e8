"""A team's store: a server, a colleague's token, and a training that goes on while the server is away.

The calls are the same as with a folder; only `store` differs. All of it runs on this machine, in a folder of its own.

    pip install '.[examples,server]'
    python examples/06_a_team_store.py

It prints::

    serving on http://127.0.0.1:...; ann may write, and only in `vision`
    ann's first run is there: train-..., finished, 20 points
    the server is away: 20 epochs took ... ms
      shipping: http://127.0.0.1:.../vision does not take what is recorded: ...
    it is back: mlsdk sync left 0 behind; ... has 20 points
    best of the team: acc 0... with alpha ...
    ann, with a token for looking: mlsdk: this needs the role writer in 'vision'; yours is viewer. ...
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time

from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

import mlsdk

EPOCHS = 20

pixels, digits = load_digits(return_X_y=True)
seen, unseen, seen_digits, unseen_digits = train_test_split(pixels / 16, digits, stratify=digits, random_state=0)


@mlsdk.track(experiment="digits")
def train(alpha: float) -> None:
    """A training as it would be without a server."""
    model = SGDClassifier(alpha=alpha, random_state=0)
    for _ in range(EPOCHS):
        model.partial_fit(seen, seen_digits, classes=range(10))
        mlsdk.log(acc=model.score(unseen, unseen_digits))


def serve(port: int) -> tuple[subprocess.Popen[str], str]:
    """Start `mlsdk serve`, which makes an operator the first time; the process and its address."""
    command = [sys.executable, "-m", "mlsdk", "serve", "team", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    said = server.stdout.readline()
    return server, said.partition(" at ")[2].split()[0]


def ask(*words: str) -> str:
    """What a command of `mlsdk` prints, or complains of."""
    done = subprocess.run([sys.executable, "-m", "mlsdk", *words], capture_output=True, text=True, check=False)
    return done.stdout or done.stderr


def main() -> None:
    server, address = serve(0)
    port, store = int(address.rpartition(":")[2]), f"{address}/vision"
    try:
        ask("workspace", "make", "vision", "--store", address)
        ask("member", "set", "ann", "writer", "--store", store)
        print(f"serving on {address}; ann may write, and only in `vision`")
        os.environ["MLSDK_STORE"] = store
        os.environ["MLSDK_TOKEN"] = ask(
            "token", "make", "--actor", "ann", "--scope", "vision=writer", "--store", store
        ).strip()

        train(alpha=0.01)
        first = mlsdk.runs()[0]
        print(f"ann's first run is there: {first.name}, {first.status}, {len(first.history('acc'))} points")

        server.send_signal(signal.SIGTERM)
        server.wait()
        with mlsdk.run("digits", params={"alpha": 0.001}) as run:
            began, model = time.perf_counter(), SGDClassifier(alpha=0.001, random_state=0)
            for _ in range(EPOCHS):
                model.partial_fit(seen, seen_digits, classes=range(10))
                run.log(acc=model.score(unseen, unseen_digits))
            print(f"the server is away: {EPOCHS} epochs took {(time.perf_counter() - began) * 1000:.0f} ms")
            while not run.problems:  # nothing waits for this; here we want to see it said
                time.sleep(0.1)
            print(f"  {run.problems[0]}")

        server, _ = serve(port)
        report = mlsdk.sync()
        points = len(mlsdk.get_run(run.id).history("acc"))
        print(f"it is back: mlsdk sync left {len(report.left)} behind; {run.name} has {points} points")

        best = mlsdk.runs(experiment="digits").best("acc")
        print(f"best of the team: acc {best.metrics['acc'].last:.3f} with alpha {best.params['alpha']}")

        token = ask("token", "make", "--actor", "ann", "--scope", "vision=viewer", "--note", "for looking")
        os.environ["MLSDK_TOKEN"] = token.strip()
        print(f"ann, with a token for looking: {ask('tag', best.id, 'mine=true')}", end="")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["XDG_STATE_HOME"] = os.environ["XDG_CONFIG_HOME"] = folder
        main()
        os.chdir("/")
