"""What stands in a read run for a value whose own class is not there, or that is not a value at all.

A run is read on machines that have neither the code nor the packages of the training: an enum member comes back as
`EnumValue`, a configuration object as `Fields`, an array or an open file as `Described`, and something too long to be
kept among the facts as `LongValue`. Writing a stand-in again gives the same bytes.
"""

from __future__ import annotations

import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

MAX_TEXT = 1_000
"""Longest description, in characters."""

_PLAIN = (str, int, float, bool, type(None), bytes, complex)


class _StandIn:
    """Equality, hash and repr over the slots."""

    __slots__: tuple[str, ...] = ()

    def _key(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


class EnumValue(_StandIn):
    """A member of an enum, known without its class.

    Equal to a real member whose class has the same `type_name` and whose name is the same, so that a program which has
    the class can compare: `run.params["mode"] == Mode.FAST`.

    Attributes:
        type: name of the enum class, as `type_name` gives it.
        name: name of the member.
        value: its value.
    """

    __slots__ = ("name", "type", "value")
    type: str
    name: str
    value: object

    def __init__(self, type: str, name: str, value: object) -> None:
        self.type, self.name, self.value = type, name, value

    def __eq__(self, other: object) -> bool:
        if type(other) is EnumValue:
            return (self.type, self.name) == (other.type, other.name)
        enum = sys.modules.get("enum")
        if enum is not None and isinstance(other, enum.Enum):
            return (self.type, self.name) == (type_name(type(other)), enum_name(other))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)  # as enum.Enum does

    def __str__(self) -> str:
        return f"{self.type.rpartition('.')[2]}.{self.name}"


class Described(_StandIn):
    """Something that cannot be a value, in words: an array, a function, an open connection.

    Attributes:
        type_name: name of its class.
        text: what could be said about it, at most `MAX_TEXT` characters, without memory addresses.
    """

    __slots__ = ("text", "type_name")
    type_name: str
    text: str

    def __init__(self, type_name: str, text: str) -> None:
        self.type_name, self.text = type_name, text

    def __str__(self) -> str:
        return self.text


class LongValue(_StandIn):
    """A value too long for the facts; its encoded JSON lies in a blob.

    Attributes:
        digest: SHA-256 of the blob, 64 hexadecimal characters.
        size_bytes: length of the blob.
        start: how the value begins, for people.
    """

    __slots__ = ("digest", "size_bytes", "start")
    digest: str
    size_bytes: int
    start: str

    def __init__(self, digest: str, size_bytes: int, start: str) -> None:
        self.digest, self.size_bytes, self.start = digest, size_bytes, start

    def __str__(self) -> str:
        return f"{self.start}… ({self.size_bytes:,} bytes)"


class Fields(dict[str, object]):
    """The fields of a dataclass, attrs or pydantic object, a namedtuple, a Namespace or an estimator's params.

    A dict in every respect, and equal to a plain one of the same fields.

    Attributes:
        type_name: name of the class.
    """

    type_name: str

    def __init__(self, type_name: str, fields: Mapping[str, object] | Iterable[tuple[str, object]] = ()) -> None:
        super().__init__(fields)
        self.type_name = type_name

    def __repr__(self) -> str:
        return f"{self.type_name}({', '.join(f'{name}={value!r}' for name, value in self.items())})"


# Asked of `type` itself: a metaclass of the user's may raise.
_MODULE, _QUALNAME = type.__dict__["__module__"].__get__, type.__dict__["__qualname__"].__get__


def type_name(kind: type) -> str:
    """`package.module.Class`; without the module for builtins and for the main script."""
    module, name = _MODULE(kind), str(_QUALNAME(kind))
    full = name if not isinstance(module, str) or module in ("builtins", "__main__") else f"{module}.{name}"
    return printable(full)


def enum_name(member: Any) -> str:
    """The name of a member; of a combination of flags, their names, which Python before 3.11 does not put together."""
    name = member.name
    if name is None:
        name = "|".join(flag.name for flag in type(member) if flag.value and flag in member)
    return printable(name or str(member.value))


