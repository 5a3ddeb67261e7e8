"""Data sets that differ, by their content."""

from __future__ import annotations

import attrs

from mlsdk.compare.difference import Difference
from mlsdk.compare.side import Side
from mlsdk.data.compare import DataDiff
from mlsdk.data.fingerprint import fingerprint
from mlsdk.errors import MlsdkError
from mlsdk.records import Dataset
from mlsdk.table import counted

DIGITS = 8


def data_differences(a: Side, b: Side) -> list[Difference]:
    """Data sets whose content differs. Bytes that differ and say the same, a copied or touched file, do not count."""
    then, now = a.run.datasets, b.run.datasets
    found = []
    for name in sorted({*then, *now}):
        x, y = then.get(name), now.get(name)
        if x is None or y is None:
            facts = {"how": "removed" if y is None else "added"}
            found.append(Difference("data", name, described(x), described(y), facts=facts))
        elif is_same(x, y) is False:
            found.append(compared(a, b, x, y))
    return found


def is_same(x: Dataset, y: Dataset) -> bool | None:
    """Whether two data sets have the same content; None where it cannot be known."""
    if x.fingerprint and y.fingerprint:
        return x.fingerprint == y.fingerprint
    if not x.digest or not y.digest:
        return None
    if x.digest == y.digest:
        return True
    return None if x.fingerprint or y.fingerprint else False  # other bytes may say the same


def described(one: Dataset | None) -> str | None:
    """A data set in few words: its size, and the beginning of what tells its content from others."""
    if one is None:
        return None
    size = "" if one.rows is None else f"{counted(one.rows, 'row')} × {counted(one.columns or 0, 'column')}"
    if not size:
        size = f"{one.size_bytes:,} bytes" if one.size_bytes is not None else one.description
    mark = (one.fingerprint or "").rpartition(":")[2] or one.digest or ""
    return f"{size}, {mark[:DIGITS]}" if mark else size


def compared(a: Side, b: Side, x: Dataset, y: Dataset) -> Difference:
    """Two data sets that differ, with what of them does: rows, columns, missing values."""
    facts: dict[str, object] = {"how": "changed", "fingerprints": [x.fingerprint, y.fingerprint]}
    details: list[str] = []
    places = [side.place(one.path) for side, one in ((a, x), (b, y)) if one.path is not None]
    if len(places) == 2 and places[0] != places[1]:
        details.append(f"from {places[0]} to {places[1]}")
    try:
        found = fingerprint(x).compare(fingerprint(y))
    except MlsdkError as error:  # a sample against the whole; a blob that is not here
        details.append(str(error))
    else:
        facts.update(_known(found))
        details += str(found).split("\n") + _missing(x, y)
    return Difference("data", x.name, described(x), described(y), tuple(details), facts=facts)


def _known(found: DataDiff) -> dict[str, object]:
    """What a program may want of a comparison: the parts of it that say something."""
    known: dict[str, object] = {"level": found.level.value}
    for field in attrs.fields(DataDiff):
        value = getattr(found, field.name)
        if field.name != "level" and not field.name.endswith("keys"):
            known[field.name] = list(value) if isinstance(value, tuple) else value
    return known


def _missing(x: Dataset, y: Dataset) -> list[str]:
    """Columns in which other numbers of values are missing."""
    before = {column.name: column.missing for column in fingerprint(x).columns}
    moved = [
        f"{column.name}: {before[column.name]:,} → {column.missing:,}"
        for column in fingerprint(y).columns
        if before.get(column.name, column.missing) != column.missing
    ]
    return (
        [f"missing values: {', '.join(moved[:5])}{f' and {len(moved) - 5} more' if len(moved) > 5 else ''}"]
        if moved
        else []
    )
