"""Where the running code comes from: modules, the main module, cells, the functions in memory and what they read."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import types
from functools import partial
from pathlib import Path

import pytest

import mlsdk
from mlsdk.capture import Context
from mlsdk.capture.code import source
from mlsdk.capture.code.loaded import Loaded, code_digest
from mlsdk.capture.code.plain import plain
from mlsdk.capture.code.source import capture, later, project_modules
from mlsdk.capture.functions.reachable import capture as capture_functions
from mlsdk.log.values import decode, loads
from tests import programs
from tests.conftest import ROOT, require
from tests.programs import environment, execute

HELPER = "STEP = 3\ndef double(x):\n    assert x\n    return 2 * x + STEP\ndef unreached(x):\n    return x\n"
MAIN = """
import json, os
from mlsdk.capture import Context
from mlsdk.capture.code.source import capture, later
from mlsdk.log.values import encode
{imported}
K = 2
def train(lr=0.1):
    return helper.double(K)
def unreached():
    return 1
def show(name="facts.json", tracked=train):
    facts = capture(Context(os.getcwd(), tracked))
    with open(name, "w") as file:
        json.dump(encode({{**facts, "pid": os.getpid()}}), file)
    return facts
"""
PLAIN = MAIN.format(imported="import helper")


def run(arguments: list[str], **options: object) -> dict[str, object]:
    """Start Python with some arguments; the facts that it captured."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**environment(), "PYTHONDONTWRITEBYTECODE": "1", **options.pop("env", {})},
        capture_output=True,
        timeout=100,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr.decode()
    return facts_in("facts.json")


def facts_in(name: str) -> dict[str, object]:
    facts = decode(loads(Path(name).read_bytes()))
    assert isinstance(facts, dict)
    return facts


def functions_of(facts: dict[str, object]) -> dict[str, object]:
    found = capture_functions(Context(os.getcwd(), facts={"code": facts}))
    assert found is not None
    return dict(found)


def reaches(facts: dict[str, object], helper: str = "helper", main: str = "__main__") -> bool:
    """Whether the table is what it should be, and no code in memory differs from it."""
    found = functions_of(facts)
    assert found["differs"] == []
    return set(found["functions"]) == {f"{main}:train", f"{main}:K", f"{helper}:double", f"{helper}:STEP"}


@pytest.fixture(autouse=True)
def _helper() -> None:
    Path("helper.py").write_text(HELPER, "utf-8")


# Entry points


def test_script() -> None:
    """Of a script, the file is known, and the modules beside it."""
    Path("train.py").write_text(PLAIN + "show()\n", "utf-8")
    facts = run(["train.py"])

    assert facts["main"] == {"how": "script", "file": str(Path("train.py").resolve())}
    assert facts["modules"] == {"__main__": str(Path("train.py").resolve()), "helper": str(Path("helper.py").resolve())}
    assert facts["roots"] == ["__main__:train"]
    assert facts["constants"] == {"__main__:K": 2, "helper:STEP": 3}
    assert reaches(facts)
    assert functions_of(facts)["exact"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train.py", "more"], {"how": "script", "file": "train.py"}),
        (["-OW", "ignore", "train.py"], {"how": "script", "file": "train.py"}),
        (["-m", "train"], {"how": "module", "name": "train"}),
        (["-Xutf8", "-mtrain", "-c"], {"how": "module", "name": "train"}),
    ],
)
def test_another_main_module(arguments: list[str], expected: dict[str, str]) -> None:
    """A program that has put another module in the place of `__main__` is known by its command line."""
    Path("train.py").write_text(
        f"{PLAIN}\nimport sys, types\nmodules = sys.modules\n"
        "kept, modules['__main__'] = modules['__main__'], types.ModuleType('x')\nshow()",
        "utf-8",
    )
    main = run(arguments)["main"]

    assert main == {name: os.path.abspath(value) if name == "file" else value for name, value in expected.items()}


