"""Folders that the code of a run lists, and the order in which the system gives their names.

No file system promises an order: another machine, or a copy of the folder, gives another one, and with it other first
rows, other batches. Told of by the audit events of `os.listdir` and `os.scandir`, which `glob`, `os.walk` and `pathlib`
go through. What the import system lists is left out, as are names that the run itself wrote before.
"""

from __future__ import annotations

import os
import sys

from mlsdk.capture.facts import ByName
from mlsdk.capture.secrets.redaction import redact_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlsdk.capture import Context

MOST_FOLDERS = 100
"""Folders of one run."""

MOST_NAMES = 200
"""Names of a folder that are kept as they are; of more there is a digest."""

MOST_LOOKED_AT = 100_000
"""Names beyond this are not looked at: it takes as long again as the listing itself."""

_OWN = (f"{os.sep}__pycache__", f"{os.sep}.mlsdk")
_IMPORTING = ("_frozen_importlib", "importlib", "pkgutil", "pkg_resources")


def later(where: Context, already: Mapping[str, object]) -> Mapping[str, object]:
    """Fact `listings`: by path of a folder its names in order, or their number and digest."""
    return {"listings": ByName(where.listings)} if where.listings and not already else {}


class Listed:
    """What one run has listed.

    Args:
        leave_out: beginnings of paths that are none of the run's.
        is_mine: whether a path is known to be no input, because the run wrote it.
    """

    def __init__(self, leave_out: tuple[str, ...], is_mine: Callable[[str], bool]) -> None:
        self._leave_out, self._is_mine = leave_out, is_mine
        try:
            self._folder = os.getcwd()
        except OSError:  # it was deleted
            self._folder = ""
        self._seen: set[str] = set()
        self.orders: dict[str, list[str] | str] = {}
        """Names in order, or their number and digest, by path: relative where it lies in the working folder."""

    def saw(self, path: str) -> None:
        """A folder is about to be listed; the first time counts."""
        whole = os.path.abspath(path)
        if whole in self._seen or len(self._seen) >= MOST_FOLDERS or (whole + os.sep).startswith(self._leave_out):
            return
        self._seen.add(whole)  # before looking, which is a listing too
        try:
            names = [name for name in _names(whole) if not self._is_none(os.path.join(whole, name))]
        except OSError:
            return
        if len(names) > 1:  # one name has one order
            self.orders[self._key(whole)] = names if len(names) <= MOST_NAMES else summary(names)

    def _is_none(self, path: str) -> bool:
        return self._is_mine(path) or path.endswith(_OWN) or (path + os.sep).startswith(self._leave_out)

    def _key(self, whole: str) -> str:
        if self._folder and (whole + os.sep).startswith(self._folder.rstrip(os.sep) + os.sep):
            whole = os.path.relpath(whole, self._folder).replace(os.sep, "/")
        return redact_text(whole)[0]


def _names(folder: str) -> list[str]:
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) > MOST_LOOKED_AT:
                break
    return names


def summary(names: list[str]) -> str:
    """What is kept of the order of many names: how many, and a digest."""
    from hashlib import sha256  # seldom needed

    digest = sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    more = "the first " if len(names) > MOST_LOOKED_AT else ""
    return f"{more}{min(len(names), MOST_LOOKED_AT):,} names, sha256 {digest}"


def is_import() -> bool:
    """Whether the import system is the one that lists: whose frame lies below the hook's that asks this."""
    frame = sys._getframe(3)  # noqa: SLF001  # `inspect` takes milliseconds to import
    return str(frame.f_globals.get("__name__")).startswith(_IMPORTING)
