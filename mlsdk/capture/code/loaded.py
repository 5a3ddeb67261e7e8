"""The functions that a tracked function can reach in memory: digests of their code, values of what they read.

The walk goes by the names in code objects. It finds more than the function can really reach (an attribute that is
called like a global name is taken for it), never less by name: what counts is decided later, from the sources. What it
knows is kept for the process and looked over at the next run: a name that means another object makes it walk again.
"""

from __future__ import annotations

import sys
from types import CodeType, FunctionType, MethodType, ModuleType

from mlsdk.capture.code.plain import ids_of, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_OF_CODE_FLAGS = ~0x4000000  # CO_HAS_DOCSTRING: a docstring may come and go
_OPTIMIZED = 0x1
_NOTHING = object()
_MODULE = type.__dict__["__module__"].__get__  # asked of `type` itself: a metaclass of the user's may raise
_CONTAINERS = ids_of(dict, list, tuple, set, frozenset)
_MOST_ITEMS = 200
"""Members of a container that are looked at for functions."""

_digests: dict[int, tuple[CodeType, str]] = {}
_names: dict[int, tuple[CodeType, frozenset[str]]] = {}


def code_digest(code: CodeType) -> str:
    """What a code object does, in 16 hexadecimal digits: equal for one compiled afresh from the same source.

    File names, line numbers, docstrings and what the interpreter has learned while running do not count. Digests of
    different versions of Python differ.

    Example:
        >>> one, two = (compile("x = 1", name, "exec") for name in ("a.py", "b.py"))
        >>> code_digest(one) == code_digest(two)
        True
    """
    try:
        from _blake2 import blake2b
    except ImportError:  # a Python built without it
        from hashlib import blake2b
    text = repr(
        (
            code.co_name,
            code.co_argcount,
            code.co_posonlyargcount,
            code.co_kwonlyargcount,
            code.co_flags & _OF_CODE_FLAGS,
            code.co_code,
            code.co_names,
            code.co_varnames,
            code.co_freevars,
            code.co_cellvars,
            getattr(code, "co_exceptiontable", b""),
            [_constant(value) for value in _constants(code)],
        )
    )
    found: str = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return found


def _constants(code: CodeType) -> tuple[object, ...]:
    """The constants of a code object but for its docstring."""
    values = code.co_consts
    may_have = code.co_flags & _OPTIMIZED and values and type(values[0]) is str and code.co_name[:1] != "<"
    if may_have and (sys.version_info < (3, 14) or code.co_flags & ~_OF_CODE_FLAGS):
        return (None, *values[1:])
    return values


def _constant(value: Any) -> object:
    kind = type(value)
    if kind is CodeType:
        return code_digest(value)
    if kind is tuple:
        return tuple(map(_constant, value))
    if kind is frozenset:  # in whatever order it was made
        return "frozenset", sorted(repr(_constant(item)) for item in value)
    if kind is int:  # the decimal digits of a long one may be refused
        return hex(value)
    return value if kind in {str, bytes, float, bool, complex} or value is None else repr(value)


def _known_digest(code: CodeType) -> str:
    known = _digests.get(id(code))
    if known is None:
        known = _digests[id(code)] = code, code_digest(code)  # the code is kept: its id is not given to another
    return known[1]


def names_in(code: CodeType) -> frozenset[str]:
    """Names of globals and of attributes in a code object and those within it."""
    known = _names.get(id(code))
    if known is None:
        found = set(code.co_names)
        for value in code.co_consts:
            if type(value) is CodeType:
                found |= names_in(value)
        known = _names[id(code)] = code, frozenset(found)
    return known[1]


