r"""The normalised hash of a piece of Python: what it says, not how it is written.

The syntax tree is written as text by `canonical`, which is hashed. Comments, line breaks, quotes, parentheses,
docstrings and other texts that stand alone, type comments and `u` prefixes are not in it. Annotations are: they are
code, which dataclasses and `singledispatch` read. The form is our own, not `ast.dump`, so that it is the same for every
Python that can read the source::

    node      (Name field=value field=value)     fields by name, ascending; those that are None or empty left out
    list      [value value]
    constant  type:ascii(value)                  int:1, str:'a', bytes:b'a', NoneType:None; integers in hexadecimal
    name      'a'                                ascii() of it

Left out are the fields `ctx`, `kind`, `type_comment`, `type_ignores` and `str`. In an f-string neighbouring texts are
one and empty ones none. A body in which nothing is left is `pass`.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable

_LEFT_OUT = frozenset(("ctx", "kind", "type_comment", "type_ignores", "str"))

_NAMES_NOTHING = _LEFT_OUT | frozenset(("id", "attr", "op", "ops", "arg", "conversion", "level", "simple", "is_async"))

_fields: dict[type, tuple[str, ...]] = {}
_inner_fields: dict[type, tuple[str, ...]] = {}


def digest(*nodes: ast.AST, also: Iterable[str] = ()) -> str:
    """The normalised hash: the first 16 hexadecimal digits of the SHA-256 of the canonical texts, one a line.

    Args:
        nodes: statements or expressions, in order.
        also: lines that count as well.

    Example:
        >>> digest(ast.parse("x = 1  # one")) == digest(ast.parse("x = (0x1)"))
        True
    """
    return digest_of_lines([*map(canonical, nodes), *also])


def digest_of_lines(lines: Iterable[str]) -> str:
    """The same of canonical texts."""
    return hashlib.sha256("\n".join(lines).encode("ascii", "backslashreplace")).hexdigest()[:16]


def canonical(node: ast.AST) -> str:
    """The canonical text of a piece of syntax.

    Example:
        >>> canonical(ast.parse("a + 1", mode="eval").body)
        "(BinOp left=(Name id='a') op=(Add) right=(Constant value=int:0x1))"
    """
    out: list[str] = []
    _write(node, out)
    return "".join(out)


def _write(node: ast.AST, out: list[str]) -> None:
    kind = type(node)
    fields = _fields.get(kind)
    if fields is None:
        fields = _fields[kind] = tuple(sorted(set(node._fields) - _LEFT_OUT))
    out.append(f"({kind.__name__}")
    if kind is ast.Constant:
        out.append(f" value={constant(node.value)}")  # type: ignore[attr-defined]  # `kind` says that it is there
    else:
        for name in fields:
            _write_field(node, name, getattr(node, name, None), out)
    out.append(")")


def _write_field(node: ast.AST, name: str, value: object, out: list[str]) -> None:
    if isinstance(value, list):
        if isinstance(node, ast.JoinedStr):
            value = _joined(value)
        elif name == "body":
            value = without_texts(value) or [ast.Pass()]
        if not value:
            return
        out.append(f" {name}=[")
        for index, item in enumerate(value):
            if index:
                out.append(" ")
            if isinstance(item, ast.AST):
                _write(item, out)
            else:
                out.append(constant(item))
        out.append("]")
    elif isinstance(value, ast.AST):
        if isinstance(value, ast.JoinedStr) and name == "format_spec" and not _joined(value.values):
            return
        out.append(f" {name}=")
        _write(value, out)
    elif value is not None:
        out.append(f" {name}={ascii(value) if type(value) is str else constant(value)}")


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes in a node that may name something, faster than `ast.iter_child_nodes`."""
    kind = type(node)
    fields = _inner_fields.get(kind)
    if fields is None:
        fields = _inner_fields[kind] = tuple(name for name in kind._fields if name not in _NAMES_NOTHING)
    found: list[ast.AST] = []
    for name in fields:
        value = getattr(node, name, None)
        if type(value) is list:
            found += [item for item in value if isinstance(item, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


def constant(value: object) -> str:
    """A constant as canonical text."""
    if type(value) is int:  # the decimal digits of a long one may be refused
        return f"int:{value:#x}"
    return f"{type(value).__name__}:{value!a}"


def is_text(statement: ast.AST) -> bool:
    """Whether a statement is nothing but a text: a docstring, or a text used as a comment."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
        return False
    return isinstance(statement.value.value, str)


def without_texts(body: list[ast.stmt]) -> list[ast.stmt]:
    """A body without docstrings."""
    return [statement for statement in body if not is_text(statement)]


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    joined: list[ast.expr] = []
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            if joined and isinstance(joined[-1], ast.Constant):
                joined[-1] = ast.Constant(str(joined[-1].value) + value.value)
            elif value.value:
                joined.append(value)
        else:
            joined.append(value)
    return joined
