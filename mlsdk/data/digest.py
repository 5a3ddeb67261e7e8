"""From a table to its fingerprint: one pass, batch by batch; of each row 8 bytes stay in memory."""

from __future__ import annotations

import hashlib
import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from mlsdk.data import mixing
from mlsdk.data import values as v
from mlsdk.data.cells import Cells, canonical, plain, python_values
from mlsdk.data.record import ColumnFingerprint, Fingerprint, prefix
from mlsdk.data.rowdigests import RowDigests
from mlsdk.data.table import Column, Table
from mlsdk.errors import UsageError

STEP = 16_384
"""Rows worked on at once: few enough that all their words stay in the processor's cache."""

_MASK = mixing.MASK

_NAME = 255
_SHOWN = 20
_SEEDS = [mixing.seed("", tag) for tag in range(v.TAGS)]
_LONG = sorted(v.LONG)


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
    if decimals is not None and not (_is_integer(decimals) and 0 <= decimals <= 15):
        raise UsageError(f"decimals={decimals!r}: give a whole number from 0 to 15")
    if sample is not None and not (_is_integer(sample) and sample >= 1):
        raise UsageError(f"sample={sample!r}: give a number of rows, 1 or more")
    declared = [column._replace(name=name) for column, name in zip(table.columns, _unique(table.columns), strict=True)]
    keys = _key_places(declared, key)
    columns = [_ColumnDigest(column) for column in declared]
    rows = RowDigests(keyed=bool(keys), columns=len(columns))
    for batch in table.batches:
        if len(batch) != len(columns):
            raise UsageError(f"a batch has {len(batch)} columns, the table {len(columns)}")
        _add(batch, columns, rows, keys, decimals, sample)
        if sample is not None and rows.count >= sample:
            break
    return _fingerprint(columns, rows, keys, decimals, sample)


def _is_integer(number: object) -> bool:
    return hasattr(number, "__index__") and not isinstance(number, bool)


def _unique(columns: Iterable[Column]) -> list[str]:
    """Names as they are, but the second `a` becomes `a#2`."""
    names: dict[str, None] = {}
    taken = {column.name for column in columns}
    for column in columns:
        name, count = column.name, 1
        while name in names or (count > 1 and name in taken):
            count += 1
            name = f"{column.name}#{count}"
        names[name] = None
    return list(names)


def _key_places(columns: Sequence[Column], key: str | Sequence[str] | None) -> list[int]:
    # Columns of pandas may be called by numbers; here every name is text.
    wanted = [] if key is None else [str(one) for one in ([key] if isinstance(key, str | int) else key)]
    names = [column.name for column in columns]
    for name in wanted:
        if name not in names:
            shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
            raise UsageError(f"key={name!r}: there is no such column; the columns are {shown or 'none'}")
    return [names.index(name) for name in wanted]


class _ColumnDigest:
    """What one column adds up to so far."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self.weight = mixing.seed(column.name, _NAME) | 1
        self.sum = self.first = self.second = 0
        self.counts = [0] * v.TAGS

    def add(self, np: Any | None, cells: Cells, weights: tuple[Any, Any]) -> Any:
        """Take some cells; returns their hashes, each times the weight of the column's name."""
        if isinstance(cells.tags, int):
            self.counts[cells.tags] += len(cells.words)
        else:
            for tag, found in Counter(cells.tags if np is None else cells.tags.tolist()).items():
                self.counts[tag] += found
        if np is None:
            plain_hashes = _hashes(cells)
            self.sum += sum(plain_hashes)
            self.first += sum(map(operator.mul, plain_hashes, weights[0]))
            self.second += sum(map(operator.mul, plain_hashes, weights[1]))
            return [one * self.weight & _MASK for one in plain_hashes]
        hashes = _hashes_of_arrays(np, cells)
        self.sum += int(hashes.sum(dtype=np.uint64))
        self.first += int(np.dot(hashes, weights[0]))
        self.second += int(np.dot(hashes, weights[1]))
        return np.multiply(hashes, np.uint64(self.weight), out=hashes)

    def result(self) -> ColumnFingerprint:
        kinds = dict.fromkeys(v.KINDS[tag] for tag in range(1, v.TAGS) if self.counts[tag])
        kind = "|".join(kinds) or "null"
        return ColumnFingerprint(
            name=self.column.name,
            type=self.column.type or kind,
            nullable=self.column.nullable,
            kind=kind,
            missing=self.counts[v.MISSING],
            ordered=f"{self.first & _MASK:016x}{self.second & _MASK:016x}",
            unordered=f"{self.sum & _MASK:016x}",
        )


def _hashes(cells: Cells) -> list[int]:
    """The hash of each cell, without numpy."""
    hashes, place = [], 0
    for tag, word in zip(cells.tags, cells.words, strict=True):
        if tag in v.LONG:
            data = cells.payload[place : place + word]
            place += word
            word = mixing.hash_bytes(data)
        hashes.append(mixing.mix(word ^ _SEEDS[tag]))
    return hashes


def _hashes_of_arrays(np: Any, cells: Cells) -> Any:
    """The same with numpy; the words are used up."""
    tags, words = cells.tags, cells.words
    if isinstance(tags, int):
        if tags in v.LONG:
            words = mixing.hash_spans(np, cells.payload, words)
        np.bitwise_xor(words, np.uint64(_SEEDS[tags]), out=words)
    else:
        long = np.isin(tags, _LONG) if tags.max(initial=0) > v.NEGATIVE else None
        if long is not None and long.any():
            words[long] = mixing.hash_spans(np, cells.payload, words[long])
        words ^= np.array(_SEEDS, np.uint64)[tags]
    mixing.mix_in_place(np, words, np.empty_like(words))
    return words


def _add(
    batch: Sequence[Any],
    columns: Sequence[_ColumnDigest],
    rows: RowDigests,
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
        weights = mixing.weights(np, rows.count, stop - start)
        for place, (one, digest) in enumerate(zip(arrays, columns, strict=True)):
            piece = one[start:stop]
            try:
                cells = digest.add(np, canonical(np, piece, decimals), weights)
            except UsageError as error:
                raise UsageError(f"column {digest.column.name!r}: {error}") from None
            rows.add_cells(np, place, cells)
            if place in keys:
                names = cells.copy() if names is None else _plus(np, names, cells)
            hashes = _plus(np, hashes, cells)
        if keys and rows.chunks is None:
            parts = [python_values(arrays[place][start:stop]) for place in keys]
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


def _fingerprint(
    columns: Sequence[_ColumnDigest],
    rows: RowDigests,
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
        names = names + mixing.seed(one.name, _NAME) & _MASK
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
