"""The live run: what it takes, what it refuses, and what is read back."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlsdk
from mlsdk.errors import ConfigError, DigestError, MetricError, NotFoundError, UsageError
from tests.programs import execute


def points(run: mlsdk.ActiveRun, metric: str) -> list[tuple[int, float]]:
    """(step, value) of each point."""
    series = mlsdk.get_run(run.id).history(metric)
    return list(zip(list(series.steps), list(series.values), strict=True))


# Steps


def test_each_metric_has_its_own_step() -> None:
    """A step that is not given is that metric's last one + 1, from 0, whoever else was logged beside it."""
    with mlsdk.run() as run:
        mlsdk.log(a=1.0)
        mlsdk.log(b=1.0)
        mlsdk.log(a=2.0, b=2.0, c=2.0)
        mlsdk.log(a=3.0)
        mlsdk.log(c=3.0, a=4.0)

    assert points(run, "a") == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]
    assert points(run, "b") == [(0, 1.0), (1, 2.0)]
    assert points(run, "c") == [(0, 2.0), (1, 3.0)]


def test_given_steps() -> None:
    """Steps may be negative, repeated and in any order; the next one follows the last that was given."""
    with mlsdk.run() as run:
        for step in (5, -3, -3, np.int64(2**40), 0):
            run.log(a=float(step), step=step)
        run.log(a=1.0)

    assert [step for step, _ in points(run, "a")] == [5, -3, -3, 2**40, 0, 1]


@pytest.mark.parametrize("step", [1.5, "1", 2**63, None.__class__])
def test_steps_that_are_none(step: Any) -> None:
    """A step that is no whole number of 64 bits is refused, and nothing of the call is recorded."""
    with mlsdk.run() as run:
        run.log(b=1.0)
        with pytest.raises(MetricError, match="step"):
            run.log(a=1.0, step=step)

    assert set(mlsdk.get_run(run.id).metrics) == {"b"}


def test_at() -> None:
    """A time may be given as an aware datetime or in seconds; a naive one is refused."""
    when = datetime(2020, 1, 2, tzinfo=timezone.utc)
    with mlsdk.run() as run:
        run.log(a=1.0, at=when)
        run.log(a=1.0, at=when.timestamp() + 1)
        with pytest.raises(UsageError, match="time zone"):
            run.log(a=1.0, at=datetime(2020, 1, 2))  # noqa: DTZ001

    times = list(mlsdk.get_run(run.id).history("a").times)
    assert times == [int(when.timestamp()) * 10**9, (int(when.timestamp()) + 1) * 10**9]


def test_resume_goes_on() -> None:
    """A resumed run goes on with each metric's steps; its error is gone, its start is not."""
    with pytest.raises(ValueError, match="x"), mlsdk.run("e", name="n", params={"lr": 1}) as run:
        run.log(a=1.0, b=1.0)
        run.log(a=2.0)
        raise ValueError("x")
    before = mlsdk.get_run(run.id)
    with mlsdk.run(resume=run.id) as again:
        again.log(a=3.0, b=2.0)
    after = mlsdk.get_run(run.id)

    assert again.id == run.id
    assert points(run, "a") == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert points(run, "b") == [(0, 1.0), (1, 2.0)]
    assert (after.status, after.error, after.params) == ("finished", None, {"lr": 1})
    assert (after.started_at, after.name, after.experiment) == (before.started_at, "n", "e")
    assert len(mlsdk.runs()) == 1


def test_resume_from_a_step() -> None:
    """`from_step` hides the points that are about to be repeated, and steps go on from there."""
    with mlsdk.run() as run:
        for value in range(5):
            run.log(a=value)
    with mlsdk.run(resume=mlsdk.get_run(run.id), from_step=2) as again:
        again.log(a=20)

    assert points(run, "a") == [(0, 0), (1, 1), (2, 20)]
    assert mlsdk.get_run(run.id).metrics["a"].count == 3


def test_resume_is_checked() -> None:
    """A live run cannot be resumed, `from_step` needs one to resume; nothing is left behind."""
    with mlsdk.run() as run:
        with pytest.raises(UsageError, match="still running"):
            mlsdk.run(resume=run.id)
        with pytest.raises(UsageError, match="needs resume"):
            mlsdk.run(from_step=3)
    with pytest.raises(UsageError, match="whole number"):
        mlsdk.run(resume=run.id, from_step="3")  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        mlsdk.run(resume="no such run")

    assert len(mlsdk.runs()) == 1


# Params, tags, notes


def test_params_change() -> None:
    """A param set again is a change with its time; the last value counts, and an equal one is none."""
    with mlsdk.run(params={"lr": 0.1, "model": {"depth": 3}, "none": None}) as run:
        run.log_params({"lr": 0.2, "model": {"depth": 3}})
        run.log_params({"lr": 0.3})
    found = mlsdk.get_run(run.id)

    assert found.params == {"lr": 0.3, "model": {"depth": 3}, "none": None}
    assert [(change.param, change.old, change.new) for change in found.changes] == [("lr", 0.1, 0.2), ("lr", 0.2, 0.3)]
    assert found.changes[0].at <= found.changes[1].at


