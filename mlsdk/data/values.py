"""The canonical cell of one value: a tag, a 64-bit word and, where that is not enough, bytes. See docs/data.md."""

from __future__ import annotations

import dataclasses
import enum
import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

from mlsdk.errors import UsageError

MISSING = 0
NUMBER = 1
POSITIVE = 2
NEGATIVE = 3
WIDE = 4
BOOL = 5
TEXT = 6
BYTES = 7
NAIVE = 8
AWARE = 9
DURATION = 10
CLOCK = 11
DECIMAL = 12
COMPLEX = 13
LIST = 14
STRUCT = 15
FAR_NAIVE = 16
FAR_AWARE = 17
FAR_DURATION = 18
TAGS = 19

KINDS = {
    **dict.fromkeys((NUMBER, POSITIVE, NEGATIVE, WIDE), "number"),
    BOOL: "bool",
    TEXT: "text",
    BYTES: "bytes",
    **dict.fromkeys((NAIVE, FAR_NAIVE), "time"),
    **dict.fromkeys((AWARE, FAR_AWARE), "time with zone"),
    **dict.fromkeys((DURATION, FAR_DURATION), "duration"),
    CLOCK: "time of day",
    DECIMAL: "decimal",
    COMPLEX: "complex",
    LIST: "list",
    STRUCT: "struct",
}

LONG = frozenset({WIDE, TEXT, BYTES, DECIMAL, COMPLEX, LIST, STRUCT, FAR_NAIVE, FAR_AWARE, FAR_DURATION})
"""The tags whose word is a length, and whose value is so many bytes."""

FAR = {NAIVE: FAR_NAIVE, AWARE: FAR_AWARE, DURATION: FAR_DURATION}

Cell = tuple[int, int, bytes]
"""Tag, word, bytes."""

NOTHING: Cell = (MISSING, 0, b"")

_MASK = (1 << 64) - 1
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (naive times count from a naive midnight)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=timezone.utc)


def rounded(number: float, decimals: int) -> float:
    """Rounded to so many decimals, half to even, by one multiplication and one division: the same in numpy.

    >>> rounded(0.1 + 0.2, 6)
    0.3
    """
    scale = 10.0**decimals
    moved = number * scale
    return round(moved) / scale if abs(moved) < 2.0**52 else number


def real(number: float, decimals: int | None = None) -> Cell:
    """A float."""
    if number != number:
        return NOTHING
    if decimals is not None:
        number = rounded(number, decimals)
    return NUMBER, int.from_bytes(struct.pack("<d", number + 0.0), "little"), b""


def integer(number: int) -> Cell:
    """An integer: as a float where that is exactly the same, by its magnitude otherwise."""
    try:
        if float(number) == number:
            return real(float(number))
    except OverflowError:
        pass
    if number.bit_length() > 64:
        return _long(WIDE, twos_complement(number))
    return POSITIVE if number > 0 else NEGATIVE, abs(number), b""


