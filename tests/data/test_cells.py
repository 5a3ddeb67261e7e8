"""Canonical cells: equal values have equal cells whatever holds them; different values have different ones."""

from __future__ import annotations

import datetime as dt
import enum
import math
import uuid
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.data import values as v
from mlsdk.data.cells import Masked, canonical, plain
from mlsdk.errors import UsageError


def cells(array, decimals=None):
    """The cells of an array as a list of single ones."""
    tags, words, payload = canonical(np, plain(np, array), decimals)
    tags = [tags] * len(words) if isinstance(tags, int) else list(tags)
    data, place, found = bytes(payload), 0, []
    for tag, word in zip(tags, np.asarray(words).tolist(), strict=True):
        size = word if tag in v.LONG else 0
        found.append((int(tag), word, data[place : place + size]))
        place += size
    assert place == len(data)
    return found


def one_by_one(items, decimals=None):
    return [v.cell(item, decimals) for item in items]


FLOATS = st.floats(allow_nan=True, allow_infinity=True)
NUMBERS = st.lists(FLOATS, max_size=40)
INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 2**62 + 2**9, 0, 1])


@given(NUMBERS, st.none() | st.integers(0, 15))
def test_floats(items, decimals) -> None:
    """Floats: numpy, Arrow and Python agree, rounded or not."""
    expected = one_by_one(items, decimals)

    assert cells(np.array(items, float), decimals) == expected
    assert cells(pa.array(items, pa.float64()), decimals) == expected
    assert cells(items, decimals) == expected


@given(st.lists(st.floats(width=32), max_size=20))
def test_narrow_floats_are_widened_exactly(items) -> None:
    """A 32-bit float is the 64-bit float of exactly the same value."""
    assert cells(np.array(items, np.float32)) == one_by_one(items)


@given(st.lists(INTEGERS, max_size=40))
def test_integers(items) -> None:
    """Integers: exact to the last bit, beyond 2^53 too, in every library."""
    expected = one_by_one(items)

    assert cells(np.array(items, np.int64)) == expected
    assert cells(pa.array(items, pa.int64())) == expected
    assert cells(items) == expected


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40))
def test_unsigned_integers(items) -> None:
    """Unsigned integers up to 2^64."""
    assert cells(np.array(items, np.uint64)) == one_by_one(items)


@given(st.integers(-(2**90), 2**90), st.integers(-(2**90), 2**90))
def test_integers_never_collide(one, other) -> None:
    """Two integers have the same cell only if they are the same."""
    assert (v.cell(one) == v.cell(other)) == (one == other)


@given(st.integers(-(2**70), 2**70))
def test_an_integer_is_its_float_where_exact(number) -> None:
    """An integer and a float share a cell exactly where they are equal."""
    assert (v.cell(number) == v.cell(float(number))) == (int(float(number)) == number)


TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)


@given(st.lists(st.none() | TEXT, max_size=60))
def test_text(items) -> None:
    """Text: lists, objects of numpy and Arrow agree, with lone surrogates and missing ones."""
    expected = one_by_one(items)

    assert cells(items) == expected
    assert cells(np.array([*items, None], object)[:-1]) == expected
    if not any("\ud800" <= char <= "\udfff" for item in items if item for char in item):
        views = [pa.string_view()] if hasattr(pa, "string_view") else []
        for kind in (pa.string(), pa.large_string(), *views):
            assert cells(pa.array(items, kind)) == expected
            assert cells(pa.array(["x", *items], kind)[1:]) == expected
        assert cells(pa.array(items, pa.string()).dictionary_encode()) == expected


def test_numpys_strings() -> None:
    """Numpy's strings of fixed length are text and bytes."""
    assert cells(np.array(["a", "Größe"])) == one_by_one(["a", "Größe"])
    assert cells(np.array([b"a", b"bc"])) == one_by_one([b"a", b"bc"])


