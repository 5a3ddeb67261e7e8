"""One function put back into a file: what stands beside it stays, and where that cannot be had nothing is done."""

from __future__ import annotations

import pytest

from mlsdk.reproduce.world.pieces import with_piece

THEN = b"""
import math
from math import sin as wave

RATE = 0.5
A, B = 1, 2

def used():
    return 1

@math.cache
def scale(x):
    # as it was
    return RATE * wave(x)

class Model:
    size = 3

    def fit(self, x):
        return x

if __name__ == "__main__":
    print(scale(1))
"""


def changed(*pairs: tuple[bytes, bytes]) -> bytes:
    """The source with other words."""
    found = THEN
    for before, after in pairs:
        assert before in found
        found = found.replace(before, after)
    return found


BESIDE = (b"A, B = 1, 2", b"A, B = 2, 3"), (b"return 1\n", b"return 7\n")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("scale", [(b"    # as it was\n    return RATE * wave(x)", b"    return 2 * RATE * wave(x)")]),
        ("scale", [(b"@math.cache\ndef scale(x):", b"def scale(x, y=1, *,\n          z=2):")]),
        ("Model.fit", [(b"        return x\n", b"        x += 1\n        return x\n")]),
        ("RATE", [(b"RATE = 0.5", b"RATE = (\n    0.25\n)")]),
    ],
)
def test_one_piece(name: str, changes: list[tuple[bytes, bytes]]) -> None:
    """A function, a method or a constant is as it was, to the letter, and all else as it is here."""
    now = changed(*changes, *BESIDE)

    assert with_piece(now, THEN, name) == changed(*BESIDE)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param("scale", [(b"sin as wave", b"cos as wave"), (b"RATE * wave", b"wave")], id="another import"),
        pytest.param("scale", [(b"RATE = 0.5\n", b""), (b"RATE * wave(x)", b"wave(x)")], id="a name that is gone"),
        pytest.param("scale", [(b"RATE * wave(x)", b"RATE * wave(x) +")], id="no Python"),
        pytest.param("used", [(b"def used():\n    ", b"if A:\n  def used():\n    ")], id="a condition"),
        pytest.param("RATE", [(b"RATE = 0.5", b"RATE = 0.25; C = 4")], id="two on one line"),
        pytest.param("RATE", [(b"RATE = 0.5", b"RATE = 0.5\nRATE += 1")], id="two statements"),
        pytest.param("A", [(b"A, B = 1, 2", b"A, B = 3, 2")], id="a part of a statement"),
        pytest.param("Model", [(b"size = 3", b"size = 4")], id="a class"),
        pytest.param("<module>", [(b"print(scale(1))", b"print(scale(2))")], id="what a module does"),
        pytest.param("scale", [(b"# as it was", b"# as it is")], id="nothing but a comment"),
        pytest.param("nobody", [], id="no such piece"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_alone(name: str, changes: list[tuple[bytes, bytes]]) -> None:
    """Where a piece means something else in the other file, or is not lines of its own, nothing is put back."""
    assert with_piece(changed(*changes), THEN, name) is None
