"""Where the folders of a run lie when it is made again: paths of then as paths of now."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping


class Folders:
    """Folders that lie elsewhere now, deepest first.

    Args:
        pairs: where each lay, and where it lies.

    >>> folders = Folders([("/home/ann/churn", "/tmp/x/churn")])
    >>> folders.now("/home/ann/churn/data/a.csv"), folders.now("/home/ann/other")
    ('/tmp/x/churn/data/a.csv', None)
    >>> folders.word("--data=/home/ann/churn/data"), folders.word("--lr=0.1")
    ('--data=/tmp/x/churn/data', '--lr=0.1')
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        known = {os.path.normpath(before): now for before, now in pairs if before and before != os.sep}
        self.pairs = tuple(sorted(known.items(), key=lambda pair: -len(pair[0])))

    def now(self, path: str) -> str | None:
        """Where a path lies now; None for what is in none of the folders."""
        path = os.path.normpath(path)
        for before, now in self.pairs:
            if path == before:
                return now
            if path.startswith(before + os.sep):
                return now + path[len(before) :]
        return None

    def back(self) -> Folders:
        """The other way round."""
        return Folders((now, before) for before, now in self.pairs)

    def word(self, word: str) -> str:
        """A word of a command line, in which a path may stand alone or behind `--name=`."""
        name, equals, value = word.partition("=")
        if os.path.isabs(word):
            return self.now(word) or word
        if equals and os.path.isabs(value):
            return f"{name}={self.now(value) or value}"
        return word

    def path_list(self, value: str) -> str:
        """The value of a variable that may list paths, such as `PYTHONPATH`."""
        parts = value.split(os.pathsep)
        return os.pathsep.join((self.now(part) or part) if os.path.isabs(part) else part for part in parts)


def origin(code: Mapping[str, object]) -> Folders:
    """Where the folders of a run really lay: of one that is a rerun itself, those of the first run."""
    again = code.get("rerun")
    folders = again.get("folders") if isinstance(again, Mapping) else None
    return Folders(folders.items() if isinstance(folders, Mapping) else ())
