"""`mlsdk ls`: the runs as a table."""

from __future__ import annotations

import argparse
from collections import Counter
from datetime import datetime

from mlsdk.cli import stores
from mlsdk.cli.screen import STATUS_STYLES, Screen, Span, clean, fitted, width_of
from mlsdk.cli.values import leaves
from mlsdk.errors import QueryError, UsageError
from mlsdk.finding import meant, runs
from mlsdk.query.fields import fields
from mlsdk.query.names import ATTRIBUTES, join_key, suggest
from mlsdk.query.parse import parse, parse_order
from mlsdk.records import Run
from mlsdk.store import open_store, outbox
from mlsdk.store.base import Store
from mlsdk.table import Column, ago, counted, duration, number, text


def ls_options(parser: argparse.ArgumentParser) -> None:
    """Options of `ls`."""
    add = parser.add_argument
    add("filter", nargs="?", metavar="FILTER", help="such as 'metrics.acc > 0.9 and params.lr < 0.5'")
    add("--experiment", metavar="NAME", help="only runs of this experiment")
    add("--sort", metavar="FIELDS", help="by commas, `-` in front for descending: '-metrics.acc,name'")
    add("-n", type=int, default=20, metavar="N", help="the most to list (default: 20; 0: all)")
    add("--columns", metavar="FIELDS", help="what to show, by commas: 'name,params.lr,metrics.acc.max'")
    add("--all", action="store_true", help="deleted runs too")


def ls(args: argparse.Namespace) -> int:
    """List runs, newest first, with the params that differ and the metrics."""
    if args.n < 0:
        raise UsageError(f"-n takes a number of runs from 0 on, not {args.n}")
    store = open_store(args.store)
    if not stores.is_there(store):
        if args.json:
            return stores.emit([])
        Screen().line(f"no store yet at {stores.where(store)}: {stores.BEGIN}")
        return 0
    where = with_deleted(args.filter, everything=args.all)
    found = list(runs(where, experiment=args.experiment, order_by=args.sort, limit=args.n or None, store=args.store))
    asked = [] if args.columns is None else wanted(store, args.columns)
    if args.json:
        return stores.emit([_row(run, asked) if asked else stores.summary(run) for run in found])
    screen = Screen()
    if not found:
        screen.line(
            "no runs" + (" fit; without the filter `mlsdk ls` lists them all" if where or args.experiment else " yet")
        )
        notice(screen, store)
        return 0
    chosen, hidden = (_asked_columns(asked), 0) if asked else chosen_columns(found, screen.width)
    table(screen, found, chosen)
    tree = meant(None if where is None else parse(where), args.experiment)
    total = len(found) if not args.n or len(found) < args.n else store.catalog.count(tree)
    said = [f"{len(found):,} of {total:,} runs, -n 0 lists all"] if total > len(found) else []
    said += [f"{counted(hidden, 'more column')}, --columns chooses"] if hidden else []
    if said:
        screen.line((f"… {'; '.join(said)}", "dim"))
    notice(screen, store)
    return 0


def notice(screen: Screen, store: Store) -> None:
    """Say what of this user's runs is not in a remote store yet."""
    if outbox.is_remote(store.uri) and (waiting := outbox.backlog(outbox.folder_of(store.uri))):
        screen.line((f"{waiting}; `mlsdk sync` sends them now", "dim"))


def with_deleted(text: str | None, *, everything: bool) -> str | None:
    """A filter that lets deleted runs through where they are wanted."""
    if not everything:
        return text
    if text is None:
        return "deleted in (true, false)"
    parse(text)  # a mistake in it is shown as it was typed
    return f"({text}) and deleted in (true, false)"


