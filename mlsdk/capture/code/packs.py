"""Packs: blobs that hold the contents of many files, each content once. The bytes are described in docs/format.md."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from mlsdk.capture import PutBlob, cache
from mlsdk.errors import DigestError, FormatError
from mlsdk.store.blobs import blob_path
from mlsdk.store.layout import Layout

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

MAGIC = b"MLSDKPK\x01"

STREAM_BYTES = 1 << 18
"""Contents are compressed together up to this many bytes: small files gain, and one is found without much ado."""

PACK_BYTES = 1 << 26
"""A pack is closed above this size: it is put together in memory."""

_LEVEL = 1
"""Of zlib: level 6 takes twice the time to save a fifth (measured on 5,000 Python files)."""

_NAME = "trees/packs"
_TAIL = struct.Struct("<III")
_RECORD = struct.Struct("<32sQI")
"""Of the cache: a pack, its size, number of contents; their digests and a crc32 follow."""


class Packer:
    """Packs contents that no pack of the store holds yet.

    Args:
        put_blob: puts a pack away.
        known: what is packed already.
    """

    def __init__(self, put_blob: PutBlob, known: Known) -> None:
        self._put_blob = put_blob
        self._known = known
        self._new: set[str] = set()
        self._parts: list[bytes] = []
        self._size = 0
        self._streams: list[tuple[int, list[str | int]]] = []
        self._contents: list[str | int] = []
        self._pack: list[bytes] = [MAGIC]
        self._packed = 0
        self._pool: ThreadPoolExecutor | None = None
        self._compressing: tuple[Callable[[], bytes], list[str | int]] | None = None

    def add(self, data: bytes, digest: str | None = None) -> str:
        """See that a content is in a pack; its SHA-256, which may be handed in where it is known."""
        digest = digest or hashlib.sha256(data).hexdigest()
        if self.has(digest):
            return digest
        if self._parts and self._size + len(data) > STREAM_BYTES:
            self._end_stream()
        self._new.add(digest)
        self._contents += [digest, len(data)]
        self._parts.append(data)
        self._size += len(data)
        return digest

    def has(self, digest: str) -> bool:
        """Whether a content is in a pack, or will be."""
        return digest in self._new or digest in self._known

    def close(self) -> None:
        """Put away what is left."""
        self._end_stream()
        self._take_stream()
        self._end_pack()
        if self._pool is not None:
            self._pool.shutdown()

    def _end_stream(self) -> None:
        """Compress what has come together, while the next files are read."""
        if not self._contents:
            return
        self._take_stream()
        if self._packed > PACK_BYTES:
            self._end_pack()
        self._compressing = (self._compressed(b"".join(self._parts)), self._contents)
        self._parts, self._contents, self._size = [], [], 0

    def _compressed(self, raw: bytes) -> Callable[[], bytes]:
        """Begin to compress; what gives the result."""
        try:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(1, "mlsdk-compress")
            return self._pool.submit(zlib.compress, raw, _LEVEL).result
        except RuntimeError:  # a process that ends, and does a companion's work, starts no thread any more
            return partial(zlib.compress, raw, _LEVEL)

    def _take_stream(self) -> None:
        """Take what has been compressed into the pack."""
        if self._compressing is None:
            return
        result, contents = self._compressing
        compressed = result()
        self._compressing = None
        self._streams.append((len(compressed), contents))
        self._pack.append(compressed)
        self._packed += len(compressed)

    def _end_pack(self) -> None:
        if not self._streams:
            return
        index = json.dumps(self._streams, separators=(",", ":")).encode("ascii")
        compressed = zlib.compress(index, _LEVEL)
        tail = struct.pack("<II", len(compressed), len(index))
        self._pack += [compressed, tail, struct.pack("<I", zlib.crc32(tail, zlib.crc32(compressed))), MAGIC]
        digest, size = self._put_blob(b"".join(self._pack))
        packed = [str(name) for _, contents in self._streams for name in contents[::2]]
        self._known.add(digest, size, packed)
        self._new.difference_update(packed)
        self._streams, self._pack, self._packed = [], [MAGIC], 0


class Known:
    """Which contents are in which packs of a store: a cache in one file, read when it is first asked.

    A pack that is not there any more, or not whole, is not known.

    Args:
        root: folder of the store.
    """

    def __init__(self, root: str) -> None:
        self._blobs = Layout(root).blobs
        self._root = root
        self._pack_of: dict[str, str] | None = None
        self._kept = False
        """Whether the file of the cache is there."""

    def __contains__(self, digest: str) -> bool:
        return digest in self._all()

    def add(self, pack: str, size: int, contents: list[str]) -> None:
        """Remember what a new pack holds."""
        self._all().update(dict.fromkeys(contents, pack))
        record = _RECORD.pack(bytes.fromhex(pack), size, len(contents)) + bytes.fromhex("".join(contents))
        record += struct.pack("<I", zlib.crc32(record))
        if self._kept:
            with contextlib.suppress(OSError), open(cache.path_of(self._root, _NAME), "ab", buffering=0) as file:
                file.write(record)
        else:
            cache.write(self._root, _NAME, record)
        self._kept = True

    def packs_of(self, contents: Collection[str]) -> list[str] | None:
        """The packs that hold these contents; None if one is in no pack."""
        known = self._all()
        found = {known.get(digest) for digest in contents}
        return None if None in found else sorted(pack for pack in found if pack is not None)

    def renew(self, blobs: Iterable[str]) -> bool:
        """See that blobs are there, and keep a collection of garbage from taking them; False if one is missing."""
        for digest in blobs:
            path = blob_path(self._blobs, digest)
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
            except OSError:  # somebody else's file, in a store that is shared: it is there
                continue
        return True

    def _all(self) -> dict[str, str]:
        if self._pack_of is None:
            self._pack_of = {}
            for pack, contents in self._read():
                self._pack_of.update(dict.fromkeys(contents, pack))
        return self._pack_of

    def _read(self) -> Iterator[tuple[str, list[str]]]:
        """The records of packs that are there; what is no record, or of a pack that is gone, is dropped."""
        data = cache.read(self._root, _NAME)
        self._kept = data is not None
        if data is None:
            return
        at, kept = 0, []
        while at < len(data):
            try:
                name, size, count = _RECORD.unpack_from(data, at)
                end = at + _RECORD.size + 32 * count
                (checksum,) = struct.unpack_from("<I", data, end)
            except struct.error:
                break
            record = data[at:end]
            if checksum != zlib.crc32(record):
                break
            pack = name.hex()
            path = blob_path(self._blobs, pack)
            if os.path.exists(path) and os.path.getsize(path) == size:
                kept.append(data[at : end + 4])
                digests = record[_RECORD.size :].hex()
                yield pack, [digests[start : start + 64] for start in range(0, len(digests), 64)]
            at = end + 4
        if sum(map(len, kept)) != len(data):
            cache.write(self._root, _NAME, b"".join(kept))


def contents_of(
    read_blob: Callable[[str], bytes], packs: Iterable[str], wanted: Collection[str]
) -> Iterator[tuple[str, bytes]]:
    """The wanted contents by digest, each once and checked, in the order in which they lie in the packs.

    Raises:
        FormatError: a pack is not one.
        DigestError: a content is not what it was.
        NotFoundError: a pack is not in the store.
    """
    left = set(wanted)
    for pack in packs:
        if not left:
            return
        data = read_blob(pack)
        at = len(MAGIC)
        for length, contents in _index(pack, data):
            names, sizes = contents[::2], contents[1::2]
            if not left.isdisjoint(names):
                stream = _inflated(pack, data[at : at + length], sum(sizes))
                start = 0
                for name, size in zip(names, sizes, strict=True):
                    if name in left:
                        left.discard(name)
                        yield name, _checked(pack, name, stream[start : start + size])
                    start += size
            at += length


def _index(pack: str, data: bytes) -> list[tuple[int, list[Any]]]:
    tail = len(data) - len(MAGIC) - _TAIL.size
    if tail < len(MAGIC) or data[: len(MAGIC)] != MAGIC or data[-len(MAGIC) :] != MAGIC:
        raise FormatError(f"blob {pack} is no pack of files, or one of a newer mlsdk")
    length, size, checksum = _TAIL.unpack_from(data, tail)
    start = tail - length
    if start < len(MAGIC) or zlib.crc32(data[start : tail + 8]) != checksum:
        raise FormatError(f"pack {pack} is damaged: its index does not have the checksum that it claims")
    index: list[tuple[int, list[Any]]] = []
    try:
        index = json.loads(_inflated(pack, data[start:tail], size))
        whole = sum(length for length, _ in index) == start - len(MAGIC)
    except (ValueError, TypeError):
        whole = False
    if not whole:
        raise FormatError(f"pack {pack} is damaged: its index speaks of other streams than it has")
    return index


def _inflated(pack: str, data: bytes, size: int) -> bytes:
    """What was compressed, which must be of this size: nothing is decompressed without a limit."""
    try:
        found = zlib.decompressobj().decompress(data, size + 1)
    except zlib.error as error:
        raise FormatError(f"pack {pack} is damaged: {error}") from None
    if len(found) != size:
        raise FormatError(f"pack {pack} is damaged: {len(found)} bytes are where {size} should be")
    return found


def _checked(pack: str, digest: str, data: bytes) -> bytes:
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise DigestError(f"a content of pack {pack} is not what was put: {digest} now hashes to {found}")
    return data
