"""Many processes and one run or one store: nothing lost, nothing mixed up, nobody stuck."""

from __future__ import annotations

import importlib.util
import textwrap
import time
from pathlib import Path

import pytest

import mlsdk
from tests import programs


def values(run: mlsdk.Run, metric: str, role: str | None = None) -> list[float]:
    """All points of a metric, in the order in which they were logged."""
    return list(run.history(metric, rank=role).values)


def test_eight_processes_in_one_store() -> None:
    """Eight processes that log 5,000 points each at once lose none and fail in nothing."""
    code = """
    import sys
    sys.stdin.readline()
    with mlsdk.run(params={"pid": __import__("os").getpid()}):
        for value in range(5000): mlsdk.log(a=value)
    """
    processes = [programs.begin(code, name=f"program{number}.py") for number in range(8)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        assert programs.finish(process) == ("", "")
    runs = mlsdk.runs()

    assert len({run.params["pid"] for run in runs}) == 8
    assert all(values(run, "a") == list(range(5000)) for run in runs)
    assert {run.status for run in runs} == {"finished"}


def test_fork_in_the_middle_of_logging() -> None:
    """Fifty forks in the middle of logging threads: no deadlock, and each process keeps its own points."""
    programs.execute(
        """
        import os, signal, threading, time
        signal.alarm(50)
        stop = threading.Event()
        def work(name):
            count = 0
            while not stop.is_set():
                mlsdk.log({name: count}); print("line", count); count += 1
            totals[name] = count
        totals = {}
        with mlsdk.run(name="it") as run:
            threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(3)]
            for thread in threads: thread.start()
            for fork in range(50):
                child = os.fork()
                if not child:
                    signal.alarm(10)
                    mlsdk.log(child=fork)
                    run.log_params({f"p{fork}": fork})
                    print("in child")
                    with mlsdk.run(name=f"own {fork}", capture=()): mlsdk.log(own=fork)
                    mlsdk.log(child=-fork)
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0, fork
            stop.set()
            for thread in threads: thread.join()
            run.log_params(totals)
        """
    )
    run = mlsdk.get_run("it")

    for name in ("t0", "t1", "t2"):
        assert values(run, name) == list(range(int(run.params[name])))  # type: ignore[call-overload]
    assert sorted(values(run, "child", "worker")) == sorted([*range(50), *(-n for n in range(50))])
    assert all(run.params[f"p{fork}"] == fork for fork in range(50))
    assert run.status == "finished"
    assert [owned.metrics["own"].last for owned in mlsdk.runs('name like "own%"', order_by="metrics.own")] == list(
        range(50)
    )
    assert all(owned.parent == run.id for owned in mlsdk.runs('name like "own%"'))


LOADER = """
import multiprocessing, os, queue
def worker(start, index, results):
    for item in range(start, 100, 4):
        mlsdk.log(loaded=item)
        results.put(item)
class Loader:
    '''Hands out items that forked workers prepare, as data loaders do.'''
    def __init__(self, method):
        self.context = multiprocessing.get_context(method)
    def __iter__(self):
        results = self.context.Queue()
        workers = [self.context.Process(target=worker, args=(n, n, results), daemon=True) for n in range(4)]
        for each in workers: each.start()
        for _ in range(100): yield results.get(timeout=50)
        for each in workers: each.join()
if __name__ == "__main__":
    import sys
    with mlsdk.run(name="it"):
        for epoch in range(2):
            for item in Loader(METHOD): mlsdk.log(used=item)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_loader_with_workers(method: str) -> None:
    """Workers of a data loader, forked or spawned, log into the run of their parent while it logs; nothing is lost."""
    programs.execute(LOADER.replace("METHOD", repr(method)))
    run = mlsdk.get_run("it")

    assert len(mlsdk.runs()) == 1
    assert sorted(values(run, "used")) == sorted([*range(100)] * 2)
    assert sorted(values(run, "loaded", "worker")) == sorted([*range(100)] * 2)
    assert run.status == "finished"
    assert programs.eventually(lambda: not list(Path(".mlsdk/open").iterdir()))


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is in no extra: decision 0001")
def test_a_loader_of_torch() -> None:
    """The same with PyTorch's own DataLoader."""
    programs.execute(
        """
        import torch
        from torch.utils.data import DataLoader, Dataset
        class Numbers(Dataset):
            def __len__(self): return 64
            def __getitem__(self, index):
                mlsdk.log(loaded=index)
                return torch.tensor(float(index))
        with mlsdk.run(name="it"):
            for batch in DataLoader(Numbers(), batch_size=4, num_workers=3):
                mlsdk.log(mean=batch.mean())
        """
    )
    run = mlsdk.get_run("it")

    assert run.metrics["mean"].count == 16
    assert sorted(values(run, "loaded", "worker")) == list(range(64))


def test_a_spawned_child_after_the_run() -> None:
    """A process that is spawned when no run is live joins none."""
    done = programs.execute(
        """
        import multiprocessing
        def work():
            try: mlsdk.log(a=1)
            except mlsdk.NoRunError: print("none")
        if __name__ == "__main__":
            with mlsdk.run(): pass
            child = multiprocessing.get_context("spawn").Process(target=work)
            child.start(); child.join()
        """
    )

    assert done.stdout == "none\n"


def test_ranks_of_one_run() -> None:
    """Processes started with one id are one run: rank 0 makes and ends it, the others' points are found by rank."""
    run_id = "0123456789abcdef" * 2
    code = """
    import os
    with mlsdk.run("ranks", params={"lr": 0.1}) as run:
        for value in range(1000): mlsdk.log(loss=value + 10_000 * int(os.environ["RANK"]))
        run.set_tags([f"rank {os.environ['RANK']}"])
    """
    processes = [
        programs.begin(code, name=f"program{rank}.py", MLSDK_RUN=run_id, RANK=str(rank), MLSDK_STORE="store")
        for rank in (3, 2, 1, 0)
    ]
    for process in processes:
        assert programs.finish(process) == ("", "")
    run = mlsdk.runs(store="store")[0]

    assert (run.id, run.status, run.experiment) == (run_id, "finished", "ranks")
    assert values(run, "loss") == list(range(1000))
    for rank in (1, 2, 3):
        assert values(run, "loss", f"rank {rank}") == list(range(10_000 * rank, 10_000 * rank + 1000))
    assert set(run.tags) == {"rank 0", "rank 1", "rank 2", "rank 3"}
    assert len(mlsdk.runs(store="store")) == 1


def test_a_pool_of_tracked_calls() -> None:
    """Tracked calls in a pool of forked processes are runs of their own, with their own output."""
    programs.execute(
        """
        import multiprocessing, os
        @mlsdk.track
        def train(n):
            print("hello from", n)
            for _ in range(100): mlsdk.log(a=n)
            return {"acc": n}
        if __name__ == "__main__":
            with mlsdk.run(name="search"):
                with multiprocessing.get_context("fork").Pool(4) as pool: pool.map(train, range(20))
        """
    )
    runs = mlsdk.runs('name like "train%"')
    raw = {run.id: b"".join(path.read_bytes() for path in Path(".mlsdk/runs", run.id).iterdir()) for run in runs}

    assert sorted(run.metrics["acc"].last for run in runs) == list(range(20))
    assert all(run.metrics["a"].count == 100 and run.metrics["a"].min == run.params["n"] for run in runs)
    assert {run.parent for run in runs} == {mlsdk.get_run("search").id}
    assert all(f"hello from {run.params['n']}\n".encode() in raw[run.id] for run in runs)


def test_an_executor_that_forks_while_threads_log() -> None:
    """Processes forked by an executor from a process whose threads log all end; the run is whole."""
    started = time.monotonic()
    programs.execute(
        textwrap.dedent(
            """
            import multiprocessing, threading
            from concurrent.futures import ProcessPoolExecutor
            def square(n):
                mlsdk.log(square=n * n)
                return n * n
            if __name__ == "__main__":
                stop = threading.Event()
                def work():
                    while not stop.is_set(): mlsdk.log(noise=1)
                with mlsdk.run(name="it"):
                    thread = threading.Thread(target=work); thread.start()
                    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("fork")) as pool:
                        assert list(pool.map(square, range(50))) == [n * n for n in range(50)]
                    stop.set(); thread.join()
            """
        )
    )

    assert sorted(values(mlsdk.get_run("it"), "square", "worker")) == [n * n for n in range(50)]
    assert time.monotonic() - started < 40
