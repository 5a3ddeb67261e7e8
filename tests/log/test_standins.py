"""What is not a plain value: it comes back as a stand-in that says enough, and never as an error."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import json
import math
import sys
import types
from importlib import import_module
from typing import Any, NamedTuple

import attrs

from mlsdk.log.standins import MAX_TEXT, Described, EnumValue, Fields
from mlsdk.log.values import decode, dumps, encode, loads


class Mode(enum.Enum):
    FAST = 1
    EXACT = "exact"


class Level(int, enum.Enum):
    LOW = 1


class Kind(str, enum.Enum):
    TREE = "tree"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Optimizer:
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)


@attrs.frozen
class Model:
    depth: int
    mode: Mode


class Point(NamedTuple):
    x: int
    y: int


class Odd:
    def __repr__(self) -> str:
        raise ValueError("no")


def there_and_back(value: Any) -> Any:
    return decode(loads(dumps(encode(value))))


def test_enums() -> None:
    """An enum stays an enum, also one that is a number or a text, and compares with the real member."""
    members = [Mode.FAST, Mode.EXACT, Level.LOW, Kind.TREE, Rights.READ | Rights.WRITE]
    read = there_and_back(members)

    assert [type(item) for item in read] == [EnumValue] * len(members)
    assert read == members
    assert members == read
    assert read[0] != Mode.EXACT
    assert read[0] != 1
    assert str(read[1]) == "Mode.EXACT"
    assert read[4].name == "READ|WRITE"
    assert {read[0]: 1}[Mode.FAST] == 1


def test_objects() -> None:
    """Bundles of settings come back as dicts of their fields that know the name of their class."""
    model = Model(3, Mode.FAST)
    values = [Optimizer(0.1), model, Point(1, 2), types.SimpleNamespace(a={1})]
    read = there_and_back(values)

    assert read == [{"lr": 0.1, "betas": (0.9, 0.999)}, {"depth": 3, "mode": Mode.FAST}, {"x": 1, "y": 2}, {"a": {1}}]
    assert [type(item) for item in read] == [Fields] * 4
    assert read[0].type_name == f"{__name__}.Optimizer"
    assert there_and_back(read[0]).type_name == read[0].type_name
    assert repr(Fields("A", {"b": 1})) == "A(b=1)"
    assert there_and_back({Optimizer(0.1)}) == [{"lr": 0.1, "betas": (0.9, 0.999)}]


def test_pydantic() -> None:
    """A pydantic model's fields are read from its class; a secret field stays masked."""
    pydantic = import_module("pydantic")
    inner = pydantic.create_model("Inner", rate=(float, 0.5))
    outer = pydantic.create_model("Outer", inner=(inner, inner()), key=(pydantic.SecretStr, pydantic.SecretStr("hush")))
    read = there_and_back(outer())

    assert read["inner"] == {"rate": 0.5}
    assert "hush" not in repr(read)


