r"""Values of facts as strict JSON, with a published tagging for what JSON does not have.

None, booleans, integers to ±2**53, finite floats, text, lists and dicts with text keys are themselves. All else is an
object whose key "$" names the type::

    {"$": "float", "v": "nan"}                      also inf, -inf
    {"$": "int", "v": "9223372036854775807"}        beyond ±2**53; hexadecimal (0x…) beyond 2048 bits
    {"$": "str", "v": "a\\udc80"}                   text with lone surrogates, escaped as in a Python literal
    {"$": "tuple", "v": [...]}                      also set, frozenset (their elements ordered by their JSON)
    {"$": "bytes", "v": base64}
    {"$": "path", "v": text, "windows": true}       `windows` only for paths of Windows
    {"$": "date", "v": ISO 8601}                    also datetime (aware: with its offset), time
    {"$": "timedelta", "v": [days, seconds, microseconds]}
    {"$": "complex", "v": [real, imaginary]}
    {"$": "decimal", "v": text}                     also fraction ("3/4"), uuid
    {"$": "enum", "type": class, "name": member, "v": value}
    {"$": "map", "v": [[key, value], ...]}          a dict with other keys than text, or with a key "$"
    {"$": "object", "type": class, "v": fields}     dataclass, attrs, pydantic, namedtuple, Namespace, estimator
    {"$": "described", "type": class, "text": text}
    {"$": "blob", "sha256": digest, "size": bytes, "start": text}

An object with "$" that is none of these, a newer version's perhaps, is read as it stands. Classes are never imported
when reading: `mlsdk.log.standins` says what comes in their place. Subclasses of dict, list, str and so on become the
plain type, numpy's scalars Python's numbers; a datetime keeps its offset, not the name of its zone.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from math import isfinite

from mlsdk.errors import FormatError
from mlsdk.log import standins
from mlsdk.log.standins import Described, EnumValue, Fields, LongValue, is_instance, printable, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = ["Described", "EnumValue", "Fields", "LongValue", "decode", "dumps", "encode", "loads"]

MAX_DEPTH = 64
"""Deeper containers are described."""
MAX_ITEMS = 10_000
"""Containers of more elements are described."""
MAX_NODES = 100_000
"""Elements that one value may have in all its levels; what comes after them is described."""

_EXACT = 2**53
_NOT_FINITE = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
_SCALARS = (bool, int, float, complex, str, bytes)


def encode(value: Any) -> Any:
    """The value as JSON can hold it; what cannot be a value is described. Never raises.

    The result shares nothing mutable with the value: call it at once where a later change must not show.

    Example:
        >>> encode({"lr": 0.1, "shape": (3, 4)})
        {'lr': 0.1, 'shape': {'$': 'tuple', 'v': [3, 4]}}
    """
    return _encode(value, _Walk())


def decode(json_value: Any) -> Any:
    """What `encode` was given, or its stand-in. A tag that is malformed or unknown comes back as it stands.

    Example:
        >>> decode({"$": "tuple", "v": [3, 4]})
        (3, 4)
    """
    try:
        return _decode(json_value)
    except RecursionError:
        return json_value


def dumps(json_value: Any) -> bytes:
    """Strict, compact JSON in UTF-8 of what `encode` returned, or of facts around it.

    Lone surrogates outside encoded values (in a name, say) are written as JSON escapes.

    Raises:
        ValueError, TypeError: it holds NaN, an infinity or an object that JSON does not have: `encode` it first.
    """
    text = _WRITE(json_value)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(json_value, allow_nan=False, separators=(",", ":")).encode()


def loads(data: bytes | bytearray | memoryview) -> Any:
    """Read strict JSON; the values in it still want `decode`.

    Raises:
        FormatError: the bytes are not UTF-8, or not strict JSON.
    """
    try:
        return _READ(str(data, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not strict JSON: {error}; it begins with {bytes(data[:40])!r}") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_WRITE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode
_READ = json.JSONDecoder(parse_constant=_refuse).decode


class _Walk:
    """Where an encoding is: the containers it is inside of, and how many elements it may still visit."""

    __slots__ = ("inside", "left")

    def __init__(self) -> None:
        self.inside: set[int] = set()
        self.left = MAX_NODES


def _encode(value: Any, walk: _Walk) -> Any:
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _encode_text(value)
    if kind is float:
        return value if isfinite(value) else {"$": "float", "v": repr(value)}
    if kind is int:
        return value if -_EXACT <= value <= _EXACT else _encode_int(value)
    if value is None or kind is bool:
        return value
    if id(value) in walk.inside or len(walk.inside) >= MAX_DEPTH:
        return _describe(value)
    walk.inside.add(id(value))
    try:
        return _ENCODERS.get(kind, _encode_other)(value, walk)
    except Exception:  # a property, a repr or an iterator of the user's that raises must not stop the training
        return _describe(value)
    finally:
        walk.inside.discard(id(value))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _standard(module: str, name: str) -> Any:
    """A class or function of the standard library, imported when it is first needed."""
    return getattr(__import__(module), name)


def _encode_text(value: str) -> Any:
    return value if _is_unicode(value) else {"$": "str", "v": value.encode("unicode_escape").decode("ascii")}


def _encode_int(value: int) -> Any:
    # Python refuses to write or read very long decimal numbers (640 digits may be the limit)
    return {"$": "int", "v": str(value) if value.bit_length() <= 2048 else hex(value)}


def _describe(value: Any, _: object = None) -> Any:
    thing = value if type(value) is Described else standins.describe(value)
    return {"$": "described", "type": printable(thing.type_name), "text": printable(thing.text)}


def _fits(value: Any, walk: _Walk) -> bool:
    walk.left -= len(value)
    return len(value) <= MAX_ITEMS and walk.left >= 0


def _encode_dict(value: Any, walk: _Walk) -> Any:
    if not _fits(value, walk):
        return _describe(value)
    items = list(value.items())  # another thread may change it
    for key, _ in items:
        if type(key) is not str or key == "$" or not (key.isascii() or _is_unicode(key)):
            return {"$": "map", "v": [[_encode(key, walk), _encode(item, walk)] for key, item in items]}
    return {key: _encode(item, walk) for key, item in items}


def _encode_list(value: Any, walk: _Walk) -> Any:
    return [_encode(item, walk) for item in value] if _fits(value, walk) else _describe(value)


def _encode_tuple(value: Any, walk: _Walk) -> Any:
    items = _encode_list(value, walk)
    return {"$": "tuple", "v": items} if type(items) is list else items


def _encode_set(value: Any, walk: _Walk) -> Any:
    items = _encode_list(value, walk)
    kind = "frozenset" if isinstance(value, frozenset) else "set"
    return {"$": kind, "v": sorted(items, key=_WRITE)} if type(items) is list else items


def _encode_bytes(value: Any, _: _Walk) -> Any:
    return {"$": "bytes", "v": _standard("base64", "b64encode")(value).decode("ascii")}


def _encode_complex(value: complex, walk: _Walk) -> Any:
    return {"$": "complex", "v": [_encode(float(value.real), walk), _encode(float(value.imag), walk)]}


def _encode_object(name: str, fields: Iterable[tuple[Any, Any]], walk: _Walk) -> Any:
    encoded = _encode_dict(dict(fields), walk)
    if encoded.get("$") == "described":  # too many
        return {**encoded, "type": printable(name)}
    return {"$": "object", "type": printable(name), "v": encoded}


def _encode_enum(value: EnumValue, walk: _Walk) -> Any:
    return {"$": "enum", "type": printable(value.type), "name": printable(value.name), "v": _encode(value.value, walk)}


def _encode_blob(value: LongValue, _: _Walk) -> Any:
    return {"$": "blob", "sha256": value.digest, "size": value.size_bytes, "start": printable(value.start)}


_ENCODERS: dict[type, Callable[[Any, _Walk], Any]] = {
    dict: _encode_dict,
    list: _encode_list,
    tuple: _encode_tuple,
    set: _encode_set,
    frozenset: _encode_set,
    bytes: _encode_bytes,
    bytearray: _encode_bytes,
    complex: _encode_complex,
    EnumValue: _encode_enum,
    Described: _describe,
    LongValue: _encode_blob,
    Fields: lambda value, walk: _encode_object(value.type_name, value.items(), walk),
}


def _encode_other(value: Any, walk: _Walk) -> Any:
    kind = type(value)
    if isinstance(value, type):
        return _describe(value)
    if is_instance(value, "enum", "Enum"):
        return _encode_enum(EnumValue(type_name(kind), standins.enum_name(value), value.value), walk)
    if is_instance(value, "numpy", "generic") or (hasattr(kind, "dtype") and value.shape == ()):
        item = value.item()
        whole = type(item) in _SCALARS and str(value.dtype)[:8] not in ("datetime", "timedelt")
        return _encode(item, walk) if whole else _describe(value)
    for plain, bare in _BARE:
        if isinstance(value, plain):
            return _encode(bare(value), walk)
    for module, name, encoder in _STANDARD:
        if is_instance(value, module, name):
            return encoder(value)
    fields = standins.fields_of(value)
    if fields is not None:
        return _encode_object(type_name(kind), fields, walk)
    for module, name, encode_like in _COLLECTIONS:
        if is_instance(value, module, name):
            return encode_like(value, walk)
    return _describe(value)


def _encode_path(value: Any) -> Any:
    tag = {"$": "path", "v": _encode_text(str(value))}
    return {**tag, "windows": True} if is_instance(value, "pathlib", "PureWindowsPath") else tag


def _encode_time(value: Any) -> Any:
    # pandas: finer than can be said, or not a time
    if getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0) or repr(value) == "NaT":
        return _describe(value)
    if is_instance(value, "datetime", "timedelta"):
        return {"$": "timedelta", "v": [value.days, value.seconds, value.microseconds]}
    if is_instance(value, "datetime", "datetime"):
        return {"$": "datetime", "v": _standard("datetime", "datetime").isoformat(value)}
    return {"$": "date" if hasattr(value, "year") else "time", "v": value.isoformat()}


def _encode_as(tag: str, value: Any) -> Any:
    return {"$": tag, "v": str(value)}


_TEXT = {"decimal": ("decimal", "Decimal"), "fraction": ("fractions", "Fraction"), "uuid": ("uuid", "UUID")}
_BARE: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),  # these look past whatever methods a subclass has
    (int, int.__index__),
    (float, float.__float__),
    (complex, complex),
    (bytes, bytes),
)
_STANDARD: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("pathlib", "PurePath", _encode_path),
    ("datetime", "date", _encode_time),  # datetime is a subclass
    ("datetime", "time", _encode_time),
    ("datetime", "timedelta", _encode_time),
    *((module, name, partial(_encode_as, tag)) for tag, (module, name) in _TEXT.items()),
)
_COLLECTIONS: tuple[tuple[str, str, Callable[[Any, _Walk], Any]], ...] = (
    ("_collections_abc", "Mapping", _encode_dict),
    ("_collections_abc", "Set", _encode_set),
    ("builtins", "list", _encode_list),
    ("builtins", "tuple", _encode_tuple),
    ("collections", "deque", _encode_list),
)


def _decode(value: Any) -> Any:
    if type(value) is dict:
        if "$" not in value:
            return {key: _decode(item) for key, item in value.items()}
        try:
            return _DECODERS[value["$"]](value)
        except RecursionError:
            raise
        except Exception:  # a malformed tag is read as it stands, so nothing of it is hidden
            return value
    if type(value) is list:
        return [_decode(item) for item in value]
    return value


def _str(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _list(tag: dict[str, Any]) -> list[Any]:
    if type(tag["v"]) is not list:
        raise TypeError
    return [_decode(item) for item in tag["v"]]


def _decode_set(tag: dict[str, Any]) -> Any:
    items = _list(tag)
    try:
        return (frozenset if tag["$"] == "frozenset" else set)(items)
    except TypeError:  # a frozen dataclass comes back as Fields, which no set can hold
        return items


def _decode_map(tag: dict[str, Any]) -> Any:
    pairs = [(_decode(key), _decode(item)) for key, item in tag["v"]]
    try:
        return dict(pairs)
    except TypeError:  # keys that stand-ins cannot be
        return pairs


def _decode_path(tag: dict[str, Any]) -> Any:
    import pathlib

    windows = tag.get("windows") is True
    foreign = pathlib.PureWindowsPath if windows else pathlib.PurePosixPath
    return (pathlib.Path if windows == (sys.platform == "win32") else foreign)(_str(_decode(tag["v"])))


def _decode_time(tag: dict[str, Any]) -> Any:
    return _standard("datetime", tag["$"]).fromisoformat(_str(tag["v"]))


def _decode_object(tag: dict[str, Any]) -> Fields:
    fields = _decode(tag["v"])
    if type(fields) is not dict:
        raise TypeError
    return Fields(_str(tag["type"]), fields)


_DECODERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "float": lambda tag: _NOT_FINITE[tag["v"]],
    "int": lambda tag: int(_str(tag["v"]), 0),
    "str": lambda tag: _str(tag["v"]).encode("ascii").decode("unicode_escape"),
    "tuple": lambda tag: tuple(_list(tag)),
    "set": _decode_set,
    "frozenset": _decode_set,
    "bytes": lambda tag: _standard("base64", "b64decode")(_str(tag["v"]), validate=True),
    "path": _decode_path,
    "date": _decode_time,
    "datetime": _decode_time,
    "time": _decode_time,
    "timedelta": lambda tag: _standard("datetime", "timedelta")(*_list(tag)),
    "complex": lambda tag: complex(*_list(tag)),
    "decimal": lambda tag: _standard(*_TEXT["decimal"])(_str(tag["v"])),
    "fraction": lambda tag: _standard(*_TEXT["fraction"])(_str(tag["v"])),
    "uuid": lambda tag: _standard(*_TEXT["uuid"])(_str(tag["v"])),
    "enum": lambda tag: EnumValue(_str(tag["type"]), _str(tag["name"]), _decode(tag["v"])),
    "map": _decode_map,
    "object": _decode_object,
    "described": lambda tag: Described(_str(tag["type"]), _str(tag["text"])),
    "blob": lambda tag: LongValue(_str(tag["sha256"]), tag["size"], _str(tag["start"])),
}
