"""From a table to its fingerprint: one pass, batch by batch, in memory that does not grow with the rows but for 8 bytes each."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from mlsdk.data import mixing
from mlsdk.data import values as v
from mlsdk.data.cells import Cells, canonical, plain
from mlsdk.data.record import CHUNK_ROWS, KEPT_ROWS, ColumnFingerprint, Fingerprint, prefix
from mlsdk.data.table import Column, Table
from mlsdk.errors import UsageError

STEP = 16_384
"""Rows worked on at once: few enough that all their words stay in the processor's cache."""

_MASK = mixing.MASK


def digest_table(
    table: Table,
    *,
    key: str | Sequence[str] | None = None,
    decimals: int | None = None,
    sample: int | None = None,
) -> Fingerprint:
    """The fingerprint of a table, whose batches are read once, to the end or to the sample's.

    Args:
        table: what to read.
        key: the column or columns that name a row.
        decimals: floats are rounded to so many decimals, 0 to 15; the id says so.
        sample: only so many rows are read, the first ones; the id says so.

    Raises:
        UsageError: an argument or the data cannot be used; the message says which and why.
    """
    if decimals is not None and not 0 <= decimals <= 15:
        raise UsageError(f"decimals={decimals}: give a number from 0 to 15")
    if sample is not None and sample < 1:
        raise UsageError(f"sample={sample}: give a number of rows, 1 or more")
    declared = [column._replace(name=name) for column, name in zip(table.columns, _unique(table.columns), strict=True)]
    keys = _key_places(declared, key)
    columns = [_ColumnDigest(column) for column in declared]
    rows = _RowDigests(keyed=bool(keys))
    for batch in table.batches:
        if len(batch) != len(columns):
            raise UsageError(f"a batch has {len(batch)} columns, the table {len(columns)}")
        _add(batch, columns, rows, keys, decimals, sample)
        if sample is not None and rows.count >= sample:
            break
    return _fingerprint(columns, rows, keys, decimals, sample)


def _unique(columns: Iterable[Column]) -> list[str]:
    """Names as they are, but the second `a` becomes `a#2`."""
    names: list[str] = []
    taken = {column.name for column in columns}
    for column in columns:
        name, count = column.name, 1
        while name in names or (count > 1 and name in taken):
            count += 1
            name = f"{column.name}#{count}"
        names.append(name)
    return names


def _key_places(columns: Sequence[Column], key: str | Sequence[str] | None) -> list[int]:
    wanted = [] if key is None else [key] if isinstance(key, str) else list(key)
    names = [column.name for column in columns]
    for name in wanted:
        if name not in names:
            raise UsageError(f"key={name!r}: there is no such column; the columns are {', '.join(names) or 'none'}")
    return [names.index(name) for name in wanted]


