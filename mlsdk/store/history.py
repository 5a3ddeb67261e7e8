"""The points of one metric, put together from the logs that hold them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from mlsdk.log.decode import Batch, decode, numpy_for
from mlsdk.records import Series
from mlsdk.store.seams import Logs

Part = tuple[Sequence[int], Sequence[Any], Sequence[int]]


def history(logs: Logs, metric: str, sources: list[tuple[str, int | None, int]]) -> Series:
    """A metric's points in the order of logging.

    Args:
        logs: where to read.
        metric: its name.
        sources: for each log, in order: name, the step from which on points are hidden (None: none), and how far it is read.
    """
    parts: list[Part] = []
    for log, limit, end in sources:
        parts.extend(_limited(part, limit) for part in _parts(logs, log, metric, end))
    steps, values, times = (_joined([part[i] for part in parts]) for i in range(3))
    return Series(metric, steps, values, times)


def _parts(logs: Logs, log: str, metric: str, end: int) -> list[Part]:
    if "seal" in logs.capabilities and logs.is_sealed(log):  # type: ignore[attr-defined]
        return list(logs.open_sealed(log).series(metric))  # type: ignore[attr-defined]
    found: list[Part] = []
    for entry, _ in decode(logs.read(log, 0, end)):
        if isinstance(entry, Batch) and metric in entry.schema.names:
            found.append((entry.steps, entry.values[entry.schema.names.index(metric)], entry.times))
    return found


def _limited(part: Part, limit: int | None) -> Part:
    if limit is None:
        return part
    steps, values, times = part
    if hasattr(steps, "dtype"):
        kept = steps < limit  # type: ignore[operator]
        return steps[kept], values[kept], times[kept]
    rows = [row for row in zip(steps, values, times) if row[0] < limit]
    return tuple(array(column.typecode, items) for column, items in zip(part, zip(*rows))) if rows else (array("q"), array("d"), array("q"))  # type: ignore[return-value, attr-defined]


def _joined(columns: list[Sequence[Any]]) -> Sequence[Any]:
    """One column: of numpy where it is installed, else an array; of Python numbers where integers and floats do not mix without loss."""
    columns = [column for column in columns if len(column)]
    if len(columns) == 1 and hasattr(columns[0], "dtype"):
        return columns[0]
    codes = {column.dtype.char if hasattr(column, "dtype") else column.typecode for column in columns}  # type: ignore[attr-defined]
    np = numpy_for(1 << 62)
    if len({_kind(code) for code in codes}) > 1:
        mixed = [item for column in columns for item in (column.tolist())]  # type: ignore[attr-defined]
        if any(int(float(item)) != item for item in mixed if isinstance(item, int)):
            return mixed
        return array("d", mixed) if np is None else np.array(mixed, dtype=np.float64)
    if np is None:
        return array(_kind(codes.pop()) if codes else "d", [item for column in columns for item in column])
    return np.concatenate([np.asarray(column) for column in columns]) if columns else np.array([])


def _kind(code: str) -> str:
    """The `array` code for a column's code: numpy says `l` where array says `q`."""
    return {"l": "q", "L": "Q"}.get(code, code)
