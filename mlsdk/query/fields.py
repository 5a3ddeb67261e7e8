"""A run as the flat mapping that filters and orderings look at: key to scalar."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from mlsdk.query.names import ATTRIBUTES, STATISTICS, clean_text, escape_segment
from mlsdk.query.tree import Scalar

if TYPE_CHECKING:
    from decimal import Decimal

    from mlsdk.records import Run

Fields = Mapping[str, Scalar]
"""Values by key (see `names.join_key`). What is missing or None has no key."""

MAX_ITEMS = 64
"""Of a list, the first so many items can be asked for."""
LONG_LIST = 16
"""Of what captures found, lists and mappings longer than this cannot be asked for: nobody does, and each part of each
run would take room in the catalog."""
LISTS = ("packages",)
"""Those that can, however long."""
MAX_DEPTH = 32
"""Containers nested deeper than this cannot be asked for."""


def fields(run: Run) -> dict[str, Scalar]:
    """Everything of a run that a filter may name.

    Plain attributes under their names; `params.`, `tags.`, `code.`, `env.`, `hardware.` by path, lists by index;
    `metrics.x` is the last value and `metrics.x.min` and so on the others; `data.x` is the description of a
    data set, `data.x.digest`, `.size_bytes`, `.path`, `.fingerprint`, `.rows`, `.columns` the rest of it. Long lists
    that captures found cannot be asked for, but for the packages.

    Example: a run with `params={"model": {"depth": 3}}` has `{"params.model.depth": 3, ...}`.
    """
    found: dict[str, Scalar] = {}
    for name in ATTRIBUTES:
        _put(found, name, getattr(run, name), 0)
    _put(found, "params", run.params, 0)
    _put(found, "tags", run.tags, 0)
    for kind, captured in (("code", run.code), ("env", run.environment), ("hardware", run.hardware)):
        known = captured.short() if isinstance(captured, _Fetching) else captured
        _put(found, kind, {name: value for name, value in known.items() if name in LISTS or not _is_list(value)}, 0)
    for name, metric in run.metrics.items():
        key = f"metrics.{escape_segment(name)}"
        _put(found, key, metric.last, 0)
        for statistic in STATISTICS[1:]:
            _put(found, f"{key}.{statistic}", getattr(metric, statistic), 0)
    for name, dataset in run.datasets.items():
        key = f"data.{escape_segment(name)}"
        _put(found, key, dataset.description, 0)
        for part in ("digest", "size_bytes", "path", "fingerprint", "rows", "columns"):
            _put(found, f"{key}.{part}", getattr(dataset, part), 0)
    return found


@runtime_checkable
class _Fetching(Protocol):
    """A mapping that fetches long values when it is looked at."""

    def short(self) -> Mapping[str, object]:
        """Those that need not be fetched."""


def _is_list(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple) and _parts(value) > LONG_LIST


def _parts(value: object) -> int:
    """How many scalars there are in a value, as far as that matters."""
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else None
    if items is None:
        return 1
    return LONG_LIST + 1 if len(items) > LONG_LIST else sum(map(_parts, items))


_PLAIN = frozenset({bool, int, float, str})


def _put(found: dict[str, Scalar], key: str, value: object, depth: int) -> None:
    if value is None:
        return
    if type(value) in _PLAIN:
        found[key] = scalar(value)
    elif isinstance(value, Mapping):
        _put_all(found, key, value.items(), depth)
    elif isinstance(value, list | tuple):
        _put_all(found, key, enumerate(value[:MAX_ITEMS]), depth)
    elif isinstance(value, set | frozenset):
        # A set has no order of its own: one that does not change from process to process.
        _put_all(found, key, enumerate(sorted(value, key=repr)[:MAX_ITEMS]), depth)
    else:
        found[key] = scalar(value)


def _put_all(found: dict[str, Scalar], key: str, items: Iterable[tuple[object, object]], depth: int) -> None:
    if depth < MAX_DEPTH:
        for name, value in items:
            _put(found, f"{key}.{escape_segment(str(name))}", value, depth + 1)


def scalar(value: object) -> Scalar:
    """One value as filters see it.

    An integer outside 64 bits counts as its float; a date is its midnight, UTC; a naive datetime is UTC; an enum
    member counts as its value where that is a scalar and as its name otherwise; a Decimal as its float where that is
    exact; everything else as `str(value)`.
    """
    if isinstance(value, bool) or type(value) is float:
        return value
    if isinstance(value, datetime | date):
        return utc(value)
    if type(value) not in _PLAIN and hasattr(value, "value") and hasattr(value, "name"):
        inner = value.value
        return scalar(inner if isinstance(inner, bool | int | float | str | datetime | date) else value.name)
    if isinstance(value, int):
        return number(value)
    if isinstance(value, float):
        return float(value)
    decimal = sys.modules.get("decimal")  # whoever has a Decimal has loaded it
    if decimal is not None and isinstance(value, decimal.Decimal):
        return _decimal(value)
    return clean_text(str(value))


def number(value: int) -> int | float:
    """An integer as every engine can hold it: exact within 64 bits, its nearest float outside."""
    if -(2**63) <= value < 2**63:
        return int(value)
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def utc(value: date) -> datetime:
    """A date, or datetime, as an aware datetime in UTC; naive ones are taken as UTC."""
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    if value.tzinfo is None:
        return value.replace(tzinfo=timezone.utc)
    try:
        return value.astimezone(timezone.utc)
    except OverflowError:  # in the first or last hours that a datetime can tell
        return value.replace(tzinfo=timezone.utc)


def _decimal(value: Decimal) -> float | str:
    if value.is_nan():
        return math.nan
    as_float = float(value)
    return as_float if value == as_float else str(value)
