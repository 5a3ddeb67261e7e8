"""A value that a function reads, as a fact: small plain ones as they are, others by type and, where cheap, digest."""

from __future__ import annotations

from mlsdk.log.standins import type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SCALARS = frozenset((type(None), bool, int, float, complex))
_LONGEST = 200
"""Characters or bytes that are kept as they are."""
_MOST_ITEMS = 20
_DEEPEST = 3
_DIGEST_BYTES = 1_000_000
"""Longer ones are told apart by their length alone: digesting them before each run would take too long."""


def ids_of(*kinds: type) -> frozenset[int]:
    """To ask whether a type is one of these: a type itself may have a metaclass that forbids its hash."""
    return frozenset(map(id, kinds))


def plain(value: Any, depth: int = 0) -> object:
    """The value itself where it is small and plain, else a mapping with `type` and `digest`, `size` or `shape`.

    Example:
        >>> plain((1, "a")), plain(object)
        ((1, 'a'), {'type': 'builtins.type'})
    """
    try:
        return _plain(value, type(value), depth)
    except Exception:  # another thread changes it, or a class of the user's raises
        return {"type": type_name(type(value))}


def _plain(value: Any, kind: type, depth: int) -> object:
    if kind in _SCALARS or (kind in {str, bytes} and len(value) <= _LONGEST):
        return value
    if kind in {tuple, list, dict} and len(value) <= _MOST_ITEMS and depth < _DEEPEST:
        if kind is not dict:
            items = [plain(item, depth + 1) for item in value]
            return tuple(items) if kind is tuple else items
        if all(type(key) is str for key in value):
            return {key: plain(item, depth + 1) for key, item in tuple(value.items())}
    described: dict[str, object] = {"type": f"{kind.__module__}.{kind.__qualname__}"}
    if kind in {str, bytes, bytearray}:
        described["size"] = len(value)
        if len(value) <= _DIGEST_BYTES:
            described["digest"] = _digest(value.encode("utf-8", "surrogatepass") if kind is str else value)
    elif kind in {tuple, list, dict, set, frozenset}:
        described["size"] = len(value)
    elif kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        described.update(shape=list(value.shape), dtype=str(value.dtype))
        if value.nbytes <= _DIGEST_BYTES and not value.dtype.hasobject:
            described["digest"] = _digest(value.tobytes())
    return described


def _digest(data: Any) -> str:
    try:
        from _blake2 import blake2b
    except ImportError:  # a Python built without it
        from hashlib import blake2b
    found: str = blake2b(data, digest_size=8).hexdigest()
    return found
