"""`ls`, `show`, `best`, `tail`: what they say about runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace

import pytest

import mlsdk
from mlsdk.cli import tail as tailing
from mlsdk.cli.draw import chart, spark
from mlsdk.store import open_store


def _clock(sleep: Callable[[float], None]) -> SimpleNamespace:
    """The module `time` with another `sleep`, for the command alone: a run that ends meanwhile sleeps as ever."""
    return SimpleNamespace(**{**vars(time), "sleep": sleep})


def test_ls_shows_what_tells_runs_apart(call, runs):
    """`ls` lists the newest first with the params that differ and the metrics, and no param that all share."""
    _, out, _ = call("ls")
    head, _, *rows = out.splitlines()

    assert head.split()[:-2] == ["run", "name", "status", "took", "ago", "lr", "model.depth"]
    assert set(head.split()[-2:]) == {"acc", "loss"}
    assert [row.split()[1] for row in rows] == ["broken", "run-1", "run-0"]
    assert rows[0].split()[2] == "failed"


def test_ls_keeps_to_the_width(call, monkeypatch):
    """A table is never wider than the terminal, and what is left out is said."""
    params = {f"a-long-name-of-a-param-{i}": i for i in range(20)}
    for i in range(2):
        with mlsdk.run("wide", params={name: value + i for name, value in params.items()}) as run:
            run.log({f"metric-{k}": 1.0 for k in range(20)})
    _, out, _ = call("ls")

    assert max(map(len, out.splitlines())) <= 100
    assert "more columns, --columns chooses" in out
    assert "metric-0" in out
    assert "a-long-name-of-a-param-0" in out


def test_ls_filters_sorts_and_limits(ask, call, runs):
    """Filter, experiment, order, limit and columns do what they say; the number of all is told."""
    few = call("ls", "-n", "1")[1]

    assert [run["name"] for run in ask("ls", "metrics.acc > 0.5", "--sort", "-params.lr")] == ["run-1", "run-0"]
    assert [run["name"] for run in ask("ls", "--sort", "params.lr", "-n", "2")] == ["run-0", "run-1"]
    assert ask("ls", "--experiment", "none") == []
    assert "1 of 3 runs" in few
    assert ask("ls", "name = 'run-0'", "--columns", "params.model.depth,metrics.loss.min") == [
        {"id": runs[0], "params.model.depth": 3, "metrics.loss.min": 1 / 40}
    ]
    assert "no runs fit" in call("ls", "params.lr > 100")[1]


def test_show_says_everything(call, tmp_path):
    """`show` has params with their changes, metrics drawn, tags, note, data, artifacts, machine, the error."""
    (tmp_path / "data.csv").write_text("a,b\n1,2\n", "utf-8")

    def body(run: mlsdk.ActiveRun) -> None:
        run.log_params({"lr": 0.2})
        run.use_data(tmp_path / "data.csv")
        run.log_artifact(b"12345", name="weights")
        run.set_tags(["checked"])
        run.note("look here")
        for step in range(50):
            run.log(loss=math.sin(step / 5))
        with mlsdk.run("all", name="inner"):
            pass
        raise RuntimeError("out of luck")

    run = mlsdk.run("all", name="one", params={"lr": 0.1, "size_bytes": 5_000_000})
    with pytest.raises(RuntimeError), run:
        body(run)
    _, out, _ = call("show", "one")

    for said in (
        *(
            "one  failed",
            run.id,
            "--all",
            "lr was 0.1 until",
            "5000000 (5.0 MB)",
            "checked",
            "look here",
            "data.csv",
            "weights",
        ),
        *("5 B", "python", "cores", "RuntimeError: out of luck", "raise RuntimeError", "1 run inside", "⠀", "█"),
    ):
        assert said in out, said


def test_show_of_very_many_metrics(call):
    """A thousand metrics do not flood the terminal; how many are left out is said."""
    with mlsdk.run("many") as run:
        for _ in range(2):
            run.log({f"m{i}": 1.0 for i in range(1_000)})
    _, out, _ = call("show")

    assert len(out.splitlines()) < 300
    assert "and 800 more metrics" in out


def test_show_of_all_captures(call, ask, monkeypatch):
    """A run is shown on a page; --all has what captures found, long lists on a line each, and --json all of it."""
    monkeypatch.delenv("MLSDK_CAPTURE")
    with mlsdk.run("whole") as run:
        run.log({"loss": 0.5, "system/process/cpu": 0.5})
    _, brief, _ = call("show")
    _, out, _ = call("show", "--all")
    found = ask("show")

    assert len(brief.splitlines()) < 50
    assert "1 sampled" in brief
    assert "packages" in brief
    assert "system/process/cpu" in out
    assert len(out.splitlines()) < 150
    for said in (
        "tree.digest",
        "functions",
        "distributions",
        "packages",
        "lock.format",
        "variable_hashes",
        "usable_cores",
    ):
        assert said in out, said
    assert len(found["environment"]["distributions"]) > 20


def test_show_output(call, ask):
    """`show --output` prints what the run wrote, in order; the JSON says to which stream."""
    with mlsdk.run("talk", name="talker") as run:
        run.output(1, "one\n")
        run.output(2, "two\n")

    assert call("show", "talker", "--output")[1] == "one\ntwo\n"
    assert [piece["stream"] for piece in ask("show", "talker", "--output")] == ["stdout", "stderr"]


def test_best(ask, call, runs):
    """`best` finds the highest or the lowest, among those that fit."""
    assert ask("best", "acc")["id"] == runs[1]
    assert ask("best", "loss", "--min")["id"] == runs[1]
    assert ask("best", "acc", "params.lr < 0.15")["id"] == runs[0]
    assert ask("best", "metrics.acc.min", "--min")["id"] == runs[0]
    assert "run-1" in call("best", "acc")[1]


def test_tail_of_an_ended_run(call, runs):
    """`tail` of a run that is over says its last values and how it ended, and comes back."""
    code, out, _ = call("tail", "run-1")

    assert code == 0
    assert "step 39" in out
    assert "finished after" in out
    assert "ValueError: boom" in call("tail", "broken")[1]


def test_tail_follows_a_live_run(call, monkeypatch):
    """`tail` reads on while the run grows, tells rates, prints its output, and ends with it."""
    run = mlsdk.run("live", name="alive")
    looks = iter(range(3))

    def meanwhile(_: float) -> None:
        if next(looks) < 2:
            run.log(loss=0.5, other=1)
            run.output(1, "an epoch\n")
        else:
            run.finish()

    monkeypatch.setattr(tailing, "time", _clock(meanwhile))
    code, out, _ = call("tail", "--output")

    assert code == 0
    assert "no points yet" in out
    assert out.count("an epoch") == 2
    assert "steps/s" in out
    assert "points/s" in out
    assert out.splitlines()[-1].startswith("finished after")


def test_tail_once_and_ctrl_c(call, monkeypatch):
    """`--once` is one look; Ctrl-C ends quietly and says that the run goes on."""
    with mlsdk.run("live", name="alive") as run:
        run.log(loss=0.5)
        once = call("tail", "--once")[1]

        def stop(_: float) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(tailing, "time", _clock(stop))
        code, out, err = call("tail")

    assert len(once.splitlines()) == 2
    assert (code, err) == (0, "")
    assert "goes on" in out.splitlines()[-1]


def test_follower_reads_nothing_twice(runs):
    """A second look at logs that have not grown adds no point."""
    follower = tailing.Follower(open_store(), runs[0], [])
    follower.look()
    before = follower.points
    follower.look()

    assert before == follower.points == 80
    assert follower.points_per_s == 0


def test_spark():
    """A spark line goes from the lowest to the highest block, with blanks where nothing is finite."""
    assert spark([0, 1], 10) == "▁█"
    assert spark(list(range(100)), 8) == "▁▂▃▄▅▆▇█"
    assert spark([1, math.nan, 3], 3) == "▁ █"
    assert spark([math.nan, math.inf], 4) == spark([], 4) == ""
    assert len(spark([5.0] * 7, 3)) == 3
    assert spark([-1.7e308, 1.7e308], 2) == "▁█"


@pytest.mark.parametrize("count", [1, 2, 5, 79, 80, 81, 1000])
def test_chart(count):
    """A chart has its size whatever the number of points, and its scale is that of the values."""
    drawn = chart([math.sin(i / 9) if i % 7 else math.nan for i in range(1, count + 1)], 40, 4)

    assert drawn is not None
    assert [len(line) for line in drawn.lines] == [40] * 4
    assert -1 <= drawn.low <= drawn.high <= 1
    assert any(set(line) != {"\u2800"} for line in drawn.lines)
    assert chart([math.nan], 10, 2) is None


def test_charts_of_arrays_are_those_of_lists():
    """numpy's columns are drawn as lists are."""
    np = import_module("numpy")
    values = [math.nan if i % 5 == 0 else i * i % 17 for i in range(300)]

    assert spark(np.array(values), 20) == spark(values, 20)
    assert chart(np.array(values), 20, 3) == chart(values, 20, 3)
    assert spark(np.arange(5), 5) == spark(range(5), 5)
