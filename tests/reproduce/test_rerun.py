"""Runs made again: the whole program, in a new folder, with what was recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

import mlsdk
from mlsdk.cli import main
from mlsdk.errors import RerunError
from mlsdk.records import RunStatus
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.rerun import rerun_by
from tests.reproduce.again import start, write
from tests.trees import contents, git

LOOP = """
    import sys, threading
    from pathlib import Path
    import mlsdk
    from tools import half

    @mlsdk.track(experiment="loop")
    def train(lr=0.1, data=Path("d.csv"), how=lambda x: x, lock=threading.Lock()):
        print("in", Path.cwd())
        mlsdk.log(loss=half(lr))
        Path("out.txt").write_text("written by the program")
        return {"rows": len(data.read_text().splitlines())}

    for lr in (0.5, 0.25, 0.125):
        train(lr, data=Path(sys.argv[2]))
    Path("after.txt").write_text("not reached by a rerun")
"""


def test_the_program_as_it_was() -> None:
    """A run of a loop is made again from the code of then; earlier runs are not recorded, and nothing here moves."""
    git("init", "-q")
    write(LOOP, "jobs/train.py")
    tools = write("def half(x):\n    return x / 2\n", "jobs/tools.py")
    data = write("a\n1\n2\n", "data/d.csv")
    old = start("train.py", "fast", str(data.resolve()), folder="jobs")
    first, second, third = reversed(list(mlsdk.runs()))
    tools.write_text("def half(x):\n    raise RuntimeError\n")
    before = contents(Path(), without=frozenset((b".mlsdk",)))
    new = mlsdk.rerun(second, params={"lr": 2.0}, name="again")

    assert (first.params["lr"], third.id) == (0.5, old.id)
    assert (second.code["ordinal"], "ordinal" in first.code) == (1, False)
    assert (new.status, new.parent, new.name, new.experiment) == (RunStatus.FINISHED, second.id, "again", "loop")
    assert (new.params["lr"], new.metrics["loss"].last, new.metrics["rows"].last) == (2.0, 1.0, 3)
    assert new.code["rerun"]["of"] == second.id  # type: ignore[index]
    assert new.code["rerun"]["params"] == {"lr": 2.0}  # type: ignore[index]
    assert new.code["tree"]["identity"] == second.code["tree"]["identity"]  # type: ignore[index]
    assert [run.id for run in mlsdk.runs()] == [new.id, third.id, second.id, first.id]
    assert contents(Path(), without=frozenset((b".mlsdk",))) == before
    assert not Path(str(new.code["folder"])).exists()

    again = mlsdk.rerun(new, env="same")
    assert (again.metrics["loss"].last, again.parent) == (0.0625 * 2, new.id)


MANY = """
    import argparse, asyncio, os
    import mlsdk

    @mlsdk.track
    async def waits(lr=0.1):
        await asyncio.sleep(0)
        return {"lr": lr}

    @mlsdk.track
    def yields(lr=0.1):
        for step in range(3):
            mlsdk.log(loss=lr * step)
            yield step

    @mlsdk.track
    def fails(*, lr=0.1):
        mlsdk.log(lr=lr)
        raise ValueError("on purpose")

    class Model:
        @mlsdk.track
        def fit(self, *sizes, **more):
            return {"sum": sum(sizes) + more["bias"]}

    asyncio.run(waits())
    assert list(yields()) == [0, 1, 2]
    Model().fit(1, 2, bias=3)
    fails()
"""


def test_functions_of_all_kinds() -> None:
    """Coroutines, generators, methods and functions that raise are made again, with other arguments."""
    write(MANY)
    start("train.py")
    waits, yields, fits, fails = reversed(list(mlsdk.runs()))

    assert mlsdk.rerun(waits, params={"lr": 0.5}, env="same").metrics["lr"].last == 0.5
    assert mlsdk.rerun(yields, params={"lr": 2.0}, env="same").metrics["loss"].last == 4.0
    assert mlsdk.rerun(fits, params={"sizes": (4, 5), "bias": 0}, env="same").metrics["sum"].last == 9
    new = mlsdk.rerun(fails, params={"lr": 0.5}, env="same")
    assert (new.status, new.metrics["lr"].last, dict(new.error or {})["message"]) == (
        RunStatus.FAILED,
        0.5,
        "on purpose",
    )
    with pytest.raises(RerunError, match=r"__main__:waits\(\) has no parameter 'l_r'; did you mean 'lr'\?") as error:
        mlsdk.rerun(waits, params={"l_r": 0.5}, env="same")
    assert error.value.why == "arguments"


OPTIONS = """
    import argparse
    import mlsdk

    parser = argparse.ArgumentParser()
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--fast", action="store_true")
    args = parser.parse_args()
    with mlsdk.run(params={**vars(args), "fixed": 1}):
        with mlsdk.run("inner", name="inside"):
            mlsdk.log(x=1)
        mlsdk.log(loss=args.learning_rate * args.depth)
