"""`mlsdk show`: everything about a run."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

from mlsdk.cli import stores
from mlsdk.cli.draw import chart, spark
from mlsdk.cli.screen import STATUS_STYLES, Screen, Span, clean, fitted, width_of
from mlsdk.cli.values import bytes_text, leaves, shown
from mlsdk.errors import NotFoundError
from mlsdk.records import MetricSummary, Run, RunStatus, Series
from mlsdk.store.base import Store
from mlsdk.table import ago, counted, duration, number

MOST_DRAWN = 60
"""Metrics of a run that are read for a drawing; of the others the numbers are shown."""
MOST_ROWS = 200
"""Metrics that are listed; --json has all."""
MOST_PARTS = 16
"""A list that a capture found is shown whole up to so many parts; of a longer one the first few."""
FEW_PARTS = 8
PART_WIDTH = 40
MOST_INPUTS = 20
SAMPLED = "system/"
"""Metrics that the companion samples; they come after those that were logged."""
IN_SHORT = {
    "code": "function argv git_missing commit branch dirty changed untracked tree.files tree.identity exact differs",
    "environment": "python system packages",
    "hardware": "host cpu.model usable_cores memory_bytes gpus cpu_s gpu_s process_peak_memory_bytes energy_j cost "
    "user_s overhead_s",
}
"""Of what captures found, that which tells most; --all shows the rest."""
SPARK_WIDTH = 24
CHART_HEIGHT = 5


def show_options(parser: argparse.ArgumentParser) -> None:
    """Options of `show`."""
    parser.add_argument("run", nargs="?", default="latest", metavar="RUN", help="by default the latest")
    parser.add_argument("--metric", action="append", metavar="NAME", help="draw this metric large; may be repeated")
    parser.add_argument("--all", action="store_true", help="everything that was captured, and what was sampled")
    parser.add_argument("--output", action="store_true", help="print the recorded stdout and stderr instead")


def show(args: argparse.Namespace) -> int:
    """Show all of a run: params, metrics drawn, tags, data, artifacts, code, environment, machine, problems."""
    store = stores.existing(args.store)
    run = store.find_one(args.run)
    if args.output:
        return _output(store, run, as_json=args.json)
    if args.json:
        return stores.emit(stores.everything(run))
    screen = Screen()
    drawn = {name: run.history(name) for name in args.metric or ()}
    header(screen, run)
    _params(screen, run)
    _ranks(screen, run)
    _metrics(screen, run, sampled=args.all)
    for name in drawn or _worth_drawing(run):
        _draw(screen, drawn.get(name) or run.history(name))
    _section(screen, "tags", run.tags)
    _data(screen, run)
    _records(screen, "artifacts", run.artifacts.values())
    for title, found in (("code", run.code), ("environment", run.environment), ("hardware", run.hardware)):
        _section(screen, title, _whole(found) if args.all else _short(title, found))
    _troubles(screen, run)
    if not args.all:
        screen.line()
        screen.line(("--all shows everything that was captured", "dim"))
    return 0


def header(screen: Screen, run: Run) -> None:
    """Who, when, how long, how it ended."""
    deleted: list[Span] = ["  ", ("deleted", "red")] if run.deleted else []
    screen.line(
        (run.name, "bold"), "  ", (run.status.value, STATUS_STYLES[run.status.value]), *deleted, "  ", (run.id, "dim")
    )
    took = f"took {duration(run.duration_s)}" if run.duration_s is not None else ""
    who = " on ".join(filter(None, (run.user, run.host)))
    started = f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC, {ago(run.started_at)} ago"
    screen.line((" · ".join(filter(None, (run.experiment, started, took, who))), "dim"))
    if run.parent:
        screen.line(("inside run ", "dim"), run.parent[-8:])
    if run.children:
        screen.line(
            (f"{counted(len(run.children), 'run')} inside: ", "dim"),
            " ".join(child[-8:] for child in run.children[:12]),
        )
    if run.verdict:
        screen.line(("made again: ", "dim"), f"{run.reproduced}, {run.verdict.get('reason', '')}")
    if run.note:
        screen.lines(run.note, indent="  ")


def _section(screen: Screen, title: str, values: Mapping[str, object]) -> None:
    """A heading, and names with values; nothing where there are none."""
    rows = [(clean(name), _shown(name, value)) for name, value in leaves(values)]
    if not rows:
        return
    screen.heading(title)
    names = min(max(width_of(name) for name, _ in rows), screen.width // 3)
    for name, value in rows:
        gap = " " * max(names - width_of(name), 0)
        room = screen.width - 4 - max(names, width_of(name))
        screen.line("  ", (name, "dim"), gap, "  ", fitted(value, room) if screen.is_terminal else value)


def _whole(found: Mapping[str, object]) -> dict[str, object]:
    """Everything that captures found, long lists on a line each."""
    return {name: _gist(value, MOST_PARTS) for name, value in found.items()}


def _short(title: str, found: Mapping[str, object]) -> dict[str, object]:
    """What tells most of what captures found, each on a line."""
    values: dict[str, object] = {}
    for name in IN_SHORT[title].split():
        value: object = found
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value not in (None, [], ""):
            value = round(value, 3) if isinstance(value, float) else value
            values[name] = _gist(value, 0 if isinstance(value, Mapping) else MOST_PARTS)
    return values


def _gist(value: object, most: int) -> object:
    """What a capture found, on one line if it is a list of more than so many parts; --json has all."""
    if isinstance(value, Mapping):
        parts = [f"{name} {fitted(shown(part), PART_WIDTH)}" for name, part in leaves(value)]
    elif isinstance(value, list):
        parts = [fitted(shown(part), PART_WIDTH) for part in value]
    else:
        return value
    if len(parts) <= most:
        return value
    return Gist(f"{len(parts):,}: {', '.join(parts[:FEW_PARTS])}{', …' if len(parts) > FEW_PARTS else ''}")


class Gist(str):
    """A line about a long list; shown as it is."""

    __slots__ = ()


def _shown(name: str, value: object) -> str:
    """A value, and of a size also what it is in larger units."""
    if isinstance(value, Gist):
        return clean(value)
    if name.endswith("_bytes") and type(value) is int and value >= 1000:
        return f"{value} ({bytes_text(value)})"
    return shown(value)


def _params(screen: Screen, run: Run) -> None:
    _section(screen, "params", run.params)
    for change in run.changes:
        screen.line(
            (f"  {change.param} was {shown(change.old)} until {change.at:%H:%M:%S}, then {shown(change.new)}", "yellow")
        )


def _metrics(screen: Screen, run: Run, *, sampled: bool) -> None:
    logged = _logged(run.metrics)
    machine = {name: found for name, found in run.metrics.items() if name.startswith(SAMPLED)}
    others = [(f"{role}: ", _logged(metrics)) for role, metrics in run.ranks.items()]
    groups = [("", logged), *others, ("", machine if sampled else {})]
    rows: list[list[Span]] = []
    read = 0
    for role, metrics in groups:
        for name, found in metrics.items():
            drawing = ""
            if found.count > 1 and read < MOST_DRAWN:
                read += 1
                drawing = spark(run.history(name, role.removesuffix(": ") or None).values, SPARK_WIDTH)
            rows.append([fitted(clean(role + name), 32), *_numbers(found), (drawing, "cyan")])
    if rows:
        more = len(rows) - MOST_ROWS
        del rows[MOST_ROWS:]
        screen.heading("metrics")
        head = ("", "last", "min", "at step", "max", "at step", "mean", "points", "")
        screen.table(head, rows, right=range(1, 8), indent="  ", rule=False)
        if more > 0:
            screen.line((f"  … and {counted(more, 'more metric')}; --json has all", "dim"))
    if machine and not sampled:
        screen.line((f"  … and {len(machine):,} sampled of process and machine", "dim"))


def _logged(metrics: Mapping[str, MetricSummary]) -> dict[str, MetricSummary]:
    return {name: found for name, found in metrics.items() if not name.startswith(SAMPLED)}


def _ranks(screen: Screen, run: Run) -> None:
    """How many ranks there are and what became of them; on a line of its own each that did not end well."""
    ranks = [rank for rank in run.ranks.values() if rank.status is not None]
    if not ranks:
        return
    screen.heading(f"ranks ({len(ranks) + 1:,})")
    states = [run.status, *(rank.status for rank in ranks if rank.status is not None)]
    screen.line("  ", ", ".join(f"{states.count(state):,} {state}" for state in dict.fromkeys(states)))
    for rank in ranks:
        if rank.status not in (None, RunStatus.RUNNING, RunStatus.FINISHED):
            ended = "" if rank.ended_at is None else f" at {rank.ended_at:%Y-%m-%d %H:%M:%S} UTC"
            state = (str(rank.status), STATUS_STYLES[str(rank.status)])
            screen.line(f"  {rank.role}  ", state, (f" on {rank.host or '?'}{ended}", "dim"))


def _numbers(found: MetricSummary) -> list[Span]:
    parts = [found.min, found.min_step, found.max, found.max_step, found.mean]
    count = f"{found.count:,}" if found.count else ""
    return [(number(found.last), "bold"), *(("" if part is None else number(part)) for part in parts), count]


def _worth_drawing(run: Run) -> list[str]:
    """The metrics that are drawn large: the first two with a history, unless there are many."""
    long = [name for name, found in run.metrics.items() if found.count > SPARK_WIDTH and not name.startswith(SAMPLED)]
    return long[:2]


def _draw(screen: Screen, series: Series) -> None:
    """A chart of a metric, its scale at the left, its name and steps below."""
    drawn = chart(series.values, min(screen.width - 16, 80), CHART_HEIGHT)
    if drawn is None:
        return
    screen.line()
    for i, line in enumerate(drawn.lines):
        label = number(drawn.high) if i == 0 else number(drawn.low) if i == CHART_HEIGHT - 1 else ""
        screen.line((label.rjust(11), "dim"), " ", ("│", "dim"), (line, "cyan"))
    first, last, name = f"{series.steps[0]:,}", f"{series.steps[-1]:,}", fitted(clean(series.name), 50)
    room = len(drawn.lines[0]) - len(first) - len(last) - width_of(name)
    left = " " * max(room // 2, 2)
    right = " " * max(room - room // 2, 2)
    screen.line(" " * 13, (first, "dim"), left, (name, "bold"), right, (last, "dim"))


def _records(screen: Screen, title: str, found: Iterable[Any]) -> None:
    rows: list[list[Span]] = []
    for one in found:
        size = "" if one.size_bytes is None else bytes_text(one.size_bytes)
        digest = ("sha256 " + one.digest[:12], "dim") if one.digest else ""
        files = getattr(one, "files", None)
        more = f"{len(files):,} files" if files else getattr(one, "path", None) or getattr(one, "description", "")
        rows.append([fitted(clean(one.name), 40), size, digest, fitted(clean(more), 60)])
    if rows:
        screen.heading(title)
        screen.table((), rows, right=[1], indent="  ")


def _data(screen: Screen, run: Run) -> None:
    """Data sets by what they are; files that were read without being declared."""
    rows: list[list[Span]] = []
    for one in run.datasets.values():
        size = "" if one.size_bytes is None else bytes_text(one.size_bytes)
        shape = "" if one.rows is None else f"{one.rows:,} x {one.columns or 0:,}"
        known = one.fingerprint or (f"sha256 {one.digest[:12]}" if one.digest else "")
        about = one.note or one.path or one.description
        rows.append([fitted(clean(one.name), 40), size, shape, (known, "dim"), fitted(clean(about), 60)])
    if rows:
        screen.heading("data")
        screen.table((), rows, right=[1, 2], indent="  ")
    undeclared = [one.name for one in run.inputs.values() if not one.declared]
    if undeclared:
        screen.heading(f"read, but not declared as data ({len(undeclared):,})")
        for name in undeclared[:MOST_INPUTS]:
            screen.line("  ", fitted(clean(name), screen.width - 2))
        if len(undeclared) > MOST_INPUTS:
            screen.line((f"  … and {len(undeclared) - MOST_INPUTS:,} more; --json has all", "dim"))


def _troubles(screen: Screen, run: Run) -> None:
    if run.problems:
        screen.heading("problems")
        for problem in run.problems:
            count = f" ({problem.count:,} times)" if problem.count > 1 else ""
            screen.line("  ", (problem.kind, "yellow"), f"  {problem.message}{count}")
    if run.status is RunStatus.KILLED:
        screen.heading("error")
        screen.line("  its process ended without a word: killed, out of memory, or the machine went down")
    if run.error:
        screen.heading("error")
        screen.line("  ", (f"{run.error.get('type', '?')}: {run.error.get('message', '')}", "red"))
        screen.lines(str(run.error.get("traceback", "")).rstrip(), "dim", "  ")


def _output(store: Store, run: Run, *, as_json: bool) -> int:
    """Print what the run wrote to stdout and stderr, in the order of time."""
    from mlsdk.log.decode import Output, decode

    pieces: list[Output] = []
    for log in store.logs.list(f"runs/{run.id}/"):
        try:
            pieces += [entry for entry, _ in decode(store.logs.read(log), live=True) if isinstance(entry, Output)]
        except NotFoundError:  # erased in this moment
            continue
    pieces.sort(key=lambda piece: piece.t)
    if as_json:
        names = {1: "stdout", 2: "stderr"}
        return stores.emit(
            [{"stream": names.get(piece.stream, "?"), "time_ns": piece.t, "text": piece.text} for piece in pieces]
        )
    screen = Screen()
    for piece in pieces:
        screen.lines(piece.text.removesuffix("\n"), "yellow" if piece.stream == 2 else "")
    return 0
