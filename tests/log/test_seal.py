"""Sealing: every byte comes back, series and pyramids are those of the raw log, and nothing hostile gets through."""

from __future__ import annotations

import json
import math
import struct
import tracemalloc
import zlib
from importlib import import_module
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsdk.errors import DigestError, FormatError, NewerFormatError, UsageError
from mlsdk.log import columns, frames
from mlsdk.log.frames import Damage
from mlsdk.log.seal import Sealed, seal, unseal
from mlsdk.log.sealed import END, MAGIC, links
from mlsdk.log.values import dumps
from tests.log import reader_from_docs
from tests.log.made import KINDS, Maker, end_of, floats, i64, logs, numpy_is, opened, parts_of, read, u64

LOG = "runs/a/b"


@given(logs(), st.booleans())
def test_every_byte_comes_back(raw: bytes, numpy: bool) -> None:
    """Unsealed, a log is what it was up to its last valid frame, with the damage in its middle."""
    with numpy_is(numpy):
        sealed = seal(raw, LOG)
        found = unseal(sealed)
        Sealed(sealed).check()

    assert found == raw[: end_of(raw)]


@given(st.binary(max_size=500))
def test_any_bytes_can_be_sealed(raw: bytes) -> None:
    """Bytes that are no log at all have no content."""
    assert unseal(seal(raw, LOG)) == raw[: end_of(raw)]


@given(logs())
def test_numpy_makes_no_difference(raw: bytes) -> None:
    """The sealed bytes are the same with numpy and without."""
    with numpy_is(False):
        without = seal(raw, LOG)
    with numpy_is(True):
        assert seal(raw, LOG) == without


@given(logs(), st.booleans(), st.booleans())
def test_series_are_those_of_the_raw_log(raw: bytes, numpy_then: bool, numpy_now: bool) -> None:
    """Each metric has the same steps, times and values, bit for bit and in order, as in the raw log."""
    with numpy_is(numpy_then):
        sealed = seal(raw, LOG)
    expected: dict[str, list] = {}
    for kind, *entry in read(raw):
        if kind == "point":
            names, kinds, step, time_ns, packed = entry
            for place, name in enumerate(names):
                row = (step, time_ns, KINDS[kinds[place]], packed[8 * place : 8 * place + 8])
                expected.setdefault(name, []).append(row)

    with numpy_is(numpy_now):
        assert {name: parts_of(sealed, name) for name in Sealed(sealed).names()} == expected
        assert Sealed(sealed).names() == list(expected)
        assert Sealed(sealed).series("no such metric") == []


@given(logs())
def test_reader_from_the_page_agrees(raw: bytes) -> None:
    """A reader written from docs/format.md alone unseals to the same bytes."""
    assert reader_from_docs.Seal(seal(raw, LOG)).raw() == raw[: end_of(raw)]


# Columns

column = st.one_of(
    st.tuples(st.just("d"), st.lists(floats, min_size=1, max_size=40)),
    st.tuples(st.just("q"), st.lists(i64 | st.integers(-5, 5), min_size=1, max_size=40)),
    st.tuples(st.just("Q"), st.lists(u64 | st.integers(0, 5), min_size=1, max_size=40)),
)


