"""Values of facts: what is written comes back, with its type, whatever it was."""

from __future__ import annotations

import argparse
import datetime as dt
import decimal
import fractions
import json
import math
import pathlib
import subprocess
import sys
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.errors import FormatError
from mlsdk.log.standins import Described, LongValue
from mlsdk.log.values import _DECODERS, decode, dumps, encode, loads
from tests.conftest import ROOT


def there_and_back(value: Any) -> Any:
    return decode(loads(dumps(encode(value))))


def same(one: Any, other: Any) -> bool:
    """Equal and of the same types all through, with NaN equal to itself and -0.0 not equal to 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(a, b) and same(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one.hex() == other.hex()
    if isinstance(one, complex):
        return same((one.real, one.imag), (other.real, other.imag))
    if isinstance(one, decimal.Decimal):
        return one.as_tuple() == other.as_tuple()
    return bool(one == other)


TEXT = st.text(st.characters(exclude_categories=()), max_size=8)  # lone surrogates too
# whole seconds: `fromisoformat` loses an offset below one second
FIXED_ZONES = st.integers(-80_000, 80_000).map(lambda offset_s: dt.timezone(dt.timedelta(seconds=offset_s)))
HASHABLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    TEXT,
    st.binary(max_size=8),
    st.dates(),
    st.uuids(),
    st.fractions(),
    st.timedeltas(),
    st.frozensets(st.integers(), max_size=3),
)
LEAVES = st.one_of(
    HASHABLE,
    st.floats(),
    st.complex_numbers(),
    st.decimals(),
    st.datetimes(timezones=st.none() | FIXED_ZONES),
    st.times(timezones=st.none() | FIXED_ZONES),
    TEXT.filter(lambda text: "\0" not in text).map(pathlib.Path),
    st.sets(HASHABLE, max_size=4),
    st.dictionaries(HASHABLE, TEXT, max_size=3),
    st.sampled_from([encode({"$": "int"}), {"$": "tuple", "v": [1]}]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(TEXT, inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_there_and_back(value: Any) -> None:
    """Every value that has a form of its own is read back equal and of the same type, all through."""
    data = dumps(encode(value))
    read = decode(loads(data))

    assert same(read, value)
    assert dumps(encode(read)) == data
    assert json.loads(data.decode(), parse_constant=pytest.fail) == loads(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.sampled_from(["$", "v", "type", "name"]), inner, max_size=4)
        | st.fixed_dictionaries(
            {
                "$": st.sampled_from([*_DECODERS, "newer"]) | inner,
                "v": inner,
            }
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_foreign_json(value: Any) -> None:
    """Any JSON at all can be decoded, and a program's own dict that looks like a tag is not taken for one."""
    decode(value)

    assert there_and_back(value) == value


@pytest.mark.parametrize(
    "tag",
    [
        {"$": "newer", "v": 1},
        {"$": 5},
        {"$": []},
        {"$": "int", "v": 5},
        {"$": "int", "v": "five"},
        {"$": "float", "v": "1.5"},
        {"$": "tuple", "v": "ab"},
        {"$": "tuple"},
        {"$": "map", "v": [[1]]},
        {"$": "bytes", "v": "?"},
        {"$": "decimal", "v": "x"},
        {"$": "fraction", "v": "1/0"},
        {"$": "object", "type": "A", "v": [1]},
        {"$": "datetime", "v": "yesterday"},
        {"$": "timedelta", "v": [1e300, 0, 0]},
    ],
)
def test_malformed_tags(tag: Any) -> None:
    """A tag that is malformed or unknown is read as it stands, also inside something else."""
    assert decode(tag) == tag
    assert decode({"a": [tag]}) == {"a": [tag]}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, {"$": "float", "v": "nan"}),
        (2**53, 2**53),
        (2**53 + 1, {"$": "int", "v": "9007199254740993"}),
        (2**4000, {"$": "int", "v": hex(2**4000)}),
        ("a\udc80", {"$": "str", "v": "a\\udc80"}),
        ((1,), {"$": "tuple", "v": [1]}),
        ({"b", "a"}, {"$": "set", "v": ["a", "b"]}),
        (b"\x00", {"$": "bytes", "v": "AA=="}),
        (pathlib.PureWindowsPath("a\\b"), {"$": "path", "v": "a\\b", "windows": True}),
        (dt.date(2026, 1, 2), {"$": "date", "v": "2026-01-02"}),
        (dt.timedelta(1, 2, 3), {"$": "timedelta", "v": [1, 2, 3]}),
        (1j, {"$": "complex", "v": [0.0, 1.0]}),
        (fractions.Fraction(3, 4), {"$": "fraction", "v": "3/4"}),
        (uuid.UUID(int=1), {"$": "uuid", "v": "00000000-0000-0000-0000-000000000001"}),
        ({1: 2}, {"$": "map", "v": [[1, 2]]}),
        ({"$": 1}, {"$": "map", "v": [["$", 1]]}),
        (argparse.Namespace(lr=1), {"$": "object", "type": "argparse.Namespace", "v": {"lr": 1}}),
        (LongValue("ab", 3, "x"), {"$": "blob", "sha256": "ab", "size": 3, "start": "x"}),
        (Described("T", "t"), {"$": "described", "type": "T", "text": "t"}),
    ],
)
def test_published_form(value: Any, written: Any) -> None:
    """The tags are those that the documentation publishes: files that exist depend on them."""
    assert encode(value) == written
    assert dumps(encode(there_and_back(value))) == dumps(written)


def test_json_is_strict() -> None:
    """Nothing but strict JSON is written or read, and lone surrogates in a name do not make the bytes invalid."""
    assert loads(dumps({"t": 2**62, "é\udc80": "é"})) == {"t": 2**62, "é\udc80": "é"}
    assert dumps({"é": 1.0}) == '{"é":1.0}'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps(math.nan)
    for data in (b"NaN", b"[1,]", b"\xff", b"", b"[" * 100_000, b"9" * 5000):
        with pytest.raises(FormatError, match=r"not strict JSON: .*; it begins with"):
            loads(data)


def test_deep_json_is_read() -> None:
    """JSON nested too deeply for the interpreter comes back as it stands rather than as an error."""
    deep: Any = []
    for _ in range(20_000):
        deep = [deep]

    assert decode(deep) is deep


def test_light_import() -> None:
    """Reading and writing values loads neither other people's packages nor heavy parts of the standard library."""
    code = (
        "import sys; before = set(sys.modules); from mlsdk.log.values import decode, dumps, encode, loads\n"
        "loads(dumps(encode({'a': [1, 'b', (2.0,)]}))); print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"numpy", "attr", "attrs", "pydantic", "dataclasses", "inspect", "pathlib", "datetime", "base64"}

    assert not heavy & set(done.stdout.split())
