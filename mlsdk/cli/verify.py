"""`mlsdk verify`: can a run be made again, and if not, why."""

from __future__ import annotations

import argparse
import sys

from mlsdk.cli import stores
from mlsdk.cli.ending import tidy
from mlsdk.cli.screen import Screen, Span
from mlsdk.reproduce.verdict import LEVELS, Cause, Verdict, said
from mlsdk.table import counted, duration

EXIT_CODES = {"B": 0, "T": 0, "S": 1, "X": 1, "U": 2}
"""What a shell is told, by level."""

STYLES = {"B": "green", "T": "green", "S": "yellow", "X": "red", "U": "yellow"}


def verify_options(parser: argparse.ArgumentParser) -> None:
    """Options of `verify`."""
    parser.add_argument("run", nargs="?", default="latest", metavar="RUN", help="by default the latest")
    parser.add_argument(
        "--env",
        choices=("lock", "fresh", "same"),
        default="lock",
        help="lock: an environment as the run's lock says, built where this one is another (default);"
        " fresh: built in any case; same: this one as it is",
    )
    parser.add_argument(
        "--here",
        action="store_true",
        help="with code, data, variables and environment as they are here now, not as they were in the run",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-6,
        metavar="X",
        help="relative difference that level T allows (1e-6)",
    )
    parser.add_argument(
        "--reruns",
        type=int,
        default=5,
        metavar="N",
        help="reruns for level S, where it comes to that (5)",
    )
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds after which a rerun is stopped")
    parser.add_argument("--all-causes", action="store_true", help="go on looking when a cause is confirmed")


@tidy()
def verify(args: argparse.Namespace) -> int:
    """Make a run again, twice, and say whether the same comes of it; if not, where it parts, and why.

    Levels: B bitwise the same, T within tolerance, S statistically the same, X differs, U could not be made again.
    Metrics, returned values and artifacts are compared by content. The verdict is attached to the run:
    `mlsdk ls "reproduced = 'B'"` finds it. Exit code: 0 for B and T, 1 for S and X, 2 for U.
    """
    from mlsdk.reproduce.verify import verify

    store = stores.existing(args.store)
    run = store.find_one(args.run)
    verdict = verify(
        run,
        env=args.env,
        here=args.here,
        tolerance=args.tolerance,
        reruns=args.reruns,
        timeout_s=args.timeout,
        all_causes=args.all_causes,
        progress=_progress,
        store=args.store,
    )
    if args.json:
        stores.emit(verdict.to_dict())
    else:
        show(Screen(), verdict, f"{run.name} ({run.short_id})")
    return EXIT_CODES[verdict.level]


def _progress(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def show(screen: Screen, verdict: Verdict, named: str) -> None:
    """A verdict as people read it: the level, why, where the rerun parts from the run, what is to blame."""
    screen.line((verdict.level, f"bold {STYLES[verdict.level]}"), f"  {named}: {LEVELS[verdict.level]}")
    screen.lines(verdict.reason, indent="   ")
    if verdict.deterministic is False:
        screen.line(("   the program is not deterministic: two reruns differ from each other", "yellow"))
    if verdict.first_divergence is not None:
        screen.line(("   first  ", "dim"), str(verdict.first_divergence))
    for cause in verdict.causes:
        _cause(screen, cause)
    if verdict.others:
        screen.line(("   differs too, without effect  ", "dim"), ", ".join(verdict.others))
    if verdict.aside:
        screen.line(("   does not count  ", "dim"), ", ".join(verdict.aside))
    for name, why in verdict.skipped.items():
        screen.line(("   not looked into  ", "dim"), f"{name}: {why}")
    ids = ", ".join(rerun[-8:] for rerun in verdict.reruns)
    made = f"{counted(len(verdict.reruns), 'rerun')}: {ids}" if ids else ""
    took = f"took {duration(verdict.took_s)}" if verdict.took_s is not None else ""
    screen.line(("   " + " · ".join(filter(None, (made, took))), "dim"))


def _cause(screen: Screen, cause: Cause) -> None:
    state: Span = ("confirmed", "bold green") if cause.confirmed else ("suspected", "yellow")
    screen.line("   ", state, "  ", (said(cause), "bold" if cause.confirmed else ""))
    if cause.reason:
        screen.line((f"      {cause.reason}", "dim"))
    for line in cause.details:
        screen.lines(line, indent="      ")
