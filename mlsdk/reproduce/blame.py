"""What is to blame: suspects restored and the run made again, until the match comes back with one of them alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mlsdk.errors import RerunError
from mlsdk.records import Run
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.suspects import Suspect, changed
from mlsdk.reproduce.trials import Trials
from mlsdk.reproduce.verdict import Cause

FEW = 6
"""So many are tried one after the other; more are narrowed down by halves."""

_STAYS = "with it as in the run, the difference stays"

_FEW_PLACES = 4
"""Reruns that differ in no more places may agree by luck."""

_SURE, _DOUBTFUL = 2, 4
"""Reruns that must agree where they differ by themselves: in many places, in few."""

_NUMBERS = {_SURE: "two", _DOUBTFUL: "four"}


class Blamed(NamedTuple):
    """What a search came to."""

    causes: list[Cause]
    """Confirmed ones first, then in causal order."""
    others: list[str]
    """Differences that have no effect of their own."""
    is_back: bool = False
    """Whether the run's own result came back; else it is known only why reruns vary."""


class _Outcome(NamedTuple):
    """What came of restoring some suspects."""

    why: str
    confirmed: bool = False
    by_match: bool = False
    """The run's own result came back; else two reruns were the same, with chance held still."""
    tried: bool = True


_LIMIT = _Outcome("not tried: the number of reruns is limited", tried=False)

Group = list[Suspect]
"""Suspects that the same change restores: functions of one file, say."""


