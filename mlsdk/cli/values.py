"""Values of runs as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from mlsdk.cli.screen import clean, fitted

LONGEST = 300
"""Characters of a value that are shown; --json has all."""


def leaves(values: Mapping[str, object], prefix: str = "") -> Iterable[tuple[str, object]]:
    """Values by path, nested mappings leaf by leaf."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def shown(value: object) -> str:
    """A value as a reader of Python expects it: text plain, numbers in full."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return " ".join(value)
    return fitted(clean(value if isinstance(value, str) else str(value)), LONGEST)


def bytes_text(size: float) -> str:
    """A size in bytes for people: `812 B`, `4.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
