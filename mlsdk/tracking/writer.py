"""The training process's log of a run, and its companion."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Mapping

from mlsdk import config
from mlsdk.companion.spawn import ensure, work_here
from mlsdk.store.target import Target
from mlsdk.store.writer import LogWriter


class Writer(LogWriter):
    """A log of role `main`, `rank n` or `worker`, beside which a companion works."""

    afterwards: Callable[[], None] | None = None
    """Called when all is done for the run's end."""

    def __init__(self, target: Target, run: str, role: str, *, seen: int = 0, owed: str | None = None) -> None:
        self._companion = config.flag("companion")
        super().__init__(target, run, role, seen=seen, owed=owed)

    def for_child(self) -> Writer:
        """A log of the same run for a forked child of this process."""
        child = Writer(self.target, self.run, "worker", seen=self.order)
        child.announce()
        return child

    def end(self, status: str, error: Mapping[str, object] | None) -> None:
        """Close, after word of how the run, or this rank of it, ended.

        Where there is no companion, its work is done now.
        """
        if self.role == "main" or self.role.startswith("rank "):
            ending: dict[str, object] = {"status": status, "ended_ns": time.time_ns()}
            try:
                if not self._say({**ending, "error": error} if error else ending) and error:
                    self._say({**ending, "error": {**error, "message": str(error["message"])[:500], "traceback": ""}})
            except OSError:  # `close` meets the same fault and lets go of the log
                pass
        self.close()
        if not self.call_companion() and self.owed and self.target.root:
            work_here(self.target.root, self.run, self.id, self.owed)
        if self.afterwards is not None:
            self.afterwards()

    def _say(self, ending: Mapping[str, object]) -> bool:
        return self.facts({"run": ending}, vital=True)

    def call_companion(self, *, settle: bool = True) -> bool:
        """See that a companion is there for this log (see `ensure`); False if there can be none."""
        if self.owed is None or self.target.root is None:
            return True
        return self._companion and ensure(self.target.root, settle=settle)


def tell(message: str) -> None:
    """Warn the user; where warnings are errors, only in words: tracking must not end the training."""
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=5)
    except RuntimeWarning:
        print(message, file=sys.stderr)
