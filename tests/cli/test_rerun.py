"""`mlsdk rerun`: what it says, and what it makes of a command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mlsdk
from mlsdk.cli import main
from mlsdk.cli.rerun import value_of
from tests.reproduce.again import start, write

PROGRAM = """
    from pathlib import Path
    import mlsdk

    @mlsdk.track
    def train(lr=0.5, kind="5", data=Path("d.csv"), deep=None):
        if lr > 1:
            raise ValueError("too large")
        return {"loss": lr, "rows": len(data.read_text().splitlines())}

    train()
"""


@pytest.mark.slow
def test_a_run_again_by_its_command(capsys) -> None:
    """Old and new numbers stand side by side, in JSON too; a run that fails, or cannot be made, says so."""
    write(PROGRAM)
    write("a\n1\n", "d.csv")
    old = start("train.py")
    write("a\n1\n2\n", "e.csv")
    codes = [main(["rerun", old.id, "lr=0.25", "data=e.csv", "--env", "same"])]
    said = capsys.readouterr().out
    new = mlsdk.get_run("latest")
    codes.append(main(["rerun", old.id, "--json"]))
    answer = json.loads(capsys.readouterr().out)
    codes.append(main(["rerun", old.id, "lr=2", "--env", "same"]))
    failed = capsys.readouterr().out
    codes += [main(["rerun", old.id, "lr"]), main(["rerun", old.id, "layers=1", "--env", "same"])]
    errors = capsys.readouterr().err

    assert codes == [0, 0, 1, 2, 2]
    assert (new.params["lr"], new.metrics["rows"].last, str(new.params["data"])) == (0.25, 3, "e.csv")
    assert "with lr 0.5 → 0.25, data d.csv → e.csv" in said
    assert ["loss", "0.5", "0.25", "differs"] in [line.split() for line in said.splitlines()]
    assert answer["compared"]["loss"] == {"old": 0.5, "new": 0.5}
    assert (answer["parent"], answer["rerun"]["of"]) == (old.id, old.id)
    assert "ValueError: too large" in failed
    assert "'lr' is no PARAM=VALUE" in errors
    assert "has no parameter 'layers'; it has: data, deep, kind, lr" in errors
    assert [
        value_of(old, *pair) for pair in (("kind", "7"), ("deep", "7"), ("deep", "[1, 2]"), ("deep", "(1, 2)"))
    ] == [
        "7",
        7,
        [1, 2],
        (1, 2),
    ]
    assert value_of(old, "data", "x/y.csv") == Path("x/y.csv")
    assert [value_of(old, "deep", text) for text in ("true", "None", "1e-3", "adam")] == [True, None, 0.001, "adam"]
