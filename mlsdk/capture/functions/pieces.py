"""A module in pieces: functions, methods, class bodies, constants, and what it does when it is imported.

What binds a name at a module's top level is that name's piece: each definition and assignment of it, changes of the
object it stands for (`TABLE["a"] = f`, `TABLE.update(...)`), and the conditions and loops around these. Methods are
pieces of their own (`Model.fit`), so is what is left of a class body with its bases and decorators (`Model`); nested
functions belong to the outer one. What binds nothing (`random.seed(0)`) is the piece `<module>`; what stands below
`if __name__ == "__main__"` is in no imported module's pieces.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mlsdk.capture.functions.syntax import canonical, digest_of_lines, is_text
from mlsdk.capture.functions.uses import Use, Uses, imported, source_of

BODY = "<module>"
"""The piece of the statements that bind no name."""


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Piece(NamedTuple):
    """One piece of a module."""

    digest: str
    """Normalised hash, 16 hexadecimal digits, with the absolute names of what its names import."""
    uses: list[Use]
    attributes: list[str]
    """Names of attributes that it takes of anything."""
    bases: list[str] | None = None
    """Of a class: its bases as dotted names; `?` for one that has no name."""
    plain: bool = False
    """A single `def` or `class` without decorators: what its name means in memory can only be this."""
    runs: bool = False
    """It has more than definitions, hence does something when the module's body runs."""


class Module(NamedTuple):
    """What the pieces of a module are, and what its names come from."""

    pieces: Mapping[str, Piece]
    imports: dict[str, Use]
    """By name bound: module, and name in it or ""."""
    stars: list[str]
    """Modules of which all names are imported."""
    runs: list[str]
    """Modules that it imports, hence runs, when it is imported."""


def read(trees: Iterable[ast.Module], package: str, *, main: bool = False) -> Module:
    """Take a module apart.

    Args:
        trees: of its source; of a notebook, of its cells as they ran: the last one that binds a name counts.
        package: what relative imports start from.
        main: it is what was started: what stands below `if __name__ == "__main__"` ran.
    """
    reader = Reader(trees, package, main=main)
    pieces = {name: reader.piece(name) for name in reader.parts}
    return Module(pieces, reader.imports, reader.stars, reader.runs)


def nodes(trees: Iterable[ast.Module], package: str, *, main: bool = False) -> dict[str, list[ast.AST]]:
    """What each piece of a module is made of, for showing it; the arguments are those of `read`."""
    return {name: parts.nodes for name, parts in Reader(trees, package, main=main).parts.items()}


class _Parts:
    """What a piece is made of, until all of the module is seen."""

    def __init__(self, cell: int) -> None:
        self.cell = cell
        self.nodes: list[ast.AST] = []
        self.bases: list[str] | None = None
        self.uses: Uses | None = None