@given(column, st.integers(0, 300), st.booleans())
def test_columns_come_back(wanted: tuple[str, list], repeat: int, numpy: bool) -> None:
    """Numbers of any kind come back to the bit, and so do the bytes of NaN."""
    code, values = wanted
    data = struct.pack(f"<{len(values)}{code}", *values) * (repeat + 1)
    np = import_module("numpy") if numpy else None
    chunks = columns.encode(data, code, np)
    found = columns.decode(chunks, len(data) // 8, code, np)

    assert struct.pack(f"<{len(found)}{code}", *found) == data
    assert chunks == columns.encode(data, code, None)


@pytest.mark.parametrize("rows", [65_535, 65_536, 65_537, 131_073])
def test_columns_longer_than_a_chunk(rows: int) -> None:
    """Columns are cut after 65,536 values."""
    data = struct.pack(f"<{rows}q", *(row * row for row in range(rows)))
    chunks = columns.encode(data, "q", None)

    assert len(chunks) == -(-rows // 65_536)
    assert columns.decode(chunks, rows, "q", None).tobytes() == data


def _metric(rows: list[tuple], kind: str = "f") -> bytes:
    made = Maker()
    made.add(frames.OPEN, opened())
    made.add(frames.SCHEMA, frames.schema_payload(0, ("loss",), kind))
    made.points(0, kind, rows)
    made.add(frames.CLOSE, dumps({"t": 1}))
    return bytes(made.data)


def test_bytes_a_point() -> None:
    """Float32 noise every few microseconds costs at most 8 bytes a point, index and pyramid included."""
    np = import_module("numpy")
    rng, count = np.random.default_rng(1), 100_000
    times = 1_700_000_000_000_000_000 + np.cumsum(rng.integers(2_000, 60_000, count))
    values = rng.random(count).astype("f4").astype("f8")
    raw = _metric(list(zip(range(count), times.tolist(), values.tolist(), strict=True)))

    assert len(raw) / count > 40
    assert len(seal(raw, LOG)) / count <= 8


# The pyramid


def _naive(rows: list[tuple[int, int, float]], level: int) -> list[tuple]:
    found = []
    for _, bucket in groupby(enumerate(rows), key=lambda item: item[0] // level):
        points = [row for _, row in bucket]
        numbers = [value for _, _, value in points if not math.isnan(value)]
        found.append((min(numbers, default=None), max(numbers, default=None), sum(numbers), len(numbers), points[0][0]))
    return found


@pytest.mark.parametrize("numpy", [True, False])
@pytest.mark.parametrize("count", [0, 1, 256, 257, 4096, 4097, 10_000])
def test_pyramid(count: int, numpy: bool) -> None:
    """Buckets have extremes, sum, count and first step of their points, at every level, whether stored or computed."""
    rows = [(3 * i, i, math.nan if i % 5 == 0 or 512 <= i < 768 else (i * 7919) % 1000 - 500.0) for i in range(count)]
    with numpy_is(numpy):
        sealed = Sealed(seal(_metric(rows), LOG))
        for level in columns.LEVELS:
            found = sealed.pyramid("loss", level)
            lists = [column.tolist() for column in (found.min, found.max, found.sum, found.count, found.steps)]
            lists[:2] = [[None if math.isnan(value) else value for value in extremes] for extremes in lists[:2]]

            assert list(zip(*lists, strict=True)) == _naive(rows, level)
    assert len(sealed._pyramids) == (count > 4096)


def test_pyramid_of_infinities() -> None:
    """Infinities are numbers: their sum may be no number, and nothing warns."""
    rows = [(i, i, [math.inf, -math.inf, 1e308, -0.0][i % 4]) for i in range(5000)]
    found = Sealed(seal(_metric(rows), LOG)).pyramid("loss", 65_536)

    assert (found.min[0], found.max[0], found.count[0]) == (-math.inf, math.inf, 5000)
    assert math.isnan(found.sum[0])


def test_pyramid_level() -> None:
    """A level that does not exist is refused, with those that do."""
    with pytest.raises(UsageError, match="256, 4096, 65536"):
        Sealed(seal(b"", LOG)).pyramid("loss", 100)


# Files, damage, hostility


def _sample() -> bytes:
    made = Maker()
    made.add(frames.OPEN, opened())
    made.add(frames.SCHEMA, frames.schema_payload(0, ("loss",), "f"))
    made.add(frames.SCHEMA, frames.schema_payload(1, ("loss", "n"), "fi"))
    for step in range(60):
        made.points(
            *(
                (1, "fi", [(step, step * step, step / 3, step)])
                if step % 7 == 0
                else (0, "f", [(step, step * step, step / 3)])
            )
        )
    made.data += b"damage"
    made.add(frames.FACTS, dumps({"t": 1, "set": {"params": {"lr": 0.1}}}))
    made.add(frames.CLOSE, dumps({"t": 2}))
    return bytes(made.data)


def _read_all(data: bytes | str) -> list:
    """Everything there is to read."""
    with Sealed(data) as sealed:
        series = [[column.tolist() for column in part] for name in sealed.names() for part in sealed.series(name)]
        pyramids = [sealed.pyramid(name, 256) for name in sealed.names()]
        sealed.check()
        return [series, pyramids, sealed.raw(), sealed.chain, sealed.log, sealed.raw_length]


def test_from_a_file(tmp_path: Path) -> None:
    """A sealed log is read from a file as from memory; times can be asked for after it was closed."""
    raw = _sample()
    (tmp_path / "log.seal").write_bytes(seal(raw, LOG))
    with Sealed(tmp_path / "log.seal") as sealed:
        (part,) = sealed.series("loss")
        facts = (sealed.log, sealed.raw_length, sealed.raw())

    assert facts == (LOG, len(raw), raw)
    assert part.times.tolist() == [step * step for step in range(60)]
    assert part[2] is part.times
    assert len(part) == 3
    with pytest.raises(FormatError, match="closed"):
        sealed.series("loss")
    with pytest.raises(FileNotFoundError):
        Sealed(tmp_path / "none.seal")


def test_every_flipped_byte_shows() -> None:
    """Whatever byte of a sealed log is changed, reading it says so."""
    sealed = seal(_sample(), LOG)
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1 << place % 8
        with pytest.raises(FormatError):
            _read_all(bytes(changed))


def test_every_cut_shows() -> None:
    """Wherever a sealed log is cut, or if bytes are added to it, reading it says so."""
    sealed = seal(_sample(), LOG)
    for wrong in [*(sealed[:cut] for cut in range(len(sealed))), *(sealed[cut:] for cut in (1, 8, 50)), sealed + b"\0"]:
        with pytest.raises(FormatError):
            _read_all(wrong)


def _index(sealed: bytes) -> dict:
    packed = END.unpack(sealed[-END.size :])[0]
    return json.loads(zlib.decompress(sealed[-END.size - packed : -END.size]))


def _forged(sealed: bytes, index: object, body: bytes | None = None) -> bytes:
    """The sealed log with another index, its checksum right."""
    packed = END.unpack(sealed[-END.size :])[0]
    text = json.dumps(index).encode()
    small = zlib.compress(text)
    head = struct.pack("<II", len(small), len(text))
    body = sealed[: -END.size - packed] if body is None else body
    return body + small + END.pack(len(small), len(text), zlib.crc32(small + head), MAGIC)


numbers = st.integers(-2, 200) | st.sampled_from((2**31, 2**32, 2**40, 2**62, 2**63, 2**64, 10**30))
junk = st.recursive(
    numbers | st.none() | st.booleans() | st.floats() | st.text(max_size=3), lambda one: st.lists(one, max_size=3)
)


def _changed(draw, value: object) -> object:
    """JSON with one leaf, somewhere, replaced."""
    if isinstance(value, dict) and value:
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: _changed(draw, value[key])}
    if isinstance(value, list) and value:
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], _changed(draw, value[place]), *value[place + 1 :]]
    return draw(numbers if isinstance(value, int) else junk)


