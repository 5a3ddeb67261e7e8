"""The arguments of a call by the names of the parameters: what becomes the params of a run.

`bind` looks at a function once; the `Binder` it returns is cheap enough for every call. The values are the caller's own
objects, not copies: encode them before the body runs, so that what it does to them does not show.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_VAR_POSITIONAL, _VAR_KEYWORD = 0x04, 0x08  # flags of a code object


def bind(function: Callable[..., Any]) -> Binder:
    """Make the binder of a function; it is made once, when the function is decorated.

    As with `inspect.signature`, a function that wraps another has the parameters of the wrapped one. A builtin whose
    parameters Python does not know is taken for one of `*args, **kwargs`.

    Example:
        >>> def train(data, lr=0.1, **more): ...
        >>> bind(train)(("a.csv",), {"seed": 1})
        {'data': 'a.csv', 'lr': 0.1, 'seed': 1}
    """
    plain: Any = type(bind)
    inner: Any = function
    seen = []
    while type(inner) is plain and not hasattr(inner, "__signature__"):
        if not hasattr(inner, "__wrapped__") or inner in seen:
            return _of_code(inner)
        seen.append(inner)
        inner = inner.__wrapped__
    return _of_signature(inner)


class Binder:
    """The parameters of a function; called with what the function is called with, it gives all arguments by name."""

    __slots__ = ("defaults", "fixed", "keywords", "positional", "positional_only", "rest", "rest_by_name")

    def __init__(
        self,
        positional: tuple[str, ...],
        positional_only: int,
        rest: str | None,
        keywords: tuple[str, ...],
        rest_by_name: str | None,
        defaults: Mapping[str, object],
    ) -> None:
        self.positional = positional
        self.positional_only = positional_only  # how many of `positional`
        self.rest = rest
        self.keywords = keywords
        self.rest_by_name = rest_by_name
        self.defaults = defaults
        self.fixed = frozenset((*positional, *keywords, *filter(None, (rest,))))

    def __call__(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, method: bool = False
    ) -> dict[str, Any] | None:
        """All arguments by name, in the order of the signature, defaults applied.

        `*args` stands under its name as a tuple. What `**kwargs` takes is merged by its own names, or stands as a dict
        under the name of the `**` parameter where one of them is a parameter's name too.

        Args:
            args: positional arguments, with `self` or `cls`.
            kwargs: named arguments.
            method: leave out the first parameter, `self` or `cls`.

        Returns:
            The arguments; None if the call does not fit the function: let the call itself raise its error.
        """
        bound = self._bind(args, kwargs)
        if bound is None or not method:
            return bound
        if self.positional:
            first = self.positional[0]
            return {name: value for name, value in bound.items() if name != first}
        if self.rest is not None:
            bound[self.rest] = bound[self.rest][1:]
        return bound

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
        given, names = len(args), self.positional
        if given > len(names) and self.rest is None:
            return None
        bound = dict(zip(names, args, strict=False))
        left = dict(kwargs)
        for index in range(len(names)):
            name = names[index]
            by_name = index >= self.positional_only and name in left
            if index < given:
                if by_name:
                    return None  # given twice
            elif by_name:
                bound[name] = left.pop(name)
            elif name in self.defaults:
                bound[name] = self.defaults[name]
            else:
                return None
        if self.rest is not None:
            bound[self.rest] = args[len(names) :]
        for name in self.keywords:
            if name in left:
                bound[name] = left.pop(name)
            elif name in self.defaults:
                bound[name] = self.defaults[name]
            else:
                return None
        if not left:
            return bound
        return None if self.rest_by_name is None else self._merged(bound, left, self.rest_by_name)

    def _merged(self, bound: dict[str, Any], left: dict[str, Any], name: str) -> dict[str, Any]:
        return {**bound, **left} if self.fixed.isdisjoint(left) else {**bound, name: left}


def _of_code(function: Any) -> Binder:
    """Read off the code object: `inspect` costs milliseconds to import and is seldom needed."""
    code = function.__code__
    names = code.co_varnames
    keywords_end = code.co_argcount + code.co_kwonlyargcount
    positional = names[: code.co_argcount]
    extra = iter(names[keywords_end:])
    rest = next(extra) if code.co_flags & _VAR_POSITIONAL else None
    rest_by_name = next(extra) if code.co_flags & _VAR_KEYWORD else None
    values = function.__defaults__ or ()
    with_default = positional[len(positional) - len(values) :]
    defaults = {**dict(zip(with_default, values, strict=True)), **(function.__kwdefaults__ or {})}
    keywords = names[code.co_argcount : keywords_end]
    return Binder(positional, code.co_posonlyargcount, rest, keywords, rest_by_name, defaults)


def _of_signature(function: Any) -> Binder:
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return Binder((), 0, "args", (), "kwargs", {})

    def named(*kinds: object) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in parameters if parameter.kind in kinds)

    only, either = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return Binder(
        named(only, either),
        len(named(only)),
        next(iter(named(inspect.Parameter.VAR_POSITIONAL)), None),
        named(inspect.Parameter.KEYWORD_ONLY),
        next(iter(named(inspect.Parameter.VAR_KEYWORD)), None),
        {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty},
    )
