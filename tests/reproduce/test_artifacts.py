"""What two files say, compared: each format by its content, and none that is not known."""

from __future__ import annotations

import gzip
import io
import json
import math
import struct
import zipfile
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from mlsdk.reproduce.outcome import artifacts
from mlsdk.reproduce.outcome.artifacts import NotLookedIntoError, file_gap


def saved(save: Callable[..., Any], *arguments: Any, **named: Any) -> bytes:
    file = io.BytesIO()
    save(file, *arguments, **named)
    return file.getvalue()


def tensors(values: np.ndarray[Any, Any], kind: str, **metadata: str) -> bytes:
    data = values.tobytes()
    about = {
        "w": {"dtype": kind, "shape": list(values.shape), "data_offsets": [0, len(data)]},
        "__metadata__": metadata,
    }
    head = json.dumps(about).encode()
    return struct.pack("<Q", len(head)) + head + data


def table(values: list[float], **named: Any) -> bytes:
    return saved(lambda file: parquet.write_table(pa.table({"x": values, "name": ["a", None, "c"]}), file, **named))


def packed(values: list[float], year: int) -> bytes:
    def write(file: io.BytesIO) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(
                zipfile.ZipInfo(f"model{year}/data/0", (year, 1, 1, 0, 0, 0)), array("d", values).tobytes()
            )

    return saved(write)


NEAR, FAR = [1.0, 2.0, 3.0], [1.0, 2.0, 3.0000000003]

FORMATS: dict[str, Callable[[list[float], int], bytes]] = {
    "a.npy": lambda x, _: saved(np.save, np.array(x)),
    "a.npz": lambda x, way: saved(np.savez if way else np.savez_compressed, w=np.array(x)),
    "a.safetensors": lambda x, way: tensors(np.array(x), "F64", made=str(way)),
    "a.csv": lambda x, way: ("\r\n" if way else "\n").join(["x,name", *(f'{v!r},"é"' for v in x)]).encode("utf-8-sig"),
    "a.tsv": lambda x, way: "\n".join(f"{v!r}\t{'0.50' if way else '0.5'}" for v in x).encode(),
    "a.json": lambda x, way: json.dumps({"w": x, "n": 1}, indent=way or None).encode(),
    "a.jsonl": lambda x, way: b"\n".join(json.dumps({"v": v}).encode() for v in x) + b"\n" * way,
    "a.parquet": lambda x, way: table(x, compression="gzip" if way else "snappy"),
    "a.feather": lambda x, way: saved(
        lambda file: feather.write_feather(pa.table({"x": x}), file, compression="zstd" if way else "uncompressed")
    ),
    "a.yaml": lambda x, way: "".join(f"- {v!r}{'0' * way}\n" for v in x).encode(),
    "notes": lambda x, way: "".join(f"loss {v!r}{'0' * way}\n" for v in x).encode(),
    "a.csv.gz": lambda x, way: gzip.compress("\n".join(map(repr, x)).encode(), mtime=way),
}


@pytest.mark.parametrize("name", FORMATS)
def test_files_are_compared_by_what_they_say(name: str) -> None:
    """Bytes that say the same in another way are the same; a number that moved is told by how much."""
    write = FORMATS[name]
    one, same, other = write(NEAR, 0), write(NEAR, 1), write(FAR, 0)
    found = file_gap(name, one, other)

    assert name == "a.npy" or one != same  # it is a test only then
    assert file_gap(name, one, same) is None
    assert found is not None
    assert found.relative == pytest.approx(1e-10, rel=1e-3)


def test_half_precision_tensors() -> None:
    """bfloat16 is compared by its numbers; a type that nobody has here, byte by byte."""
    one, other = np.array([0x3F80, 0x4000], "<u2"), np.array([0x3F80, 0x4001], "<u2")

    assert file_gap("w.safetensors", tensors(one, "BF16"), tensors(one, "BF16", a="b")) is None
    assert file_gap("w.safetensors", tensors(one, "BF16"), tensors(other, "BF16")).relative == pytest.approx(2**-7, 0.1)  # type: ignore[union-attr]
    assert file_gap("w.safetensors", tensors(one, "F8_E4M3"), tensors(other, "F8_E4M3")).relative == math.inf  # type: ignore[union-attr]


