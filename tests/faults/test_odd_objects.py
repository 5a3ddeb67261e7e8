"""Arguments, constants and data of every odd kind: the call goes on as if nobody had looked."""

from __future__ import annotations

import pytest

import mlsdk
from tests.programs import execute

# A program of its own: pytest looks at what lies in a module of tests, and these raise when they are looked at.
ODD = """
import functools, os, pathlib

class RaisesAll:
    def refuse(self, *_):
        raise RuntimeError("no")
    __eq__ = __hash__ = __repr__ = __str__ = __bool__ = __len__ = __iter__ = __getattr__ = refuse

class HasNoClass:
    __class__ = property(lambda self: 1 / 0)

class Refusing(type):
    def __getattribute__(cls, name):
        raise RuntimeError(name)

class Nameless(type):
    __name__ = property(lambda cls: 1 / 0)

class Equal(type):
    __eq__ = lambda cls, other: NotImplemented

class OfEqual(metaclass=Equal): ...
class OfRefusing(metaclass=Refusing): ...
class OfNameless(metaclass=Nameless): ...
class OfANumber: ...
class OfAList: ...
OfANumber.__module__, OfAList.__module__ = 5, ["a"]

class NoPath(os.PathLike):
    def __init__(self, path):
        self.path = path
    def __fspath__(self):
        return self.path if self.path is not None else 1 / 0

ODD = (
    RaisesAll(), [RaisesAll(), {"a": RaisesAll()}], functools.partial(print, RaisesAll()), HasNoClass(), OfRefusing(),
    OfRefusing, OfNameless(), OfNameless, OfANumber(), OfAList(), NoPath(None), NoPath(5), NoPath("a\\0b"),
    pathlib.Path("x" * 5000), OfEqual(), OfEqual,
)
ONE = OfRefusing(), OfEqual
TWO = OfEqual()

def helper():
    return ODD, ONE, TWO, OfAList, OfEqual, second()

def second():
    return 1

@mlsdk.track
def train(value, lr=0.5):
    return {"acc": lr, "odd": value, "more": helper()}

for odd in ODD:
    assert train(odd)["odd"] is odd
"""


def test_odd_arguments() -> None:
    """An argument may raise at any question, so may what the function reads; every capture is taken all the same."""
    execute(ODD, MLSDK_COMPANION="0")
    runs = mlsdk.runs()

    assert len(runs) == 16
    for run in runs:
        assert (run.status, run.params["lr"], run.metrics["acc"].last) == ("finished", 0.5, 0.5)
        assert not [problem for problem in run.problems if problem.kind.startswith("capture")]
        assert set(run.code["loaded"]) >= {"__main__:train", "__main__:helper", "__main__:second"}


def test_data_that_its_library_refuses() -> None:
    """A tensor that cannot be read is noted as such, and the call goes on."""
    torch = pytest.importorskip("torch")

    @mlsdk.track
    def train(sparse: object, meta: object) -> None:
        return None

    train(torch.eye(3).to_sparse(), torch.empty(3, device="meta"))
    found = mlsdk.get_run("latest").datasets

    assert set(found) == {"sparse", "meta"}
    for one in found.values():
        assert one.fingerprint is None
        assert one.note is not None
        assert one.note.startswith("could not be read: ")


def test_odd_modules_and_paths() -> None:
    """Modules that load when they are asked for anything are not asked; what else stands among them does no harm."""
    done = execute(
        """
        import importlib.util, os, random, sys
        sys.path[:0] = ["libraries", 5, None, b"x"]

        class Refusing(type(sys)):
            def __getattribute__(self, name):
                raise RuntimeError(name)

        for name in ("torch", "numpy", "jax", "ray", "project"):
            os.makedirs(f"libraries/{name}")
            open(f"libraries/{name}/__init__.py", "w").write("print('loaded', __name__)")
            spec = importlib.util.find_spec(name)
            spec.loader = importlib.util.LazyLoader(spec.loader)
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        sys.modules.update({"odd": Refusing("odd"), "nothing": None, 5: object()})

        @mlsdk.track
        def train(lr):
            return {"acc": lr}

        train(0.5)
        """
    )
    run = mlsdk.get_run("latest")

    assert done.stdout == ""
    assert not [problem for problem in run.problems if problem.kind.startswith("capture")]
    assert run.code["chance"]["random"]
