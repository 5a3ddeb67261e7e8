"""Which functions a run can reach, and whether their code is the code that was loaded."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

import mlsdk
from mlsdk.capture import Context
from mlsdk.capture.code.source import capture as capture_source
from mlsdk.capture.code.source import compiler
from mlsdk.capture.functions import parsed, program
from mlsdk.capture.functions.reachable import capture, changed
from tests.conftest import ROOT, require
from tests.programs import execute
from tests.projects import make_project
from tests.trees import git

FILES = {
    "main.py": """
        import sys
        from functools import partial
        import helpers as h
        from pkg import clean, Model
        from pkg.consts import *
        from pkg import tools as t

        def train(lr=0.1):
            'Docstring.'
            rows = clean([1, 2, lr])
            model = Model(rate=RATE)
            model.fit(rows)
            step = partial(h.scale, factor=2)
            return h.total(step(rows)) + t.TABLE["square"](3) + late(lr)

        def late(x):
            from pkg import lazy
            return lazy.compute(x)

        def unreached(x):
            return h.never(x)

        if __name__ == "__main__":
            train()
            unreached(1)
    """,
    "helpers.py": """
        from pkg.deco import logged
        LIMIT = 10
        UNREAD = 11
        A, B = 1, 2

        @logged
        def total(rows, start=0):
            def inner(x):
                return x + LIMIT
            return sum(map(inner, rows), start)

        def scale(rows, factor=1):
            return [row * factor + A for row in rows]

        def never(x):
            return x
    """,
    "pkg/__init__.py": """
        from .cleaning import clean
        from .models import Model
    """,
    "pkg/consts.py": """
        RATE = 0.5
        UNUSED = 1
    """,
    "pkg/cleaning.py": """
        import math
        def clean(rows):
            return [row for row in rows if keep(row)]
        keep = lambda row: math.isfinite(row)
        def other(rows):
            return clean(rows)
    """,
    "pkg/deco.py": """
        import functools
        NAME = "log"
        def logged(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                return function(*args, **kwargs)
            return wrapper
    """,
    "pkg/models.py": """
        from dataclasses import dataclass, field
        from .base import Base
        from .opts import default_layers

        @dataclass
        class Model(Base):
            rate: float = 0.1
            layers: list = field(default_factory=default_layers)
            KIND = "linear"

            def fit(self, rows):
                self.before()
                return self.size

            @property
            def size(self):
                return len(self.layers)

            def unused(self):
                return 1

            def __len__(self):
                return 5
    """,
    "pkg/base.py": """
        class Base:
            def before(self):
                return "before"
            def after(self):
                return "after"
    """,
    "pkg/opts.py": """
        def default_layers():
            return [1, 2]
    """,
    "pkg/tools.py": """
        import random
        TABLE = {"square": lambda x: x * x}
        TABLE["cube"] = cube = lambda x: x ** 3
        def register(name):
            return name
        TABLE.update(fourth=register("fourth"))
        random.seed(0)
        if len(TABLE) > 1:
            LARGE = True
    """,
    "pkg/lazy.py": """
        def compute(x):
            return x - 1
    """,
}
REACHED = set(
    """
    helpers:A helpers:LIMIT helpers:scale helpers:total main:late main:train pkg.base:Base pkg.base:Base.before
    pkg.cleaning:clean pkg.cleaning:keep pkg.consts:RATE pkg.deco:logged pkg.lazy:compute pkg.models:Model
    pkg.models:Model.__len__ pkg.models:Model.fit pkg.models:Model.size pkg.opts:default_layers pkg.tools:<module>
    pkg.tools:TABLE pkg.tools:cube pkg.tools:register
    """.split()
)


def dedent(text: str) -> str:
    return "\n".join(line[8:] for line in text.splitlines())


def write(folder: Path, files: dict[str, str]) -> dict[str, str]:
    """Write a project; its modules by name."""
    modules = {}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), "utf-8")
        if name != "pkg/lazy.py":  # not imported yet when the run starts
            modules[name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")] = str(path)
    return modules


def facts_of(modules: dict[str, str], root: str = "main:train", **more: object) -> dict[str, object]:
    return {"modules": modules, "main": {}, "roots": [root], "compiled_by": compiler(), **more}


def look(folder: Path, facts: dict[str, object], store: Path | None = None) -> dict[str, object]:
    blobs: dict[str, bytes] = {}

    def put_blob(data: bytes | str) -> tuple[str, int]:
        assert isinstance(data, bytes)
        blobs["0"] = data
        return "0" * 64, len(data)

    root = None if store is None else str(store)
    if store is not None:
        (store / "open").mkdir(parents=True, exist_ok=True)
    found = capture(Context(str(folder), facts={"code": facts}, root=root, put_blob=put_blob))
    assert found is not None
    return {**found, "blob": blobs.get("0")}


def table_of(folder: Path, files: dict[str, str] = FILES, root: str = "main:train") -> dict[str, str]:
    table = look(folder, facts_of(write(folder, files), root))["functions"]
    assert isinstance(table, dict)
    return table


# What is reached, and what a change names


def test_what_is_reached(tmp_path: Path) -> None:
    """Everything that the function can reach stands in the table, and nothing else."""
    assert set(table_of(tmp_path)) == REACHED


@pytest.mark.parametrize(
    ("file", "old", "new", "names"),
    [
        ("main.py", "late(lr)", "late(lr + 1)", ["main:train"]),
        ("main.py", "lr=0.1", "lr=0.2", ["main:train"]),
        ("helpers.py", "x + LIMIT", "x - LIMIT", ["helpers:total"]),
        ("helpers.py", "LIMIT = 10", "LIMIT = 11", ["helpers:LIMIT"]),
        ("helpers.py", "A, B = 1, 2", "A, B = 3, 2", ["helpers:A"]),
        ("helpers.py", "start=0", "start=1", ["helpers:total"]),
        ("helpers.py", "factor=1", "factor=3", ["helpers:scale"]),
        ("pkg/cleaning.py", "if keep(row)", "if not keep(row)", ["pkg.cleaning:clean"]),
        ("pkg/cleaning.py", "isfinite", "isnan", ["pkg.cleaning:keep"]),
        ("pkg/cleaning.py", "import math", "import cmath as math", ["pkg.cleaning:keep"]),
        ("pkg/consts.py", "RATE = 0.5", "RATE = 0.25", ["pkg.consts:RATE"]),
        ("pkg/deco.py", "return function(*args", "return 2 * function(*args", ["pkg.deco:logged"]),
        ("pkg/models.py", "rate: float = 0.1", "rate: float = 0.2", ["pkg.models:Model"]),
        ("pkg/models.py", 'KIND = "linear"', 'KIND = "tree"', ["pkg.models:Model"]),
        ("pkg/models.py", "@dataclass", "@dataclass(order=True)", ["pkg.models:Model"]),
        ("pkg/models.py", "return self.size", "return -self.size", ["pkg.models:Model.fit"]),
        ("pkg/models.py", "len(self.layers)", "len(self.layers) + 1", ["pkg.models:Model.size"]),
        ("pkg/models.py", "return 5", "return 6", ["pkg.models:Model.__len__"]),
        ("pkg/base.py", '"before"', '"earlier"', ["pkg.base:Base.before"]),
        ("pkg/opts.py", "[1, 2]", "[1, 3]", ["pkg.opts:default_layers"]),
        ("pkg/tools.py", "x * x", "x * x * x", ["pkg.tools:TABLE"]),
        ("pkg/tools.py", "return name", "return name * 2", ["pkg.tools:register"]),
        ("pkg/tools.py", "random.seed(0)", "random.seed(1)", ["pkg.tools:<module>"]),
        ("pkg/lazy.py", "x - 1", "x - 2", ["pkg.lazy:compute"]),
    ],
)
def test_a_change_names_exactly_what_changed(tmp_path: Path, file: str, old: str, new: str, names: list[str]) -> None:
    """A changed body, constant, default, decorator, field, method or import names that piece alone."""
    before = table_of(tmp_path)
    assert FILES[file].count(old) == 1
    after = table_of(tmp_path, {**FILES, file: FILES[file].replace(old, new)})

    assert changed(before, after) == (names, [], [])


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("main.py", "'Docstring.'", "'Another.'"),
        ("main.py", "'Docstring.'", "# a comment"),
        ("main.py", "h.never(x)", "h.never(x + 1)"),
        ("main.py", "unreached(1)", "unreached(2)"),
        ("main.py", "import sys\n", "\n"),
        ("helpers.py", "UNREAD = 11", "UNREAD = 12"),
        ("helpers.py", "A, B = 1, 2", "A, B = 1, 3"),
        ("helpers.py", "return x\n", "return -x\n"),
        ("helpers.py", "x + LIMIT", "(x\n            + # why\n            LIMIT)"),
        ("pkg/__init__.py", ".cleaning", "pkg.cleaning"),
        ("pkg/cleaning.py", "return clean(rows)", "return rows"),
        ("pkg/consts.py", "UNUSED = 1", "UNUSED = 2"),
        ("pkg/deco.py", '"log"', '"logs"'),
        ("pkg/models.py", "return 1\n", "return 2\n"),
        ("pkg/base.py", '"after"', '"later"'),
        ("pkg/tools.py", "LARGE = True", "LARGE = False"),
        ("pkg/tools.py", '{"square"', "{'square'"),
    ],
)
def test_form_and_the_unreached_name_nothing(tmp_path: Path, file: str, old: str, new: str) -> None:
    """Comments, docstrings, formatting and what cannot be reached change no hash that is in the table."""
    assert old in FILES[file]
    before = table_of(tmp_path)
    after = table_of(tmp_path, {**FILES, file: FILES[file].replace(old, new)})

    assert changed(before, after) == ([], [], [])


def test_what_is_no_longer_called_leaves(tmp_path: Path) -> None:
    """A function that is called no more is removed, one that is called now is added."""
    before = table_of(tmp_path)
    after = table_of(tmp_path, {**FILES, "main.py": FILES["main.py"].replace("h.total(", "h.never(")})

    assert changed(before, after) == (
        ["main:train"],
        ["helpers:never"],
        ["helpers:LIMIT", "helpers:total", "pkg.deco:logged"],
    )


def test_a_librarys_base_may_call_every_method(tmp_path: Path) -> None:
    """Of a class with a base outside the project all methods count; of one without, those that are named."""
    files = {
        "main.py": """
        import threading
        class Base(threading.Thread):
            pass
        class Worker(Base):
            def run(self):
                return 1
        class Plain:
            def run_alone(self):
                return 1
            def by_text(self):
                return 2
        def train():
            Worker().start()
            return getattr(Plain(), "by_text")()
        """
    }

    assert set(table_of(tmp_path, files)) == {
        "main:Base",
        "main:Worker",
        "main:Worker.run",
        "main:Plain",
        "main:Plain.by_text",
        "main:train",
    }


def test_calls_at_the_top_are_no_part_of_what_they_call(tmp_path: Path) -> None:
    """A script's call of a class's method is not the class's; of a table's method, it is the table's."""
    files = {
        "main.py": """
        TABLE = {}
        TABLE.update(a=1)
        class Model:
            @staticmethod
            def train(): return TABLE
            @staticmethod
            def report(): return 1
        Model.report(2)
        """
    }
    before = table_of(tmp_path, files, "main:Model.train")
    after = table_of(tmp_path, {"main.py": files["main.py"].replace("(2)", "(3)")}, "main:Model.train")
    other = table_of(tmp_path, {"main.py": files["main.py"].replace("a=1", "a=2")}, "main:Model.train")

    assert "main:Model" in before
    assert changed(before, after) == (["main:<module>"], [], [])
    assert changed(before, other) == (["main:TABLE"], [], [])


def test_texts_that_name_functions(tmp_path: Path) -> None:
    """A text that is the whole name of a function or class of the project reaches it; a file's name does not."""
    files = {
        "main.py": """
        CALLS = {"one": "tools:one", "two": "tools.Two.run", "file": "other.csv", "none": "other:nothing"}
        def train():
            return CALLS
        """,
        "tools.py": """
        def one(): return 1
        class Two:
            def run(self): return 2
        def three(): return 3
        """,
        "other.py": """
        print("imported")
        """,
    }
    names = ["main:CALLS", "main:train", "tools:Two", "tools:Two.run", "tools:one"]

    assert sorted(table_of(tmp_path, files)) == names


def test_import_that_may_fail(tmp_path: Path) -> None:
    """A name that is imported, or defined where the import fails, means both."""
    files = {
        "main.py": """
        try:
            from fast import solve
        except ImportError:
            def solve(x):
                return x
        def train():
            return solve(1)
        """,
        "fast.py": """
        def solve(x):
            return x + 0
        """,
    }

    assert set(table_of(tmp_path, files)) == {"main:train", "main:solve", "fast:solve"}


def test_scopes_are_minded(tmp_path: Path) -> None:
    """A parameter, a local variable and a comprehension's hide a global; a type alone reaches its class."""
    files = {
        "main.py": """
        from __future__ import annotations
        def a(): return 1
        def b(): return 2
        def c(): return 3
        def d(): return 4
        class Config:
            lr = 1
        def train(a, config: "Config | None" = None):
            b = [c for c in a]
            def inner():
                return b, c()
            return inner, (lambda d: d)
        """
    }

    assert set(table_of(tmp_path, files)) == {"main:train", "main:c", "main:Config"}


def test_packages_without_a_file(tmp_path: Path) -> None:
    """Modules of a package without `__init__.py` are found, loaded or not."""
    files = {
        "main.py": """
        import space.deep.one
        def train():
            from space.deep import two
            return space.deep.one.f(), two.g()
        """,
        "space/deep/one.py": """
        def f(): return 1
        """,
        "space/deep/two.py": """
        def g(): return 2
        """,
    }
    modules = write(tmp_path, files)
    del modules["space.deep.two"]
    found = look(tmp_path, facts_of(modules))["functions"]

    assert set(found) == {"main:train", "space.deep.one:f", "space.deep.two:g"}


def test_imports_in_circles_end(tmp_path: Path) -> None:
    """Modules that import each other, and names that come from nowhere, are no trouble."""
    files = {
        "main.py": """
        from other import train, nothing
        from . import more
        """,
        "other.py": """
        from main import train as again, nothing, lost
        import main
        def train():
            return again(), nothing, lost, main.missing.deeper, main.again
        """,
    }

    assert set(table_of(tmp_path, files)) == {"other:train"}


# Disk against memory


def _import(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> object:
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    return importlib.import_module(name)


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A program that is really imported: (module, its helper module)."""
    (tmp_path / "live_helper.py").write_text(
        dedent("""
        import dataclasses
        import enum
        import typing
        LIMIT = 3
        def scale(x, factor=2):
            'Doc.'
            return [x * factor * LIMIT for _ in range(2)]
        @dataclasses.dataclass
        class Model:
            rate: float = 0.1
            def fit(self):
                return (lambda y: y + 1)(scale(1))
        class Kind(enum.Enum):
            ONE = 1
            def text(self):
                return str(self)
        class Pair(typing.NamedTuple):
            a: int
            def both(self):
                return self.a
        def other(x):
            return -x
        """),
        "utf-8",
    )
    (tmp_path / "live_main.py").write_text(
        dedent("""
        import live_helper
        from live_helper import scale
        def train(lr=0.1):
            return live_helper.Model().fit(), scale(lr), live_helper.Kind.ONE.text(), live_helper.Pair(1).both()
        """),
        "utf-8",
    )
    main = _import("live_main", monkeypatch, tmp_path)
    yield main, sys.modules["live_helper"]
    for name in ("live_main", "live_helper"):
        del sys.modules[name]


def differing(main, folder: Path) -> tuple[object, object]:
    facts = capture_source(Context(str(folder), main.train))
    found = look(folder, dict(facts))
    return found["differs"], found["exact"]


def test_loaded_code_is_the_code_on_disk(live, tmp_path: Path) -> None:
    """Nothing differs where nothing was changed; the table and the code in memory have the same functions."""
    main, _ = live
    facts = capture_source(Context(str(tmp_path), main.train))
    table = look(tmp_path, dict(facts))["functions"]

    assert differing(main, tmp_path) == ([], True)
    assert {name for name in facts["loaded"] if name in table} == {
        "live_main:train",
        "live_helper:scale",
        "live_helper:Model.fit",
        "live_helper:Kind.text",
        "live_helper:Pair.both",
    }


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("factor=2", "factor=3", []),  # a default is no code of the function: the module's constants are
        ("x * factor", "x + factor", ["live_helper:scale"]),
        ("y + 1", "y + 2", ["live_helper:Model.fit", "live_helper:Model.fit.<locals>.<lambda>"]),
        ("'Doc.'", "'Another.'", []),
        ("return -x", "return x", []),
    ],
)
def test_file_edited_after_import(live, tmp_path: Path, old: str, new: str, names: list[str]) -> None:
    """Reachable functions whose file says something else by now are named; docstrings and others are not."""
    main, helper = live
    path = Path(helper.__file__)
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")

    found, exact = differing(main, tmp_path)

    assert set(found) <= set(names)
    assert bool(found) == bool(names)
    assert exact is (not names)


def test_edited_file_is_never_exact(live, tmp_path: Path) -> None:
    """A file changed since the process started takes exactness away: its constants may be older."""
    main, helper = live
    os.utime(helper.__file__, (time.time() + 60, time.time() + 60))
    facts = capture_source(Context(str(tmp_path), main.train))
    found = capture(Context(str(tmp_path), facts={"code": facts}, pid=os.getpid()))

    assert found is not None
    assert not found["exact"]
    assert "changed on disk" in found["functions_missing"]["live_helper"]


def test_reloaded_module(live, tmp_path: Path) -> None:
    """After an edit and a reload, the name that still means the old function is named, and it alone."""
    main, helper = live
    path = Path(helper.__file__)
    path.write_text(path.read_text("utf-8").replace("x * factor", "x / factor"), "utf-8")
    importlib.reload(helper)

    assert differing(main, tmp_path)[0] == ["live_helper:scale"]


@pytest.mark.parametrize("how", ["function", "method", "object", "code"])
def test_monkey_patch(live, tmp_path: Path, how: str) -> None:
    """A function, a method or an object put in another's place is named."""
    main, helper = live
    if how == "function":
        helper.scale = main.scale = helper.other
    elif how == "method":
        helper.Model.fit = helper.other
    elif how == "object":
        helper.scale = main.scale = 5
    else:
        helper.scale.__code__ = (lambda x, factor=1: x).__code__
    found, exact = differing(main, tmp_path)

    assert found == ["live_helper:Model.fit" if how == "method" else "live_helper:scale"]
    assert not exact


def test_function_without_source(live, tmp_path: Path) -> None:
    """A function that no source defines is named."""
    main, _ = live
    exec("def train(): return scale(2)", main.__dict__)

    assert differing(main, tmp_path) == (["live_main:train"], False)


def test_another_compiler_is_said_not_compared(tmp_path: Path) -> None:
    """Code of another Python is not compared, and exactness not claimed."""
    facts = facts_of(write(tmp_path, FILES), compiled_by="cpython-37.opt-0", loaded={"main:train": "00"})
    found = look(tmp_path, facts)

    assert (found["differs"], found["exact"]) == ([], False)
    assert "cpython-37" in found["functions_missing"]["differs"]


# What cannot be read


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    """A module that is gone, is no Python or has no source is said to be missing; the others are there."""
    modules = write(tmp_path, FILES)
    (tmp_path / "helpers.py").write_bytes(b"def total(:\n")
    (tmp_path / "pkg/opts.py").unlink()
    modules["native"] = str(tmp_path / "native.so")
    found = look(tmp_path, facts_of(modules))

    assert "pkg.cleaning:clean" in found["functions"]
    assert set(found["functions_missing"]) == {"helpers", "pkg.opts", "native"}
    assert not found["exact"]


def test_nothing_is_executed(tmp_path: Path) -> None:
    """The look at the sources runs none of them."""
    table = table_of(tmp_path, {"main.py": "        open('ran', 'w').close()\n        def train(): return 1\n"})

    assert set(table) == {"main:train"} | {"main:<module>"}
    assert not Path("ran").exists()


def test_without_the_callers_facts(tmp_path: Path) -> None:
    """Where the caller did not look, there is nothing to look at beside."""
    assert capture(Context(str(tmp_path))) is None


# What is kept


def test_what_is_not_reached_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of modules that nothing is reached in the file's digest is known, though it is no Python; mlsdk is not read."""
    (tmp_path / "main.py").write_text("import mlsdk\ndef train():\n    mlsdk.log(a=1)\n", "utf-8")
    (tmp_path / "loaded.py").write_text("def broken(:\n", "utf-8")
    monkeypatch.syspath_prepend(str(ROOT))
    modules = {name: str(tmp_path / f"{name}.py") for name in ("main", "loaded")}
    found = look(tmp_path, facts_of({**modules, "tests.conftest": str(ROOT / "tests" / "conftest.py")}))

    assert set(found["functions"]) == {"main:train"}
    assert found["sources"]["loaded"] == hashlib.sha256(b"def broken(:\n").hexdigest()
    assert set(found["sources"]) == {"main", "loaded", "tests.conftest"}
    assert found["exact"]


def test_result_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look parses nothing, also in another process; a changed file or a new module is seen."""
    monkeypatch.setattr(parsed, "_RACY_NS", -1)
    modules = write(tmp_path, FILES)
    first = look(tmp_path, facts_of(modules), tmp_path / "store")["functions"]
    with monkeypatch.context() as patch:
        patch.setattr(parsed, "parsed", None)
        program._results.clear()
        parsed._sources.clear()
        again = look(tmp_path, facts_of(modules), tmp_path / "store")["functions"]
    (tmp_path / "helpers.py").write_text(dedent(FILES["helpers.py"].replace("10", "12")), "utf-8")
    after = look(tmp_path, facts_of(modules), tmp_path / "store")["functions"]

    assert again == first
    assert changed(first, after) == (["helpers:LIMIT"], [], [])


def test_fresh_files_are_not_trusted(tmp_path: Path) -> None:
    """A file that changes twice within the clock's grain is read again: nothing young is kept."""
    look(tmp_path, facts_of(write(tmp_path, FILES)), tmp_path / "store")

    assert not list((tmp_path / "store").rglob("*.module"))


def test_damaged_cache_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies in the cache, the table is right."""
    monkeypatch.setattr(parsed, "_RACY_NS", -1)
    facts = facts_of(write(tmp_path, FILES))
    first = look(tmp_path, facts, tmp_path / "store")["functions"]
    for number, path in enumerate(sorted((tmp_path / "store").rglob("cache/functions/*"))):
        path.write_bytes([b"", b"[1, 2]", b"{}", b"\xff"][number % 4])
    program._results.clear()
    parsed._sources.clear()

    assert look(tmp_path, facts, tmp_path / "store")["functions"] == first


def test_sources_outside_the_repository_are_kept(tmp_path: Path) -> None:
    """The source of a module that lies elsewhere, or is ignored by git, is put away, without its secrets."""
    require(shutil.which("git"), "git")
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    modules = write(here, FILES)
    git("init", "-q", folder=here)
    (here / ".gitignore").write_text("base.py\nlazy.py\n", "utf-8")
    elsewhere.mkdir()
    (elsewhere / "tool.py").write_text('password = "hunter2horse"\nÄ = 1\n', "utf-8")
    modules["tool"] = str(elsewhere / "tool.py")
    found = look(here / "pkg", facts_of(modules), tmp_path / "store")

    kept = json.loads(found["blob"])
    assert set(kept) == {"tool", "pkg.base", "pkg.lazy"}
    assert kept["tool"] == 'password = "[redacted]"\nÄ = 1\n'
    assert found["sources_kept"].digest == "0" * 64


def test_hash_does_not_tell_a_secret(tmp_path: Path) -> None:
    """A constant that is a secret has the hash of what is kept of it."""
    source = "        KEY = 1\n        api_key = 'SECRET'\n        def train(): return api_key\n"
    one, two = (table_of(tmp_path, {"main.py": source.replace("SECRET", text)}) for text in ("hunter2a", "hunter3b"))

    assert one == two
    assert set(one) == {"main:api_key", "main:train"}


def test_cells_of_a_notebook(tmp_path: Path) -> None:
    """Of the cells of a notebook, the last to bind a name counts; constants and functions are told apart."""
    cells = ["K = 1", "def f():\n    return K", "def f():\n    return K + 1", "def train():\n    return f()", "train()"]
    facts = {**facts_of({}, "__main__:train"), "main": {"how": "notebook"}}
    before = look(tmp_path, {**facts, "cells": cells})["functions"]
    same = look(tmp_path, {**facts, "cells": [cells[0], *cells[2:]]})["functions"]
    after = look(tmp_path, {**facts, "cells": ["K = 2", *cells[1:]]})["functions"]

    assert set(before) == {"__main__:K", "__main__:f", "__main__:train"}
    assert before == same
    assert changed(before, after) == (["__main__:K"], [], [])


# A run


PROGRAM = """
from tool import helper
@mlsdk.track
def train():
    return {"acc": helper(1)}
train()
"""
ALONE = {"MLSDK_COMPANION": "0", "MLSDK_CAPTURE": "process, source, functions"}
"""Settings of programs of which nothing else is asked."""


def test_two_runs_tell_what_changed(tmp_path: Path) -> None:
    """Between two real runs of a script, the tables name the one function that was changed."""
    tool = tmp_path / "tool.py"
    tool.write_text("LIMIT = 1\ndef helper(x):\n    return x + LIMIT\n", "utf-8")
    execute(PROGRAM, **ALONE)
    before = mlsdk.get_run("latest").code
    tool.write_text("# moved\nLIMIT = 1\ndef helper(x):\n    return x - LIMIT\n", "utf-8")
    execute(PROGRAM, **ALONE)
    after = mlsdk.get_run("latest").code

    assert set(before["functions"]) == {"__main__:train", "tool:helper", "tool:LIMIT"}
    assert changed(before["functions"], after["functions"]) == (["tool:helper"], [], [])
    assert (after["differs"], after["exact"]) == ([], True)


def test_run_says_what_was_patched(tmp_path: Path) -> None:
    """A run whose function was patched in memory says so."""
    (tmp_path / "tool.py").write_text("def helper(x):\n    return x\n", "utf-8")
    execute(
        PROGRAM.replace(
            "@mlsdk", "def other(x): return 2 * x\nhelper = other\nimport tool\ntool.helper = other\n@mlsdk"
        ),
        **ALONE,
    )
    code = mlsdk.get_run("latest").code

    assert code["exact"] is True  # the script itself says that `helper` is another
    execute(PROGRAM.replace("train()\n", "def other(x): return 2 * x\nexec('helper = other')\ntrain()\n"), **ALONE)
    code = mlsdk.get_run("latest").code

    assert "__main__:other" in code["functions"]
    assert (code["differs"], code["exact"]) == (["__main__:helper"], False)


def test_a_lambda_among_arguments(tmp_path: Path) -> None:
    """A lambda that is handed over is told from another, and what it calls is reached; comments are nothing."""
    execute(
        """
        def helper(x):
            return x
        @mlsdk.track
        def train(call):
            return {"acc": call(1)}
        train(lambda x: helper(x) + 1)
        train(lambda x: helper(x) + 1)  # more
        train(lambda x: helper(x) + 2)
        """,
        **ALONE,
    )
    one, same, other = (run.code["functions"] for run in mlsdk.runs(order_by="started_at"))

    assert set(one) == {"__main__:train", "__main__:helper", "__main__:<lambda>"}
    assert changed(one, same) == ([], [], [])
    assert changed(one, other) == (["__main__:<lambda>"], [], [])


def test_body_that_only_binds_names(tmp_path: Path) -> None:
    """A plain script whose every line binds a name, or changes what one stands for, reaches what these lines use."""
    (tmp_path / "library.py").write_text(
        "def compute():\n    return inner()\n\n\ndef inner():\n    return 1\n", "utf-8"
    )
    execute(
        """
        from library import compute
        def unused():
            return compute
        with mlsdk.run("plain") as run:
            acc = compute()
            run.log(acc=acc)
        """,
        **ALONE,
    )
    code = mlsdk.get_run("latest").code

    assert set(code["functions"]) == {"__main__:acc", "__main__:run", "library:compute", "library:inner"}
    assert code["exact"]


def test_cells_that_go_on_with_a_name(tmp_path: Path) -> None:
    """A cell that changes what another has made, or decorates it, counts with it; a class defined anew replaces it."""
    cells = [
        "TABLE = {}",
        "TABLE['a'] = 1",
        "TABLE.update(b=2)",
        "def f(): return TABLE",
        "f = print(f) or f",
        "class A:\n    def old(self): return 1",
        "class A:\n    def new(self): return 2",
        "def train(a):\n    return f(), A().new(), A().old()",
    ]
    facts = {**facts_of({}, "__main__:train"), "main": {"how": "notebook"}}

    def table(old: str = "", new: str = "") -> dict[str, str]:
        changed_cells = [cell.replace(old, new) if old else cell for cell in cells]
        return look(tmp_path, {**facts, "cells": changed_cells})["functions"]

    before = table()

    assert set(before) == {f"__main__:{name}" for name in ("A", "A.new", "TABLE", "f", "train")}
    for old in ("{}", "['a']", "b=2"):
        assert changed(before, table(old, old.replace("{}", "{0: 1}").replace("a", "c").replace("b", "d"))).changed == [
            "__main__:TABLE"
        ]
    assert changed(before, table("return TABLE", "return [TABLE]")).changed == ["__main__:f"]


def test_a_large_project(tmp_path: Path) -> None:
    """In a project of many modules all that is reached is named, and a change in one names it alone."""
    main = make_project(tmp_path / "project", 40)
    folder = main.parent
    modules = {f"big.m{number}": str(folder / "big" / f"m{number}.py") for number in range(40)}
    modules |= {"main": str(main), "big": str(folder / "big" / "__init__.py")}
    before = look(folder, facts_of(modules))["functions"]
    path = folder / "big" / "m27.py"
    path.write_text(path.read_text("utf-8").replace("1.5", "1.25"), "utf-8")
    after = look(folder, facts_of(modules))["functions"]

    assert len(before) == 7 * 40 + 1
    assert changed(before, after) == (["big.m27:Layer27.__init__"], [], [])
