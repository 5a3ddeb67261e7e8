"""Hypothesis strategies that several test files share."""

from __future__ import annotations

import enum
import math
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path as FilePath

from hypothesis import strategies as st

from mlsdk.query.fields import scalar
from mlsdk.query.names import ATTRIBUTES, DATES, STATISTICS, join_key
from mlsdk.query.tree import Compare, In, IsNull, Not, Order, Tree, all_of, any_of
from mlsdk.records import Dataset, MetricSummary, Run, RunStatus


class Colour(enum.Enum):
    RED = "red"
    ODD = (1, 2)


# Few names and values, so that filters often hit; among them all that ever made two engines differ.
NAMES = ("a", "b", "acc", "min", "x.y", "odd `name`", "train/loss", "back\\slash", "größe", "", "and")
NUMBERS = (0, 1, -1, 2, 10, 0.0, -0.0, 1.0, 0.5, 1e-300, math.inf, -math.inf, math.nan, 2**53, 2.0**53, 2**53 + 1)
NUMBERS += (2**63 - 1, 2**63, 2.0**63, -(2**63), -(2**63) - 1, 10**400)
TEXTS = (
    "",
    "a",
    "A",
    "ab",
    "a%b",
    "a_b",
    "abc",
    "1",
    "true",
    "%",
    "_",
    "a\\b",
    "it's",
    'say "x"',
    "a*c",
    "[a]",
    "a?c",
    "ü",
)
TEXTS += ("line\nbreak", "😀", "\uffff", "\ud7ff", "\U0010ffff", "nul\0", "\udc80", "' OR 1=1 --", "2026-01-01")
MOMENTS = tuple(datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(hours=h) for h in (-1, 0, 1, 24))
MOMENTS += (datetime.min.replace(tzinfo=timezone.utc), datetime.max.replace(tzinfo=timezone.utc))
ODD = (None, date(2026, 1, 1), datetime(2026, 1, 1), Decimal("0.5"), Decimal("0.1"), FilePath("a"), *Colour, b"raw")  # noqa: DTZ001
PATTERNS = (
    "",
    "%",
    "_",
    "a%",
    "%b",
    "a_b",
    "a\\%b",
    "%a%b%",
    "a*c",
    "[a]%",
    "\U0010ffff%",
    "\ud7ff%",
    "\\",
    "%\\_%",
    "__",
    "A%",
)
EXPRESSIONS = ("", "a", "^a", "b$", "a.*b", "[A-Z]", r"\d", "(?i)a", "^$", ".")

names = st.sampled_from(NAMES)
scalars = st.sampled_from((*NUMBERS, *TEXTS, *MOMENTS, True, False))
values = st.recursive(
    scalars | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=4,
)
nested = st.dictionaries(names, values, max_size=3)

metrics = st.builds(
    MetricSummary,
    last=st.sampled_from(NUMBERS),
    min=st.none() | st.sampled_from(NUMBERS),
    max=st.none() | st.sampled_from(NUMBERS),
    mean=st.none() | st.sampled_from([float(n) for n in NUMBERS if n != 10**400]),
    count=st.integers(0, 3),
    min_step=st.none() | st.integers(-2, 2),
    max_step=st.none() | st.integers(-2, 2),
)
datasets = st.builds(
    Dataset,
    name=st.sampled_from(TEXTS),
    description=st.sampled_from(TEXTS),
    digest=st.none() | st.sampled_from(TEXTS),
    size_bytes=st.none() | st.integers(0, 2),
)
runs = st.builds(
    Run,
    id=st.uuids().map(lambda run: run.hex),
    name=st.sampled_from(TEXTS),
    experiment=st.sampled_from(TEXTS),
    status=st.sampled_from(RunStatus),
    started_at=st.sampled_from(MOMENTS),
    ended_at=st.none() | st.sampled_from(MOMENTS),
    duration_s=st.none() | st.floats(0, 10),
    params=nested,
    metrics=st.dictionaries(names, metrics, max_size=2),
    tags=nested,
    datasets=st.dictionaries(names, datasets, max_size=1),
    code=nested,
    note=st.none() | st.sampled_from(TEXTS),
    reproduced=st.none() | st.sampled_from("BTSXU"),
    deleted=st.booleans(),
)
"""Any run. Ids are not in the order of starting."""

