"""CSV and TSV: the rules, the same with Arrow and without."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlsdk.data import delimited
from mlsdk.data.delimited import NotATable, read_delimited
from mlsdk.data.digest import digest_table
from mlsdk.data.files import fingerprint_path
from mlsdk.data.frames import pandas_table
from mlsdk.data.record import Fingerprint
from tests.programs import execute

real_find_spec = importlib.util.find_spec


@contextmanager
def without(*libraries: str) -> Iterator[None]:
    """As if some libraries were not installed."""
    find: Callable[..., Any] = lambda name, package=None: None if name in libraries else real_find_spec(name, package)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", find)
        yield


def read(path: str, **options: Any) -> Fingerprint | str:
    """The fingerprint of the rows, or why there is none."""
    try:
        return digest_table(read_delimited(path, **options))
    except NotATable as why:
        return str(why)


def both(text: str | bytes, **options: Any) -> Fingerprint | str:
    """The fingerprint of a CSV file, read by Arrow and by the `csv` module, which must agree."""
    Path("data.csv").write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    by_arrow = read("data.csv", **options)
    with without("pyarrow"):
        plain = read("data.csv", **options)
    assert described(by_arrow) == described(plain)
    return plain


def described(found: Fingerprint | str) -> object:
    if isinstance(found, str):
        return found
    return found.id, found.rows, found.schema_id, found.rows_id, found.columns


def types(text: str) -> list[str]:
    found = both(text)
    assert isinstance(found, Fingerprint)
    return [column.type for column in found.columns]


def of_column(*values: str) -> str:
    """The type of a column with these values."""
    return types("x,y\n" + "".join(f"{value},1\n" for value in values))[0]


def of_frame(frame: pd.DataFrame) -> Fingerprint:
    return digest_table(pandas_table(frame))


# Types


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (["0", "-12", "9223372036854775807"], "int64"),
        (["9223372036854775808"], "integer"),
        (["1", "-99999999999999999999999"], "integer"),
        (["1", "", "3"], "int64"),
        (["007", "8"], "text"),
        (["+1"], "text"),
        (["1_000"], "text"),
        ([" 1"], "text"),
        (["1", "2.5"], "float64"),
        ([".5", "1.", "1e5", "-1E-3"], "float64"),
        (["-0"], "float64"),
        (["nan", "inf", "-Infinity", "NaN"], "float64"),
        (["nan(1)"], "text"),
        (["1.5", "00.5"], "text"),
        (["0x10"], "text"),
        (["١٢"], "text"),
        (["true", "False", "TRUE"], "bool"),
        (["true", "1"], "text"),
        (["yes"], "text"),
        (["2024-02-29", "0001-01-01", "9999-12-31"], "date"),
        (["2023-02-29"], "text"),
        (["0000-01-01"], "text"),
        (["2024-01-01", "2024-01-01 10:00"], "timestamp[us]"),
        (["2024-01-01T10:00:00.5", "9999-12-31 23:59:59"], "timestamp[us]"),
        (["2024-01-01 10:00:00.123456789"], "timestamp[ns]"),
        (["2024-01-01 10:00:00.123456789", "9999-12-31"], "timestamp[ns]"),
        (["2024-01-01 24:00:00"], "text"),
        (["2024-01-01 10:00:00Z", "2024-01-01T10:00:00.123-08:30"], "timestamp[us, UTC]"),
        (["2024-01-01 10:00:00Z", "2024-01-01 10:00:00"], "text"),
        (["0001-01-01 00:00:00+05:00", "9999-12-31 23:59:59.5-23:59"], "timestamp[us, UTC]"),
        (["2024-01-01 00:00:00+24:00"], "text"),
        (["10:00:00"], "text"),
        (["NA"], "text"),
        (["", ""], "null"),
    ],
)
def test_types(values: list[str], wanted: str) -> None:
    """A column has the first type that fits all its values."""
    assert of_column(*values) == wanted


def test_type_is_that_of_the_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """One value at the very end changes the type of the column, and with it the values before."""
    monkeypatch.setattr(delimited, "_ROWS", 10)
    monkeypatch.setattr(delimited, "_BLOCK", 256)
    numbers = [str(number) for number in range(200)]

    assert of_column(*numbers) == "int64"
    assert of_column(*numbers, "0.5") == "float64"
    assert of_column(*numbers, "x") == "text"
    assert of_column("9007199254740993", *numbers, "0.5") == "float64"


def test_large_ids_stay_apart() -> None:
    """Whole numbers that one float would stand for remain different, also among numbers with a point."""
    for other in ("", "0.5\n", "123456789012345678901234567890\n"):
        one = both(f"x\n9007199254740992\n{other}")
        assert one != both(f"x\n9007199254740993\n{other}")


# Text


def test_empty_is_missing_quoted_or_not() -> None:
    """An empty field is missing, in quotes too, in a column of any type."""
    found = both('a,b,c\n1,x,\n"","",true\n')

    assert isinstance(found, Fingerprint)
    assert [column.missing for column in found.columns] == [1, 1, 1]


def test_quotes_and_line_ends() -> None:
    """What stands in quotes is one value, whatever ends the lines; the writing does not count."""
    plain = both('a,b\n"x,1","say ""hi"""\n"two\nlines",y\n')
    windows = both('"a","b"\r\n"x,1","say ""hi"""\r\n"two\nlines","y"')

    assert plain == windows
    assert isinstance(plain, Fingerprint)
    assert plain.rows == 2


