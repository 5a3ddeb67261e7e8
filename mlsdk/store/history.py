"""The points of one metric, put together from the logs that hold them."""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable, Container, Sequence
from typing import Any

from mlsdk.errors import NotFoundError
from mlsdk.log.columns import Part
from mlsdk.log.decode import Batch, decode, numpy_for
from mlsdk.query.names import suggest
from mlsdk.records import Series
from mlsdk.store.fold import LogState
from mlsdk.store.seams import Logs


def history(logs: Logs, metric: str, sources: list[tuple[str, int | None, int]]) -> Series:
    """A metric's points in the order of logging.

    Args:
        logs: where to read.
        metric: its name.
        sources: for each log, in order: name, the step from which on points are hidden (None: none), and how far it
            is read.
    """
    parts: list[Part] = []
    for log, limit, end in sources:
        found = _parts(logs, log, metric, end)
        parts.extend(found if limit is None else [_below(part, limit) for part in found])
    steps, values = _joined([part.steps for part in parts]), _joined([part.values for part in parts])
    return Series(metric, steps, values, functools.cache(lambda: _joined([part.times for part in parts])))


def sources(
    logs: Sequence[LogState], run: str, metric: str, rank: int | str | None, metrics: Callable[[], Container[str]]
) -> list[tuple[str, int | None, int]]:
    """Where the points of a metric are, for `history`.

    Args:
        logs: all that is known of the run.
        run: its id.
        metric: the metric's name.
        rank: as `Catalog.series` takes it.
        metrics: gives the names of those that have a summary.

    Raises:
        NotFoundError: there are none.
    """
    if not logs:
        raise NotFoundError(f"no run {run}")
    role = "main" if rank in (None, 0) else f"rank {rank}" if isinstance(rank, int) else str(rank)
    wanted = [log for log in logs if log.belongs_to == role and metric in log.metrics]
    if not wanted:
        if role == "main" and metric in metrics():
            raise NotFoundError(f"run {run[-8:]} has no history of {metric!r}: it was returned, not logged")
        known = sorted({name for log in logs for name in log.metrics})
        near = suggest(metric, known)
        hint = f"; did you mean {near[0]!r}?" if near else f"; it has: {', '.join(known[:10]) or 'none'}"
        roles = sorted({log.belongs_to for log in logs if metric in log.metrics})
        hint = f"; it was logged by: {', '.join(roles)} (rank=)" if roles else hint
        raise NotFoundError(f"run {run[-8:]} has no metric {metric!r} of {role}{hint}")
    wanted.sort(key=lambda log: (log.order, log.log))
    return [(log.log, log.limit, log.position.offset) for log in wanted]


def _parts(logs: Logs, log: str, metric: str, end: int) -> list[Part]:
    if "seal" in logs.capabilities and logs.is_sealed(log):  # type: ignore[attr-defined]
        return list(logs.open_sealed(log).series(metric))  # type: ignore[attr-defined]
    found: list[Part] = []
    for entry, _ in decode(logs.read(log, 0, end)):
        if isinstance(entry, Batch) and metric in entry.schema.names:
            values = entry.values[entry.schema.names.index(metric)]
            found.append(Part(entry.steps, values, functools.partial(_same, entry.times)))
    return found


def _same(column: Any) -> Any:
    return column


def _below(part: Part, limit: int) -> Part:
    """The points of a part before a step."""
    steps: Any = part.steps
    if hasattr(steps, "dtype"):
        kept = steps < limit
        return Part(steps[kept], part.values[kept], lambda: part.times[kept])
    rows = [row for row, step in enumerate(part.steps) if step < limit]
    return Part(_picked(part.steps, rows), _picked(part.values, rows), lambda: _picked(part.times, rows))


def _picked(column: Any, rows: list[int]) -> Any:
    return array(column.typecode, [column[row] for row in rows])


def _joined(columns: list[Any]) -> Any:
    """One column: of numpy, else an array; of Python numbers where integers and floats do not mix without loss."""
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
