"""Chance: states of generators as digests."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.capture import Context
from mlsdk.capture.randomness import capture, digest, later
from tests import programs

VECTOR = "2c3565335180adf4"
"""Digest of the generator of `random` after `seed(1)`: the same on every Python."""

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is in no extra: decision 0001"
)


def chance(**arguments: object) -> dict[str, Any]:
    """What is found here."""
    found = capture(Context(".", arguments=arguments))
    assert "chance_missing" not in found
    return dict(found["chance"])  # type: ignore[call-overload]


def report(prelude: str, **settings: str) -> dict[str, Any]:
    """What another process finds, and what was imported for that."""
    code = f"""
import json, sys
from mlsdk.capture import Context, randomness
{prelude}
before = set(sys.modules)
found = randomness.capture(Context("."))
print(json.dumps({{**found["chance"], "imported": sorted(set(sys.modules) - before)}}))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=programs.environment(**settings), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_published_vector() -> None:
    """The digest of a known state is a published number."""
    random.seed(1)

    assert chance()["random"] == VECTOR
    assert digest(random.Random(1).getstate()) == VECTOR


def test_nothing_loaded_nothing_imported() -> None:
    """In a bare process only what concerns hashes is known; nothing is imported to know more."""
    found = report("")

    assert set(found) == {"str_hash", "imported"}
    assert found["imported"] == []


def test_two_processes() -> None:
    """Two processes seeded alike have equal digests, seeded otherwise others."""
    prelude = "import random, numpy\nrandom.seed({0}); numpy.random.seed({0})"
    one, two, other = (report(prelude.format(seed)) for seed in (1, 1, 2))

    assert (one["random"], one["numpy"]) == (two["random"], two["numpy"])
    assert one["random"] == VECTOR
    assert one["random"] != other["random"]
    assert one["numpy"] != other["numpy"]


def test_hashes_of_text() -> None:
    """Processes with one PYTHONHASHSEED hash texts alike, and it is seen; a variable set too late is seen through."""
    late = "import os; os.environ['PYTHONHASHSEED'] = '3'"
    one, two, three = (report(prelude, PYTHONHASHSEED=seed) for prelude, seed in (("", "3"), ("", "3"), (late, "4")))

    assert one["str_hash"] == two["str_hash"] != three["str_hash"]
    assert [found["PYTHONHASHSEED"] for found in (one, two, three)] == ["3", "3", "3"]


GENERATORS: dict[str, Callable[[int], Any]] = {
    "random": random.Random,
    "generator": np.random.default_rng,
    "philox": lambda seed: np.random.Generator(np.random.Philox(seed)),
    "legacy": np.random.RandomState,
    "bits": np.random.SFC64,
}

DRAWS: dict[str, Callable[[Any], object]] = {
    "random": lambda one: [one.random(), one.gauss(0, 1)],
    "generator": lambda one: one.random(3).tolist(),
    "philox": lambda one: one.random(3).tolist(),
    "legacy": lambda one: one.normal(size=3).tolist(),
    "bits": lambda one: one.random_raw(3).tolist(),
}


@pytest.mark.parametrize("kind", GENERATORS)
def test_arguments(kind: str) -> None:
    """A generator among the arguments is known by its state, is not moved by the look, and a draw changes it."""
    make, draw = GENERATORS[kind], DRAWS[kind]
    looked_at, left_alone = make(5), make(5)
    first = chance(rng=looked_at, x=3, other=make(6))["arguments"]
    same = draw(looked_at) == draw(left_alone)
    after = chance(rng=looked_at)["arguments"]

    assert same
    assert set(first) == {"rng", "other"}
    assert first["rng"]["state"] == chance(rng=make(5))["arguments"]["rng"]["state"]
    assert len({first["rng"]["state"], first["other"]["state"], after["rng"]["state"]}) == 3


def test_what_a_generator_was_seeded_with() -> None:
    """The seed is there where it can be read, through spawning too; within lists and mappings generators are found."""
    parent = np.random.SeedSequence(7)
    child = np.random.default_rng(parent.spawn(2)[1])
    found = chance(rng=np.random.default_rng(5), rngs=[child, 3], by={"a": random.Random(1)}, seq=parent)["arguments"]

    assert (found["rng"]["kind"], found["rng"]["entropy"]) == ("numpy.Generator(PCG64)", 5)
    assert (found["rngs.0"]["entropy"], found["rngs.0"]["spawn_key"]) == (7, [1])
    assert found["by.a"]["state"] == VECTOR
    assert found["seq"]["state"] != chance(seq=np.random.SeedSequence(7))["arguments"]["seq"]["state"], (
        "it has children"
    )


