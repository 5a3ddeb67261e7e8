"""`mlsdk export`: runs, and their points, as files for other programs."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, TextIO

from mlsdk.cli import stores
from mlsdk.cli.ls import with_deleted
from mlsdk.cli.screen import Screen
from mlsdk.errors import UsageError
from mlsdk.finding import Runs, runs
from mlsdk.records import Run, Series
from mlsdk.table import counted

POINT = ("run", "metric", "role", "step", "time", "value")
"""Columns of the points. `time` is in nanoseconds since 1970 UTC."""

_FORMATS = ("json", "csv", "parquet")

Part = tuple[str, str, Series]
"""Role, metric, points."""

Point = tuple[str, str, str, int, int, int | float]

_GROUP = 200_000
"""Points in a row group of Parquet, at least."""


def export_options(parser: argparse.ArgumentParser) -> None:
    """Options of `export`."""
    add = parser.add_argument
    add("filter", nargs="?", metavar="FILTER", help="only runs that fit")
    add("--experiment", metavar="NAME", help="only runs of this experiment")
    add("--format", choices=_FORMATS, help="by default as the ending of PATH says, else json")
    add("-o", "--output", metavar="PATH", help="the file; by default JSON and CSV go to stdout")
    add(
        "--history",
        action="store_true",
        help="the points too: in JSON beside the runs, else in a second file PATH with `.points` before its ending",
    )
    add("--all", action="store_true", help="deleted runs too")


def export(args: argparse.Namespace) -> int:
    """Write runs to a file: JSON has everything of each run, CSV and Parquet a table with a row for each run.

    Points have the columns run, metric, role, step, time (ns since 1970 UTC), value; in Parquet, `value` is a 64-bit
    float and `exact` has the digits of integers that it cannot hold. Files appear whole or not at all.
    """
    stores.existing(args.store)
    kind = args.format or _by_ending(args.output)
    if args.output is None and (kind == "parquet" or (kind == "csv" and args.history)):
        raise UsageError(f"{kind}{' with --history' if kind == 'csv' else ''} needs a file: give -o PATH")
    found = runs(with_deleted(args.filter, everything=args.all), experiment=args.experiment, store=args.store)
    if kind == "parquet":
        _need_pyarrow()
    points = 0
    paths = [] if args.output is None else [args.output]
    with _written(args.output) as path:
        if kind == "json":
            points = _json(found, path, history=args.history)
        elif kind == "csv":
            _csv_runs(found, path)
        else:
            _parquet_runs(found, str(path))
    if args.history and kind != "json":
        base, ending = os.path.splitext(args.output)
        paths.append(f"{base}.points{ending}")
        with _written(paths[-1]) as path:
            points = _csv_points(found, str(path)) if kind == "csv" else _parquet_points(found, str(path))
    if args.output is None:
        return 0
    if args.json:
        return stores.emit({"runs": len(found), "points": points, "files": paths})
    said = counted(len(found), "run") + (" and " + counted(points, "point") if args.history else "")
    Screen().line(f"wrote {said} to {' and '.join(paths)}")
    return 0


def _by_ending(path: str | None) -> str:
    ending = os.path.splitext(path or "")[1].removeprefix(".").lower()
    return ending if ending in _FORMATS else "json"


def _need_pyarrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401 - whether it is there
    except ImportError:
        raise UsageError("Parquet needs pyarrow: pip install 'mlsdk[frames]', or choose --format csv") from None


@contextlib.contextmanager
def _written(path: str | None) -> Iterator[str | None]:
    """A temporary name beside a file, which takes its place in the end; None for stdout."""
    if path is None:
        yield None
        return
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def _text(path: str | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield file


def histories(run: Run) -> Iterator[Part]:
    """Every metric with a history, of every writer of a run."""
    groups = [("main", None, run.metrics), *((role, role, metrics) for role, metrics in run.ranks.items())]
    for role, rank, metrics in groups:
        for name, summary in metrics.items():
            if summary.count:
                yield role, name, run.history(name, rank)


def _rows(run: Run, part: Part) -> Iterator[Point]:
    role, name, series = part
    for step, at, value in zip(*map(_plain, (series.steps, series.times, series.values)), strict=True):
        yield run.id, name, role, step, at, value


def _plain(column: Any) -> list[Any]:
    """A column as Python's numbers."""
    found: list[Any] = column.tolist() if hasattr(column, "tolist") else list(column)
    return found


def _json(found: Runs, path: str | None, *, history: bool) -> int:
    """`{"runs": [...], "points": [...]}`, or only the list of runs; points are written as they are read."""
    points = 0
    with _text(path) as file:
        file.write('{"runs": ' if history else "")
        _json_list(file, (stores.everything(run) for run in found))
        if history:
            file.write(', "points": ')
            rows = (row for run in found for part in histories(run) for row in _rows(run, part))
            points = _json_list(file, (dict(zip(POINT, row, strict=True)) for row in rows))
            file.write("}")
        file.write("\n")
    return points


def _json_list(file: TextIO, items: Iterable[object]) -> int:
    count = 0
    file.write("[")
    for item in items:
        file.write(("," if count else "") + "\n" + json.dumps(stores.plain(item), allow_nan=False))
        count += 1
    file.write("\n]" if count else "]")
    return count


def _csv_runs(found: Runs, path: str | None) -> None:
    columns = found._columns()  # noqa: SLF001 - the flat table that frames are made of
    with _text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow([stores.iso(cell) if isinstance(cell, datetime) else cell for cell in row])


def _csv_points(found: Runs, path: str) -> int:
    count = 0
    with _text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(POINT)
        for run in found:
            for part in histories(run):
                writer.writerows(_rows(run, part))
                count += len(part[2])
    return count


def _parquet_runs(found: Runs, path: str) -> None:
    import pyarrow.parquet as pq

    pq.write_table(found.to_arrow(), path)


def _parquet_points(found: Runs, path: str) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.dictionary(pa.int32(), pa.string())
    types = [("run", text), ("metric", text), ("role", text), ("step", pa.int64()), ("time", pa.int64())]
    schema = pa.schema([*types, ("value", pa.float64()), ("exact", pa.string())])
    count = 0
    rows: list[tuple[object, ...]] = []
    with pq.ParquetWriter(path, schema) as writer:

        def write() -> None:
            columns = zip(*rows, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.table(arrays, schema=schema))
            rows.clear()

        for run in found:
            for part in histories(run):
                rows += [(*row[:5], float(row[5]), _exact(row[5])) for row in _rows(run, part)]
                count += len(part[2])
                if len(rows) >= _GROUP:
                    write()
        if rows:
            write()
    return count


def _exact(value: float) -> str | None:
    """The digits of an integer that a float cannot hold."""
    return str(value) if isinstance(value, int) and int(float(value)) != value else None
