"""Whether two texts say the same: configurations that were only written in another way."""

from __future__ import annotations

import configparser
import json
import os
from collections.abc import Callable

from mlsdk.compare.side import Side

LARGEST_BYTES = 10_000_000
"""What is larger is its bytes."""


def says_the_same(name: str, a: bytes, b: bytes) -> bool:
    r"""Whether two versions of a file hold the same values in the same order, as far as its ending says how to read it.

    JSON, TOML and INI: formatting and comments do not count. Any other text: line ends do not.

    >>> says_the_same("a.json", b'{"x": [1, 2]}', b'{\r\n  "x": [1,2]\r\n}\r\n')
    True
    >>> says_the_same("a.json", b'{"x": 1}', b'{"x": 1.0}')
    False
    >>> says_the_same("a.txt", b"one\ntwo\n", b"one\r\ntwo\r\n"), says_the_same("a.txt", b"one two", b"one  two")
    (True, False)
    """
    if max(len(a), len(b)) > LARGEST_BYTES or b"\0" in a or b"\0" in b:
        return False
    if a.replace(b"\r\n", b"\n") == b.replace(b"\r\n", b"\n"):
        return True
    read = _READERS.get(os.path.splitext(name)[1].lower())
    if read is None:
        return False
    try:
        return read(a.decode("utf-8-sig")) == read(b.decode("utf-8-sig"))
    except (ValueError, RecursionError, configparser.Error):
        return False


def is_rewritten(a: Side, b: Side, places: tuple[str, str]) -> bool:
    """Whether files of two code trees hold the same, though not the same bytes; False where that cannot be known."""
    texts = []
    for side, place in zip((a, b), places, strict=True):
        entry = side.entries.get(place, {})
        digest = entry.get("sha256")
        if digest is None or entry.get("spans") or entry.get("size", 0) > LARGEST_BYTES:  # spans: secrets taken out
            return False
        texts.append(side.contents([str(digest)]).get(str(digest)))
    left, right = texts
    return left is not None and right is not None and says_the_same(places[1], left, right)


def _json(text: str) -> str:
    return json.dumps(json.loads(text))  # in Python 1 is 1.0 and True, here it is not


def _toml(text: str) -> str:
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib
    return repr(tomllib.loads(text))


def _ini(text: str) -> str:
    parser = configparser.ConfigParser(interpolation=None, allow_no_value=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as the documentation has it
    parser.read_string(text)
    return repr([(name, list(part.items())) for name, part in parser.items()])


_READERS: dict[str, Callable[[str], str]] = {
    ".cfg": _ini,
    ".ini": _ini,
    ".ipynb": _json,
    ".json": _json,
    ".toml": _toml,
}
