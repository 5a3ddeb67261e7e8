"""The commit, the branch, the remote, and whether the working directory differs from the commit.

Git is asked by programs that take no lock and write nothing. Whatever a repository's configuration could make them
execute is switched off: file system monitor, hooks, external diff, filters, pagers, fetches.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from mlsdk.capture import Context

if TYPE_CHECKING:
    from git.cmd import Git

TIMEOUT_S = 30.0
"""For one question to git that makes it look at all files."""

FIRST_TIMEOUT_S = 5.0
"""For where a repository is, and its settings: git only has to read a few small files."""

HANGS_FOR_S = 60.0
"""A git that has not answered is not asked again in the same folder for so long: two captures wait only once."""

_hung: dict[str, float] = {}

_HARMLESS = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "cat",
    "credential.helper": "",
    "diff.external": "",
    "submodule.recurse": "false",
    "protocol.allow": "never",
}
_MOST_NESTED = 10
"""Submodules in submodules."""
_STATUS = ["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignore-submodules=dirty"]
_SETTINGS = r"^(filter\..*\.(clean|smudge|process|required)|remote\..*\.url|branch\..*\.remote)$"


class GitError(Exception):
    """Git has no answer; the text says why, to people."""


class GitHangsError(GitError):
    """Git takes too long."""


def capture(where: Context) -> Mapping[str, object] | None:
    """Facts `commit`, `branch`, `remote`, `ahead`, `behind`, `dirty`, `changed`, `untracked`, `root`.

    `changed` and `untracked` are numbers of files, with those in submodules. `commit` is absent before the first
    commit, `branch` where the head is detached, `remote` where there is none, `ahead` and `behind` without a branch
    that is followed. What git could not say, because it is missing, hangs or refuses the repository, is under
    `git_missing`. None outside a repository.
    """
    if not where.folder:
        return None
    root = None
    try:
        repository = open_repository(where.folder)
        if repository is None:
            return None
        root = repository.root
        found = status_of(repository)
    except GitError as error:
        return {**({} if root is None else {"root": root}), "git_missing": {"git": str(error)}}
    remote = repository.remote_of(str(found.get("branch", "")))
    return {**found, **({} if remote is None else {"remote": remote}), "root": root}


def status_of(repository: Repository, depth: int = 0) -> dict[str, object]:
    """Facts in the status of a working tree, its submodules' own changes counted with it.

    Each submodule is asked by its own git: the one above would ask it by its own settings.

    Raises:
        GitError: there is no answer.
    """
    found = parse_status(os.fsdecode(repository.ask(*_STATUS)))
    for inner in repository.submodules() if depth < _MOST_NESTED else ():
        with contextlib.suppress(GitError):  # the code tree says what is missing of it
            its = status_of(inner, depth + 1)
            found |= {name: _sum(found[name], its[name]) for name in ("changed", "untracked")}
            found["dirty"] = found["dirty"] or its["dirty"]
    return found


def _sum(*counts: object) -> int:
    return sum(count for count in counts if isinstance(count, int))


class Repository:
    """A working tree that git knows, and questions to it.

    Attributes:
        root: its top folder, without symbolic links.
        warnings: what git said on stderr while it answered.
    """

    def __init__(self, root: str, git: Git, settings: Mapping[str, str]) -> None:
        self.root = root
        self.warnings = ""
        self._git = git
        self._settings = settings
        programs = [name for name in settings if name.startswith("filter.")]
        self._options = _HARMLESS | {name: "false" if name.endswith(".required") else "" for name in programs}

    def ask(self, *arguments: str) -> bytes:
        """What git prints.

        Raises:
            GitError: it fails, or takes too long.
        """
        code, printed, said = _run(self._git, self._options, self.root, *arguments, limit_s=TIMEOUT_S)
        if code:
            raise GitError(_reason(said, code))
        self.warnings += said
        return printed

    def head(self) -> str | None:
        """The commit that is checked out; None before the first one."""
        with contextlib.suppress(GitError):
            return self.ask("rev-parse", "--verify", "--quiet", "HEAD").decode("ascii", "replace").strip()
        return None

    def submodules(self) -> Iterator[Repository]:
        """The working trees of its submodules, those that are there."""
        table = os.path.join(self.root, ".gitmodules")
        if not os.path.isfile(table):
            return
        printed = b""
        with contextlib.suppress(GitError):  # it names none, or is damaged
            printed = self.ask("config", "-z", "--file", table, "--get-regexp", r"^submodule\..*\.path$")
        for record in filter(None, os.fsdecode(printed).split("\0")):
            folder = os.path.realpath(os.path.join(self.root, record.partition("\n")[2]))
            inner = None
            with contextlib.suppress(GitError):  # the code tree says so
                inner = open_repository(folder) if folder.startswith(os.path.join(self.root, "")) else None
            if inner is not None and os.path.realpath(inner.root) == folder:
                yield inner

    def remote_of(self, branch: str) -> str | None:
        """URL of the remote that a branch follows, else of `origin`, else of the first; without credentials."""
        urls = {
            name.removeprefix("remote.").removesuffix(".url"): url
            for name, url in self._settings.items()
            if name.startswith("remote.")
        }
        name = self._settings.get(f"branch.{branch}.remote", "origin")
        url = urls.get(name) or urls.get("origin") or next(iter(urls.values()), None)
        return None if url is None else without_credentials(url)


def open_repository(folder: str) -> Repository | None:
    """The working tree in which a folder lies; None if it lies in none.

    Raises:
        GitError: git is missing, hangs or refuses the repository.
    """
    marked = marked_root(folder)
    if marked is None and "GIT_DIR" not in os.environ:  # GitPython takes 0.1 s to import
        return None
    git = _git(folder)
    if time.monotonic() < _hung.get(folder, 0.0):
        raise GitHangsError("git hangs: it gave no answer a moment ago")
    try:
        code, printed, said = _run(git, _HARMLESS, folder, "rev-parse", "--show-toplevel", limit_s=FIRST_TIMEOUT_S)
    except GitHangsError:
        _hung[folder] = time.monotonic() + HANGS_FOR_S
        raise
    except GitError:
        if marked is None:
            return None
        raise
    if code:
        if "must be run in a work tree" in said or (marked is None and "not a git repository" in said):
            return None
        raise GitError(_reason(said, code))
    root = os.path.normpath(os.fsdecode(printed.removesuffix(b"\n")))
    inside = os.path.join(os.path.realpath(folder), "")
    if not inside.startswith(os.path.join(os.path.realpath(root), "")):
        raise GitError(f"the repository's configuration says that its working tree is elsewhere: {root}")
    code, printed, said = _run(
        git, _HARMLESS, folder, "config", "-z", "--get-regexp", _SETTINGS, limit_s=FIRST_TIMEOUT_S
    )
    if code > 1:  # 1: nothing matches
        raise GitError(_reason(said, code))
    lines = os.fsdecode(printed).split("\0")
    return Repository(root, git, {name: value for name, _, value in (line.partition("\n") for line in lines) if name})


def _git(folder: str) -> Git:
    """GitPython for a folder.

    When it is imported it runs `git version`, without a limit of time, and cannot be imported where that fails: it is
    given a program that cannot be started, and what git can do is seen at our own first question.
    """
    if "git" not in sys.modules:
        told = {"GIT_PYTHON_REFRESH": "quiet", "GIT_PYTHON_GIT_EXECUTABLE": os.devnull}
        before = {name: os.environ.get(name) for name in told}
        os.environ.update(told)
        try:
            import git  # noqa: F401
        except ImportError as error:
            raise GitError(f"GitPython cannot be imported ({error}): pip install GitPython") from None
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    from git.cmd import Git

    return Git(folder)


def marked_root(folder: str) -> str | None:
    """The nearest folder upwards that holds a `.git`; whether git can read it is another question."""
    folder = os.path.realpath(folder)
    while not os.path.lexists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return folder


def _reason(said: str, code: int) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    text = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "")
    return f"git refuses: {text}" if text else f"git ended with {code} and said nothing"


def _run(git: Git, options: Mapping[str, str], folder: str, *arguments: str, limit_s: float) -> tuple[int, bytes, str]:
    """Run git with settings above those of the repository: exit code, stdout, stderr.

    They go by the environment: a name with `=` in it, as a hostile filter may have, cannot be said by `-c`.
    """
    from git.exc import GitCommandNotFound

    settings = {"GIT_CONFIG_COUNT": str(len(options))}
    for number, (name, value) in enumerate(options.items()):
        settings |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    settings |= {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
    settings |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_CONFIG_PARAMETERS": "", "PATH": _search_path()}
    settings |= {name: "0" for name in os.environ if name.startswith("GIT_TRACE")}  # they would stand among the answers
    # `-C`: GitPython would go on in this process's own folder if that of the run is not there any more.
    command = ["git", "--no-optional-locks", "-C", folder, *arguments]
    own_group: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {}
    try:
        running = git.execute(command, as_process=True, env=settings, **own_group)
    except (GitCommandNotFound, OSError):
        raise GitError("the git program was not found, or could not be started") from None
    return _answer(running, arguments[0], limit_s)


def _search_path() -> str:
    """`PATH` without relative entries: a repository may hold a program that is called git."""
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(filter(os.path.isabs, entries)) or os.devnull


def _answer(running: Any, what: str, limit_s: float) -> tuple[int, bytes, str]:
    """Wait for a program, but not for ever: then it goes, with all that it has started."""
    from subprocess import TimeoutExpired

    process = running.proc  # GitPython ends the program when `running` is let go
    try:
        printed, said = process.communicate(timeout=limit_s)
    except TimeoutExpired:
        _kill(process)
        raise GitHangsError(f"git hangs: no answer to `git {what}` within {limit_s:g} s") from None
    return process.returncode, printed, said.decode("utf-8", "replace")


def _kill(process: Any) -> None:
    with contextlib.suppress(OSError):
        if os.name == "posix":
            import signal

            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    for stream in (process.stdout, process.stderr):
        stream.close()
    process.wait()


def without_credentials(url: str) -> str:
    """A remote's URL without user, password, query: what may open a door. The user of ssh is none and stays.

    >>> without_credentials("https://ada:s3cret@example.com/a.git?token=x")
    'https://example.com/a.git'
    >>> without_credentials("git@example.com:a.git"), without_credentials("ssh://git:pw@example.com/a.git")
    ('git@example.com:a.git', 'ssh://git@example.com/a.git')
    """
    if "://" not in url:
        user, at, rest = url.partition("@")
        return f"{user.partition(':')[0]}{at}{rest}" if at and "/" not in user else url
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("://")[0] + "://…"
    user, _, host = parts.netloc.rpartition("@")
    if user and "ssh" in parts.scheme:
        host = f"{user.partition(':')[0]}@{host}"
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


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
        elif record.startswith("# branch.ab "):
            ahead, behind = record.split(" ")[2:4]
            found |= {"ahead": int(ahead), "behind": -int(behind)}
        elif record[:2] in ("1 ", "2 ", "u "):
            changed += 1
            if record.startswith("2 "):
                next(records, None)
        elif record.startswith("? "):
            untracked += 1
    return {**found, "dirty": bool(changed or untracked), "changed": changed, "untracked": untracked}