@pytest.mark.parametrize("options", [["-c"], ["-Ic"], ["-OO", "-c"], ["-X", "utf8", "-W", "ignore", "-Bc"]])
def test_command(options: list[str]) -> None:
    """Of `python -c` the program itself is kept."""
    code = f"import sys; sys.path[:0] = ['', {str(ROOT)!r}]\n{PLAIN}\nshow()"
    facts = run([*options, code, "argument"])

    assert facts["main"] == {"how": "command", "source": code}
    assert set(facts["modules"]) == {"helper"}
    assert reaches(facts)
    assert functions_of(facts)["exact"]


@pytest.mark.parametrize("arguments", [[], ["-"], ["-", "more"]])
def test_standard_input(arguments: list[str]) -> None:
    """A program read from a file as standard input is kept, and goes on where it was."""
    code = f"{PLAIN}\nshow()\nopen('end', 'w').write('reached')\n"
    Path("input.py").write_text(code, "utf-8")
    with Path("input.py").open("rb") as file:
        facts = run(arguments, stdin=file)

    assert facts["main"] == {"how": "stdin", "source": code}
    assert Path("end").read_text() == "reached"
    assert reaches(facts)


def test_pipe() -> None:
    """Of a program that comes through a pipe, it is said why it is not kept; what it imports is known."""
    facts = run([], input=f"{PLAIN}\nshow()\n".encode())
    found = functions_of(facts)

    assert "pipe" in facts["main"]["missing"]
    assert "pipe" in found["functions_missing"]["__main__"]
    assert set(found["functions"]) == {"helper:double", "helper:STEP"}
    assert (found["differs"], found["exact"]) == (["__main__:train"], False)
    assert set(facts["loaded"]) == {"__main__:train", "helper:double"}


def test_module_of_a_package() -> None:
    """Of `python -m package`, relative imports are followed, and the module's name is known."""
    Path("pkg/sub").mkdir(parents=True)
    Path("pkg/__init__.py").touch()
    Path("pkg/sub/__init__.py").touch()
    Path("pkg/helper.py").write_text(HELPER, "utf-8")
    Path("pkg/sub/__main__.py").write_text(MAIN.format(imported="from .. import helper") + "show()\n", "utf-8")
    facts = run(["-m", "pkg.sub"])

    assert facts["main"]["how"] == "module"
    assert facts["main"]["name"] == "pkg.sub.__main__"
    assert set(facts["modules"]) == {"__main__", "pkg", "pkg.sub", "pkg.helper"}
    assert reaches(facts, "pkg.helper")


def test_spawned_worker() -> None:
    """A spawned worker's main module is the script that started it, under its usual name; the script's own is none."""
    code = "\nif __name__ == '__main__':\n    import multiprocessing\n    show('parent.json')\n"
    code += "    worker = multiprocessing.get_context('spawn').Process(target=show)\n"
    code += "    worker.start()\n    worker.join()\n"
    Path("train.py").write_text(PLAIN + code, "utf-8")
    worker = run(["train.py"])
    parent = facts_in("parent.json")

    assert worker["main"] == {"how": "worker", "file": parent["main"]["file"]}
    assert parent["main"]["how"] == "script"
    assert worker["modules"] == parent["modules"]
    assert worker["loaded"] == parent["loaded"]
    assert functions_of(worker)["functions"] == functions_of(parent)["functions"]


NOTEBOOK = """
import sys, nbformat, nbclient
cells = sys.stdin.read().split("#CELL\\n")
book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
nbclient.NotebookClient(book, timeout=60, kernel_name="python3").execute()
"""


