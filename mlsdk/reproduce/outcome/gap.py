"""How far two values are from each other: numbers, arrays, texts with numbers in them, and what is nested of these.

Bitwise is meant by its word: 0.0 and -0.0 differ, 1 and 1.0 differ; only NaN equals NaN, whatever its bits. A relative
difference is |a - b| / max(|a|, |b|), element by element. Whole numbers are exact: two that differ are infinitely far
apart, whatever their size.
"""

from __future__ import annotations

import itertools
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from mlsdk.records import Series

_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\w|\.\d)")
"""A number within a text; not a part of a word or of a version: v1.10 and v1.1 are no numbers."""

_WHOLE = re.compile(r"[-+]?\d+")
_DIGITS = 17
"""Of a float, more say nothing."""


_BITS = struct.Struct("<d")
_SIGNED = struct.Struct("<q")
_SHOWN = 200
"""Characters of a value that are kept to be shown."""


@attrs.frozen
class Gap:
    """Where, and how far, two values differ.

    Attributes:
        where: the place of the first difference within the values; empty for the values themselves.
        a: what is there in the one, small; None where it has nothing there.
        b: what is there in the other.
        relative: the largest relative difference; infinite where something is not to be measured so.
        ulps: the largest number of floats between two of the same precision; None where something is no such float.
        count: how many places differ.
    """

    where: str
    a: object
    b: object
    relative: float = math.inf
    ulps: int | None = None
    count: int = 1


def merged(gaps: Iterable[Gap | None]) -> Gap | None:
    """The differences of parts as one: the place of the first, the size of the largest; None where there are none."""
    found = [gap for gap in gaps if gap is not None]
    if not found:
        return None
    ulps = [gap.ulps for gap in found if gap.ulps is not None]
    return attrs.evolve(
        found[0],
        relative=max(gap.relative for gap in found),
        ulps=max(ulps) if len(ulps) == len(found) else None,
        count=sum(gap.count for gap in found),
    )


def within(where: str, gap: Gap | None) -> Gap | None:
    """The same difference, seen from what the values are parts of."""
    return None if gap is None else attrs.evolve(gap, where=where + gap.where)


Texts = Callable[[str, str], Gap | None]
"""How two texts differ."""


def exactly(a: str, b: str) -> Gap | None:
    """How two texts differ that are no writing down of numbers: as a whole."""
    return None if a == b else Gap("", shown(a), shown(b))


def gap(a: object, b: object, texts: Texts = exactly) -> Gap | None:
    """How two values differ; None for values that are the same bit by bit.

    Args:
        a: a value: numbers, texts, arrays, and lists and mappings of them.
        b: another one.
        texts: how texts are compared.

    >>> gap({"acc": 0.5}, {"acc": 0.5}) is None
    True
    >>> gap({"acc": 1.0}, {"acc": 1.0000000000000002})
    Gap(where='.acc', a=1.0, b=1.0000000000000002, relative=2.2204460492503126e-16, ulps=1, count=1)
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return merged(_of_key(key, a, b, texts) for key in dict.fromkeys((*a, *b)))
    if _is_list(a) and _is_list(b):
        pairs = enumerate(itertools.zip_longest(a, b, fillvalue=_NOTHING))  # type: ignore[call-overload]  # both are
        return merged(within(f"[{place}]", _of_parts(one, other, texts)) for place, (one, other) in pairs)
    if isinstance(a, str) and isinstance(b, str):
        return texts(a, b)
    if _is_array(a) and _is_array(b):
        return array_gap(a, b)
    if _is_number(a) and _is_number(b):
        return number_gap(a, b)  # type: ignore[arg-type]  # both are
    return None if type(a) is type(b) and a == b else Gap("", shown(a), shown(b))


_NOTHING: Any = object()


def _of_key(key: object, a: Mapping[Any, object], b: Mapping[Any, object], texts: Texts) -> Gap | None:
    return within(f".{key}", _of_parts(a.get(key, _NOTHING), b.get(key, _NOTHING), texts))


def _of_parts(a: object, b: object, texts: Texts) -> Gap | None:
    if a is _NOTHING or b is _NOTHING:
        return Gap("", None if a is _NOTHING else shown(a), None if b is _NOTHING else shown(b))
    return gap(a, b, texts)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _is_array(value: object) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape")


def _is_number(value: object) -> bool:
    return type(value) is int or type(value) is float


def shown(value: object) -> object:
    """A value as it may be kept to be shown: plain, and short."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


# numbers


def number_gap(a: float, b: float) -> Gap | None:
    """How two numbers differ, each an integer or a 64-bit float.

    >>> number_gap(3, 4).relative, number_gap(2.0, 3.0).relative, number_gap(float("nan"), float("nan"))
    (inf, 0.3333333333333333, None)
    """
    if type(a) is int and type(b) is int:
        return None if a == b else Gap("", a, b)
    if type(a) is float and type(b) is float and (_BITS.pack(a) == _BITS.pack(b) or (a != a and b != b)):
        return None
    ulps = abs(_place(a) - _place(b)) if type(a) is type(b) is float and a == a and b == b else None
    return Gap("", a, b, _relative(a, b), ulps)


def _relative(a: float, b: float) -> float:
    if a == b:
        return 0.0
    if a != a or b != b:
        return math.inf
    try:
        relative = abs(a - b) / max(abs(a), abs(b))
    except OverflowError:  # an integer beyond every float
        return math.inf
    return relative if math.isfinite(relative) else math.inf


def _place(number: float) -> int:
    """The place of a float in the order of all floats; 0.0 and -0.0 have two places."""
    bits: int = _SIGNED.unpack(_BITS.pack(number))[0]
    return bits if bits >= 0 else -(bits & 0x7FFFFFFFFFFFFFFF) - 1


