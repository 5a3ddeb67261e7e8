"""The reruns of one verification: each compared with the run, and counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property

import attrs

from mlsdk.query.names import VERIFYING
from mlsdk.records import Run
from mlsdk.reproduce.outcome import outputs
from mlsdk.reproduce.outcome.contents import Match, Unlike, compare, settled
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.rerun import rerun_by
from mlsdk.store.base import Store

Tell = Callable[[str], None]
"""Takes a line on how far things are."""


class Trials:
    """Reruns of a run.

    Args:
        store: that the run is in.
        run: as it was read from there.
        tell: is told what is being done.

    Attributes:
        made: the reruns, in order.
    """

    def __init__(self, store: Store, run: Run, tell: Tell) -> None:
        self.store = store
        self.run = run
        self.made: list[Run] = []
        self.tried = 0
        self._tell = tell
        self._began = time.monotonic()

    @property
    def took_s(self) -> float:
        """Seconds since the first one began."""
        return time.monotonic() - self._began

    def rerun(self, recipe: Recipe, why: str) -> Run:
        """Make the run again.

        Raises:
            RerunError: it cannot be made again so.
        """
        self.tried += 1
        self._tell(f"rerun {self.tried}: {why}")
        new = rerun_by(self.run, recipe, experiment=VERIFYING, store=self.store.uri)
        self.made.append(new)
        return new

    @property
    def pair(self) -> tuple[Run, Run]:
        """The first two."""
        return self.made[0], self.made[1]

    @cached_property
    def again(self) -> Match:
        """How the first two compare with each other, but for what they printed."""
        return compare(*self.pair)

    @cached_property
    def steady(self) -> outputs.Steady | None:
        """What the first two printed alike, where there is nothing else to go by; else None."""
        whole = settled(compare(self.run, self.made[0]), self.again)
        if whole.anything:
            return None
        return outputs.steady(*map(self._printed, self.pair))

    @cached_property
    def deterministic(self) -> bool:
        """Whether the first two came to the same bit by bit."""
        return not self.unlike(*self.pair)

    def _printed(self, run: Run) -> list[str]:
        return outputs.printed(self.store, run)

    def match(self, new: Run) -> Match:
        """How a rerun compares with the run, what is in doubt settled by the first two."""
        found = settled(compare(self.run, new), self.again)
        if self.steady is None:
            return found
        told = outputs.compare(self._printed(self.run), self._printed(new), self.steady)
        return attrs.evolve(told, aside=found.aside, skipped={**found.skipped, **told.skipped})

    def unlike(self, one: Run, other: Run) -> tuple[Unlike, ...]:
        """What two reruns did not come to alike."""
        if self.steady is None:
            return settled(compare(one, other), self.again).unlike
        return outputs.steady(self._printed(one), self._printed(other)).unlike
