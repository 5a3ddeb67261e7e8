"""Chance: the state of every random generator in reach before the body begins, as digests.

Only what is loaded is looked at: nothing is imported for it, nothing seeded, and no generator moves. Two runs with
equal digests had the same random numbers before them; a digest is the same in every process and version of Python.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlsdk.capture import Context
from mlsdk.log.standins import in_use

try:
    from _blake2 import blake2b  # a hundredth of the cost of importing hashlib
except ImportError:
    from hashlib import blake2b

_MOST_ITEMS = 64
"""Of a list or mapping among the arguments that is looked into for generators."""

_Found = dict[str, object]


def capture(where: Context) -> Mapping[str, object]:
    """Fact `chance`; `chance_missing` says of which generators the state could not be read, and why.

    Keys of `chance`:
        PYTHONHASHSEED: the variable as it is now; absent if it is not set.
        str_hash: what `hash("mlsdk")` is, in hexadecimal: equal where sets and dictionaries of texts are ordered
            equally, whatever the variable says by now.
        random, numpy: digests of the global generators' states.
        torch: `cpu` (digest), `initial_seed`, and, where CUDA is in use already, `cuda`: a digest for each device.
        arguments: by parameter (`rngs.0` within a list or mapping), of each generator, seed sequence or key of jax:
            `kind`, `state` (digest), and what it was seeded with where it says so (`entropy`, `spawn_key`, `seed`).
    """
    found: _Found = {"str_hash": f"{hash('mlsdk') & (2**64 - 1):016x}"}
    if (seed := os.environ.get("PYTHONHASHSEED")) is not None:
        found["PYTHONHASHSEED"] = seed
    missing: dict[str, str] = {}
    for name, look in _GLOBAL:
        _try(name, look, found, missing)
    if where.arguments:
        arguments = _of_arguments(where.arguments, missing)
        if arguments:
            found["arguments"] = arguments
    return {"chance": found, **({"chance_missing": missing} if missing else {})}


def later(_: Context, already: Mapping[str, object]) -> Mapping[str, object]:
    """Fact `chance_after`: digests of the global generators' states when the run ended, of those known at its start.

    A generator that stands where it stood was not drawn from, so that its state meant nothing to the run.
    """
    chance = already.get("chance")
    found: _Found = {}
    for name, look in _GLOBAL:
        if isinstance(chance, Mapping) and name in chance:
            _try(name, look, found, {})
    return {"chance_after": found} if found else {}


def _try(name: str, look: Callable[[], object], found: _Found, missing: dict[str, str]) -> None:
    try:
        state = look()
    except Exception as error:  # another library's inside, or a generator of the user's: what it refuses is noted
        missing[name] = f"{type(error).__name__}: {str(error)[:200]}"
        return
    if state is not None:
        found[name] = state


def _random() -> object:
    module = sys.modules.get("random")
    return None if module is None else digest(module.getstate())


def _numpy() -> object:
    module = in_use("numpy.random.mtrand")
    return None if module is None else digest(module.get_state(legacy=False))


def _torch() -> object:
    torch = in_use("torch")
    if torch is None:
        return None
    found: _Found = {"cpu": digest(torch.get_rng_state()), "initial_seed": torch.initial_seed()}
    if torch.cuda.is_initialized():
        found["cuda"] = [digest(generator.get_state()) for generator in torch.cuda.default_generators]
    return found


_GLOBAL: tuple[tuple[str, Callable[[], object]], ...] = (("random", _random), ("numpy", _numpy), ("torch", _torch))
"""Generators that a process has one of, and who reads them."""


def _of_arguments(arguments: Mapping[str, object], missing: dict[str, str]) -> _Found:
    readers = list(_readers())
    found: _Found = {}
    if not readers:
        return found
    for name, value in _items(arguments):
        for kind, reader in readers:
            if _is(value, kind):
                _try(name, lambda value=value, name=name, reader=reader: reader(name, value), found, missing)  # type: ignore[misc]
                break
    return found


def _is(value: object, kind: type) -> bool:
    try:
        return isinstance(value, kind)
    except Exception:  # an argument may be an odd object, which raises when it is asked for its class
        return False


def _items(arguments: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The arguments, and what lies in those that are plain lists, tuples and dictionaries."""
    for name, value in arguments.items():
        if type(value) in (list, tuple) and len(value) <= _MOST_ITEMS:  # type: ignore[arg-type]
            yield from ((f"{name}.{number}", item) for number, item in enumerate(value))  # type: ignore[var-annotated,arg-type]
        elif type(value) is dict and len(value) <= _MOST_ITEMS:
            yield from ((f"{name}.{key}", item) for key, item in list(value.items()))
        else:
            yield name, value


