"""`@mlsdk.track` on generators and async generators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator

import pytest

import mlsdk
from mlsdk.errors import NoRunError


def the_run() -> mlsdk.Run:
    """The only run in the store."""
    (run,) = mlsdk.runs()
    return run


def _talk(first: str) -> Generator[str, str, dict[str, int]]:
    heard = yield first
    mlsdk.log(heard=1)
    while heard != "end":
        try:
            heard = yield f"{heard}!"
        except KeyError as error:
            heard = yield f"caught {error}"
    return {"final": 7}


def test_generators() -> None:
    """send, throw and the returned value pass through; the run lasts from the first resumption to the end."""
    talk = mlsdk.track(_talk)("hello")

    assert len(mlsdk.runs()) == 0
    assert next(talk) == "hello"
    with mlsdk.run("outside"):
        mlsdk.log(outside=1)
    assert talk.send("a") == "a!"
    assert talk.throw(KeyError("b")) == "caught 'b'"
    assert talk.send("c") == "c!"
    with pytest.raises(StopIteration) as end:
        talk.send("end")
    assert end.value.value == {"final": 7}
    run = mlsdk.runs('name like "_talk%"')[0]

    assert run.status == "finished"
    assert set(run.metrics) == {"heard", "final"}
    assert run.parent is None


def test_a_generator_that_is_closed() -> None:
    """Closing a generator lets its body clean up inside its run, which is then finished."""

    @mlsdk.track
    def steps() -> Iterator[int]:
        try:
            yield 1
        finally:
            mlsdk.log(cleaned=1)

    generator = steps()
    next(generator)
    generator.close()  # type: ignore[attr-defined]

    assert the_run().status == "finished"
    assert the_run().metrics["cleaned"].last == 1


def test_a_generator_is_current_only_while_it_runs() -> None:
    """Generators that take turns log each into its own run, blocks inside them too; outside neither is current."""

    @mlsdk.track
    def steps(n: int) -> Iterator[None]:
        with mlsdk.run(f"inner {n}"):
            for _ in range(3):
                mlsdk.log(n=n)
                yield

    for _ in zip(steps(1), steps(2), strict=False):
        with pytest.raises(NoRunError, match=r"run\.log"):
            mlsdk.log(lost=1)
    summaries = {run.experiment: run.metrics["n"] for run in mlsdk.runs('experiment like "inner%"')}

    assert {name: (summary.min, summary.max, summary.count) for name, summary in summaries.items()} == {
        "inner 1": (1, 1, 3),
        "inner 2": (2, 2, 3),
    }


def test_async_generators() -> None:
    """Values, asend, athrow and aclose pass through an async generator, whose run ends with it."""

    @mlsdk.track
    async def batches(n: int) -> AsyncIterator[int]:
        try:
            for i in range(n):
                await asyncio.sleep(0)
                mlsdk.log(i=i)
                try:
                    yield i
                except KeyError:
                    mlsdk.log(caught=1)
        finally:
            mlsdk.log(cleaned=1)

    async def main() -> list[int]:
        found = [i async for i in batches(3)]
        again = batches(3)
        await again.__anext__()
        await again.athrow(KeyError())  # type: ignore[attr-defined]
        await again.aclose()  # type: ignore[attr-defined]
        return found

    assert asyncio.run(main()) == [0, 1, 2]
    closed, whole = mlsdk.runs()

    assert [run.status for run in (closed, whole)] == ["finished", "finished"]
    assert whole.metrics["i"].count == 3
    assert set(closed.metrics) == {"i", "caught", "cleaned"}


def test_a_generator_that_fails() -> None:
    """An exception in a generator's body fails its run and reaches who resumes it."""

    @mlsdk.track
    def steps() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(steps())

    assert the_run().status == "failed"
