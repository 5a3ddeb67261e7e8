"""The commit, branch and state of the working directory; and that a repository cannot make us run its programs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mlsdk.capture import Context
from mlsdk.capture.git import capture, parse_status
from tests.conftest import require


def git(*arguments: str, folder: Path | None = None) -> str:
    """Run git as a user would."""
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "HOME": str(Path.cwd())}
    who = ["-c", "user.name=n", "-c", "user.email=e@example.com"]
    return subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        env={**os.environ, **settings},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


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


def facts(folder: Path) -> dict[str, object]:
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


def test_no_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without git nothing is claimed."""
    monkeypatch.setenv("PATH", "")

    assert capture(Context(str(repository))) is None


def test_what_git_refuses_is_said(repository: Path) -> None:
    """A repository that git cannot read is a failure that can be shown, not silence."""
    (repository / ".git" / "config").write_text("[core\n")

    with pytest.raises(Exception, match="config"):
        capture(Context(str(repository)))


CONFIG = """
[core]
    fsmonitor = {canary}
    hooksPath = {hooks}
    pager = {canary}
    editor = {canary}
    sshCommand = {canary}
    askPass = {canary}
[diff]
    external = {canary}
[diff "py"]
    textconv = {canary}
    command = {canary}
[filter "plain"]
    clean = {canary}
    smudge = {canary}
    required = true
[filter "odd=name.x"]
    clean = {canary}
    required = true
[filter "process"]
    process = {canary}
    required = true
[alias]
    status = !{canary}
    rev-parse = !{canary}
[pager]
    status = {canary}
[merge "py"]
    driver = {canary}
[credential]
    helper = !{canary}
[gpg]
    program = {canary}
[uploadpack]
    packObjectsHook = {canary}
[extensions]
    partialClone = origin
[remote "origin"]
    url = "ext::{canary}"
    promisor = true
    uploadpack = {canary}
[protocol]
    allow = always
"""


def test_a_hostile_repository(repository: Path, tmp_path: Path) -> None:
    """No program that a repository's configuration names is run: monitor, filters, hooks, pagers, helpers, fetches."""
    canary, called, hooks = tmp_path / "canary", tmp_path / "called", tmp_path / "hooks"
    canary.write_text(f'#!/bin/sh\necho "$0 $@" >> "{called}"\ncat\n')
    canary.chmod(0o755)
    hooks.mkdir()
    names = {"plain": "a.py", "odd=name.x": "b.py", "process": "c.py"}
    for name in names.values():
        (repository / name).write_text("x\n")
    git("add", ".", folder=repository)
    git("commit", "-qm", "all", folder=repository)
    for hook in ("post-index-change", "pre-commit", "reference-transaction", "fsmonitor-watchman"):
        shutil.copy(canary, hooks / hook)
        shutil.copy(canary, repository / ".git" / "hooks" / hook)
    (repository / ".gitattributes").write_text("".join(f"{name} filter={f} diff=py\n" for f, name in names.items()))
    with (repository / ".git" / "config").open("a") as config:
        config.write(CONFIG.format(canary=canary, hooks=hooks))
    for name in names.values():
        (repository / name).write_text("y\n")  # of the same length: git has to read it
        os.utime(repository / name, (1, 1))
    assert not called.exists()
    found = facts(repository)

    assert not called.exists(), called.read_text()
    assert found["dirty"] is True
    subprocess.run(["git", "status"], cwd=repository, capture_output=True, check=False, timeout=30)
    assert called.exists(), "the trap does not work, so that the test shows nothing"


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
    records = ["2 R. N... 1 2 3 4 5 R100 new", "? old name", "u UU N... 1 2 3 4 5 6 7 file", "? new", ""]
    status = "\0".join(["# branch.oid 1234", "# branch.head (detached)", *records])

    assert parse_status(status) == {"commit": "1234", "dirty": True, "changed": 2, "untracked": 1}
    assert parse_status("") == {"dirty": False, "changed": 0, "untracked": 0}
