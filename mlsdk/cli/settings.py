"""`mlsdk config` and `mlsdk version`."""

from __future__ import annotations

import argparse
import os
import sys

from mlsdk import config as settings
from mlsdk.cli.screen import Screen, Span
from mlsdk.version import VERSION


def config_options(parser: argparse.ArgumentParser) -> None:
    """Options of `config`: none of its own."""


def config(args: argparse.Namespace) -> int:
    """Show each setting: its value, and where that comes from. The argument of a call is above all of them."""
    from mlsdk.cli.stores import emit

    found = [settings.lookup(name) for name in settings.SETTINGS]
    rows: list[tuple[str, object, str, str]] = []
    for setting, value, origin in found:
        if setting.name == "store" and args.store is not None:
            value, origin = args.store, "argument"
        elif setting.name == "store" and value is None:
            value = settings.store_uri()
        rows.append((setting.name, value, origin, setting.meaning))
    if args.json:
        names = ("name", "value", "origin", "meaning")
        return emit(
            [{**dict(zip(names, row, strict=True)), "variable": settings.SETTINGS[row[0]].variable} for row in rows]
        )
    screen = Screen()
    cells: list[list[Span]] = [
        [(name, "bold"), _text(value), (_near(origin), "dim" if origin == "default" else "green")]
        for name, value, origin, _ in rows
    ]
    screen.table(("setting", "value", "from"), cells)
    screen.line()
    screen.line(("environment: MLSDK_ and the name in capitals; file: [tool.mlsdk] in pyproject.toml", "dim"))
    return 0


def _text(value: object) -> str:
    return "—" if value is None else {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _near(origin: str) -> str:
    """A file's path from here, where it is shorter."""
    return min(os.path.relpath(origin), origin, key=len) if os.path.isabs(origin) else origin


def version_options(parser: argparse.ArgumentParser) -> None:
    """Options of `version`: none of its own."""


def version(args: argparse.Namespace) -> int:
    """Print the version of mlsdk, and of the Python that runs it."""
    if args.json:
        from mlsdk.cli.stores import emit

        return emit(
            {"mlsdk": VERSION, "python": sys.version.split()[0], "path": os.path.dirname(os.path.dirname(__file__))}
        )
    Screen().line(f"mlsdk {VERSION}, Python {sys.version.split()[0]}")
    return 0