class Reader:
    """A module that is taken apart; what a piece says and uses is looked at when it is asked for.

    The arguments are those of `read`.

    Attributes:
        parts: what each piece is made of, by name.
        imports, stars, runs: as in `Module`.
    """

    def __init__(self, trees: Iterable[ast.Module], package: str, *, main: bool = False) -> None:
        self.package, self.main = package, main
        self.parts: dict[str, _Parts] = {}
        self.imports: dict[str, Use] = {}
        self.stars: list[str] = []
        self.runs: list[str] = []
        self.cell = 0
        for tree in trees:
            self.cell += 1
            self.body(tree.body, [])

    def body(self, statements: Iterable[ast.stmt], guards: list[ast.AST], *, runs: bool = True) -> None:
        """Sort statements; `guards` are the conditions and loops around them, `runs` whether they run at all."""
        for statement in statements:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self._import(statement, runs)
            elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                self._put(statement.name, [*guards, statement])
            elif isinstance(statement, ast.ClassDef):
                self._class(statement, "", guards)
            elif isinstance(statement, ast.If) and _asks_for(statement.test, "TYPE_CHECKING"):
                self.body(statement.body, guards, runs=False)
                self.body(statement.orelse, guards)
            elif isinstance(statement, ast.If) and _asks_for(statement.test, "__name__"):
                self.body(statement.body if self.main else statement.orelse, guards)
            elif _is_compound(statement):
                self._compound(statement, guards, runs)
            elif not is_text(statement) and not isinstance(statement, ast.Pass | ast.Global):
                for name, part in self._bindings(statement):
                    self._put(name, [*guards, part], adds=not _is_binding(part, name))

    def _import(self, statement: ast.Import | ast.ImportFrom, runs: bool) -> None:
        if isinstance(statement, ast.Import):
            run = [alias.name for alias in statement.names]
        else:
            source = source_of(statement, self.package)
            run = [source, *(f"{source}.{alias.name}" for alias in statement.names if alias.name != "*")]
            if statement.names[0].name == "*":
                self.stars.append(source)
                self.runs += run if runs else ()
                return
        self.imports.update(imported(statement, self.package))
        self.runs += run if runs else ()

    def _compound(self, statement: ast.stmt, guards: list[ast.AST], runs: bool) -> None:
        """Go into a condition, a loop, `with`, `try` or `match`; its head counts for each piece below it."""
        head = _head(statement)
        for name in self._bound(statement):
            self._put(name, [*guards, head], adds=True)
        for field, value in ast.iter_fields(statement):
            for part in value if isinstance(value, list) else ():
                if isinstance(part, ast.stmt):
                    here = [head] if field == "body" else [head, ast.Constant(field)]
                    self.body([part], [*guards, *here], runs=runs)
                elif isinstance(part, ast.ExceptHandler | ast.match_case):
                    self.body(part.body, [*guards, head, _head(part)], runs=runs)

    def _class(self, node: ast.ClassDef, prefix: str, guards: list[ast.AST]) -> None:
        name = prefix + node.name
        methods = (ast.FunctionDef, ast.AsyncFunctionDef)
        rest = [part for part in node.body if not isinstance(part, (*methods, ast.ClassDef))]
        if name in self.parts and self.parts[name].cell != self.cell:  # defined anew: the methods before are gone
            self.parts = {key: parts for key, parts in self.parts.items() if not key.startswith(f"{name}.")}
        self._put(name, [*guards, _with_body(node, rest or [ast.Pass()])])
        self.parts[name].bases = [_dotted(base) for base in node.bases]
        for part in node.body:
            if isinstance(part, methods):
                self._put(f"{name}.{part.name}", [part])
            elif isinstance(part, ast.ClassDef):
                self._class(part, f"{name}.", [])

    def _bindings(self, statement: ast.stmt) -> Iterable[tuple[str, ast.AST]]:
        """The names whose pieces a simple statement belongs to; `A, B = 1, 2` is two statements."""
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        value = statement.value if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and _match_up(target, value):
            for one, its in zip(target.elts, value.elts, strict=True):
                yield from self._bindings(ast.Assign([one], its))
            return
        for name in dict.fromkeys(self._bound(statement)) or (self._changed(statement),):
            yield name, statement

    def _bound(self, statement: ast.AST) -> list[str]:
        """Names that a statement binds, or whose object it changes by an assignment to an attribute or an item."""
        names: list[str] = []
        targets = _targets(statement)
        while targets:
            target = targets.pop(0)
            if isinstance(target, ast.Tuple | ast.List):
                targets[:0] = target.elts
            elif isinstance(target, ast.Starred):
                targets.insert(0, target.value)
            elif isinstance(target, ast.Name):
                names.append(target.id)
            else:
                names.append(self._whose(target))
        return names

    def _whose(self, node: ast.AST) -> str:
        """The name, bound in this module, that an object is reached by; else the module's body."""
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        return node.id if isinstance(node, ast.Name) and node.id in self.parts else BODY

    def _changed(self, statement: ast.stmt) -> str:
        """The name whose object a statement without targets changes, as `TABLE.update(...)` does; else the body.

        A method that is called on a function or a class of the module changes nothing that its source says.
        """
        call = statement.value if isinstance(statement, ast.Expr) else None
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            return BODY
        name = self._whose(call.func)
        nodes = self.parts[name].nodes if name in self.parts else []
        return BODY if any(isinstance(node, _DEFINITIONS) for node in nodes) else name

    def _put(self, name: str, nodes: list[ast.AST], *, adds: bool = False) -> None:
        """Add to a piece; in a later cell of a notebook, begin it again unless `adds`."""
        parts = self.parts.get(name)
        if parts is None or (parts.cell != self.cell and not adds and name != BODY):
            parts = self.parts[name] = _Parts(self.cell)
        parts.nodes += nodes

    # What was found

    def piece(self, name: str) -> Piece:
        """A piece with its hash."""
        parts, uses = self.parts[name], self.uses(name)
        origins = [f"{head}={':'.join(use)}" for head, use in self.origins(name).items()]
        plain = len(parts.nodes) == 1 and getattr(parts.nodes[0], "decorator_list", None) == []
        runs = not all(isinstance(node, _DEFINITIONS) for node in parts.nodes)
        digest = digest_of_lines([*map(canonical, parts.nodes), *origins])
        return Piece(digest, sorted(uses.names), sorted(uses.attributes), parts.bases, plain, runs)

    def uses(self, name: str) -> Uses:
        """What a piece uses."""
        parts = self.parts[name]
        if parts.uses is None:
            uses = Uses(self.package)
            uses.add(*parts.nodes)
            parts.uses = uses
        return parts.uses

    def origins(self, name: str) -> dict[str, Use]:
        """The imported names that a piece uses, sorted, with what they come from: they count for it."""
        heads = {chain.partition(".")[0] for module, chain in self.uses(name).names if not module}
        return {head: self.imports[head] for head in sorted(heads & self.imports.keys())}


