"""Values of two runs side by side: which are the same, and how they are shown in a few words."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable, Mapping

from mlsdk.log.standins import LongValue
from mlsdk.log.values import dumps, encode
from mlsdk.table import as_text, number

Values = Mapping[str, object]

Pair = tuple[str, object, object]
"""A name, its value in the first run, its value in the second."""

LONGEST = 60
"""Letters of a value that is shown in few words."""
_BEFORE = 10
"""Letters that are shown before the first that differs, of texts that begin alike."""


class Absent:
    """Stands for a value that one of the runs does not have."""

    def __str__(self) -> str:
        return "—"


ABSENT = Absent()


def leaves(values: Values, prefix: str = "") -> Iterable[tuple[str, object]]:
    """Values by path, nested mappings leaf by leaf.

    >>> dict(leaves({"model": {"depth": 3}, "lr": 0.1}))
    {'model.depth': 3, 'lr': 0.1}
    """
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def flat(values: Values) -> dict[str, object]:
    """The same as one mapping; of several values that come to one name none is lost.

    >>> flat({"a.b": 1, "a": {"b": 2}})
    {'a.b': 1, "a.b'": 2}
    """
    found: dict[str, object] = {}
    for name, value in leaves(values):
        while name in found:
            name += "'"
        found[name] = value
    return found


def differing(a: Values, b: Values) -> list[Pair]:
    """Names whose values are not of the same type and content; NaN is the same as NaN.

    >>> [name for name, _, _ in differing({"i": 1, "n": 2}, {"i": 1.0, "n": 2, "m": 3})]
    ['i', 'm']
    """
    names = [*a, *(name for name in b if name not in a)]
    pairs = [(name, a.get(name, ABSENT), b.get(name, ABSENT)) for name in names]
    return [(name, x, y) for name, x, y in pairs if not same(x, y)]


def same(a: object, b: object) -> bool:
    """Whether two values are of the same type and content."""
    return _coded(a) == _coded(b)


def _coded(value: object) -> bytes:
    return b"" if value is ABSENT else dumps(encode(value))


def mapping(value: object) -> Mapping[str, object]:
    """A fact that is a mapping; empty where the run does not have it."""
    return value if isinstance(value, Mapping) else {}


def listed(value: object) -> list[object]:
    """A fact that is a list; empty where the run does not have it."""
    return [*value] if isinstance(value, (list, tuple)) else []


def is_away(value: object) -> bool:
    """Whether a long value was put away, and its blob is not here."""
    return isinstance(value, LongValue)


def given(value: object) -> object:
    """A value as a record has it: None for one that is absent."""
    return None if value is ABSENT else value


def change(a: object, b: object) -> str:
    """How far a number moved: the difference, and in percent of the first.

    >>> change(2, 3)
    '+1 (+50.0%)'
    """
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
        return ""
    try:
        moved = b - a
        percent = f" ({moved / abs(a):+.1%})" if a else ""
    except OverflowError:
        return ""
    return f"{'+' if moved > 0 else ''}{number(moved)}{percent}" if math.isfinite(moved) else ""


def both_shown(a: object, b: object, longest: int = LONGEST) -> tuple[str, str]:
    """Two values in few words, in which it is seen that they differ, each of so many letters at most.

    >>> both_shown("x" * 99 + "1", "x" * 99 + "2")
    ('…xxxxxxxxxx1', '…xxxxxxxxxx2')
    """
    left, right = all_shown((a, b), longest)
    if left == right:
        left, right = f"{left} ({type(a).__name__})", f"{right} ({type(b).__name__})"
    return left, right


def all_shown(values: Iterable[object], longest: int = LONGEST) -> list[str]:
    """Values in few words, from where they differ on where they would look alike and are not.

    >>> all_shown([1386.11, 1386.12, None])
    ['1386.11', '1386.12', '—']
    """
    every = [*values]
    short = [shown(value, longest) for value in every]
    if len({*short}) == len({_coded(given(value)) for value in every}):
        return short
    texts = [shown(value) if given(value) is None else plain_line(as_text(value)) for value in every]
    begun = [text for text, value in zip(texts, every, strict=True) if given(value) is not None]
    skipped = (
        max(len(posixpath.commonprefix(begun)) - min(_BEFORE, longest // 3), 0) if max(map(len, texts)) > longest else 0
    )
    return [cut(f"…{text[skipped:]}" if text[skipped:] and skipped else text, longest) for text in texts]


def shown(value: object, longest: int = LONGEST) -> str:
    """A value in few words: numbers short, `—` for what is not there."""
    if value is None or value is ABSENT:
        return "—"
    return cut(number(value) if isinstance(value, float) else as_text(value), longest)


def cut(text: str, longest: int = LONGEST) -> str:
    """A text on one line that steers no terminal, shortened at its end."""
    plain = plain_line(text)
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}…"


def plain_line(text: str) -> str:
    """One line without anything that steers a terminal; its white space stays."""
    return "".join(sign if sign.isprintable() else " " if sign.isspace() else "�" for sign in text)
