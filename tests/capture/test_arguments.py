"""Arguments by name: what Python itself would say, cheaply."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlsdk.capture.arguments import bind
from tests.conftest import ROOT


def plain(a, b=2, *, c=3):
    return a, b, c


def positional_only(a, b=2, /, c=3):
    return a, b, c


def star(a, *rest, key):
    return a, rest, key


def double_star(a, /, b=1, **more):
    return a, b, more


def everything(a, /, b, c=3, *args, d, e=5, **kwargs):
    inner = a
    return inner, b, c, args, d, e, kwargs


def closed_over(a, b=1):
    return lambda: (a, b)  # cell variables have their own place in the code object


FUNCTIONS = [plain, positional_only, star, double_star, everything, closed_over]


def by_inspect(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """What the standard library says, with `**` merged as ours does."""
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return None
    bound.apply_defaults()
    result = dict(bound.arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            more = result.pop(name)
            if more:
                result = {**result, name: more} if result.keys() & more else {**result, **more}
    return result


@given(
    st.sampled_from(FUNCTIONS),
    st.lists(st.integers(), max_size=5).map(tuple),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "key", "args", "more", "x"]), st.integers(), max_size=5),
)
@example(everything, (1, 2, 3, 4), {"d": 4, "a": 5})
@example(star, (1,), {"key": 2, "rest": 3})
def test_same_as_inspect(function: Any, args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    """Every call, right or wrong, is bound as `inspect.signature` binds it, in the order of the signature."""
    expected = by_inspect(function, args, kwargs)
    fallback = functools.partial(function)  # has no code object of its own
    got = bind(function)(args, kwargs)

    assert got == expected
    assert list(got or ()) == list(expected or ())
    assert bind(fallback)(args, kwargs) == expected


def test_merging_double_star() -> None:
    """What `**` takes is merged by name, and on a clash kept together under the name of the `**` parameter."""
    binder = bind(double_star)

    assert binder((1,), {"x": 2}) == {"a": 1, "b": 1, "x": 2}
    assert binder((1,), {"a": 2, "x": 3}) == {"a": 1, "b": 1, "more": {"a": 2, "x": 3}}
    assert binder((1,), {"more": 2}) == {"a": 1, "b": 1, "more": 2}


def test_methods() -> None:
    """The first parameter of a method is left out, whatever its name; a bound method has none to leave out."""

    class Trainer:
        def fit(self, lr=0.1):
            pass

        def loose(*args):
            pass

        def keywords(self, /, **more):
            pass

        @classmethod
        def make(cls, depth):
            pass

        def __call__(self, x):
            pass

    trainer = Trainer()

    assert bind(Trainer.fit)((trainer,), {}, method=True) == {"lr": 0.1}
    assert bind(Trainer.fit)((), {}, method=True) is None
    assert bind(Trainer.loose)((trainer, 1), {}, method=True) == {"args": (1,)}
    assert bind(Trainer.keywords)((trainer,), {"x": 1}, method=True) == {"x": 1}
    assert bind(Trainer.keywords)((trainer,), {"self": 1}, method=True) == {"more": {"self": 1}}
    assert bind(Trainer.make.__func__)((Trainer, 3), {}, method=True) == {"depth": 3}
    assert bind(trainer.fit)((0.5,), {}) == {"lr": 0.5}
    assert bind(trainer)((1,), {}) == {"x": 1}


def test_wrapped() -> None:
    """A function that wraps another, or states a signature, is bound by what it says of itself."""

    @functools.wraps(plain)
    def wrapper(*args, **kwargs):
        return plain(*args, **kwargs)

    def stated(*args):
        return args

    stated.__signature__ = inspect.Signature([inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD)])

    def endless():
        pass

    endless.__wrapped__ = endless

    assert bind(wrapper)((1,), {}) == {"a": 1, "b": 2, "c": 3}
    assert bind(wrapper)((), {}) is None
    assert bind(stated)((1,), {}) == {"x": 1}
    assert bind(functools.partial(plain, 1, c=4))((), {}) == {"b": 2, "c": 4}
    assert bind(endless)((), {}) == {}


def test_without_signature() -> None:
    """A builtin that does not tell its parameters has its arguments under `args` and by their keywords."""
    with pytest.raises(ValueError, match="no signature"):
        inspect.signature(dict)

    assert bind(dict)((1,), {"a": 2}) == {"args": (1,), "a": 2}


def test_all_kinds_of_functions() -> None:
    """Generators and asynchronous functions have parameters like any other."""

    async def asynchronous(a, b=1):
        pass

    def generator(a, b=1):
        yield

    async def both(a, b=1):
        yield

    for function in (asynchronous, generator, both, lambda a, b=1: 0):
        assert bind(function)((5,), {}) == {"a": 5, "b": 1}


def test_the_call_is_left_alone() -> None:
    """Binding changes neither the arguments nor the defaults, and gives the caller's own objects."""
    kwargs = {"b": [1], "x": 2}
    args = ([0],)
    got = bind(double_star)(args, kwargs)

    assert kwargs == {"b": [1], "x": 2}
    assert got is not None
    assert got["a"] is args[0]
    assert got["b"] is kwargs["b"]


def test_no_inspect() -> None:
    """A plain function is bound without importing `inspect`."""
    code = (
        "import sys; from mlsdk.capture.arguments import bind; before = 'inspect' in sys.modules\n"
        "def f(a, b=1): pass\nassert bind(f)((1,), {}); assert before or 'inspect' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
