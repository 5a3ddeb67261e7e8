"""Turning what people log into numbers that lose nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mlsdk.errors import MetricError, UsageError

Number = int | float
LARGEST_NAME = 10_000
_SIGNED, _UNSIGNED = range(-(2**63), 2**63), range(2**64)


def number(name: str, value: object) -> Number:
    """The Python number in `value`: itself, or the one in a numpy or torch scalar or one-element array.

    Raises:
        MetricError: not a number, or one that would lose precision.
    """
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        whole = int(value)
        if whole not in _SIGNED and whole not in _UNSIGNED:
            raise MetricError(
                f"metric {name!r}: {_short(value)} does not fit 64 bits; log float(...) of it if rounding is meant"
            )
        return whole
    if isinstance(value, (complex, str, bytes)) or value is None:
        raise MetricError(f"metric {name!r}: {_short(value)} is not a number; {_advice(value)}")
    return _from_scalar(name, value)


def kind_of(value: Number) -> str:
    """Kind of a number in a schema: `f` float, `i` signed, `u` beyond the signed range."""
    if isinstance(value, float):
        return "f"
    return "i" if value in _SIGNED else "u"


def _from_scalar(name: str, value: object) -> Number:
    size = _size(value)
    if size is not None and size != 1:
        raise MetricError(
            f"metric {name!r}: {type(value).__name__} of {size} elements is not one number; log a mean, or each by name"
        )
    item = getattr(value, "item", None)
    if size is not None and callable(item):
        inner = item()
        if type(inner) is not type(value):
            return number(name, inner)
    try:
        rounded = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise MetricError(f"metric {name!r}: {_short(value)} is not a number; {_advice(value)}") from None
    if rounded != value and rounded == rounded:
        raise MetricError(
            f"metric {name!r}: {_short(value)} would lose precision as a 64-bit float; log float(...) if that is meant"
        )
    return rounded


def _size(value: object) -> int | None:
    """Number of elements of an array-like; None for what is not one."""
    numel = getattr(value, "numel", None)
    size = numel() if callable(numel) else getattr(value, "size", None)
    return size if isinstance(size, int) else None


def _advice(value: object) -> str:
    if isinstance(value, complex):
        return "log its .real and .imag, or abs(...) of it"
    if isinstance(value, str):
        return "text belongs into run.set_tags(...) or run.log_params(...)"
    return "a metric is a float, an integer, or a scalar of numpy or torch"


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # a broken __repr__ must not hide the mistake
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."


def check_name(name: object) -> str:
    """A usable metric name.

    Raises:
        MetricError: not text, empty or too long.
    """
    if not isinstance(name, str):
        raise MetricError(f"a metric's name must be text, not {_short(name)}")
    if not name or len(name) > LARGEST_NAME:
        raise MetricError(f"a metric's name must have 1 to {LARGEST_NAME:,} characters, not {len(name):,}")
    return name


def together(values: object, named: dict[str, object]) -> dict[str, object]:
    """The metrics of one call, from its mapping and its keywords.

    Raises:
        UsageError: the first is no mapping.
    """
    try:
        return {**values, **named}  # type: ignore[dict-item]
    except TypeError:
        raise UsageError(
            f"log takes names with numbers, such as log(loss=0.5) or log({{'loss': 0.5}}), not {_short(values)}"
        ) from None


def flatten(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Leaves of nested mappings by path: `{"train": {"loss": 1}}` is `train/loss`."""
    for key, value in values.items():
        name = prefix + check_name(key)
        if isinstance(value, Mapping):
            yield from flatten(value, name + "/")
        else:
            yield name, value


def integer_step(step: object) -> int:
    """A step as a whole number of 64 bits.

    Raises:
        MetricError: something else.
    """
    try:
        whole = step.__index__()  # type: ignore[attr-defined]
    except AttributeError:
        raise MetricError(
            f"step must be a whole number, not {_short(step)}; log an epoch as a metric of its own"
        ) from None
    if not isinstance(whole, int) or whole not in _SIGNED:
        raise MetricError(f"step must fit 64 bits, not {_short(step)}")
    return whole
