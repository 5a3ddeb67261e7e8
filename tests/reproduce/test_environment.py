"""Environments of reruns: the one that is there, if it is as locked, else one that is built."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import mlsdk
from mlsdk.capture.environment.installed import Distribution
from mlsdk.errors import RerunError
from mlsdk.reproduce.environments import building
from mlsdk.reproduce.environments.building import build, packages_of
from mlsdk.reproduce.environments.interpreter import ask, find
from mlsdk.reproduce.environments.packages import Wanted, differences, installed, listed
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.rerun import rerun_by
from tests.conftest import require
from tests.programs import environment
from tests.reproduce.again import start, write
from tests.trees import git


def wheel(name: str, version: str, text: str) -> str:
    """A wheel of one module; its address."""
    info, path = f"{name}-{version}.dist-info", Path(f"{name}-{version}-py3-none-any.whl")
    files = {
        f"{name}.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {
        place: base64.urlsafe_b64encode(hashlib.sha256(part.encode()).digest()).decode().rstrip("=")
        for place, part in files.items()
    }
    record = "".join(f"{place},sha256={digests[place]},{len(part)}\n" for place, part in files.items())
    with zipfile.ZipFile(path, "w") as archive:
        for place, part in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(place, part)
    return path.resolve().as_uri()


def everything(_: Wanted) -> bool:
    return False


# lists


def test_a_list_is_read_as_it_was_written() -> None:
    """Pinned, direct and editable distributions are told apart, with what is known of their contents."""
    text = (
        "# Python 3.11.7\nsix==1.17.0  # content 0f3a\n-e file:///src/lib  # my-lib==0.1\n"
        "tool @ git+https://x.org/tool@abc#subdirectory=a  # content 77\nmlsdk==0.1.0\n"
    )
    found = listed(text, {"tool": "2.0"})

    assert list(found) == ["six", "my-lib", "tool"]
    assert found["six"] == Wanted("six", "1.17.0", "six==1.17.0", "0f3a", None)
    assert (found["my-lib"].editable, found["my-lib"].url, found["my-lib"].version) == (True, "file:///src/lib", "0.1")
    assert (found["tool"].version, found["tool"].content) == ("2.0", "77")
    direct = {"url": "file:///w/a-1.whl"}
    assert (
        installed({"a": Distribution("a", "1", "/s", "/s/a-1.dist-info", direct)}, "3.11.7")["a"].url == direct["url"]
    )


def test_how_lists_differ() -> None:
    """What is missing, more, of another version or content is told; what is not known is taken to be the same."""
    a = listed("x==1  # content aa\ny==1\nz==1\nv==1  # content aa\n", {})
    b = listed("x==1  # content bb\ny==2\nw==1\nv==1\n", {})

    assert differences(a, b) == [
        "w 1 is there, and was not",
        "x 1 in place of 1 with other files",
        "y 2 in place of 1",
        "z 1 is missing",
    ]


# building


def test_an_environment_of_wheels() -> None:
    """It is built with what the list names, is found again, and one on top of another one leads there for the rest."""
    wanted = listed(f"tiny @ {wheel('tiny', '1.0', 'VALUE = 1')}\n", {"tiny": "1.0"})
    python = ".".join(map(str, sys.version_info[:3]))
    one = build(python, wanted, donors=[], prefixes=[])
    again = build(python, wanted, donors=[], prefixes=[])
    here = ask(sys.executable)
    assert here is not None
    more = {**packages_of(here, everything), **listed(f"tiny @ {wheel('tiny', '2.0', 'VALUE = 2')}\n", {"tiny": "2.0"})}
    above = build(python, more, donors=[here], prefixes=[])
    code = "import tiny, attrs, mlsdk; print(tiny.VALUE, tiny.__file__)"
    said = subprocess.run([above.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert (differences(wanted, packages_of(one, everything)), one.prefix) == ([], again.prefix)
    assert differences(more, packages_of(above, everything)) == []
    assert said.startswith("2 " + above.prefix)
    assert find(python, []) is not None
    assert find("2.7.18", []) is None


@pytest.mark.slow
@pytest.mark.parametrize("pip", ["installed", "bundled"])
def test_without_uv(monkeypatch: pytest.MonkeyPatch, pip: str) -> None:
    """Where there is no uv, pip installs: the one that is there, or the one that Python brings along."""
    require(importlib.util.find_spec("ensurepip"), "ensurepip")
    monkeypatch.setattr(building, "find_uv", lambda *_: None)
    if pip == "bundled":
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    wanted = listed(f"tiny @ {wheel('tiny', '1.0', 'VALUE = 1')}\n", {"tiny": "1.0"})
    one = build(".".join(map(str, sys.version_info[:3])), wanted, donors=[], prefixes=[], folder=str(Path.cwd()))

    assert differences(wanted, packages_of(one, everything)) == []
    assert one.prefix == str(Path("environment").resolve())


def test_a_lock_that_does_not_resolve() -> None:
    """What the installer says is told, and what to do; nothing half built is left."""
    wanted = listed(f"tiny @ {Path('gone-1.0-py3-none-any.whl').resolve().as_uri()}\n", {"tiny": "1.0"})

    with pytest.raises(RerunError, match=r"(?s)cannot be had: .*gone.*--env same") as error:
        build(".".join(map(str, sys.version_info[:3])), wanted, donors=[], prefixes=[])
    assert error.value.why == "environment"
    with pytest.raises(RerunError, match=r"Python 2\.7") as other:
        build("2.7.18", wanted, donors=[], prefixes=[])
    assert other.value.why == "environment"


# reruns

PROGRAM = """
    import project, tiny
    import mlsdk

    with mlsdk.run("tiny"):
        mlsdk.log(value=tiny.VALUE, own=project.VALUE)