def test_encodings() -> None:
    """A byte order mark does not count; what is not UTF-8 is Latin-1."""
    text = "näme,x\né,1\n"

    assert both(text) == both(b"\xef\xbb\xbf" + text.encode()) == both(text.encode("latin-1"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("a,b\n1,2\n3\n", "line 3 has 1 fields, the head has 2"),
        ("a\n1,2\n", "line 2 has 2 fields, the head has 1"),
        ("a\n\0\n", "zero byte"),
        ("a,b\n".encode("utf-16"), "zero byte"),
    ],
)
def test_no_table(text: str | bytes, why: str) -> None:
    """A file that is no table by the rules says why."""
    assert why in str(both(text))


def test_head_only() -> None:
    """A file with a head and no rows is a table with no rows."""
    found = both("a,b\n")

    assert isinstance(found, Fingerprint)
    assert (found.rows, [column.name for column in found.columns]) == (0, ["a", "b"])


def test_same_names_and_no_names() -> None:
    """Columns may have one name, or none."""
    found = both(",a,a\n1,2,3\n")

    assert isinstance(found, Fingerprint)
    assert len(found.columns) == 3


def test_empty_lines_are_no_rows() -> None:
    """A line with nothing on it is no row."""
    assert both("\na,b\n\n1,2\n\r\n3,4\n\n") == both("a,b\n1,2\n3,4\n")


def test_very_long_fields() -> None:
    """A field may be longer than Arrow's blocks and the csv module's limit; its end counts."""
    long = "x" * (5 << 20)

    assert both(f"a,b\n{long}y,1\n") != both(f"a,b\n{long}z,1\n")
    assert csv.field_size_limit() == 131_072


def test_gz_and_tsv() -> None:
    """The same rows, compressed or with tabs, are the same content."""
    text = "a,b\n1,x\n2,y\n"
    Path("a.csv").write_text(text)
    Path("a.tsv").write_text(text.replace(",", "\t"))
    Path("a.CSV.GZ").write_bytes(gzip.compress(text[:6].encode()) + gzip.compress(text[6:].encode()))
    Path("a.tsv.gz").write_bytes(gzip.compress(text.replace(",", "\t").encode()))
    found = [fingerprint_path(name, cache=False) for name in ("a.csv", "a.tsv", "a.CSV.GZ", "a.tsv.gz")]

    assert len({one.id for one in found}) == 1
    assert len({one.bytes_id for one in found}) == 4


