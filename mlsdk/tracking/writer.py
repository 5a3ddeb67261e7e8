"""The training process's log of a run, and its companion."""

from __future__ import annotations

import time
from collections.abc import Mapping

from mlsdk.companion.spawn import ensure, work_here
from mlsdk.store.writer import LogWriter


class Writer(LogWriter):
    """A log of role `main`, `rank n` or `worker`, beside which a companion works."""

    def for_child(self) -> Writer:
        """A log of the same run for a forked child of this process."""
        child = Writer(self.target, self.run, "worker", seen=self.order)
        child.announce()
        return child

    def end(self, status: str, error: Mapping[str, object] | None) -> None:
        """Close; the log of role main says how the run ended. Where there is no companion, its work is done now."""
        if self.role == "main":
            ending: dict[str, object] = {"status": status, "ended_ns": time.time_ns()}
            try:
                self.facts({"run": {**ending, "error": error} if error else ending}, vital=True)
            except OSError:  # `close` meets the same fault and lets go of the log
                pass
        self.close()
        if not self.call_companion() and self.owed and self.target.root:
            work_here(self.target.root, self.run, self.id, self.owed)

    def call_companion(self) -> bool:
        """See that a companion is there for this log; False if there can be none."""
        return self.owed is None or self.target.root is None or ensure(self.target.root)
