"""Clocks that stand still, folders that are listed in a given order, chance that comes from a seed.

Put in place when an interpreter starts.

It is loaded by its path, before anything of the program: it imports the standard library alone. What measures time
(`time.monotonic`, `time.perf_counter`) goes on, and so do the clocks of mlsdk itself.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any


def stand_still(at_s: float) -> None:
    """Let every clock that tells the time of day tell this one, in seconds since 1970."""
    for name, value in (("time", at_s), ("time_ns", round(at_s * 1e9))):
        setattr(time, name, _fixed(getattr(time, name), value))
    for name in ("localtime", "gmtime", "ctime"):
        setattr(time, name, _with_default(getattr(time, name), 0, lambda: at_s))
    local = time.localtime
    time.asctime = _with_default(time.asctime, 0, lambda: local(at_s))
    time.strftime = _with_default(time.strftime, 1, lambda: local(at_s))
    if hasattr(time, "clock_gettime"):
        time.clock_gettime = _of_clock(time.clock_gettime, at_s)
        time.clock_gettime_ns = _of_clock(time.clock_gettime_ns, round(at_s * 1e9))
    _stand_dates(at_s)


def _is_ours() -> bool:
    """Whether mlsdk asks: its records tell the true time."""
    name = sys._getframe(2).f_globals.get("__name__")  # noqa: SLF001 - `inspect` would be loaded into every program
    return isinstance(name, str) and name.partition(".")[0] == "mlsdk"


def _fixed(real: Callable[[], Any], value: Any) -> Callable[[], Any]:
    return lambda: real() if _is_ours() else value


def _with_default(real: Callable[..., Any], place: int, default: Callable[[], Any]) -> Callable[..., Any]:
    """A function whose argument at a place is the present time where it is left out."""

    def replaced(*args: Any) -> Any:
        if _is_ours() or (len(args) > place and args[place] is not None):
            return real(*args)
        return real(*args[:place], default())

    return replaced


def _of_clock(real: Callable[[int], Any], value: Any) -> Callable[[int], Any]:
    return lambda clock: value if clock == time.CLOCK_REALTIME and not _is_ours() else real(clock)


def _stand_dates(at_s: float) -> None:
    """Replace the classes of `datetime`: those that Python brings cannot be changed."""
    import datetime as dt

    real_date, real_datetime = dt.date, dt.datetime

    class Alike(type):
        """Takes instances of the real class for its own."""

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real_datetime if issubclass(cls, real_datetime) else real_date)

    class StandingDate(dt.date, metaclass=Alike):
        @classmethod
        def today(cls) -> StandingDate:
            return cls.fromtimestamp(time.time() if _is_ours() else at_s)

    class StandingDatetime(dt.datetime, metaclass=Alike):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> StandingDatetime:
            return cls.fromtimestamp(time.time() if _is_ours() else at_s, tz)

        @classmethod
        def today(cls) -> StandingDatetime:
            return cls.fromtimestamp(time.time() if _is_ours() else at_s)

        @classmethod
        def utcnow(cls) -> StandingDatetime:
            moment = real_datetime.fromtimestamp(time.time() if _is_ours() else at_s, dt.timezone.utc)
            return cls(*moment.timetuple()[:6], moment.microsecond)

        def __repr__(self) -> str:
            return "datetime." + super().__repr__()

    for name, standing in (("date", StandingDate), ("datetime", StandingDatetime)):
        standing.__name__ = standing.__qualname__ = name
        standing.__module__ = "datetime"
        setattr(dt, name, standing)


def order_listings(orders: Mapping[str, Sequence[str]]) -> None:
    """Let folders be listed in a given order; what it does not name comes last.

    Args:
        orders: names by the absolute path of the folder.
    """
    places = {folder: {name: place for place, name in enumerate(names)} for folder, names in orders.items()}
    real_listdir, real_scandir = os.listdir, os.scandir

    def sorted_by(folder: Any, found: list[Any], name_of: Callable[[Any], Any]) -> list[Any]:
        if not isinstance(folder, (str, os.PathLike)):
            return found
        order = places.get(os.path.abspath(os.fspath(folder)))
        return found if order is None else sorted(found, key=lambda one: order.get(name_of(one), len(order)))

    def listdir(path: Any = ".") -> list[Any]:
        return sorted_by(path, real_listdir(path), lambda name: name)

    class Entries:
        """What `scandir` gives: an iterator that can be closed."""

        def __init__(self, path: Any) -> None:
            with real_scandir(path) as entries:
                self._left: Iterator[Any] = iter(sorted_by(path, list(entries), lambda entry: entry.name))

        def __iter__(self) -> Entries:
            return self

        def __next__(self) -> Any:
            return next(self._left)

        def close(self) -> None:
            self._left = iter(())

        def __enter__(self) -> Entries:
            return self

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            self.close()

    def scandir(path: Any = ".") -> Entries:
        return Entries(path)

    os.listdir, os.scandir = listdir, scandir  # type: ignore[assignment]


_SEEDS = {"numpy.random": "seed", "torch": "manual_seed"}
"""By module, the function that seeds its global generator."""


def hold_chance(seed: int) -> None:
    """Let all chance come from a seed: global generators, those that are made without one, the system's.

    Not seen: generators in C that ask the system by themselves, but for those of numpy and torch.
    """
    import random

    source, real, given = random.Random(seed), os.urandom, random.Random.seed

    def urandom(size: int) -> bytes:
        return real(size) if _is_ours() else source.randbytes(size)

    def seeded(generator: random.Random, a: Any = None, version: int = 2) -> None:
        given(generator, source.getrandbits(64) if a is None else a, version)

    os.urandom = urandom
    vars(random)["_urandom"] = urandom  # what `secrets` asks, and by it numpy
    random.Random.seed = seeded  # type: ignore[assignment,method-assign]
    random.seed = vars(random)["_inst"].seed
    random.seed(seed)
    sys.meta_path.insert(0, _Seeding(seed))


class _Seeding:
    """Finds modules as Python does, and seeds their global generators when they are loaded."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The module's specification, with a loader that seeds; None for modules without a generator."""
        if name not in _SEEDS:
            return None
        from importlib.machinery import PathFinder

        spec: Any = PathFinder.find_spec(name, path, target)
        load: Any = getattr(getattr(spec, "loader", None), "exec_module", None)
        if load is None:
            return None

        def load_and_seed(module: Any) -> None:
            load(module)
            getattr(module, _SEEDS[name])(self._seed)

        spec.loader.exec_module = load_and_seed
        return spec