def _is_binding(statement: ast.AST, name: str) -> bool:
    """Whether what a name stood for before does not matter any more."""
    names = [node for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id == name]
    return isinstance(statement, ast.Assign | ast.AnnAssign) and all(isinstance(node.ctx, ast.Store) for node in names)


def _is_compound(statement: ast.AST) -> bool:
    return isinstance(getattr(statement, "body", None) or getattr(statement, "cases", None), list)


def _head(node: ast.AST) -> ast.AST:
    """A compound statement without the statements in it."""
    fields = {}
    for field, value in ast.iter_fields(node):
        inner = isinstance(value, list) and any(
            isinstance(part, ast.stmt | ast.ExceptHandler | ast.match_case) for part in value
        )
        fields[field] = [] if inner else value
    return type(node)(**fields)


def _with_body(node: ast.ClassDef, body: list[ast.stmt]) -> ast.ClassDef:
    fields = {field: value for field, value in ast.iter_fields(node) if field != "body"}
    return ast.ClassDef(**fields, body=body)


def _targets(statement: ast.AST) -> list[ast.expr]:
    if isinstance(statement, ast.Assign):
        return [*statement.targets]
    if isinstance(statement, ast.AugAssign | ast.AnnAssign | ast.For | ast.AsyncFor):
        return [statement.target]
    if isinstance(statement, ast.With | ast.AsyncWith):
        return [item.optional_vars for item in statement.items if item.optional_vars is not None]
    if type(statement).__name__ == "TypeAlias":
        return [statement.name]  # type: ignore[attr-defined]  # newer than the oldest Python here
    return []


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Subscript):  # Generic[T]
        node = node.value
    chain = []
    while isinstance(node, ast.Attribute):
        chain.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(chain)]) if isinstance(node, ast.Name) else "?"


def _asks_for(test: ast.expr, name: str) -> bool:
    if isinstance(test, ast.Compare) and name == "__name__":
        return _dotted(test.left) == name and isinstance(test.ops[0], ast.Eq)
    return _dotted(test).rpartition(".")[2] == name


def _match_up(target: ast.Tuple, value: ast.Tuple) -> bool:
    parts = (*target.elts, *value.elts)
    return len(target.elts) == len(value.elts) and not any(isinstance(part, ast.Starred) for part in parts)