"""


@pytest.mark.slow
def test_a_run_of_an_environment_that_is_gone() -> None:
    """The run's own environment is used while it is there; then one like it is built, or with other versions."""
    base = find(".".join(map(str, sys.version_info[:3])), [])
    assert base is not None
    subprocess.run([base.executable, "-m", "venv", "--without-pip", "own"], check=True)
    site = Path("own") / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    (site / "_tests.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    install = [sys.executable, "-m", "pip", "--python", "own/bin/python", "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*install, wheel("tiny", "1.0", "VALUE = 1")], check=True, capture_output=True)
    module = write("VALUE = 5", "src/project.py")
    (site / "project.pth").write_text(str(module.resolve().parent))  # the project itself, installed in place
    about = site / "project-0.1.dist-info"
    write("Metadata-Version: 2.1\nName: project\nVersion: 0.1\n", str(about / "METADATA"))
    origin = {"url": Path.cwd().as_uri(), "dir_info": {"editable": True}}
    (about / "direct_url.json").write_text(json.dumps(origin))
    git("init", "-q")
    write("own/\n*.whl\n", ".gitignore")
    write("Metadata-Version: 2.1\nName: apart\nVersion: 3.0\n", "lib/apart-3.0.dist-info/METADATA")
    path = os.pathsep.join([str(Path("lib").resolve()), environment()["PYTHONPATH"]])
    old = start(str(write(PROGRAM)), PYTHONPATH=path, python=str(Path("own/bin/python").absolute()))
    module.write_text("VALUE = 6")
    there = mlsdk.rerun(old)
    shutil.rmtree("own")
    built = mlsdk.rerun(old)
    wheel("tiny", "2.0", "VALUE = 2")

    assert (there.environment["prefix"], "notes" in there.code["rerun"]) == (old.environment["prefix"], False)  # type: ignore[operator]
    assert built.environment["prefix"] != old.environment["prefix"]
    assert {(run.metrics["value"].last, run.metrics["own"].last) for run in (old, there, built)} == {(1, 5)}
    assert dict(old.environment["distributions"])["apart"] == "3.0"  # type: ignore[call-overload]
    before, after = (dict(run.environment["distributions"]) for run in (old, built))  # type: ignore[call-overload]
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == {"project"}
    with pytest.raises(RerunError, match=r"tiny"):
        rerun_by(old, Recipe(packages={"tiny": "9.9"}))
    with pytest.raises(RerunError, match="ended before its run began"):
        mlsdk.rerun(old, env="same")