def test_bytes_below_a_missing_value_do_not_count() -> None:
    """A missing value that still owns bytes in Arrow's buffer is as missing as any."""
    offsets = pa.py_buffer(np.array([0, 2, 5, 6], np.int32).tobytes())
    array = pa.Array.from_buffers(pa.string(), 3, [pa.py_buffer(b"\x05"), offsets, pa.py_buffer(b"ab???c")])

    assert cells(array) == one_by_one(["ab", None, "c"])


MOMENTS = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))  # noqa: DTZ001 (naive is meant)


@given(st.lists(MOMENTS, max_size=20))
def test_times(items) -> None:
    """Times to the microsecond: Python, numpy and Arrow in every unit that holds them."""
    expected = one_by_one(items)

    assert cells(np.array(items, "M8[us]")) == expected
    assert cells(np.array(items, "M8[ns]")) == expected
    assert cells(pa.array(items, pa.timestamp("us"))) == expected
    assert cells(pa.array(items, pa.timestamp("ns"))) == expected


@given(st.lists(st.datetimes() | st.none(), min_size=1, max_size=20))
def test_far_times(items) -> None:
    """Times that 64 bits of nanoseconds cannot hold: years 1 to 9999."""
    expected = one_by_one(items)

    assert cells(pa.array(items, pa.timestamp("us"))) == expected
    assert cells(np.array(items, "M8[us]")) == expected


def test_a_time_is_the_same_in_every_zone_but_no_naive_one() -> None:
    """One moment in two zones is one cell; the same figures without a zone are another."""
    naive = dt.datetime(2026, 11, 20, 12)  # noqa: DTZ001 (naive is meant)
    berlin = dt.timezone(dt.timedelta(hours=1))
    in_utc, in_berlin = naive.replace(tzinfo=dt.timezone.utc), naive.replace(hour=13, tzinfo=berlin)

    assert v.cell(in_utc) == v.cell(in_berlin) != v.cell(naive)
    assert cells(pa.array([in_utc], pa.timestamp("us", "Europe/Berlin"))) == [v.cell(in_utc)]


def test_dates_durations_and_times_of_day() -> None:
    """A date is its midnight; durations and times of day are kinds of their own."""
    day, span, clock = dt.date(2026, 11, 20), dt.timedelta(hours=36), dt.time(12, 30, 0, 7)

    assert v.cell(day) == v.cell(dt.datetime(2026, 11, 20))  # noqa: DTZ001 (naive is meant)
    for items, kinds in (
        ([day, None], [pa.date32(), pa.date64()]),
        ([span, None], [pa.duration("s"), pa.duration("ns")]),
        ([clock, None], [pa.time64("us"), pa.time64("ns")]),
        ([dt.time(1, 2, 3)], [pa.time32("s"), pa.time32("ms")]),
    ):
        for kind in kinds:
            assert cells(pa.array(items, kind)) == one_by_one(items)
    assert cells(np.array([day, None], "M8[D]")) == one_by_one([day, None])
    assert cells(np.array(["2026-11", "NaT"], "M8[M]")) == one_by_one([dt.date(2026, 11, 1), None])
    assert cells(np.array([36], "m8[h]")) == one_by_one([span])


def test_missing_is_one_cell() -> None:
    """None, NaN of any bits, NaT, a masked value and Arrow's null are the same."""
    pandas = pytest.importorskip("pandas")
    odd = np.array([0x7FF8000000000001, 0xFFF0000000000002], np.uint64).view(float)
    found = [
        *cells(odd),
        *cells(np.array(["NaT"], "M8[ns]")),
        *cells(np.ma.array([1.0], mask=[True])),
        *cells(Masked(np.array([3]), np.array([True]))),
        *cells(pa.array([None], pa.int8())),
        *cells(pa.nulls(1)),
        *one_by_one([None, math.nan, pandas.NA, pandas.NaT, Decimal("NaN"), complex("nan")]),
    ]

    assert set(found) == {v.NOTHING}


def test_complex_numbers() -> None:
    """Complex numbers are two floats; one without a value is missing."""
    items = [1 + 2j, -0.0 + 0j, complex("nan"), None]

    assert cells(np.array(items[:3])) == one_by_one(items[:3])
    assert cells(items) == one_by_one(items)
    assert v.cell(1 + 0j) != v.cell(1.0)


