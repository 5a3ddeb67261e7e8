"""Packs of contents: read by a reader written from docs/format.md alone, and refused when damaged."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from mlsdk.capture.code import packs
from mlsdk.capture.code.packs import Known, Packer, contents_of
from mlsdk.errors import DigestError, FormatError
from mlsdk.store.blobs import FileBlobs
from mlsdk.store.layout import Layout
from tests.trees import take


def read_pack(data: bytes) -> dict[str, bytes]:
    """All contents of a pack, by the page."""
    assert data[:8] == data[-8:] == b"MLSDKPK\x01"
    compressed, length, checksum = struct.unpack("<III", data[-20:-8])
    index = data[-20 - compressed : -20]
    assert zlib.crc32(index + data[-20:-12]) == checksum
    plain = zlib.decompress(index)
    assert len(plain) == length
    at, found = 8, {}
    for size, contents in json.loads(plain):
        stream = zlib.decompress(data[at : at + size])
        at += size
        for digest, length in zip(contents[::2], contents[1::2], strict=True):
            found[digest], stream = stream[:length], stream[length:]
            assert hashlib.sha256(found[digest]).hexdigest() == digest
        assert stream == b""
    assert at == len(data) - 20 - compressed
    return found


def reader(root: Path) -> Callable[[str], bytes]:
    def read(digest: str) -> bytes:
        with FileBlobs(str(root / "blobs")).open(digest) as file:
            return file.read()

    return read


def test_a_reader_from_the_page(tmp_path: Path) -> None:
    """Who knows the page and nothing else can read a code tree."""
    folder, root = tmp_path / "code", tmp_path / "store"
    folder.mkdir()
    odd = os.fsdecode(b"caf\xe9.py")
    (folder / odd).write_bytes(b"a = 1\r\n")
    (folder / "run.sh").write_bytes(b"#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("nowhere")
    read = reader(root)
    manifest = json.loads(read(take(folder, root)["tree"]["digest"]))  # type: ignore[index]
    contents = {name: data for pack in manifest["packs"] for name, data in read_pack(read(pack)).items()}
    entries = {entry["path"]: entry for page in manifest["pages"] for entry in json.loads(contents[page])}

    assert (manifest["format"], manifest["files"], manifest["size_bytes"]) == ("mlsdk tree 1", 3, 17)
    assert list(entries) == sorted(entries)
    assert entries["link"] == {"path": "link", "kind": "link", "target": "nowhere"}
    assert (entries["run.sh"]["mode"], entries["run.sh"]["size"], entries["run.sh"]["kind"]) == ("755", 10, "file")
    assert contents[entries["caf\udce9.py"]["sha256"]] == b"a = 1\r\n"


def packed(tmp_path: Path, contents: list[bytes]) -> tuple[list[str], Callable[[str], bytes]]:
    """Packs of these contents in a store."""
    Layout(str(tmp_path)).make()
    blobs = FileBlobs(str(tmp_path / "blobs"))
    packer = Packer(blobs.put, known := Known(str(tmp_path)))
    digests = [packer.add(data) for data in contents]
    packer.close()
    return known.packs_of(digests) or [], reader(tmp_path)


def test_each_content_once(tmp_path: Path) -> None:
    """The same bytes are packed once, in whatever run; what is asked for comes back once."""
    first, read = packed(tmp_path, [b"a", b"b", b"a", b""])
    second, _ = packed(tmp_path, [b"b", b"c"])
    wanted = [hashlib.sha256(data).hexdigest() for data in (b"a", b"c", b"")]

    assert len(first) == 1
    assert len(second) == 2
    assert sorted(data for _, data in contents_of(read, second, wanted)) == [b"", b"a", b"c"]
    assert dict(contents_of(read, second, ["0" * 64])) == {}


def test_many_streams_and_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contents of all sizes come back, however they were cut into streams and packs."""
    monkeypatch.setattr(packs, "STREAM_BYTES", 1000)
    monkeypatch.setattr(packs, "PACK_BYTES", 3000)
    contents = [os.urandom(number * 37 % 2500) for number in range(60)]
    names, read = packed(tmp_path, contents)
    wanted = [hashlib.sha256(data).hexdigest() for data in contents]

    assert len(names) > 5
    assert set(dict(contents_of(read, names, wanted)).values()) == set(contents)
    assert all(read_pack(read(name)) for name in names)


def test_equal_contents_make_equal_packs(tmp_path: Path) -> None:
    """Packs of the same contents are the same bytes, in any store."""
    contents = [os.urandom(100) for _ in range(20)]

    assert packed(tmp_path / "a", contents)[0] == packed(tmp_path / "b", contents)[0]


def test_without_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started any more, packing goes on without."""
    from concurrent.futures import ThreadPoolExecutor

    def refuse(*_: object) -> None:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", refuse)
    names, read = packed(tmp_path, [b"a" * 1000])

    assert list(read_pack(read(names[0])).values()) == [b"a" * 1000]


def test_damage_is_noticed(tmp_path: Path) -> None:
    """Whatever byte of a pack is changed or cut, no wrong content comes out."""
    contents = [os.urandom(50), b"x" * 500]
    names, read = packed(tmp_path, contents)
    whole = read(names[0])
    wanted = [hashlib.sha256(data).hexdigest() for data in contents]
    damaged = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    for data in [*damaged, *(whole[:at] for at in range(len(whole))), whole + b"\0"]:
        try:
            found = dict(contents_of(lambda _, data=data: data, names, wanted))  # type: ignore[misc]
        except (FormatError, DigestError):
            continue
        assert sorted(found.values()) == sorted(contents)


def test_a_pack_that_lies_about_its_size(tmp_path: Path) -> None:
    """Nothing is decompressed beyond the size that the index says."""
    bomb = zlib.compress(bytes(50_000_000))
    index = zlib.compress(json.dumps([[len(bomb), ["0" * 64, 10]]]).encode())
    tail = struct.pack("<II", len(index), len(zlib.decompress(index)))
    data = packs.MAGIC + bomb + index + tail + struct.pack("<I", zlib.crc32(index + tail)) + packs.MAGIC

    with pytest.raises(FormatError, match="11 bytes are where 10 should be"):
        list(contents_of(lambda _: data, ["1" * 64], ["0" * 64]))


def test_a_pack_that_was_erased_is_not_known(tmp_path: Path) -> None:
    """What was in a pack that is gone, or cut short, is packed again."""
    for spoil in (lambda path: path.unlink(), lambda path: path.write_bytes(b"x")):
        names, _ = packed(tmp_path, [b"a", b"b"])
        spoil(tmp_path / "blobs" / names[0][:2] / names[0])

        assert hashlib.sha256(b"a").hexdigest() not in Known(str(tmp_path))
    assert packed(tmp_path, [b"a", b"b"])[0] == names
