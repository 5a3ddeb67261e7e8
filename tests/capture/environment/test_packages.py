"""Packages: what is installed, what was imported, where it came from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mlsdk
from mlsdk import config
from mlsdk.capture import Context
from mlsdk.capture.environment import installed, packages
from mlsdk.capture.environment.packages import capture, conda, imported
from mlsdk.capture.facts import encode_facts
from tests import programs
from tests.capture.environment.distributions import install, many
from tests.conftest import require


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    installed._scans.clear()
    packages._states.clear()


def look(*path: Path, modules: str = "", **known: object) -> dict[str, Any]:
    """What is found for a run with this path and these modules."""
    env = {"path": [str(entry) for entry in path], "imported": modules, **known}
    return dict(capture(Context(".", facts={"env": env})))


def test_all_distributions(tmp_path: Path) -> None:
    """Every distribution is listed with its version; nothing else is said where nothing else is known."""
    names = many(tmp_path, 500)

    assert look(tmp_path) == {"distributions": names}


def test_imported(tmp_path: Path) -> None:
    """Modules are brought to their distributions: by name, by RECORD, within namespaces; one's own are of none."""
    site, own = tmp_path / "site", tmp_path / "own"
    install(site, "scikit_learn", "1.4", files={"sklearn/__init__.py": ""})
    install(site, "numpy", "2.0", files={"numpy/__init__.py": ""})
    install(site, "attr", "0.1", files={"something.py": ""})
    install(site, "attrs", "24.1", files={"attr/__init__.py": "", "attrs/__init__.py": ""})
    install(site, "google_cloud_storage", "2.1", files={"google/cloud/storage/__init__.py": ""})
    install(own, "protobuf", "5.0", files={"google/protobuf/__init__.py": ""})
    install(site, "speedup", "0.3", files={"_speedup.cpython-311-x86_64-linux-gnu.so": ""})
    install(site, "unused", "9.9")
    (own / "mine").mkdir(parents=True)
    (own / "numpy_helpers.py").write_text("")
    found = look(own, site, modules="sklearn numpy attr google.protobuf google.cloud.storage _speedup mine gone")

    assert found["packages"] == {
        "scikit-learn": "1.4",
        "numpy": "2.0",
        "attrs": "24.1",
        "google-cloud-storage": "2.1",
        "protobuf": "5.0",
        "speedup": "0.3",
    }


def test_imported_here() -> None:
    """In this very environment imported modules are brought to what Python's own library says."""
    from importlib.metadata import version

    modules = ["hypothesis", "sklearn", "attr", "dateutil", "mlsdk", "tests"]
    found = imported(installed.scan([os.path.abspath(path) for path in sys.path]), modules)
    names = ("hypothesis", "scikit-learn", "attrs", "python-dateutil", "mlsdk")

    assert found == {name: version(name) for name in names}


def test_editable(tmp_path: Path) -> None:
    """Of an editable distribution the state of its folder is known, changes too; its modules are brought to it."""
    require(shutil.which("git"), "git")
    source = tmp_path / "source"
    (source / "src" / "edited_mod").mkdir(parents=True)
    (source / "src" / "edited_mod" / "__init__.py").write_text("x = 1\n")
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(source)], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    install(tmp_path / "site", "edited", files={}, direct_url={"url": source.as_uri(), "dir_info": {"editable": True}})
    first = look(tmp_path / "site", source / "src", modules="edited_mod")
    (source / "src" / "edited_mod" / "__init__.py").write_text("x = 2\n")
    second = look(tmp_path / "site", modules="edited_mod")

    assert first["packages"] == second["packages"] == {"edited": "1.0"}
    state = first["installed_from"]["edited"]["git"]
    assert (state["commit"], state["branch"], state["dirty"]) == (head, "main", False)
    assert second["installed_from"]["edited"]["git"]["dirty"]


