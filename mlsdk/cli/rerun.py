"""`mlsdk rerun`: a run made again, and how its numbers compare."""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Mapping
from pathlib import PurePath

from mlsdk.cli import stores
from mlsdk.cli.ending import tidy
from mlsdk.cli.screen import Screen
from mlsdk.cli.values import shown
from mlsdk.errors import UsageError
from mlsdk.records import Run, RunStatus
from mlsdk.table import duration, number

_SAMPLED = "system/"


def rerun_options(parser: argparse.ArgumentParser) -> None:
    """Options of `rerun`."""
    add = parser.add_argument
    add("run", metavar="RUN")
    add("params", nargs="*", metavar="PARAM=VALUE", help="arguments or options that are to be others")
    add("--env", choices=("lock", "fresh", "same"), default="lock", help="as locked (default), built anew, or as it is")
    add("--here", action="store_true", help="take code, data, variables and environment as they are now")
    add("--timeout", type=float, metavar="S", help="stop it after so many seconds; by default ten times what it took")


@tidy()
def rerun(args: argparse.Namespace) -> int:
    """Make a run again: the whole program, from the code, the data and the environment that were recorded.

    It runs in a new folder, which is deleted afterwards: nothing is written to where it lay. The new run is a child of
    the old one, in the same store. The exit code is 1 if the new run failed, 2 if it could not be made: what to do is
    said then.
    """
    store = stores.existing(args.store)
    old = store.find_one(args.run)
    params = {name: value_of(old, name, text) for name, text in map(_split, args.params)}
    from mlsdk.reproduce.rerun import rerun

    screen = Screen()
    if not args.json:
        _begin(screen, old, params, args)
    new = rerun(
        old,
        params=params,
        env=args.env,
        here=args.here,
        timeout_s=args.timeout,
        store=store.uri,
    )
    if args.json:
        stores.emit({**stores.summary(new), "rerun": new.code.get("rerun"), "compared": _compared(old, new)})
    else:
        _end(screen, old, new)
    return 0 if new.status is RunStatus.FINISHED else 1


def _split(word: str) -> tuple[str, str]:
    name, equals, text = word.partition("=")
    if not equals or not name:
        raise UsageError(f"{word!r} is no PARAM=VALUE; write, for example, lr=0.3")
    return name, text


def value_of(run: Run, name: str, text: str) -> object:
    """A value as it was typed: of the kind that it was in the run where that is text or a path, else what it says."""
    known = run.params.get(name)
    if isinstance(known, str):
        return text
    if isinstance(known, PurePath) or (known is None and name in run.datasets):
        return type(known)(text) if isinstance(known, PurePath) else text
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return text


def _begin(screen: Screen, old: Run, params: Mapping[str, object], args: argparse.Namespace) -> None:
    argv = old.code.get("argv")
    line = " ".join(map(str, argv)) if isinstance(argv, (list, tuple)) else ""
    took = f"took {duration(old.duration_s)}" if old.duration_s is not None else ""
    screen.line((old.name, "bold"), (f"  {old.experiment}  {old.short_id}  {took}", "dim"))
    screen.line("  ", line)
    from mlsdk.reproduce.program.variables import is_of_another

    changes = [f"{name} {shown(old.params.get(name))} → {shown(value)}" for name, value in params.items()]
    if changes:
        screen.line("  with ", ", ".join(changes))
    what = "code, data and environment as they are now" if args.here else f"as recorded, environment: {args.env}"
    screen.line((f"  {what}", "dim"))
    if is_of_another(old):
        screen.line((f"  {old.user} recorded it: what was recorded is executed with your rights", "yellow"))
    screen.flush()


def _compared(old: Run, new: Run) -> dict[str, dict[str, object]]:
    """The last values of the metrics of both."""
    names = [name for name in {**old.metrics, **new.metrics} if not name.startswith(_SAMPLED)]
    return {name: {"old": _last(old, name), "new": _last(new, name)} for name in names}


def _last(run: Run, name: str) -> object:
    return run.metrics[name].last if name in run.metrics else None


def _end(screen: Screen, old: Run, new: Run) -> None:
    style = "green" if new.status is RunStatus.FINISHED else "red"
    screen.line("→ ", (new.name, "bold"), (f"  {new.short_id}  ", "dim"), (f"{new.status}", style))
    told = new.code.get("rerun")
    for note in told.get("notes", ()) if isinstance(told, Mapping) else ():
        screen.line("  ", (str(note), "yellow"))
    if new.error:
        screen.line("  ", (f"{new.error.get('type')}: {new.error.get('message')}", "red"))
    rows = [
        (name, *("" if value is None else number(value) for value in (a, b)), "" if _same(a, b) else "differs")
        for name, pair in _compared(old, new).items()
        for a, b in [(pair["old"], pair["new"])]
    ]
    if rows:
        screen.table(("", "then", "now", ""), rows, right=(1, 2), indent="  ", rule=False)
    if rows and not any(row[3] for row in rows):
        screen.line(("  the last values are the same; `mlsdk verify` compares everything", "dim"))


def _same(a: object, b: object) -> bool:
    return a == b or (a != a and b != b)