def text_gap(a: str, b: str) -> Gap | None:
    """How two texts differ: those that are alike but for their numbers, by their numbers.

    >>> text_gap("loss 0.50 at 3", "loss 0.25 at 3")
    Gap(where='', a='loss 0.50 at 3', b='loss 0.25 at 3', relative=0.5, ulps=..., count=1)
    >>> text_gap("yes", "no").relative
    inf
    """
    if a == b:
        return None
    if _NUMBER.split(a) != _NUMBER.split(b):
        return Gap("", shown(a), shown(b))
    found = merged(map(_numeral_gap, _NUMBER.findall(a), _NUMBER.findall(b)))
    return None if found is None else attrs.evolve(found, a=shown(a), b=shown(b), where="")


def _numeral_gap(a: str, b: str) -> Gap | None:
    """How two numbers differ as they are written: whole ones exactly (007 is not 7), others by their value."""
    if a == b:
        return None
    if _WHOLE.fullmatch(a) and _WHOLE.fullmatch(b):
        return Gap("", a, b)
    one, other = float(a), float(b)
    if not (math.isfinite(one) and math.isfinite(other)):
        return Gap("", a, b)
    is_beyond = max(len(a), len(b)) > _DIGITS  # the difference may be in what no float holds
    is_mixed = bool(_WHOLE.fullmatch(a) or _WHOLE.fullmatch(b))
    return Gap("", a, b, 0.0) if one == other and (is_beyond or is_mixed) else number_gap(one, other)


# arrays and series


def array_gap(a: Any, b: Any) -> Gap | None:
    """How two numpy arrays differ: in type, in shape, in which elements."""
    import numpy as np

    if a.dtype != b.dtype or a.shape != b.shape:
        return Gap("", f"{a.dtype} {a.shape}", f"{b.dtype} {b.shape}")
    if a.dtype.names:
        return merged(within(f".{name}", array_gap(a[name], b[name])) for name in a.dtype.names)
    a, b = np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1)
    has_padding = a.dtype.kind in "fc" and a.dtype.itemsize > (8 if a.dtype.kind == "f" else 16)
    same = a == b if has_padding else _same_bits(a, b)  # the bits between two long doubles are anything
    if a.dtype.kind in "fc":
        same |= (a != a) & (b != b)
    (places,) = np.nonzero(~same)
    if not len(places):
        return None
    x, y = a[places], b[places]
    relative, ulps = math.inf, None
    if a.dtype.kind in "fc":
        with np.errstate(all="ignore"):
            apart = np.where(x == y, 0.0, np.abs(x - y) / np.maximum(np.abs(x), np.abs(y)))
        relative = float(np.where(np.isfinite(apart), apart, np.inf).max())
    if a.dtype.kind == "f" and a.dtype.itemsize in (2, 4, 8) and not (np.isnan(x) | np.isnan(y)).any():
        ulps = max(abs(one - other) for one, other in zip(_places(x), _places(y), strict=True))
    first = int(places[0])
    return Gap(f"[{first}]", shown(a[first].item()), shown(b[first].item()), relative, ulps, len(places))


def _same_bits(a: Any, b: Any) -> Any:
    import numpy as np

    if not a.dtype.itemsize:
        return np.ones(len(a), bool)
    parts = (a.view(np.uint8).reshape(len(a), -1) == b.view(np.uint8).reshape(len(b), -1)) if len(a) else None
    return np.ones(0, bool) if parts is None else parts.all(axis=1)


def _places(values: Any) -> list[int]:
    """As `_place`, of floats of any precision; not of NaN."""
    import numpy as np

    bits = values.view(f"i{values.dtype.itemsize}")
    highest = np.iinfo(bits.dtype).max
    placed: list[int] = np.where(bits >= 0, bits, -(bits & highest) - 1).tolist()
    return placed


def series_gap(a: Series, b: Series) -> tuple[Gap, int] | None:
    """How the points of two series differ, and the place of the first one that does, in the order of logging.

    A point is its step and its value. Where a series ends earlier, the other has points that it has not.
    """
    if _same(a.steps, b.steps):
        if _same(a.values, b.values):
            return None
        if _is_array(a.values) and _is_array(b.values) and a.values.dtype == b.values.dtype:  # type: ignore[attr-defined]
            found = array_gap(a.values, b.values)
            return None if found is None else (attrs.evolve(found, where=""), int(found.where[1:-1]))
    gaps: list[Gap] = []
    first = -1
    for place, (one, other) in enumerate(itertools.zip_longest(_points(a), _points(b))):
        found = _point_gap(one, other)
        if found is not None:
            first = place if first < 0 else first
            gaps.append(found)
    whole = merged(gaps)
    return None if whole is None else (whole, first)


def _same(a: Any, b: Any) -> bool:
    """Whether two columns are the same bit by bit; False where they are not of the same type."""
    if not (hasattr(a, "tobytes") and hasattr(b, "tobytes")):
        return False
    kinds = [getattr(column, "dtype", None) or getattr(column, "typecode", None) for column in (a, b)]
    return bool(kinds[0] == kinds[1] and a.tobytes() == b.tobytes())


def _points(series: Series) -> list[tuple[int, float]]:
    return list(zip(_plain(series.steps), _plain(series.values), strict=True))


def _plain(column: Sequence[Any]) -> list[Any]:
    return list(column.tolist()) if hasattr(column, "tolist") else list(column)


def _point_gap(one: tuple[int, float] | None, other: tuple[int, float] | None) -> Gap | None:
    if one is None or other is None:
        return Gap("", None if one is None else one[1], None if other is None else other[1])
    if one[0] != other[0]:
        return Gap("", f"{one[1]!r} at step {one[0]}", f"{other[1]!r} at step {other[0]}")
    return number_gap(one[1], other[1])
