"""Finding runs again: by filter, by name, the best of them; and editing what is said of them afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from mlsdk.errors import NotFoundError, UsageError
from mlsdk.query.evaluate import matches, ordered
from mlsdk.query.fields import fields
from mlsdk.query.names import VERIFYING, join_key, suggest
from mlsdk.query.parse import parse, parse_order
from mlsdk.query.tree import Compare, IsNull, Not, Order, Tree, all_of, paths
from mlsdk.records import Run
from mlsdk.store import open_store
from mlsdk.store.base import Store

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from mlsdk.editing import Edit

Mode = Literal["max", "min"]

_PAGE = 500
_NAMING = (("experiment",), ("parent",), ("id",), ("name",), ("deleted",))
"""Filters over these may mean reruns that `verify` has made."""


class UnknownFieldWarning(UserWarning):
    """A filter names a field that no run in the store has; a comparison with it is false."""


def runs(
    where: str | None = None,
    *,
    experiment: str | None = None,
    order_by: str | None = None,
    limit: int | None = None,
    store: str | os.PathLike[str] | None = None,
) -> Runs:
    """Find runs.

    Args:
        where: a filter, such as `"metrics.acc > 0.9 and params.lr < 0.5"`; see the page on queries. Deleted runs are
            left out unless it speaks of `deleted`; reruns that `mlsdk.verify` made (of the experiment `verify`),
            unless it speaks of `experiment`, `parent`, `id`, `name` or `deleted`.
        experiment: only runs of this experiment.
        order_by: fields, by commas, `-` in front for descending, such as `"-metrics.acc, name"`; by default the
            newest first. Missing values come last, ties by id.
        limit: the most runs to return.
        store: folder or URI; by default the settings' store.

    Returns:
        The runs, read from the store when they are first looked at.

    Raises:
        QueryError: the filter or the order cannot be understood.
        StoreError: the store that was named is not there.

    >>> import mlsdk
    >>> with mlsdk.run("docs-find", params={"lr": 0.1}):
    ...     mlsdk.log(acc=0.9)
    >>> mlsdk.runs("metrics.acc > 0.8", experiment="docs-find").best("acc").params["lr"]
    0.1
    """
    if where is not None and not isinstance(where, str):
        raise UsageError(f"where must be a filter in text, such as 'metrics.acc > 0.9', not {where!r}")
    if limit is not None and limit < 0:
        raise UsageError(f"limit must be a number of runs from 0 on, not {limit!r}")
    tree = None if where is None else parse(where)
    order = () if order_by is None else parse_order(order_by)
    opened = open_store(store)
    _warn_of_unknown(opened, tree, order)
    return Runs(opened, meant(tree, experiment), order, limit)


def meant(tree: Tree | None, experiment: str | None) -> Tree | None:
    """The filter that stands for what `runs` was asked: of an experiment, and without what only is evidence."""
    parts = [] if tree is None else [tree]
    if experiment is not None:
        parts.append(Compare(("experiment",), "=", experiment))
    elif not any(path in _NAMING for path in paths(tree)):
        parts.append(Not(Compare(("experiment",), "=", VERIFYING)))
    return all_of(*parts)


def get_run(which: str, *, store: str | os.PathLike[str] | None = None) -> Run:
    """One run by its id, the beginning or end of it, its name, or `"latest"`.

    Raises:
        NotFoundError: there is none; the message names the nearest.
        AmbiguousError: several fit; the message lists them.

    >>> import mlsdk
    >>> with mlsdk.run("docs", name="the-one") as run:
    ...     pass
    >>> mlsdk.get_run("the-one").id == run.id
    True
    """
    if not isinstance(which, str):
        raise UsageError(f"get_run takes an id, a part of one, a name or 'latest', not {which!r}")
    return open_store(store).find_one(which)


def edit(run: Run | str, *, store: str | os.PathLike[str] | None = None) -> Edit:
    """Say more about a run, at any time: tags, note, name; delete and restore it.

    Args:
        run: the run, or what `get_run` takes.
        store: folder or URI; by default the settings' store.

    >>> import mlsdk
    >>> with mlsdk.run("docs") as run:
    ...     pass
    >>> mlsdk.edit(run.id).set_tags(["checked"])
    >>> mlsdk.get_run(run.id).tags
    {'checked': True}
    """
    from mlsdk.editing import Edit

    opened = open_store(store)
    return Edit(opened, opened.find_one(run.id if isinstance(run, Run) else run))  # a run of another store is not there


class Runs(Sequence[Run]):
    """Runs that a query found: a sequence, read when first looked at and fixed from then on.

    Shows itself as a table in a terminal and a notebook.
    """

    def __init__(self, store: Store, tree: Tree | None = None, order: Order = (), limit: int | None = None) -> None:
        self._store = store
        self._tree = tree
        self._order = order
        self._limit = limit
        self._found: tuple[Run, ...] | None = None

    def _all(self) -> tuple[Run, ...]:
        if self._found is None:
            page = self._store.find(self._tree, self._order, None, self._limit)
            self._found = page.runs
        return self._found

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[Run]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> Run: ...

    @overload
    def __getitem__(self, index: slice) -> Runs: ...

    def __getitem__(self, index: int | slice) -> Run | Runs:
        if isinstance(index, slice):
            return self._fixed(self._all()[index])
        return self._all()[index]

    def _fixed(self, found: Sequence[Run]) -> Runs:
        """The same store's runs, already found."""
        part = Runs(self._store, self._tree, self._order, self._limit)
        part._found = tuple(found)
        return part

    @property
    def _open(self) -> bool:
        """Whether the store may still be asked: nothing was read, and no limit has cut the answer."""
        return self._found is None and self._limit is None

    def where(self, filter: str) -> Runs:
        """Those of these runs that fit a filter too.

        Raises:
            QueryError: the filter cannot be understood.
        """
        tree = parse(filter)
        _warn_of_unknown(self._store, tree, ())
        if self._open:
            return Runs(self._store, tree if self._tree is None else all_of(self._tree, tree), self._order)
        return self._fixed([run for run in self if matches(tree, fields(run))])

    def sort(self, order_by: str) -> Runs:
        """These runs in another order, such as `"-metrics.acc"`; missing last, ties by id."""
        order = parse_order(order_by)
        _warn_of_unknown(self._store, None, order)
        if self._open:
            return Runs(self._store, self._tree, order)
        return self._fixed(ordered(self, order, fields))

    def best(self, metric: str, mode: Mode = "max") -> Run:
        """The run with the highest (or lowest) last value of a metric; of equal ones the oldest. NaN is never the best.

        Args:
            metric: its name, or the field of another number, such as `metrics.loss.min` or `duration_s`.
            mode: `max` or `min`.

        Raises:
            NotFoundError: none of these runs has a number there.
        """
        if mode not in ("max", "min"):
            raise UsageError(f"mode must be 'max' or 'min', not {mode!r}")
        path = self._path_of(metric)
        order = ((path, mode == "max"),)
        some = Not(IsNull(path))
        if self._open:
            found: Sequence[Run] = self._store.find(
                some if self._tree is None else all_of(self._tree, some), order, None, 1
            ).runs
        else:
            found = ordered([run for run in self if matches(some, fields(run))], order, fields)
        key = join_key(path)
        value = fields(found[0]).get(key) if found else None
        if not found or isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
            raise NotFoundError(f"none of these runs has a number in {metric!r}{self._hint(metric)}")
        return found[0]

    def pareto(self, goals: Mapping[str, Mode]) -> Runs:
        """The runs that no other one beats in every goal, such as `{"acc": "max", "latency_s": "min"}`.

        A run beats another if it is as good in all goals and better in one. Runs that lack a goal's number are left
        out.
        """
        if not goals or any(mode not in ("max", "min") for mode in goals.values()):
            raise UsageError(f"pareto takes metrics with 'max' or 'min', not {dict(goals)!r}")
        keys = [(join_key(self._path_of(metric)), 1.0 if mode == "max" else -1.0) for metric, mode in goals.items()]
        rated: list[tuple[Run, list[float]]] = []
        for run in self:
            known = fields(run)
            values = [known.get(key) for key, _ in keys]
            numbers = [value for value in values if isinstance(value, (int, float)) and value == value]
            if len(numbers) == len(keys):
                rated.append((run, [sign * value for value, (_, sign) in zip(numbers, keys, strict=True)]))
        return self._fixed([run for run, score in rated if not any(_beats(other, score) for _, other in rated)])

    def _path_of(self, metric: str) -> tuple[str, ...]:
        if metric.startswith(("metrics.", "params.")) or metric == "duration_s":
            return parse_order(metric)[0][0]
        return ("metrics", metric)

    def _hint(self, metric: str) -> str:
        known = [key.removeprefix("metrics.") for key in self._store.catalog.keys("metrics")]
        near = suggest(metric.removeprefix("metrics."), known)
        return f"; did you mean {near[0]!r}?" if near else ""

    # frames

    def to_dicts(self) -> list[dict[str, object]]:
        """A flat dictionary for each run: plain attributes, then `params.…`, `metrics.…`, `tags.…` by field name."""
        from mlsdk.table import flat

        return [flat(run) for run in self]

    def to_pandas(self) -> pd.DataFrame:
        """A pandas frame, a row for each run; needs pandas. Numbers stay exact, if need be as objects."""
        _needs("pandas")
        import pandas as pd

        from mlsdk.table import as_objects

        columns = self._columns().items()
        return pd.DataFrame(
            {name: pd.Series(values, dtype=object) if as_objects(values) else values for name, values in columns}
        )

    def to_polars(self) -> pl.DataFrame:
        """A polars frame, a row for each run; needs polars. Columns of mixed types become text."""
        _needs("polars")
        import polars as pl

        from mlsdk.table import of_one_type

        return pl.DataFrame({name: of_one_type(values) for name, values in self._columns().items()})

    def to_arrow(self) -> pa.Table:
        """An Arrow table, a row for each run; needs pyarrow. Columns of mixed types become text."""
        _needs("pyarrow")
        import pyarrow as pa

        from mlsdk.table import of_one_type

        return pa.table({name: pa.array(of_one_type(values)) for name, values in self._columns().items()})

    def _columns(self) -> dict[str, list[Any]]:
        from mlsdk.table import flat_columns

        return flat_columns(self)

    def __repr__(self) -> str:
        from mlsdk.table import text_table

        return text_table(self)

    def _repr_html_(self) -> str:
        from mlsdk.table import html_table

        return html_table(self)


def _needs(package: str) -> None:
    """Say how to get a package that a user asked for and does not have."""
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise UsageError(f"this needs {package}, which is not installed: pip install {package}")


def _beats(score: list[float], other: list[float]) -> bool:
    return all(a >= b for a, b in zip(score, other, strict=True)) and score != other


def _warn_of_unknown(store: Store, tree: Tree | None, order: Order) -> None:
    """Warn of fields that no run has, with the nearest that some have: most likely a slip of the pen."""
    named = [path for path in [*paths(tree), *(path for path, _ in order)] if len(path) > 1]
    keys = [join_key(path[:2] if path[0] == "metrics" else path) for path in named]
    if all(map(store.catalog.has_key, keys)):
        return
    store.refresh()
    for path, base in zip(named, keys, strict=True):
        if store.catalog.has_key(base):
            continue
        near = suggest(base, store.catalog.keys(path[0]))
        hint = f"; did you mean {near[0]!r}?" if near else ""
        import warnings

        warnings.warn(f"no run has {base!r}{hint}", UnknownFieldWarning, stacklevel=3)
