"""Code that asks the time of day: a hint why two runs of the same program may differ.

It is found in the sources, by the names that reached pieces use; nothing is executed. Clocks that only measure how long
something takes (`perf_counter`, `monotonic`) do not count, nor what a library asks by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mlsdk.capture.functions.pieces import Module
from mlsdk.capture.functions.uses import Use

CLOCKS = frozenset((
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
    "time.ctime",
    "time.asctime",
    "time.strftime",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "datetime.date.today",
    "pandas.Timestamp.now",
    "pandas.Timestamp.today",
    "pandas.Timestamp.utcnow",
))  # fmt: skip
"""Functions whose answer depends on the time of day, by their full names."""


def asked(places: Iterable[str], load: Callable[[str], Module | None]) -> dict[str, list[str]]:
    """The clocks that pieces name, by "module:qualified.name"; pieces that name none are left out.

    Args:
        places: of the pieces.
        load: the module of a name, or None if it is no module of the project.
    """
    found = {}
    for place in places:
        module, _, name = place.partition(":")
        table = load(module)
        if table is not None and name in table.pieces:
            clocks = {_full(use, table) for use in table.pieces[name].uses} & CLOCKS
            if clocks:
                found[place] = sorted(clocks)
    return found


def _full(use: Use, table: Module) -> str:
    """The whole name of what a piece uses: `now` of `from datetime import datetime as d; d.now` is `datetime`'s."""
    module, chain = use
    if not module:
        head, _, rest = chain.partition(".")
        if head not in table.imports:
            return ""
        module, name = table.imports[head]
        chain = ".".join(filter(None, (name, rest)))
    return f"{module}.{chain}"