def test_notebook() -> None:
    """In a notebook, executed for real, its path and the cells in the order in which they ran are known, magics too."""
    require(importlib.util.find_spec("ipykernel") and importlib.util.find_spec("nbclient"), "ipykernel and nbclient")
    define, body = PLAIN.split("K = 2\n")
    cells = [define, "K = 1", "%precision 3\nK = 2", body, "first = show()", "later_cell = 1"]
    cells.append(
        "from mlsdk.capture import process\nhere = Context(os.getcwd())\n"
        "with open('later.json', 'w') as file: json.dump([later(here, first), process.capture(here)], file)"
    )
    path = "/home/ann/churn.ipynb"
    settings = {"JPY_SESSION_NAME": path}
    facts = run(["-W", "ignore", "-c", NOTEBOOK], input="#CELL\n".join(cells).encode(), env=settings)
    after, started = json.loads(Path("later.json").read_text("utf-8"))

    assert facts["main"] == {"how": "notebook", "file": path}
    assert (started["entry"], started["notebook"]) == ("interactive", path)
    assert started.keys() >= {"argv", "folder", "stdin", "timezone"}
    assert [cell.strip() for cell in facts["cells"][3:]] == [body.strip(), "first = show()"]
    assert len(facts["cells"]) == 5
    assert "run_line_magic" in facts["cells"][2]
    assert after["cells"][5] == "later_cell = 1"
    assert "modules" not in after
    assert reaches(facts)
    assert functions_of(facts)["exact"]


def type_in(lines: list[str]) -> dict[str, object]:
    """Type lines at Python's prompt, in a terminal; the facts that were captured."""
    pty, select = pytest.importorskip("pty"), pytest.importorskip("select")
    ours, theirs = pty.openpty()
    settings = {**environment(), "TERM": "xterm", "PYTHON_HISTORY": "history"}
    with subprocess.Popen(
        [sys.executable, "-q"], stdin=theirs, stdout=theirs, stderr=theirs, env=settings, start_new_session=True
    ) as process:
        os.close(theirs)
        seen = b""
        for line in [*lines, "exit()\n"]:
            while seen.count(b">>> ") == 0 and select.select([ours], [], [], 20)[0]:
                seen += os.read(ours, 65536)
            seen = b""
            os.write(ours, line.encode())
        while process.poll() is None and select.select([ours], [], [], 20)[0]:
            with contextlib.suppress(OSError):
                os.read(ours, 65536)
    os.close(ours)
    return facts_in("facts.json")


def test_typed_at_a_prompt() -> None:
    """At a prompt, what was typed is known where Python keeps it; else it is said that it does not."""
    Path("show.py").write_text(PLAIN.replace("tracked=train", "tracked=None"), "utf-8")
    facts = type_in(
        ["import show, helper\n", "K = 2\n", "train = lambda: helper.double(K)\n", "_ = show.show(tracked=train)\n"]
    )

    assert facts["main"]["how"] == "interactive"
    assert facts["roots"] == ["__main__:train"]
    if sys.version_info >= (3, 13):
        assert facts["cells"][1:3] == ["K = 2\n", "train = lambda: helper.double(K)\n"]
    else:
        assert "does not keep" in facts["main"]["missing"]


def test_without_a_tracked_function() -> None:
    """Of `with run`, the body of the main module is where all begins, and the function that it stands in."""
    Path("train.py").write_text(PLAIN + "K = 3\nshow(tracked=None)\n", "utf-8")
    facts = run(["train.py"])
    found = functions_of(facts)

    assert facts["roots"] == ["__main__:<module>", "__main__:show"]
    assert {"__main__:<module>", "__main__:show", "__main__:train", "helper:double"} <= set(found["functions"])
    assert not {"__main__:unreached", "helper:unreached"} & set(found["functions"])
    assert found["differs"] == []


def test_runs_of_several_functions() -> None:
    """Each `with run` has the function that it stands in as its root, also after others in the same process."""
    code = "".join(f"def {name}(): return capture(Context(os.getcwd()))['roots']\n" for name in ("one", "two"))
    code += "show()\nopen('roots', 'w').write(json.dumps([one(), two(), one()]))\n"
    Path("train.py").write_text(PLAIN + code, "utf-8")
    run(["train.py"])
    one, two = (["__main__:<module>", f"__main__:{name}"] for name in ("one", "two"))

    assert json.loads(Path("roots").read_text("utf-8")) == [one, two, one]