paths = (
    st.sampled_from(ATTRIBUTES).map(lambda name: (name,))
    | st.tuples(st.sampled_from(("params", "tags", "code", "env")), names)
    | st.tuples(st.just("params"), names, names | st.sampled_from(("0", "1")))
    | st.tuples(st.just("metrics"), names)
    | st.tuples(st.just("metrics"), names, st.sampled_from(STATISTICS[1:]))
    | st.tuples(st.just("data"), names, st.sampled_from(("digest", "size_bytes")))
)

_literals = scalars.filter(lambda value: not isinstance(value, datetime)).map(scalar)


def _leaves(path: tuple[str, ...]) -> st.SearchStrategy[Tree]:
    literals = st.sampled_from(MOMENTS) if path[0] in DATES else _literals
    found: st.SearchStrategy[Tree] = (
        st.builds(IsNull, st.just(path), st.booleans())
        | st.builds(Compare, st.just(path), st.sampled_from(("=", "!=", "<", "<=", ">", ">=")), literals)
        | st.builds(In, st.just(path), st.lists(literals, min_size=1, max_size=3).map(tuple), st.booleans())
    )
    if path[0] not in DATES:
        found |= st.builds(Compare, st.just(path), st.sampled_from(("like", "not like")), st.sampled_from(PATTERNS))
        found |= st.builds(Compare, st.just(path), st.just("~"), st.sampled_from(EXPRESSIONS))
    return found


def trees_over(paths: st.SearchStrategy[tuple[str, ...]]) -> st.SearchStrategy[Tree]:
    return st.recursive(
        paths.flatmap(_leaves),
        lambda inner: (
            inner.map(Not)
            | st.lists(inner, min_size=2, max_size=4).map(lambda parts: all_of(*parts))
            | st.lists(inner, min_size=2, max_size=4).map(lambda parts: any_of(*parts))
        ),
        max_leaves=6,
    )


def orders_over(paths: st.SearchStrategy[tuple[str, ...]]) -> st.SearchStrategy[Order]:
    return st.lists(st.tuples(paths, st.booleans()), max_size=3).map(tuple)


trees = trees_over(paths)
"""Any filter that can be written."""
orders = orders_over(paths)

# The same few values at the same few paths: what is rare above, ties and NaN and pages that end there, is common here.
DENSE = (("params", "a"), ("params", "b"), ("metrics", "acc"), ("metrics", "acc", "mean"))
_missing = st.none()
_dense_values = st.sampled_from((*NUMBERS, *TEXTS, *MOMENTS, True, False)) | st.sampled_from(
    (1, 2.0, math.nan, "a", True)
)
dense_fields = st.tuples(*(st.booleans() for _ in range(2)), *(_missing | _dense_values for _ in DENSE)).map(
    lambda row: {
        "deleted": row[0] and row[1],
        **{join_key(path): scalar(value) for path, value in zip(DENSE, row[2:], strict=True) if value is not None},
    }
)
"""Fields of a run without an id."""
dense_trees = trees_over(st.sampled_from(DENSE))
dense_orders = orders_over(st.sampled_from(DENSE))


def deep_and_wide() -> list[str]:
    """Filters over `params.n` as deep or as long as the language allows."""
    deep = "params.n = 3"
    for level in range(97):
        deep = f"({deep}) {'and' if level % 2 else 'or'} params.n {'<' if level % 2 else '='} {level + 4}"
    wide = " or ".join(f"params.n={n}" for n in range(3, 600))
    mixed = " or ".join(f"(params.n={n} and not (name='x' or id='y'))" for n in range(3, 180))
    return [*(text for one in (deep, wide, mixed) for text in (one, f"not ({one})")), "not " * 99 + "params.n = 1"]