def test_subclasses_become_plain() -> None:
    """A subclass of a number, a text or a container is read as the plain value, whatever it overrides."""

    class Shout(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "!"

    class Seven(int):
        def __int__(self) -> int:
            return 7

    got = encode(
        [Shout("a"), Seven(3), collections.OrderedDict(a=1), collections.deque([1]), types.MappingProxyType({})]
    )

    assert got == ["a", 3, {"a": 1}, [1], {}]
    assert type(got[0]) is str
    assert type(got[1]) is int


def test_numpy() -> None:
    """Scalars of numpy become Python's numbers, exactly; arrays and what has no Python form are described."""
    numpy = import_module("numpy")
    scalars = [
        numpy.float64(0.1),
        numpy.float32(0.1),
        numpy.int64(3),
        numpy.bool_(True),
        numpy.str_("a"),
        numpy.array(2),
    ]
    read = there_and_back(scalars)

    assert read == [0.1, float(numpy.float32(0.1)), 3, True, "a", 2]
    assert [type(item) for item in read] == [float, float, int, bool, str, int]
    assert there_and_back(numpy.zeros((150, 4))) == Described("numpy.ndarray", "float64 (150, 4)")
    assert there_and_back(numpy.array([1, 2])).text == "int64 (2,) [1, 2]"
    assert isinstance(there_and_back(numpy.datetime64(1, "ns")), Described)
    assert isinstance(there_and_back(numpy.longdouble(1)), Described)
    assert isinstance(there_and_back(numpy.dtype("f4")), Described)
    assert math.isnan(there_and_back(numpy.float64("nan")))


def test_frames() -> None:
    """Data frames are described by shape and columns; a pandas time that Python's cannot hold is described too."""
    pandas = import_module("pandas")
    frame = pandas.DataFrame({f"c{i}": [0.0] * 3 for i in range(30)})

    assert encode(frame)["text"].startswith("(3, 30) columns c0, c1, ")
    assert encode(frame)["text"].endswith("c19, …")
    assert encode(frame["c0"])["text"] == "float64 (3,)"
    assert there_and_back(pandas.Timestamp("2026-01-02T03:04:05Z")) == dt.datetime(
        2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc
    )
    assert there_and_back(pandas.Timestamp("2026-01-02T03:04:05.000000001")).text.endswith("000000001')")
    assert there_and_back(pandas.NaT).text == "NaT"
    for name in ("polars", "pyarrow"):
        library = sys.modules.get(name) or import_module(name)
        build = getattr(library, "table", None) or library.DataFrame
        assert encode(build({"a": [1], "b": [2]}))["text"] == "(1, 2) columns a, b"


def test_estimators() -> None:
    """An estimator, known by `get_params`, becomes its params; one inside another too."""
    linear = import_module("sklearn.linear_model")
    ensemble = import_module("sklearn.ensemble")
    read = there_and_back(ensemble.BaggingRegressor(linear.Ridge(alpha=0.5), n_estimators=3))

    assert read["n_estimators"] == 3
    assert read["estimator"]["alpha"] == 0.5
    assert read["estimator"].type_name.endswith(".Ridge")
    assert isinstance(there_and_back(linear.Ridge), Described)


def test_descriptions() -> None:
    """What cannot be a value is described in words that are the same tomorrow: no memory addresses."""
    described = {
        "function": (test_numpy, f"{__name__}.test_numpy"),
        "builtin": (len, "len"),
        "class": (Optimizer, f"{__name__}.Optimizer"),
        "module": (json, "json"),
        "object": (object(), "<object object>"),
        "range": (range(10**12), "range(0, 1000000000000)"),
        "odd": (Odd(), "<cannot be shown: its repr raised ValueError>"),
    }

    assert {name: encode(value)["text"] for name, (value, _) in described.items()} == {
        name: text for name, (_, text) in described.items()
    }
    assert len(encode(types.MethodType(lambda self: 0, "x" * 5000))["text"]) <= MAX_TEXT
    assert encode(Odd())["type"] == f"{__name__}.Odd"


def test_endless_things() -> None:
    """What contains itself, is too deep or is too large is described, quickly and without an error."""
    ring: list[Any] = [1]
    ring.append(ring)
    deep: Any = 0
    for _ in range(5000):
        deep = [deep]
    wide: Any = [0]
    for _ in range(60):
        wide = [wide, wide]
    many = list(range(10_001))

    assert there_and_back(ring) == [1, Described("list", "list of 2: 1, list")]
    assert len(dumps(encode(deep))) < 1000
    assert len(dumps(encode(wide))) < 20_000_000
    assert there_and_back(many) == Described("list", "list of 10,001: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …")
    assert there_and_back(dict.fromkeys(many, "a" * 100)).text.startswith("dict of 10,001: 0: 'aaaa")
    assert there_and_back([1] * 10_000) == [1] * 10_000


def test_hostile_objects() -> None:
    """Objects whose every answer is an error, or that answer to any name, are described."""

    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment]

    class Params:
        def get_params(self, deep: bool) -> Any:
            raise RuntimeError

    from unittest import mock

    values = [Hostile(), Params(), mock.MagicMock(), mock.Mock()]

    assert [type(item) for item in there_and_back(values)] == [Described] * 4