class Loaded:
    """What was found in memory, from some roots.

    Args:
        modules: names of the project's modules.
    """

    def __init__(self, modules: Mapping[str, object]) -> None:
        self.modules = modules
        self.functions: dict[str, str] = {}
        """By "module:qualified.name", the digest of the code; digests, where several functions have the name."""
        self.bound: dict[str, list[str]] = {}
        """By place, what was found there under another name; by place and `()`, what a function brings along."""
        self.values: dict[str, object] = {}
        self._seen: set[int] = set()
        self._keep: list[object] = []
        self._looked: set[tuple[int, int]] = set()
        self._guards: list[tuple[Any, str, object]] = []
        self._codes: list[tuple[FunctionType, CodeType]] = []
        self._readings: list[tuple[Any, str, str, tuple[int, ...]]] = []

    def add(self, value: object, place: str) -> None:
        """Walk from an object, found under a place."""
        self._look(value, place, 0)

    def add_code(self, code: CodeType, namespace: dict[str, Any]) -> str | None:
        """Walk from code that runs, and whose function is not known; the place that it is the code of, if that is."""
        module = module_named(namespace.get("__name__"))
        if module not in self.modules:
            return None
        self._named(code, namespace, module)
        if code.co_name == "<module>":
            return f"{module}:<module>"
        function = namespace.get(code.co_name)
        if sys.version_info >= (3, 11):
            name = code.co_qualname
        elif type(function) is FunctionType and function.__code__ is code:
            name = function.__qualname__
        else:  # a method, or lies within another function
            return None
        self.functions[f"{module}:{name}"] = _known_digest(code)
        return f"{module}:{name}"

    def still_holds(self) -> bool:
        """Whether all names mean what they did; the values are read again."""
        for namespace, name, value in self._guards:
            if namespace.get(name, _NOTHING) is not value:
                return False
        for function, code in self._codes:
            if function.__code__ is not code:
                return False
        for namespace, name, place, members in self._readings:
            value = namespace.get(name, _NOTHING)
            kind = type(value)
            if id(kind) in _WALKED or issubclass(kind, type):
                return False
            if (members or id(kind) in _CONTAINERS) and _members(value) != members:
                return False
            self.values[place] = plain(value)
        return True

    def _look(self, value: object, place: str, depth: int) -> None:
        kind = type(value)
        try:
            if kind is FunctionType:
                self._function(value, place)  # type: ignore[arg-type]  # `kind` is its type
            elif issubclass(kind, type):  # `isinstance` would ask the object, which may be a proxy that raises
                self._class(value, place)  # type: ignore[arg-type]  # `kind` is its type
            elif kind is MethodType:
                self._look(value.__func__, place, depth)  # type: ignore[attr-defined]
                self._look(value.__self__, place, depth + 1)  # type: ignore[attr-defined]
            elif id(kind) in _CONTAINERS and depth < 3:
                for item in _items(value):
                    if id(type(item)) not in _PLAIN:
                        self._look(item, place, depth + 1)
            elif depth < 5:
                self._object(value, kind, place, depth)
        except Exception:  # a metaclass of the user's may raise at any question; its class is left to the sources
            return

    def _object(self, value: Any, kind: type, place: str, depth: int) -> None:
        """A wrapper of a function (partial, property, cached function), or an object of a class of the project."""
        if module_of(kind) in self.modules:
            self._class(kind, place)
        for attribute in _WRAPPING.get(kind.__name__, ("__wrapped__",)):
            try:
                inner = object.__getattribute__(value, attribute)
            except Exception:  # most objects wrap nothing, and an odd one may raise anything
                continue
            if inner is not None and inner is not value:
                self._look(inner, place, depth + 1)

    def _function(self, function: FunctionType, place: str) -> None:
        namespace, code = function.__globals__, function.__code__
        module = module_named(namespace.get("__name__"))
        wrapped = function.__dict__.get("__wrapped__")
        if module in self.modules:
            name = _qualified(function, wrapped is not None)
            here = f"{module}:{name}"
            if here != place or place in self.bound:  # the latter: it lies within what was put in its place
                self._bind(place, here)
            if id(function) in self._seen:
                return
            self._remember(function)
            self._codes.append((function, code))
            found = _known_digest(code)
            before = self.functions.get(here, "")
            if found not in before:
                self.functions[here] = f"{before} {found}".lstrip()
            self._named(code, namespace, module)
            self._inside(function, f"{_owner(here)}()")
        elif id(function) not in self._seen and (wrapped is not None or function.__closure__):
            self._remember(function)
            self._inside(function, place)
        if wrapped is not None:
            self._look(wrapped, place, 1)

    def _inside(self, function: FunctionType, here: str) -> None:
        """The values that a function brings along: of its closure and its defaults."""
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            try:
                value = cell.cell_contents
            except ValueError:  # still empty
                continue
            if id(type(value)) not in _WALKED and name != "__class__" and here.endswith("()"):
                self.values[f"{here[:-2]}.{name}"] = plain(value)
            self._look(value, here, 1)
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            if id(type(value)) not in _PLAIN:
                self._look(value, here, 1)

    def _class(self, cls: type, place: str) -> None:
        module = module_of(cls)
        if module not in self.modules:
            return
        here = f"{module}:{cls.__qualname__}"
        if here != place:
            self._bind(place, here)
        if id(cls) in self._seen:
            return
        self._remember(cls)
        for name, value in tuple(cls.__dict__.items()):
            if id(type(value)) in _PLAIN or name in _OF_EVERY_CLASS or _is_generated(cls, value):
                continue
            self._guards.append((cls.__dict__, name, value))
            self._look(value, f"{here}.{name}", 1)
        for base in cls.__mro__[1:]:
            self._class(base, f"{here}()")

    def _named(self, code: CodeType, namespace: dict[str, Any], module: str) -> None:
        for name in names_in(code):
            value = namespace.get(name, _NOTHING)
            if value is _NOTHING:
                self._imported_inside(name, namespace, code)
            else:
                self._place(namespace, name, value, module, code)

    def _place(self, namespace: dict[str, Any], name: str, value: object, module: str, code: CodeType) -> None:
        """Look at what a global name means; what a module's attributes mean, too."""
        place = f"{module}:{name}"
        kind = type(value)
        if issubclass(kind, ModuleType):
            self._guards.append((namespace, name, value))
            self._attributes(value, code)  # type: ignore[arg-type]  # `kind` is its type
        elif id(kind) in _WALKED or issubclass(kind, type):
            self._guards.append((namespace, name, value))
            self._look(value, place, 0)
        elif name[:2] != "__" and place not in self.values:
            self._readings.append((namespace, name, place, _members(value)))
            self.values[place] = plain(value)
            self._look(value, place, 1)

    def _attributes(self, module: ModuleType, code: CodeType) -> None:
        inner = module.__dict__
        name = module_named(inner.get("__name__"))
        if name not in self.modules or (id(module), id(code)) in self._looked:
            return
        self._looked.add((id(module), id(code)))
        for attribute in names_in(code):
            value = inner.get(attribute, _NOTHING)
            if value is not _NOTHING:
                self._place(inner, attribute, value, name, code)

    def _imported_inside(self, name: str, namespace: dict[str, Any], code: CodeType) -> None:
        """A name that is no global one may be a module that the function itself imports."""
        package = namespace.get("__package__") or ""
        while True:
            full = f"{package}.{name}" if package else name
            if full in self.modules and type(sys.modules.get(full)) is ModuleType:
                self._attributes(sys.modules[full], code)
            if not package:
                return
            package = package.rpartition(".")[0]

    def _bind(self, place: str, here: str) -> None:
        known = self.bound.setdefault(place, [])
        if here not in known:
            known.append(here)

    def _remember(self, value: object) -> None:
        self._seen.add(id(value))
        self._keep.append(value)


