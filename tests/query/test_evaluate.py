"""What a filter and an ordering mean, on the fields of a record."""

from __future__ import annotations

import math
import time
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.query.evaluate import like_pattern, matches, ordered
from mlsdk.query.fields import MAX_DEPTH, MAX_ITEMS, fields
from mlsdk.query.parse import parse, parse_order
from mlsdk.records import Dataset, MetricSummary, Run, RunStatus
from tests.strategies import Colour

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def run(**given: object) -> Run:
    given = {"id": "01", "name": "n", "experiment": "e", "status": RunStatus.FAILED, "started_at": NOON, **given}
    return Run(**given)  # type: ignore[arg-type]


def test_fields() -> None:
    """A record is flattened to scalars by key; what is None or empty has no key."""
    found = fields(
        run(
            params={
                "model": {"depth": 3, "kind": Colour.RED},
                "model.depth": 4,
                "layers": [1, [2]],
                "none": None,
                "path": Path("a/b"),
            },
            metrics={"acc": MetricSummary(last=1, min=0.5, count=2)},
            datasets={"train": Dataset("train", "data.csv", digest="ab")},
            environment={"python": "3.11"},
        )
    )

    assert found == {
        "id": "01",
        "name": "n",
        "experiment": "e",
        "status": "failed",
        "started_at": NOON,
        "deleted": False,
        "params.model.depth": 3,
        "params.model.kind": "red",
        r"params.model\.depth": 4,
        "params.layers.0": 1,
        "params.layers.1.0": 2,
        "params.path": str(Path("a/b")),
        "metrics.acc": 1,
        "metrics.acc.min": 0.5,
        "metrics.acc.count": 2,
        "data.train": "data.csv",
        "data.train.digest": "ab",
        "env.python": "3.11",
    }
    assert type(found["status"]) is str


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (date(2026, 1, 31), NOON - timedelta(hours=12)),
        (NOON.replace(tzinfo=None), NOON),
        (NOON.astimezone(timezone(timedelta(hours=5))), NOON),
        (Decimal("0.5"), 0.5),
        (Decimal("0.1"), "0.1"),
        (Decimal("1e999"), "1E+999"),
        (2**64, 2.0**64),
        (-(10**400), -math.inf),
        (Colour.ODD, "ODD"),
        (b"x", "b'x'"),
        ("\udc80\0", "\ufffd\ufffd"),
        (1 + 2j, "(1+2j)"),
    ],
)
def test_scalars(value: object, expected: object) -> None:
    """Every value has one scalar by which it is found."""
    found = fields(run(params={"x": value}))["params.x"]

    assert found == expected
    assert type(found) is type(expected)


def test_fields_have_limits() -> None:
    """Long lists and deep nesting are cut where nobody would ask, and sets have one order."""
    deep: object = 1
    for _ in range(2 * MAX_DEPTH):
        deep = [deep]
    found = fields(run(params={"long": list(range(1000)), "deep": deep, "set": {"b", "a"}}))

    assert f"params.long.{MAX_ITEMS - 1}" in found
    assert f"params.long.{MAX_ITEMS}" not in found
    assert not any(key.startswith("params.deep") for key in found)
    assert (found["params.set.0"], found["params.set.1"]) == ("a", "b")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("params.n = 1", True),
        ("params.n = 1.0", True),
        ("params.n = '1'", False),
        ("params.n != '1'", True),
        ("params.n = true", False),
        ("params.n < 'a'", False),
        ("params.yes = true", True),
        ("params.yes = 1", False),
        ("params.big > 9007199254740992", True),
        ("params.big > 9007199254740992.0", True),
        ("params.nan = nan", False),
        ("params.nan != nan", True),
        ("params.nan != 1", True),
        ("params.nan < 1 or params.nan >= 1", False),
        ("params.n in ('1', 1)", True),
        ("params.nan in (nan)", False),
        ("params.nan not in (nan)", True),
        ("params.none = 1", False),
        ("params.none != 1", False),
        ("params.none not in (1)", False),
        ("params.none not like '%'", False),
        ("not params.none = 1", True),
        ("not params.none != 1", True),
        ("params.none is null", True),
        ("params.n is null", False),
        ("name like 'N'", False),
        ("name like '_'", True),
        ("params.path like 'a\\%%'", True),
        ("params.path like '%A%'", False),
        ("params.path ~ '%b'", True),
        ("params.n like '1'", False),
        ("params.n not like '1'", True),
        ("started_at > '2026-01-31' and started_at < '2026-02-01'", True),
        ("started_at = '2026-01-31T13:00+01:00'", True),
        ("params.day = '2026-01-31'", False),
        ("deleted", False),
        ("not deleted", True),
    ],
)
def test_meaning(written: str, expected: bool) -> None:
    """Types never coerce, the missing meets no comparison, `not` is its opposite, NaN compares as IEEE says."""
    params = {
        "n": 1,
        "yes": True,
        "big": 2**53 + 1,
        "nan": math.nan,
        "none": None,
        "path": "a%b",
        "day": date(2026, 1, 31),
    }

    assert matches(parse(written), fields(run(params=params))) is expected


@given(st.text(alphabet="ab%_\\\n", max_size=8), st.text(alphabet="ab%_\\\n", max_size=8))
def test_like(pattern: str, value: str) -> None:
    """`like` takes `%` as anything and `_` as one character, and a backslash takes that back."""

    def slow(pattern: str, value: str) -> bool:
        if not pattern:
            return not value
        if pattern[0] == "%":
            return any(slow(pattern[1:], value[i:]) for i in range(len(value) + 1))
        if pattern[0] == "\\":
            plain, rest = pattern[1:2] or "\\", pattern[2:]
            return value[:1] == plain and slow(rest, value[1:])
        return bool(value) and pattern[0] in ("_", value[0]) and slow(pattern[1:], value[1:])

    assert (like_pattern(pattern).fullmatch(value) is not None) is slow(pattern, value)


def test_like_takes_no_time() -> None:
    """No pattern of `like` makes the search run away."""
    begun = time.perf_counter()

    assert like_pattern("%a" * 30 + "%b").fullmatch("a" * 2000) is None
    assert time.perf_counter() - begun < 1


def test_order() -> None:
    """Numbers, text, true and false, dates; NaN after them, the missing last, both in each direction; ties by id."""
    values = [3, 0.5, "b", "a", True, False, NOON, math.nan, None, 3.0]
    runs = [run(id=f"{i:02}", params={"x": value}) for i, value in enumerate(values)]

    def order(written: str | None) -> list[object]:
        return [values[int(r.id)] for r in ordered(runs[::-1], parse_order(written) if written else (), fields)]

    assert repr(order("params.x")) == repr([0.5, 3, 3.0, "a", "b", False, True, NOON, math.nan, None])
    assert repr(order("-params.x")) == repr([NOON, True, False, "b", "a", 3, 3.0, 0.5, math.nan, None])
    assert repr(order(None)) == repr(values[::-1])
    assert repr(order("name, -id")) == repr(values[::-1])
