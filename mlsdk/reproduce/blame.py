"""What is to blame: each suspect restored alone and the run made again, until the match comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mlsdk.errors import RerunError
from mlsdk.records import Run
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.suspects import Suspect, changed
from mlsdk.reproduce.trials import Trials
from mlsdk.reproduce.verdict import Cause

MATCHES = "with it as in the run, the match is back"
HELD = "with it held still, two reruns are the same"
STAYS = "with it alone as in the run, the difference stays"


class Blamed(NamedTuple):
    """What a search came to."""

    causes: list[Cause]
    """Confirmed ones first, then in causal order."""
    others: list[str]
    """Differences that have no effect of their own."""


class Search:
    """A search for causes.

    Args:
        trials: makes the reruns.
        recipe: by which the run was made again and came to something else.
        is_match: whether a rerun has what the others lack.
        most: reruns that may be made.
    """

    def __init__(self, trials: Trials, recipe: Recipe, is_match: Callable[[Run], bool], most: int) -> None:
        self._trials = trials
        self._recipe = recipe
        self._is_match = is_match
        self._left = most

    def blame(self, suspects: Sequence[Suspect], *, all_of_them: bool = False) -> Blamed:
        """Try the suspects in their order.

        Args:
            suspects: in causal order.
            all_of_them: go on when one is confirmed.
        """
        reasons: dict[int, str] = {}
        confirmed: dict[int, str] = {}
        for group in _groups(suspects):
            members = [suspects[place] for place in group]
            if members[0].change is None:
                reasons.update((place, suspects[place].why_not) for place in group)
                continue
            if confirmed and not all_of_them:
                continue
            why, is_cause = self._try(members, ", ".join(map(str, members)))
            (confirmed if is_cause else reasons).update(dict.fromkeys(group, why))
        tried = [place for place, why in reasons.items() if why == STAYS]
        if not confirmed and len(tried) > 1:
            confirmed.update(self._together(suspects, tried))
        return _told(suspects, confirmed, reasons)

    def _try(self, members: Sequence[Suspect], named: str) -> tuple[str, bool]:
        """How restoring some suspects goes, and whether that confirms them."""
        try:
            still = all(member.held for member in members)
            one = self._rerun(changed(self._recipe, members), f"{named}, {'held still' if still else 'as in the run'}")
            if one is None:
                return "not tried: the number of reruns is limited", False
            if self._is_match(one):
                return MATCHES, True
            if self._trials.deterministic or not still:
                return STAYS, False
            other = self._rerun(changed(self._recipe, members), f"{named}, held still once more")
            if other is None:
                return "not tried: the number of reruns is limited", False
        except RerunError as error:
            return f"could not be made as in the run: {error}", False
        return (STAYS, False) if self._trials.unlike(one, other) else (HELD, True)

    def _rerun(self, recipe: Recipe, why: str) -> Run | None:
        if not self._left:
            return None
        self._left -= 1
        return self._trials.rerun(recipe, why)

    def _together(self, suspects: Sequence[Suspect], tried: Sequence[int]) -> dict[int, str]:
        """Those that bring the match back together, where none does alone: without any one of them it is gone."""
        why, is_cause = self._try([suspects[place] for place in tried], "all of these together")
        if not is_cause:
            return {}
        needed = list(tried)
        for place in reversed(tried) if why == MATCHES else ():  # what comes last in causal order is spared first
            rest = [suspects[other] for other in needed if other != place]
            if len(needed) > 2 and self._try(rest, f"all but {suspects[place]}")[0] == MATCHES:
                needed.remove(place)
        names = {place: str(suspects[place]) for place in needed}
        why = why.replace("with it", "with them")
        return {
            place: f"together with {', '.join(name for other, name in names.items() if other != place)}: {why}"
            for place in needed
        }


def _groups(suspects: Sequence[Suspect]) -> list[list[int]]:
    """The places of suspects that the same change restores: functions of one file, say."""
    found: dict[object, list[int]] = {}
    for place, suspect in enumerate(suspects):
        found.setdefault(place if suspect.change is None else repr(suspect.change), []).append(place)
    return list(found.values())


def _told(suspects: Sequence[Suspect], confirmed: dict[int, str], reasons: dict[int, str]) -> Blamed:
    """The causes: where the match came back, what was not restored for that has no effect."""
    is_whole = any(MATCHES in why or "with them as in the run" in why for why in confirmed.values())
    is_held = bool(confirmed) and not is_whole
    causes: list[Cause] = []
    others: list[str] = []
    for place, suspect in enumerate(suspects):
        if place in confirmed:
            cause = Cause.of(suspect.difference, confirmed=True, reason=confirmed[place])
        elif suspect.hint and (confirmed or reasons.get(place) == STAYS):
            continue  # nothing shows that it differs, nor that it matters
        elif is_whole or (is_held and suspect.held):
            others.append(str(suspect))
            continue
        else:
            cause = Cause.of(suspect.difference, confirmed=False, reason=reasons.get(place, ""))
        causes.append(cause)
    return Blamed(sorted(causes, key=lambda cause: not cause.confirmed), others)