def test_damaged_gz() -> None:
    """A compressed file that is cut off is known by its bytes, and says why."""
    Path("a.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n" * 1000)[:-20])
    found = fingerprint_path("a.csv.gz", cache=False)

    assert found.id.startswith("mlfp1-bytes:")
    assert "cannot be decompressed" in found.notes[0]


# Both ways

cells = st.one_of(
    st.sampled_from('1|-1|0.5|true|2024-01-01|2024-01-01 10:00:00|nan|x|"|""|é|00|'.split("|")),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
    st.integers().map(str),
    st.floats().map(repr),
    st.datetimes().map(str),
)


@given(st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=8))
@example([["a", "b"], ["\ufeff", "\x1a"]])
def test_arrow_and_plain_agree(rows: list[list[str]]) -> None:
    """What any values become, written by the csv module, does not depend on the parser."""
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)

    assert both(file.getvalue()) is not None


@given(st.text(st.sampled_from('a1,"\n\r \t.-é'), max_size=30))
def test_arrow_and_plain_agree_on_anything(text: str) -> None:
    """Also on text that nobody would call CSV."""
    assert both(text) is not None


@given(st.data())
def test_frame_and_its_csv(data: st.DataObject) -> None:
    """Numbers, text and booleans of a pandas frame have the same content when they come back from CSV."""
    rows = data.draw(st.integers(1, 6))
    floats = st.floats(allow_nan=False).filter(lambda one: one == one)
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=5)
    column = {
        "whole": data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=rows, max_size=rows)),
        "number": data.draw(st.lists(st.one_of(floats, st.just(math.nan)), min_size=rows, max_size=rows)),
        "text": ["a b", *data.draw(st.lists(text, min_size=rows - 1, max_size=rows - 1))],
        "flag": data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)),
    }
    frame = pd.DataFrame(column)
    found = both(frame.to_csv(index=False, lineterminator="\n"))

    assert found == of_frame(frame)


def test_times_of_a_frame() -> None:
    """Dates and times of a pandas frame come back from CSV as they were, to the nanosecond, with a zone or without."""
    frame = pd.DataFrame(
        {
            "days": pd.to_datetime(["2024-01-01", None, "1999-12-31"]),
            "times": pd.to_datetime(["2024-01-01 10:11:12.000001", "2024-01-02", None], format="ISO8601"),
            "nanoseconds": np.array(["2024-01-01T00:00:00.123456789", "NaT", "2024-01-01"], "datetime64[ns]"),
            "zoned": pd.to_datetime(["2024-01-01", "2024-07-01", None]).tz_localize("Europe/Berlin"),
        }
    )

    assert both(frame.to_csv(index=False)) == of_frame(frame)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x\n0.1\n", "x\n0.10000000000000002\n"),
        ("x\ntrue\nfalse\n", "x\nfalse\ntrue\n"),
        ("x\n2024-01-01\n", "x\n2024-01-02\n"),
        ("x\na\n", "x\na \n"),
        ("x,y\n1,\n", "x,y\n,1\n"),
        ("x\n1\n", "y\n1\n"),
        ("x\n1\n", "x\n1\n1\n"),
        ("x\n007\n", "x\n7\n"),
    ],
)
def test_changes_are_seen(before: str, after: str) -> None:
    """Each change of a value, a name or a row changes the id."""
    assert both(before) != both(after)


def test_memory_is_flat() -> None:
    """A CSV file larger than the memory that is left is read row by row, without Arrow."""
    row = "a" * 10_000 + ",1\n"
    Path("big.csv").write_text("text,n\n" + row * 5_000)
    execute(
        """
        import importlib.util, resource, numpy
        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: None if name == "pyarrow" else find(name, *rest)
        from mlsdk.data import arrow, cells, digest, files, frames, stored
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20),) * 2)
        assert files.fingerprint_path("big.csv", cache=False).rows == 5_000
        """
    )
    size = Path("big.csv").stat().st_size

    assert size > 32 << 20
