"""`mlsdk doctor`, `gc` and `reindex`: looking after a store."""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter

from mlsdk.cli import stores
from mlsdk.cli.screen import Screen
from mlsdk.cli.values import bytes_text
from mlsdk.errors import UsageError
from mlsdk.store import open_store
from mlsdk.store.base import FolderStore, Store
from mlsdk.table import counted

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def doctor_options(parser: argparse.ArgumentParser) -> None:
    """Options of `doctor`."""
    parser.add_argument(
        "--fix", action="store_true", help="mend what can be mended; nothing that has content is thrown away"
    )
    parser.add_argument(
        "--deep", action="store_true", help="read every byte, and compare the catalog with one built anew"
    )


def doctor(args: argparse.Namespace) -> int:
    """Say what is wrong with the store, one line for each finding, with what to do about it.

    Logs torn, damaged, lost or left oversized; stale markers; leftover files; a catalog out of step; missing bytes.

    Exit code 0 if all is well, 1 if findings remain.
    """
    from mlsdk.store.doctor import examine, mend

    store = open_store(args.store)
    if not stores.is_there(store):
        if args.json:
            stores.emit({"findings": [], "mended": []})
        else:
            Screen().line(f"no store yet at {stores.where(store)}: nothing to look after")
        return 0
    folder = stores.writable(store, "doctor --fix") if args.fix else stores.in_folder(store, "doctor")
    found = examine(folder, deep=args.deep)
    failed = mend(found) if args.fix else []
    left = examine(folder, deep=args.deep) if args.fix and found else found
    mended = [finding for finding in found if str(finding) not in set(map(str, left))] if args.fix else []
    if args.json:
        names = ("kind", "where", "message", "advice")
        listed = {
            what: [dict(zip(names, item[:4], strict=True)) for item in items]
            for what, items in (("findings", left), ("mended", mended))
        }
        stores.emit(listed)
        return 1 if left else 0
    screen = Screen()
    for finding in mended:
        screen.line(("mended  ", "green"), f"{finding.kind}  {finding.where}  ", (finding.message, "dim"))
    for finding, reason in failed:
        screen.line(("failed  ", "red"), f"{finding.kind}  {finding.where}  ", (reason, "dim"))
    for finding in left:
        screen.line((finding.kind, "bold yellow"), f"  {finding.where}: {finding.message}; ", (finding.advice, "dim"))
    screen.line(_verdict(store, len(left), fixing=args.fix))
    return 1 if left else 0


def _verdict(store: Store, left: int, *, fixing: bool) -> str:
    if left:
        return counted(left, "finding") + (" left" if fixing else "; `mlsdk doctor --fix` mends what says so")
    store.refresh()
    runs = counted(store.catalog.count(), "run")
    return f"all is well with {runs} in {stores.where(store)}"


def gc_options(parser: argparse.ArgumentParser) -> None:
    """Options of `gc`."""
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.add_argument(
        "--older-than",
        default="1d",
        metavar="AGE",
        help="what was deleted, or is not referred to, for longer: 0, 90s, 12h, 1d (default), 2w",
    )


def gc(args: argparse.Namespace) -> int:
    """Erase the content of deleted runs, and bytes that no run refers to.

    An erased run stays known as deleted, and no copy brings it back.
    """
    from mlsdk.store.gc import collect

    age = seconds(args.older_than)
    store = stores.existing(args.store)
    if isinstance(store, FolderStore) and not args.dry_run:
        stores.writable(store, "gc")
    done = collect(store, older_than_s=age, dry_run=args.dry_run)
    counts = Counter(item.kind for item in done.erased)
    if args.json:
        items = [item._asdict() for item in done.erased]
        return stores.emit(
            {"dry_run": args.dry_run, "bytes": done.size_bytes, "erased": items, "kept": list(done.kept)}
        )
    screen = Screen()
    for item in done.erased:
        if item.kind == "run":
            run = store.catalog.get(item.name)
            screen.line("run  ", f"{run.name} ({run.short_id})  ", (bytes_text(item.size_bytes), "dim"))
    names = {"run": "run", "blob": "unreferenced blob", "markers": "old marker folder"}
    said = ", ".join(counted(counts[kind], name) for kind, name in names.items() if counts[kind])
    would = "would erase" if args.dry_run else "erased"
    screen.line(f"{would} {said}: {bytes_text(done.size_bytes)}" if said else "nothing to erase")
    for reason in done.kept:
        screen.line(("kept  ", "yellow"), reason)
    return 0


def seconds(text: str) -> float:
    """An age such as `12h` in seconds.

    >>> seconds("12h"), seconds("0")
    (43200.0, 0.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip())
    if not found or (found[2] or "s") not in _UNITS:
        raise UsageError(f"an age is a number and a unit ({', '.join(_UNITS)}), such as 12h or 1d, not {text!r}")
    return float(found[1]) * _UNITS[found[2] or "s"]


def reindex_options(parser: argparse.ArgumentParser) -> None:
    """Options of `reindex`: none of its own."""


def reindex(args: argparse.Namespace) -> int:
    """Build the catalog anew from the logs. Nothing but time is lost: the catalog is a cache."""
    from mlsdk.store.doctor import reindex as rebuild

    store = stores.in_folder(stores.existing(args.store), "reindex")
    begun = time.perf_counter()
    rebuild(store)
    runs, logs = store.catalog.count(), sum(1 for _ in store.logs.list("runs/"))
    took = time.perf_counter() - begun
    if args.json:
        return stores.emit({"runs": runs, "logs": logs, "seconds": round(took, 3)})
    Screen().line(f"{counted(runs, 'run')} from {counted(logs, 'log')} in {took:.2f} s")
    return 0