SEALED = seal(_sample(), LOG)


@given(st.data())
def test_a_forged_index_shows(data: st.DataObject) -> None:
    """An index that claims something else, with the right checksums, is refused or changes nothing of the raw log."""
    changed = _forged(SEALED, _changed(data.draw, _index(SEALED)))
    tracemalloc.start()
    try:
        found = _read_all(changed)
    except FormatError:
        found = None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert found is None or found[2] == _sample()
    assert peak < 20_000_000


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_forged_column_shows(data: st.DataObject) -> None:
    """A chunk with other bytes but the right checksum is refused, or does not give the raw log that was sealed."""
    with Sealed(SEALED) as sealed:
        stored = [*sealed._runs, *(column for group in sealed._groups for column in group.columns)]
    chosen = data.draw(st.sampled_from([column for column in stored if column.rows]))
    end = chosen.offset + sum(chosen.lengths)
    chunk = bytearray(SEALED[chosen.offset : end - 4])
    chunk[data.draw(st.integers(0, len(chunk) - 1))] = data.draw(st.integers(0, 255))
    changed = SEALED[: chosen.offset] + chunk + struct.pack("<I", zlib.crc32(chunk)) + SEALED[end:]
    try:
        raw = Sealed(changed).raw()
    except FormatError:
        raw = _sample()

    assert raw == _sample()