class Search:
    """A search for causes.

    Args:
        trials: makes the reruns.
        recipe: by which the run was made again and came to something else.
        is_match: whether a rerun has what the others lack.
        most: reruns that may be made.
    """

    def __init__(self, trials: Trials, recipe: Recipe, is_match: Callable[[Run], bool], most: int) -> None:
        self._needed = _needed(trials)
        self._trials = trials
        self._recipe = recipe
        self._is_match = is_match
        self._left = most
        self._found: dict[int, _Outcome] = {}
        """By identity of a suspect."""

    def blame(self, suspects: Sequence[Suspect], *, all_of_them: bool = False) -> Blamed:
        """Find the causes among suspects.

        Args:
            suspects: in causal order.
            all_of_them: go on when one is confirmed.
        """
        groups = _groups(suspects)
        known = [group for group in groups if not group[0].held]
        if len(known) > FEW and not all_of_them:
            self._narrow(known)
        else:
            self._one_by_one(known, all_of_them=all_of_them)
        if all_of_them or not self._confirmed:
            self._one_by_one([group for group in groups if group[0].held], all_of_them=all_of_them)
        tried = [group for group in groups if id(group[0]) in self._found]
        if not self._confirmed and len(known) <= FEW and len(tried) > 1:
            self._together(tried)
        return self._told(suspects)

    @property
    def _confirmed(self) -> bool:
        return any(outcome.confirmed for outcome in self._found.values())

    def _one_by_one(self, groups: Sequence[Group], *, all_of_them: bool) -> None:
        for group in groups:
            self._note(group, self._try([group]))
            if self._confirmed and not all_of_them:
                return

    def _narrow(self, groups: Sequence[Group]) -> None:
        """All of them at once, then the half that does it alone, until it is one, or until no half does."""
        whole = self._try(groups)
        if not whole.tried:  # one that cannot be restored stands in the way of all
            self._one_by_one(groups, all_of_them=False)
            return
        stays = _Outcome("" if whole.confirmed else "with all of these as in the run, the difference stays")
        for group in groups:
            self._note(group, stays)
        if not whole.confirmed:
            return
        while len(groups) > 1:
            middle = len(groups) // 2
            halves = (groups[:middle], groups[middle:])
            half = next((half for half in halves if self._try(half).confirmed), None)
            if half is None:
                self._spare(groups, whole)
                return
            groups = half
        self._note(groups[0], whole)

    def _together(self, groups: Sequence[Group]) -> None:
        """Those that bring the match back together, where none does alone."""
        whole = self._try(groups)
        if whole.confirmed:
            self._spare(groups, whole)

    def _spare(self, groups: Sequence[Group], whole: _Outcome) -> None:
        """Of groups that do it together, note those without which it is not done; the last in causal order go first."""
        needed = list(groups)
        for group in reversed(groups) if whole.by_match else ():
            rest = [other for other in needed if other is not group]
            if len(needed) > 2 and self._try(rest).confirmed:
                needed = rest
        for group in needed:
            self._note(group, whole, [other for other in needed if other is not group])

    def _note(self, group: Group, outcome: _Outcome, partners: Sequence[Group] = ()) -> None:
        named = [str(one) for partner in partners for one in partner]
        for suspect in group:
            beside = [*(f"{one} (not to be had apart)" for one in group if one is not suspect), *named]
            why = outcome.why.replace("with it", f"with it and {', '.join(beside)}") if beside else outcome.why
            self._found[id(suspect)] = outcome._replace(why=why)

    def _try(self, groups: Sequence[Group]) -> _Outcome:
        """What comes of restoring the suspects of some groups."""
        members = [suspect for group in groups for suspect in group]
        recipe = changed(self._recipe, members)
        still = all(member.held for member in members)
        how = "held still" if still else "as in the run"
        more = f" and {len(members) - 3} more" if len(members) > 3 else ""
        named = f"{', '.join(map(str, members[:3]))}{more}, {how}"
        try:
            one = self._rerun(recipe, named)
            if one is None:
                return _LIMIT
            is_back = self._is_match(one)
            if not is_back and (self._trials.deterministic or not any(member.held for member in members)):
                return _Outcome(_STAYS)
            for _ in range(1, self._needed):
                other = self._rerun(recipe, f"{named}, once more")
                if other is None:
                    return _LIMIT
                if not self._is_match(other) if is_back else self._trials.unlike(one, other):
                    return _Outcome(_STAYS)
        except RerunError as error:
            return _Outcome(f"could not be made as in the run: {error}", tried=False)
        if is_back and (self._trials.deterministic or not any(member.held for member in members)):
            return _Outcome(f"with it {how}, the match is back", confirmed=True, by_match=True)
        return _Outcome(f"with it held still, {_NUMBERS[self._needed]} reruns are the same", confirmed=True)

    def _rerun(self, recipe: Recipe, why: str) -> Run | None:
        if not self._left:
            return None
        self._left -= 1
        return self._trials.rerun(recipe, why)

    def _told(self, suspects: Sequence[Suspect]) -> Blamed:
        """The causes. Where the match came back, what was not restored for that has no effect."""
        by_match = any(outcome.by_match and outcome.confirmed for outcome in self._found.values())
        causes: list[Cause] = []
        others: list[str] = []
        for suspect in suspects:
            found = self._found.get(id(suspect), _Outcome(suspect.why_not, tried=False))
            if not found.confirmed and suspect.hint and (self._confirmed or found.tried):
                continue  # nothing shows that it differs, nor that it matters
            if not found.confirmed and (by_match or (self._confirmed and suspect.held)):
                others.append(str(suspect))
            else:
                causes.append(Cause.of(suspect.difference, confirmed=found.confirmed, reason=found.why))
        return Blamed(sorted(causes, key=lambda cause: not cause.confirmed), others, by_match)


def _needed(trials: Trials) -> int:
    """How many reruns must agree before a suspect counts as confirmed.

    Where reruns differ by themselves, some agree by luck: the fewer places they differ in (an accuracy of a few samples
    and nothing else, say), the more often.
    """
    if trials.deterministic:
        return 1
    return _SURE if sum(one.gap.count for one in trials.unlike(*trials.pair)) > _FEW_PLACES else _DOUBTFUL


def _groups(suspects: Sequence[Suspect]) -> list[Group]:
    """Suspects that can be restored, those by the same change together."""
    found: dict[str, Group] = {}
    for suspect in suspects:
        if suspect.change is not None:
            found.setdefault(repr(suspect.change), []).append(suspect)
    return list(found.values())
