"""Where the project of a run lies now: a clone elsewhere, a job's working copy, the copy that a rerun was made in."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from mlsdk.capture.code.git import marked_root
from mlsdk.log.values import decode
from mlsdk.records import Run
from mlsdk.reproduce.world.folders import Folders, origin
from mlsdk.reproduce.world.held import Held, coded

_NOWHERE = Folders(())


class Place(NamedTuple):
    """The top of a project, then and now."""

    then: str
    """Where it lay; of a run that was made again, when it was made first. Empty where that is not known."""
    now: str | None
    """Where it lies now; None where it is not here."""
    lay: Folders = _NOWHERE
    """Of a run that was made again: from the copy that it was made in to where that was copied from."""

    def of(self, path: str) -> str:
        """Where a file lies now; outside the project, where it lay.

        >>> Place("/home/ada/churn", "/ci/churn").of("/home/ada/churn/data/train.csv")
        '/ci/churn/data/train.csv'
        """
        path = self.lay.now(path) or path
        if self.now is None or not self.holds(path):
            return path
        return self.now + path[len(self.then) :]

    def name(self, path: str) -> str:
        """A file as people call it: within the project from its top."""
        path = self.lay.now(path) or path
        return os.path.relpath(path, self.then) if self.holds(path) else path

    def holds(self, path: str) -> bool:
        """Whether a path, as the run was made first, lies in the project."""
        return bool(self.then) and (path == self.then or path.startswith(self.then.rstrip(os.sep) + os.sep))

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal places."""
        return self.then, self.now, self.lay.pairs


class Places:
    """Finds where projects lie now.

    Args:
        held: reads facts.
        folder: where the project lies; by default where it lay, else the repository of the working folder.
    """

    def __init__(self, held: Held, folder: str | os.PathLike[str] | None = None) -> None:
        self._held = held
        self._folder = None if folder is None else os.path.abspath(os.fspath(folder))
        self._here: dict[str, str | None] = {}

    def of(self, run: Run) -> Place:
        """The place of a run's project."""
        code = coded(run.code)
        tree, lay = self._held.value(code, "tree"), origin({"rerun": decode(code.get("rerun"))})
        kept = tree.get("root") if isinstance(tree, dict) else None
        then = str(kept or decode(code.get("root")) or decode(code.get("folder")) or "")
        then = lay.now(then) or then if then else ""
        if self._folder is not None:
            return Place(then, self._folder, lay)
        if then not in self._here:
            modules = self._held.value(code, "modules")
            files = [str(path) for path in modules.values()] if isinstance(modules, dict) else []
            self._here[then] = (
                then if os.path.isdir(then) else self._beside(then, [lay.now(one) or one for one in files])
            )
        return Place(then, self._here[then], lay)

    @staticmethod
    def _beside(then: str, files: Iterable[str]) -> str | None:
        """The project that the working folder lies in, if it has a file that the run's had."""
        here = marked_root(os.getcwd()) or os.getcwd()
        moved = Place(then, here)
        return here if any(moved.holds(path) and os.path.isfile(moved.of(path)) for path in files) else None
