"""`mlsdk.status`: content counts and bytes do not; what is reached counts and what is not does not; lineage; scale."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

import mlsdk
from mlsdk.compare.difference import Difference
from mlsdk.reproduce.now.told import line
from mlsdk.reproduce.staleness import Status
from tests.conftest import require
from tests.stale import copy_of, make_project, replace, start

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one run."""
    require(shutil.which("git"), "git")
    return make_project(tmp_path_factory.mktemp("base") / "project")


@pytest.fixture
def project(base: Path, tmp_path: Path) -> Path:
    """The project elsewhere, to be changed."""
    return copy_of(base, tmp_path / "elsewhere")


def judged(project: Path, runs: str | None = None) -> mlsdk.Staleness:
    """The staleness of the one run, with the project where it lies now."""
    (found,) = mlsdk.status(runs, folder=project, store=project / ".mlsdk")
    return found


def _touch(project: Path) -> None:
    for path in project.rglob("*.csv"):
        os.utime(path, (1_000_000_000, 1_000_000_000))


def _copy(project: Path) -> None:
    path = project / "data" / "train.csv"
    shutil.copy(path, project / "other.csv")
    path.unlink()
    (project / "other.csv").rename(path)


def _write_again(project: Path) -> None:
    """Other quotes and line ends, the same rows, of the declared table and of the one that was only seen."""
    for name in ("train.csv", "more.csv"):
        path = project / "data" / name
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
        with path.open("w", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)


def _make_package(project: Path) -> None:
    (project / "helpers").mkdir()
    (project / "helpers.py").rename(project / "helpers" / "__init__.py")


def _format_code(project: Path) -> None:
    replace(
        project / "helpers.py",
        "    # twice\n    return math.fsum([x, x])",
        "    return math.fsum(\n        [x, x],\n    )",
    )
    replace(project / "train.py", '"""Fit."""', '"""Fit it well."""  # really')


@pytest.mark.parametrize(
    "change",
    [
        lambda project: None,
        _touch,
        _copy,
        _write_again,
        _format_code,
        lambda project: (project / "config.json").write_text('{\r\n  "weight":2\r\n}\r\n'),
        lambda project: replace(project / "helpers.py", "    return x\n", "    return -x\n"),
        lambda project: (project / "notes.txt").write_text("not read by anybody"),
        lambda project: (project / "new.py").write_text("def scale(x): return 0\n"),
        _make_package,
    ],
    ids=[
        "nothing",
        "touched",
        "copied",
        "written again",
        "formatted",
        "json",
        "unreachable",
        "note",
        "new module",
        "package",
    ],
)
def test_what_does_not_make_a_model_stale(project: Path, change: Change) -> None:
    """Touching, copying and formatting data or code changes nothing, nor does what the run could not reach."""
    change(project)
    found = judged(project)

    assert (found.state, found.differences, found.unknown) == ("up to date", (), ())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda project: replace(project / "data" / "train.csv", "\n17,3,b\n", "\n17,4,b\n"),
            "data.data: 1 row changed; changed column: y",
        ),
        (
            lambda project: replace(project / "data" / "train.csv", "\n17,3,b\n", "\n17,3,b\n1,1,a\n2,2,b\n3,3,a\n"),
            "data.data: 1,203 rows instead of 1,200 (3 added)",
        ),
        (
            lambda project: replace(project / "data" / "train.csv", "\n17,3,b\n18,4,a\n", "\n18,4,a\n17,3,b\n"),
            "data.data: the same rows in another order",
        ),
        (
            lambda project: replace(project / "data" / "more.csv", "3,4\n", "3,4\n5,6\n"),
            "data/more.csv: 3 rows instead of 2 (1 added)",
        ),
        (lambda project: replace(project / "config.json", "2", "3"), "config.json: other bytes"),
        (lambda project: replace(project / "helpers.py", "[x, x]", "[x, x, x]"), "train > fit: scale() changed"),
        (lambda project: replace(project / "train.py", "SHIFT = 3", "SHIFT = 4"), "train > fit: SHIFT changed"),
        (
            lambda project: replace(project / "train.py", "lr: float = 0.1", "lr: float = 0.2"),
            "train() changed",
        ),
    ],
    ids=["cell", "rows", "order", "seen", "config", "helper", "constant", "default"],
)
def test_what_makes_a_model_stale(project: Path, change: Change, expected: str) -> None:
    """One thing that counts was changed: exactly that is told, in one readable line."""
    change(project)
    found = judged(project)

    assert found.lines == (expected,)
    assert (found.state, found.unknown) == ("stale", ())