def wanted(store: Store, text: str) -> list[str]:
    """Keys of the fields that a list names.

    Raises:
        QueryError: no run has such a field; the message names the nearest.
    """
    keys = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        path = parse_order(name)[0][0]
        key = join_key(path)
        base = join_key(path[:2] if path[0] == "metrics" else path)
        store.refresh()
        if base not in ATTRIBUTES and not store.catalog.has_key(base):
            near = suggest(base, store.catalog.keys(path[0]))
            raise QueryError(f"no run has {base!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        keys.append(key.removesuffix(".last") if path[0] == "metrics" and len(path) == 3 else key)
    return keys


def _row(run: Run, keys: list[str]) -> dict[str, object]:
    known = fields(run)
    return {"id": run.id, **{key: known.get(key) for key in keys}}


def _asked_columns(keys: list[str]) -> list[Column]:
    def column(key: str) -> Column:
        return key, lambda run: _cell(fields(run).get(key))

    return [("run", lambda run: run.short_id), *map(column, keys)]


def _cell(value: object) -> str:
    return value.strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else number(value)


def _fixed(found: list[Run]) -> list[Column]:
    """Who and when."""
    chosen: list[Column] = [("run", lambda run: run.short_id)]
    if len({run.experiment for run in found}) > 1:
        chosen.append(("experiment", lambda run: fitted(clean(run.experiment), 16)))
    chosen.append(("name", lambda run: fitted(clean(run.name), 24)))
    chosen.append(("status", lambda run: run.status.value))
    if any(run.deleted for run in found):
        chosen.append(("deleted", lambda run: "erased" if run.erased else "deleted" if run.deleted else ""))
    return [*chosen, ("took", lambda run: duration(run.duration_s)), ("ago", lambda run: ago(run.started_at))]


def _candidates(found: list[Run]) -> tuple[list[Column], list[Column]]:
    """Columns of params that differ and of metrics, those that most runs have first; what was sampled is asked for."""
    params = [dict(leaves(run.params)) for run in found]
    names = Counter(name for values in params for name in values)
    various = [
        name for name in names if len(found) == 1 or len({repr(values.get(name)) for values in params if values}) > 1
    ]
    by_run = {run.id: values for run, values in zip(found, params, strict=True)}
    counted = Counter(name for run in found for name in run.metrics if not name.startswith("system/"))
    metrics = sorted(counted, key=lambda name: -counted[name])

    def param(name: str) -> Column:
        return name, lambda run: number(by_run[run.id][name]) if name in by_run[run.id] else ""

    def metric(name: str) -> Column:
        return name, lambda run: number(run.metrics[name].last) if name in run.metrics else ""

    return [param(name) for name in sorted(various, key=lambda name: -names[name])], [metric(name) for name in metrics]


def chosen_columns(found: list[Run], width: int) -> tuple[list[Column], int]:
    """Columns that fit, params and metrics by turns so that both are seen, and how many are left out."""
    fixed = _fixed(found)
    params, metrics = _candidates(found)
    left = width - sum(_width(column, found) + 2 for column in fixed) + 2
    kept: dict[str, list[Column]] = {"metrics": [], "params": []}
    waiting = {"metrics": metrics, "params": params}
    for turn in range(2 * max(len(params), len(metrics))):
        kind = ("metrics", "params")[turn % 2]
        if turn // 2 < len(waiting[kind]):
            column = waiting[kind][turn // 2]
            needed = _width(column, found) + 2
            if needed > left:
                break
            left -= needed
            kept[kind].append(column)
    shown = len(kept["params"]) + len(kept["metrics"])
    return [*fixed, *kept["params"], *kept["metrics"]], len(params) + len(metrics) - shown


def _width(column: Column, found: list[Run]) -> int:
    name, cell = column
    return max(width_of(text(name)), *(width_of(clean(cell(run))) for run in found))


def table(screen: Screen, found: list[Run], chosen: list[Column]) -> None:
    """Write runs as a table."""
    cells = [[clean(cell(run)) for run in found] for _, cell in chosen]
    heads = [text(name) for name, _ in chosen]
    numeric = [i for i, column in enumerate(cells) if heads[i] != "run" and all(map(_is_number, column))]
    rows: list[list[Span]] = []
    for i, run in enumerate(found):
        styles = {
            "run": "dim",
            "status": STATUS_STYLES[run.status.value],
            "ago": "dim",
            "took": "dim",
            "deleted": "red",
        }
        rows.append([(column[i], styles.get(head, "")) for head, column in zip(heads, cells, strict=True)])
    screen.table(heads, rows, right=numeric)


def _is_number(cell: str) -> bool:
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True
