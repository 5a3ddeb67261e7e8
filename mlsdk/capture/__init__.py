"""Captures: plain functions that record facts about a run. This table is the whole extension point.

A capture takes a `Context` and returns a mapping of facts, or None where it cannot know. Some run in the caller before
the body (what could change under a later look), the others beside, in the companion. Strangers join by an entry point
of the group `mlsdk.captures` (runs beside) or by handing a function to `capture=` (runs before); their facts are found
under `env.<name>`.

Each line of the table names its module. What has several modules is a folder: `code` (files, git, what is loaded),
`functions` (what the run can reach), `environment` (interpreter, packages, lock, variables, job), `hardware`, `secrets`
(found and taken out of all the others). Single modules are the process (`process`, `arguments`, `randomness`), data and
inputs (`datasets`, `opened`, `listed`), results (`returned`, `output`), and what all use: `facts` encodes what was
found, `cache` finds it again.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from mlsdk.errors import UsageError

PutBlob = Callable[[bytes | str], tuple[str, int]]
"""Puts bytes, or the file at a path, away by content: (SHA-256, size in bytes)."""


def _no_blobs(_: bytes | str) -> tuple[str, int]:
    raise UsageError("this capture puts bytes away, and its context has no store")


def _no_blob(digest: str) -> bytes:
    raise UsageError(f"this capture reads blob {digest}, and its context has no store")


class Context(NamedTuple):
    """What a capture may look at."""

    folder: str
    """Working directory of the run."""
    function: Callable[..., object] | None = None
    """The tracked function, if the run is a call of one; in the caller only."""
    arguments: Mapping[str, object] = MappingProxyType({})
    """Its arguments by name, `self` of a method too, the caller's own objects; in the caller only."""
    facts: Mapping[str, Mapping[str, object]] = MappingProxyType({})
    """By kind and key, what was recorded before the body; beside only."""
    pid: int = 0
    """Process that is being recorded; beside only."""
    root: str | None = None
    """Folder of the store: `cache/` in it is for what a capture wants to find again."""
    put_blob: PutBlob = _no_blobs
    read_blob: Callable[[str], bytes] = _no_blob
    returned: object = None
    """What the tracked function returned; in the caller only, when the run ends."""
    listings: Mapping[str, object] = MappingProxyType({})
    """By path, in which order folders were listed that the run's code was seen to list; as `returned`."""


Function = Callable[[Context], Mapping[str, object] | None]


class Capture(NamedTuple):
    """One line of the table."""

    name: str
    kind: str
    """Kind of its facts: `code`, `env`, `hardware`."""
    beside: bool
    """Whether it runs in the companion rather than before the body."""
    function: str | Function
    """A function, or where to import it: `module:name`; `.module:name` is of this package."""
    shared: bool = True
    """Of a capture beside: what it finds depends on folder and entry point alone, not on what the process told.

    One look then serves all runs there."""

    later: str | None = None
    """Where to import what is called when the run ends, with the context and what was found: it gives what came."""

    among: tuple[str, ...] = ()
    """It has nothing to say unless one of these modules is loaded: until then it is not even imported."""

    def __call__(self, where: Context) -> Mapping[str, object] | None:
        """Take the facts."""
        if self.among and sys.modules.keys().isdisjoint(self.among):
            return None
        found: Function = _imported(self.function) if isinstance(self.function, str) else self.function
        return found(where)

    def since(self, where: Context, already: Mapping[str, object]) -> Mapping[str, object]:
        """Facts that came while the run was live."""
        found: Mapping[str, object] = _imported(self.later)(where, already) if self.later else {}
        return found


def _imported(place: str) -> Any:
    from importlib import import_module

    module, _, name = place.partition(":")
    return getattr(import_module(module, __name__), name)


def _nothing(_: Context) -> None:
    """Of what is looked at only when the run ends."""


_FRAMEWORKS = ("numpy", "scipy", "sklearn", "torch", "tensorflow", "jax", "cupy")

_TABLE = (
    # in the caller, before the body
    Capture("process", "code", False, ".process:capture"),
    Capture("python", "env", False, ".environment.python:capture"),
    Capture("variables", "env", False, ".environment.variables:capture"),
    Capture("job", "env", False, ".environment.job:capture"),
    Capture("frameworks", "env", False, ".environment.frameworks:capture", among=_FRAMEWORKS),
    Capture("blas", "hardware", False, ".hardware.blas:capture", among=_FRAMEWORKS),
    Capture("randomness", "code", False, ".randomness:capture", later=".randomness:later"),
    Capture("source", "code", False, ".code.source:capture", later=".code.source:later"),
    # in the caller, when the run ends
    Capture("listings", "code", False, _nothing, later=".listed:later"),
    Capture("returned", "code", False, _nothing, later=".returned:later"),
    # beside, in the companion
    Capture("git", "code", True, ".code.git:capture"),
    Capture("tree", "code", True, ".code.tree:capture"),
    Capture("functions", "code", True, ".functions.reachable:capture", shared=False),
    Capture("packages", "env", True, ".environment.packages:capture", shared=False),
    Capture("lock", "env", True, ".environment.lock:capture", shared=False),
    Capture("container", "env", True, ".environment.container:capture", shared=False),
    Capture("host", "hardware", True, ".hardware.host:capture", shared=False),
    Capture("cpu", "hardware", True, ".hardware.cpu:capture"),
    Capture("gpu", "hardware", True, ".hardware.gpu:capture", shared=False),
)
BUILT_IN = {capture.name: capture for capture in _TABLE}
"""By name: the captures of this package."""

STRANGERS = "others"
"""Stands in a request for the captures of other packages, whatever they are called."""


def chosen(capture: object) -> list[Capture]:
    """The captures meant by a `capture=` argument or setting: None for all built in, names, functions, () for none.

    Raises:
        UsageError: an unknown name, or something that is neither a name nor a function.
    """
    if capture is None:
        return list(BUILT_IN.values())
    if isinstance(capture, str):
        capture = () if capture == "none" else [name.strip() for name in capture.split(",") if name.strip()]
    if callable(capture) or not isinstance(capture, (list, tuple, set, frozenset)):
        capture = (capture,)
    return [_one(entry) for entry in capture]


def _one(entry: object) -> Capture:
    if isinstance(entry, str):
        return BUILT_IN.get(entry) or strangers(entry)[entry]
    if callable(entry):
        return Capture(getattr(entry, "__name__", type(entry).__name__), "env", False, entry)
    raise UsageError(
        f"capture= takes names of captures or functions, not {entry!r}; known names: {', '.join(BUILT_IN)}"
    )


@functools.cache
def _offered() -> dict[str, Capture]:
    from importlib.metadata import entry_points

    return {point.name: Capture(point.name, "env", True, point.value) for point in entry_points(group="mlsdk.captures")}


def strangers(needed: str | None = None) -> dict[str, Capture]:
    """Captures that other packages offer by entry point, by name; looked for once in a process.

    Raises:
        UsageError: `needed` is not among them.
    """
    found = _offered()
    if needed is not None and needed not in found:
        raise UsageError(f"there is no capture {needed!r}; known: {', '.join([*BUILT_IN, *found])}")
    return found


def facts_of(capture: Capture, found: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """What a capture found as facts by kind; a stranger's are grouped under its name."""
    if capture.name in BUILT_IN:
        return {capture.kind: found}
    return {capture.kind: {capture.name: dict(found)}}
