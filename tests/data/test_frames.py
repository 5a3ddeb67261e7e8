"""Frames: pandas, polars and Arrow of the same values have the same fingerprint; types and zones are in the schema."""

from __future__ import annotations

import datetime as dt
import importlib.util
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mlsdk import UsageError
from mlsdk.data.fingerprint import fingerprint

ROWS = 50
START = dt.datetime(2020, 1, 1)  # noqa: DTZ001 (naive is meant)
UTC = dt.timezone.utc
DATA = {
    "integer": list(range(ROWS)),
    "large": [2**53 + place for place in range(ROWS)],
    "float": [place / 7 if place % 5 else None for place in range(ROWS)],
    "bool": [place % 3 == 0 for place in range(ROWS)],
    "text": [f"ü{place}" if place % 4 else None for place in range(ROWS)],
    "time": [START + dt.timedelta(hours=place, microseconds=place) for place in range(ROWS)],
    "zoned": [START.replace(tzinfo=UTC) + dt.timedelta(hours=place) for place in range(ROWS)],
    "day": [dt.date(2020, 1, 1) + dt.timedelta(days=place) for place in range(ROWS)],
    "span": [dt.timedelta(seconds=place) for place in range(ROWS)],
    "clock": [dt.time(place % 24, place) for place in range(ROWS)],
    "bytes": [bytes([place]) for place in range(ROWS)],
    "decimal": [Decimal(place) / 4 for place in range(ROWS)],
    "list": [[place, place + 0.5, None] for place in range(ROWS)],
    "struct": [{"a": place, "b": str(place)} for place in range(ROWS)],
}
ARROW = pa.table(DATA)
PANDAS = pd.DataFrame(DATA)
POLARS = pl.DataFrame(DATA, strict=False)
EXPECTED = fingerprint(DATA)


class Streams:
    """Something of a library that nobody knows, with an Arrow stream."""

    def __arrow_c_stream__(self, requested_schema=None):
        return ARROW.__arrow_c_stream__(requested_schema)


MADE = {
    "arrow": lambda: ARROW,
    "arrow, chunked": lambda: pa.concat_tables([ARROW.slice(0, 7), ARROW.slice(7)]),
    "arrow, sliced": lambda: pa.concat_tables([ARROW, ARROW]).slice(ROWS - 3).slice(3),
    "arrow, dictionaries": lambda: ARROW.set_column(4, "text", ARROW["text"].dictionary_encode()),
    "arrow, large": lambda: ARROW.set_column(4, "text", ARROW["text"].cast(pa.large_string())),
    "record batch": lambda: ARROW.combine_chunks().to_batches()[0],
    "reader": lambda: ARROW.to_reader(max_chunksize=9),
    "dataset": lambda: pa.dataset.dataset(ARROW),
    "scanner": lambda: pa.dataset.dataset(ARROW).scanner(batch_size=8),
    "stream": Streams,
    "pandas": lambda: PANDAS,
    "pandas, arrow": lambda: ARROW.to_pandas(types_mapper=pd.ArrowDtype),
    "pandas, nullable": PANDAS.convert_dtypes,
    "pandas, objects": lambda: PANDAS.astype(object),
    "pandas, python strings": lambda: PANDAS.astype({"text": "string[python]"}),
    "pandas, categories": lambda: PANDAS.astype(
        dict.fromkeys(["integer", "large", "bool", "text", "time", "zoned", "span"], "category")
    ),
    "pandas, nanoseconds": lambda: PANDAS.astype(
        {"time": "M8[ns]", "zoned": "datetime64[ns, Asia/Tokyo]", "span": "m8[ns]"}
    ),
    "polars": lambda: POLARS,
    "polars, categories": lambda: POLARS.with_columns(pl.col("text").cast(pl.Categorical)),
    "polars, enum": lambda: POLARS.with_columns(pl.col("text").cast(pl.Enum(POLARS["text"].drop_nulls().unique()))),
    "polars, nanoseconds": lambda: POLARS.with_columns(pl.col("time").cast(pl.Datetime("ns"))),
    "polars, zone": lambda: POLARS.with_columns(pl.col("zoned").dt.convert_time_zone("Asia/Tokyo")),
}


@pytest.mark.parametrize("how", MADE)
def test_the_same_values_are_the_same(how) -> None:
    """Whatever library and type holds the values, every digest of every column is the same."""
    import pyarrow.dataset  # noqa: F401

    found = fingerprint(MADE[how]())

    assert {column.name: column.ordered for column in found.columns} == {
        column.name: column.ordered for column in EXPECTED.columns
    }
    assert (found, found.rows_id) == (EXPECTED, EXPECTED.rows_id)


