"""Mixing of 64-bit words, the same with numpy and without: each bit that goes in changes half of those that come out.

The function is MurmurHash3's finaliser (Austin Appleby, public domain), a permutation of the 64-bit words. Bytes
are hashed as the sum of their mixed 8-byte words, each moved by its position: `docs/data.md` has it byte by byte.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from typing import Any

MASK = (1 << 64) - 1
FIRST = 0xFF51AFD7ED558CCD
SECOND = 0xC4CEB9FE1A85EC53
GOLDEN = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio, as in splitmix64: tells the positions of words apart."""

FEW = 20_000
"""So few cells that importing numpy (some 100 ms) would cost more than doing without."""

_ALONE = 32
"""With fewer long values left than this, each is hashed on its own: all its words at once."""


def numpy_for(cells: int) -> Any | None:
    """Numpy if it is loaded, or installed and worth its import for so many cells; None otherwise."""
    found = sys.modules.get("numpy")
    if found is None and cells >= FEW and importlib.util.find_spec("numpy") is not None:
        import numpy as found  # noqa: ICN001
    return found


def mix(word: int) -> int:
    """The mixed word.

    >>> hex(mix(1))
    '0xb456bcfc34c2cb2c'
    """
    word ^= word >> 33
    word = word * FIRST & MASK
    word ^= word >> 33
    word = word * SECOND & MASK
    return word ^ word >> 33


def mix_in_place(np: Any, words: Any, scratch: Any) -> None:
    """Mix each word of an array; `scratch` is another array of its size."""
    shift = np.uint64(33)
    np.right_shift(words, shift, out=scratch)
    np.bitwise_xor(words, scratch, out=words)
    np.multiply(words, np.uint64(FIRST), out=words)
    np.right_shift(words, shift, out=scratch)
    np.bitwise_xor(words, scratch, out=words)
    np.multiply(words, np.uint64(SECOND), out=words)
    np.right_shift(words, shift, out=scratch)
    np.bitwise_xor(words, scratch, out=words)


def seed(name: str, tag: int) -> int:
    """The word that sets the cells of one column and one tag apart from all others."""
    text = name.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(b"mlfp1 seed" + bytes([tag]) + text).digest()[:8], "little")


def hash_bytes(data: bytes) -> int:
    """The hash of one value's bytes."""
    total = len(data)
    for place in range(0, len(data), 8):
        total += mix(int.from_bytes(data[place : place + 8], "little") + (place // 8 + 1) * GOLDEN & MASK)
    return total & MASK


def hash_spans(np: Any, data: Any, lengths: Any) -> Any:
    """The hash of each value's bytes, which lie one behind the other in `data` (uint8), so many each (uint64)."""
    total = lengths.copy()
    if not len(data):
        return total
    longest = int(lengths.max())
    if longest >= 64 and int(lengths.min()) == longest:
        return total + _hash_equal(np, data.reshape(-1, longest))
    padded = np.zeros(len(data) + 8, np.uint8)
    padded[:-8] = data
    # The eight bytes from each byte on: a view, nothing is copied.
    windows = np.ndarray((len(data) + 1,), "<u8", padded, strides=(1,))
    ends = np.cumsum(lengths, dtype=np.int64)
    starts = ends - lengths.astype(np.int64)
    left = lengths.astype(np.int64)
    which = np.flatnonzero(left)
    starts, left = starts[which], left[which]
    place = 1
    while len(which) >= _ALONE or (len(which) and place == 1):
        words = windows[starts]
        short = np.flatnonzero(left < 8)
        words[short] &= (np.uint64(1) << (left[short].astype(np.uint64) << np.uint64(3))) - np.uint64(1)
        words += np.uint64(place * GOLDEN & MASK)
        mix_in_place(np, words, np.empty_like(words))
        total[which] += words
        more = np.flatnonzero(left > 8)
        which, starts, left = which[more], starts[more] + 8, left[more] - 8
        place += 1
    for index, start, size in zip(which.tolist(), starts.tolist(), left.tolist(), strict=True):
        # A slice, since the sum of two single numbers would warn of the overflow that is meant.
        total[index : index + 1] += _hash_long(np, padded[start : start + size], place)
    return total


def _hash_equal(np: Any, data: Any) -> Any:
    """The sums over the words of values of one length, each a row of a matrix of bytes."""
    rows, size = data.shape
    count = -(-size // 8)
    moves = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    step = max(1, 16_384 // count)
    sums = np.empty(rows, np.uint64)
    for start in range(0, rows, step):
        part = data[start : start + step]
        padded = np.zeros((len(part), count * 8), np.uint8)
        padded[:, :size] = part
        words = padded.view("<u8")
        words += moves
        mix_in_place(np, words, np.empty_like(words))
        words.sum(axis=1, dtype=np.uint64, out=sums[start : start + step])
    return sums


def _hash_long(np: Any, data: Any, place: int) -> Any:
    """The sum over the words of one value, or of the rest of one whose next word has this place."""
    padded = np.zeros(-(-len(data) // 8) * 8, np.uint8)
    padded[: len(data)] = data
    words = padded.view("<u8")
    words += np.arange(place, place + len(words), dtype=np.uint64) * np.uint64(GOLDEN)
    mix_in_place(np, words, np.empty_like(words))
    return words.sum(dtype=np.uint64)


def weights(np: Any | None, start: int, count: int) -> tuple[Any, Any]:
    """Two odd words for each row from this one on: what its cells weigh in the ordered digests of the columns."""
    if np is None:
        first = [mix(place * GOLDEN & MASK) | 1 for place in range(start + 1, start + count + 1)]
        return first, [mix(weight) | 1 for weight in first]
    one = np.uint64(1)
    words = np.arange(start + 1, start + count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    scratch = np.empty_like(words)
    mix_in_place(np, words, scratch)
    words |= one
    more = words.copy()
    mix_in_place(np, more, scratch)
    more |= one
    return words, more


def row_pass(columns: Any) -> Any:
    """One bare pass of the row hash over columns of 64-bit floats: what the speed of a fingerprint is measured against.

    Nothing is canonical here, nothing digested, nothing kept: the row hashes and no more.
    """
    import numpy as np

    rows = len(columns[0])
    sums = np.zeros(rows, np.uint64)
    step = 16_384
    words, scratch = np.empty(step, np.uint64), np.empty(step, np.uint64)
    own = np.uint64(seed("", 1))
    names = [np.uint64(seed(str(place), 255) | 1) for place in range(len(columns))]
    for start in range(0, rows, step):
        part = sums[start : start + step]
        for column, name in zip(columns, names, strict=True):
            piece = column[start : start + step].view(np.uint64)
            w, s = words[: len(piece)], scratch[: len(piece)]
            np.bitwise_xor(piece, own, out=w)
            mix_in_place(np, w, s)
            np.multiply(w, name, out=w)
            part += w
        mix_in_place(np, part, scratch[: len(part)])
    return sums
