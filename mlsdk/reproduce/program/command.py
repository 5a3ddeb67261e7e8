"""The command line that starts a run's program again: its entry, with its arguments, in a world."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import NamedTuple

from mlsdk.capture.secrets.redaction import REDACTED
from mlsdk.compare.values import listed, mapping
from mlsdk.errors import RerunError
from mlsdk.records import Run, RunStatus
from mlsdk.reproduce.environments.environment import Environment
from mlsdk.reproduce.program.options import with_params
from mlsdk.reproduce.world.folders import Folders
from mlsdk.reproduce.world.world import World

_FLAGS = {
    "optimize": "O",
    "dont_write_bytecode": "B",
    "no_user_site": "s",
    "no_site": "S",
    "ignore_environment": "E",
    "isolated": "I",
    "safe_path": "P",
    "bytes_warning": "b",
    "verbose": "v",
    "debug": "d",
}
"""Names in `sys.flags` by the letter of the option, which is repeated as often as the flag says."""

_IMPLIED = {"isolated": ("ignore_environment", "no_user_site", "safe_path")}


class Command(NamedTuple):
    """What is started, but for the interpreter."""

    options: list[str]
    """Of the interpreter."""
    words: list[str]
    """What it is to run, with arguments."""
    source: str | None = None
    """The program, where it comes through the standard input."""
    shown: tuple[str, ...] = ()
    """Params that the words show."""


def command_of(run: Run, world: World, environment: Environment, params: Mapping[str, object]) -> Command:
    """The command line of a run, with other params as far as options give them.

    Raises:
        RerunError: it was not started by a command that can be given again; a param is not known.
    """
    check_entry(run)
    argv = [str(word) for word in listed(run.code.get("argv"))]
    entry, main = str(run.code.get("entry")), run.code.get("main")
    about: Mapping[str, object] = main if isinstance(main, Mapping) else {}
    options = options_of(run)
    rest, shown = with_params(run, argv[1:], params, lambda: _sources(run, world))
    rest = [world.folders.word(word) for word in rest]
    if entry in ("-c", "-"):
        source = about.get("source")
        if not isinstance(source, str):
            raise RerunError(f"{_named(run)} was a program {_THROUGH[entry]}, not kept: {_as_file()}", "entry")
        if REDACTED in source:
            raise RerunError(f"{_named(run)} was a program with a secret in it, which was not kept", "arguments")
        if entry == "-c":
            return Command(options, ["-c", source, *rest], None, shown)
        return Command(options, ["-", *rest] if rest or argv[:1] == ["-"] else [], source, shown)
    if entry == "-m __main__":  # a folder, or an archive, that was named as a script
        words = [_script(run, world, environment, argv[0], os.path.join(str(run.code.get("folder")), argv[0]))]
    elif entry.startswith("-m "):
        words = ["-m", entry[3:]]
    else:
        words = [_script(run, world, environment, argv[0], entry)]
    return Command(options, [*words, *rest], None, shown)


_THROUGH = {"-c": "given to `python -c`", "-": "read from the standard input"}


def check_entry(run: Run) -> None:
    """See that a run was started by a command that can be given again.

    Raises:
        RerunError: it was not; the message says what to do.
    """
    entry, main, named = run.code.get("entry"), run.code.get("main"), _named(run)
    how = main.get("how") if isinstance(main, Mapping) else None
    if run.status is RunStatus.RUNNING:
        raise RerunError(f"{named} is still running: make it again when it has ended", "program")
    if how in ("notebook", "interactive") or entry == "interactive":
        raise RerunError(
            f"{named} was made in a notebook or at a prompt, whose state no file holds: `mlsdk restore"
            f" {run.short_id} FOLDER` writes its cells in their order into .mlsdk-run/cells.py; make a script of"
            " them, and run that",
            "entry",
        )
    if not isinstance(entry, str) or not listed(run.code.get("argv")):
        raise RerunError(f"{named} does not say how it was started: the capture `process` was not taken", "entry")
    if run.code.get("worker") or run.code.get("forked") or how == "worker":
        raise RerunError(
            f"{named} was started in a worker process of another program, which cannot be started alone: run that"
            " program, or start the run in its main process",
            "entry",
        )
    _check_alone(run)
    hidden = [word for word in listed(run.code.get("argv")) if REDACTED in str(word)]
    if hidden:
        raise RerunError(
            f"{named} was given a secret on its command line ({hidden[0]}), which was not kept: let the program read"
            " it from a variable or a file",
            "arguments",
        )


def _check_alone(run: Run) -> None:
    """A run of several processes is not made again by one."""
    ranks = sum(role.startswith("rank ") for role in run.ranks)
    sizes = mapping(run.environment.get("variables"))
    told = [str(sizes.get(name, "")) for name in ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")]
    most = max([ranks + 1, *(int(size) for size in told if size.isdigit())])
    if most > 1:
        raise RerunError(
            f"{_named(run)} was made by {most} processes that a launcher had started (torchrun, MPI, SLURM): start it"
            f" by the launcher, in the folder that `mlsdk restore {run.short_id} FOLDER` writes",
            "entry",
        )


def _script(run: Run, world: World, environment: Environment, typed: str, entry: str) -> str:
    """The script as it is to be named: as it was typed, where that leads to it."""
    here = world.folders.now(entry) or world.folders.now(os.path.realpath(entry))
    if here is None:  # a program that was installed, or one of another project
        moved = Folders([(str(run.environment.get("prefix") or ""), environment.prefix)]).now(entry)
        here = moved or world.place.of(entry)
    if not os.path.exists(here):
        raise RerunError(f"{_named(run)} was started from {entry}, which is not in its code tree: {_as_file()}", "code")
    found = os.path.join(world.folder, typed)
    as_typed = not os.path.isabs(typed) and os.path.exists(found) and os.path.samefile(found, here)
    if as_typed and typed.startswith("-"):  # else an option of the interpreter
        return os.path.join(os.curdir, typed)
    return typed if as_typed else here


def _sources(run: Run, world: World) -> str:
    """The text of the program's modules."""
    found = []
    for path in mapping(run.code.get("modules")).values():
        here = world.folders.now(str(path)) or str(path)
        with contextlib.suppress(OSError), open(here, encoding="utf-8", errors="replace") as file:
            found.append(file.read())
    return "\n".join(found)


def _as_file() -> str:
    return "put the program into a file of the project"


def options_of(run: Run) -> list[str]:
    """The options of the interpreter, from what `sys.flags` said."""
    flags = dict(mapping(run.environment.get("flags")))
    implied = {name for flag, names in _IMPLIED.items() if flags.get(flag) for name in names}
    found = [
        "-" + letter * int(str(flags[name]))
        for name, letter in _FLAGS.items()
        if name not in implied and str(flags.get(name, "")).isdigit() and int(str(flags[name])) > 0
    ]
    known = str(mapping(run.environment.get("variables")).get("PYTHONWARNINGS", "")).split(",")
    for option in listed(flags.get("warnoptions")):
        if str(option) not in known:
            found += ["-W", str(option)]
    options = dict(mapping(flags.get("xoptions")))
    if flags.get("dev_mode"):
        options["dev"] = True
        found = found[:-2] if found[-2:] == ["-W", "default"] else found
    if flags.get("utf8_mode"):
        options.setdefault("utf8", True)
    for name, value in options.items():
        found += ["-X", str(name) if value is True else f"{name}={value}"]
    return found


def _named(run: Run) -> str:
    return f"run {run.name} ({run.short_id})"