@pytest.mark.parametrize("frame", [POLARS, ARROW], ids=["polars", "arrow"])
def test_frames_without_numpy(frame, monkeypatch) -> None:
    """Where numpy is missing, frames have the same fingerprint."""
    from mlsdk.data import mixing

    monkeypatch.setattr(mixing, "numpy_for", lambda cells: None)

    assert fingerprint(frame) == EXPECTED


def test_polars_without_pyarrow(monkeypatch) -> None:
    """Where pyarrow is missing, polars frames have the same fingerprint, to the nanosecond."""
    times = pl.Series("time", [1, None, 1_600_000_000_000_000_001]).cast(pl.Datetime("ns"))
    expected = fingerprint(times)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find(name))

    assert fingerprint(POLARS) == EXPECTED
    assert fingerprint(times) == expected


def test_types_in_one_language() -> None:
    """The logical types are called the same, whatever library declares them."""
    expected = [
        "int64",
        "int64",
        "float64",
        "bool",
        "text",
        "timestamp[us]",
        "timestamp[us, UTC]",
        "date",
        "duration[us]",
    ]
    of = {}
    for name, frame in (("arrow", ARROW), ("polars", POLARS), ("pandas", MADE["pandas, arrow"]())):
        of[name] = [column.type for column in fingerprint(frame).columns]

    assert of["arrow"][:9] == of["polars"][:9] == of["pandas"][:9] == expected
    assert of["arrow"][12:] == of["polars"][12:] == ["list<float64>", "struct<a: int64, b: text>"]
    assert [column.type for column in fingerprint(PANDAS).columns][:5] == expected[:5]


def test_nullability_is_what_arrow_declares() -> None:
    """A column that Arrow declares never null is so in the schema, and the content is the same."""
    schema = pa.schema([pa.field("a", pa.int64(), nullable=False)])
    never, maybe = pa.table({"a": [1]}, schema), pa.table({"a": [1]})
    one, other = fingerprint(never), fingerprint(maybe)

    assert one == other
    assert [one.columns[0].nullable, other.columns[0].nullable] == [False, True]
    assert one.schema_id != other.schema_id


# pandas' own


def test_an_unnamed_index_of_integers_is_left_out() -> None:
    """A frame that was shuffled, or read again, has the same rows."""
    shuffled = PANDAS.sample(frac=1, random_state=0)

    assert fingerprint(shuffled).rows_id == EXPECTED.rows_id
    assert fingerprint(shuffled) != EXPECTED
    assert fingerprint(shuffled.sort_index()) == EXPECTED


