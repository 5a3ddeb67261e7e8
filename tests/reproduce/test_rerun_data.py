"""The data of reruns: found by what they are, refused where they are something else."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

import mlsdk
from mlsdk.errors import RerunError
from mlsdk.records import Run
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.rerun import rerun_by
from mlsdk.reproduce.world import carrier as carrier_module
from tests.programs import environment
from tests.reproduce.again import start, write
from tests.trees import git

PROGRAM = """
    from pathlib import Path
    import mlsdk

    @mlsdk.track(data="folder")
    def train(people=Path("data/people.csv"), folder="data/parts"):
        Path("cache").mkdir(exist_ok=True)
        mlsdk.current_run().use_data("data/many/*.csv", name="many")
        parts = [part.read_text() for part in sorted(Path(folder).iterdir())]
        seen = int(Path("data/seen.txt").read_text())
        kept = int(Path("kept.txt").read_text())
        many = sum(len(one.read_text()) for one in Path("data/many").glob("*.csv"))
        rows = len(people.read_text().splitlines())
        return {"rows": rows, "parts": len("".join(parts)), "seen": seen, "kept": kept, "many": many}

    train()
"""


@pytest.fixture
def old() -> Run:
    """A run with data of all kinds, most of them ignored by git."""
    git("init", "-q")
    write("data/\n", ".gitignore")
    write(PROGRAM)
    write("name,age\nAda,36\nAlan,41\n", "data/people.csv")
    write("one", "data/parts/1.txt")
    write("two", "data/parts/2.txt")
    write("a\n1\n", "data/many/a.csv")
    write("7", "data/seen.txt")
    write("8", "kept.txt")
    return start("train.py")


def numbers(run: Run) -> dict[str, object]:
    return {name: metric.last for name, metric in run.metrics.items() if not name.startswith("system/")}


def test_data_of_all_kinds_are_brought(old: Run) -> None:
    """Files, folders, patterns and what was only seen to be read are there again; what is in the tree, as it was."""
    write("9", "kept.txt")
    new = mlsdk.rerun(old, env="same")

    assert numbers(new) == numbers(old) == {"rows": 3, "parts": 6, "seen": 7, "kept": 8, "many": 4}
    assert {name: one.fingerprint for name, one in new.datasets.items()} == {
        name: one.fingerprint for name, one in old.datasets.items()
    }
    assert "notes" not in dict(new.code["rerun"])  # type: ignore[call-overload]
    assert not Path("cache/x").exists()

    here = rerun_by(old, Recipe(env="same", code="here", data="here", variables="here"))
    assert numbers(here) == {**numbers(old), "kept": 9}
    restored = rerun_by(old, Recipe(env="same", code="here", files=("kept.txt",), data="here", variables="here"))
    assert numbers(restored) == numbers(old)


def test_changed_data_are_refused(old: Run) -> None:
    """A changed row is told with its column; other bytes of the same content are fine, and said; --here takes them."""
    write("name,age\nAda,36\nAlan,42\n", "data/people.csv")
    with pytest.raises(RerunError, match=r"'people' .* has changed: .*rows: 1 changed; changed columns: age") as error:
        mlsdk.rerun(old, env="same")
    digest, _ = mlsdk.open_store().target().put_blob(b"name,age\nAda,1\n")
    given = rerun_by(
        old, Recipe(env="same", code="here", data="here", contents={str(Path("data/people.csv").resolve()): digest})
    )

    assert error.value.why == "data"
    assert numbers(given)["rows"] == 2
    write('"name","age"\n"Ada",36\n"Alan",41\n', "data/people.csv")
    new = mlsdk.rerun(old, env="same")
    assert numbers(new) == numbers(old)
    assert "other bytes, and the same content" in str(new.code["rerun"])
    with pytest.raises(RerunError, match="'people'"):  # of these bytes there are none anywhere
        rerun_by(old, Recipe(env="same", code="here", data="here", datasets=("people",)))


def test_missing_data_are_named(old: Run) -> None:
    """What is nowhere stops a rerun, by its name or by the program's failure; what a blob holds comes from there."""
    os.rename("data/seen.txt", "data/elsewhere.txt")
    with pytest.raises(RerunError, match=r"the input .*seen\.txt of run .* is missing") as seen:
        mlsdk.rerun(old, env="same")
    os.rename("data/elsewhere.txt", "data/seen.txt")
    data = Path("data/people.csv").read_bytes()
    os.unlink("data/people.csv")
    with pytest.raises(RerunError, match=r"data set 'people' .* is missing: there is nothing at .*sha256") as named:
        mlsdk.rerun(old, env="same")
    mlsdk.open_store().target().put_blob(data)

    assert (seen.value.why, named.value.why) == ("data", "data")
    assert numbers(mlsdk.rerun(old, env="same")) == numbers(old)