def _readers() -> Iterator[tuple[type, Callable[[str, Any], object]]]:
    """Classes of generators, of the modules that are loaded, and who reads them."""
    for module, names, reader in (
        ("random", ("Random",), _of_random),
        ("numpy.random", ("Generator", "RandomState", "BitGenerator", "SeedSequence"), _of_numpy),
        ("torch", ("Generator",), _of_torch),
        ("jax", ("Array",), _of_jax),
    ):
        loaded = in_use(module)
        kinds = (getattr(loaded, name, None) for name in names) if loaded is not None else ()
        yield from ((kind, reader) for kind in kinds if isinstance(kind, type))


def _kind(value: object) -> str:
    return f"{type(value).__module__.partition('.')[0]}.{type(value).__qualname__}"


def _of_random(_: str, value: Any) -> _Found:
    kind = _kind(value)
    try:
        return {"kind": kind, "state": digest(value.getstate())}
    except NotImplementedError:  # the operating system's
        return {"kind": kind, "state": None}


def _of_numpy(_: str, value: Any) -> _Found:
    if hasattr(value, "spawn_key"):
        seeded = {"entropy": value.entropy, "spawn_key": list(value.spawn_key)}
        state = [value.entropy, list(value.spawn_key), value.pool_size, value.n_children_spawned]
        return {"kind": _kind(value), "state": digest(state), **seeded}
    bits = getattr(value, "bit_generator", None) or getattr(value, "_bit_generator", value)
    state = value.get_state(legacy=False) if hasattr(value, "get_state") else bits.state
    kind = _kind(value) if bits is value else f"{_kind(value)}({type(bits).__name__})"
    found: _Found = {"kind": kind, "state": digest(state)}
    sequence = getattr(bits, "seed_seq", None) or getattr(bits, "_seed_seq", None)
    if getattr(sequence, "entropy", None) is not None and not hasattr(value, "get_state"):
        found.update(entropy=sequence.entropy, spawn_key=list(sequence.spawn_key))  # type: ignore[union-attr]
    return found


def _of_torch(_: str, value: Any) -> _Found:
    kind = f"{_kind(value)}({value.device})"
    return {"kind": kind, "state": digest(value.get_state()), "seed": value.initial_seed()}


def _of_jax(name: str, value: Any) -> _Found | None:
    """A key of the new kind by its type; one of the old by being small, unsigned and called a key."""
    jax = sys.modules["jax"]
    if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        data, kind = jax.random.key_data(value), str(value.dtype)
    elif str(value.dtype) == "uint32" and value.shape in ((2,), (4,)) and ("key" in name or "rng" in name):
        data, kind = value, "raw"
    else:
        return None
    return {"kind": f"jax.key({kind})", "state": digest(data.tolist())}


def digest(state: object) -> str:
    """16 hexadecimal digits for a state: BLAKE2b (RFC 7693) of its canonical bytes, the same everywhere.

    Args:
        state: numbers, texts, None, and sequences, mappings, arrays and tensors of them.

    Raises:
        TypeError: something else is in it.

    Example:
        >>> digest([1, "a", {"pos": 3}])
        'c1083180e67bad3c'
    """
    hasher = blake2b(digest_size=16)
    _feed(hasher.update, state)
    return hasher.hexdigest()[:16]


def _feed(update: Callable[[bytes], object], value: Any) -> None:
    if value is None or type(value) is bool:
        update(repr(value).encode() + b";")
    elif isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
        update(b"s%d:" % len(data) + data)
    elif isinstance(value, float):
        update(b"f" + struct.pack("<d", value))
    elif isinstance(value, int):
        update(b"i%x;" % value if value >= 0 else b"i-%x;" % -value)
    elif isinstance(value, (list, tuple)):
        _feed_sequence(update, value)
    elif isinstance(value, Mapping):
        update(b"m%d:" % len(value))
        for name in sorted(value):
            _feed(update, name)
            _feed(update, value[name])
    else:
        _feed_array(update, value)


def _feed_sequence(update: Callable[[bytes], object], value: Any) -> None:
    update(b"l%d:" % len(value))
    if {*map(type, value)} == {int}:
        try:
            update(b"I" + struct.pack(f"<{len(value)}I", *value))  # Mersenne's 624 words, in one step
            return
        except struct.error:  # not of 32 bits
            pass
    for item in value:
        _feed(update, item)


def _feed_array(update: Callable[[bytes], object], value: Any) -> None:
    """An array of numpy or a tensor of torch on the processor; a scalar of numpy is a number."""
    if hasattr(value, "numpy"):
        try:
            value = value.numpy()
        except RuntimeError:  # a torch without numpy
            value = value.tolist()
            return _feed(update, value)
    if not (hasattr(value, "tobytes") and hasattr(value, "dtype")):
        raise TypeError(f"{type(value).__name__} has no place in the state of a generator")
    if value.shape == ():
        return _feed(update, value.item())
    ordered = value.astype(value.dtype.newbyteorder("<"))
    update(f"a{ordered.dtype.str}{list(ordered.shape)}:".encode() + ordered.tobytes())
    return None
