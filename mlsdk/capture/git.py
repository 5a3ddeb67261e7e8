"""The commit, the branch and whether the working directory differs from it.

Git is asked by one `status` that takes no lock and writes nothing; whatever a repository's configuration could make it
execute is switched off: file system monitor, hooks, external diff, filters, fetches.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlsdk.capture import Context

if TYPE_CHECKING:
    from git.cmd import Git

TIMEOUT_S = 30.0
_HARMLESS = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "cat",
    "diff.external": "",
    "submodule.recurse": "false",
    "protocol.allow": "never",
}
_STATUS = ["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignore-submodules=dirty"]
_PROGRAMS = r"^filter\..*\.(clean|smudge|process|required)$"


def capture(where: Context) -> Mapping[str, object] | None:
    """Facts `commit`, `branch`, `dirty`, `changed`, `untracked` (numbers of files), `root`; None outside a repository.

    `commit` is absent before the first commit, `branch` where the head is detached.

    Raises:
        GitCommandError: git refuses the repository, or takes too long.
    """
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    from git.cmd import Git
    from git.exc import GitCommandError, GitCommandNotFound

    git = Git(where.folder)
    try:
        options = {**_HARMLESS, **_without_filters(git)}
        root = _run(git, options, "rev-parse", "--show-toplevel").removesuffix("\n")
        return {**parse_status(_run(git, options, *_STATUS)), "root": root}
    except GitCommandNotFound:
        return None
    except GitCommandError as error:
        if "not a git repository" in str(error.stderr) or "must be run in a work tree" in str(error.stderr):
            return None
        raise


def _run(git: Git, options: Mapping[str, str], *arguments: str) -> str:
    """Run git with settings above those of the repository.

    They go by the environment: a name with `=` in it, as a hostile filter may have, cannot be said by `-c`.
    """
    settings = {"GIT_CONFIG_COUNT": str(len(options))}
    for number, (name, value) in enumerate(options.items()):
        settings |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    settings |= {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
    command = ["git", "--no-optional-locks", *arguments]
    return str(git.execute(command, kill_after_timeout=TIMEOUT_S, strip_newline_in_stdout=False, env=settings))


def _without_filters(git: Git) -> dict[str, str]:
    """Settings that switch off every filter program that the configuration names."""
    from git.exc import GitCommandError

    try:
        names = _run(git, _HARMLESS, "config", "--name-only", "-z", "--get-regexp", _PROGRAMS)
    except GitCommandError:  # git answers 1 when nothing matches
        return {}
    return {name: "false" if name.endswith(".required") else "" for name in names.split("\0") if name}


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