def test_what_is_gone_is_not_known(project: Path) -> None:
    """Data that are missing do not make a run stale: it is said that it cannot be known, and where they should lie."""
    (project / "data" / "train.csv").unlink()
    found = judged(project)

    assert (found.state, found.differences) == ("unknown", ())
    assert found.unknown == (f"data.data: {project}/data/train.csv is missing",)


def test_what_is_no_file_any_more(project: Path) -> None:
    """Where a pipe lies, which may have no end, nothing is waited for: of data and code there it is said."""
    for name in ("config.json", "data/train.csv", "helpers.py"):
        (project / name).unlink()
        os.mkfifo(project / name)
    found = judged(project)

    assert found.lines == ("config.json: it is no file any more",)
    assert any(why.startswith("data.data: ") and "is no regular file" in why for why in found.unknown)
    assert any("helpers.py could not be read: it is no regular file" in why for why in found.unknown)


def test_code_that_cannot_be_parsed(project: Path) -> None:
    """Of a module with an error of syntax, or nested too deeply, nothing is claimed, nor of what was reached by it."""
    replace(project / "helpers.py", "import math", "import math import")
    unread = judged(project)
    replace(project / "train.py", "* lr + SHIFT", "* lr - SHIFT")
    both = judged(project)
    (project / "helpers.py").write_text(f"def scale(x):\n    return {'x + ' * 700} x\n")
    deep = judged(project)

    assert (unread.state, unread.lines) == ("unknown", ())
    assert "helpers.py cannot be parsed: SyntaxError" in unread.unknown[0]
    assert (both.lines, len(both.unknown)) == (("train: fit() changed",), 1)
    assert (deep.lines, len(deep.unknown)) == (("train: fit() changed",), 1)
    assert "helpers.py is nested too deeply" in deep.unknown[0]


def test_code_that_is_not_here(project: Path) -> None:
    """Where the project does not lie, nothing is claimed of its code; another folder is found by the one we are in."""
    there = mlsdk.status(folder=project / "nowhere", store=project / ".mlsdk")[0]

    assert there.state == "unknown"
    assert any("its code is not here" in why and "train.py" in why for why in there.unknown)


def test_the_project_of_the_working_folder(project: Path, base: Path, tmp_path: Path, monkeypatch) -> None:
    """A project that lies elsewhere now is the repository of the working folder, if that has its files."""
    base.rename(base.with_name("moved"))
    try:
        monkeypatch.chdir(project / "data")
        inside = mlsdk.status(store=project / ".mlsdk")[0]
        monkeypatch.chdir(tmp_path)
        outside = mlsdk.status(store=project / ".mlsdk")[0]
    finally:
        base.with_name("moved").rename(base)

    assert inside.state == "up to date"
    assert outside.state == "unknown"


def test_a_configuration_that_nobody_read(project: Path) -> None:
    """A configuration that the run was not seen to read makes nothing stale, and its change is told apart."""
    (project / "unread.yaml").write_text("depth: 4\n")
    (project / "config.json").write_text('{"weight": 3}\n')
    found = judged(project)

    assert found.lines == ("config.json: other bytes",)
    assert [line(one) for one in found.others] == ["unread.yaml has changed, and nobody is known to have read it"]


def test_packages_and_interpreter(project: Path) -> None:
    """Another version of what was imported, or of Python, makes stale; what was not imported is told apart."""
    from mlsdk.store import open_store

    (run,) = mlsdk.runs(store=project / ".mlsdk")
    environment = {
        **run.environment,
        "python": "3.9.1",
        "prefix": "/gone",
        "packages": {"attrs": "1.0", "none-such": "1"},
    }
    environment["distributions"] = {"attrs": "1.0", "pytest": "2.0", "mlsdk": "0.0.1"}
    from mlsdk.reproduce.now.environment import EnvironmentNow
    from mlsdk.reproduce.world.held import Held

    found = EnvironmentNow(Held(open_store(project / ".mlsdk").blobs)).look(attrs.evolve(run, environment=environment))

    assert [(one.kind, one.what, one.a) for one in found.found.differences] == [
        ("package", "attrs", "1.0"),
        ("interpreter", "python", "3.9.1"),
    ]
    assert [one.what for one in found.others] == ["mlsdk", "pytest"]
    assert found.found.unknown == (f"package none-such 1 is not installed in {sys.prefix}",)


def test_nothing_recorded_is_nothing_known() -> None:
    """Of a run without captures nothing is claimed, and it is said what was not recorded."""
    with mlsdk.run("a", capture=()):
        pass
    (found,) = mlsdk.status()

    assert found.state == "unknown"
    assert [why.partition(" were not")[0].partition(" was not")[0] for why in found.unknown] == [
        "its functions",
        "its packages",
        "its interpreter",
    ]


