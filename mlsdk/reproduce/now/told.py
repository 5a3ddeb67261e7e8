"""Differences as people read them: a line for each."""

from __future__ import annotations

from collections.abc import Sequence

from mlsdk.capture.functions.pieces import BODY
from mlsdk.compare.difference import Difference
from mlsdk.records import Run


def line(one: Difference) -> str:
    """What is not what it was.

    >>> line(Difference("package", "numpy", "2.0.1", "2.1.0"))
    'numpy 2.1.0 instead of 2.0.1'
    >>> line(Difference("data", "train", "1,200 rows", "1,203 rows", ("3 rows added",)))
    'data.train: 1,203 rows instead of 1,200 (3 added)'
    >>> line(Difference("function", "model:Net.forward", "ab12", "cd34", facts={"how": "changed"}))
    'model: Net.forward() changed'
    """
    match one.kind:
        case "data" if one.facts.get("declared", True):
            return f"data.{one.what}: {_content(one)}"
        case "file" if not one.direct:
            return f"{one.what} {one.details[0]}, and nobody is known to have read it"
        case "data" | "file":
            return f"{one.what}: {_content(one)}"
        case "function":
            return _function(one)
        case "parent":
            return _parent(one)
        case _:
            now = "is no longer there" if one.b is None else str(one.b)
            return f"{one.what} {now} instead of {one.a}" if one.b is not None else f"{one.what} {one.a} {now}"


def some(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are.

    >>> some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def in_short(run: Run) -> str:
    """A run as it is named in a line."""
    return run.name if run.short_id in run.name else f"{run.name} ({run.short_id})"


def _content(one: Difference) -> str:
    details = "; ".join(one.details)
    if one.a == one.b or None in (one.a, one.b):
        return details
    a, b = str(one.a), str(one.b)
    unit = b.rpartition(" ")[2]
    if a.rpartition(" ")[2] == unit:
        a = a.rpartition(" ")[0]
    details = details.replace("rows ", "", 1).replace("row ", "", 1) if unit.startswith("row") else details
    return f"{b} instead of {a} ({details})"


def _function(one: Difference) -> str:
    """The way to a function by its callers, then the function, and how it differs.

    Classes and constants are told by how they are written: what a name stands for is not in the difference.
    """
    way = one.facts.get("way")
    places = [str(place).partition(":")[2] for place in way[:-1]] if isinstance(way, list) else []
    callers = [place for place in places if place != BODY]
    module, _, name = one.what.partition(":")
    how = one.facts.get("how", "changed")
    how = "holds another value" if how == "value" else how
    if name == BODY:
        return (
            f"{module}: what it does when it is imported {how}" if module != "__main__" else f"the script itself {how}"
        )
    path = " > ".join(callers) or (module if module != "__main__" else "")
    is_function = name.rpartition(".")[2][:1].islower() or name.rpartition(".")[2].startswith("_")
    return f"{path}{': ' * bool(path)}{name}{'()' * is_function} {how}"


def _parent(one: Difference) -> str:
    if one.b is None:
        why = f": {one.details[0]}" if one.details else ""
        more = f" (and {len(one.details) - 1} more)" if len(one.details) > 1 else ""
        return f"{one.what}: {one.a}, which made it, is stale itself{why}{more}"
    told = f" ({'; '.join(one.details)})" if one.details else ""
    return f"{one.what}: {one.b} has made another one since{told}"
