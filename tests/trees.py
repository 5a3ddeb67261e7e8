"""Working trees for tests and benchmarks: a user's git, repositories of a given size, and a look at one by hand."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

from mlsdk.capture import Context
from mlsdk.capture.code.tree import capture
from mlsdk.records import Run, RunStatus
from mlsdk.store.base import open_file
from mlsdk.store.target import FileTarget


def git(*arguments: str, folder: Path | None = None) -> str:
    """Run git as a user would, with no settings but those of the repository."""
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "HOME": str(Path.cwd())}
    who = ["-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "protocol.file.allow=always"]
    done = subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        env={**os.environ, **settings},
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr!r}"
    return os.fsdecode(done.stdout).strip()


def take(folder: Path, root: Path, entry: Path | None = None) -> dict[str, object]:
    """The facts that the capture finds in a folder, put away in the store at `root`."""
    target = FileTarget(f"file:{root}", str(root))
    facts = {"code": {"folder": str(folder), **({} if entry is None else {"entry": str(entry)})}}
    found = capture(Context(str(folder), facts=facts, root=str(root), put_blob=target.put_blob))
    assert found is not None
    return dict(found)


class _Source:
    """A store, as far as a run needs one to be restored."""

    def __init__(self, root: Path) -> None:
        self._store = open_file(f"file:{root}")

    def open_blob(self, digest: str) -> BinaryIO:
        return self._store.blobs.open(digest)


def run_of(facts: dict[str, object], root: Path) -> Run:
    """A run with these facts about its code."""
    now = datetime.now(timezone.utc)
    return Run("0" * 32, "made", "trees", RunStatus.FINISHED, now, code=facts, source=_Source(root))  # type: ignore[arg-type]


def contents(folder: Path, *, without: frozenset[bytes] = frozenset((b".git", b".mlsdk"))) -> dict[bytes, object]:
    """Everything in a folder but what git and mlsdk keep there: by path, kind, mode and bytes of each file and link."""
    found: dict[bytes, object] = {}
    top = os.fsencode(folder)
    for parent, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in without]
        for name in [*names, *folders]:
            path = os.path.join(parent, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found[os.path.relpath(path, top)] = ("link", os.readlink(path))
            elif stat.S_ISREG(mode) and name not in without:  # a submodule's `.git` is a file
                with open(path, "rb") as file:
                    found[os.path.relpath(path, top)] = ("file", oct(stat.S_IMODE(mode)), file.read())
    return found


# a repository that wants to execute something

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


def make_hostile(repository: Path, outside: Path, git_folder: Path | None = None) -> Path:
    """Name a program wherever a configuration can name one, for `a.py`, `b.py`, `c.py`; the file that tells of calls.

    The three files are changed in such a way that git has to read them, and would filter them.
    """
    git_folder = git_folder or repository / ".git"
    canary, called, hooks = outside / "canary", outside / "called", outside / "hooks"
    canary.write_text(f'#!/bin/sh\necho "$0 $@" >> "{called}"\ncat\n')
    canary.chmod(0o755)
    hooks.mkdir(exist_ok=True)
    for hook in ("post-index-change", "pre-commit", "reference-transaction", "fsmonitor-watchman"):
        shutil.copy(canary, hooks / hook)
        (git_folder / "hooks").mkdir(exist_ok=True)
        shutil.copy(canary, git_folder / "hooks" / hook)
    filters = {"a.py": "plain", "b.py": "odd=name.x", "c.py": "process"}
    (repository / ".gitattributes").write_text("".join(f"{name} filter={f} diff=py\n" for name, f in filters.items()))
    with (git_folder / "config").open("a") as config:
        config.write(CONFIG.format(canary=canary, hooks=hooks))
    for name in filters:
        (repository / name).write_text("y\n")
        os.utime(repository / name, (1, 1))
    return called


# trees of a given size

_WORDS = (
    "model batch loss train rate layer weight epoch state shape config value index tensor score result cache split"
).split()


def source(chance: random.Random, lines: int) -> str:
    """Python that nobody has written before, so that packing it costs what code costs."""

    def name() -> str:
        return f"{chance.choice(_WORDS)}_{chance.choice(_WORDS)}"

    parts = ['"""Made for a benchmark."""\n']
    for _ in range(lines // 4):
        body = f"    {name()} = {name()}[{chance.randrange(100)}] * {chance.random():.3f}  # {name()} of {name()}\n"
        parts.append(f"\n\ndef {name()}({name()}, {name()}={chance.randrange(9)}):\n{body}    return {name()}\n")
    return "".join(parts)


def measure(folder: Path, root: Path) -> dict[str, float]:
    """Seconds that the capture takes with an empty store, again with nothing changed, and with one file changed."""
    found = {}
    for name in ("cold_s", "settled_s", "unchanged_s", "one_changed_s"):
        if name == "one_changed_s":
            with next(folder.rglob("module_*.py")).open("a") as file:
                file.write("# changed\n")
        begun = time.perf_counter()
        take(folder, root)
        found[name] = time.perf_counter() - begun
    del found["settled_s"]  # of a tree made just now, it still reads what is racy
    return found


def make_tree(folder: Path, files: int, *, lines: int = 60, seed: int = 1) -> Path:
    """A repository with one commit of so many Python files of about 2 KB, in folders of 50."""
    chance = random.Random(seed)
    folder.mkdir(parents=True)
    for number in range(files):
        inside = folder / f"package_{number // 2500}" / f"part_{number // 50}"
        if number % 50 == 0:
            inside.mkdir(parents=True)
        (inside / f"module_{number}.py").write_text(source(chance, lines), "utf-8")
    git("init", "-q", "-b", "main", ".", folder=folder)
    git("add", ".", folder=folder)
    git("commit", "-qm", "made", folder=folder)
    return folder
