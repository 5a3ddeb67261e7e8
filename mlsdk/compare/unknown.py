"""What the records cannot tell: without these lines "only this differs" would be a guess."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from mlsdk.capture.secrets.redaction import REDACTED
from mlsdk.compare.data import is_same
from mlsdk.compare.files import inputs
from mlsdk.compare.side import Side, switched_off
from mlsdk.compare.sources import Sources
from mlsdk.compare.values import is_away, leaves, mapping, same
from mlsdk.compare.variables import hashes_fit
from mlsdk.data.files import READERS
from mlsdk.log.standins import Described
from mlsdk.records import RunStatus

NEEDED = {
    "function": ("code", "functions", "the functions that it could reach"),
    "file": ("code", "tree", "the files of its code"),
    "param": ("code", "argv", "its command line"),
    "seed": ("code", "chance", "the states of its random generators"),
    "interpreter": ("environment", "python", "its interpreter"),
    "variable": ("environment", "variables", "its environment variables"),
    "package": ("environment", "distributions", "its packages"),
    "hardware": ("hardware", "cpu", "its processor"),
}
"""By kind of causes, the fact without which such differences cannot be seen."""

_MISSING = (
    ("code", "functions_missing"),
    ("code", "chance_missing"),
    ("environment", "packages_missing"),
    ("environment", "frameworks_missing"),
    ("environment", "blas_missing"),
    ("hardware", "cpu_missing"),
)
"""Where a capture says what it could not find out. Files that the tree does not have are known where they were read."""

_READS_INPUT = re.compile(rb"\bstdin\b|\binput\s*\(|\bfileinput\b")
_NAMES_AT_RUN_TIME = re.compile(
    rb"""\b(getattr\s*\([^,]*,\s*(?!['"])|import_module|__import__|globals\s*\(|vars\s*\(|eval\s*\(|__subclasses__)"""
)
_EXECUTES = re.compile(rb"\b(exec|eval|runpy|run_path|spec_from_file_location|subprocess|Popen|system)\b")
"""Code that may execute a source without importing it."""
_BELOW_PYTHON = (
    *(".parquet", ".feather", ".arrow", ".orc", ".avro", ".h5", ".hdf5", ".nc", ".zarr", ".sqlite", ".sqlite3", ".db"),
    *(".duckdb", ".lmdb", ".mdb", ".bin", ".idx", ".so", ".tfrecord", ".npy"),
)
"""Files that libraries open by themselves, or map into memory."""
_READ_BELOW = frozenset(("polars", "pyarrow", "duckdb", "datasets", "dask", "pyspark"))
"""Packages that open tables of all kinds by themselves."""
_ELSEWHERE = ("pipe", "socket", "tty", "other")
_MOST = 5
_MOST_NAMES = 3
_CALCULATE = frozenset(("numpy", "scipy", "torch"))
"""Packages that bring libraries for linear algebra."""


def unknown_of(sides: Mapping[str, Side]) -> list[str]:
    """What is not known of single runs, a line each, that begins with those of which it is said.

    Args:
        sides: runs by what the lines call them.
    """
    told: dict[str, list[str]] = {}
    for name, side in sides.items():
        for line in dict.fromkeys(_of_one(side)):
            told.setdefault(line, []).append(name)
    return [
        f"{_names(names, len(sides))}: {line}" for line, names in sorted(told.items(), key=lambda one: -len(one[1]))
    ]


def _names(names: list[str], runs: int) -> str:
    if len(names) == runs > _MOST_NAMES:
        return f"all {runs} runs"
    if len(names) > _MOST_NAMES:
        return f"{', '.join(names[:_MOST_NAMES])} and {len(names) - _MOST_NAMES} more"
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])


def unknown_between(a: Side, b: Side, other_files: Iterable[str]) -> list[str]:
    """What is not known of two runs as they stand to each other, a line each.

    Args:
        a: the first run.
        b: the second.
        other_files: files of the code that differ, and that nothing is known to have read.
    """
    return [*_of_both(a, b), *_perhaps_called(a, b), *_perhaps_read(a, b, other_files)]


def _of_one(side: Side) -> Iterator[str]:
    run = side.run
    if run.status is RunStatus.RUNNING:
        yield "it is still running: more may come"
    for kind, name, what in NEEDED.values():
        facts = getattr(side, kind)
        if name not in facts:
            yield f"{what}: not captured, or not yet"
        elif is_away(facts[name]):
            yield f"{what}: what was captured is not in this store"
    imported = {str(name) for name in mapping(side.environment.get("packages"))}
    if "libraries" not in side.hardware and imported & _CALCULATE:
        yield "its linear algebra, and its threads: not captured, or not yet"
    for kind, name in _MISSING:
        found = mapping(getattr(side, kind).get(name))
        about = name.removesuffix("_missing")
        yield from _some(f"{what if what == about else f'{about}: {what}'}: {why}" for what, why in found.items())
    yield from _some(f"param {name} is known only as {value}" for name, value in _vague(side))
    redacted = mapping(side.code.get("redacted")).keys() & {*side.module_places.values()}
    yield from _some(f"a secret was taken out of {path}: a change of it cannot be seen" for path in sorted(redacted))
    yield from (f"inputs: {problem.message}" for problem in run.problems if problem.kind == "inputs")
    if switched_off(side.run, "MLSDK_OBSERVE"):
        yield "the files that it read: observing was switched off"
    yield from _some(
        f"what {name} answered" for name, one in run.inputs.items() if one.path is None and not one.declared
    )
    unread = (
        place
        for place, one in inputs(side).items()
        if one.digest is None and "sha256" not in side.entries.get(place, {})
    )
    yield from _some(f"what {place} held when it was read" for place in unread)
    yield from side.lost


def _vague(side: Side) -> Iterator[tuple[str, object]]:
    """Params of which a description is all that there is: no data, generators and functions, which are compared."""
    generators = mapping(mapping(side.code.get("chance")).get("arguments"))
    places = map(str, mapping(side.code.get("functions")))
    functions = {place.replace(":", ".") for place in places if "<" not in place}  # which lambda it was, no name tells
    for name, value in leaves(side.run.params):
        is_redacted = isinstance(value, str) and REDACTED in value
        is_described = isinstance(value, Described) or is_away(value)
        is_compared = name in side.run.datasets or name in generators or str(value) in functions
        if is_redacted or (is_described and not is_compared):
            yield name, value


def _some(lines: Iterable[str]) -> list[str]:
    found = list(lines)
    more = [f"and {len(found) - _MOST} more of the kind"] if len(found) > _MOST else []
    return [*found[:_MOST], *more]


def _of_both(a: Side, b: Side) -> Iterator[str]:
    for name in sorted(a.run.datasets.keys() & b.run.datasets.keys()):
        x, y = a.run.datasets[name], b.run.datasets[name]
        if is_same(x, y) is None:
            notes = "; ".join(note for one in (x, y) for note in (one.note,) if note)
            yield f"whether the data set {name} is the same{f': {notes}' if notes else ''}"
    files = [sorted(_temporary(side, other)) for side, other in ((a, b), (b, a))]
    if [digest for digest, _ in files[0]] != [digest for digest, _ in files[1]]:
        places = [place for found in files for _, place in found]
        yield f"what was read from folders for temporary files, such as {places[0]}, by one of the runs only"
    if not hashes_fit(a, b):
        yield "environment variables of which only digests are kept: these were made with two keys, in two stores"
    kinds = [mapping(side.code.get("stdin")).get("kind") for side in (a, b)]
    if any(kind in _ELSEWHERE for kind in kinds) and any(_says(side, _READS_INPUT) for side in (a, b)):
        yield "what came in by the standard input, which the code may read"
    if ("modified" in a.environment) != ("modified" in b.environment):
        yield "edited files of packages: the setting check_packages was on for one of the runs only"


def _temporary(side: Side, other: Side) -> Iterator[tuple[str, str]]:
    """Digests and places of what this run alone read from folders for temporary files: names there mean nothing."""
    theirs = inputs(other)
    for place, one in inputs(side).items():
        if place not in theirs and side.is_temporary(place):
            yield one.fingerprint or one.digest or place, place


def _perhaps_called(a: Side, b: Side) -> list[str]:
    """Functions that differ and that no name leads to, where the code makes names while it runs."""
    tables = [mapping(side.code.get("functions")) for side in (a, b)]
    is_same_code = all(same(a.code.get(fact), b.code.get(fact)) for fact in ("sources", "cells"))
    if is_same_code or not all(tables) or not any(_says(side, _NAMES_AT_RUN_TIME) for side in (a, b)):
        return []
    common = sorted(a.sources.keys() & b.sources.keys())
    then, now = Sources(a), Sources(b)
    found: list[str] = []
    for module in (module for module in common if a.sources[module] != b.sources[module]):
        if len(found) >= _MOST:  # more are only counted
            found.append(f"anything in {module}")
            continue
        places = sorted({*then.pieces(module), *now.pieces(module)} - tables[0].keys() - tables[1].keys())
        digests = ((place, then.digest(place), now.digest(place)) for place in places)
        found += [place for place, x, y in digests if x is None or x != y]
    return _some(f"whether {place}, which differs, was called by a name that was made at run time" for place in found)


def _perhaps_read(a: Side, b: Side, files: Iterable[str]) -> list[str]:
    """Files that differ, and of which it would not have been seen if the code read or executed them."""
    below = any(_READ_BELOW & {str(name) for name in mapping(side.environment.get("packages"))} for side in (a, b))
    endings = (*_BELOW_PYTHON, *READERS) if below else _BELOW_PYTHON
    sources = [place for place in files if place.endswith((".py", ".ipynb"))]
    executed = sources if sources and any(_says(side, _EXECUTES) for side in (a, b)) else []
    lines = [f"whether {place} was executed, which is not seen" for place in executed]
    lines += [f"whether {place} was read, which is not seen below Python" for place in files if place.endswith(endings)]
    return _some(lines)


def _says(side: Side, pattern: re.Pattern[bytes]) -> bool:
    return any(pattern.search(text) for texts in side.sources.values() for text in texts)
