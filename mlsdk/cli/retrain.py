"""`mlsdk retrain`: the stale runs again, on what is there now."""

from __future__ import annotations

import argparse
import functools

from mlsdk.cli import stores
from mlsdk.cli.ending import tidy
from mlsdk.cli.screen import Screen
from mlsdk.compare.values import change
from mlsdk.reproduce.retrain import Retrained, metrics, retraining, stale
from mlsdk.reproduce.staleness import Staleness, status
from mlsdk.table import counted, duration, number


def retrain_options(parser: argparse.ArgumentParser) -> None:
    """Options of `retrain`."""
    add = parser.add_argument
    add("runs", nargs="+", metavar="NAME", help="a run, a name, an experiment, or a filter")
    add("--dry-run", action="store_true", help="only say what would be made again, and why")
    add("--env", choices=("same", "lock"), default="same", help="the present environment (default), or as recorded")
    hint = "stop a program after so many seconds; by default ten times what its run took, at least a minute"
    add("--timeout", type=float, metavar="S", help=hint)


@tidy()
def retrain(args: argparse.Namespace) -> int:
    """Make the stale ones of some runs again, with the code and the data that are there now, as their children.

    Runs that made the data of others come first. What is up to date is left alone. The exit code is 1 if one of them
    could not be made.
    """
    store = stores.existing(args.store)
    found = stale(store, args.runs)
    screen = Screen()
    if args.dry_run:
        if args.json:
            return stores.emit([one.to_dict() for one in found])
        for one in found:
            _begin(screen, one)
        if found:
            screen.line(f"{counted(len(found), 'run')} would be made again")
        else:
            _nothing(screen, args)
        return 0
    if args.json:
        done = list(retraining(store, found, env=args.env, timeout_s=args.timeout))
        stores.emit([one.to_dict() for one in done])
    else:
        if not found:
            _nothing(screen, args)
        done = []
        begun = functools.partial(_begin, screen)
        for made in retraining(store, found, env=args.env, timeout_s=args.timeout, begun=begun):
            _end(screen, made)
            done.append(made)
    return 1 if any(made.problem is not None for made in done) else 0


def _nothing(screen: Screen, args: argparse.Namespace) -> None:
    """That nothing is stale, and of how many runs that is not known."""
    unknown = status(args.runs, store=args.store).of("unknown")
    told = f"; of {counted(len(unknown), 'run')} it cannot be known: `mlsdk status` says why" if unknown else ""
    screen.line(f"nothing is stale{told}")


def _begin(screen: Screen, one: Staleness) -> None:
    run = one.run
    screen.line((run.name, "bold"), (f"  {run.experiment}  {run.short_id}  took {duration(run.duration_s)}", "dim"))
    for text in one.lines:
        screen.line("  ", text)
    screen.flush()


def _end(screen: Screen, one: Retrained) -> None:
    if one.new is None and one.problem is None:
        screen.line((f"{one.old.run.name} need not be made again: what makes its data has made the same", "dim"))
        screen.line()
        return
    if one.new is None:
        screen.line("  ", (f"{one.old.run.name} was not made again: {one.problem}", "red"))
        screen.line()
        return
    screen.line("  ", (f"→ {one.new.name}  {one.new.short_id}  took {duration(one.new.duration_s)}", "green"))
    if one.problem is not None:
        screen.line("  ", (one.problem, "red"))
    rows = [
        (name, "" if a is None else number(a), "" if b is None else number(b), (change(a, b), "dim"))
        for name, a, b in metrics(one.old.run, one.new)
    ]
    if rows:
        screen.table(("", "old", "new", ""), rows, right=(1, 2), indent="  ", rule=False)
    screen.line()