def twos_complement(number: int) -> bytes:
    """The fewest little-endian bytes."""
    return number.to_bytes((8 + (number + (number < 0)).bit_length()) // 8, "little", signed=True)


def text(value: str) -> Cell:
    """Text in UTF-8; a lone surrogate as the three bytes that it would have."""
    return _long(TEXT, value.encode("utf-8", "surrogatepass"))


def moment(tag: int, nanoseconds: int) -> Cell:
    """A time or a duration."""
    if -(1 << 63) < nanoseconds < 1 << 63:
        return tag, nanoseconds & _MASK, b""
    return _long(FAR[tag], twos_complement(nanoseconds))


def cell(value: Any, decimals: int | None = None) -> Cell:
    """The canonical cell of one Python value.

    Raises:
        UsageError: the value's type has no canonical bytes.
    """
    kind = type(value)
    if kind is float:
        return real(value, decimals)
    if kind is str:
        return text(value)
    if value is None:
        return NOTHING
    if kind is bool:
        return BOOL, int(value), b""
    if kind is int:
        return integer(value)
    if kind.__name__ in {"NAType", "NaTType"}:
        return NOTHING
    return _rarer(value, decimals)


def _rarer(value: Any, decimals: int | None) -> Cell:
    if isinstance(value, enum.Enum):
        return cell(value.value, decimals)
    if isinstance(value, str):
        return text(str(value))
    if isinstance(value, float):
        return real(float(value), decimals)
    if isinstance(value, int):
        return integer(int(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return _long(BYTES, bytes(value))
    if isinstance(value, datetime | date | time | timedelta):
        return _time(value)
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, complex):
        return _complex(complex(value), decimals)
    if isinstance(value, Mapping):
        return nested_struct(value.items(), decimals)
    if isinstance(value, list | tuple | range):
        return nested_list([cell(item, decimals) for item in value])
    if isinstance(value, set | frozenset):
        return nested_list(sorted(cell(item, decimals) for item in value))
    if isinstance(value, UUID | PurePath):
        return text(str(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return nested_struct(
            ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value)), decimals
        )
    return _foreign(value, decimals)


def _foreign(value: Any, decimals: int | None) -> Cell:
    """Values of other libraries."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    if library == "pandas" and kind.__name__ == "Interval":
        parts = ("left", "right", "closed")
        return nested_struct(((part, getattr(value, part)) for part in parts), decimals)
    if library == "pandas" and kind.__name__ == "Period":
        return text(str(value))
    if library in {"numpy", "torch"}:
        from mlsdk.data.cells import single

        return single(value, decimals)
    if library in {"pandas", "polars", "pyarrow"} and hasattr(value, "__len__") and not hasattr(value, "columns"):
        return nested_list(
            [cell(item, decimals) for item in (value.to_pylist() if library == "pyarrow" else list(value))]
        )
    if library == "pyarrow" and hasattr(value, "as_py"):
        return cell(value.as_py(), decimals)
    raise UsageError(
        f"a value of type {kind.__module__}.{kind.__qualname__} has no canonical bytes; "
        "turn the column into numbers, text, times or lists of these, or leave it out"
        + ("; fingerprint each frame on its own" if hasattr(value, "columns") else "")
    )


def _time(value: Any) -> Cell:
    if isinstance(value, timedelta):
        return moment(DURATION, _nanoseconds(value))
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return moment(NAIVE, _nanoseconds(value - _EPOCH))
        return moment(AWARE, _nanoseconds(value - _EPOCH_UTC))
    if isinstance(value, date):
        return moment(NAIVE, (value.toordinal() - _EPOCH.toordinal()) * 86_400_000_000_000)
    if value.tzinfo is not None:
        raise UsageError(f"{value!r} is a time of day with a zone, which without a date means nothing: drop the zone")
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return moment(CLOCK, (seconds * 1_000_000 + value.microsecond) * 1000)


def _nanoseconds(span: timedelta) -> int:
    whole = (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
    return whole * 1000 + getattr(span, "nanoseconds", 0)


def _decimal(value: Decimal) -> Cell:
    if value.is_nan():
        return NOTHING
    sign, digits, exponent = value.as_tuple()
    if isinstance(exponent, str):
        return _long(DECIMAL, b"-Infinity" if sign else b"Infinity")
    written = "".join(map(str, digits))
    bare = written.rstrip("0")
    if not bare:
        return _long(DECIMAL, b"0E0")
    return _long(DECIMAL, f"{'-' * sign}{bare.lstrip('0')}E{exponent + len(written) - len(bare)}".encode())


def _complex(value: complex, decimals: int | None) -> Cell:
    first, second = real(value.real, decimals), real(value.imag, decimals)
    if MISSING in {first[0], second[0]}:
        return NOTHING
    return _long(COMPLEX, struct.pack("<2Q", first[1], second[1]))


def nested_list(cells: Sequence[Cell]) -> Cell:
    """A list: how many, their tags, their words, their bytes."""
    tags, words, payloads = zip(*cells, strict=True) if cells else ((), (), ())
    return _long(LIST, struct.pack(f"<Q{len(cells)}B{len(cells)}Q", len(cells), *tags, *words) + b"".join(payloads))


def nested_struct(items: Iterable[tuple[Any, Any]], decimals: int | None) -> Cell:
    """Named values: a list of name, value, name, value, sorted by name; what is missing is not there."""
    named = sorted((text(str(name)), cell(value, decimals)) for name, value in items)
    return _long(STRUCT, nested_list([part for pair in named if pair[1][0] != MISSING for part in pair])[2])


def _long(tag: int, data: bytes) -> Cell:
    return tag, len(data), data
