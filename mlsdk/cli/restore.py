"""`mlsdk restore`: the code of a run, written back, and beside it what it needs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from mlsdk.cli import stores
from mlsdk.cli.screen import Screen
from mlsdk.cli.values import bytes_text
from mlsdk.errors import UsageError
from mlsdk.table import counted


def restore_options(parser: argparse.ArgumentParser) -> None:
    """Options of `restore`."""
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="a new or empty folder to write into")


def restore(args: argparse.Namespace) -> int:
    """Write the code of a run back: names, modes, links and contents exactly as they were when it began.

    Beside it, in the hidden folder `.mlsdk-run`: the lock, params, data by name, path and fingerprint, the cells of a
    notebook, and a README that says how to run it. `mlsdk rerun` does that by itself.

    Submodules are plain folders, and no `.git` is made. What the run does not have (files that were too large, secrets)
    is listed. `mlsdk undelete RUN` brings a deleted run back.
    """
    store = stores.existing(args.store)
    run = store.find_one(args.run)
    if args.folder is None:
        raise UsageError(
            "say where to: `mlsdk restore RUN FOLDER` writes the run's code into a new folder;"
            " `mlsdk undelete RUN` brings a deleted run back"
        )
    from mlsdk.reproduce.enclosed import enclose
    from mlsdk.reproduce.restore import restore

    done = restore(run, args.folder)
    beside = enclose(run, done)
    if args.json:
        return stores.emit({**done._asdict(), "is_exact": done.is_exact, "beside": beside})
    screen = Screen()
    links = f" and {counted(done.links, 'link')}" if done.links else ""
    screen.line(
        f"{counted(done.files, 'file')}{links} of {run.name} ({run.short_id}),"
        f" {bytes_text(done.size_bytes)}, are in {done.folder}"
    )
    if done.commit:
        screen.line((f"at commit {done.commit}, with what was changed then", "dim"))
    screen.line((f"how to run it: {beside}/README.md", "dim"))
    _listed(screen, "repositories inside, now plain folders", done.repositories, "at commit ")
    _listed(screen, "not kept with the run", done.left_out)
    _listed(screen, "kept without the secrets in it", {path: counted(n, "place") for path, n in done.redacted.items()})
    _listed(screen, "could not be read then", done.missing)
    return 0


def _listed(screen: Screen, title: str, found: Mapping[str, object], before: str = "") -> None:
    """A heading, and names with what is said of them; nothing where there are none."""
    if found:
        screen.heading(title)
    for name, what in found.items():
        screen.line("  ", name, (f"  {before}{what}" if what else "", "dim"))