def test_any_other_index_is_leading_columns() -> None:
    """A named index, one of text or times, and several levels are columns."""
    frame = pd.DataFrame({"x": [1, 2]})
    named = frame.rename_axis("id")
    texts = frame.set_axis(["a", "b"])
    levels = frame.set_index(pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", None]))
    names = [[column.name for column in fingerprint(one).columns] for one in (named, texts, levels)]

    assert names == [["id", "x"], ["index", "x"], ["k", "level_1", "x"]]
    assert fingerprint(named) == fingerprint({"id": [0, 1], "x": [1, 2]})


def test_names_of_columns() -> None:
    """Several levels are joined by dots, numbers become text, the second of a name gets a number."""
    levels = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", 1)]))
    twice = pd.DataFrame([[1, 2, 3]], columns=["a", "a", 5])

    assert [column.name for column in fingerprint(levels).columns] == ["a.b", "a.1"]
    assert [column.name for column in fingerprint(twice).columns] == ["a", "a#2", "5"]


def test_the_rarer_types_of_pandas() -> None:
    """Sparse values are values, periods are text, intervals are structs, mixed objects are each of their kind."""
    frame = pd.DataFrame(
        {
            "sparse": pd.arrays.SparseArray([0.0, 0.0, 1.5]),
            "period": pd.period_range("2020-01", periods=3, freq="M"),
            "interval": pd.arrays.IntervalArray.from_breaks([0, 1, 2, 3]),
            "mixed": pd.Series([1, "a", None], dtype=object),
            "nan text": pd.Series(["a", np.nan, "b"], dtype=object),
            "integer": pd.array([1, None, 2**53 + 1], dtype="Int64"),
            "bool": pd.array([True, None, False], dtype="boolean"),
            "empty category": pd.Categorical([None, None, None], categories=[]),
            "category": pd.Categorical([2**53 + 1, None, 2**53 + 1]),
        }
    )
    intervals = [{"left": left, "right": left + 1, "closed": "right"} for left in range(3)]
    expected = {
        "sparse": [0.0, 0.0, 1.5],
        "period": ["2020-01", "2020-02", "2020-03"],
        "interval": intervals,
        "mixed": [1, "a", None],
        "nan text": ["a", None, "b"],
        "integer": [1, None, 2**53 + 1],
        "bool": [True, None, False],
        "empty category": [None, None, None],
        "category": [2**53 + 1, None, 2**53 + 1],
    }
    found, wanted = fingerprint(frame), fingerprint(expected)

    assert {column.name: column.ordered for column in found.columns} == {
        column.name: column.ordered for column in wanted.columns
    }
    assert [column.type for column in found.columns][:4] == [
        "float64",
        "period[M]",
        "interval[int64, right]",
        "number|text",
    ]


def test_series_and_indexes() -> None:
    """A single column of any library is one column, by its name or `values`."""
    expected = fingerprint({"values": [1, 2, 3]})

    for single in (
        pd.Series([1, 2, 3]),
        pd.Index([1, 2, 3]),
        pl.Series([1, 2, 3]),
        pa.array([1, 2, 3]),
        pa.chunked_array([[1], [2, 3]]),
    ):
        assert fingerprint(single) == expected
    assert fingerprint(pd.Series([1], name="a")) == fingerprint(pl.Series("a", [1])) == fingerprint({"a": [1]})


def test_types_that_arrow_does_not_have() -> None:
    """Columns of polars for which Arrow has no type are their values."""
    large = getattr(pl, "Int128", pl.Object)

    assert fingerprint(pl.Series("a", [2**70, None], dtype=large)) == fingerprint({"a": [2**70, None]})
    assert fingerprint(pl.Series("a", [1, "x", None], dtype=pl.Object)) == fingerprint({"a": [1, "x", None]})


def test_frames_with_no_rows_or_columns() -> None:
    """Empty frames have fingerprints, the same in every library."""
    assert fingerprint(pd.DataFrame()) == fingerprint(pl.DataFrame()) == fingerprint(pa.table({})) == fingerprint({})
    assert fingerprint(pd.DataFrame({"a": []})) == fingerprint(pa.table({"a": pa.array([], pa.string())}))


def test_many_rows_in_slices() -> None:
    """A frame of more rows than one batch: the same through pandas, Arrow and polars, and no copy of it is changed."""
    frame = pd.DataFrame({"a": np.arange(150_000) / 3, "b": np.arange(150_000).astype(str)})
    before = frame.copy(deep=True)
    one = fingerprint(frame)

    assert one == fingerprint(pa.Table.from_pandas(frame)) == fingerprint(pl.from_pandas(frame))
    assert one == fingerprint(pd.DataFrame(frame.to_numpy(), columns=["a", "b"]))
    pd.testing.assert_frame_equal(frame, before)


def test_a_lazy_frame_is_refused() -> None:
    """A query without rows says what to do."""
    with pytest.raises(UsageError, match=r"collect\(\)"):
        fingerprint(POLARS.lazy())


@pytest.mark.parametrize("made", [pd.DataFrame, pl.DataFrame, pa.table])
def test_frames_are_no_values(made) -> None:
    """A list of frames is refused: their values must not go unseen."""
    with pytest.raises(UsageError, match="fingerprint each frame on its own"):
        fingerprint([made({"a": [1]}), made({"a": [2]})])


def test_times_as_keys() -> None:
    """Keys that are times are given back as times, by every library; as text where no class of Python is as fine."""
    times = pd.to_datetime(["2020-01-01", "2020-01-02T00:00:00.000000001", None], format="ISO8601")
    cases = {
        "naive": (times, [START, None, "2020-01-02 00:00:00 + 1 ns"]),
        "coarse": (times.astype("M8[us]"), [START, None, START + dt.timedelta(1)]),
        "zoned": (
            times.tz_localize("UTC").tz_convert("Asia/Tokyo"),
            [START.replace(tzinfo=UTC), None, "2020-01-02 00:00:00+00:00 + 1 ns"],
        ),
        "durations": (times - times[0], [dt.timedelta(0), None, "1 day, 0:00:00 + 1 ns"]),
    }

    for values, expected in cases.values():
        frame = pd.DataFrame({"time": values})
        for made in (frame, pl.from_pandas(frame), pa.Table.from_pandas(frame)):
            assert sorted(fingerprint(made, key="time").key_values, key=repr) == sorted(expected, key=repr)
