"""`mlsdk diff`: what changed between two runs, why they may differ, and what came of it."""

from __future__ import annotations

import argparse

from mlsdk.cli import stores
from mlsdk.cli.screen import Screen, Span
from mlsdk.compare.comparison import diff as compare
from mlsdk.compare.shown import lines_of
from mlsdk.compare.table import ComparisonTable, text_of_table


def diff_options(parser: argparse.ArgumentParser) -> None:
    """Options of `diff`."""
    parser.add_argument("a", metavar="A", help="a run")
    parser.add_argument("b", metavar="B", help="another")
    parser.add_argument("more", metavar="MORE", nargs="*", help="further ones: then it is a table of what differs")


def diff(args: argparse.Namespace) -> int:
    """Show what changed between two runs: causes in causal order, and what came of it.

    Causes are params, functions, files, data, packages, the interpreter, the machine, variables, chance. That only one
    thing differs is said when it is certain; what cannot be known is listed. Of more than two runs a table is shown,
    with only the columns that differ.
    """
    store = stores.existing(args.store)
    found = compare(*(store.find_one(which) for which in (args.a, args.b, *args.more)))
    if args.json:
        return stores.emit(found.to_dict())
    screen = Screen()
    if isinstance(found, ComparisonTable):
        screen.lines(text_of_table(found, screen.width))
        return 0
    for line in lines_of(found, screen.width):
        spans: list[Span] = [*line]
        screen.line(*spans)
    return 0
