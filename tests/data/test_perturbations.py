"""Changes that others do not see, or see where there is none: each on real data, in memory and through files.

The data are scikit-learn's wines, made into 12,000 different rows, and a column of every kind beside them.
"""

from __future__ import annotations

import functools
import importlib.util
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import csv

from mlsdk.data.fingerprint import fingerprint

ROWS = 12_000
LATE = 11_000
"""Beyond the first 10,000 rows, where some stop looking."""


def wine() -> pd.DataFrame:
    """Of scikit-learn's wines four columns, by the file: importing it takes seconds."""
    (package,) = importlib.util.find_spec("sklearn").submodule_search_locations
    columns = {0: "alcohol", 1: "malic_acid", 2: "ash", 13: "target"}
    path = Path(package, "datasets", "data", "wine_data.csv")
    return pd.read_csv(path, header=None, skiprows=1, usecols=list(columns)).rename(columns=columns)


@functools.cache
def made() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    wines = wine()
    frame = wines.iloc[np.arange(ROWS) % len(wines)].reset_index(drop=True)
    for name in ("alcohol", "malic_acid", "ash"):
        frame[name] += rng.normal(0, 0.01, ROWS)
    frame.loc[LATE, "ash"] = 0.0
    frame.loc[LATE + 1, "ash"] = np.nan
    place = np.arange(ROWS)
    return frame.assign(
        flag=place % 3 == 0,
        when=pd.Series(np.datetime64("2020-01-01", "us") + place * np.timedelta64(3_601_000_001, "us")),
        seen=pd.Series(np.datetime64("2021-05-05", "us") + place * np.timedelta64(1, "m")).dt.tz_localize("UTC"),
        text=pd.Series([f"Größe {one % 97}" if one % 11 else "" for one in place], dtype="str"),
        city=pd.Categorical(np.array(["Rome", "Oslo", "Lima"])[place % 3]),
        serial=2**53 + place,
        small=rng.normal(size=ROWS).astype(np.float32),
        raw=pd.Series([bytes([one % 251, one // 251]) for one in place], dtype=object),
    )


def whole(frame: pd.DataFrame, key: str | None = None):
    return fingerprint(frame, key=key)


def by_polars(frame: pd.DataFrame):
    return fingerprint(pl.from_pandas(frame))


def by_arrow(frame: pd.DataFrame):
    return fingerprint(pa.Table.from_pandas(frame, preserve_index=False))


def by_parquet(frame: pd.DataFrame):
    frame.to_parquet("data.parquet", index=False)
    return fingerprint("data.parquet")


def by_csv(frame: pd.DataFrame):
    """CSV has no bytes, and its floats are 64 bits wide."""
    plain = frame.drop(columns=["raw", "small"]).astype({"city": "str", "text": "str"} if "city" in frame else {})
    csv.write_csv(pa.Table.from_pandas(plain, preserve_index=False), "data.csv")
    return fingerprint("data.csv")


MEMORY = (whole, by_polars, by_arrow)
ALL = (*MEMORY, by_parquet, by_csv)
TYPED = (*MEMORY, by_parquet)


class Case(NamedTuple):
    """A change, and what has to be said about it."""

    change: Callable[[pd.DataFrame], pd.DataFrame]
    level: str
    columns: tuple[str, ...] = ()
    rows: tuple[int, int, int] = (0, 0, 0)
    """Changed, added, removed."""
    routes: tuple[Callable, ...] = ALL
    retyped: tuple[str, ...] = ()


def cell(row: int, column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Another value in one place; a function makes it of the old one."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        values = frame[column].copy()
        values.iloc[row] = value(values.iloc[row]) if callable(value) else value
        return frame.assign(**{column: values})

    return change


def column(name: str, of: Callable[[pd.Series], object]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.assign(**{name: of(frame[name])})


def late(frame: pd.DataFrame) -> pd.DataFrame:
    values = frame["alcohol"].to_numpy(copy=True)
    values[LATE : LATE + 10] += 1
    return frame.assign(alcohol=values)


def swapped_cells(frame: pd.DataFrame) -> pd.DataFrame:
    one, other = frame["alcohol"].to_numpy(copy=True), frame["malic_acid"].to_numpy(copy=True)
    one[5], other[5] = other[5], one[5]
    return frame.assign(alcohol=one, malic_acid=other)


def swapped_rows(frame: pd.DataFrame) -> pd.DataFrame:
    values = frame["alcohol"].to_numpy(copy=True)
    values[[3, LATE]] = values[[LATE, 3]]
    return frame.assign(alcohol=values)


def with_rows(*places: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: pd.concat([frame, frame.iloc[list(places)]], ignore_index=True)


def shuffled(values: pd.Series) -> np.ndarray:
    return np.random.default_rng(0).permutation(values.to_numpy())


def odd_nan(values: pd.Series) -> np.ndarray:
    words = values.to_numpy(copy=True).view(np.uint64)
    words[LATE + 1] = 0xFFF8000000000123
    return words.view(float)


def next_up(value: float) -> float:
    return float(np.nextafter(value, np.inf))


def decomposed(values: pd.Series) -> pd.Series:
    return pd.Series([unicodedata.normalize("NFD", one) for one in values], dtype="str")


ONE, EVERY, SAME = (1, 0, 0), (ROWS, 0, 0), (0, 0, 0)
FULL = sum(1 for place in range(ROWS) if place % 11)

CASES = {
    "ten rows beyond the first 10,000": Case(late, "same schema", ("alcohol",), (10, 0, 0)),
    "every boolean flipped": Case(column("flag", lambda values: ~values), "same schema", ("flag",), EVERY),
    "every date moved": Case(
        column("when", lambda values: values + pd.Timedelta("1D").as_unit("us")), "same schema", ("when",), EVERY
    ),
    "one time moved by a microsecond": Case(
        cell(9, "when", lambda old: old + pd.Timedelta("1us")), "same schema", ("when",), ONE
    ),
    "a float moved by 1e-12": Case(
        cell(LATE, "malic_acid", lambda old: old + 1e-12), "same schema", ("malic_acid",), ONE
    ),
    "the last bit of a float": Case(cell(0, "malic_acid", next_up), "same schema", ("malic_acid",), ONE),
    "rows in another order": Case(lambda frame: frame.sample(frac=1, random_state=1), "same rows in another order"),
    "columns in another order": Case(lambda frame: frame[frame.columns[::-1]], "same rows in another order"),
    "both": Case(lambda frame: frame[frame.columns[::-1]].iloc[::-1], "same rows in another order"),
    "int64 to int32": Case(
        column("target", lambda values: values.astype("int32")),
        "same ordered content",
        routes=TYPED,
        retyped=("target",),
    ),
    "int64 to float64": Case(
        column("target", lambda values: values.astype(float)), "same ordered content", routes=TYPED, retyped=("target",)
    ),
    "0.0 to -0.0": Case(cell(LATE, "ash", -0.0), "same ordered content"),
    "another NaN": Case(column("ash", odd_nan), "same ordered content", routes=MEMORY),
    "a number to NaN": Case(cell(4, "ash", np.nan), "same schema", ("ash",), ONE),
    "NaN to 0.0": Case(cell(LATE + 1, "ash", 0.0), "same schema", ("ash",), ONE),
    "a row twice more": Case(with_rows(7, 7), "same schema", (), (0, 2, 0)),
    "another zone": Case(
        column("seen", lambda values: values.dt.tz_convert("Asia/Tokyo")),
        "same ordered content",
        routes=TYPED,
        retyped=("seen",),
    ),
    "no zone": Case(
        column("seen", lambda values: values.dt.tz_localize(None)), "different", ("seen",), EVERY, retyped=("seen",)
    ),
    "text to categories": Case(
        column("text", lambda values: values.astype("category")),
        "same ordered content",
        routes=TYPED,
        retyped=("text",),
    ),
    "categories in another order": Case(
        column("city", lambda values: values.cat.reorder_categories(["Rome", "Oslo", "Lima"])),
        "same ordered content",
        routes=TYPED,
    ),
    "a category renamed": Case(
        column("city", lambda values: values.cat.rename_categories({"Rome": "Roma"})),
        "same schema",
        ("city",),
        (4000, 0, 0),
    ),
    "two categories' names exchanged": Case(
        column("city", lambda values: values.cat.rename_categories({"Rome": "Oslo", "Oslo": "Rome"})),
        "same schema",
        ("city",),
        (8000, 0, 0),
    ),
    "two cells of a row swapped": Case(swapped_cells, "same schema", ("alcohol", "malic_acid"), ONE),
    "two values of a column swapped": Case(swapped_rows, "same schema", ("alcohol",), (2, 0, 0)),
    "empty text to missing": Case(cell(0, "text", None), "same schema", ("text",), ONE, routes=TYPED),
    "a blank behind a text": Case(cell(1, "text", lambda old: old + " "), "same schema", ("text",), ONE),
    "text in another normal form": Case(column("text", decomposed), "same schema", ("text",), (FULL, 0, 0)),
    "true to 1": Case(
        column("flag", lambda values: values.astype("int8")), "different", ("flag",), EVERY, retyped=("flag",)
    ),
    "1 to text": Case(
        column("target", lambda values: "#" + values.astype(str)), "different", ("target",), EVERY, retyped=("target",)
    ),
    "an integer beyond 2^53": Case(cell(LATE, "serial", lambda old: old + 1), "same schema", ("serial",), ONE),
    "one bit of a float32": Case(
        cell(6, "small", lambda old: np.nextafter(old, np.float32(9))), "same schema", ("small",), ONE, routes=TYPED
    ),
    "one bit of bytes": Case(
        cell(8, "raw", lambda old: bytes([old[0] ^ 1]) + old[1:]), "same schema", ("raw",), ONE, routes=TYPED
    ),
    "the first row gone": Case(lambda frame: frame.iloc[1:], "same schema", (), (0, 0, 1)),
}


@functools.cache
def before(route: Callable):
    return route(made())


@pytest.mark.parametrize("name", CASES)
def test_a_change_is_seen_as_what_it_is(name) -> None:
    """Through every reader: the right level, exactly the changed columns and number of rows; never a false same."""
    case = CASES[name]
    changed = case.change(made().copy())
    said = {}
    for route in case.routes:
        found = before(route).compare(route(changed))
        read_back = {one.name for one in before(route).columns}
        assert set(case.columns) >= set(found.changed_columns)
        columns = tuple(one for one in case.columns if one in read_back)
        said[route.__name__] = (
            str(found.level),
            tuple(sorted(found.changed_columns)) == tuple(sorted(columns)),
            (found.changed_rows, found.added_rows, found.removed_rows),
            found.retyped_columns if route is not by_csv else case.retyped,
        )

    assert said == {route.__name__: (case.level, True, case.rows, case.retyped) for route in case.routes}


@pytest.mark.parametrize("route", ALL, ids=lambda route: route.__name__)
def test_columns_that_come_go_and_are_renamed(route) -> None:
    """A renamed column is one gone and one come; a dropped one is gone; a copy under another name has come."""
    frame = made()
    cases = [
        (frame.rename(columns={"alcohol": "Alcohol"}), ("Alcohol",), ("alcohol",)),
        (frame.drop(columns="alcohol"), (), ("alcohol",)),
        (frame.assign(copy=frame["alcohol"]), ("copy",), ()),
    ]

    for changed, added, removed in cases:
        found = before(route).compare(route(changed))
        assert (str(found.level), found.added_columns, found.removed_columns) == ("different", added, removed)
        assert not found.same_rows
        assert found.changed_columns == ()


def test_pairs_do_not_cancel() -> None:
    """Two more of one row are not two more of another, nor none, nor four."""
    made_of = {places: whole(with_rows(*places)(made())) for places in ((7, 7), (8, 8), (7, 7, 8, 8), (7, 8))}
    found = made_of[7, 7].compare(made_of[8, 8])

    assert len({one.rows_id for one in (before(whole), *made_of.values())}) == 5
    assert (found.changed_rows, found.added_rows, found.removed_rows) == (2, 0, 0)


def test_the_same_through_every_reader() -> None:
    """CSV, Parquet, Arrow, polars and pandas of the same values are the same; only the types may differ."""
    frame = made().drop(columns=["raw", "small"])
    frame = frame.assign(text=frame["text"].replace("", None))
    frame.to_csv("data.csv", index=False)
    frame.to_parquet("data.parquet", index=False)
    found = [fingerprint("data.csv"), fingerprint("data.parquet"), by_polars(frame), by_arrow(frame), whole(frame)]

    assert len({one.id for one in found}) == 1
    assert len({one.rows_id for one in found}) == 1
    assert str(found[0].compare(found[1]).level) == "same ordered content"


def test_nan_and_null_are_the_same() -> None:
    """NaN in numpy's floats, null of Arrow, of polars and of pandas' own types: all are missing."""
    values = [1.0, None, 2.0]
    made_of = [
        pd.DataFrame({"a": values}),
        pd.DataFrame({"a": pd.array(values, "Float64")}),
        pa.table({"a": values}),
        pa.table({"a": pa.array([1.0, float("nan"), 2.0])}),
        pl.DataFrame({"a": values}),
        pl.DataFrame({"a": [1.0, float("nan"), 2.0]}),
        {"a": np.array(values, float)},
    ]

    assert len({fingerprint(one) for one in made_of}) == 1


def test_rounding_to_float32_is_seen() -> None:
    """A column rounded to 32 bits is another one wherever that loses something; the rows are counted."""
    frame = made()
    narrow = frame["alcohol"].astype(np.float32)
    lost = int((narrow.astype(float) != frame["alcohol"]).sum())
    found = before(whole).compare(whole(frame.assign(alcohol=narrow)))

    assert lost > 11_000
    assert (found.changed_columns, found.changed_rows, found.retyped_columns) == (("alcohol",), lost, ("alcohol",))


def test_keys_name_what_changed() -> None:
    """With a key the changed rows are named, in whatever order they come."""
    changed = late(made()).sample(frac=1, random_state=3)
    found = whole(made(), "serial").compare(whole(changed, "serial"))

    assert sorted(found.changed_keys) == [2**53 + place for place in range(LATE, LATE + 10)][: len(found.changed_keys)]
    assert (found.changed_rows, found.added_rows, found.removed_rows) == (10, 0, 0)
