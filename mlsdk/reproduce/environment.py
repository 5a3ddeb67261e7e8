"""The environment of a rerun: the interpreter to start, with the packages that the run had."""

from __future__ import annotations

import sys
from typing import NamedTuple

from mlsdk.records import Run
from mlsdk.reproduce.recipe import Recipe


class Environment(NamedTuple):
    """An interpreter with its packages."""

    executable: str
    prefix: str
    notes: tuple[str, ...] = ()
    """What is not as the lock says."""


def environment_of(run: Run, recipe: Recipe) -> Environment:
    """The environment that a recipe asks for."""
    return Environment(sys.executable, sys.prefix)
