"""What the rows of a table add up to, and which of their hashes are kept."""

from __future__ import annotations

from array import array
from typing import Any

from mlsdk.data import mixing
from mlsdk.data.record import CHUNK_ROWS, KEPT_ROWS

_MASK = mixing.MASK


def sums_of(np: Any | None, hashes: Any) -> tuple[int, int]:
    """The sum and the sum of squares: both the same in any order, and a value that comes twice counts twice."""
    if np is None:
        return sum(hashes) & _MASK, sum(one * one for one in hashes) & _MASK
    return int(hashes.sum(dtype=np.uint64)), int(np.dot(hashes, hashes))


class RowDigests:
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
        """Take the hashes of some rows, and those of their keys."""
        total, squares = sums_of(np, hashes)
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
                return {"row_hashes": hashes}
            keys = np.concatenate([np.asarray(piece, np.uint64) for piece in self.key_pieces] or [hashes])
            order = np.argsort(keys)
            if (keys[order][1:] == keys[order][:-1]).any():
                order = np.lexsort((hashes, keys))  # ten times as slow, and the same where no key comes twice
            values = np.fromiter(self.key_values, object, len(keys))  # `array` would make tuples a second dimension
            return {"row_hashes": hashes[order], "key_hashes": keys[order], "key_values": values[order].tolist()}
        listed = [one for piece in self.pieces for one in piece]
        if not self.keyed:
            return {"row_hashes": array("Q", listed)}
        names = [one for piece in self.key_pieces for one in piece]
        places = sorted(range(len(listed)), key=lambda place: (names[place], listed[place]))
        return {
            "row_hashes": array("Q", [listed[place] for place in places]),
            "key_hashes": array("Q", [names[place] for place in places]),
            "key_values": [self.key_values[place] for place in places],
        }