def test_global_generators_are_not_moved() -> None:
    """The numbers after a look are those that would have come without it."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    expected = (random.random(), random.gauss(0, 1), np.random.normal(size=2).tolist())  # noqa: NPY002
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    first = chance()
    drawn = (random.random(), random.gauss(0, 1), np.random.normal(size=2).tolist())  # noqa: NPY002

    assert drawn == expected
    assert (chance()["random"], chance()["numpy"]) != (first["random"], first["numpy"])


def test_generators_at_the_end() -> None:
    """A global generator that was not drawn from stands at the end where it stood, and one that was does not."""
    before = capture(Context("."))
    untouched = later(Context("."), before)["chance_after"]
    np.random.random()  # noqa: NPY002 - the global one is meant
    after = later(Context("."), before)["chance_after"]

    assert {name: untouched[name] for name in ("random", "numpy")} == {
        name: before["chance"][name] for name in ("random", "numpy")
    }
    assert after["random"] == before["chance"]["random"]
    assert after["numpy"] != before["chance"]["numpy"]
    assert later(Context("."), {}) == {}


def test_no_state() -> None:
    """The generator of the operating system has no state, and that is no failure."""
    found = chance(rng=random.SystemRandom())["arguments"]

    assert found == {"rng": {"kind": "random.SystemRandom", "state": None}}


def test_a_generator_that_refuses() -> None:
    """A generator of the user's that fails costs its own fact alone, and the reason is noted."""

    class Broken(random.Random):
        def getstate(self) -> tuple[Any, ...]:
            raise ZeroDivisionError("broken")

    found: Any = capture(Context(".", arguments={"a": Broken(), "b": random.Random(1)}))

    assert found["chance"]["arguments"]["b"]["state"] == VECTOR
    assert found["chance_missing"] == {"a": "ZeroDivisionError: broken"}


@needs_torch
def test_torch() -> None:
    """Torch's generator is known by its seed and state, equal in two processes; a passed one too; CUDA is not woken."""
    there = report("import torch\ntorch.manual_seed(1); torch.randn(3)")
    import torch

    torch.manual_seed(1)
    torch.randn(3)
    here, moved = chance(), torch.randn(2)
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(4)
    found = chance(g=generator)
    torch.randn(3)

    assert there["imported"] == []
    assert here["torch"] == there["torch"] != found["torch"]
    assert here["torch"]["initial_seed"] == 1
    assert moved.tolist() == torch.randn(2).tolist()
    assert found["arguments"]["g"]["seed"] == 4
    assert generator.get_state().equal(torch.Generator().manual_seed(4).get_state())
    assert not torch.cuda.is_initialized()


def test_jax_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of jax among the arguments are known by their numbers; other arrays are no keys."""

    class Array:
        def __init__(self, dtype: str, data: list[int]) -> None:
            self.dtype, self.data, self.shape = dtype, data, (len(data),)

        def tolist(self) -> list[int]:
            return self.data

    jax: Any = types.ModuleType("jax")
    jax.Array = Array
    jax.dtypes = types.SimpleNamespace(prng_key="key", issubdtype=lambda dtype, _: dtype == "key<fry>")
    jax.random = types.SimpleNamespace(key_data=lambda key: Array("uint32", key.data))
    monkeypatch.setitem(sys.modules, "jax", jax)
    new, old = Array("key<fry>", [0, 7]), Array("uint32", [0, 7])
    found = chance(key=new, rng_key=old, x=old, weights=Array("float32", [1, 2]))["arguments"]

    assert {name: one["kind"] for name, one in found.items()} == {"key": "jax.key(key<fry>)", "rng_key": "jax.key(raw)"}
    assert found["key"]["state"] == found["rng_key"]["state"] == digest([0, 7])


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)


@given(PLAIN, PLAIN)
def test_digest_tells_values_apart(one: object, two: object) -> None:
    """Two states have one digest if and only if they are equal, by value and by type."""
    assert (digest(one) == digest(two)) == (_canonical(one) == _canonical(two))


def test_digest_of_arrays() -> None:
    """Byte order does not count; type, shape and values do; what has no canonical form is refused."""
    words = np.arange(4, dtype="<u4")

    assert digest(words) == digest(words.astype(">u4"))
    assert len({digest(words), digest(words.astype("<u8")), digest(words.reshape(2, 2)), digest(words[::-1])}) == 4
    assert digest(np.uint64(3)) == digest(3)
    with pytest.raises(TypeError, match="object"):
        digest(object())
