"""`mlsdk best`: the run with the best value of a metric."""

from __future__ import annotations

import argparse
from typing import Literal

from mlsdk.cli import stores
from mlsdk.cli.screen import Screen, Span, fitted
from mlsdk.cli.show import SAMPLED, header
from mlsdk.cli.values import leaves, shown
from mlsdk.finding import runs
from mlsdk.query.fields import fields
from mlsdk.query.names import join_key
from mlsdk.query.parse import parse_order
from mlsdk.table import number


def best_options(parser: argparse.ArgumentParser) -> None:
    """Options of `best`."""
    parser.add_argument("metric", metavar="METRIC", help="its name, or a field: metrics.loss.min, duration_s")
    parser.add_argument("filter", nargs="?", metavar="FILTER", help="only among runs that fit")
    parser.add_argument("--min", action="store_true", help="the lowest value instead of the highest")
    parser.add_argument("--experiment", metavar="NAME", help="only among runs of this experiment")


def best(args: argparse.Namespace) -> int:
    """Show the run with the highest (or lowest) last value of a metric, and its params."""
    stores.existing(args.store)
    mode: Literal["max", "min"] = "min" if args.min else "max"
    run = runs(args.filter, experiment=args.experiment, store=args.store).best(args.metric, mode)
    if args.json:
        return stores.emit(stores.summary(run))
    screen = Screen()
    is_field = args.metric.startswith(("metrics.", "params.")) or args.metric == "duration_s"
    key = join_key(parse_order(args.metric)[0][0]) if is_field else join_key(("metrics", args.metric))
    screen.line(
        (args.metric, "bold"),
        "  ",
        (number(fields(run)[key]), "bold green"),
        f"  the {'lowest' if args.min else 'highest'}",
    )
    screen.line()
    header(screen, run)
    params: list[list[Span]] = [[(name, "dim"), fitted(shown(value), 80)] for name, value in leaves(run.params)]
    others: list[list[Span]] = [
        [(name, "dim"), number(found.last)]
        for name, found in run.metrics.items()
        if name != args.metric and not name.startswith(SAMPLED)
    ]
    for title, cells in (("params", params), ("other metrics", others[:20])):
        if cells:
            screen.heading(title)
            screen.table((), cells, indent="  ")
    screen.line()
    screen.line((f"mlsdk show {run.short_id} shows all of it", "dim"))
    return 0