@given(st.decimals(allow_nan=False), st.decimals(allow_nan=False))
def test_decimals(one, other) -> None:
    """Decimals are the same exactly where they are equal, however many zeros are written."""
    assert (v.cell(one) == v.cell(other)) == (one == other)


NESTED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=8,
)


@given(NESTED, NESTED)
def test_nested_values_never_collide(one, other) -> None:
    """Lists in lists have the same cell only if they are the same, types of values included."""

    def told(value):
        if isinstance(value, list):
            return [told(item) for item in value]
        return (bool, value) if isinstance(value, bool) else (type(value) in (int, float), value)

    assert (v.cell(one) == v.cell(other)) == (told(one) == told(other))


@given(st.integers(1, 4), st.integers(0, 3), st.integers(1, 3), st.sampled_from(["u1", "i8", "f4", "f8", "?"]))
def test_arrays_of_many_dimensions_are_nested_lists(rows, width, depth, kind) -> None:
    """A row of an array of many dimensions has the cell of the same nested list, and of Arrow's."""
    array = (np.arange(rows * width * depth) % 5).reshape(rows, width, depth).astype(kind)
    if kind == "f8" and array.size:
        array.flat[0] = np.nan

    assert cells(array) == one_by_one(array.tolist())
    assert cells(pa.array(array.tolist())) == one_by_one(array.tolist())
    assert one_by_one(list(array)) == one_by_one(array.tolist())


@dataclass
class Point:
    x: int
    y: float


class Colour(enum.Enum):
    RED = "red"


class Pair(NamedTuple):
    x: int
    y: int


def test_other_values_of_python() -> None:
    """Structs by name, sets in any order, enums by value, paths and UUIDs as text."""
    assert v.cell(Point(1, 2.0)) == v.cell({"y": 2, "x": 1}) == v.cell({"x": 1, "y": 2.0, "z": None})
    assert v.cell(Pair(1, 2)) == v.cell([1, 2]) == v.cell((1, 2))
    assert v.cell({3, 1, 2}) == v.cell([1, 2, 3])
    assert v.cell(Colour.RED) == v.cell("red")
    assert v.cell(PurePosixPath("a/b")) == v.cell("a/b")
    assert v.cell(uuid.UUID(int=5)) == v.cell(str(uuid.UUID(int=5)))
    assert v.cell(np.float32(0.5)) == v.cell(0.5)
    assert v.cell(np.datetime64("2026-11-20T00:00:00.000000001")) == (v.NAIVE, 1795132800000000001, b"")


def test_kinds_are_apart() -> None:
    """What looks alike but is of another kind has another cell."""
    items = [1, True, "1", b"1", Decimal(1), dt.timedelta(microseconds=1), dt.time(0, 0, 1), [1], {"a": 1}, 1j, "", []]

    assert len(set(one_by_one(items))) == len(items)


@pytest.mark.parametrize(
    "array",
    [
        [object()],
        [dt.time(1, tzinfo=dt.timezone.utc)],
        np.array([1], "M8[ps]"),
        np.array(["0.1"], np.longdouble),
    ],
    ids=["object", "time of day with zone", "picoseconds", "long double"],
)
def test_what_has_no_cell_is_refused(array) -> None:
    """A value that cannot be told exactly is refused, with what to do."""
    with pytest.raises(UsageError, match=r"turn|drop|convert"):
        cells(array)


def test_a_value_that_holds_itself() -> None:
    """What never ends is refused too."""
    endless: list[object] = [1]
    endless.append(endless)

    with pytest.raises(UsageError, match="or holds itself"):
        canonical(np, [endless], None)


def test_the_callers_arrays_are_left_alone() -> None:
    """Nothing is written into an array that is read."""
    arrays = [np.array([-0.0, np.nan, 1.0]), np.array([1, 2], np.uint64), np.array([True]), np.array([3], "M8[ns]")]
    for array in arrays:
        array.flags.writeable = False
        before = array.tobytes()
        found = canonical(np, plain(np, array), None)
        found.words[:] = 7

        assert array.tobytes() == before