def test_params_are_those_of_the_start() -> None:
    """What is done to a param's object after it was set does not show."""
    layers = [1, 2]
    with mlsdk.run(params={"layers": layers}) as run:
        layers.append(3)

    assert mlsdk.get_run(run.id).params["layers"] == [1, 2]


def test_long_values_are_put_away() -> None:
    """A value too long for a fact goes to a blob, whole, with a note on the run; a note of the run stays."""
    with mlsdk.run(params={"prompt": "word " * 20_000}) as run:
        run.note("n" * 40_000)
    found = mlsdk.get_run(run.id)
    value: Any = found.params["prompt"]

    assert value.size_bytes > 100_000
    assert value.start.startswith('"word word')
    assert found.note == "n" * 40_000
    assert any(problem.kind == "long-value params.prompt" for problem in found.problems)
    assert Path(".mlsdk", "blobs", value.digest[:2], value.digest).stat().st_size == value.size_bytes


def test_secrets_are_left_out() -> None:
    """A secret among params, tags, notes and errors is nowhere in the store, and the run says that it was left out."""
    secret = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ"
    with (
        pytest.raises(ValueError, match="hf_"),
        mlsdk.run(params={"api_key": secret, "nested": {"text": secret}}) as run,
    ):
        run.set_tags({"token": secret})
        run.note(f"use {secret}")
        raise ValueError(secret)
    everything = b"".join(path.read_bytes() for path in Path(".mlsdk").rglob("*") if path.is_file())

    assert secret.encode() not in everything
    assert any(problem.kind == "secret params.api_key" for problem in mlsdk.get_run(run.id).problems)


@pytest.mark.parametrize("values", [0.5, "loss", [("loss", 0.5)]], ids=repr)
def test_log_of_no_names(values: Any) -> None:
    """What has no names is refused, with the value and with how it is written."""
    with mlsdk.run(capture=()) as run:
        for log in (run.log, mlsdk.log):
            with pytest.raises(UsageError, match=re.escape(repr(values))):
                log(values)

    assert dict(mlsdk.get_run(run.id).metrics) == {}


@pytest.mark.parametrize("words", [{"name": 3}, {"experiment": 3}])
def test_names_are_text(words: Any) -> None:
    """A name and an experiment are text, else nothing is started."""
    with pytest.raises(UsageError, match="must be text, not 3"):
        mlsdk.run(**words)

    assert not Path(".mlsdk").exists()


@pytest.mark.parametrize("params", [[("a", 1)], {1: 2}, {"": 1}, "a"])
def test_params_that_are_none(params: Any) -> None:
    """Params that are no mapping with text keys are refused, at the start too, without a trace."""
    with pytest.raises(UsageError):
        mlsdk.run(params=params)
    with mlsdk.run() as run, pytest.raises(UsageError):
        run.log_params(params)

    assert len(mlsdk.runs()) == 1


def test_tags() -> None:
    """Tags are a mapping or names; None takes one away."""
    with mlsdk.run(tags=["a", "b"]) as run:
        run.set_tags({"a": None, "team": "vision"})
        with pytest.raises(UsageError, match=r"\['c'\]"):
            run.set_tags("c")  # type: ignore[arg-type]

    assert mlsdk.get_run(run.id).tags == {"b": True, "team": "vision"}


# Artifacts and data


def test_artifacts(tmp_path: Path) -> None:
    """A file, a folder and bytes come back as they were, their digests checked."""
    (tmp_path / "model.bin").write_bytes(bytes(range(256)) * 10_000)
    folder = tmp_path / "plots" / "deep"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("A")
    (folder.parent / "b.txt").write_text("")
    with mlsdk.run() as run:
        run.log_artifact(tmp_path / "model.bin")
        run.log_artifact("plots", name="figures")
        run.log_artifact(b"xyz", name="raw")
        for wrong in ("not there", b"no name", 7):
            with pytest.raises(UsageError):
                run.log_artifact(wrong)  # type: ignore[arg-type]
    found = mlsdk.get_run(run.id)

    with found.open("model.bin") as file:
        assert file.read() == bytes(range(256)) * 10_000
    with found.open("figures/deep/a.txt") as file:
        assert file.read() == b"A"
    with found.open("raw") as file:
        assert file.read() == b"xyz"
    assert found.artifacts["figures"].size_bytes == 1
    (blob,) = Path(".mlsdk", "blobs").rglob(found.artifacts["raw"].digest)
    blob.chmod(0o644)
    blob.write_bytes(b"xyy")
    with pytest.raises(DigestError):
        found.open("raw")


