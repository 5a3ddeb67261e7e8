"""A rerun, as the program that is run again sees it: which of its runs is meant, and what is to be other in it.

Who reruns a program starts the whole of it and names a file, the order, in the environment. Runs before the one that
is meant record nothing; with its end the process ends. The order is for one process: its children do not see it.
"""

from __future__ import annotations

import itertools
import os
import sys
from typing import NoReturn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mlsdk.capture import Capture
    from mlsdk.capture.arguments import Binder

VARIABLE = "MLSDK_RERUN"
"""Path of the order."""

_NOT_READ: Any = object()
_order: Order | None = _NOT_READ
_pid = 0
_numbers = itertools.count()


class Order:
    """What a rerun asks of a program.

    Attributes:
        id: of the run to be made.
        of: id of the run that is made again.
        number: which of the runs that the process starts is meant, from 0.
        store: URI of the store for all its runs.
        experiment: of all its runs; None for what the program says.
        name: of the run that is meant; None for what the program says.
        params: what is to be other than before, by name.
        shown: names of those that the command line shows already.
        seed: of every generator, just before the body; None for leaving them alone.
        code: facts of code that are known to who has made the order.
        without: names of captures that this makes needless.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        from mlsdk.log.values import decode

        self.id: str = values["id"]
        self.of: str = values["of"]
        self.number: int = values["number"]
        self.store: str = values["store"]
        self.experiment: str | None = values["experiment"]
        self.name: str | None = values["name"]
        self.params: Mapping[str, Any] = decode(values["params"])
        self.shown: frozenset[str] = frozenset(values["shown"])
        self.seed: int | None = values["seed"]
        self.code: Mapping[str, Any] = decode(values["code"])
        self.without: frozenset[str] = frozenset(values["without"])
        self._answer: str = values["answer"]

    def refuse(self, why: str, message: str) -> NoReturn:
        """Tell who has made the order why it cannot be followed, and end the process."""
        import json

        with open(self._answer, "w", encoding="utf-8") as file:
            json.dump({"why": why, "message": message}, file)
        end()

    def arguments(
        self, binder: Binder, args: tuple[Any, ...], kwargs: dict[str, Any], called: str
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call, with those of the order."""
        named = dict(kwargs)
        given = list(args[: len(binder.positional)])
        rest = args[len(binder.positional) :]
        for name, value in self.params.items():
            if name == binder.rest:
                rest = tuple(value) if isinstance(value, (tuple, list)) else (value,)
            elif name in binder.positional[: len(given)]:
                given[binder.positional.index(name)] = value
            elif name in binder.fixed or binder.rest_by_name is not None:
                named[name] = value
            elif name not in self.shown:
                self._unknown(name, binder.fixed, f"{called}() has no parameter {name!r}")
        return (*given, *rest), named

    def begin(self, captures: list[Capture], params: Mapping[str, Any], resumed: object) -> list[Capture]:
        """Prepare for the run that is meant: seed, see that the order can be followed; the captures that are left."""
        if resumed is not None:
            self.refuse("entry", "the program goes on with another run (resume=): that cannot be made again by itself")
        self._check(params)
        if self.seed is not None:
            seed(self.seed)
        return [capture for capture in captures if capture.name not in self.without]

    def _check(self, params: Mapping[str, Any]) -> None:
        """See that what a run was given shows the order, as far as it speaks of it."""
        for name, value in self.params.items():
            if name in params and not is_same(params[name], value):
                self.refuse(
                    "arguments",
                    f"{name}={value!r} has no effect: the program gives its run {name}={params[name]!r}, whatever its"
                    f" command line says; let the program read {name} from an option --{name}, or make it an argument"
                    " of a tracked function",
                )

    def _unknown(self, name: str, known: frozenset[str], what: str) -> NoReturn:
        from mlsdk.query.names import suggest

        near = suggest(name, known)
        hint = f"; did you mean {near[0]!r}?" if near else f"; it has: {', '.join(sorted(known)) or 'none'}"
        self.refuse("arguments", what + hint)


def is_same(a: object, b: object) -> bool:
    """Whether a param is what was asked for: the value itself, or what a command line writes for it."""
    try:
        return bool(a == b) or str(a) == str(b)
    except Exception:  # a comparison of the user's own
        return False


def count() -> int:
    """The number of the run that is about to be started, among those that this process starts; from 0."""
    return next(_numbers)


def current() -> Order | None:
    """The order that this process was started with; None in all that are no reruns."""
    return _read() if _order is _NOT_READ else _order


def order_for(number: int) -> Order | None:
    """The order, if it means the run of this number."""
    order = current()
    return order if order is not None and order.number == number and os.getpid() == _pid else None


def passes_over(number: int) -> bool:
    """Whether a run records nothing because another one is meant, and this is not within it."""
    order = current()
    if order is None or order_for(number) is not None:
        return False
    from mlsdk.tracking import context

    outer = context.entered.get()
    return outer is None or outer.finished or not outer.store_uri


def _read() -> Order | None:
    """Read the order, and take it out of the environment: it is not for child processes.

    Threads that start their runs at once may read it twice: it goes when it is known.
    """
    global _order, _pid
    path = os.environ.get(VARIABLE)
    found = _order_at(path) if path else None
    if _order is _NOT_READ:
        _pid = os.getpid()
        _order = found
    os.environ.pop(VARIABLE, None)
    return _order


def _order_at(path: str) -> Order | None:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except (OSError, ValueError):  # a process that was left over from a rerun
        return None
    is_ours = os.name == "nt" or values["parent"] == os.getppid()  # there, a launcher stands between
    return Order(values) if is_ours else None


def seed(value: int) -> None:
    """Seed the global generators, of those that are loaded: those that come later are seeded when they do."""
    import random

    random.seed(value)
    for name, function in (("numpy.random", "seed"), ("torch", "manual_seed")):
        module = sys.modules.get(name)
        if module is not None:
            getattr(module, function)(value)


def leave() -> None:
    """End the process with the run that is meant: nothing after it belongs to it."""
    if os.getpid() == _pid:
        end()


def end() -> NoReturn:
    """End the process, once all runs are written."""
    from mlsdk.tracking.exits import at_exit

    at_exit()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # closed, or something of the user's in its place
            continue
    os._exit(0)