class _ColumnDigest:
    """What one column adds up to so far."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self.seeds = [mixing.seed(column.name, tag) for tag in range(v.TAGS)]
        self.tags, self.words, self.payload = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        self.sum = self.squares = 0
        self.counts = [0] * v.TAGS

    def add(self, np: Any | None, cells: Cells) -> Any:
        """Take some cells; returns their hashes."""
        count = len(cells.words)
        tags = cells.tags
        if np is None:
            self.words.update(b"".join(word.to_bytes(8, "little") for word in cells.words))
            for tag in tags:
                self.counts[tag] += 1
        else:
            self.words.update(np.ascontiguousarray(cells.words))
            if isinstance(tags, int):
                self.counts[tags] += count
            else:
                for tag, found in enumerate(np.bincount(tags, minlength=v.TAGS).tolist()):
                    self.counts[tag] += found
        self.tags.update(bytes([tags]) * count if isinstance(tags, int) else tags)
        if len(cells.payload):
            self.payload.update(cells.payload)
        hashes = _hashes(cells, self.seeds) if np is None else _hashes_of_arrays(np, cells, self.seeds)
        total, squares = _sums(np, hashes)
        self.sum = self.sum + total & _MASK
        self.squares = self.squares + squares & _MASK
        return hashes

    def result(self) -> ColumnFingerprint:
        parts = self.tags.digest() + self.words.digest() + self.payload.digest()
        kinds = dict.fromkeys(v.KINDS[tag] for tag in range(1, v.TAGS) if self.counts[tag])
        kind = "|".join(kinds) or "null"
        return ColumnFingerprint(
            name=self.column.name,
            type=self.column.type or kind,
            nullable=self.column.nullable,
            kind=kind,
            missing=self.counts[v.MISSING],
            ordered=hashlib.sha256(b"mlfp1 column" + parts).hexdigest()[:32],
            unordered=f"{self.sum:016x}{self.squares:016x}",
        )


def _hashes(cells: Cells, seeds: Sequence[int]) -> list[int]:
    """The hash of each cell, without numpy."""
    hashes, place = [], 0
    for tag, word in zip(cells.tags, cells.words, strict=True):
        if tag in v.LONG:
            data = cells.payload[place : place + word]
            place += word
            word = mixing.hash_bytes(data)
        hashes.append(mixing.mix(word ^ seeds[tag]))
    return hashes


def _hashes_of_arrays(np: Any, cells: Cells, seeds: Sequence[int]) -> Any:
    """The same with numpy."""
    tags, words = cells.tags, cells.words
    if isinstance(tags, int):
        if tags in v.LONG:
            words = mixing.hash_spans(np, cells.payload, words)
        hashes = np.bitwise_xor(words, np.uint64(seeds[tags]), dtype=np.uint64)
    else:
        if len(cells.payload) or (np.array(sorted(v.LONG))[:, None] == np.unique(tags)).any():
            long = np.isin(tags, np.array(sorted(v.LONG), np.uint8))
            words = words.copy()
            words[long] = mixing.hash_spans(np, cells.payload, words[long])
        hashes = words ^ np.array(seeds, np.uint64)[tags]
    mixing.mix_in_place(np, hashes, np.empty_like(hashes))
    return hashes


def _sums(np: Any | None, hashes: Any) -> tuple[int, int]:
    """The sum and the sum of squares: both the same in any order, and a value that comes twice counts twice."""
    if np is None:
        return sum(hashes) & _MASK, sum(one * one for one in hashes) & _MASK
    return int(hashes.sum(dtype=np.uint64)), int(np.dot(hashes, hashes))


class _RowDigests:
    """The hashes of the rows: all of them, or from 5,000,000 on one sum for each 65,536."""

    def __init__(self, *, keyed: bool) -> None:
        self.count = self.sum = self.squares = 0
        self.pieces: list[Any] = []
        self.key_pieces: list[Any] = []
        self.key_values: list[Any] = []
        self.keyed = keyed
        self.chunks: array[int] | None = None
        self.open_rows = self.open_sum = 0

    def add(self, np: Any | None, hashes: Any, key_hashes: Any | None) -> None:
        total, squares = _sums(np, hashes)
        self.sum = self.sum + total & _MASK
        self.squares = self.squares + squares & _MASK
        self.count += len(hashes)
        piece = array("Q", hashes) if np is None else hashes
        if self.chunks is not None:
            self._chunk(piece)
            return
        self.pieces.append(piece)
        if key_hashes is not None:
            self.key_pieces.append(array("Q", key_hashes) if np is None else key_hashes)
        if self.count > KEPT_ROWS:
            self.chunks = array("Q")
            for kept in self.pieces:
                self._chunk(kept)
            self.pieces, self.key_pieces, self.key_values = [], [], []

    def _chunk(self, piece: Any) -> None:
        place = 0
        while place < len(piece):
            part = piece[place : place + CHUNK_ROWS - self.open_rows]
            self.open_sum = (
                self.open_sum + sum(map(int, part) if isinstance(part, array) else [int(part.sum())]) & _MASK
            )
            self.open_rows += len(part)
            place += len(part)
            if self.open_rows == CHUNK_ROWS:
                self._close_chunk()

    def _close_chunk(self) -> None:
        if self.open_rows and self.chunks is not None:
            self.chunks.append(self.open_sum)
        self.open_rows = self.open_sum = 0

    def kept(self) -> dict[str, Any]:
        """What of the rows the fingerprint keeps."""
        if self.chunks is not None:
            self._close_chunk()
            return {"chunk_digests": self.chunks}
        np = mixing.numpy_for(self.count)
        if np is not None:
            hashes = np.concatenate([np.asarray(piece, np.uint64) for piece in self.pieces] or [np.empty(0, np.uint64)])
            if not self.keyed:
                hashes.sort()
                return {"row_hashes": hashes}
            keys = np.concatenate([np.asarray(piece, np.uint64) for piece in self.key_pieces] or [hashes])
            order = np.lexsort((hashes, keys))
            values = [self.key_values[place] for place in order.tolist()]
            return {"row_hashes": hashes[order], "key_hashes": keys[order], "key_values": values}
        listed = [one for piece in self.pieces for one in piece]
        if not self.keyed:
            return {"row_hashes": array("Q", sorted(listed))}
        names = [one for piece in self.key_pieces for one in piece]
        places = sorted(range(len(listed)), key=lambda place: (names[place], listed[place]))
        return {
            "row_hashes": array("Q", [listed[place] for place in places]),
            "key_hashes": array("Q", [names[place] for place in places]),
            "key_values": [self.key_values[place] for place in places],
        }


def _add(
    batch: Sequence[Any],
    columns: Sequence[_ColumnDigest],
    rows: _RowDigests,
    keys: Sequence[int],
    decimals: int | None,
    sample: int | None,
) -> None:
    """Take one batch."""
    count = len(batch[0]) if batch else 0
    np = mixing.numpy_for(count * len(batch))
    arrays = [plain(np, one) for one in batch]
    for one, digest in zip(arrays, columns, strict=True):
        if len(one) != count:
            raise UsageError(f"column {digest.column.name!r} has {len(one)} values in a batch of {count} rows")
    if sample is not None:
        count = min(count, sample - rows.count)
    for start in range(0, count, STEP):
        stop = min(start + STEP, count)
        hashes, names = None, None
        for place, (one, digest) in enumerate(zip(arrays, columns, strict=True)):
            piece = one[start:stop]
            try:
                cells = digest.add(np, canonical(np, piece, decimals))
            except UsageError as error:
                raise UsageError(f"column {digest.column.name!r}: {error}") from None
            hashes = _plus(np, hashes, cells)
            if place in keys:
                names = _plus(np, names, cells)
        if keys and rows.chunks is None:
            parts = [_python_values(arrays[place][start:stop]) for place in keys]
            rows.key_values += parts[0] if len(parts) == 1 else zip(*parts, strict=True)
        rows.add(np, _mixed(np, hashes), None if names is None else _mixed(np, names))


def _plus(np: Any | None, sums: Any | None, hashes: Any) -> Any:
    if sums is None:
        return hashes
    if np is None:
        return [one + other & _MASK for one, other in zip(sums, hashes, strict=True)]
    return np.add(sums, hashes, out=sums)


def _mixed(np: Any | None, sums: Any) -> Any:
    if np is None:
        return list(map(mixing.mix, sums))
    mixing.mix_in_place(np, sums, np.empty_like(sums))
    return sums


def _python_values(piece: Any) -> list[Any]:
    if isinstance(piece, list):
        return piece
    if hasattr(piece, "to_pylist"):
        return piece.to_pylist()  # type: ignore[no-any-return]
    if hasattr(piece, "missing"):
        found = piece.values.tolist()
        return (
            found
            if piece.missing is None
            else [None if no else one for one, no in zip(found, piece.missing, strict=True)]
        )
    return piece.tolist()  # type: ignore[no-any-return]


def _fingerprint(
    columns: Sequence[_ColumnDigest],
    rows: _RowDigests,
    keys: Sequence[int],
    decimals: int | None,
    sample: int | None,
) -> Fingerprint:
    results = tuple(column.result() for column in columns)
    content = hashlib.sha256(b"mlfp1 content" + rows.count.to_bytes(8, "little"))
    schema = hashlib.sha256(b"mlfp1 schema")
    names = 0
    for one in results:
        content.update(_prefixed(one.name) + bytes.fromhex(one.ordered))
        schema.update(_prefixed(one.name) + _prefixed(one.type) + bytes([one.nullable]))
        names = names + mixing.seed(one.name, 255) & _MASK
    sums = b"".join(number.to_bytes(8, "little") for number in (rows.count, rows.sum, rows.squares, names))
    content_id = content.hexdigest()[:32]
    return Fingerprint(
        id=f"{prefix(decimals=decimals, sample=sample)}:{content_id}",
        rows=rows.count,
        columns=results,
        content_id=content_id,
        rows_id=hashlib.sha256(b"mlfp1 rows" + sums).hexdigest()[:32],
        schema_id=schema.hexdigest()[:32],
        key=tuple(results[place].name for place in keys),
        decimals=decimals,
        sample=sample,
        **rows.kept(),
    )


def _prefixed(name: str) -> bytes:
    data = name.encode("utf-8", "surrogatepass")
    return len(data).to_bytes(8, "little") + data
