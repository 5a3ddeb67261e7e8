"""Reading what the kernel shows as files; what is not there, or not for us, is empty."""

from __future__ import annotations

import os

from mlsdk.log.identity import read_text

__all__ = ["names", "number", "read_text", "word"]


def word(path: str) -> str:
    """The text of a file without the spaces around it."""
    return read_text(path).strip()


def number(path: str) -> int | None:
    """The whole number, not negative, that a file holds."""
    text = word(path)
    return int(text) if text.isdigit() else None


def names(folder: str) -> list[str]:
    """What lies in a folder, sorted."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
