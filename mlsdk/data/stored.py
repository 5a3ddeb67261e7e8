r"""Fingerprints as bytes: a head that is read at once, and the hashes of the rows, read only where they are needed.

The form (all numbers little endian)::

    0   8 bytes   89 6d 6c 66 70 0d 0a 1a   ("\x89mlfp\r\n\x1a", so that a transfer as text is noticed)
    8   uint16    version of this form: 1
    10  uint16    0
    12  uint32    length of the head
    16  uint32    CRC-32 of the head
    20  head      JSON: {"fingerprint": {...}, "arrays": {name: {"offset", "stored", "count", "coding", "crc32"}, ...}}
    ..  arrays    each at its offset, counted from the end of the head

`row_hashes`, `key_hashes` and `chunk_digests` are 64-bit words, `cell_hashes` 16-bit words; `key_values` is a JSON
list in the tagging of `docs/format.md`. The coding is `raw`, or `zlib` (RFC 1950) where that saves a tenth; the
CRC-32 is that of the bytes as stored. The fields in the head are those of `Fingerprint`, columns as lists in the
order of `ColumnFingerprint`. A reader passes over fields that it does not know.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs

from mlsdk.data.record import ColumnFingerprint, Fingerprint
from mlsdk.errors import DigestError, FormatError, NewerFormatError
from mlsdk.log import values

MAGIC = b"\x89mlfp\r\n\x1a"
VERSION = 1
_START = struct.Struct("<8sHHII")
_WORDS = {"row_hashes": "Q", "key_hashes": "Q", "chunk_digests": "Q", "cell_hashes": "H"}
"""Each with its letter in `array`."""
_LISTS = ("key_values",)
_PLAIN = tuple(field.name for field in attrs.fields(Fingerprint) if field.name not in {*_WORDS, *_LISTS, "columns"})
_COLUMN = tuple(field.name for field in attrs.fields(ColumnFingerprint))
_TRIED = 1 << 16


class Stored(Sequence[Any]):
    """Values that are fetched when they are first asked for; `len` is known before.

    Args:
        count: how many there are.
        fetch: gives them.
    """

    def __init__(self, count: int, fetch: Callable[[], Sequence[Any]]) -> None:
        self._count = count
        self._fetch = fetch
        self._values: Sequence[Any] | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self.values()[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())

    def values(self) -> Sequence[Any]:
        """All of them, as they were fetched.

        Raises:
            FormatError: the stored bytes are not what they were.
        """
        if self._values is None:
            fetched = self._fetch()
            if len(fetched) != self._count:
                raise FormatError(
                    f"{len(fetched)} values where {self._count} were promised; make the fingerprint again"
                )
            self._values = fetched
        return self._values


def dump(fingerprint: Fingerprint) -> bytes:
    """A fingerprint as bytes, with all that comparing needs.

    >>> from mlsdk.data.record import Fingerprint
    >>> load(dump(Fingerprint(id="mlfp1-bytes:00", size_bytes=3))).size_bytes
    3
    """
    arrays: dict[str, Any] = {}
    pieces: list[bytes] = []
    offset = 0
    for name in (*_WORDS, *_LISTS):
        held = getattr(fingerprint, name)
        if held is None:
            continue
        data = _words(held, _WORDS[name]) if name in _WORDS else _json([values.encode(value) for value in _plain(held)])
        coding = "raw"
        # Hashes look like noise: a piece tells whether the whole is worth the time.
        if len(zlib.compress(data[:_TRIED], 1)) < len(data[:_TRIED]) * 9 // 10:
            data, coding = zlib.compress(data, 1), "zlib"
        arrays[name] = {
            "offset": offset,
            "stored": len(data),
            "count": len(held),
            "coding": coding,
            "crc32": zlib.crc32(data),
        }
        pieces.append(data)
        offset += len(data)
    fields = {name: getattr(fingerprint, name) for name in _PLAIN}
    fields["columns"] = [[getattr(column, name) for name in _COLUMN] for column in fingerprint.columns]
    head = _json({"fingerprint": fields, "arrays": arrays})
    return b"".join([_START.pack(MAGIC, VERSION, 0, len(head), zlib.crc32(head)), head, *pieces])


def load(data: bytes) -> Fingerprint:
    """The fingerprint that was dumped; the hashes of its rows stay as they are until something is compared.

    Raises:
        FormatError: these bytes are no fingerprint; `NewerFormatError`: a newer mlsdk wrote them; `DigestError`: they
            are damaged (for the hashes of the rows this is seen when they are first used).
    """
    return load_from(lambda offset, length: data[offset : offset + length])


def load_from(read: Callable[[int, int], bytes], again: Callable[[], Fingerprint] | None = None) -> Fingerprint:
    """As `load`, of bytes that are read when they are needed.

    Args:
        read: gives the bytes at an offset, so many.
        again: makes the fingerprint anew; asked where the hashes of the rows are wanted and can no longer be read.
    """
    start = read(0, _START.size)
    if len(start) < _START.size or not start.startswith(MAGIC):
        raise FormatError(f"no fingerprint: it begins with {bytes(start[:8])!r}, not with {MAGIC!r}")
    _, version, _, length, check = _START.unpack(start)
    if version != VERSION:
        raise NewerFormatError(f"a fingerprint of format {version}; this mlsdk reads {VERSION}: upgrade it")
    head = read(_START.size, length)
    if zlib.crc32(head) != check:
        raise DigestError("the head of a stored fingerprint is damaged; make the fingerprint again")
    try:
        told = json.loads(bytes(head))
        fields, arrays = told["fingerprint"], told["arrays"]
        known = {name: fields[name] for name in _PLAIN if name in fields}
        known |= {name: tuple(held) for name, held in known.items() if isinstance(held, list)}
        columns = tuple(ColumnFingerprint(*column) for column in fields["columns"])
        base = _START.size + length
        held: dict[str, Any] = {
            name: _stored(read, again, name, base, **arrays[name]) for name in (*_WORDS, *_LISTS) if name in arrays
        }
        return Fingerprint(**known, columns=columns, **held)
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"the head of a stored fingerprint cannot be understood: {error!r}") from error


def _stored(
    read: Callable[[int, int], bytes],
    again: Callable[[], Fingerprint] | None,
    name: str,
    base: int,
    *,
    offset: int,
    stored: int,
    count: int,
    coding: str,
    crc32: int,
) -> Stored:
    """One array of the stored form."""

    def fetch() -> Sequence[Any]:
        try:
            data = read(base + offset, stored)
            if len(data) != stored or zlib.crc32(data) != crc32:
                raise DigestError(f"{name} of a stored fingerprint are damaged; make the fingerprint again")
        except (OSError, DigestError):
            if again is None:
                raise
            return whole(getattr(again(), name))
        data = zlib.decompress(data) if coding == "zlib" else data
        return _unwords(data, _WORDS[name]) if name in _WORDS else [values.decode(value) for value in json.loads(data)]

    return Stored(count, fetch)


def whole(held: Sequence[Any]) -> Sequence[Any]:
    """Values that may still lie in their stored form, fetched."""
    return held.values() if isinstance(held, Stored) else held


def _plain(held: Sequence[Any]) -> list[Any]:
    """Python's own values, of whatever holds them."""
    held = whole(held)
    return held.tolist() if hasattr(held, "tolist") else list(held)


def _words(held: Sequence[int], letter: str) -> bytes:
    held = whole(held)
    if hasattr(held, "astype"):
        return bytes(held.astype(f"<{letter}").tobytes())
    words = array(letter, held)
    if sys.byteorder == "big":
        words.byteswap()
    return words.tobytes()


def _unwords(data: bytes, letter: str) -> Sequence[int]:
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        return numpy.frombuffer(data, f"<{letter}")  # type: ignore[no-any-return]
    words = array(letter)
    words.frombytes(data)
    if sys.byteorder == "big":
        words.byteswap()
    return words


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
