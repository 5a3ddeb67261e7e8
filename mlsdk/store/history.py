"""The points of one metric, put together from the logs that hold them."""

from __future__ import annotations

from array import array
from typing import Any

from mlsdk.log.decode import Batch, decode, numpy_for
from mlsdk.records import Series
from mlsdk.store.seams import Logs

Part = tuple[Any, Any, Any]
"""Steps, values and times, as numpy arrays or as arrays of the standard library."""


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
        kept: Any = steps < limit
        return steps[kept], values[kept], times[kept]
    rows = [index for index, step in enumerate(steps) if step < limit]
    return _picked(steps, rows), _picked(values, rows), _picked(times, rows)


def _picked(column: Any, rows: list[int]) -> Any:
    return array(column.typecode, [column[row] for row in rows])


def _joined(columns: list[Any]) -> Any:
    """One column: of numpy where it is installed, else an array; of Python numbers where integers and floats do not mix without loss."""
    columns = [column for column in columns if len(column)]
    if len(columns) == 1 and hasattr(columns[0], "dtype"):
        return columns[0]
    codes = {column.dtype.char if hasattr(column, "dtype") else column.typecode for column in columns}
    np = numpy_for(1 << 62)
    if len({_kind(code) for code in codes}) > 1:
        mixed = [item for column in columns for item in column.tolist()]
        if any(int(float(item)) != item for item in mixed if isinstance(item, int)):
            return mixed
        return array("d", mixed) if np is None else np.array(mixed, dtype=np.float64)
    if np is None:
        return array(_kind(codes.pop()) if codes else "d", [item for column in columns for item in column])
    return np.concatenate([np.asarray(column) for column in columns]) if columns else np.array([])


def _kind(code: str) -> str:
    """The `array` code for a column's code: numpy says `l` where array says `q`."""
    return {"l": "q", "L": "Q"}.get(code, code)
