"""The commit, branch and state of the working directory; and that a repository cannot make us run its programs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlsdk.capture import Context
from mlsdk.capture.code import git as git_capture
from mlsdk.capture.code.git import capture, parse_status, without_credentials
from tests.conftest import require
from tests.programs import environment, eventually
from tests.trees import git, make_hostile


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit."""
    require(shutil.which("git"), "git")
    folder = tmp_path / "a folder"
    folder.mkdir()
    git("init", "-q", "-b", "main", str(folder))
    (folder / "a.py").write_text("a = 1\n")
    git("add", ".", folder=folder)
    git("commit", "-qm", "first", folder=folder)
    return folder


def facts(folder: Path) -> dict[str, Any]:
    """What the capture finds, which is something."""
    found = capture(Context(str(folder)))
    assert found is not None
    return dict(found)


def test_clean(repository: Path) -> None:
    """A clean repository is its commit and branch, seen from a folder inside it too."""
    (repository / "below").mkdir()
    expected = {
        "commit": git("rev-parse", "HEAD", folder=repository),
        "branch": "main",
        "dirty": False,
        "changed": 0,
        "untracked": 0,
        "root": str(repository),
    }

    assert facts(repository) == expected
    assert facts(repository / "below") == expected


def test_dirty(repository: Path) -> None:
    """Changed, staged, renamed and untracked files are counted, whatever their names."""
    for name in ("b.py", "c.py"):
        (repository / name).write_text("x = 1\n" * 10)
    git("add", ".", folder=repository)
    git("commit", "-qm", "more", folder=repository)
    (repository / "a.py").write_text("a = 2\n")
    git("mv", "b.py", "renamed ? 1.py", folder=repository)
    (repository / "staged.py").touch()
    git("add", "staged.py", folder=repository)
    (repository / "? new\nline.py").touch()
    (repository / "1 ü.txt").touch()
    found = facts(repository)

    assert (found["dirty"], found["changed"], found["untracked"]) == (True, 3, 2)


def test_before_the_first_commit(tmp_path: Path) -> None:
    """Before the first commit there is a branch and no commit."""
    git("init", "-q", "-b", "main", str(tmp_path))
    found = facts(tmp_path)

    assert "commit" not in found
    assert found["branch"] == "main"


def test_detached_and_worktree(repository: Path, tmp_path: Path) -> None:
    """A detached head has a commit and no branch; a linked working tree is its own root."""
    tree = tmp_path / "tree"
    git("worktree", "add", "-q", "--detach", str(tree), folder=repository)
    found = facts(tree)

    assert found["commit"] == git("rev-parse", "HEAD", folder=repository)
    assert "branch" not in found
    assert found["root"] == str(tree)


def test_where_there_is_none(tmp_path: Path, repository: Path) -> None:
    """Outside a repository, and inside its own folder, nothing is claimed."""
    assert capture(Context(str(tmp_path))) is None
    assert capture(Context(str(repository / ".git"))) is None


def test_no_git(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without git a repository is said not to be readable; elsewhere nothing is missing."""
    monkeypatch.setenv("PATH", "")
    (tmp_path / "empty").mkdir()

    assert facts(repository) == {"git_missing": {"git": "the git program was not found, or could not be started"}}
    assert capture(Context(str(tmp_path / "empty"))) is None


@pytest.mark.parametrize("what", ["config", "index", "HEAD"])
def test_what_git_refuses_is_said(repository: Path, what: str) -> None:
    """A repository that git cannot read is said to be so, not passed over in silence."""
    (repository / ".git" / what).write_text("[core\n")
    missing = facts(repository)["git_missing"]

    assert missing["git"].startswith("git refuses: fatal: ")


def test_a_git_that_hangs(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git that does not answer is ended, with what it has started, and the run says so."""
    (tmp_path / "git").write_text(f"#!/bin/sh\necho $$ > '{tmp_path}/pid'\n/bin/sleep 1000 & /bin/sleep 1000\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(git_capture, "FIRST_TIMEOUT_S", 0.5)

    assert facts(repository)["git_missing"]["git"].startswith("git hangs: no answer to `git rev-parse` within 0.5 s")
    assert facts(repository)["git_missing"]["git"] == "git hangs: it gave no answer a moment ago"
    assert eventually(lambda: not living(int((tmp_path / "pid").read_text())))


def living(group: int) -> list[str]:
    """Processes of a group that have not ended; some may wait to be buried by the first process of the machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of_group = path.read_text().rpartition(") ")[2].split()[:3]
            found += [path.parent.name] if int(of_group) == group and state != "Z" else []
    return found


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("exec /bin/sleep 1000", "git hangs: no answer to `git rev-parse` within 0.3 s"),
        ("echo no tools; exit 1", "git ended with 1 and said nothing"),
    ],
)
def test_git_as_the_companion_meets_it(repository: Path, tmp_path: Path, program: str, said: str) -> None:
    """In a fresh process, too, where GitPython is yet to be imported, a git that hangs or fails is only said."""
    (tmp_path / "git").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "git").chmod(0o755)
    code = """
import json, os, sys
from mlsdk.capture import Context
from mlsdk.capture.code import git
git.FIRST_TIMEOUT_S = 0.3
print(json.dumps(git.capture(Context(sys.argv[1]))))
assert "GIT_PYTHON_REFRESH" not in os.environ
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(repository)],
        env=environment(PATH=f"{tmp_path}"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stderr == ""
    assert json.loads(done.stdout) == {"git_missing": {"git": said}}


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    """Of a folder that was deleted nothing is claimed, least of all the repository in which the companion is."""
    found = capture(Context(str(tmp_path / "gone")))

    assert found is None or "commit" not in found


def test_the_remote(repository: Path, tmp_path: Path) -> None:
    """The remote that the branch follows is named without credentials, and how far the branch is from it."""
    git("clone", "-q", "--bare", str(repository), str(tmp_path / "far"))
    git("remote", "add", "origin", "https://ada:s3cret@example.com/far.git", folder=repository)
    assert facts(repository)["remote"] == "https://example.com/far.git"
    git("remote", "add", "mine", str(tmp_path / "far"), folder=repository)
    git("fetch", "-q", "mine", folder=repository)
    git("branch", "-q", "--set-upstream-to=mine/main", folder=repository)
    git("commit", "-q", "--allow-empty", "-m", "second", folder=repository)
    found = facts(repository)

    assert (found["remote"], found["ahead"], found["behind"]) == (str(tmp_path / "far"), 1, 0)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://token@example.com:8443/a.git", "https://example.com:8443/a.git"),
        ("https://u:p@ss@example.com/a?private_token=x#y", "https://example.com/a"),
        ("ssh://git:pw@example.com:22/a", "ssh://git@example.com:22/a"),
        ("git@example.com:team/a.git", "git@example.com:team/a.git"),
        ("user:pw@example.com:team/a.git", "user@example.com:team/a.git"),
        ("/home/me/a@b", "/home/me/a@b"),
        ("https://[broken/a", "https://…"),
    ],
)
def test_urls_lose_their_credentials(url: str, kept: str) -> None:
    """Whatever could open a door is taken out of a URL."""
    assert without_credentials(url) == kept


