"""`mlsdk seal`: logs as compressed columns, and back."""

from __future__ import annotations

import argparse
import os

from mlsdk.cli import stores
from mlsdk.cli.screen import Screen
from mlsdk.cli.values import bytes_text
from mlsdk.errors import UsageError
from mlsdk.store.files import SEAL_BYTES
from mlsdk.store.gc import may_be_written
from mlsdk.store.layout import Layout
from mlsdk.table import counted


def seal_options(parser: argparse.ArgumentParser) -> None:
    """Options of `seal`."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="whose logs")
    parser.add_argument(
        "--all",
        action="store_true",
        help=f"every log of {SEAL_BYTES // 1024} KiB or more; smaller ones would gain nothing",
    )
    parser.add_argument("--undo", action="store_true", help="bring the raw logs back, to the byte")


def seal(args: argparse.Namespace) -> int:
    """Pack the logs of ended runs into compressed columns, which are smaller and quicker to draw.

    The companion does this by itself for large logs.
    """
    if (args.run is None) != args.all:
        raise UsageError("say which: `mlsdk seal RUN` or `mlsdk seal --all`")
    store = stores.writable(stores.existing(args.store), "seal")
    layout, logs = store.layout, store.logs
    prefix = "runs/" if args.all else f"runs/{store.find_one(args.run).id}/"
    done, live, before, after = 0, 0, 0, 0
    for log in list(logs.list(prefix)):
        if logs.is_sealed(log) is not args.undo or (args.all and not args.undo and logs.size(log) < SEAL_BYTES):
            continue
        if not args.undo and may_be_written(store, log):
            live += 1
            continue
        size = on_disk(layout, log)
        if logs.unseal(log) if args.undo else logs.seal(log):
            done, before, after = done + 1, before + size, after + on_disk(layout, log)
    if args.json:
        return stores.emit({"logs": done, "live": live, "bytes_before": before, "bytes_after": after})
    screen = Screen()
    what = "unsealed" if args.undo else "sealed"
    size_text = f": {bytes_text(before)} became {bytes_text(after)}" if done else ""
    screen.line(f"{what} {counted(done, 'log')}{size_text}")
    if live:
        screen.line((f"{counted(live, 'log')} that may still be written: left as is", "dim"))
    return 0


def on_disk(layout: Layout, log: str) -> int:
    """Bytes of a log's file."""
    return sum(os.path.getsize(path) for path in (layout.log_path(log), layout.seal_path(log)) if os.path.exists(path))