def test_a_state_and_its_exit_code() -> None:
    """Stale is 1, not known 2, and a run that was made again counts for nothing."""
    with mlsdk.run("a", capture=()) as active:
        pass
    run = mlsdk.get_run(active.id)
    fresh, unknown = mlsdk.Staleness(run), mlsdk.Staleness(run, unknown=("?",))
    stale = mlsdk.Staleness(run, (Difference("package", "numpy", "1", "2"),), ("?",))
    replaced = attrs.evolve(stale, replaced_by=run)

    assert [Status(some).exit_code for some in ([], [fresh, replaced], [fresh, unknown], [unknown, stale])] == [
        0,
        0,
        2,
        1,
    ]
    assert [one.state for one in (fresh, unknown, stale, replaced)] == ["up to date", "unknown", "stale", "replaced"]
    assert str(stale) == f"{run.name}: stale\n  numpy 2 instead of 1\n  not known: ?"


PACKAGE = {
    "shop/__init__.py": "",
    "shop/late.py": "def late(x):\n    return x + 1\n",
    "shop/net.py": """
class Net:
    width = 3

    def forward(self, x):
        return x * self.width

    def never(self, x):
        return -x
""",
    "shop/train.py": """
import mlsdk
from shop.net import Net

with mlsdk.run("shop", name="shop"):
    from shop.late import late

    mlsdk.log(loss=late(Net().forward(2)))
""",
}


def test_a_package(tmp_path: Path) -> None:
    """A program of a package is walked too: classes, modules that are imported late; unused methods do not count."""
    folder = tmp_path / "shop-project"
    for name, text in PACKAGE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    start(folder, "-m", "shop.train")

    def lines() -> tuple[str, ...]:
        return mlsdk.status(store=folder / ".mlsdk")[0].lines

    before = lines()
    replace(folder / "shop" / "net.py", "return -x", "return x")
    unused = lines()
    replace(folder / "shop" / "net.py", "width = 3", "width = 4")
    replace(folder / "shop" / "late.py", "x + 1", "x + 2")

    assert (before, unused) == ((), ())
    assert lines() == ("shop.late: late() changed", "shop.net: Net changed")


# in the whole


def test_nothing_is_executed_or_written(project: Path) -> None:
    """Looking imports nothing of the project and leaves it as it is."""
    replace(project / "helpers.py", "import math", "import math\nraise SystemExit('executed')")
    asked = ["git", "status", "--porcelain"]
    before = subprocess.run(asked, cwd=project, capture_output=True, text=True, check=True).stdout
    listed = sorted(path for path in project.rglob("*") if ".mlsdk" not in path.parts)
    found = judged(project)
    after = subprocess.run(asked, cwd=project, capture_output=True, text=True, check=True).stdout

    assert found.is_stale
    assert (sorted(path for path in project.rglob("*") if ".mlsdk" not in path.parts), after) == (listed, before)


MANY = """
import mlsdk
from pathlib import Path

@mlsdk.track(experiment="sweep")
def train(data: Path, lr: float):
    return {"loss": lr}

for number in range(8):
    train(Path("data.csv"), lr=number)
"""


def test_what_runs_share_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of one project cost one walk through its code, one look at each path, and one reading of each long fact."""
    from mlsdk.reproduce.now import code as code_now
    from mlsdk.reproduce.now import data as data_now
    from mlsdk.reproduce.world import held

    folder = tmp_path / "many"
    folder.mkdir()
    (folder / "data.csv").write_text("x\n1\n")
    (folder / "many.py").write_text(MANY)
    start(folder, "many.py")
    (folder / "data.csv").write_text("x\n2\n")
    replace(folder / "many.py", '{"loss": lr}', '{"loss": -lr}')
    calls: list[str] = []

    def counted(module: object, name: str) -> None:
        inner = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, **named: (calls.append(name), inner(*given, **named))[1])

    counted(code_now, "walked")
    counted(code_now, "function_differences")
    counted(data_now, "note_of")
    counted(data_now, "fingerprint_path")
    counted(held.Held, "_read")
    found = mlsdk.status("experiment = 'sweep'", store=folder / ".mlsdk")

    assert [one.lines for one in found] == [("train() changed", "data.data: 1 row changed; changed column: x")] * 8
    assert {name: calls.count(name) for name in set(calls) - {"_read"}} == dict.fromkeys(
        ("walked", "function_differences", "note_of", "fingerprint_path"), 1
    )
    assert calls.count("_read") <= 10


def test_as_plain_values(project: Path) -> None:
    """What a program reads is strict JSON, with the line that a person reads."""
    replace(project / "config.json", "2", "3")
    told = json.loads(json.dumps(judged(project).to_dict(), allow_nan=False))

    assert told["state"] == "stale"
    assert [(one["kind"], one["what"], one["line"]) for one in told["causes"]] == [
        ("file", "config.json", "config.json: other bytes")
    ]
