"""`mlsdk status`: which models are stale, and why; like git's."""

from __future__ import annotations

import argparse

from mlsdk.cli import stores
from mlsdk.cli.screen import Screen
from mlsdk.reproduce.now.told import line
from mlsdk.reproduce.staleness import STATES, Staleness, Status
from mlsdk.reproduce.staleness import status as look
from mlsdk.table import ago, counted

_SHOWN = 20
"""Runs of one state that are listed; --json has all."""
_FILES = 3
_LINES = 12
"""Lines that are told of one run."""


def status_options(parser: argparse.ArgumentParser) -> None:
    """Options of `status`."""
    add = parser.add_argument
    what = "a run, a name, an experiment, or a filter; by default the newest run of each function"
    add("runs", nargs="*", metavar="WHERE|RUN", help=what)
    add("--folder", metavar="PATH", help="the top of the project; by default where it lay, else where you are")
    add("--exit-code", action="store_true", help="0 all up to date, 1 something is stale, 2 something cannot be known")


def status(args: argparse.Namespace) -> int:
    """Compare what runs were made from (data, code that they reach, packages, the runs before them) with what is there.

    Nothing is imported, executed or changed. Data count by their content and functions by what they say: touching,
    copying and formatting change nothing.
    """
    store = stores.existing(args.store)
    found = look(args.runs or None, folder=args.folder, store=args.store)
    code = found.exit_code if args.exit_code else 0
    if args.json:
        counts = {state: len(found.of(state)) for state in STATES}
        stores.emit({"runs": [one.to_dict() for one in found], "counts": counts})
        return code
    screen = Screen()
    screen.line(f"{counted(len(found), 'run')} of {stores.where(store)}")
    if not found:
        screen.line(("none fits" if args.runs else "no run has finished yet", "dim"))
    _show(screen, found)
    return code


def _show(screen: Screen, found: Status) -> None:
    stale, unknown = found.of("stale"), found.of("unknown")
    if stale:
        screen.heading("Stale: made from what is no longer there as it was")
        screen.line(("  (`mlsdk retrain NAME` makes a new run of what is there now,", "dim"))
        screen.line(("   `mlsdk retrain NAME --dry-run` says what it would do)", "dim"))
        _list(screen, stale, "red")
    if unknown:
        screen.heading("Not known: nothing that could be compared differs")
        screen.line(("  (bring what is missing, or say by `--folder PATH` where the project lies)", "dim"))
        _list(screen, unknown, "yellow")
    if fresh := found.of("up to date"):
        screen.heading("Up to date")
        for one in fresh[:_SHOWN]:
            screen.line("  ", *_head(one), (f"  ({_others(one)})" if one.others else "", "dim"))
        _more(screen, len(fresh))
    if replaced := found.of("replaced"):
        screen.heading("Replaced by a newer run of the same")
        for one in replaced[:_SHOWN]:
            by = one.replaced_by
            screen.line("  ", *_head(one), (f"  by {by.name} ({by.short_id})" if by is not None else "", "dim"))
        _more(screen, len(replaced))


def _list(screen: Screen, found: list[Staleness], style: str) -> None:
    """Each run with its reasons; of runs with the same reasons, as those of a sweep, the newest."""
    groups: dict[tuple[object, ...], list[Staleness]] = {}
    for one in found:
        groups.setdefault((one.run.experiment, one.lines, one.unknown), []).append(one)
    for first, *same in list(groups.values())[:_SHOWN]:
        screen.line()
        more = f"  and {counted(len(same), 'more run')}, by the same" if same else ""
        screen.line("  ", *_head(first), (more, "dim"))
        lines = [(text, style) for text in first.lines] + [(f"not known: {why}", "yellow") for why in first.unknown]
        for text, colour in lines[:_LINES]:
            screen.line("      ", (text, colour))
        if len(lines) > _LINES:
            screen.line((f"      … and {len(lines) - _LINES:,} more; --json has all", "dim"))
        if first.others:
            screen.line((f"      besides: {_others(first)}", "dim"))
    _more(screen, len(groups))


def _others(one: Staleness) -> str:
    """What has changed besides: files by name, packages by their number."""
    files = [line(other) for other in one.others if other.kind == "file"]
    packages = sum(other.kind == "package" for other in one.others)
    told = [f"{counted(packages, 'package')} that it had not imported"] if packages else []
    more = [f"{len(files) - _FILES:,} more files"] if len(files) > _FILES else []
    return "; ".join([*files[:_FILES], *more, *told])


def _head(one: Staleness) -> tuple[tuple[str, str], ...]:
    run = one.run
    ended = run.ended_at or run.started_at
    return ((run.name, "bold"), (f"  {run.experiment}  {run.short_id}  {ago(ended)} ago", "dim"))


def _more(screen: Screen, count: int) -> None:
    if count > _SHOWN:
        screen.line((f"  … and {count - _SHOWN:,} more; --json has all", "dim"))
