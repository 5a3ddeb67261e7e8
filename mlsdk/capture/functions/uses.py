"""What a piece of Python names beyond itself: global names with their attributes, attributes of anything, imports.

Scopes are Python's: a parameter or a local variable hides the global one; what a class body binds is hidden from its
methods; a comprehension has its own. Annotations count, also those written as text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from mlsdk.capture.functions.syntax import children

Use = tuple[str, str]
"""A module ("" for the piece's own) and a dotted chain within it: `("", "np.mean")`, `("pkg.io", "load")`."""

MAYBE = "?"
"""Before a module's name: taken from a text, which may mean something else."""

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_LONGEST_NAME = 200
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SPECIAL = frozenset((*_SCOPES, *_COMPREHENSIONS, ast.Attribute, ast.Import, ast.ImportFrom, ast.AnnAssign, ast.Call))
_BY_TEXT = {"getattr": 1, "hasattr": 1, "methodcaller": 0, "attrgetter": 0}
"""Functions that take an attribute's name, and at which place; only a literal name is seen."""
_IMPORTERS = ("import_module", "__import__")


class Uses:
    """Collects what pieces of syntax use.

    Args:
        package: what relative imports start from.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self.names: set[Use] = set()
        self.attributes: set[str] = set()
        self._imported: dict[str, Use] = {}

    def add(self, *nodes: ast.AST) -> None:
        """Look at statements or expressions of a module's top level."""
        for node in nodes:
            self._visit(node, frozenset())

    def _visit(self, node: ast.AST, local: frozenset[str]) -> None:
        kind = type(node)
        if kind is ast.Constant:
            self._text(node.value)  # type: ignore[attr-defined]  # `kind` is its type
            return
        if kind is ast.Name:
            self._name([node.id], local)  # type: ignore[attr-defined]  # `kind` is its type
        elif kind not in _SPECIAL:
            for child in children(node):
                self._visit(child, local)
        elif isinstance(node, ast.Attribute):
            self._chain(node, local)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            self._function(node, local)
        elif isinstance(node, ast.ClassDef):
            self._children([*node.decorator_list, *node.bases, *node.keywords], local)
            self._children(node.body, local | _bound(node.body), hidden=local)
        elif isinstance(node, _COMPREHENSIONS):
            targets = frozenset(name for part in node.generators for name in _stored(part.target))
            self._children(children(node), local | targets)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            self._import(node)
        elif isinstance(node, ast.AnnAssign):
            self._annotation(node.annotation, local)
            self._children([node.target, *([node.value] if node.value else [])], local)
        elif isinstance(node, ast.Call):
            self._call(node)
            self._children(children(node), local)

    def _children(self, nodes: Iterable[ast.AST], local: frozenset[str], hidden: frozenset[str] | None = None) -> None:
        """Visit; in a class body functions see `hidden`, not what the body binds."""
        for node in nodes:
            if hidden is not None and isinstance(node, _SCOPES) and not isinstance(node, ast.Lambda):
                self._visit(node, hidden)
            else:
                self._visit(node, local)

    def _chain(self, node: ast.Attribute, local: frozenset[str]) -> None:
        chain: list[str] = []
        value: ast.expr = node
        while isinstance(value, ast.Attribute):
            chain.append(value.attr)
            value = value.value
        self.attributes.update(chain)
        if isinstance(value, ast.Name):
            self._name([value.id, *reversed(chain)], local)
        else:
            self._visit(value, local)

    def _name(self, chain: list[str], local: frozenset[str]) -> None:
        if chain[0] not in local:
            self.names.add(("", ".".join(chain)))
        elif chain[0] in self._imported:
            module, name = self._imported[chain[0]]
            self.names.add((module, ".".join(filter(None, (name, *chain[1:])))))

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, local: frozenset[str]) -> None:
        arguments = node.args
        defaults = [default for default in (*arguments.defaults, *arguments.kw_defaults) if default is not None]
        self._children(defaults, local)
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        parameters += filter(None, (arguments.vararg, arguments.kwarg))
        inner = {parameter.arg for parameter in parameters}
        if isinstance(node, ast.Lambda):
            self._visit(node.body, local | inner)
            return
        self._children(node.decorator_list, local)
        for annotation in (*(parameter.annotation for parameter in parameters), node.returns):
            if annotation is not None:
                self._annotation(annotation, local)
        global_names = _declared(node.body)
        self._children(node.body, (local | inner | _bound(node.body)) - global_names)

    def _annotation(self, node: ast.expr, local: frozenset[str]) -> None:
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                try:
                    self._visit(ast.parse(part.value, mode="eval").body, local)
                except (SyntaxError, ValueError):  # a text that is no type, in Literal["a b"] say
                    continue
        self._visit(node, local)

    def _call(self, node: ast.Call) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        place = _BY_TEXT.get(called, 0 if called in _IMPORTERS else None)
        if place is None or len(node.args) <= place:
            return
        text = getattr(node.args[place], "value", None)
        if isinstance(text, str) and called in _IMPORTERS:
            if not text.startswith("."):
                self.names.add((text, ""))
        elif isinstance(text, str):
            self.attributes.update(text.split("."))

    def _text(self, value: object) -> None:
        """A text may name a function of the project: `"pkg.tools:run"`, `"pkg.models.Net"`."""
        if isinstance(value, str) and len(value) < _LONGEST_NAME and _NAME.fullmatch(value):
            top, _, rest = value.replace(":", ".").partition(".")
            self.names.add((MAYBE + top, rest))

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        """An import within a function: what it names counts as used."""
        for alias, (module, name) in imported(node, self.package):
            self.names.add((module, name))
            self._imported[alias] = (module, name)
            if isinstance(node, ast.Import):
                self.names.update((part.name, "") for part in node.names)


def imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Use]]:
    """What an import binds: names, and the module and the name in it ("" for the module itself).

    Example:
        >>> list(imported(ast.parse("from ..io import load as read").body[0], "app.train"))
        [('read', ('app.io', 'load'))]
    """
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.asname:
                yield alias.asname, (alias.name, "")
            else:
                top = alias.name.partition(".")[0]
                yield top, (top, "")
        return
    module = source_of(node, package)
    for alias in node.names:
        yield alias.asname or alias.name, (module, alias.name)


def source_of(node: ast.ImportFrom, package: str) -> str:
    """The absolute name of the module that a `from` imports from."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - node.level + 1])
    return ".".join(filter(None, (base, node.module)))


def _bound(body: Iterable[ast.AST]) -> frozenset[str]:
    """Names that statements bind in their own scope."""
    names: set[str] = set()
    for node in _same_scope(body):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            names.add(node.name or "")
        elif isinstance(node, ast.MatchMapping):
            names.add(node.rest or "")
    return frozenset(names)


def _declared(body: Iterable[ast.AST]) -> frozenset[str]:
    return frozenset(name for node in _same_scope(body) if isinstance(node, ast.Global) for name in node.names)


def _same_scope(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All nodes of a scope: of functions, classes and lambdas in it the node alone."""
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, _COMPREHENSIONS):
            waiting += (part for part in ast.walk(node) if isinstance(part, ast.NamedExpr))
        elif not isinstance(node, _SCOPES):
            waiting += children(node)


def _stored(target: ast.AST) -> Iterator[str]:
    return (node.id for node in ast.walk(target) if isinstance(node, ast.Name))
