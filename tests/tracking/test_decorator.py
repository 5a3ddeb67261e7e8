"""`@mlsdk.track` on every kind of callable."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

import mlsdk
from mlsdk.errors import UsageError


def the_run() -> mlsdk.Run:
    """The only run in the store."""
    (run,) = mlsdk.runs()
    return run


def test_a_call_is_a_run() -> None:
    """Arguments with defaults become typed params, logged values metrics, the returned numbers final metrics."""

    @mlsdk.track
    def train(lr: float, epochs: int = 2, *, layers: tuple[int, ...] = (3, 4)) -> dict[str, object]:
        for epoch in range(epochs):
            mlsdk.log(loss=lr / (epoch + 1))
        return {"acc": 0.5, "loss": 0.125, "model": object(), "name": "x"}

    assert train(0.5)["acc"] == 0.5
    run = the_run()

    assert run.status == "finished"
    assert run.name.startswith("train-")
    assert run.params == {"lr": 0.5, "epochs": 2, "layers": (3, 4)}
    assert (run.metrics["acc"].last, run.metrics["acc"].count) == (0.5, 0)
    assert (run.metrics["loss"].last, run.metrics["loss"].count) == (0.125, 2)
    assert "model" not in run.metrics
    assert str(run.code["function"]).endswith("<locals>.train")


def test_what_is_returned_may_be_odd() -> None:
    """Of a returned mapping the numbers are kept, whatever else is in it and however it is keyed."""

    @mlsdk.track
    def train() -> dict[object, object]:
        return {"acc": 0.5, 7: 1, "per class": {0: 0.25, "": 2, "b": "text"}, "": 3}

    train()

    assert {name: summary.last for name, summary in the_run().metrics.items()} == {
        "acc": 0.5,
        "7": 1,
        "per class/0": 0.25,
        "per class/": 2,
    }


class Model:
    """Methods of all kinds, in both orders of decorators."""

    @mlsdk.track
    def fit(self, lr: float = 0.1) -> float:
        return lr

    @mlsdk.track
    @classmethod
    def build(cls, depth: int = 2) -> int:
        return depth

    @classmethod
    @mlsdk.track
    def rebuild(cls, depth: int = 3) -> int:
        return depth

    @mlsdk.track
    @staticmethod
    def load(path: str = "a") -> str:
        return path

    @staticmethod
    @mlsdk.track
    def save(path: str = "b") -> str:
        return path


@pytest.mark.parametrize(
    ("call", "result", "params"),
    [
        (lambda: Model().fit(0.5), 0.5, {"lr": 0.5}),
        (Model.build, 2, {"depth": 2}),
        (lambda: Model().rebuild(depth=4), 4, {"depth": 4}),
        (Model.load, "a", {"path": "a"}),
        (lambda: Model().save("c"), "c", {"path": "c"}),
    ],
)
def test_methods(call: Callable[[], object], result: object, params: dict[str, object]) -> None:
    """Methods, class and static methods work in both orders of decorators; `self` and `cls` are no params."""
    assert call() == result

    assert the_run().params == params


class Scorer:
    """A callable object."""

    weights = "must not move to the wrapper"

    def __init__(self) -> None:
        self.secret = 1

    def __call__(self, x: int) -> int:
        return x + 1


def _add(a: int, b: int = 2) -> int:
    return a + b


@pytest.mark.parametrize(
    ("function", "name", "params"),
    [
        (lambda x: x + 1, "<lambda>", {"x": 1}),
        (functools.partial(_add, b=3), "_add", {"a": 1, "b": 3}),
        (Scorer(), "Scorer", {"x": 1}),
        (abs, "abs", {"x": 1}),
    ],
    ids=["lambda", "partial", "object", "builtin"],
)
def test_other_callables(function: Callable[..., int], name: str, params: dict[str, object]) -> None:
    """Lambdas, partials, callable objects and builtins are tracked under a telling name."""
    tracked = mlsdk.track(function)

    assert tracked(1) == function(1)
    assert the_run().name.startswith(name + "-")
    assert the_run().params == params
    assert not hasattr(tracked, "secret")


def test_wrapped_facts() -> None:
    """Name, docstring, module, signature, kind and the function itself are seen through the decorator."""

    @mlsdk.track
    async def train(lr: float = 0.1) -> None:
        """Train."""

    @mlsdk.track(experiment="x")
    def steps(n: int) -> Iterator[int]:
        yield n

    assert (train.__name__, train.__doc__, train.__module__) == ("train", "Train.", __name__)
    assert str(inspect.signature(train)) == "(lr: 'float' = 0.1) -> 'None'"
    assert inspect.iscoroutinefunction(train)
    assert inspect.isgeneratorfunction(steps)
    assert inspect.unwrap(train) is not train


@pytest.mark.parametrize("arguments", [(), (1, 2, 3)])
def test_wrong_calls_raise_their_own_error(arguments: tuple[int, ...]) -> None:
    """A call that does not fit raises the function's own TypeError and leaves no run."""

    def train(lr: float, /) -> None:
        """Never called."""

    with pytest.raises(TypeError) as plain:
        train(*arguments)
    with pytest.raises(TypeError) as tracked:
        mlsdk.track(train)(*arguments)

    assert str(tracked.value) == str(plain.value)
    assert len(mlsdk.runs()) == 0


