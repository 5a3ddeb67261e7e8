"""Fingerprints of what a path names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mlsdk.data import files
from mlsdk.data.files import fingerprint_path
from mlsdk.data.listing import hash_file
from mlsdk.data.record import Fingerprint
from mlsdk.errors import UsageError


def of(path: Any, **options: Any) -> Fingerprint:
    return fingerprint_path(path, cache=False, **options)


def test_any_file_is_its_bytes() -> None:
    """A file that is no table is known by its bytes alone, and its id says so."""
    Path("a.bin").write_bytes(b"abc")
    found = of("a.bin")

    assert found.bytes_id == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert found.id == "mlfp1-bytes:ba7816bf8f01cfea414140de5dae2223"
    assert (found.size_bytes, found.name, found.rows, found.notes) == (3, "a.bin", None, ())


def test_a_table_has_bytes_and_rows() -> None:
    """A file that is a table has both ids, and arguments for its rows count."""
    Path("a.csv").write_text("x,y\n1,2.26\n3,4\n")
    found = of("a.csv")

    assert found.bytes_id == hash_file("a.csv").sha256
    assert (found.rows, found.size_bytes) == (2, 15)
    assert of("a.csv", decimals=1).id.startswith("mlfp1-d1:")
    assert of("a.csv", sample=1).id.startswith("mlfp1-head1:")
    assert of("a.csv", key="x").key == ("x",)


def test_levels_of_files() -> None:
    """Bytes, order and rows of two files give the level that is meant."""
    Path("a.csv").write_text("x,y\n1,2\n3,4\n")
    Path("copy.csv").write_text("x,y\n1,2\n3,4\n")
    Path("quoted.csv").write_text('"x","y"\n"1","2"\n"3","4"\n')
    Path("moved.csv").write_text("x,y\n3,4\n1,2\n")
    Path("turned.csv").write_text("y,x\n2,1\n4,3\n")
    Path("other.csv").write_text("x,y\n1,2\n3,5\n")
    Path("text.csv").write_text("x,z\n1,2\n3,a\n")
    first = of("a.csv")
    names = ("copy", "quoted", "moved", "turned", "other", "text")
    levels = [str(first.compare(of(f"{name}.csv")).level) for name in names]

    assert levels == [
        "same bytes",
        "same ordered content",
        "same rows in another order",
        "same rows in another order",
        "same schema",
        "different",
    ]


def test_folder_is_a_table_of_its_files() -> None:
    """Two folders are compared by file: what was added, removed and changed."""
    for name, text in {"a": "1", "b": "2", "sub/c": "3"}.items():
        Path("d", name).parent.mkdir(parents=True, exist_ok=True)
        Path("d", name).write_text(text)
    before = of("d")
    Path("d/b").write_text("other")
    Path("d/new").write_text("")
    os.remove("d/sub/c")
    diff = before.compare(of(Path("d")))

    assert (diff.changed_keys, diff.added_keys, diff.removed_keys) == (("b",), ("new",), ("sub/c",))
    assert (before.rows, before.size_bytes, before.key) == (3, 3, ("path",))
    assert [column.name for column in before.columns] == ["path", "size_bytes", "sha256"]


def test_empty_folder() -> None:
    """A folder without files is a table without rows, and another content than a folder with one."""
    Path("d").mkdir()
    empty = of("d")
    Path("d/a").write_text("")

    assert (empty.rows, empty.size_bytes) == (0, 0)
    assert empty != of("d")


def test_links_are_noted() -> None:
    """That links were not followed stands on the fingerprint."""
    Path("d").mkdir()
    os.symlink("/etc/hostname", "d/link")

    assert of("d").notes == ("1 links in 'd' count as what they point to; what is there was not read",)


def test_pattern() -> None:
    """A pattern is a table of the files that fit; bytes are the same as those of the folder that holds just these."""
    Path("d").mkdir()
    for name in ("a.txt", "b.txt"):
        Path("d", name).write_text(name)
    same = of("d") == of("d/*.txt")
    Path("d/c.bin").write_text("")

    assert same
    assert of("d/*.txt").rows == 2


def test_a_name_with_magic_is_a_name_first() -> None:
    """A file whose name could be a pattern is that file."""
    Path("a[1].bin").write_text("x")
    Path("a1.bin").write_text("y")

    assert of("a[1].bin").bytes_id == hash_file("a[1].bin").sha256


@pytest.mark.parametrize(
    ("path", "options", "why"),
    [
        ("none.csv", {}, r"there is no file, folder or pattern 'none\.csv'"),
        ("none/*.csv", {}, r"no file fits the pattern 'none/\*\.csv'"),
        ("a.bin", {"key": "x"}, r"key='x' asks for rows; 'a\.bin' is no table by its name"),
        ("a.bin", {"sample": 3, "decimals": 1}, r"decimals=1, sample=3 asks for rows"),
        ("a.csv", {"key": "z"}, "key='z'"),
        ("bad.csv", {"key": "x"}, "key='x' asks for rows; .* line 2 has 2 fields"),
        (".", {"sample": 3}, "leave out key, decimals and sample"),
    ],
)
def test_mistakes(path: str, options: dict[str, Any], why: str) -> None:
    """A mistake in the call is an error that says what to do."""
    Path("a.bin").write_text("x")
    Path("a.csv").write_text("x\n1\n")
    Path("bad.csv").write_text("x\n1,2\n")

    with pytest.raises(UsageError, match=why):
        of(path, **options)


def test_changed_between_bytes_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is written between the two looks at it gets no fingerprint."""
    Path("a.csv").write_text("x\n1\n")
    real = files.READERS[".csv"]

    def late(path: str) -> Any:
        with open(path, "a", encoding="utf-8") as file:
            file.write("2\n")
        return real(path)

    monkeypatch.setitem(files.READERS, ".csv", late)
    with pytest.raises(UsageError, match="changed while it was read"):
        of("a.csv")
