"""`mlsdk diff`: what differs between two runs, and only that."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from mlsdk.cli import stores
from mlsdk.cli.screen import Screen, Span, clean, fitted
from mlsdk.cli.values import leaves, shown
from mlsdk.log.values import dumps, encode
from mlsdk.records import Run
from mlsdk.table import duration, number

Values = Mapping[str, object]
Difference = tuple[str, object, object]
"""Name, value in the first run, value in the second."""


class Absent:
    """Stands for a value that one of the runs does not have."""

    def __str__(self) -> str:
        return "—"


ABSENT = Absent()


def diff_options(parser: argparse.ArgumentParser) -> None:
    """Options of `diff`."""
    parser.add_argument("a", metavar="A", help="a run")
    parser.add_argument("b", metavar="B", help="another")


def diff(args: argparse.Namespace) -> int:
    """Show what differs between two runs: params, metrics, tags, data, code, environment, machine. Count the rest."""
    store = stores.existing(args.store)
    a, b = store.find_one(args.a), store.find_one(args.b)
    found = {kind: differences(*(sides(run)[kind] for run in (a, b))) for kind in sides(a)}
    same = {kind: len(sides(a)[kind].keys() | sides(b)[kind].keys()) - len(found[kind]) for kind in found}
    if args.json:
        listed = {kind: {name: _both(x, y) for name, x, y in rows} for kind, rows in found.items()}
        return stores.emit({"a": a.id, "b": b.id, "differs": listed, "same": same})
    screen = Screen()
    screen.line(("A  ", "bold"), f"{a.name}  {a.status}  ", (f"{a.id}  took {duration(a.duration_s)}", "dim"))
    screen.line(("B  ", "bold"), f"{b.name}  {b.status}  ", (f"{b.id}  took {duration(b.duration_s)}", "dim"))
    for kind, rows in found.items():
        if rows:
            screen.heading(kind)
            _table(screen, rows)
    counts = ", ".join(f"{count} {kind}" for kind, count in same.items() if count)
    screen.line()
    if any(found.values()):
        screen.line((f"same otherwise: {counts}" if counts else "nothing is the same", "dim"))
    else:
        screen.line(f"nothing differs: {counts or 'both are empty'}")
    return 0


MEASURED = frozenset({
    "cost", "cpu_s", "energy_cpu_j", "energy_gpu_j", "energy_j", "energy_source", "gpu_peak_memory_bytes", "overhead_s",
    "peak_memory_bytes", "samples", "user_s",
})  # fmt: skip
"""Facts of the hardware that a run brought about: they differ between any two."""


def sides(run: Run) -> dict[str, dict[str, object]]:
    """What is compared of a run, by kind and path."""
    metrics = {name: found.last for name, found in run.metrics.items() if not name.startswith("system/")}
    data = {name: found.fingerprint or found.digest or found.description for name, found in run.datasets.items()}
    machine = {name: value for name, value in run.hardware.items() if name not in MEASURED}
    artifacts = {name: found.digest for name, found in run.artifacts.items()}
    about = {
        "experiment": run.experiment,
        "status": run.status.value,
        "note": run.note,
        "host": run.host,
        "user": run.user,
    }
    kinds: dict[str, Values] = {
        "run": about,
        "params": run.params,
        "metrics": metrics,
        "tags": run.tags,
        "data": data,
        "artifacts": artifacts,
        "code": run.code,
        "environment": run.environment,
        "hardware": machine,
    }
    return {kind: dict(leaves(values)) for kind, values in kinds.items()}


def differences(a: Values, b: Values) -> list[Difference]:
    """Names whose values are not of the same type and content; NaN is the same as NaN."""
    names = [*a, *(name for name in b if name not in a)]
    pairs = [(name, a.get(name, ABSENT), b.get(name, ABSENT)) for name in names]
    return [(name, x, y) for name, x, y in pairs if _coded(x) != _coded(y)]


def _coded(value: object) -> bytes:
    return b"" if value is ABSENT else dumps(encode(value))


def _both(a: object, b: object) -> dict[str, object]:
    return {side: value for side, value in (("a", a), ("b", b)) if value is not ABSENT}


def _table(screen: Screen, rows: list[Difference]) -> None:
    room = max((screen.width - 40) // 2, 16)
    cells: list[list[Span]] = []
    for name, a, b in rows:
        left, right = _side(a), _side(b)
        if left == right:  # they differ in what that does not show: far behind the point, or in their types
            left, right = repr(a), repr(b)
        if left == right:
            left, right = f"{left} ({type(a).__name__})", f"{right} ({type(b).__name__})"
        cells.append(
            [
                fitted(clean(name), 32),
                (fitted(left, room), "red"),
                (fitted(right, room), "green"),
                (change(a, b), "dim"),
            ]
        )
    numeric = all(isinstance(value, (int, float)) or value is ABSENT for row in rows for value in row[1:])
    screen.table(("", "A", "B", ""), cells, right=(1, 2, 3) if numeric else (), indent="  ", rule=False)


def _side(value: object) -> str:
    return str(value) if value is ABSENT else shown(number(value) if isinstance(value, float) else value)


def change(a: object, b: object) -> str:
    """How far a number moved: the difference, and in percent of the first."""
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
        return ""
    try:
        moved = b - a
        percent = f" ({moved / abs(a):+.1%})" if a else ""
    except OverflowError:
        return ""
    return "" if moved != moved else f"{'+' if moved > 0 else ''}{number(moved)}{percent}"
