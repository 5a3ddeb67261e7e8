"""Chance: generators that began in other states, folders listed in another order, standard input."""

from __future__ import annotations

from mlsdk.compare.difference import Difference
from mlsdk.compare.side import Side
from mlsdk.compare.values import ABSENT, differing, given, leaves, listed, mapping, same
from mlsdk.compare.variables import HASH_SEED

GLOBAL = ("random", "numpy", "torch")
"""Generators that a process has one of: whoever does not seed them gets another state each time."""

STR_HASH = "str_hash"


def seed_differences(a: Side, b: Side) -> list[Difference]:
    """Generators whose states differ just before the body, and the seed of the hashes of texts.

    Where neither run has fixed the hashes of texts they differ always, and nothing is said of it. Nor is it of a global
    generator that neither run has drawn from, or that both have left in one state: they seeded it themselves.
    """
    chances = [mapping(side.code.get("chance")) for side in (a, b)]
    if not all(chances):
        return []
    found = []
    seeds = [chance.get(HASH_SEED) for chance in chances]
    fixed = [seed not in (None, "", "random") for seed in seeds]
    if seeds[0] != seeds[1] and any(fixed):
        found.append(Difference("seed", HASH_SEED, seeds[0], seeds[1]))
    elif all(fixed) and chances[0].get(STR_HASH) != chances[1].get(STR_HASH):
        details = (f"{HASH_SEED} was set when the process had begun already: it changed nothing",)
        found.append(Difference("seed", STR_HASH, chances[0].get(STR_HASH), chances[1].get(STR_HASH), details))
    states = [{name: chance[name] for name in GLOBAL if name in chance} for chance in chances]
    after = [mapping(side.code.get("chance_after")) for side in (a, b)]
    for name, x, y in differing(*states):
        if x is ABSENT or y is ABSENT:  # it was not loaded yet, in one of them
            continue
        ends = (after[0].get(name), after[1].get(name))
        if not _means_nothing((x, y), ends):
            found.append(_of_global(name, x, y))
    arguments = [mapping(chance.get("arguments")) for chance in chances]
    for name, x, y in differing(*arguments):
        left, right = _seeded(x), _seeded(y)
        facts = {"argument": True}
        found.append(Difference("seed", name, left, right, ("a generator among the arguments",), facts=facts))
    return found


def _means_nothing(begun: tuple[object, object], ended: tuple[object, object]) -> bool:
    """Whether neither run drew from a generator, or both seeded it with the same number while they went on."""
    if None in ended:
        return False
    unused = all(same(start, end) for start, end in zip(begun, ended, strict=True))
    if unused or same(*ended):
        return True
    seeds = [
        (mapping(start).get("initial_seed"), mapping(end).get("initial_seed"))
        for start, end in zip(begun, ended, strict=True)
    ]
    return seeds[0][1] == seeds[1][1] and all(start != end for start, end in seeds)


def _of_global(name: str, x: object, y: object) -> Difference:
    details = ["it was in another state when the run began: nobody seeded it before, or with another number"]
    if isinstance(x, dict) and isinstance(y, dict):
        pairs = differing(dict(leaves(x)), dict(leaves(y)))
        details += [f"{part}: {left} → {right}" for part, left, right in pairs]
        x, y = x.get("cpu"), y.get("cpu")
    return Difference("seed", name, x, y, tuple(details), facts={"global": True})


def _seeded(value: object) -> object:
    """What a generator was seeded with, where it says so, else the digest of its state."""
    known = mapping(given(value))
    for part in ("entropy", "seed", "state"):
        if known.get(part) is not None:
            return known[part]
    return given(value)


def listing_differences(a: Side, b: Side) -> list[Difference]:
    """Folders that both listed, and whose names came in another order. Other names are other files, not an order."""
    orders = [
        {a_side.place(str(path)): names for path, names in mapping(a_side.code.get("listings")).items()}
        for a_side in (a, b)
    ]
    found = []
    for path in sorted(orders[0].keys() & orders[1].keys()):
        x, y = orders[0][path], orders[1][path]
        if x == y:
            continue
        left, right = listed(x), listed(y)
        if left and right and sorted(map(str, left)) != sorted(map(str, right)):
            details = _other_names({*map(str, left)}, {*map(str, right)})
        else:
            details = [f"the same {len(left):,} names in another order"] if left and right else []
        facts: dict[str, object] = {"orders": [x, y]}
        found.append(Difference("listing", path, _first(x), _first(y), tuple(details), facts=facts))
    return found


def _other_names(x: set[str], y: set[str]) -> list[str]:
    parts = {"added": sorted(y - x), "removed": sorted(x - y)}
    return [
        f"{what}: {', '.join(names[:5])}{'' if len(names) <= 5 else ' …'}" for what, names in parts.items() if names
    ]


def _first(names: object) -> object:
    some = listed(names)
    return f"{', '.join(map(str, some[:3]))}{' …' if len(some) > 3 else ''}" if some else names


def stdin_differences(a: Side, b: Side) -> list[Difference]:
    """What stood for the standard input, where that was a file, a pipe or nothing at all."""
    sides = [mapping(side.code.get("stdin")) for side in (a, b)]
    texts = [_stdin(side, of) for side, of in zip((a, b), sides, strict=True)]
    is_program = all(side.code.get("entry") == "-" for side in (a, b))  # its source is compared
    if is_program or not all(sides) or texts[0] == texts[1] or not any(of.get("kind") == "file" for of in sides):
        return []
    return [Difference("stdin", "stdin", texts[0], texts[1])]


def _stdin(side: Side, of: object) -> str:
    known = mapping(of)
    if known.get("kind") != "file":
        return str(known.get("kind"))
    return f"{side.place(str(known.get('path', 'a file')))}, {known.get('size_bytes', '?')} bytes"