def test_a_look_at_a_folder_serves_runs_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git is asked once for all runs that started before it was asked, and again for a later one."""
    asked = []

    def ask(where: Context) -> dict[str, object]:
        asked.append(where.folder)
        return {"commit": "a" * 40, "root": where.folder}

    monkeypatch.setattr("mlsdk.capture.code.git.capture", ask)
    (tmp_path / "source" / ".git").mkdir(parents=True)
    url = {"url": (tmp_path / "source").as_uri(), "dir_info": {"editable": True}}
    install(tmp_path / "site", "edited", files={}, direct_url=url)
    env = {"path": [str(tmp_path / "site")], "imported": ""}
    runs = [{"env": env, "run": {"started_ns": started_ns}} for started_ns in (1, 2, 2**62, 2**62)]
    found: list[Any] = [capture(Context(".", facts=facts)) for facts in runs]

    assert len(asked) == 3
    assert all(one["installed_from"]["edited"]["git"] == {"commit": "a" * 40} for one in found)


def test_git_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where git fails on an editable folder the rest is there, with the reason."""

    def fail(where: Context) -> dict[str, object]:
        raise RuntimeError("corrupt")

    monkeypatch.setattr("mlsdk.capture.code.git.capture", fail)
    (tmp_path / ".git").mkdir()
    url = {"url": tmp_path.as_uri(), "dir_info": {"editable": True}}
    install(tmp_path / "site", "edited", files={}, direct_url=url)
    found = look(tmp_path / "site")

    assert found["installed_from"] == {"edited": {"url": tmp_path.as_uri(), "editable": True}}
    assert found["packages_missing"] == {"edited": "git: RuntimeError: corrupt"}


def test_names_of_secrets_are_no_secrets(tmp_path: Path) -> None:
    """A package that is called after secrets keeps its version, and the run has no problem with it."""
    for name in ("detect_secrets", "azure_keyvault_secrets", "google_auth"):
        install(tmp_path, name, "1.5.0")
    found = look(tmp_path, modules="detect_secrets")
    encoded, notes = encode_facts("env", found, lambda _: ("0" * 64, 1))

    assert encoded["packages"] == {"detect-secrets": "1.5.0"}
    assert encoded["distributions"]["azure-keyvault-secrets"] == "1.5.0"  # type: ignore[index]
    assert notes == {}


def test_conda(tmp_path: Path) -> None:
    """What conda installed is known by the names of its records."""
    (tmp_path / "conda-meta").mkdir()
    for name in ("numpy-1.26.4-py311h64a7726_0.json", "ca-certificates-2024.2.2-hbcca054_0.json", "history"):
        (tmp_path / "conda-meta" / name).write_text("not to be opened")
    expected = {"numpy": "1.26.4 py311h64a7726_0", "ca-certificates": "2024.2.2 hbcca054_0"}

    assert conda({"prefix": str(tmp_path)}) == expected
    assert conda({"prefix": "/nowhere", "variables": {"CONDA_PREFIX": str(tmp_path)}}) == expected
    assert conda({}) == {}


def test_modified_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were edited after the install are named where the setting asks for it, and only there."""
    install(tmp_path, "edited")
    install(tmp_path, "sound")
    (tmp_path / "edited.py").write_text("x = 2\n")
    before = look(tmp_path)
    config.configure(check_packages=True)
    after = look(tmp_path)
    monkeypatch.setattr(packages, "MODIFIED_LIMIT_S", -1.0)
    late = look(tmp_path)

    assert "modified" not in before
    assert after["modified"] == {"edited": {"changed": ["edited.py"], "missing": []}}
    assert set(late["packages_missing"]) == {"modified.edited", "modified.sound"}


def test_without_the_path() -> None:
    """Without the capture that knows the path nothing is made up: the reason is noted."""
    assert "python" in str(capture(Context("."))["packages_missing"])


def test_a_run_knows_its_packages(tmp_path: Path) -> None:
    """A run's packages can be filtered by, and are those of its own interpreter, not of whoever looks."""
    install(tmp_path / "site", "detect_nothing", "4.2")
    code = f"""
import json, sys
sys.path.append({str(tmp_path / "site")!r})
import detect_nothing
with mlsdk.run("packages", capture="python, packages") as run:
    pass
print(json.dumps(run.id))
"""
    identity = json.loads(programs.execute(code).stdout)
    found = mlsdk.runs("env.packages.`detect-nothing` = '4.2'")

    assert [run.id for run in found] == [identity]
    assert found[0].environment["distributions"]["pytest"] == pytest.__version__  # type: ignore[index]
