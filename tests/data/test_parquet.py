"""Parquet, Arrow and Feather files, and JSON lines."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather
from pyarrow import parquet as arrow_parquet

from mlsdk.data import parquet
from mlsdk.data.digest import digest_table
from mlsdk.data.files import fingerprint_path
from mlsdk.data.frames import pandas_table
from mlsdk.data.record import Fingerprint
from mlsdk.errors import UsageError
from tests.programs import execute


def of(path: str, **options: Any) -> Fingerprint:
    return fingerprint_path(path, cache=False, **options)


def without(patch: pytest.MonkeyPatch, *libraries: str) -> None:
    """As if some libraries were not installed."""
    find = importlib.util.find_spec
    patch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in libraries else find(name, *rest))


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "whole": [1, -2, 2**53 + 1],
            "number": [0.1, None, 1e300],
            "text": ["a", 'b,"c\n', "é"],
            "flag": [True, False, True],
            "day": pd.to_datetime(["2024-01-01", "2024-02-29", None]),
            "zoned": pd.to_datetime(["2024-01-01", "2024-07-01", "1999-12-31"]).tz_localize("Asia/Tokyo"),
        }
    )


def test_one_content_in_every_format(frame: pd.DataFrame) -> None:
    """Equal values in CSV, Parquet, Feather, an Arrow stream and a frame have one content, and as many ids of bytes."""
    table = pa.Table.from_pandas(frame)
    frame.to_csv("a.csv", index=False)
    frame.to_parquet("a.parquet", row_group_size=2)
    feather.write_feather(table, "a.feather", compression="zstd")
    with pa.OSFile("a.arrow", "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    found = [of(f"a.{end}") for end in ("csv", "parquet", "feather", "arrow")]

    assert {one.id for one in found} == {digest_table(pandas_table(frame)).id}
    assert len({one.bytes_id for one in found}) == 4
    assert all(one.size_bytes == Path(str(one.name)).stat().st_size for one in found)


def test_types_are_kept_apart_from_values() -> None:
    """int32 and int64 of equal values are the same content with another schema."""
    for kind in ("int32", "int64"):
        pd.DataFrame({"x": np.array([1, 2], kind)}).to_parquet(f"{kind}.parquet")
    diff = of("int32.parquet").compare(of("int64.parquet"))

    assert diff.same_content
    assert not diff.same_schema
    assert diff.retyped_columns == ("x",)


def test_how_it_is_written_does_not_count() -> None:
    """Compression, row groups and dictionaries of a Parquet file change its bytes, not its content."""
    frame = pd.DataFrame({"x": range(1000), "y": ["a", "b"] * 500})
    frame.to_parquet("a.parquet", compression="snappy")
    frame.to_parquet("b.parquet", compression="zstd", row_group_size=10, use_dictionary=False)
    diff = of("a.parquet").compare(of("b.parquet"))

    assert str(diff) == "same ordered content"


def test_polars_reads_what_arrow_reads(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """With polars and without pyarrow the content is the same."""
    frame.to_parquet("a.parquet", row_group_size=2)
    feather.write_feather(pa.Table.from_pandas(frame), "a.feather", compression="uncompressed")
    by_arrow = [of("a.parquet"), of("a.feather")]
    monkeypatch.setattr(parquet, "_ROWS", 2)
    without(monkeypatch, "pyarrow")
    by_polars = [of("a.parquet"), of("a.feather")]

    assert [one.id for one in by_polars] == [one.id for one in by_arrow]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_without_a_reader(name: str, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a library that reads it the file is known by its bytes, says why, and has no rows to ask for."""
    frame.to_parquet(name)
    with_reader = of("a.parquet") if name == "a.parquet" else None
    without(monkeypatch, "pyarrow", "polars")
    found = of(name)

    assert found.id == f"mlfp1-bytes:{str(found.bytes_id)[:32]}"
    assert "pyarrow or polars" in found.notes[0]
    assert with_reader is None or with_reader.bytes_id == found.bytes_id
    with pytest.raises(UsageError, match="key='whole' asks for rows"):
        of(name, key="whole")


@pytest.mark.parametrize("name", ["a.parquet", "a.feather"])
@pytest.mark.parametrize("reader", ["pyarrow", "polars"])
def test_damaged(name: str, reader: str, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged file is known by its bytes and says that it cannot be read."""
    frame.to_parquet("good")
    data = Path("good").read_bytes()
    found = []
    if reader == "polars":
        without(monkeypatch, "pyarrow")
    for bad in (b"", b"nothing of the kind", data[:-10], data[:4] + bytes(len(data) - 8) + data[-4:]):
        Path(name).write_bytes(bad)
        found.append(of(name))

    assert all(one.id.startswith("mlfp1-bytes:") for one in found)
    assert all("cannot be read" in one.notes[0] for one in found)


def test_large_cells_come_in_small_batches() -> None:
    """Rows are read by fewer at a time where they are large."""
    table = pa.table({"image": [bytes([number]) * 500_000 for number in range(40)]})
    arrow_parquet.write_table(table, "a.parquet", compression="none", use_dictionary=False)
    lengths = [len(batch[0]) for batch in parquet.read_parquet("a.parquet").batches]

    assert sum(lengths) == 40
    assert max(lengths) <= 8


def test_memory_is_flat() -> None:
    """Arrow never holds more than a tenth of the values of a Parquet file."""
    schema = pa.schema({"text": pa.string(), "n": pa.int64()})
    with arrow_parquet.ParquetWriter("big.parquet", schema, compression="zstd", use_dictionary=False) as writer:
        for start in range(0, 20_000, 250):
            text = [f"{number:010}" * 1_000 for number in range(start, start + 250)]
            writer.write_table(pa.table({"text": text, "n": range(start, start + 250)}, schema))
    done = execute(
        """
        import pyarrow
        from mlsdk.data.files import fingerprint_path
        found = fingerprint_path("big.parquet", cache=False)
        print(found.rows, pyarrow.default_memory_pool().max_memory())
        """
    )
    rows, most = map(int, done.stdout.split())

    assert rows == 20_000
    assert most < rows * 10_000 // 10


def test_json_lines() -> None:
    """JSON lines have the content of the rows that they are; what is not there is missing."""
    rows = [{"a": 1, "b": "x"}, {"b": "é", "a": 2.5}, {"a": None, "c": [1, 2]}]
    text = "\n".join(json.dumps(row) for row in rows)
    Path("a.jsonl").write_text(text + "\n")
    Path("a.ndjson.gz").write_bytes(gzip.compress(text.replace("\n", "\n\n").encode()))
    found = of("a.jsonl")

    assert found.id == of("a.ndjson.gz").id
    assert [(column.name, column.missing) for column in found.columns] == [("a", 1), ("b", 1), ("c", 2)]
    assert found.compare(of("a.ndjson.gz")).same_schema


@pytest.mark.parametrize(
    ("text", "why"), [("{}\n[1]\n", "line 2 is no JSON object but list"), ("{\n", "line 1 is no JSON")]
)
def test_json_lines_that_are_none(text: str, why: str) -> None:
    """A line that is no object makes the file its bytes, and says which line."""
    Path("a.jsonl").write_text(text)

    assert why in of("a.jsonl").notes[0]