"""


def test_a_module_with_options() -> None:
    """`-m package` is started so again; params that options gave are replaced there, or added; others cannot be."""
    write("", "pkg/__init__.py")
    write(OPTIONS, "pkg/__main__.py")
    start("-m", "pkg", "--learning-rate", "0.5")
    inside, old = mlsdk.runs(order_by="name")[0], mlsdk.runs(where="name != 'inside'")[0]
    new = mlsdk.rerun(old, params={"learning_rate": 0.25, "depth": 4, "fast": True}, env="same")

    assert (inside.name, inside.parent, old.code["entry"]) == ("inside", old.id, "-m pkg")
    assert new.code["argv"][1:] == ["--learning-rate", "0.25", "--depth=4", "--fast"]  # type: ignore[index]
    assert (new.params["learning_rate"], new.params["fast"], new.metrics["loss"].last) == (0.25, True, 1.0)
    assert [mlsdk.get_run(child).name for child in new.children] == ["inside"]
    with pytest.raises(RerunError, match="which the program sets to 1 by itself"):
        mlsdk.rerun(old, params={"fixed": 2}, env="same")
    nested = mlsdk.rerun(inside, env="same")
    assert (nested.parent, nested.metrics["x"].last) == (inside.id, 1)


def test_a_program_without_a_file() -> None:
    """What was given to `-c`, or was read from a file as standard input, is run from what was kept of it."""
    code = (
        "import sys, mlsdk\nwith mlsdk.run('c', params={'lr': float(sys.argv[1])}):\n    mlsdk.log(n=len(sys.argv))\n"
    )
    options = ("-b", "-X", "utf8", "-W", "error::FutureWarning")
    given = start(*options, "-c", code, "0.5", TZ="Asia/Tokyo", OMP_NUM_THREADS="3", LANG="C")
    read = start("-", "0.25", source=write(code, "kept.txt"))
    write("raise RuntimeError", "kept.txt")
    piped = start("-", "0.25", given=code)
    new, again = mlsdk.rerun(given, params={"lr": 0.125}, env="same"), mlsdk.rerun(read, env="same")
    told, known = (dict(one.environment["variables"]) for one in (given, new))  # type: ignore[call-overload]

    assert (new.code["entry"], new.params["lr"], new.metrics["n"].last) == ("-c", 0.125, 2)
    assert new.environment["flags"] == given.environment["flags"]
    assert {name for name in {*told, *known} if told.get(name) != known.get(name)} <= {
        *("MLSDK_STORE", "MLSDK_EXIT_WAIT_S", "MLSDK_SHIP_WAIT_S"),
    }
    assert all(new.code[name] == given.code[name] for name in ("timezone", "umask", "locale"))
    assert (again.code["entry"], again.params["lr"], again.metrics["n"].last) == ("-", 0.25, 2)
    with pytest.raises(RerunError, match="put the program into a file") as error:
        mlsdk.rerun(piped)
    assert error.value.why == "entry"


@pytest.mark.slow
def test_a_run_on_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of a remote store is made again from what that has, and the new one is there when the call returns."""
    write("import mlsdk\n\n@mlsdk.track\ndef train(lr=0.5):\n    return {'loss': lr}\n\ntrain()\n")
    from tests.servers.http import running

    with running(f"file:{tmp_path / 'served'}") as server:
        settings = {"STORE": f"{server.url}/default", "TOKEN": server.token, "OUTBOX": str(tmp_path / "outbox")}
        told = {f"MLSDK_{name}": value for name, value in settings.items()}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        old = start("train.py", **told)
        new = mlsdk.rerun(old, params={"lr": 0.25}, env="same")

        assert (new.metrics["loss"].last, new.parent) == (0.25, old.id)
        assert mlsdk.get_run(new.id, store=server.url + "/default").code["rerun"]["of"] == old.id  # type: ignore[index]
        assert ("tree" in new.code, new.problems) == (True, ())
        assert main(["sync", "--json"]) == 0


STILL = """
    import datetime, os, random, time
    import mlsdk

    with mlsdk.run("still"):
        mlsdk.log(time=time.time(), now=datetime.datetime.now().timestamp(), year=datetime.date.today().year)
        mlsdk.log(order=sum(10**place * int(name) for place, name in enumerate(os.listdir("f"))))
        mlsdk.log(first=int([entry.name for entry in os.scandir("f")][0]), chance=random.random())
        assert isinstance(datetime.datetime(2020, 1, 2) - datetime.timedelta(1), datetime.datetime)
        assert time.strftime("%Y", time.gmtime()) == str(datetime.datetime.now(datetime.timezone.utc).year)
"""


def test_clocks_listings_and_chance_held_still() -> None:
    """On demand the clocks of the program stand, folders are listed in an order, and generators are seeded."""
    write(STILL)
    for name in "123":
        write("", f"f/{name}")
    old = start("train.py")
    recipe = Recipe(env="same", clock_s=1e9 + 0.25, listings={"f": ("2", "3", "1")}, seed=7)
    a, b = rerun_by(old, recipe), rerun_by(old, recipe)

    seen = {name: metric.last for name, metric in a.metrics.items() if not name.startswith("system/")}
    assert seen == {name: b.metrics[name].last for name in seen}
    assert (seen["time"], seen["now"], seen["year"]) == (1e9 + 0.25, 1e9 + 0.25, 2001)
    assert (seen["order"], seen["first"]) == (132, 2)
    assert a.started_at.year > 2001
    assert old.metrics["chance"].last != seen["chance"]