def test_wrong_calls_of_the_other_kinds() -> None:
    """A wrong call of an async function or a generator raises TypeError too, and leaves no run."""

    @mlsdk.track
    async def train(lr: float) -> None:
        """Never called."""

    @mlsdk.track
    def steps(n: int) -> Iterator[int]:
        yield n

    @mlsdk.track
    async def batches(n: int) -> AsyncIterator[int]:
        yield n

    async def first() -> int:
        return await batches().__anext__()  # type: ignore[call-arg]

    with pytest.raises(TypeError, match="missing 1 required"):
        asyncio.run(train())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing 1 required"):
        next(steps())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing 1 required"):
        asyncio.run(first())
    assert len(mlsdk.runs()) == 0


def test_data_parameters(tmp_path: Path) -> None:
    """A parameter named as data is a data set known by its bytes, not a param; a wrong name is said at once."""
    (tmp_path / "train.csv").write_bytes(b"a,b\n1,2\n")

    @mlsdk.track(data="data")
    def train(data: Path, more: object = None, lr: float = 0.1) -> None:
        """Nothing to do."""

    train(tmp_path / "train.csv")
    run = the_run()

    assert run.params == {"more": None, "lr": 0.1}
    assert run.datasets["data"].digest == hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    assert run.datasets["data"].size_bytes == 8
    with pytest.raises(UsageError, match="no such parameter"):
        mlsdk.track(data="dta")(train.__wrapped__)  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"'churn'.*experiment="):
        mlsdk.track("churn")  # type: ignore[call-overload]


def test_nested_calls_have_parents() -> None:
    """A tracked call inside another is a run of its own whose parent is the outer one; each gets its own values."""

    @mlsdk.track
    def fold(k: int) -> None:
        mlsdk.log(score=k)

    @mlsdk.track
    def search() -> None:
        mlsdk.log(begun=1)
        for k in range(2):
            fold(k)
        mlsdk.log(ended=1)

    search()
    runs = {run.name.partition("-")[0]: run for run in mlsdk.runs()}

    assert len(mlsdk.runs()) == 3
    assert set(runs["search"].metrics) == {"begun", "ended"}
    assert set(runs["fold"].metrics) == {"score"}
    assert runs["fold"].parent == runs["search"].id
    assert len(runs["search"].children) == 2


