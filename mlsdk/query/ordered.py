"""Scalars as bytes whose order is the order of the values, for databases that order nothing but bytes so.

The first byte is the type: `10` a negative number, `11` zero, `12` a positive one, `20` text, `30` false, `31` true,
`40` a date, `50` NaN. Numbers go on with the exponent and 64 bits of the mantissa, so that integers and floats compare
exactly; zeros at the end are left out, and negative ones are inverted. Text is UTF-8. Dates are eight bytes:
microseconds since 1970 UTC plus 2**63.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

from mlsdk.query.fields import number
from mlsdk.query.names import clean_text
from mlsdk.query.tree import Scalar

NAN = b"\x50"
TEXT = b"\x20"
AFTER_TEXT = b"\x21"

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_BIAS = 0x4000
_INFINITE = b"\xff\xff"


def encoded(value: Scalar) -> bytes:
    """A scalar as bytes.

    >>> encoded(0.5) < encoded(1) < encoded(2**63 - 1) < encoded("") < encoded("a") < encoded(False)
    True
    """
    if isinstance(value, str):
        return TEXT + clean_text(value).encode()
    if isinstance(value, bool):
        return b"\x31" if value else b"\x30"
    if isinstance(value, datetime):
        return b"\x40" + ((value - _EPOCH) // _MICROSECOND + 2**63).to_bytes(8, "big")
    if value != value:
        return NAN
    if not isinstance(value, float):
        value = number(value)
    if value == 0:
        return b"\x11"
    size = _size(value)
    return b"\x12" + size.rstrip(b"\0") if value > 0 else b"\x10" + _inverted(size)


def _size(value: float) -> bytes:
    """Of a number without its sign: exponent and mantissa."""
    if math.isinf(value):
        return _INFINITE
    if isinstance(value, int):
        exponent = value.bit_length()
        mantissa = abs(value) << (64 - exponent)
    else:
        fraction, exponent = math.frexp(abs(value))
        mantissa = int(fraction * 2**64)
    return (exponent + _BIAS).to_bytes(2, "big") + mantissa.to_bytes(8, "big")


def _inverted(data: bytes) -> bytes:
    return bytes(255 - byte for byte in data)


def decoded(data: bytes) -> Scalar:
    """The scalar that was encoded; a float that is a 64-bit integer comes back as that."""
    kind, rest = data[:1], data[1:]
    if kind == TEXT:
        return rest.decode()
    if kind in (b"\x30", b"\x31"):
        return kind == b"\x31"
    if kind == b"\x40":
        return _EPOCH + (int.from_bytes(rest, "big") - 2**63) * _MICROSECOND
    if kind == NAN:
        return math.nan
    if kind == b"\x11":
        return 0
    negative = kind == b"\x10"
    size = _inverted(rest) if negative else rest
    if size == _INFINITE:
        return -math.inf if negative else math.inf
    size = size.ljust(10, b"\0")
    exponent, mantissa = int.from_bytes(size[:2], "big") - _BIAS, int.from_bytes(size[2:], "big")
    whole = mantissa >> (64 - exponent) if 0 < exponent <= 64 else 0
    if 0 < exponent <= 64 and whole << (64 - exponent) == mantissa and (whole < 2**63 or (negative and whole == 2**63)):
        return -whole if negative else whole
    found = math.ldexp(mantissa, exponent - 64)
    return -found if negative else found