def printable(text: str) -> str:
    """The text with lone surrogates, which no file can hold, written as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def is_instance(value: Any, module: str, name: str) -> bool:
    """Is it an instance of a class whose module, if nobody imported it, need not be imported to say no?"""
    return isinstance(value, getattr(in_use(module), name, ()))


def in_use(module: str) -> Any:
    """A module that is loaded, else None: also of one that `importlib.util.LazyLoader` loads when it is asked."""
    found = sys.modules.get(module)
    return None if type(found).__name__ == "_LazyModule" else found


def fields_of(value: Any) -> list[tuple[str, Any]] | None:
    """Names and values of an object that is a bundle of settings; None for another."""
    kind: Any = type(value)
    names: Iterable[str] | None = None
    if hasattr(kind, "__dataclass_fields__"):
        names = [field.name for field in sys.modules["dataclasses"].fields(value)]
    elif hasattr(kind, "__attrs_attrs__"):
        names = [field.name for field in kind.__attrs_attrs__]
    elif hasattr(kind, "model_dump") and hasattr(kind, "model_fields"):
        names = [*kind.model_fields, *(getattr(value, "__pydantic_extra__", None) or ())]
    elif isinstance(value, tuple) and hasattr(kind, "_fields"):
        names = kind._fields
    elif is_instance(value, "argparse", "Namespace") or is_instance(value, "types", "SimpleNamespace"):
        names = list(vars(value))
    elif hasattr(kind, "get_params") and not is_instance(value, "_collections_abc", "Mapping"):
        return list(value.get_params(deep=False).items())
    return None if names is None else [(name, getattr(value, name)) for name in names if hasattr(value, name)]


def describe(value: Any) -> Described:
    """Say what a thing is, in at most `MAX_TEXT` characters; never raises.

    Example:
        >>> describe(len)
        Described(text='len', type_name='builtin_function_or_method')
    """
    try:
        text = _text(value)
    except Exception as error:  # a repr is a stranger's code; what it raised stands in the description
        text = f"<cannot be shown: its repr raised {type(error).__name__}>"
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", printable(text[: 2 * MAX_TEXT]))
    return Described(type_name(type(value)), shortened(text))


def shortened(text: str) -> str:
    """The text, cut with an ellipsis at `MAX_TEXT` characters."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _text(value: Any) -> str:
    kind = type(value)
    if isinstance(value, type):
        return type_name(value)
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        return _beginning(value)
    if kind.__name__ == "module":
        return str(value.__name__)
    if hasattr(kind, "shape"):
        if hasattr(kind, "columns") or hasattr(kind, "column_names"):
            return _frame(value)
        if hasattr(kind, "dtype"):
            return _array(value)
    if callable(value) and isinstance(getattr(value, "__qualname__", None), str):
        module = getattr(value, "__module__", None)
        return value.__qualname__ if module in (None, "builtins") else f"{module}.{value.__qualname__}"
    return repr(value)


def _beginning(value: Any) -> str:
    """Length and first elements, looking no deeper: the thing may be endless or contain itself."""
    pairs = isinstance(value, dict)
    shown: list[str] = []
    for item in value.items() if pairs else value:
        if len(shown) == 10:
            shown.append("…")
            break
        shown.append(": ".join(map(_short, item)) if pairs else _short(item))
    return f"{type(value).__name__} of {len(value):,}: {', '.join(shown)}"


def _short(item: object) -> str:
    if type(item) in _PLAIN:
        long = isinstance(item, (str, bytes)) and len(item) > 80
        return f"{item[:80]!r}…" if long and isinstance(item, (str, bytes)) else repr(item)
    return type_name(type(item))


def _array(value: Any) -> str:
    text = f"{value.dtype} {tuple(value.shape)}"
    # only numpy's own: another library's values may have to be fetched from a device
    return f"{text} {value.tolist()}" if type(value).__module__ == "numpy" and value.size <= 16 else text


def _frame(value: Any) -> str:
    columns = list(value.columns if hasattr(value, "columns") else ())
    if columns and not isinstance(columns[0], (str, int, tuple)):  # pyarrow: `columns` are the data
        columns = list(value.column_names)
    names = [str(name) for name in columns[:20]] + (["…"] if len(columns) > 20 else [])
    return f"{tuple(value.shape)} columns {', '.join(names)}"