def test_run_by_an_installed_program() -> None:
    """Where an installed program runs the project's code, its main module is none of the project's."""
    Path("test_it.py").write_text(f"{PLAIN}\ndef test_it():\n    show(tracked=None)\n", "utf-8")
    facts = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--assert=plain", "test_it.py"])
    found = functions_of(facts)

    assert facts["roots"] == ["test_it:show"]
    assert "__main__" not in facts["modules"]
    assert {"test_it:show", "test_it:train", "helper:double"} <= set(found["functions"])
    assert found["exact"]


# Modules


def test_what_is_a_projects_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed modules, Python's own and mlsdk's are no project's, wherever mlsdk's lie."""
    monkeypatch.syspath_prepend(str(tmp_path))
    installed = tmp_path / "lib" / "site-packages" / "installed.py"
    installed.parent.mkdir(parents=True)
    installed.touch()
    for name, path in (("found_here", tmp_path / "helper.py"), ("found_there", installed)):
        spec = importlib.util.spec_from_file_location(name, path)
        monkeypatch.setitem(sys.modules, name, importlib.util.module_from_spec(spec))
    found = project_modules()

    assert found["found_here"] == str(tmp_path / "helper.py")
    assert not {"found_there", "json", "os", "pytest", "mlsdk", source.__name__} & set(found)


def test_later_module_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module imported during the run is found at its end; without one there is nothing to add."""
    where = Context(str(tmp_path))
    already = {"modules": project_modules()}
    nothing = later(where, already)
    module = types.ModuleType("came_later")
    module.__file__ = str(tmp_path / "came_later.py")
    monkeypatch.setitem(sys.modules, "came_later", module)

    assert nothing == {}
    assert later(where, already)["modules"]["came_later"] == module.__file__


def test_capture_loads_little() -> None:
    """The look in the caller loads nothing heavy."""
    code = f"import sys; sys.path[:0] = ['', {str(ROOT)!r}]\n{PLAIN}\nbefore = set(sys.modules)\nshow()\n"
    code += "open('loaded', 'w').write(' '.join(set(sys.modules) - before))"
    run(["-I", "-S", "-c", code])

    assert set(Path("loaded").read_text().split()) <= {"_blake2"}


# Code and values


def module(code: str, name: str = "sample", **names: object) -> types.ModuleType:
    found = types.ModuleType(name)
    found.__dict__.update(names)
    exec(compile(textwrap.dedent(code), f"{name}.py", "exec", dont_inherit=True), found.__dict__)
    return found


CODE = '''
    def f(x, y=1):
        """Doc."""
        def inner(z):
            return {"a": 1.5, "b": (1, "c", b"d")}, z in {1, "two", 3.0}, 10**5000, x
        return [inner(z) for z in range(y)] or (lambda q: q + x)
'''


def test_digest_of_code_is_stable() -> None:
    """The same source gives the same digest: elsewhere in a file, after many calls, in another process."""
    one, two = module(CODE).f, module("\n\n\n    # moved\n" + CODE.replace("Doc.", "Another.")).f
    before = code_digest(one.__code__)
    for _ in range(500):
        one(2, 3)
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom mlsdk.capture.code.loaded import code_digest\n"
    program += f"exec({textwrap.dedent(CODE)!r})\nprint(code_digest(f.__code__))"
    elsewhere = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout.decode()
        for seed in "123"
    }

    assert code_digest(two.__code__) == code_digest(one.__code__) == before
    assert elsewhere == {f"{before}\n"}


@pytest.mark.parametrize("new", ["1.25", "b'e'", "'cc'", "x + 1", "not in", "10**5001"])
def test_digest_of_code_sees_a_change(new: str) -> None:
    """Another constant, name or operator, also in a nested function, gives another digest."""
    old = {"1.25": "1.5", "b'e'": 'b"d"', "'cc'": '"c"', "x + 1": "x\n", "not in": "in {", "10**5001": "10**5000"}[new]
    changed = CODE.replace(old, {"x + 1": "x + 1\n", "not in": "not in {"}.get(new, new))

    assert changed != CODE
    assert code_digest(module(changed).f.__code__) != code_digest(module(CODE).f.__code__)


