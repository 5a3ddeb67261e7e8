"""The commands, and how a command line becomes a call. Only the module of the command that is meant gets imported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import MappingProxyType

from mlsdk.version import VERSION

Command = Callable[[argparse.Namespace], int]

COMMANDS = MappingProxyType(
    {
        "ls": ("mlsdk.cli.ls:ls", "list runs, newest first"),
        "show": ("mlsdk.cli.show:show", "everything about a run, its metrics drawn"),
        "best": ("mlsdk.cli.best:best", "the run with the best value of a metric"),
        "diff": ("mlsdk.cli.diff:diff", "what changed between two runs, and what came of it"),
        "tail": ("mlsdk.cli.tail:tail", "follow a live run"),
        "export": ("mlsdk.cli.export:export", "write runs, and their points, to JSON, CSV or Parquet"),
        "tag": ("mlsdk.cli.edits:tag", "set or remove tags of a run"),
        "note": ("mlsdk.cli.edits:note", "set the note of a run"),
        "delete": ("mlsdk.cli.edits:delete", "hide runs; `gc` erases them later"),
        "undelete": ("mlsdk.cli.edits:undelete", "bring deleted runs back"),
        "restore": ("mlsdk.cli.restore:restore", "write the code of a run into a folder, exactly as it was"),
        "rerun": ("mlsdk.cli.rerun:rerun", "make a run again, as it was or with other params"),
        "status": ("mlsdk.cli.status:status", "which runs are stale: data, code, packages, runs before them"),
        "retrain": ("mlsdk.cli.retrain:retrain", "make stale runs again, on what is there now"),
        "verify": ("mlsdk.cli.verify:verify", "make a run again, twice: the same, or why not"),
        "doctor": ("mlsdk.cli.care:doctor", "say what is wrong with the store, and mend it"),
        "gc": ("mlsdk.cli.care:gc", "erase deleted runs and bytes that nothing refers to"),
        "reindex": ("mlsdk.cli.care:reindex", "build the catalog anew from the logs"),
        "sync": ("mlsdk.cli.sync:sync", "send what waits for remote stores, or bring two stores to the same runs"),
        "serve": ("mlsdk.cli.serve:serve", "serve a store to other machines, over HTTP"),
        "login": ("mlsdk.cli.login:login", "keep a token for a server"),
        "logout": ("mlsdk.cli.login:logout", "forget the token of a server"),
        "whoami": ("mlsdk.cli.login:whoami", "who one is on a server, and what the token allows"),
        "token": ("mlsdk.cli.token:token", "make, list and revoke tokens of a server"),
        "member": ("mlsdk.cli.token:member", "who has which role in a workspace, and changing it"),
        "workspace": ("mlsdk.cli.token:workspace", "list, make and take away workspaces of a server"),
        "audit": ("mlsdk.cli.token:audit", "who did what on a server, and whether the chain of it is whole"),
        "seal": ("mlsdk.cli.seal:seal", "pack the logs of ended runs into compressed columns"),
        "config": ("mlsdk.cli.settings:config", "each setting, its value, and where it comes from"),
        "version": ("mlsdk.cli.settings:version", "the version of mlsdk"),
    }
)
"""By name: the function, beside which stands `<function>_options`, and what it does."""

_EPILOG = """A run is named by its id, the beginning or end of it, its name, or `latest`.
`mlsdk COMMAND --help` says more."""


def parse(words: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """The function that a command line means, and its options.

    Raises:
        SystemExit: help or the version was asked for, or the line is wrong.
    """
    meant = parser([word for word in words[:1] if word in COMMANDS])
    if words and words[0] not in COMMANDS and not words[0].startswith("-"):
        from mlsdk.query.names import suggest

        near = suggest(words[0], COMMANDS)
        hint = f"; did you mean `{near[0]}`?" if near else "; `mlsdk --help` lists them"
        meant.error(f"there is no command {words[0]!r}{hint}")
    options = meant.parse_args(_joined(words))
    command: Command = options.command
    return command, options


def _joined(words: Sequence[str]) -> list[str]:
    """The words, with `--sort -metrics.acc` as `--sort=-metrics.acc`: argparse would take the value for an option."""
    found: list[str] = []
    for word in words:
        if found and found[-1] == "--sort":
            found[-1] = f"--sort={word}"
        else:
            found.append(word)
    return found


def parser(names: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of all commands, or of the named ones: making one takes longer than parsing."""
    wide: dict[str, object] = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    listed = "\n".join(f"  {name:<10}  {summary}" for name, (_, summary) in COMMANDS.items())
    described = f"Find, compare and look after runs.\n\ncommands:\n{listed}\n\n{_EPILOG}"
    usage = "mlsdk [-h] [--version] COMMAND ..."
    top = argparse.ArgumentParser("mlsdk", usage=usage, description=described, **wide, **_new())  # type: ignore[arg-type]
    top.add_argument("--version", action="version", version=f"mlsdk {VERSION}")
    below = top.add_subparsers(prog="mlsdk", metavar="COMMAND", required=True, help=argparse.SUPPRESS)
    for name, (place, _) in COMMANDS.items():
        if names is not None and name not in names:
            continue
        module, _, function = place.partition(":")
        home = import_module(module)
        command: Command = getattr(home, function)
        said = (command.__doc__ or "").strip().replace("\n    ", "\n")  # as Python 3.13 does it itself
        one = below.add_parser(name, description=said, **wide, **_new())  # type: ignore[arg-type]
        getattr(home, f"{function}_options")(one)
        one.add_argument("--store", metavar="PATH", help="folder or URI of the store; by default the settings' store")
        one.add_argument("--json", action="store_true", help="strict JSON on stdout, and nothing else")
        one.set_defaults(command=command)
    return top


def _new() -> dict[str, object]:
    """Options that newer Pythons know: plain help, the same everywhere."""
    return {"color": False} if sys.version_info >= (3, 14) else {}
