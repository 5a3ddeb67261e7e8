"""The rules of the house: sizes, names, imports, docstrings. Each says what to do when it fails."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import inspect
import json
import marshal
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

import mlsdk
from mlsdk import config
from mlsdk.version import VERSION
from tests.conftest import ROOT, require

PACKAGE = ROOT / "mlsdk"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

LINES = 400
TOO_LONG: dict[str, tuple[date, str]] = {}
"""Files over the limit: path -> since when, and why it is better whole."""

PROMISED = set(
    "ActiveRun DataDiff Fingerprint Run Runs configure current_run edit fingerprint get_run log open_store run runs "
    "track".split()
)
"""The public face that is fixed; more may be added."""

TOP_LEVEL = set("LICENSE README.md docs examples mlsdk pyproject.toml tests".split())

IMPORT_MAY_LOAD = """
    mlsdk mlsdk.config mlsdk.errors mlsdk.version mlsdk.log mlsdk.log.* mlsdk.tracking mlsdk.tracking.*
    mlsdk.capture mlsdk.capture.arguments mlsdk.capture.datasets mlsdk.capture.facts mlsdk.capture.output
    mlsdk.capture.process mlsdk.capture.secrets mlsdk.capture.secrets.entropy mlsdk.capture.secrets.forms
    mlsdk.capture.secrets.names mlsdk.capture.secrets.redaction mlsdk.companion mlsdk.companion.spawn
    mlsdk.store mlsdk.store.layout mlsdk.store.target mlsdk.store.writer
    _json json json.decoder json.encoder json.scanner
    __future__ _collections _collections_abc collections collections.abc contextlib contextvars _contextvars copyreg
    enum functools _functools itertools keyword operator _operator re re.* _sre reprlib types _types typing typing.*
    _typing _weakref _weakrefset weakref warnings _warnings
    abc _abc array atexit errno fcntl genericpath io _io math mmap os os.path posix posixpath signal _signal stat
    _stat struct _struct _thread threading _threading_local time zlib
""".split()
"""What `import mlsdk` with `track`, `run` and `log` may load beyond bare Python; `*` stands for anything.

Before a name is added: what does it cost (`python -X importtime`), and could it be imported where it is used?
"""

NEVER_WHILE_TRAINING = set(
    "attr attrs asyncio git inspect logging multiprocessing numpy psutil requests sqlite3 subprocess tempfile".split()
)

IMPORT_BUDGET_BYTES = 400_000
"""Of compiled code: some 20 ms of processor time."""


def _name(path: Path) -> str:
    """The module's dotted name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _bare(code: str) -> str:
    """What a fresh, bare interpreter prints that sees only the standard library and this source tree."""
    prelude = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", prelude + code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Those of a module and of its classes."""
    for node in tree.body:
        for part in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                yield part


# Files


def test_files_stay_small() -> None:
    """No file of the package is over 400 lines, save those listed with a date and a reason."""
    long = {str(path.relative_to(ROOT)) for path in MODULES if len(path.read_text("utf-8").splitlines()) > LINES}

    assert long == set(TOO_LONG), "split the file by its nouns, or take a name off the list that is small again"


def test_top_level_is_tidy() -> None:
    """Only the few allowed names lie at the top of the repository."""
    require(shutil.which("git") and (ROOT / ".git").exists(), "a git clone")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.split("/")[0] for line in listed.splitlines()}

    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL


def test_types_are_shipped() -> None:
    """The package carries the marker that makes type checkers read its annotations."""
    assert (PACKAGE / "py.typed").exists()


def test_one_version() -> None:
    """The version of the code is the version that pip installed."""
    assert mlsdk.__version__ == VERSION
    assert importlib.metadata.version("mlsdk") == VERSION, "install again: pip install -e '.[test]'"


def test_rules_off_have_reasons() -> None:
    """Each ruff rule that is off says why, beside it."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    table = text.split("\nignore = [\n")[1].split("\n]\n")[0]

    assert [line for line in table.splitlines() if not re.fullmatch(r'    "[A-Z]+\d*",\s+# \S.*', line)] == []


# Names


def test_public_names_are_whole_and_sorted() -> None:
    """`__all__` is sorted, holds every promised name, and is all that a type checker or `dir` sees."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    seen = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != "__future__" and str(node.module).startswith("mlsdk")
        for alias in node.names
    }
    public = {name for name in seen if not name.startswith("_")}
    listed = [name for name in mlsdk.__all__ if not name.startswith("__")]

    assert listed == sorted(listed)
    assert len(set(listed)) == len(listed)
    assert set(listed) >= PROMISED
    assert public <= set(listed)
    assert set(listed) <= set(dir(mlsdk))


def test_public_names_resolve() -> None:
    """Every name in `__all__` is there, and a second look finds the same thing."""
    assert [name for name in mlsdk.__all__ if getattr(mlsdk, name) is not getattr(mlsdk, name)] == []


def test_unknown_name_is_an_attribute_error() -> None:
    """A name that does not exist is Python's own error, so that `hasattr` and completion work."""
    assert not hasattr(mlsdk, "no_such_name")


