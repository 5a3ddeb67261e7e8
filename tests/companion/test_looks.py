"""`mlsdk/companion/looks.py`: one look of a capture for all runs that it serves."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from mlsdk.capture import Capture, Context
from mlsdk.companion.looks import MOST, Looks

_seen: list[str] = []


def look(where: Context) -> Mapping[str, object]:
    """A capture that counts its looks."""
    _seen.append(where.folder)
    return {"number": len(_seen)}


SHARED = Capture("shared", "env", True, f"{__name__}:look")
OWN = SHARED._replace(name="own", shared=False)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """Looks that have not looked yet, at a capture of this module."""
    _seen.clear()
    monkeypatch.setattr("mlsdk.capture._imported", lambda _: look)
    return Looks(lambda source: ("0" * 64, len(source)))


def test_one_look_serves_those_that_had_started(looks: Looks) -> None:
    """A look is given to every run of the folder that started before it began; a later run gets a later look."""
    before = time.time_ns()
    first = looks.take(SHARED, Context("a"), started=before, told="x")
    again = looks.take(SHARED, Context("a"), started=before, told="y")
    other = looks.take(SHARED, Context("b"), started=before, told="x")
    later = looks.take(SHARED, Context("a"), started=time.time_ns(), told="x")

    assert first is again
    assert _seen == ["a", "b", "a"]
    assert [one.facts["env"]["shared"] for one in (first, other, later)] == [{"number": n} for n in (1, 2, 3)]


def test_what_the_process_told_counts(looks: Looks) -> None:
    """A capture that goes by what the process told looks again for a process that told something else."""
    before = time.time_ns()
    for told in ("x", "y", "x"):
        looks.take(OWN, Context("a"), started=before, told=told)

    assert len(_seen) == 2


def test_looks_are_forgotten(looks: Looks) -> None:
    """Of very many folders only the last are remembered."""
    for number in range(MOST + 10):
        looks.take(SHARED, Context(str(number)), started=0, told="")
    looks.take(SHARED, Context(str(MOST + 9)), started=0, told="")
    looks.take(SHARED, Context("0"), started=0, told="")

    assert len(_seen) == MOST + 11