ROUTES = """
    import functools
    def a(): return 1
    def b(): return 2
    def c(): return 3
    def d(): return 4
    def e(): return 5
    def g(): return 6
    def h(): return 7
    def unreached(): return 8
    TABLE = {"a": a, "more": [b]}
    half = functools.partial(c, 1)
    def wrap(function):
        @functools.wraps(function)
        def wrapper(): return function()
        return wrapper
    wrapped = wrap(d)
    cached = functools.lru_cache(e)
    class Thing:
        def method(self): return g()
    thing = Thing()
    def train(call=h):
        return TABLE, half, wrapped, cached, thing.method, call
"""


def test_functions_are_found_by_every_route() -> None:
    """Through containers, partials, wrappers, caches, objects and defaults; by name only those that are named."""
    found = Loaded({"sample": ""})
    found.add(module(ROUTES, __name__="sample").train, "")
    wrapper = "wrap.<locals>.wrapper" if sys.version_info >= (3, 11) else "?.wrapper"
    names = f"train a b c d e g h Thing.method {wrapper}"

    assert set(found.functions) == {f"sample:{name}" for name in names.split()}
    assert found.bound["sample:TABLE"] == ["sample:a", "sample:b"]
    assert found.bound["sample:half"] == ["sample:c"]
    assert "sample:h" in found.bound["sample:train()"]


def test_what_arguments_bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function, a class or an object of the project's that is an argument is a root as well."""
    code = """
        def train(model, call, count): return model.fit(call)
        class Model:
            def fit(self, call): return call()
        def f(): return 1
    """
    sample = module(code, __name__="sample")
    sample.__file__ = str(tmp_path / "sample.py")
    monkeypatch.setitem(sys.modules, "sample", sample)
    where = Context(str(tmp_path), sample.train, {"model": sample.Model(), "call": partial(sample.f), "count": 3})

    assert capture(where)["roots"] == ["sample:train", "sample:Model", "sample:f"]


def test_what_lies_in_arguments(tmp_path: Path) -> None:
    """The class of `self`, and code that an argument holds in its attributes and containers, is reached as well."""
    execute(
        """
        class Layer:
            def forward(self): return 1
        class Wide(Layer):
            def forward(self): return 2
        def loss(x): return x

        class Trainer:
            def __init__(self, **parts): self.parts = parts
            @mlsdk.track
            def fit(self, more):
                return {"acc": self.step() + self.parts["layers"][0].forward() + more.loss(1)}
            def step(self): return 1
        class Slow(Trainer):
            def step(self): return 2

        import types
        Slow(layers=[Wide()]).fit(types.SimpleNamespace(loss=loss))
        """,
        MLSDK_COMPANION="0",
    )
    names = {name.partition(":")[2] for name in mlsdk.get_run("latest").code["functions"]}

    assert names >= {"Slow", "Slow.step", "Trainer.fit", "Wide", "Wide.forward", "Layer", "loss"}