def test_exceptions_pass_unchanged() -> None:
    """An exception ends the run as failed, with type, message and traceback, and reaches the caller as it was."""
    error = ValueError("the loss is gone")

    @mlsdk.track
    def train() -> None:
        raise error

    with pytest.raises(ValueError, match="the loss is gone") as raised:
        train()
    run = the_run()

    assert raised.value is error
    assert run.status == "failed"
    assert run.error is not None
    assert (run.error["type"], run.error["message"]) == ("ValueError", "the loss is gone")
    assert "raise error" in str(run.error["traceback"])


class OddError(Exception):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(0), "finished"),
        (SystemExit(None), "finished"),
        (SystemExit(3), "failed"),
        (asyncio.CancelledError(), "interrupted"),
        (GeneratorExit(), "finished"),
        (OddError(), "failed"),
        (ValueError("\udc80"), "failed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_how_a_call_may_end(error: BaseException, status: str) -> None:
    """Ctrl-C and cancelling are interruptions, a clean exit is none; nothing about an exception can hide it."""

    @mlsdk.track
    def train() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        train()

    assert raised.value is error
    assert the_run().status == status


def test_async_functions() -> None:
    """An async function is a run from its start to its end, and cancelling interrupts it."""

    @mlsdk.track
    async def train(n: int) -> dict[str, float]:
        await asyncio.sleep(0)
        mlsdk.log(n=n)
        if n < 0:
            await asyncio.sleep(10)
        return {"acc": 1.0}

    async def main() -> None:
        await train(1)
        task = asyncio.create_task(train(-1))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    ended, cancelled = mlsdk.runs(order_by="-metrics.n")

    assert (ended.status, ended.metrics["acc"].last) == ("finished", 1.0)
    assert cancelled.status == "interrupted"


def test_async_behind_a_partial_and_an_object() -> None:
    """A partial of an async function, and an object whose call is async, end their runs when awaited to the end."""

    async def train(n: int) -> int:
        await asyncio.sleep(0)
        mlsdk.log(n=n)
        return n

    class Trainer:
        async def __call__(self, n: int) -> int:
            return await train(n)

    async def main() -> list[int]:
        return [await mlsdk.track(functools.partial(train, 1))(), await mlsdk.track(Trainer())(2)]

    assert asyncio.run(main()) == [1, 2]
    assert [run.metrics["n"].count for run in mlsdk.runs()] == [1, 1]


def test_the_decorator_takes_what_run_takes() -> None:
    """Experiment, name, tags and store are those of every run of the function."""

    @mlsdk.track(experiment="e", name="n", tags=["a"], store="elsewhere")
    def train() -> None:
        """Nothing to do."""

    train()
    (run,) = mlsdk.runs(store="elsewhere")

    assert (run.experiment, run.name, run.tags) == ("e", "n", {"a": True})
    assert not Path(".mlsdk").exists()


def test_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """While disabled every call works, gives what the function gives, and nothing is written."""
    monkeypatch.setenv("MLSDK_MODE", "disabled")

    @mlsdk.track(data="x")
    def train(x: int) -> dict[str, int]:
        mlsdk.log(loss=1, step=3)
        mlsdk.current_run().log_params({"a": 1})
        return {"acc": x}

    @mlsdk.track
    def steps() -> Iterator[int]:
        mlsdk.log({"a": 1})
        yield 1

    assert train(1) == {"acc": 1}
    assert list(steps()) == [1]
    with mlsdk.run("x", params={"a": 1}) as run:
        run.log({"a": {"b": 1}}, at=0)
        run.set_tags(["a"])
        run.note("b")
        run.log_artifact(b"x", name="y")
        run.use_data([1])
        mlsdk.log(a="not looked at")
    with pytest.raises(ValueError, match="own"), mlsdk.run():
        raise ValueError("own")
    bare = mlsdk.run()
    bare.finish("failed")

    assert (bare.problems, bare.url, bare.path, bare.finished) == ((), "", None, True)
    assert list(Path.cwd().iterdir()) == []