# Docstrings


def test_modules_have_docstrings() -> None:
    """Each module says in its first line what it is for."""
    assert [_name(path) for path in MODULES if not ast.get_docstring(_tree(path))] == []


def test_public_things_are_documented() -> None:
    """Every public function and class has a docstring of its own; every public function shows how it is used."""
    things = {name: getattr(mlsdk, name) for name in mlsdk.__all__ if not name.startswith("__")}
    classes = {name: thing for name, thing in things.items() if inspect.isclass(thing)}
    functions = {name: thing for name, thing in things.items() if callable(thing) and name not in classes}

    assert [name for name, thing in classes.items() if not thing.__dict__.get("__doc__")] == []
    assert [
        name for name, thing in functions.items() if not re.search(r"Examples?:|::\n|>>> ", thing.__doc__ or "")
    ] == [], "show in its docstring how it is used"


def test_each_test_says_what_must_hold() -> None:
    """Each test has a docstring: one sentence that says what must hold."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in TESTS
        for node in _functions(_tree(path))
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]

    assert silent == []


def _variables_in_code() -> set[str]:
    written = {
        name for path in MODULES for name in re.findall(r"\bMLSDK_[A-Z][A-Z0-9_]*[A-Z0-9]\b", path.read_text("utf-8"))
    }
    return written | {setting.variable for setting in config.SETTINGS.values()}


def test_environment_variables_are_documented() -> None:
    """Every MLSDK_ variable that the code reads is in docs/configuration.md, and the page names no other."""
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")

    assert set(re.findall(r"\bMLSDK_[A-Z][A-Z0-9_]*[A-Z0-9]\b", page)) == _variables_in_code()


# Imports


def _loaded(code: str) -> set[str]:
    listing = (
        "import sys, json; before = set(sys.modules)\n"
        + code
        + "\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    )
    return set(json.loads(_bare(listing).splitlines()[-1]))


def _surplus(loaded: set[str]) -> list[str]:
    return sorted(name for name in loaded if not any(fnmatchcase(name, allowed) for allowed in IMPORT_MAY_LOAD))


def test_import_loads_only_what_is_listed() -> None:
    """`import mlsdk` loads nothing beyond the list, in a fresh process."""
    assert _surplus(_loaded("import mlsdk")) == []


def test_first_use_loads_only_what_is_listed() -> None:
    """Reaching for `track`, `run` and `log` loads nothing beyond the list either: the cost is not moved there."""
    assert _surplus(_loaded("import mlsdk; mlsdk.track; mlsdk.run; mlsdk.log")) == []


def test_training_process_stays_light(tmp_path: Path) -> None:
    """A whole run, decorated and logged, loads no database, no subprocess and no third-party package."""
    body = f"""
import os; os.chdir({str(tmp_path)!r})
import mlsdk
@mlsdk.track
def train(lr=0.1):
    for step in range(3):
        mlsdk.log(loss=lr / (step + 1))
    return {{"acc": 0.5}}
train()
with mlsdk.run("second", params={{"lr": 0.1}}) as run:
    run.log(loss=1.0)
"""
    loaded = {name.partition(".")[0] for name in _loaded(body)}

    assert loaded & NEVER_WHILE_TRAINING == set()


def test_import_does_nothing(tmp_path: Path) -> None:
    """Importing makes no file, no thread, no log handler and no signal handler."""
    code = f"""
import os, signal, threading
os.chdir({str(tmp_path)!r})
handlers = [signal.getsignal(number) for number in signal.valid_signals()]
import mlsdk
mlsdk.track
print(os.listdir(), threading.active_count(), handlers == [signal.getsignal(n) for n in signal.valid_signals()])
"""

    assert _bare(code).split() == ["[]", "1", "True"]


def test_import_budget() -> None:
    """`import mlsdk` runs at most so much code of ours; its time, which machines differ in, is a benchmark's."""
    names = [name for name in _loaded("import mlsdk; mlsdk.track") if name.partition(".")[0] == "mlsdk"]
    paths = [Path(str(importlib.import_module(name).__file__)) for name in names]
    sizes = {path: len(marshal.dumps(compile(path.read_bytes(), path.name, "exec", optimize=2))) for path in paths}

    assert sum(sizes.values()) <= IMPORT_BUDGET_BYTES, sorted(sizes.items(), key=lambda item: -item[1])[:5]


def _eager_imports(tree: ast.Module) -> Iterator[str]:
    """Names of what importing a module imports: outside functions and outside `if TYPE_CHECKING`."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.stmt | ast.ExceptHandler)]


OURS_EAGERLY = {"attrs", "mlsdk"}
"""What a module of ours may import at its top besides the standard library: `attrs` makes the records."""


def test_third_party_is_imported_where_it_is_used() -> None:
    """No module imports a third-party package at its top; inside the function that needs it, it may."""
    fine = OURS_EAGERLY | set(sys.stdlib_module_names)

    assert [
        (_name(path), name)
        for path in MODULES
        for name in _eager_imports(_tree(path))
        if name.partition(".")[0] not in fine
    ] == []