def test_an_archive_is_what_lies_in_it() -> None:
    """When a file was packed, and under which folder, says nothing; other members are not looked into."""
    assert file_gap("model.pt", packed(NEAR, 2020), packed(NEAR, 2021)) is None
    with pytest.raises(NotLookedIntoError, match="not looked into"):
        file_gap("model.pt", packed(NEAR, 2020), packed(FAR, 2020))


def test_all_of_a_file_is_compared() -> None:
    """Arrays saved one after the other, columns of one name, and a column called `columns` are all looked at."""
    ones = np.array([1.0])

    def several(*arrays: Any) -> bytes:
        return b"".join(saved(np.save, one) for one in arrays)

    def twice(name: str, *values: float) -> bytes:
        columns = pa.table([pa.array([value]) for value in values], names=[name] * len(values))
        return saved(lambda file: parquet.write_table(columns, file))

    assert file_gap("a.npy", several(ones, ones), several(ones, ones * 2)).where == "[1][0]"  # type: ignore[union-attr]
    assert file_gap("a.npy", several(ones), several(ones, ones)) is not None
    assert file_gap("a.parquet", twice("x", 1.0, 3.0), twice("x", 2.0, 3.0)).relative == 0.5  # type: ignore[union-attr]
    assert file_gap("a.parquet", twice("columns", 1.0), twice("columns", 2.0)) is not None


@pytest.mark.parametrize(
    ("name", "a", "b"),
    [("a.json", b'{"x": 1, "x": 2}', b'{"x": 2}'), ("a.json", b"[1e999]", b"[2e999]"), ("a.jsonl", b"1e999", b"2e999")],
)
def test_what_no_reader_holds_is_not_taken_for_the_same(name: str, a: bytes, b: bytes) -> None:
    """A name that stands twice, and a number beyond every float, are not read as something else."""
    with pytest.raises(NotLookedIntoError, match="not to be read") as caught:
        file_gap(name, a, b)

    assert caught.value.unknown


def test_what_is_too_large_is_not_taken_for_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only the beginning of a file is read, equal beginnings are no match."""
    monkeypatch.setattr(artifacts, "LARGEST_BYTES", 100)
    one, other = (gzip.compress(b"0" * 200 + end) for end in (b"1", b"2"))

    for name, a, b in (("a.txt", b"0" * 101, b"0" * 101), ("a.txt.gz", one, other)):
        with pytest.raises(NotLookedIntoError, match="larger than"):
            file_gap(name, a, b)


class Exploding:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was read",))


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.pt", "model.pkl.gz", "model.npy", "model.npz"])
def test_a_pickle_is_never_read(name: str) -> None:
    """Whatever a file is called, what a pickle in it would run is not run."""
    import pickle

    one, other = pickle.dumps(Exploding()), pickle.dumps([Exploding()])
    if name.endswith(".gz"):
        one, other = gzip.compress(one), gzip.compress(other)
    if name.endswith(".npy"):
        one, other = (saved(np.save, np.array([Exploding()] * n, object), allow_pickle=True) for n in (1, 2))

    with pytest.raises(NotLookedIntoError, match="other bytes"):
        file_gap(name, one, other)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.safetensors", "a.parquet", "a.json", "a.csv.gz", "a.feather"])
def test_a_damaged_file_is_not_known(name: str) -> None:
    """Bytes that are not what the name says are of a format that is not known, and no error."""
    with pytest.raises(NotLookedIntoError) as caught:
        file_gap(name, b"\xff\x00broken", b"\xff\x00other")

    assert caught.value.unknown