APART = """
    import json
    from pathlib import Path
    import ignored, outside.part
    import mlsdk

    PASSWORD = "correct-horse-7"

    with mlsdk.run("apart"):
        mlsdk.log(ignored=ignored.VALUE, outside=outside.part.VALUE, secret=len(PASSWORD))
        mlsdk.log(large=len(Path("large.bin").read_bytes()))
"""


def test_code_that_the_tree_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that git ignores or that lie elsewhere, large files, and those with secrets, are as they were."""
    os.mkdir("project")
    monkeypatch.chdir("project")
    git("init", "-q")
    write("ignored.py\n", ".gitignore")
    write("VALUE = 1", "ignored.py")
    write("", "../lib/outside/__init__.py")
    outside = write("VALUE = 2", "../lib/outside/part.py")
    script = write(APART)
    Path("large.bin").write_bytes(b"x" * 2_000)
    path = os.pathsep.join([str(tmp_path / "lib"), environment()["PYTHONPATH"]])
    old = start("train.py", PYTHONPATH=path, MLSDK_LARGEST_SOURCE_BYTES="1000")
    write("VALUE = 11", "ignored.py")
    outside.write_text("VALUE = 22")
    new = mlsdk.rerun(old, env="same")

    assert numbers(old) == numbers(new) == {"ignored": 1, "outside": 2, "secret": 15, "large": 2000}
    script.write_text(script.read_text().replace("horse", "mouse"))
    with pytest.raises(RerunError, match=r"imported train\.py, which was not kept as it was .*secret") as error:
        mlsdk.rerun(old, env="same")
    assert error.value.why == "code"
    script.write_text(script.read_text().replace("mouse-7", "cow"))
    monkeypatch.setenv("PYTHONPATH", path)
    here = mlsdk.rerun(old, here=True)
    assert numbers(here) == {"ignored": 11, "outside": 22, "secret": 11, "large": 2000}


def test_large_files_are_linked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are copied, large ones and folders of many linked; after much was copied, all are."""
    monkeypatch.setattr(carrier_module, "COPIED_BYTES", 10)
    monkeypatch.setattr(carrier_module, "_MOST_BYTES", 12)
    write("a", "from/small")
    write("b" * 20, "from/large")
    write("c", "from/many/1")
    write("d" * 11, "from/many/2")
    os.makedirs("to/bare/many/empty")
    write("e", "to/full/kept")
    carrier = carrier_module.Carrier(str(Path.cwd()), math.inf)
    for name in ("small", "large"):
        carrier.bring(str(Path("from", name).resolve()), str(Path("to", name).resolve()))
    carrier.bring(str(Path("from/many").resolve()), str(Path("to/bare/many").resolve()))
    carrier.bring(str(Path("from/many").resolve()), str(Path("to/full").resolve()))
    carrier.bring(str(Path("from/s*l").resolve()), str(Path("to/fitting/s*l").resolve()))
    carrier.write("to/small", b"new")

    links = {path: Path("to", path).is_symlink() for path in ("small", "large", "bare/many", "full/1", "full/2")}
    assert links == {"small": False, "large": True, "bare/many": True, "full/1": False, "full/2": True}
    assert [Path("to", path).read_text() for path in ("small", "full/kept", "full/2", "fitting/small")] == [
        "new",
        "e",
        "d" * 11,
        "a",
    ]
    assert Path("from/small").read_text() == "a"


MANY_INPUTS = """
    from pathlib import Path
    import mlsdk

    with mlsdk.run("many"):
        mlsdk.log(sum=sum(int(path.read_text()) for path in Path("data").iterdir()))
"""


@pytest.mark.slow
def test_more_inputs_than_are_named() -> None:
    """Where more was read than the inputs named, what lies beside them is brought as it lies, and that is said."""
    git("init", "-q")
    write("data/\n", ".gitignore")
    write(MANY_INPUTS)
    for number in range(1001):
        write(str(number), f"data/{number}.txt")
    old = start("train.py")
    new = mlsdk.rerun(old, env="same")

    assert len(old.inputs) == 1000
    assert numbers(new) == numbers(old) == {"sum": 500_500}
    assert "more was read than was named" in str(new.code["rerun"])
