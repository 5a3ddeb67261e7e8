"""Which run is meant: by threads, tasks, nesting, and where there is none."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import mlsdk
from mlsdk.errors import NoRunError


def last(metric: str) -> dict[str, object]:
    """By run's name the last value of a metric."""
    return {run.name: run.metrics[metric].last for run in mlsdk.runs() if metric in run.metrics}


def test_no_run() -> None:
    """Without a run, logging says how to start one."""
    with pytest.raises(NoRunError, match=r"with mlsdk\.run"):
        mlsdk.log(a=1)
    with pytest.raises(NoRunError):
        mlsdk.current_run()


def test_the_only_run_is_meant_in_every_thread() -> None:
    """A thread that knows of no run logs to the process's only live one."""
    run = mlsdk.run(name="only")
    thread = threading.Thread(target=lambda: mlsdk.log(a=1))
    thread.start()
    thread.join()
    run.finish()

    assert last("a") == {"only": 1}


def test_several_runs_must_be_named() -> None:
    """With several live runs, a thread that belongs to none is told to say which."""
    with mlsdk.run(name="a") as a, mlsdk.run(name="b") as b, ThreadPoolExecutor(1) as pool:
        with pytest.raises(NoRunError, match=r"2 runs are live \(a, b\).*run\.log"):
            pool.submit(mlsdk.log, x=1).result()
        pool.submit(a.log, x=1).result()
        pool.submit(contextvars.copy_context().run, lambda: mlsdk.log(x=2)).result()

    assert last("x") == {"a": 1, "b": 2}
    assert b.finished


def test_nesting() -> None:
    """The innermost run is meant; when it has ended, the outer one is again."""
    with mlsdk.run(name="outer") as outer:
        mlsdk.log(a=1)
        with mlsdk.run(name="inner"):
            mlsdk.log(a=2)
        mlsdk.log(a=3)
        assert mlsdk.current_run() is outer
    inner = mlsdk.get_run("inner")

    assert last("a") == {"outer": 3, "inner": 2}
    assert inner.parent == outer.id


def test_values_of_an_ended_run_go_to_no_other() -> None:
    """Code whose run has ended is told so: its values are not mixed into another run that is live."""
    with mlsdk.run(name="outer"):
        with mlsdk.run(name="inner") as inner:
            inner.finish()
            with pytest.raises(NoRunError, match=r"inner .* is finished"):
                mlsdk.log(a=1)
        mlsdk.log(a=2)

    assert last("a") == {"outer": 2}


def test_bare_runs_follow_each_other() -> None:
    """A run started without `with` is current until the next one, which ends it."""
    first = mlsdk.run(name="first")
    mlsdk.log(a=1)
    second = mlsdk.run(name="second")
    mlsdk.log(a=2)
    second.finish()

    assert first.finished
    assert last("a") == {"first": 1, "second": 2}
    assert {run.status for run in mlsdk.runs()} == {"finished"}
    assert mlsdk.get_run("second").parent is None


def test_a_bare_run_that_is_entered_is_the_blocks() -> None:
    """A run that was entered is ended by its block, not by the next bare run, wherever that is started."""
    run = mlsdk.run(name="entered")
    elsewhere = contextvars.copy_context()
    with run:
        elsewhere.run(mlsdk.run, name="other").finish()
        mlsdk.log(a=1)

    assert last("a") == {"entered": 1}


def test_a_bare_run_after_one_that_was_finished_inside_its_block() -> None:
    """After an explicit end inside a block, a bare run is the current one."""
    with mlsdk.run(name="a") as a:
        a.finish()
        b = mlsdk.run(name="b")
        mlsdk.log(x=1)
        b.finish()

    assert last("x") == {"b": 1}


def test_bare_runs_of_threads() -> None:
    """Bare runs in threads do not end each other, and each thread's log goes to its own."""
    gate = threading.Barrier(8)

    def work(number: int) -> bool:
        run = mlsdk.run(name=f"run {number}")
        gate.wait()
        for _ in range(100):
            mlsdk.log(a=number)
        gate.wait()
        ended = run.finished
        run.finish()
        return ended

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [False] * 8

    assert last("a") == {f"run {number}": number for number in range(8)}
    assert {run.metrics["a"].count for run in mlsdk.runs()} == {100}


def test_a_hundred_tasks() -> None:
    """A hundred tasks at once, each with a run: none of their values are mixed up."""

    @mlsdk.track
    async def train(number: int) -> None:
        for _ in range(20):
            mlsdk.log(a=number)
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(train(number) for number in range(100)))

    asyncio.run(main())
    runs = mlsdk.runs()

    assert len(runs) == 100
    assert all(
        (run.metrics["a"].min, run.metrics["a"].max, run.metrics["a"].count) == (n, n, 20)
        for run in runs
        for n in [run.params["number"]]
    )


def test_tasks_and_threads_inside_a_run() -> None:
    """What is started inside a run belongs to it: tasks, and threads by `asyncio.to_thread`."""

    async def main() -> None:
        with mlsdk.run(name="other"), mlsdk.run(name="mine"):
            await asyncio.gather(*(asyncio.to_thread(mlsdk.log, a=number) for number in range(10)))

    asyncio.run(main())

    assert mlsdk.get_run("mine").metrics["a"].count == 10


def test_leaving_in_another_context() -> None:
    """A block that is left in another context than it was entered in still ends its run."""
    run = mlsdk.run(name="moved")
    contextvars.copy_context().run(run.__enter__)
    contextvars.copy_context().run(run.__exit__, None, None, None)

    assert mlsdk.get_run("moved").status == "finished"


def test_many_threads_one_run() -> None:
    """16 threads that log 500 points each into one run lose none, and no step is given twice."""

    def work(number: int) -> None:
        for value in range(500):
            run.log({f"own/{number}": value, "shared": value} if value % 2 else {"shared": value})

    with mlsdk.run() as run, ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    found = mlsdk.get_run(run.id)

    assert sorted(found.history("shared").steps) == list(range(8_000))
    assert all(list(found.history(f"own/{n}").values) == list(range(1, 500, 2)) for n in range(16))


def test_joining_by_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 makes the run, the others join it; their points are kept apart and only rank 0 ends it."""
    monkeypatch.setenv("MLSDK_RUN", "0123456789abcdef" * 2)
    for rank in (1, 0):
        monkeypatch.setenv("RANK", str(rank))
        with mlsdk.run(params={"lr": 0.1}) as run:
            run.log(loss=rank)
            with mlsdk.run(name=f"nested {rank}") as nested:
                mlsdk.log(inner=rank)
            assert nested.id != run.id
    found = mlsdk.get_run("0123456789abcdef" * 2)

    assert found.status == "finished"
    assert found.metrics["loss"].last == 0
    assert found.history("loss", rank=1).values[0] == 1
    assert len(mlsdk.runs()) == 3
    assert len(found.children) == 2


def test_word_for_children_is_taken_back() -> None:
    """What a spawned process would join is the newest live run, and nothing when none is live."""
    with mlsdk.run() as outer:
        with mlsdk.run() as inner:
            assert os.environ["MLSDK_INHERITED_RUN"].startswith(inner.id)
        assert os.environ["MLSDK_INHERITED_RUN"].startswith(outer.id)

    assert not os.environ["MLSDK_INHERITED_RUN"]
