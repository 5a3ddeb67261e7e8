"""What may be to blame for a rerun that came to something else, and how each suspect is made as it was in the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from mlsdk.compare.difference import KINDS, Difference
from mlsdk.compare.side import Side
from mlsdk.records import Run
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.world.pieces import with_piece

HASH_SEED = "PYTHONHASHSEED"
HELD_SEED = 0
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
KERNEL = "OPENBLAS_CORETYPE"

Change = dict[str, Any]
"""Fields of a `Recipe` that are to be others; mappings and tuples are added to what is there."""


@attrs.frozen
class Suspect:
    """A difference, and how a rerun is made without it.

    Attributes:
        difference: between the run and its rerun.
        change: what a recipe needs to have it as it was in the run; None where that cannot be had.
        why_not: then, why.
        held: chance, which cannot be brought back: that it is to blame shows where two reruns with it held still are
            the same, and without are not.
        hint: nothing shows that it differed; it may differ in any two runs.
    """

    difference: Difference
    change: Change | None = None
    why_not: str = ""
    held: bool = False
    hint: bool = False

    def __str__(self) -> str:
        return f"{self.difference.kind} {self.difference.what}"


def suspects_of(
    run: Run, new: Run, differences: Iterable[Difference], recipe: Recipe, *, deterministic: bool, hints: bool = True
) -> list[Suspect]:
    """The suspects in causal order.

    Args:
        run: the run that was made again.
        new: its rerun.
        differences: between the two, as `mlsdk.compare.causes` finds them.
        recipe: by which it was made again.
        deterministic: whether two reruns were the same; what differs between them is chance otherwise.
        hints: whether chance is suspected of which nothing shows that it differed.
    """
    side = Side(run)
    found = _alone([_suspect(side, difference, recipe, deterministic) for difference in differences], side, new)
    known = {(one.difference.kind, one.difference.what) for one in found}
    guessed = [*([] if deterministic else _of_chance(run, found)), *_clock(run)] if hints else []
    found += [one for one in guessed if (one.difference.kind, one.difference.what) not in known]
    return sorted(found, key=lambda one: (KINDS.index(one.difference.kind), one.hint, one.difference.rank))


def changed(recipe: Recipe, suspects: Iterable[Suspect]) -> Recipe:
    """The recipe by which suspects are as they were in the run, and all else as before."""
    for suspect in suspects:
        for name, value in (suspect.change or {}).items():
            before = getattr(recipe, name)
            if isinstance(before, Mapping):
                value = {**before, **value}
            elif isinstance(before, tuple):
                value = tuple(dict.fromkeys((*before, *value)))
            recipe = attrs.evolve(recipe, **{name: value})
    return recipe


def _suspect(side: Side, difference: Difference, recipe: Recipe, deterministic: bool) -> Suspect:
    if difference.kind == "seed":
        return _seed(side, difference, recipe, deterministic)
    how = _HOW.get(difference.kind, _cannot)(side, difference, recipe)
    return Suspect(difference, None, how) if isinstance(how, str) else Suspect(difference, how)


# Each gives a change, or says why there is none.


def _param(side: Side, difference: Difference, _: Recipe) -> Change | str:
    if difference.facts.get("source", "params") != "params":
        return "a rerun has the run's command line"
    params = side.run.params
    names = [name for name in params if difference.what == name or difference.what.startswith(f"{name}.")]
    if not names:
        return "the run did not have it"
    return {"params": {max(names, key=len): params[max(names, key=len)]}}


def _function(side: Side, difference: Difference, recipe: Recipe) -> Change | str:
    module = difference.what.partition(":")[0]
    place = side.module_places.get(module)
    if recipe.code != "here":
        return "a rerun has the run's code"
    if difference.a is None:
        return "the run did not have it"
    if place is None or place.startswith(("/", "..")):
        return f"the source of {module} lies outside of the code that is kept with the run"
    return {"files": (place,)}


def _alone(found: list[Suspect], then: Side, new: Run) -> list[Suspect]:
    """Functions of one file each by its own change, where all of them can be put into the file that lies here."""
    by_place: dict[str, list[Suspect]] = {}
    for one in found:
        if one.difference.kind == "function" and one.change is not None:
            by_place.setdefault(one.change["files"][0], []).append(one)
    alone: dict[int, Suspect] = {}
    for place, members in by_place.items():
        names = [one.difference.what.partition(":")[2] for one in members]
        texts = [_text(side, place) for side in (Side(new), then)] if len(members) > 1 else [None, None]
        if texts[0] and texts[1] and all(with_piece(texts[0], texts[1], name) for name in names):
            for one, name in zip(members, names, strict=True):
                alone[id(one)] = attrs.evolve(one, change={"pieces": (f"{place}:{name}",)})
    return [alone.get(id(one), one) for one in found]


def _text(side: Side, place: str) -> bytes | None:
    """A file of the code tree, if it was kept as it was."""
    entry = side.entries.get(place, {})
    digest = str(entry.get("sha256"))
    return None if entry.get("kind") != "file" or entry.get("spans") else side.contents([digest]).get(digest)


def _file(side: Side, difference: Difference, recipe: Recipe) -> Change | str:
    if recipe.code != "here":
        return "a rerun has the run's files"
    if difference.what not in side.entries:
        return "the run did not have it"
    return {"files": (difference.what,)}


def _data(side: Side, difference: Difference, recipe: Recipe) -> Change | str:
    if recipe.data != "here":
        return "a rerun has the run's data"
    data = side.run.datasets.get(difference.what)
    if data is not None and data.path is None:  # made in memory, perhaps of files that are known to differ
        files = difference.facts.get("files")
        kept = tuple(name for name in files if name in side.entries) if isinstance(files, tuple) else ()
        return {"files": kept} if kept else "it was in memory, and from what it was made is not known"
    if data is not None:
        return {"datasets": (difference.what,)}
    for name in side.run.inputs:
        if side.place(name) == difference.what:
            return {"datasets": (name,)}
    return "the run did not have it"


def _package(side: Side, difference: Difference, _: Recipe) -> Change | str:
    distributions = side.environment.get("distributions")
    version = distributions.get(difference.what) if isinstance(distributions, Mapping) else None
    if not isinstance(version, str):
        return (
            "which files of it were edited is known, not what they held" if difference.a else "the run did not have it"
        )
    return {"packages": {difference.what: version}}


def _interpreter(_: Side, __: Difference, recipe: Recipe) -> Change | str:
    return {"env": "lock"} if recipe.env == "same" else "it is another one than where the run was made"


def _by_variable(side: Side, difference: Difference) -> Change | str:
    name = str(difference.facts.get("variable", difference.what))
    variables, hashes = side.environment.get("variables"), side.environment.get("variable_hashes")
    if isinstance(variables, Mapping) and name in variables:
        return {"variable_values": {name: str(variables[name])}}
    if isinstance(hashes, Mapping) and name in hashes:
        return (
            "of its value in the run only a digest is kept; let mlsdk keep it by the setting `environment`:"
            f" MLSDK_ENVIRONMENT={name}"
        )
    return {"variable_values": {name: None}}


def _blas(side: Side, difference: Difference, _: Recipe) -> Change | str:
    if "variable" in difference.facts:
        return _by_variable(side, difference)
    kernel = side.hardware.get("blas_kernel")
    if difference.a is not None and difference.a == kernel:
        return {"variable_values": {KERNEL: str(kernel)}}
    return "it comes with a package, or with the processor"


def _threads(side: Side, difference: Difference, _: Recipe) -> Change | str:
    if "variable" in difference.facts:
        return _by_variable(side, difference)
    number = str(difference.a)
    if not number.isdigit():
        return "the run had several numbers of threads"
    return {"variable_values": dict.fromkeys(THREADS, number)}


def _variable(side: Side, difference: Difference, _: Recipe) -> Change | str:
    if difference.what == "timezone":
        return {"variable_values": {"TZ": str(difference.a)}}
    if difference.what == "locale":
        return "the locale of the run may not be there"
    return _by_variable(side, difference)


def _listing(side: Side, difference: Difference, _: Recipe) -> Change | str:
    listings = side.code.get("listings")
    for path, names in listings.items() if isinstance(listings, Mapping) else ():
        if side.place(str(path)) == difference.what and isinstance(names, (list, tuple)):
            return {"listings": {str(path): tuple(map(str, names))}}
    return "of so many names only a digest is kept"


def _cannot(_: Side, difference: Difference, __: Recipe) -> str:
    reasons = {"hardware": "it is another machine", "stdin": "what was read from it is not kept"}
    return reasons.get(difference.kind, "it cannot be made as it was")


_HOW = {
    "param": _param,
    "function": _function,
    "file": _file,
    "data": _data,
    "package": _package,
    "interpreter": _interpreter,
    "blas": _blas,
    "threads": _threads,
    "variable": _variable,
    "listing": _listing,
}


# chance


def _seed(side: Side, difference: Difference, recipe: Recipe, deterministic: bool) -> Suspect:
    if difference.what in (HASH_SEED, "str_hash"):
        seed = difference.a
        if difference.what == HASH_SEED and seed is not None and str(seed).isdigit():
            return Suspect(difference, {"variable_values": {HASH_SEED: str(seed)}})
        return Suspect(difference, {"variable_values": {HASH_SEED: str(HELD_SEED)}}, held=True)
    if difference.facts.get("argument"):
        return Suspect(difference, None, "whoever called the function made it: give it a seed")
    if not deterministic:
        return Suspect(difference, {"seed": HELD_SEED}, held=True)
    place = side.module_places.get("__main__")  # where it is seeded, with another number now
    if recipe.code == "here" and place is not None:
        return Suspect(difference, {"files": (place,)})
    return Suspect(difference, None, "the state of a generator is known by a digest only: seed it in the program")


def _of_chance(run: Run, found: Iterable[Suspect]) -> list[Suspect]:
    """What is chance in every run, and may be to blame where two reruns differ."""
    chance = run.code.get("chance")
    known = chance if isinstance(chance, Mapping) else {}
    suspects: list[Suspect] = []
    if not str(known.get(HASH_SEED) or "").isdigit():
        details = (f"{HASH_SEED} is not set: sets of texts have another order in each process",)
        change: Change = {"variable_values": {HASH_SEED: str(HELD_SEED)}}
        suspects.append(Suspect(Difference("seed", HASH_SEED, details=details), change, held=True, hint=True))
    if not any(one.difference.kind == "seed" and one.change == {"seed": HELD_SEED} for one in found):
        details = ("random numbers are drawn that nobody has seeded",)
        suspects.append(
            Suspect(Difference("seed", "not seeded", details=details), {"seed": HELD_SEED}, held=True, hint=True)
        )
    return suspects


def _clock(run: Run) -> list[Suspect]:
    """The time of day, where code that the run can reach asks for it."""
    asked = run.code.get("clock")
    if not asked:
        return []
    names = asked.items() if isinstance(asked, Mapping) else ()
    details = tuple(f"{place} asks {', '.join(map(str, clocks))}" for place, clocks in names)
    at = run.started_at
    difference = Difference("clock", "time of day", f"{at:%Y-%m-%d %H:%M:%S} UTC", "now", details)
    return [Suspect(difference, {"clock_s": at.timestamp()}, held=True, hint=True)]
