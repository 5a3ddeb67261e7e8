"""Params that differ, and what of the command line no param says."""

from __future__ import annotations

import os

from mlsdk.compare.difference import Difference
from mlsdk.compare.side import Side
from mlsdk.compare.values import ABSENT, Pair, differing, flat, given, listed
from mlsdk.log.standins import Described

_NOT_A_PROGRAM = ("interactive", "-", "notebook")
"""Entries whose command line is that of somebody else's program."""

_ARGUMENT = "argument "
ENTRY = "entry"
FUNCTION = "tracked function"


def param_differences(a: Side, b: Side) -> list[Difference]:
    """Params, options and the program itself. A param that only says where data lie is left to the data."""
    raw = [flat(side.run.params) for side in (a, b)]
    values = [{name: side.plain(value) for name, value in of.items()} for side, of in zip((a, b), raw, strict=True)]
    pairs = [
        (name, x, y)
        for name, x, y in differing(*values)
        if not all(_is_data(side, name, of.get(name)) for side, of in zip((a, b), raw, strict=True))
    ]
    found = [Difference("param", name, given(x), given(y), facts={"source": "params"}) for name, x, y in pairs]
    functions = [str(side.code.get("function") or "") for side in (a, b)]
    if all(functions) and functions[0] != functions[1]:
        found.append(Difference("param", FUNCTION, functions[0], functions[1], facts={"source": "entry"}))
    return [*found, *_of_command_line(a, b, {*raw[0], *raw[1]}, pairs)]


def _is_data(side: Side, name: str, value: object) -> bool:
    """Whether a param is data, or says where they lie."""
    return _names_data(side, value) or (isinstance(value, Described) and name in side.run.datasets)


def _names_data(side: Side, value: object) -> bool:
    """Whether a value is the path of a data set: what lies there is compared, not where it lies."""
    if not isinstance(value, (str, os.PathLike)) or not str(value):
        return False
    whole = side.whole(os.fspath(value))
    return any(one.path == whole for one in side.run.datasets.values())


def _of_command_line(a: Side, b: Side, params: set[str], told: list[Pair]) -> list[Difference]:
    entries = [side.within(str(side.code.get("entry", ""))) for side in (a, b)]
    if not all("argv" in side.code for side in (a, b)) or any(entry in _NOT_A_PROGRAM for entry in entries):
        return []
    found = []
    if entries[0] != entries[1]:
        found.append(Difference("param", ENTRY, entries[0], entries[1], facts={"source": "entry"}))
    raw = [_options([str(word) for word in listed(side.code["argv"])[1:]]) for side in (a, b)]
    options = [{name: side.plain(value) for name, value in of.items()} for side, of in zip((a, b), raw, strict=True)]
    for name, x, y in differing(*options):
        is_param = name.lstrip("-").replace("-", "_") in params
        is_told = any(_says(name, x, one) and _says(name, y, other) for _, one, other in told)
        is_path = all(_names_data(side, of.get(name)) for side, of in zip((a, b), raw, strict=True))
        if not (is_param or is_told or is_path):
            found.append(Difference("param", name, given(x), given(y), facts={"source": "argv"}))
    return found


def _says(name: str, word: object, value: object) -> bool:
    """Whether a word of the command line is a param's value; one that only one run has may stand for a default."""
    return name.startswith(_ARGUMENT) if word is ABSENT else str(word) == str(value)


def _options(words: list[str]) -> dict[str, object]:
    """Options by name, the other words by their place.

    >>> _options(["fit", "--lr", "0.1", "--fast", "--out=x"])
    {'argument 1': 'fit', '--lr': '0.1', '--fast': True, '--out': 'x'}
    """
    found: dict[str, object] = {}
    places = 0
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        if not _is_option(word):
            places += 1
            name, value = f"{_ARGUMENT}{places}", word
        elif not equals:
            value = waiting.pop(0) if waiting and not _is_option(waiting[0]) else ""
        before = found.get(name)
        new: object = value if value or equals else True
        found[name] = new if before is None else [*(before if isinstance(before, list) else [before]), new]
    return found


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not word[1:2].isdigit() and not word.startswith("-.")
