"""`mlsdk sync`: send what waits for remote stores, or bring two stores to the same runs."""

from __future__ import annotations

import argparse

from mlsdk.cli import stores
from mlsdk.cli.screen import Screen
from mlsdk.errors import UsageError
from mlsdk.store import outbox
from mlsdk.store.shipment import send_outboxes
from mlsdk.store.sync import Pass, Report
from mlsdk.store.sync import sync as bring
from mlsdk.table import counted

_SHOWN = 20


def sync_options(parser: argparse.ArgumentParser) -> None:
    """Options of `sync`."""
    add = parser.add_argument
    add("source", nargs="?", metavar="FROM", help="a store; without it, all that waits for remote stores is sent")
    add("destination", nargs="?", metavar="TO", help="the other store; by default the settings' store")
    add("--one-way", action="store_true", help="only from FROM to TO, not back")
    add("--check", action="store_true", help="read all logs on both sides, and say which bytes differ")


def sync(args: argparse.Namespace) -> int:
    """Send what waits for remote stores, or bring two stores to the same runs, both ways.

    It may be repeated, and done while runs are going on. Exit code 1 if something is left.
    """
    if args.one_way and args.source is None:
        raise UsageError("--one-way needs FROM: what waits for remote stores is sent one way in any case")
    if args.check and args.source is None:
        raise UsageError("--check needs FROM and TO: it compares two stores")
    if args.source is None:
        report = Report(tuple(send_outboxes(args.store)))
    else:
        report = bring(args.source, args.destination or args.store, one_way=args.one_way, check=args.check)
    if args.json:
        stores.emit(_plain(report))
    else:
        _show(Screen(), report)
    return 1 if report.left else 0


def _plain(report: Report) -> list[dict[str, object]]:
    return [{**part._asdict(), "left": [left._asdict() for left in part.left]} for part in report.passes]


def _show(screen: Screen, report: Report) -> None:
    if not report.passes:
        screen.line("nothing waits for a remote store")
    for part in report.passes:
        screen.line(f"{part.source} → {part.destination}: {_sent(part)}")
        for left in part.left[:_SHOWN]:
            size = f" ({outbox.size_text(left.size_bytes)})" if left.size_bytes else ""
            screen.line(("  left: ", "yellow"), f"{left.name}{size}: {left.why}")
        if len(part.left) > _SHOWN:
            screen.line((f"  … and {len(part.left) - _SHOWN:,} more, --json lists all", "dim"))


def _sent(part: Pass) -> str:
    if not part.logs and not part.blobs:
        return "nothing to send" if not part.left else "nothing sent"
    size = outbox.size_text(part.size_bytes + part.blob_bytes)
    return f"{counted(part.logs, 'log')} and {counted(part.blobs, 'blob')} sent, {size}"