def module_named(name: object) -> str:
    """A module's name; a worker that multiprocessing has spawned calls its main module otherwise."""
    return "__main__" if name == "__mp_main__" else str(name)


def module_of(cls: type) -> str:
    """The module that a class says it is of."""
    return module_named(_MODULE(cls))


def _qualified(function: FunctionType, wraps: bool) -> str:
    """The name under which a function was defined, though it may bear the name of one that it wraps."""
    if sys.version_info >= (3, 11):
        return function.__code__.co_qualname
    return f"?.{function.__code__.co_name}" if wraps else function.__qualname__


def _is_generated(cls: type, value: object) -> bool:
    """Whether a method was written by `dataclasses`, from what the class's own source says."""
    is_method = type(value) is FunctionType and "__dataclass_fields__" in cls.__dict__
    return is_method and value.__code__.co_filename == "<string>"  # type: ignore[attr-defined]  # it is a function


def _owner(place: str) -> str:
    """What lies within a function belongs to it."""
    return place.partition(".<locals>")[0]


def _items(container: Any) -> Iterable[object]:
    if len(container) > _MOST_ITEMS:
        return ()
    try:
        return tuple(container.values()) if type(container) is dict else tuple(container)
    except RuntimeError:  # another thread changes it
        return ()


def _members(value: object) -> tuple[int, ...]:
    """Identities of the functions and objects in a container, so that a new one is seen."""
    if id(type(value)) not in _CONTAINERS:
        return ()
    return tuple(id(item) for item in _items(value) if id(type(item)) not in _PLAIN)


_WALKED = ids_of(FunctionType, MethodType, ModuleType, type)
_OF_EVERY_CLASS = frozenset(("__dict__", "__weakref__", "__module__", "__qualname__"))
_PLAIN = ids_of(type(None), bool, int, float, complex, str, bytes, bytearray)
_WRAPPING = {
    "partial": ("func", "args", "keywords"),
    "partialmethod": ("func", "args", "keywords"),
    "property": ("fget", "fset", "fdel"),
    "cached_property": ("func",),
    "staticmethod": ("__func__",),
    "classmethod": ("__func__",),
    "singledispatchmethod": ("func",),
}
