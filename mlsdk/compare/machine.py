"""The machine: processor, cards, linear algebra, threads."""

from __future__ import annotations

from collections.abc import Iterable

from mlsdk.compare.difference import Difference
from mlsdk.compare.side import Side
from mlsdk.compare.values import Pair, Values, differing, given, listed, mapping, shown

_HARDWARE = ("cores", "usable_cores", "gpu_count", "gpu_driver", "cuda_driver", "gpus_visible")
_FLAGS = "cpu flags"
_MOST = 12
"""Instructions that are named."""


def hardware_differences(a: Side, b: Side) -> list[Difference]:
    """Processor, cores and cards; of the processor's instructions those that only one has.

    What it was called, and how busy it was, is nothing that a result comes from.
    """
    facts = [_hardware(side.hardware) for side in (a, b)]
    pairs = [pair for pair in differing(*facts) if pair[0] in facts[0] and pair[0] in facts[1]]
    names = {name for name, _, _ in pairs}
    if "usable_cores" in names:
        pairs = [pair for pair in pairs if pair[0] != "cores"]
    return [
        Difference("hardware", name, given(x), given(y), _apart(str(x), str(y)) if name == _FLAGS else ())
        for name, x, y in pairs
    ]


def _apart(x: str, y: str) -> tuple[str, ...]:
    """What only one of two processors has."""
    left, right = x.split(), y.split()
    only = [[word for word in one if word not in other] for one, other in ((left, right), (right, left))]
    return tuple(
        f"{run} only: {' '.join(words[:_MOST])}{f' and {len(words) - _MOST} more' if len(words) > _MOST else ''}"
        for run, words in zip("AB", only, strict=True)
        if words
    )


def _hardware(facts: Values) -> dict[str, object]:
    found = {name: facts[name] for name in _HARDWARE if name in facts}
    cpu = mapping(facts.get("cpu"))
    if cpu:
        found["cpu"] = cpu.get("model")
        found[_FLAGS] = " ".join(sorted(map(str, listed(cpu.get("flags")))))
    if "gpu_count" in facts:
        found["gpus"] = [f"{mapping(one).get('name')}" for one in listed(facts.get("gpus"))]
    return found


def blas_differences(a: Side, b: Side, variables: Iterable[Pair], *, other_packages: bool) -> list[Difference]:
    """Which linear algebra was loaded, in which version and for which processor it chose its code.

    Args:
        a: the first run.
        b: the second.
        variables: environment variables that differ and that such libraries read.
        other_packages: packages differ that bring such libraries: their versions follow from that.
    """
    sides = [_libraries(side.hardware) for side in (a, b)]
    versions = [] if other_packages else _both(sides, "version")
    moved = [*_both(sides, "kernel"), *((f"{name} version", x, y) for name, x, y in versions)]
    return _by_variable("blas", list(variables), moved)


def thread_differences(a: Side, b: Side, variables: Iterable[Pair]) -> list[Difference]:
    """How many threads the loaded libraries calculate with. A variable that differs stands for what it brings about."""
    sides = [_libraries(side.hardware) for side in (a, b)]
    for found, side in zip(sides, (a, b), strict=True):
        for framework, facts in mapping(side.environment.get("frameworks")).items():
            about = mapping(facts)
            if "threads" in about:
                found.setdefault(str(framework), {})["threads"] = {str(about["threads"])}
            if "interop_threads" in about:
                found.setdefault(f"{framework} interop", {})["threads"] = {str(about["interop_threads"])}
    return _by_variable("threads", list(variables), _both(sides, "threads"))


_Libraries = dict[str, dict[str, set[str]]]
"""By name of a library, its facts: sets, since a process may have loaded it twice."""


def _libraries(facts: Values) -> _Libraries:
    found: _Libraries = {}
    for one in map(mapping, listed(facts.get("libraries"))):
        into = found.setdefault(str(one.get("name", "?")), {})
        for part in ("kernel", "version", "threads"):
            if part in one:
                into.setdefault(part, set()).add(str(one[part]))
    torch = mapping(facts.get("torch"))
    if torch:
        of_torch = {"kernel": torch.get("kernel"), "version": torch.get("blas"), "threads": torch.get("threads")}
        found["torch"] = {part: {str(value)} for part, value in of_torch.items() if value is not None}
    return found


def _both(sides: list[_Libraries], part: str) -> list[Pair]:
    """What differs of the libraries that both runs had loaded."""
    then, now = ({name: facts[part] for name, facts in side.items() if part in facts} for side in sides)
    common = sorted(then.keys() & now.keys())
    return [(name, _one(then[name]), _one(now[name])) for name in common if then[name] != now[name]]


def _one(values: set[str]) -> object:
    text = " and ".join(sorted(values))
    return int(text) if text.isdigit() else text


def _by_variable(kind: str, variables: list[Pair], moved: list[Pair]) -> list[Difference]:
    """The variables that differ, with what moved; where none does, what moved by itself."""
    if not variables:
        return [Difference(kind, name, x, y) for name, x, y in moved]
    details = tuple(f"{name}: {shown(x)} → {shown(y)}" for name, x, y in moved)
    return [Difference(kind, name, given(x), given(y), details, facts={"variable": name}) for name, x, y in variables]