@pytest.mark.parametrize("key", ["raw_length", "rows"])
def test_claims_without_bytes_are_refused(key: str) -> None:
    """A small file that claims to be a huge log is refused before memory is taken for it."""
    index = _index(SEALED)
    huge = 10**12
    if key == "rows":
        index["groups"][0]["rows"] = huge
        index["raw_length"] += (huge - 51) * 41
    else:
        index["raw_length"] = huge
        index["rest"][0] += huge - len(_sample())
    tracemalloc.start()
    with pytest.raises(FormatError):
        _read_all(_forged(SEALED, index))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 10_000_000


def test_a_deflated_bomb_is_refused() -> None:
    """What is inflated takes no more memory than it may, whatever it holds."""
    bomb = zlib.compress(bytes(60_000_000))
    rest = _index(SEALED)["rest"]
    index = {**_index(SEALED), "rest": [rest[0], len(bomb)]}
    end = -END.size - END.unpack(SEALED[-END.size :])[0]
    body = SEALED[:44] + bomb + struct.pack("<I", zlib.crc32(bomb)) + SEALED[48 + rest[1] : end]
    tracemalloc.start()
    with pytest.raises(FormatError):
        Sealed(_forged(SEALED, index, body)).raw()
    text = END.pack(len(bomb), 60_000_000, zlib.crc32(bomb + struct.pack("<II", len(bomb), 60_000_000)), MAGIC)
    with pytest.raises(FormatError):
        Sealed(MAGIC + bomb + text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 20_000_000


def test_tampering_with_the_raw_log_shows() -> None:
    """Another digest, or a hash chain of other bytes, is found by `check`."""
    index = _index(SEALED)
    with pytest.raises(DigestError, match="digest"):
        Sealed(_forged(SEALED, {**index, "sha256": "0" * 64})).raw()
    chain = bytearray(SEALED)
    chain[8] ^= 1
    chain[40:44] = struct.pack("<I", zlib.crc32(chain[8:40]))
    with pytest.raises(DigestError, match="chain"):
        Sealed(bytes(chain)).check()
    with pytest.raises(DigestError, match="chain"):
        Sealed(_forged(SEALED, {**index, "log": "runs/a/c"})).check()


def test_chain_grows_with_the_log() -> None:
    """The links of a log's beginning, in whole pieces of 64 KiB, are those of the longer log."""
    raw = _metric([(i, i, i / 3) for i in range(5000)])
    sealed = Sealed(seal(raw, LOG))
    whole = links(LOG, raw[: 2 * 65_536])

    assert len(sealed.chain) == 1 + 4
    assert "".join(sealed.chain[1:3]) == whole.hex()
    assert links("other", raw)[:32] != whole[:32]


def test_a_newer_log_is_not_sealed() -> None:
    """A log of a newer format, whose frames may not be known, is left alone; so is a newer seal."""
    with pytest.raises(NewerFormatError):
        seal(frames.encode(frames.OPEN, 0, b'{"format":2}') + b"\7", LOG)
    with pytest.raises(NewerFormatError):
        Sealed(SEALED[:7] + b"\2" + SEALED[8:])


def test_names_that_json_changes_are_kept() -> None:
    """Names with two lone surrogates in a row, which JSON joins, come back; such a log is kept plain."""
    made = Maker()
    made.add(frames.SCHEMA, frames.schema_payload(0, ("\ud83d\ude00",), "f"))
    made.points(0, "f", [(1, 2, 3.5)])
    sealed = Sealed(seal(bytes(made.data), LOG))

    assert sealed.names() == ["\ud83d\ude00"]
    assert [column.tolist() for column in sealed.series("\ud83d\ude00")[0]] == [[1], [3.5], [2]]
    assert sealed.pyramid("\ud83d\ude00", 256).sum.tolist() == [3.5]
    assert sealed.raw() == made.data


def test_an_empty_log() -> None:
    """A log without content has no metrics and no bytes."""
    sealed = Sealed(seal(bytes(4096), LOG))

    assert (sealed.names(), sealed.raw(), sealed.raw_length, len(sealed.chain)) == ([], b"", 0, 1)
    sealed.check()


def test_sealed_damage_stays_damage() -> None:
    """Damage in the middle of a log is still there, and still reported, after sealing."""
    found = list(frames.frames(unseal(SEALED)))

    assert sum(isinstance(part, Damage) for part in found) == 1
