"""Runs of one kind: those of which the newest is the one that counts."""

from __future__ import annotations

import os
from typing import NamedTuple

from mlsdk.log.values import decode
from mlsdk.query.names import VERIFYING
from mlsdk.query.tree import Compare, IsNull, Not, Tree, all_of, any_of
from mlsdk.records import Run, RunStatus
from mlsdk.reproduce.world.held import coded

FINISHED: Tree = Compare(("status",), "=", RunStatus.FINISHED.value)
OUTSIDE: Tree = Not(Compare(("experiment",), "=", VERIFYING))

_FUNCTION, _ENTRY = ("code", "function"), ("code", "entry")


class Kind(NamedTuple):
    """What runs of one kind have in common, wherever they were made."""

    experiment: str
    function: str
    """The tracked function, `module:name`; empty for a run that is none's."""
    entry: str
    """What was started, a script without its folder; empty where the function says enough."""

    @property
    def filter(self) -> Tree:
        """What runs of this kind fit."""
        parts: list[Tree] = [Compare(("experiment",), "=", self.experiment)]
        parts.append(Compare(_FUNCTION, "=", self.function) if self.function else IsNull(_FUNCTION))
        if self.entry:
            escaped = "".join("\\" + sign if sign in "\\%_" else sign for sign in self.entry)
            parts.append(any_of(Compare(_ENTRY, "=", self.entry), Compare(_ENTRY, "like", f"%/{escaped}")))
        elif not self.function:
            parts.append(IsNull(_ENTRY))
        return all_of(*parts)


def kind_of(run: Run) -> Kind:
    """The kind of a run: its experiment and its function, or else the program.

    Every script's own function is called `__main__:…`: there the script counts too.
    """
    code = coded(run.code)
    function, entry = (str(decode(code.get(name)) or "") for name in ("function", "entry"))
    told = "" if function and not function.startswith("__main__:") else entry
    return Kind(run.experiment, function, os.path.basename(told) if os.path.isabs(told) else told)
