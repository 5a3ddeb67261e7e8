"""The names that a filter may use, and how a path of names is written as one key."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from mlsdk.errors import QueryError

Path = tuple[str, ...]
"""The segments of a name: `params.model.depth` is `("params", "model", "depth")`."""

NAMESPACES = ("params", "metrics", "tags", "data", "code", "env", "hardware")
ATTRIBUTES = (
    *("id", "name", "experiment", "status", "started_at", "ended_at", "duration_s"),
    *("parent", "note", "deleted", "host", "user", "reproduced"),
)
DATES = ("started_at", "ended_at")
FLAGS = ("deleted",)
STATISTICS = ("last", "min", "max", "mean", "count", "min_step", "max_step")

VERIFYING = "verify"
"""The experiment of the reruns that `mlsdk verify` makes: evidence about other runs."""

DELETED: Path = ("deleted",)

# What people write because the attribute of `Run`, or another tool, is called so.
_ALSO_CALLED = {
    "environment": "env",
    "datasets": "data",
    "dataset": "data",
    "config": "params",
    "created": "started_at",
}

# SQLite has no way to hold lone surrogates and PostgreSQL none to hold NUL: one reading for every engine.
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


def clean_text(text: str) -> str:
    """`text` as every engine can hold it: NUL and lone surrogates become U+FFFD."""
    return text if text.isascii() and "\0" not in text else _NOT_STORABLE.sub("\ufffd", text)


def join_key(path: Iterable[str]) -> str:
    r"""The key of a path: segments joined by dots, a dot or backslash inside a segment escaped by a backslash.

    Example: `join_key(("params", "model.depth"))` is `params.model\.depth`.
    """
    return ".".join(map(escape_segment, path))


@functools.lru_cache(maxsize=4096)
def escape_segment(segment: str) -> str:
    """One segment as it stands inside a key."""
    if "\\" in segment or "." in segment:
        segment = segment.replace("\\", "\\\\").replace(".", "\\.")
    return clean_text(segment)


def split_key(key: str) -> Path:
    """The path of a key: the inverse of `join_key`."""
    if "\\" not in key:
        return tuple(key.split("."))
    segments = [""]
    for piece in re.findall(r"\\.|[^.\\]+|\.", key, re.DOTALL):
        if piece == ".":
            segments.append("")
        else:
            segments[-1] += piece[1:] if piece[0] == "\\" else piece
    return tuple(segments)


def suggest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The names among `known` that `name` was probably meant to be, nearest first.

    Example: `suggest("metric", NAMESPACES)` is `["metrics"]`.
    """
    import difflib

    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.6)


def check_path(segments: Path, text: str, position: int) -> Path:
    """The path that `segments` mean, `.last` of a metric left out as it is the default.

    Raises:
        QueryError: no such namespace, attribute or statistic; names the nearest right one.
    """
    first = segments[0]
    if first in NAMESPACES:
        if len(segments) == 1:
            raise QueryError(f"{first!r} holds many values: name one, as in {first}.something", text, position)
        return _check_metric(segments, text, position) if first == "metrics" else segments
    if first in ATTRIBUTES:
        if len(segments) > 1:
            raise QueryError(f"{first!r} is one value and has nothing inside it: write {first} alone", text, position)
        return segments
    raise QueryError(_unknown(segments), text, position)


def _check_metric(segments: Path, text: str, position: int) -> Path:
    if len(segments) == 2:
        return segments
    *rest, statistic = segments[1:]
    if len(segments) == 3 and statistic in STATISTICS:
        return segments[:2] if statistic == "last" else segments
    near = suggest(statistic, STATISTICS, 1)
    meant = f"did you mean {near[0]}? " if near and len(rest) == 1 else ""
    whole = ".".join(segments[1:])
    raise QueryError(
        f"{'.'.join(segments[2:])!r} is not a statistic of a metric: {meant}There are {', '.join(STATISTICS)}; "
        f"use metrics.`{whole}` if the name has a dot",
        text,
        position,
    )


def _unknown(segments: Path) -> str:
    first = segments[0]
    known = NAMESPACES if len(segments) > 1 else ATTRIBUTES
    kind = "namespace" if len(segments) > 1 else "attribute"
    near = [_ALSO_CALLED[first]] if first in _ALSO_CALLED else suggest(first.lower(), known, 1)
    if near:
        hint = f"did you mean {'.'.join((near[0], *segments[1:]))}?"
    elif len(segments) == 1:
        hint = f"did you mean params.{first} or metrics.{first}? Plain attributes are {', '.join(ATTRIBUTES)}"
    else:
        hint = f"there are {', '.join(NAMESPACES)}"
    return f"there is no {kind} {first!r}: {hint}"
