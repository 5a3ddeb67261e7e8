"""`@mlsdk.track`: every call of a function is a run."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast, overload

from mlsdk import config
from mlsdk.capture.arguments import Binder, bind
from mlsdk.capture.datasets import is_data
from mlsdk.errors import UsageError
from mlsdk.log.facts import Tags
from mlsdk.tracking import again, context
from mlsdk.tracking.disabled import DisabledRun
from mlsdk.tracking.start import Captures, StorePath, start

if TYPE_CHECKING:
    from contextvars import Token
    from typing import Any

    from mlsdk.tracking.active import ActiveRun

P = ParamSpec("P")
R = TypeVar("R")

_Started = tuple["ActiveRun | None", tuple[object, ...], dict[str, object]]

_COROUTINE, _GENERATOR, _ASYNC_GENERATOR = 0x80, 0x20, 0x200  # inspect.CO_*, without importing inspect


@overload
def track(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def track(
    *,
    experiment: str | None = None,
    name: str | None = None,
    tags: Tags | None = None,
    data: str | Iterable[str] | None = None,
    capture: Captures | None = None,
    store: StorePath | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def track(
    function: Callable[P, R] | None = None,
    /,
    *,
    experiment: str | None = None,
    name: str | None = None,
    tags: Tags | None = None,
    data: str | Iterable[str] | None = None,
    capture: Captures | None = None,
    store: StorePath | None = None,
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Make every call of a function a run: its arguments become params, a returned mapping of numbers final metrics.

    Works bare (`@track`) and called (`@track(experiment="churn")`), on functions, methods, class and static methods,
    async functions, generators and async generators; signature, docstring and static types stay. A generator's run
    begins when it is first resumed and ends with it.

    Args:
        function: the function, when used bare.
        experiment: by default the setting `experiment`, else the name of the file that runs.
        name: name of the runs; by default the function's name and the end of the id.
        tags: of every run: a mapping, or plain names.
        data: names of parameters that are data, such as folders and paths in text. Frames, arrays and `Path`s of
            files are data sets of the run by themselves.
        capture: names of captures or functions; by default all. () for none: then nothing is sampled or observed.
        store: folder or URI.

    Raises:
        UsageError: `data` names no parameter of the function.

    >>> import mlsdk
    >>> @mlsdk.track(experiment="docs")
    ... def train(lr: float = 0.1) -> dict[str, float]:
    ...     mlsdk.log(loss=lr / 2)
    ...     return {"acc": 1 - lr}
    >>> train(lr=0.25)
    {'acc': 0.75}
    """

    def decorate(inner: Callable[P, R]) -> Callable[P, R]:
        if not callable(inner) and not isinstance(inner, (classmethod, staticmethod)):
            raise UsageError(f"track takes a function, not {inner!r}; name an experiment so: @track(experiment=...)")
        names = (data,) if isinstance(data, str) else tuple(data or ())
        return _wrap(
            inner, lambda plain, method: _Starter(plain, method, experiment, name, tags, names, capture, store)
        )

    return decorate if function is None else decorate(function)


class _Starter:
    """Starts the run of one call: binds arguments, records params and data."""

    def __init__(
        self,
        function: Callable[..., object],
        method: bool,
        experiment: str | None,
        name: str | None,
        tags: Tags | None,
        data: tuple[str, ...],
        capture: object,
        store: StorePath | None,
    ) -> None:
        self._binder: Binder = bind(function)
        self._method = method
        self._inner = function
        self._function = f"{getattr(function, '__module__', '?')}:{_name(function, '__qualname__')}"
        self._label = name or _name(function)
        self._named = name is not None
        self._experiment, self._tags, self._capture, self._store = experiment, tags, capture, store
        self._data = data
        self._check_data(function)

    def _check_data(self, function: Callable[..., object]) -> None:
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType):
            known = code.co_varnames[
                : code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
            ]
            for name in self._data:
                if name not in known:
                    raise UsageError(
                        f"data={name!r}: {function.__qualname__}() has no such parameter; it has: {', '.join(known)}"
                    )

    def __call__(self, args: tuple[object, ...], kwargs: dict[str, object]) -> _Started:
        """The started run, None if the arguments do not fit, so that the call itself can say so; the arguments."""
        number = again.count()
        if config.disabled():
            return DisabledRun(self._label, self._experiment or "disabled"), args, kwargs
        order = again.order_for(number)
        if order is not None:
            args, kwargs = order.arguments(self._binder, args, kwargs, self._function)
        bound = self._binder(args, kwargs, method=self._method)
        if bound is None:
            return None, args, kwargs
        params = {name: value for name, value in bound.items() if name not in self._data}
        run = start(
            self._experiment,
            name=self._label if self._named else None,
            params=params,
            tags=self._tags,
            capture=self._capture,
            store=self._store,
            code={"function": self._function},
            label=self._label,
            function=self._inner,
            arguments={"self": args[0], **bound} if self._method and args else bound,
            number=number,
        )
        for name, value in bound.items():
            if name in self._data or is_data(value):
                run.use_data(value, name=name)
        return run, args, kwargs


