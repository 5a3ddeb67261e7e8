"""The commit, the branch and whether the working directory differs from it.

Git is asked by one `status` that takes no lock and writes nothing; whatever a repository's configuration could make it execute is switched
off (file system monitor, hooks, external diff, filters).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlsdk.capture import Context

if TYPE_CHECKING:
    from git.cmd import Git

TIMEOUT_S = 30.0
_HARMLESS = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "diff.external=",
    "core.pager=cat",
    "submodule.recurse=false",
)


def capture(where: Context) -> Mapping[str, object] | None:
    """Facts `commit`, `branch`, `dirty`, `changed` and `untracked` (numbers of files), `root`; None outside a repository.

    `commit` is absent before the first commit, `branch` where the head is detached.
    """
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    from git.cmd import Git
    from git.exc import GitCommandError, GitCommandNotFound

    git = Git(where.folder)
    try:
        options = [*_HARMLESS, *_without_filters(git)]
        status = _run(
            git,
            options,
            "status",
            "--porcelain=v2",
            "--branch",
            "-z",
            "--untracked-files=all",
            "--ignore-submodules=dirty",
        )
        root = _run(git, options, "rev-parse", "--show-toplevel").strip()
    except (GitCommandError, GitCommandNotFound, OSError):
        return None
    return {**parse_status(status), "root": root}


def _run(git: Git, options: list[str], *arguments: str) -> str:
    switches = [word for option in options for word in ("-c", option)]
    command = ["git", "--no-optional-locks", *switches, *arguments]
    return str(
        git.execute(
            command, kill_after_timeout=TIMEOUT_S, strip_newline_in_stdout=False, env={"GIT_TERMINAL_PROMPT": "0"}
        )
    )


def _without_filters(git: Git) -> list[str]:
    """Options that switch off every filter program that the configuration names."""
    from git.exc import GitCommandError

    try:
        names = _run(
            git,
            list(_HARMLESS),
            "config",
            "--name-only",
            "-z",
            "--get-regexp",
            r"^filter\..*\.(clean|smudge|process|required)$",
        )
    except GitCommandError:  # git answers 1 when nothing matches
        return []
    return [f"{name}={'false' if name.endswith('.required') else ''}" for name in names.split("\0") if name]


def parse_status(status: str) -> dict[str, object]:
    """Facts in the output of `git status --porcelain=v2 --branch -z`."""
    found: dict[str, object] = {}
    changed = untracked = 0
    records = iter(status.split("\0"))
    for record in records:
        if record.startswith("# branch.oid ") and not record.endswith("(initial)"):
            found["commit"] = record.split(" ", 2)[2]
        elif record.startswith("# branch.head ") and not record.endswith("(detached)"):
            found["branch"] = record.split(" ", 2)[2]
        elif record[:2] in ("1 ", "2 ", "u "):
            changed += 1
            if record.startswith("2 "):
                next(records, None)
        elif record.startswith("? "):
            untracked += 1
    return {**found, "dirty": bool(changed or untracked), "changed": changed, "untracked": untracked}
