"""What the rows of a table add up to, and which of their hashes are kept."""

from __future__ import annotations

from array import array
from typing import Any

from mlsdk.data import mixing
from mlsdk.data.record import CHUNK_ROWS, KEPT_CELLS, KEPT_ROWS

_MASK = mixing.MASK


def sums_of(np: Any | None, hashes: Any) -> tuple[int, int]:
    """The sum and the sum of squares: both the same in any order, and a value that comes twice counts twice."""
    if np is None:
        return sum(hashes) & _MASK, sum(one * one for one in hashes) & _MASK
    return int(hashes.sum(dtype=np.uint64)), int(np.dot(hashes, hashes))


class RowDigests:
    """The hashes of the rows: all of them, or from 5,000,000 on one sum for each 65,536."""

    def __init__(self, *, keyed: bool, columns: int) -> None:
        self.keyed = keyed
        self.count = self.sum = self.squares = 0
        # Arrays of the standard library, since they grow in place.
        self.hashes, self.key_hashes = array("Q"), array("Q")
        self.key_values: list[Any] = []
        self.cells = [array("H") for _ in range(columns)] if keyed else None
        self.chunks: array[int] | None = None

    def add_cells(self, np: Any | None, place: int, hashes: Any) -> None:
        """Take the hashes of a column's cells, before those of the rows to which they belong."""
        if self.cells is None:
            return
        if (self.count + len(hashes)) * len(self.cells) > KEPT_CELLS:
            self.cells = None
        elif np is None:
            self.cells[place].extend([one >> 48 for one in hashes])
        else:
            _extend(np, self.cells[place], (hashes >> np.uint64(48)).astype(np.uint16))

    def add(self, np: Any | None, hashes: Any, key_hashes: Any | None) -> None:
        """Take the hashes of some rows, and those of their keys."""
        total, squares = sums_of(np, hashes)
        self.sum = self.sum + total & _MASK
        self.squares = self.squares + squares & _MASK
        self.count += len(hashes)
        _extend(np, self.hashes, hashes)
        if self.count > KEPT_ROWS:
            if self.chunks is None:
                self.chunks, self.key_hashes, self.key_values, self.cells = array("Q"), array("Q"), [], None
            self._close_chunks(np, len(self.hashes) // CHUNK_ROWS * CHUNK_ROWS)
        elif key_hashes is not None:
            _extend(np, self.key_hashes, key_hashes)

    def _close_chunks(self, np: Any | None, end: int) -> None:
        """Let the first hashes go, and keep a sum for each chunk of them."""
        for start in range(0, end, CHUNK_ROWS):
            part = self.hashes[start : min(start + CHUNK_ROWS, end)]
            total, _ = sums_of(np, part if np is None else np.frombuffer(part, np.uint64))
            if self.chunks is not None:
                self.chunks.append(total)
        del self.hashes[:end]

    def kept(self) -> dict[str, Any]:
        """What of the rows the fingerprint keeps."""
        np = mixing.numpy_for(self.count)
        if self.chunks is not None:
            self._close_chunks(np, len(self.hashes))
            return {"chunk_digests": self.chunks}
        if np is None:
            return self._kept_without_numpy()
        hashes = np.frombuffer(self.hashes, np.uint64) if self.count else np.empty(0, np.uint64)
        if not self.keyed:
            return {"row_hashes": hashes}
        keys = np.frombuffer(self.key_hashes, np.uint64) if self.count else hashes
        order = np.argsort(keys)
        if (keys[order][1:] == keys[order][:-1]).any():
            order = np.lexsort((hashes, keys))  # ten times as slow, and the same where no key comes twice
        values = np.fromiter(self.key_values, object, len(keys))  # `array` would make tuples a second dimension
        cells = None
        if self.cells and self.count:
            cells = np.concatenate([np.frombuffer(one, np.uint16)[order] for one in self.cells])
        return {
            "row_hashes": hashes[order],
            "key_hashes": keys[order],
            "key_values": values[order].tolist(),
            "cell_hashes": cells,
        }

    def _kept_without_numpy(self) -> dict[str, Any]:
        hashes, keys = self.hashes, self.key_hashes
        if not self.keyed:
            return {"row_hashes": hashes}
        places = sorted(range(len(hashes)), key=lambda place: (keys[place], hashes[place]))
        return {
            "row_hashes": array("Q", [hashes[place] for place in places]),
            "key_hashes": array("Q", [keys[place] for place in places]),
            "key_values": [self.key_values[place] for place in places],
            "cell_hashes": array("H", [one[place] for one in self.cells or () for place in places]) or None,
        }


def _extend(np: Any | None, held: array[int], more: Any) -> None:
    if np is None:
        held.extend(more)
    else:
        held.frombytes(np.ascontiguousarray(more).view(np.uint8))