def _wrap(function: Callable[P, R], starter_for: Callable[[Callable[..., object], bool], _Starter]) -> Callable[P, R]:
    if isinstance(function, classmethod):
        return cast("Callable[P, R]", classmethod(_wrap_plain(function.__func__, starter_for(function.__func__, True))))
    if isinstance(function, staticmethod):
        return cast(
            "Callable[P, R]", staticmethod(_wrap_plain(function.__func__, starter_for(function.__func__, False)))
        )
    return cast("Callable[P, R]", _wrap_plain(function, starter_for(function, _looks_like_method(function))))


def _looks_like_method(function: Callable[..., object]) -> bool:
    """Whether a function was defined in a class body and takes its object first."""
    code = getattr(function, "__code__", None)
    outer, _, _ = getattr(function, "__qualname__", "").rpartition(".")
    first = code.co_varnames[:1] if isinstance(code, CodeType) and code.co_argcount else ()
    return bool(outer) and not outer.endswith("<locals>") and first in (("self",), ("cls",))


def _name(function: object, attribute: str = "__name__") -> str:
    """Name of a function, of the one in a partial, or of a callable object's class."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, attribute, type(function).__name__))


def _flags(function: object) -> int:
    """What kind of function it is: the flags of its code, which may lie within a partial or a callable object."""
    while isinstance(function, functools.partial):
        function = function.func
    call = function if hasattr(function, "__code__") else type(function).__dict__.get("__call__")
    code = getattr(call, "__code__", None)
    return code.co_flags if isinstance(code, CodeType) else 0


def _wrap_plain(function: Callable[..., Any], starter: _Starter) -> Callable[..., Any]:
    flags = _flags(function)
    if flags & _ASYNC_GENERATOR:
        wrapper = _async_generator(function, starter)
    elif flags & _COROUTINE:
        wrapper = _coroutine(function, starter)
    elif flags & _GENERATOR:
        wrapper = _generator(function, starter)
    else:
        wrapper = _call(function, starter)
    updated = functools.WRAPPER_UPDATES if isinstance(function, FunctionType) else ()  # not an object's attributes
    return functools.update_wrapper(wrapper, function, updated=updated)


def _call(function: Callable[..., Any], starter: _Starter) -> Callable[..., Any]:
    def wrapper(*args: object, **kwargs: object) -> object:
        run, args, kwargs = starter(args, kwargs)
        if run is None:
            return function(*args, **kwargs)
        with run:
            result = function(*args, **kwargs)
            _record(run, result)
        return result

    return wrapper


def _coroutine(function: Callable[..., Any], starter: _Starter) -> Callable[..., Any]:
    async def wrapper(*args: object, **kwargs: object) -> object:
        run, args, kwargs = starter(args, kwargs)
        if run is None:
            return await function(*args, **kwargs)
        with run:
            result = await function(*args, **kwargs)
            _record(run, result)
        return result

    return wrapper


def _generator(function: Callable[..., Any], starter: _Starter) -> Callable[..., Any]:
    def wrapper(*args: object, **kwargs: object) -> Generator[object, object, object]:
        run, args, kwargs = starter(args, kwargs)
        if run is None:
            return (yield from function(*args, **kwargs))
        with _Ending(run) as inside:
            body = function(*args, **kwargs)
            resume, value = body.send, None
            while True:
                try:
                    with inside:
                        item = resume(value)
                except StopIteration as end:
                    _record(run, end.value)
                    return end.value
                try:
                    resume, value = body.send, (yield item)
                except GeneratorExit:
                    with inside:
                        body.close()
                    raise
                except BaseException as error:  # whatever is thrown into the generator is its body's
                    resume, value = body.throw, error

    return wrapper


def _async_generator(function: Callable[..., Any], starter: _Starter) -> Callable[..., Any]:
    async def wrapper(*args: object, **kwargs: object) -> AsyncGenerator[object, object]:
        run, args, kwargs = starter(args, kwargs)
        with _Ending(run) as inside:
            body = function(*args, **kwargs)
            resume, value = body.asend, None
            while True:
                try:
                    with inside:
                        item = await resume(value)
                except StopAsyncIteration:
                    return
                try:
                    resume, value = body.asend, (yield item)
                except GeneratorExit:
                    with inside:
                        await body.aclose()
                    raise
                except BaseException as error:  # as above
                    resume, value = body.athrow, error

    return wrapper


class _Inside:
    """The context of a generator's body: set around each resumption alone, and as the body left it the last time."""

    def __init__(self, run: ActiveRun | None) -> None:
        self._current = run
        self._token: Token[ActiveRun | None] | None = None

    def __enter__(self) -> None:
        if self._current is not None:
            self._token = context.entered.set(self._current)

    def __exit__(self, *ignored: object) -> None:
        if self._token is not None:
            self._current = context.entered.get()
            context.leave(self._token)
            self._token = None


class _Ending:
    """Ends a run with its generator, without being the context of those who resume it."""

    def __init__(self, run: ActiveRun | None) -> None:
        self._run = run

    def __enter__(self) -> _Inside:
        return _Inside(self._run)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._run is not None:
            self._run.end(error)


def _record(run: ActiveRun, result: object) -> None:
    if not run.finished:
        run.final_metrics(result)
        run.returned = result
