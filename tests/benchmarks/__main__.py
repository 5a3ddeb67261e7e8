"""`python -m tests.benchmarks [--large] [name …]`: measure and print the table, as Markdown."""

from __future__ import annotations

import argparse
import platform
import sys
import time

from tests.benchmarks.measure import Row
from tests.benchmarks.rows import LARGE, ROWS


def main(arguments: list[str]) -> int:
    """Measure the rows that were named, or all but the large ones."""
    known = {**ROWS, **LARGE}
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure and print the table.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--large", action="store_true", help=f"also {', '.join(LARGE)}")
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.names if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    chosen = {name: known[name] for name in asked.names} or (known if asked.large else ROWS)
    print(
        f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {platform.system()} {platform.machine()}\n"
    )
    print("| what | measured | to hold | | against the bare limit |")
    print("|---|---|---|---|---|")
    for row in chosen.values():
        for line in row():
            print(as_markdown(line), flush=True)
    return 0


def as_markdown(row: Row) -> str:
    """A line of the table."""
    mark = {True: "yes", False: "**no**", None: ""}[row.met]
    return f"| {row.what} | {row.ours} | {row.bound} | {mark} | {row.limit} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