def test_a_hostile_repository(repository: Path, tmp_path: Path) -> None:
    """No program that a repository's configuration names is run: monitor, filters, hooks, pagers, helpers, fetches."""
    names = ("a.py", "b.py", "c.py")
    for name in names:
        (repository / name).write_text("x\n")
    git("add", ".", folder=repository)
    git("commit", "-qm", "all", folder=repository)
    called = make_hostile(repository, tmp_path)
    assert not called.exists()
    found = facts(repository)

    assert not called.exists(), called.read_text()
    assert found["dirty"] is True
    subprocess.run(["git", "status"], cwd=repository, capture_output=True, check=False, timeout=30)
    assert called.exists(), "the trap does not work, so that the test shows nothing"


@pytest.mark.parametrize("path", [".", "", f".{os.pathsep}{os.defpath}"])
def test_a_program_of_the_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """What is called git in the repository is not run, whatever `PATH` says; nor what the environment tells git to."""
    trap = repository / "git"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    trap.chmod(0o755)
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.fsmonitor'='{trap}'")
    monkeypatch.setenv("GIT_TRACE", "1")
    monkeypatch.chdir(repository)
    found = facts(repository)

    assert not (tmp_path / "called").exists()
    assert ("commit" in found) == (os.defpath in path)


def test_changes_in_submodules(repository: Path, tmp_path: Path) -> None:
    """A submodule's own changes make a repository dirty, also those of a submodule in it."""
    for outer, inner in ((tmp_path / "b", tmp_path / "a"), (repository, tmp_path / "b")):
        for folder in (inner, outer):
            if not folder.exists():
                git("init", "-q", str(folder))
                (folder / "f.py").write_text("x = 1\n")
                git("add", ".", folder=folder)
                git("commit", "-qm", "first", folder=folder)
        git("submodule", "--quiet", "add", str(inner), "inner", folder=outer)
        git("commit", "-qm", "inner", folder=outer)
    git("submodule", "--quiet", "update", "--init", "--recursive", folder=repository)
    before = facts(repository)
    (repository / "inner/inner/f.py").write_text("x = 2\n")
    (repository / "inner/new.py").write_text("x = 2\n")
    after = facts(repository)

    assert (before["dirty"], before["changed"], before["untracked"]) == (False, 0, 0)
    assert (after["dirty"], after["changed"], after["untracked"]) == (True, 1, 1)


def test_nothing_is_written(repository: Path) -> None:
    """The index is the same to the byte, no lock is taken, and one that is there is in nobody's way."""
    os.utime(repository / "a.py", (1, 1))
    index = repository / ".git" / "index"

    def state() -> dict[str, str]:
        return {
            str(path.relative_to(repository)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(repository.rglob("*"))
            if path.is_file()
        }

    before, changed = state(), index.stat().st_mtime_ns
    facts(repository)
    assert state() == before
    assert index.stat().st_mtime_ns == changed
    (repository / ".git" / "index.lock").touch()

    assert facts(repository)["dirty"] is False


def test_reading_a_status() -> None:
    """Renames take two records, conflicts count, and an empty answer is a clean one."""
    follows = "# branch.ab +3 -2"
    records = [follows, "2 R. N... 1 2 3 4 5 R100 new", "? old name", "u UU N... 1 2 3 4 5 6 7 file", "? new", ""]
    status = "\0".join(["# branch.oid 1234", "# branch.head (detached)", *records])

    assert parse_status(status) == {
        "commit": "1234",
        "ahead": 3,
        "behind": 2,
        "dirty": True,
        "changed": 2,
        "untracked": 1,
    }
    assert parse_status("") == {"dirty": False, "changed": 0, "untracked": 0}
