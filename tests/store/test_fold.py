"""What the facts and points of several logs mean together."""

from __future__ import annotations

import mlsdk


def test_none_is_a_value_of_a_param() -> None:
    """A param that is None is recorded as None, and one that is set to None keeps what it was before as a change."""
    with mlsdk.run("none", params={"limit": None, "depth": 3}) as run:
        run.log_params({"depth": None})
    found = mlsdk.get_run(run.id)

    assert found.params == {"limit": None, "depth": None}
    assert [(change.param, change.old, change.new) for change in found.changes] == [("depth", 3, None)]


def test_last_is_what_came_last() -> None:
    """A returned metric is the last value until a resumed run logs another."""

    @mlsdk.track
    def train() -> dict[str, float]:
        mlsdk.log(acc=0.1)
        return {"acc": 0.5}

    train()
    run = mlsdk.get_run("latest")
    returned = run.metrics["acc"].last
    with mlsdk.run(resume=run):
        mlsdk.log(acc=0.75)

    assert returned == 0.5
    assert mlsdk.get_run(run.id).metrics["acc"].last == 0.75


def test_rank_zero_is_the_main_process() -> None:
    """`rank=0` means the same points as no rank."""
    with mlsdk.run("ranks") as run:
        run.log(acc=0.25)
    found = mlsdk.get_run(run.id)

    assert list(found.history("acc", rank=0).values) == list(found.history("acc").values) == [0.25]
