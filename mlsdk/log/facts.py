"""What callers hand over as facts, checked: names to values, and tags."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from mlsdk.errors import UsageError

Tags = Mapping[str, object] | list[str] | tuple[str, ...] | set[str]
"""A mapping of names to values, or plain names."""

_GLOB = frozenset("*?[")


def checked_mapping(call: str, values: object) -> Mapping[str, object]:
    """The mapping itself, if its keys are text.

    Raises:
        UsageError: anything else.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"{call} takes a mapping of names to values, not {type(values).__name__}")
    for key in values:
        if not isinstance(key, str) or not key:
            raise UsageError(f"{call}: a name must be text, not {key!r}")
    return values


def checked_text(what: str, value: object) -> None:
    """Raise unless it is text, or None.

    Raises:
        UsageError: something else.
    """
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{what} must be text, not {value!r}")


def checked_tags(tags: object) -> Mapping[str, object]:
    """Tags as a mapping; plain names become true.

    Raises:
        UsageError: neither a mapping nor a collection of names.
    """
    if isinstance(tags, str):
        raise UsageError(f"tags must be a mapping or a list of names, not the text {tags!r}; write [{tags!r}]")
    if isinstance(tags, (list, tuple, set, frozenset)):
        tags = dict.fromkeys(tags, True)
    return checked_mapping("tags", tags)


def is_covered(path: str, named: Iterable[str]) -> bool:
    """Is a file one of those that are named: itself, by a folder that it lies in, or by a pattern?"""
    for name in named:
        if path == name or path.startswith(name.rstrip(os.sep) + os.sep):
            return True
        if not _GLOB.isdisjoint(name):
            from fnmatch import fnmatchcase

            if fnmatchcase(path, name):
                return True
    return False
