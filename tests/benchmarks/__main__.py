"""`python -m tests.benchmarks [--large] [name …]`: measure and print the table, as Markdown."""

from __future__ import annotations

import platform
import sys
import time

from tests.benchmarks.measure import Row
from tests.benchmarks.rows import LARGE, ROWS


def main(arguments: list[str]) -> int:
    """Measure the rows that were named, or all but the large ones."""
    known = {**ROWS, **LARGE}
    names = [name for name in arguments if not name.startswith("-")]
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = {name: known[name] for name in names} or ({**ROWS, **LARGE} if "--large" in arguments else ROWS)
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
