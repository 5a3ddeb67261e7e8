"""Mixing: one function, with numpy and without."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.data import mixing

WORDS = st.integers(0, mixing.MASK)


@given(st.lists(WORDS, max_size=50))
def test_numpy_mixes_the_same(words) -> None:
    """The array form gives, for every word, what the plain form gives."""
    array = np.array(words, np.uint64)
    mixing.mix_in_place(np, array, np.empty_like(array))

    assert array.tolist() == [mixing.mix(word) for word in words]


def test_it_is_murmurs_finaliser() -> None:
    """The function is the published one: its value for 1, and 0 stays 0."""
    assert mixing.mix(1) == 0xB456BCFC34C2CB2C
    assert mixing.mix(0) == 0


@given(WORDS, st.integers(0, 63))
def test_one_bit_changes_many(word, bit) -> None:
    """One other bit that goes in changes many of those that come out."""
    changed = (mixing.mix(word) ^ mixing.mix(word ^ (1 << bit))).bit_count()

    assert 8 <= changed <= 56


SHORT = st.lists(st.binary(max_size=40), max_size=80)
EQUAL = st.integers(0, 200).flatmap(lambda size: st.lists(st.binary(min_size=size, max_size=size), max_size=8))
LONG = st.lists(st.binary(max_size=3).map(lambda some: some * 97), max_size=6)


@given(SHORT | EQUAL | LONG)
def test_numpy_hashes_bytes_the_same(values) -> None:
    """Many values in one buffer have the hashes that each has alone: short, long, of one length or of many."""
    data = np.frombuffer(b"".join(values), np.uint8)
    lengths = np.array([len(value) for value in values], np.uint64)

    assert mixing.hash_spans(np, data, lengths).tolist() == [mixing.hash_bytes(value) for value in values]


def test_many_values_of_every_length() -> None:
    """A buffer with thousands of values, a few of them a thousand times as long as the rest."""
    rng = np.random.default_rng(5)
    values = [rng.bytes(int(size)) for size in rng.integers(0, 30, 3000)]
    values[7], values[70] = rng.bytes(30_001), rng.bytes(8_000)
    lengths = np.array([len(value) for value in values], np.uint64)
    found = mixing.hash_spans(np, np.frombuffer(b"".join(values), np.uint8), lengths)

    assert found.tolist() == [mixing.hash_bytes(value) for value in values]


@given(st.binary(max_size=60))
def test_padding_counts(value) -> None:
    """Zero bytes at the end, and at the beginning, make another value."""
    hashes = {mixing.hash_bytes(value), mixing.hash_bytes(value + b"\0"), mixing.hash_bytes(value + bytes(8))}

    assert len(hashes) == 3


@given(st.integers(0, 1 << 40), st.integers(0, 30))
def test_weights(start, count) -> None:
    """The weights of rows are odd, differ, and are the same with numpy and without."""
    first, second = mixing.weights(None, start, count)
    arrays = mixing.weights(np, start, count)

    assert [array.tolist() for array in arrays] == [first, second]
    assert all(weight % 2 for weight in first + second)
    assert len(set(first + second)) == 2 * count


def test_the_bare_pass_gives_the_row_hashes() -> None:
    """What speed is measured against does the same work: its words are the row hashes of a frame of floats."""
    from mlsdk.data.fingerprint import fingerprint

    rng = np.random.default_rng(1)
    columns = [rng.normal(size=40_000) for _ in range(3)]
    found = fingerprint({str(place): column for place, column in enumerate(columns)})

    assert np.array_equal(mixing.row_pass(columns), np.asarray(found.row_hashes))
