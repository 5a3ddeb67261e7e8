"""The search for causes, on programs that are functions of their recipe: none is started, all else is real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone

import attrs
import pytest

import mlsdk
from mlsdk.compare.difference import Difference
from mlsdk.errors import RerunError
from mlsdk.records import Run, RunStatus
from mlsdk.reproduce.blame import FEW, Blamed, Search
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.suspects import Suspect
from mlsdk.reproduce.trials import Trials

HERE = Recipe(code="here")
RUN = Run(
    "0" * 32,
    "made",
    "blamed",
    RunStatus.FINISHED,
    datetime.now(timezone.utc),
    code={"returned": {"value": 1.0}},
)


class Program(Trials):
    """Trials of a run that returned 1.0; its reruns return what is made of their recipe."""

    def __init__(self, returns: Callable[[Recipe], float]) -> None:
        super().__init__(mlsdk.open_store("memory:blamed"), RUN, lambda _: None)
        self._returns = returns
        for _ in range(2):
            self.rerun(HERE, "as it is here")

    def rerun(self, recipe: Recipe, _: str) -> Run:
        self.made.append(attrs.evolve(RUN, code={"returned": {"value": self._returns(recipe)}}))
        return self.made[-1]

    def blame(self, suspects: Sequence[Suspect], most: int = 12) -> Blamed:
        """What a search in them comes to."""
        return Search(self, HERE, lambda new: self.match(new).level(0.0) == "B", most).blame(suspects)


def part(name: object, **more: bool) -> Suspect:
    """A function that is the only one of its file."""
    return Suspect(Difference("function", f"part{name}:value"), {"files": (f"{name}",)}, **more)


def confirmed(found: Blamed) -> list[str]:
    return [cause.what for cause in found.causes if cause.confirmed]


@pytest.mark.parametrize("many", [1, 2, FEW, FEW + 1, 11])
def test_one_of_many(many: int) -> None:
    """Wherever the one change that matters stands it is found, confirmed alone, and all others have no effect."""
    for guilty in range(many):
        program = Program(lambda recipe, guilty=str(guilty): 1.0 if guilty in recipe.files else 2.0)
        found = program.blame([part(number) for number in range(many)])
        alone = "with it as in the run, the match is back"

        assert [(cause.what, cause.reason) for cause in found.causes] == [(f"part{guilty}:value", alone)]
        assert len(found.others) == many - 1
        assert len(program.made) - 2 <= (guilty + 1 if many <= FEW else 9)


@pytest.mark.parametrize("many", [3, FEW + 3])
def test_two_that_only_count_together(many: int) -> None:
    """Where no suspect alone brings the match back, those that do together are named so, and no others."""
    program = Program(lambda recipe: 1.0 if {"0", "2"} <= {*recipe.files} else 2.0)
    found = program.blame([part(number) for number in range(many)])

    assert confirmed(found) == ["part0:value", "part2:value"]
    assert found.causes[0].reason == "with it and function part2:value as in the run, the match is back"
    assert len(found.others) == many - 2


def test_not_to_be_had_apart() -> None:
    """What one change restores is confirmed together, and it is said with what."""
    both = [Suspect(Difference("function", f"a:{name}"), {"files": ("a.py",)}) for name in "fg"]
    found = Program(lambda recipe: 1.0 if recipe.files else 2.0).blame(both)

    assert confirmed(found) == ["a:f", "a:g"]
    assert "with it and function a:g (not to be had apart) as in the run" in found.causes[0].reason


def test_luck_is_no_confirmation() -> None:
    """Where two reruns differ in one place, that some agree with one thing held still may be luck, and is no proof."""
    thrown = iter("01" + "1110" + "0001" + "0001")
    program = Program(lambda _: float(next(thrown)))
    chance = [
        Suspect(Difference("seed", name), {"variable_values": {name: "0"}}, held=True) for name in ("HASH", "random")
    ]
    found = program.blame([part(0), *chance])

    assert program.deterministic is False
    assert confirmed(found) == []
    assert next(thrown, None) is None


def test_chance_that_is_held() -> None:
    """Of what varies by itself, that which makes four reruns the same is confirmed; what is not needed is not tried."""
    values = iter(range(100))
    program = Program(lambda recipe: 7.0 if recipe.seed is not None else float(next(values)))
    found = program.blame([Suspect(Difference("seed", "random"), {"seed": 0}, held=True)])

    assert confirmed(found) == ["random"]
    assert found.causes[0].reason == "with it held still, four reruns are the same"
    assert found.is_back is False


def test_what_cannot_be_tried() -> None:
    """Without reruns left, or where one cannot be made, a suspect stays one, and it is said why."""

    def refuses(recipe: Recipe) -> float:
        if recipe.files:
            raise RerunError("the package is gone", "environment")
        return 2.0

    reasons = [
        Program(lambda _: 2.0).blame([part(0)], most=0).causes[0].reason,
        Program(refuses).blame([part(0)]).causes[0].reason,
        Program(lambda _: 2.0)
        .blame([Suspect(Difference("hardware", "cpu"), None, "another machine")])
        .causes[0]
        .reason,
    ]

    assert reasons == [
        "not tried: the number of reruns is limited",
        "could not be made as in the run: the package is gone",
        "another machine",
    ]