def test_data(tmp_path: Path) -> None:
    """A file is known by its bytes, a folder by its path at once; what is in memory by type, shape and fingerprint."""
    (tmp_path / "a.csv").write_text("x")
    with mlsdk.run() as run:
        run.use_data("a.csv")
        run.use_data(tmp_path, name="all")
        run.use_data(np.zeros((3, 4)), name="x")
        run.use_data({"a": 1})
    data = mlsdk.get_run(run.id).datasets

    assert data["a.csv"].digest is not None
    assert data["all"].path == str(tmp_path)
    assert "ndarray" in data["x"].description
    assert data["x"].digest is None
    assert data["x"].rows == 3
    assert data["data"].note is not None
    assert set(data) == {"a.csv", "all", "x", "data"}


# Ends


def test_after_the_end() -> None:
    """A finished run takes nothing more and says how to go on; finishing again changes nothing."""
    run = mlsdk.run()
    run.log(a=1)
    run.finish("failed")
    run.finish("finished")
    run.finish()
    calls: tuple[Callable[[], None], ...] = (
        lambda: run.log(a=2),
        lambda: run.log_params({"a": 1}),
        lambda: run.note("x"),
        lambda: run.log_artifact(b"x", name="x"),
        lambda: run.use_data(1),
    )
    for late in calls:
        with pytest.raises(UsageError, match=r"finished.*resume"):
            late()

    assert mlsdk.get_run(run.id).status == "failed"
    assert points(run, "a") == [(0, 1)]
    with pytest.raises(UsageError, match="'done'"):
        run.finish("done")


def test_problems_are_counted_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written is one warning, a count in `problems`, and nothing that training notices."""
    with mlsdk.run() as run:
        with monkeypatch.context() as broken:

            def put(*_: object, **__: object) -> bool:
                raise OSError(5, "Input/output error")

            broken.setattr(type(run._writer.segment), "put", put)
            with pytest.warns(RuntimeWarning, match="Input/output error") as warned:
                for _ in range(100):
                    run.log(a=1.0)
                run.note("x")
        run.log(a=2.0)

    assert len(warned) == 1
    assert [(problem.kind, problem.count) for problem in run.problems] == [("write-failed", 101)]
    assert [problem.count for problem in mlsdk.get_run(run.id).problems if problem.kind == "write-failed"] == [101]
    assert mlsdk.get_run(run.id).metrics["a"].last == 2.0


def test_warnings_that_are_errors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where warnings are errors, ours is printed instead: it must not end the training."""
    with mlsdk.run() as run, monkeypatch.context() as broken:

        def put(*_: object, **__: object) -> bool:
            raise OSError(5, "Input/output error")

        broken.setattr(type(run._writer.segment), "put", put)
        run.log(a=1.0)

    assert "Input/output error" in capsys.readouterr().err


def test_two_with_blocks() -> None:
    """One run is one `with` block."""
    run = mlsdk.run()
    with run, pytest.raises(UsageError, match="already entered"):
        run.__enter__()

    assert mlsdk.get_run(run.id).status == "finished"


def test_an_unknown_capture_leaves_nothing() -> None:
    """A capture that does not exist is an error at the start, and no run begins."""
    with pytest.raises(UsageError, match="no capture 'gitt'"):
        mlsdk.run(capture="gitt")
    with pytest.raises(UsageError, match="not 7"):
        mlsdk.run(capture=7)  # type: ignore[arg-type]

    assert not list(Path.cwd().rglob("*.log"))


def test_a_wrong_id_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no id cannot be joined."""
    monkeypatch.setenv("MLSDK_RUN", "../../etc")

    with pytest.raises(ConfigError, match="32 hexadecimal"):
        mlsdk.run()


def test_a_store_in_memory() -> None:
    """Runs can be kept in memory."""
    store = "memory:test-run"
    with mlsdk.run(store=store, params={"a": 1}) as run:
        run.log(a=1.0)
        run.log_artifact(b"x", name="y")

    (found,) = mlsdk.runs(store=store)
    assert (found.params, found.metrics["a"].last, found.open("y").read()) == ({"a": 1}, 1.0, b"x")


def test_without_a_working_folder() -> None:
    """A program whose working folder was deleted goes on to record, if it says where to, and else is told to."""
    done = execute(
        """
        import os
        os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
        with mlsdk.run("there", store=STORE) as run:
            run.use_data([{"a": 1}], name="rows")
            run.log(loss=0.5)
        try:
            mlsdk.run("nowhere")
        except mlsdk.ConfigError as error:
            print(error)
        """.replace("STORE", repr(str(Path.cwd() / ".mlsdk"))),
        MLSDK_COMPANION="0",
    )
    run = mlsdk.get_run("latest")

    assert "store=" in done.stdout
    assert (run.status, run.metrics["loss"].last, run.datasets["rows"].rows) == ("finished", 0.5, 1)