def test_values_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run of the process finds what has changed since: a value, a function, an entry of a table."""
    code = """
        K = 1
        TABLE = {}
        SECRET = object()
        def f(): return 1
        def g(): return 2
        def train(): return K, TABLE, f, SECRET
    """
    sample = module(code, __name__="sample")
    sample.__file__ = str(tmp_path / "sample.py")
    monkeypatch.setitem(sys.modules, "sample", sample)
    where = Context(str(tmp_path), sample.train)
    first = capture(where)
    sample.K = 2
    second = capture(where)
    sample.TABLE["g"] = sample.g
    third = set(capture(where)["loaded"])
    sample.f = len
    fourth = set(capture(where)["loaded"])

    assert first["constants"] == {"sample:K": 1, "sample:TABLE": {}, "sample:SECRET": {"type": "builtins.object"}}
    assert second["constants"]["sample:K"] == 2
    assert set(first["loaded"]) == set(second["loaded"]) == {"sample:train", "sample:f"}
    assert third == {"sample:train", "sample:f", "sample:g"}
    assert fourth == {"sample:train", "sample:g"}


def test_equal_values_that_are_not_the_same() -> None:
    """A constant that was 1 and is True, or 1.0, is recorded as what it is in each run."""
    execute(
        """
        K, Z = 1, 0.0

        @mlsdk.track
        def train():
            return K, Z

        for K, Z in ((1, 0.0), (True, -0.0), (1.0, -0.0)):
            train()
        """,
        MLSDK_COMPANION="0",
    )
    found = [run.code["constants"] for run in mlsdk.runs(order_by="started_at")]

    assert [repr((values["__main__:K"], values["__main__:Z"])) for values in found] == [
        "(1, 0.0)",
        "(True, -0.0)",
        "(1.0, -0.0)",
    ]


def test_odd_objects_do_no_harm() -> None:
    """Objects that raise whatever they are asked, that contain themselves or pretend to be others are passed over."""
    code = """
        from unittest import mock
        class Raises:
            def __getattribute__(self, name): raise RuntimeError(name)
            def __eq__(self, other): raise RuntimeError("eq")
            def __len__(self): raise RuntimeError("len")
            __hash__ = None
        class Pretends:
            @property
            def __class__(self): return type
        raises, pretends, fake, circle, deep = Raises(), Pretends(), mock.MagicMock(), [], {}
        circle.append(circle)
        deep["deep"] = {"deep": {"deep": deep}}
        def helper(): return 1
        def train(): return raises, pretends, fake, circle, deep, helper()
    """
    found = Loaded({"sample": ""})
    found.add(module(code, __name__="sample").train, "")

    assert {"sample:train", "sample:helper"} <= set(found.functions)
    assert found.values["sample:raises"] == {"type": "sample.Raises"}
    assert found.still_holds()


def test_closure_values_are_read() -> None:
    """What a function has closed over is a value that it reads."""
    code = """
        def make(rate, call):
            def train(): return rate, call()
            return train
        def f(): return 1
        train = make(0.5, f)
    """
    found = Loaded({"sample": ""})
    found.add(module(code, __name__="sample").train, "")

    assert found.values == {"sample:make.rate": 0.5}
    assert set(found.functions) == {"sample:make.<locals>.train", "sample:f"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3),
        (None, None),
        ("short", "short"),
        ({"a": [1, (2.5, b"x")]}, {"a": [1, (2.5, b"x")]}),
        (list(range(21)), {"type": "builtins.list", "size": 21}),
        ({1: 2}, {"type": "builtins.dict", "size": 1}),
        ("x" * 201, {"type": "builtins.str", "size": 201, "digest": "4b947e1e32c12ad3"}),
        (len, {"type": "builtins.builtin_function_or_method"}),
    ],
)
def test_values_as_facts(value: object, expected: object) -> None:
    """Small plain values are themselves; others are told by type, size and digest."""
    assert plain(value) == expected


def test_arrays_as_facts() -> None:
    """A small array is told by shape, type and content; a large one, and one of objects, without its content."""
    import numpy as np

    one, two = plain(np.arange(6).reshape(2, 3)), plain(np.arange(6).reshape(2, 3) + 1)

    assert one["shape"] == [2, 3]
    assert one["digest"] != two["digest"]
    assert "digest" not in plain(np.zeros(1_000_001))
    assert "digest" not in plain(np.array([object()]))


def test_what_comes_while_a_run_is_live() -> None:
    """Modules of the project that are first imported during the run are on it too."""
    Path("late.py").write_text("X = 1\n")
    programs.execute(
        """
        with mlsdk.run(name="it"):
            import late
        """
    )

    assert mlsdk.get_run("it").code["modules"]["late"] == os.path.abspath("late.py")
