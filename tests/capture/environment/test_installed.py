"""The distributions that an interpreter finds."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlsdk.capture.environment import installed
from mlsdk.capture.environment.installed import normalised, scan
from tests.capture.environment.distributions import install, many

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    installed._scans.clear()


def test_many(tmp_path: Path) -> None:
    """Five hundred distributions are found, each with its version, and none of their files is opened for it."""
    names = many(tmp_path, 500)
    found = scan([str(tmp_path)])
    code = f"""
import sys
opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
from mlsdk.capture.environment.installed import scan
opened.clear()
scan([{str(tmp_path)!r}])
print({{path.rpartition("/")[2] for path in opened}} - {{"direct_url.json"}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=os.getcwd())

    assert {name: one.version for name, one in found.distributions.items()} == names
    assert done.stdout.strip() == "set()"


def test_this_environment() -> None:
    """What is found here is what Python's own library finds, name by name and version by version."""
    theirs: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        theirs.setdefault(normalised(one.metadata["Name"]), one.version)
    found = scan([os.path.abspath(path) for path in sys.path])

    assert {name: one.version for name, one in found.distributions.items()} == theirs
    assert found.missing == {}


def test_the_first_counts(tmp_path: Path) -> None:
    """Of two distributions with one name the one that is first on the path counts; what is nowhere is passed over."""
    install(tmp_path / "one", "Typing_Extensions", "2.0")
    install(tmp_path / "two", "typing.extensions", "1.0")
    install(tmp_path / "two", "other", "3.0+cpu")
    path = [str(tmp_path / "zip.zip"), str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "one")]
    (tmp_path / "zip.zip").write_bytes(b"PK")
    found = scan(path).distributions

    assert {name: (one.version, os.path.basename(one.site)) for name, one in found.items()} == {
        "typing-extensions": ("2.0", "one"),
        "other": ("3.0+cpu", "two"),
    }


def test_origins(tmp_path: Path) -> None:
    """Where something came from is known by its direct URL, without passwords."""
    vcs = {"vcs": "git", "commit_id": "a" * 40, "requested_revision": "main"}
    install(
        tmp_path, "from_git", direct_url={"url": "https://me:t0k3n@host/x.git", "vcs_info": vcs, "subdirectory": "s"}
    )
    install(tmp_path, "from_file", direct_url={"url": "https://host/x.whl", "archive_info": {"hash": "sha256=abc"}})
    install(tmp_path, "new_file", direct_url={"url": "https://h/x", "archive_info": {"hashes": {"sha512": "d"}}})
    install(tmp_path, "in_place", direct_url={"url": "file:///src/a%20b", "dir_info": {"editable": True}})
    install(tmp_path, "broken", direct_url="{")
    install(tmp_path, "from_index")
    found = scan([str(tmp_path)])
    origins = {name: one.origin for name, one in found.distributions.items()}

    assert origins == {
        "from-git": {
            "url": "https://host/x.git",
            "vcs": "git",
            "commit": "a" * 40,
            "revision": "main",
            "subdirectory": "s",
        },
        "from-file": {"url": "https://host/x.whl", "hashes": {"sha256": "abc"}},
        "new-file": {"url": "https://h/x", "hashes": {"sha512": "d"}},
        "in-place": {"url": "file:///src/a%20b", "editable": True},
        "broken": None,
        "from-index": None,
    }
    assert found.distributions["in-place"].folder == os.path.join(os.sep, "src", "a b")
    assert found.distributions["in-place"].editable
    assert list(found.missing) == [str(tmp_path / "broken-1.0.dist-info" / "direct_url.json")]


def test_older_forms(tmp_path: Path) -> None:
    """Eggs, links to source trees and pointers of editable installs are found, in whatever form they were left."""
    site, source = tmp_path / "site", tmp_path / "source"
    site.mkdir()
    (site / "old-1.2-py3.11.egg-info").mkdir()
    (site / "single-0.5-py3.11.egg-info").write_text("Name: single\nVersion: 0.5\n")
    (site / "nameless.egg-info").mkdir()
    (site / "nameless.egg-info" / "PKG-INFO").write_text("Name: Name_Less\nVersion: 7\n\nVersion: 8\n")
    (source / "linked.egg-info").mkdir(parents=True)
    (source / "linked.egg-info" / "PKG-INFO").write_text("Name: linked\nVersion: 3.1\n")
    (site / "linked.egg-link").write_text(f"{source}\n.")
    (site / "__editable__.modern-2.0.pth").write_text(f"{source}\n")
    install(site, "modern", "2.0")
    (site / "__editable__.finder-4.0.pth").write_text("import __editable___finder_finder; ...\n")
    egg = site / "zipped-9.0-py3.11.egg"
    (egg / "EGG-INFO").mkdir(parents=True)
    (site / "~umpy-1.0.dist-info").mkdir()
    (site / "broken.dist-info").mkdir()
    found = scan([str(egg), str(site)])
    seen = {name: (one.version, one.editable, one.folder) for name, one in found.distributions.items()}

    assert seen == {
        "zipped": ("9.0", False, None),
        "old": ("1.2", False, None),
        "single": ("0.5", False, None),
        "name-less": ("7", False, None),
        "linked": ("3.1", True, str(source)),
        "modern": ("2.0", True, str(source)),
        "finder": ("4.0", True, None),
    }
    assert found.missing == {str(site / "broken.dist-info"): "has neither a name nor a version"}


def test_a_source_tree_on_the_path(tmp_path: Path) -> None:
    """A source tree that is on the path itself, as old development installs leave it, is an editable distribution."""
    (tmp_path / "tree.egg-info").mkdir()
    (tmp_path / "tree.egg-info" / "PKG-INFO").write_text("Name: tree\nVersion: 1\n")
    (tmp_path / "tree.egg-info" / "SOURCES.txt").write_text("tree.py\n")
    found = scan([str(tmp_path)]).distributions["tree"]

    assert (found.editable, found.folder) == (True, str(tmp_path))


def test_what_changes_is_seen(tmp_path: Path) -> None:
    """The second look at an unchanged path is the first one's answer; an upgrade is seen, right after it too."""
    install(tmp_path, "thing", "1.0")
    old = time.time() - 60
    os.utime(tmp_path, (old, old))
    first = scan([str(tmp_path)])
    again = scan([str(tmp_path)])
    (tmp_path / "thing-1.0.dist-info").rename(tmp_path / "thing-2.0.dist-info")
    upgraded = scan([str(tmp_path)])
    stamp = os.stat(tmp_path).st_mtime_ns
    (tmp_path / "thing-2.0.dist-info").rename(tmp_path / "thing-3.0.dist-info")
    os.utime(tmp_path, ns=(stamp, stamp))
    quickly = scan([str(tmp_path)])

    assert again is first
    assert [one.distributions["thing"].version for one in (first, upgraded, quickly)] == ["1.0", "2.0", "3.0"]


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder on the path that may not be read costs its own distributions alone, and the reason is noted."""
    install(tmp_path / "open", "thing")
    (tmp_path / "shut").mkdir()
    listed = os.listdir

    def list_some(folder: str) -> list[str]:
        if folder.endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(os, "listdir", list_some)
    found = scan([str(tmp_path / "shut"), str(tmp_path / "open")])

    assert set(found.distributions) == {"thing"}
    assert found.missing == {str(tmp_path / "shut"): "cannot be listed: Permission denied"}
