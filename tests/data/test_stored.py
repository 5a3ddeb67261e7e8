"""Fingerprints as bytes."""

from __future__ import annotations

import json
import struct
import zlib
from array import array
from datetime import date
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.data.digest import digest_table
from mlsdk.data.files import fingerprint_path
from mlsdk.data.record import Fingerprint
from mlsdk.data.stored import Stored, dump, load, load_from
from mlsdk.data.table import Column, Table
from mlsdk.errors import DigestError, FormatError, NewerFormatError
from tests.programs import execute


def of(values: list[Any], **options: Any) -> Fingerprint:
    return digest_table(Table([Column("x", ""), Column("y", "text")], [[values, ["a"] * len(values)]]), **options)


def flat(fingerprint: Fingerprint) -> dict[str, Any]:
    """All that a fingerprint holds, as plain values."""
    held = {field.name: getattr(fingerprint, field.name) for field in attrs.fields(Fingerprint)}
    for name in ("row_hashes", "key_hashes", "cell_hashes", "chunk_digests"):
        held[name] = None if held[name] is None else [int(one) for one in held[name]]
    held["key_values"] = None if held["key_values"] is None else list(held["key_values"])
    return held


@given(st.lists(st.one_of(st.integers(), st.floats(allow_nan=False), st.text(), st.none(), st.dates()), max_size=20))
def test_what_is_loaded_is_what_was_dumped(values: list[Any]) -> None:
    """Everything of a fingerprint comes back, keys with their types too."""
    for options in ({}, {"key": "x"}, {"key": ("x", "y")}, {"sample": 3}):
        made = of(values, **options)

        assert flat(load(dump(made))) == flat(made)
        assert dump(load(dump(made))) == dump(made)


def test_notes_and_bytes_come_back() -> None:
    """A fingerprint of bytes alone comes back with its notes."""
    Path("a.csv").write_text("x\n1,2\n")
    made = fingerprint_path("a.csv", cache=False)

    assert made.notes
    assert flat(load(dump(made))) == flat(made)


def test_digests_of_chunks_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many rows the digests of the chunks come back."""
    monkeypatch.setattr("mlsdk.data.rowdigests.KEPT_ROWS", 10)
    made = of(list(range(50)))

    assert made.chunk_digests is not None
    assert flat(load(dump(made))) == flat(made)


def test_rows_are_read_when_they_are_needed() -> None:
    """Ids are there at once; the hashes of the rows are read when something is compared, and once."""
    data = dump(of([1, 2, 3]))
    reads: list[tuple[int, int]] = []

    def read(offset: int, length: int) -> bytes:
        reads.append((offset, length))
        return data[offset : offset + length]

    found = load_from(read)
    head = len(reads)
    same = found.compare(load(data))
    after_same = len(reads)
    changed = found.compare(of([1, 2, 4]))
    found.compare(of([1, 2, 5]))

    assert (head, after_same) == (2, 2)
    assert same.same_content
    assert changed.changed_columns == ("x",)
    assert len(reads) == 3


def test_the_form_is_as_published() -> None:
    """The bytes are what docs/data.md says, read here without our reader."""
    made = of([1, date(2024, 1, 1)], key="x")
    data = dump(made)
    magic, version, zero, length, check = struct.unpack_from("<8sHHII", data)
    head = data[20 : 20 + length]
    told = json.loads(head)
    place = told["arrays"]["row_hashes"]
    words = array("Q", data[20 + length + place["offset"] :][: place["stored"]])
    keys = told["arrays"]["key_values"]

    assert (magic, version, zero, zlib.crc32(head)) == (b"\x89mlfp\r\n\x1a", 1, 0, check)
    assert told["fingerprint"]["id"] == made.id
    assert place["coding"] == "raw"
    assert list(words) == flat(made)["row_hashes"]
    assert sorted(map(str, json.loads(data[20 + length + keys["offset"] :][: keys["stored"]]))) == [
        "1",
        "{'$': 'date', 'v': '2024-01-01'}",
    ]


def test_repetitions_are_packed() -> None:
    """Hashes of equal rows take little room."""
    assert len(dump(of([1] * 10_000))) < 5_000


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda data: b"", FormatError),
        (lambda data: b"PK" + data, FormatError),
        (lambda data: data[:30], DigestError),
        (lambda data: data[:8] + b"\x02" + data[9:], NewerFormatError),
        (lambda data: data[:40] + b"~" + data[41:], DigestError),
        (lambda data: data[:-1], DigestError),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), DigestError),
    ],
)
def test_damage_is_noticed(change: Any, error: type[FormatError]) -> None:
    """Bytes that are not what they were are an error, at the latest when the rows are compared."""
    data = change(dump(of([1, 2, 3])))

    with pytest.raises(error):
        flat(load(data))


def test_no_byte_may_change() -> None:
    """Each changed byte, and each missing end, is noticed."""
    made = of([1, 2], key="x")
    data = dump(made)
    wrong = []
    for place in range(len(data)):
        for bad in (data[:place], data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]):
            try:
                same = flat(load(bad)) == flat(made)
            except FormatError:
                continue
            # Two bytes of the start are not used.
            if not same or place not in {10, 11}:
                wrong.append(place)

    assert wrong == []


def test_fields_of_later_versions_are_passed_over() -> None:
    """A head with fields that this version does not know is read all the same."""
    data = dump(of([1, 2]))
    _, _, _, length, _ = struct.unpack_from("<8sHHII", data)
    told = json.loads(data[20 : 20 + length])
    told["fingerprint"]["later"] = 1
    told["arrays"]["later"] = {"offset": 0, "stored": 0, "count": 0, "coding": "raw", "crc32": 0}
    head = json.dumps(told).encode()
    start = struct.pack("<8sHHII", b"\x89mlfp\r\n\x1a", 1, 0, len(head), zlib.crc32(head))

    assert load(start + head + data[20 + length :]).id == of([1, 2]).id


def test_stored_values_are_a_sequence() -> None:
    """Values that lie in their stored form are a sequence like any other, and their number is known before."""
    asked: list[int] = []
    held = Stored(3, lambda: asked.append(1) or [7, 8, 9])

    assert len(held) == 3
    assert asked == []
    assert (held[0], held[-1], list(held[1:]), list(held), 8 in held) == (7, 9, [8, 9], [7, 8, 9], True)
    assert asked == [1]
    with pytest.raises(FormatError, match="2 values where 3"):
        Stored(3, lambda: [1, 2]).values()


def test_without_numpy() -> None:
    """What numpy dumped is read without it, and the other way round."""
    made = of(list(range(100)), key="x")
    Path("made").write_bytes(dump(made))
    done = execute(
        """
        import sys
        from mlsdk.data.stored import dump, load
        data = open("made", "rb").read()
        found = load(data)
        assert dump(found) == data
        print(sum(found.row_hashes) == sum(map(int, found.row_hashes)), type(found.row_hashes.values()).__name__)
        print("numpy" in sys.modules)
        """
    )

    assert done.stdout == "True array\nFalse\n"
