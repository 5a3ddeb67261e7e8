"""The interpreter."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

from mlsdk.capture import Context
from mlsdk.capture.environment.python import capture, imported
from tests import programs
from tests.conftest import require

if TYPE_CHECKING:
    import pytest

LOOK = "import json, mlsdk.capture as c, mlsdk.capture.environment.python as p; "
REPORT = f"{LOOK}print(json.dumps(p.capture(c.Context('/f'))))"


def report(*options: str, executable: str = sys.executable, **settings: str) -> dict[str, object]:
    """What another process finds."""
    command = [executable, *options, "-c", REPORT]
    done = subprocess.run(command, env=programs.environment(**settings), capture_output=True, check=True, timeout=60)
    return dict(json.loads(done.stdout))


def test_python() -> None:
    """Version, implementation, build and platform are those of this interpreter."""
    found = capture(Context("."))

    assert found["python"] == platform.python_version().rstrip("+")
    assert found["implementation"] == platform.python_implementation().lower()
    assert (found["executable"], found["platform"]) == (sys.executable, sys.platform)
    assert (found["machine"], found["kernel"]) == (platform.machine(), platform.release())
    assert platform.python_compiler() in str(found["build"])
    assert (found["gil"], found["free_threaded"]) == (True, False)
    assert found["libc"] in (" ".join(platform.libc_ver()), "musl", None)
    assert (found["prefix"], found["base_prefix"]) == (sys.prefix, sys.base_prefix)


def test_flags() -> None:
    """How the interpreter was started is known by its flags; as usual, there is nothing to say."""
    plain = report(PYTHONDONTWRITEBYTECODE="", PYTHONHASHSEED="random")
    found = report("-O", "-X", "dev", "-X", "utf8", "-W", "ignore")
    flags = found["flags"]

    assert plain["flags"] == {}
    assert isinstance(flags, dict)
    assert (flags["optimize"], flags["dev_mode"], flags["utf8_mode"]) == (1, True, 1)
    assert flags["xoptions"] == {"dev": True, "utf8": True}
    assert "ignore" in flags["warnoptions"]


def test_virtual_environment() -> None:
    """A virtual environment is known as one, and what it was made from."""
    require(os.name == "posix", "symbolic links to an interpreter")
    command = [sys.executable, "-m", "venv", "--without-pip", "env"]
    subprocess.run(command, check=True, timeout=60)
    found = report(executable=str(Path("env/bin/python").absolute()))

    assert found["installation"] == "venv"
    assert found["prefix"] == str(Path("env").resolve())
    assert found["base_prefix"] == sys.base_prefix


def test_path_and_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is absolute; loaded modules are named unless they are Python's own; of namespaces, what was loaded."""
    monkeypatch.setattr(sys, "path", ["", "lib", *sys.path])
    for name, path in (("ns", []), ("ns.inner", []), ("ns.inner.leaf", None), ("plain", None), ("plain.part", None)):
        module = types.ModuleType(name)
        if path is not None:
            module.__path__ = path  # type: ignore[attr-defined]
        else:
            module.__file__ = f"{name}.py"
        monkeypatch.setitem(sys.modules, name, module)
    found = capture(Context("/project"))
    names = str(found["imported"]).split()

    assert found["path"][:2] == ["/project", "/project/lib"]  # type: ignore[index]
    assert {"ns.inner.leaf", "plain", "pytest", "mlsdk"} <= set(names)
    assert not {"ns", "ns.inner", "plain.part", "os", "json", "__main__"} & set(names)


def test_the_same_object_until_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look costs next to nothing: what it finds is the same object until a module or the path is new."""
    first = capture(Context("/a"))
    again = capture(Context("/a"))
    monkeypatch.setitem(sys.modules, "something_new", types.ModuleType("something_new"))

    assert again is first
    assert capture(Context("/b")) is not first
    assert "something_new" in imported()
    assert "something_new" in str(capture(Context("/a"))["imported"])
