"""Params that a program was given by its command line: the same command line with other values."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mlsdk.errors import RerunError
from mlsdk.query.names import suggest
from mlsdk.records import Run
from mlsdk.tracking.again import is_same

_BY_PARAMETERS = ("typer", "fire", "tyro", "simple_parsing", "jsonargparse", "HfArgumentParser", "hydra")
"""What makes options from the parameters of functions, or fields of classes: no source has their names in quotes."""

_MISSING = object()


class Words(NamedTuple):
    """A command line."""

    words: list[str]
    shown: tuple[str, ...]
    """Names of the params that it shows."""


def with_params(run: Run, words: Sequence[str], params: Mapping[str, object], sources: Callable[[], str]) -> Words:
    """The arguments of a program's command line, with other params.

    Those of a tracked function need not be there: they are replaced in its call.

    Args:
        run: the run that was made by these words.
        words: without the program itself.
        params: by name.
        sources: gives the text of the program's sources.

    Raises:
        RerunError: a param is no argument of a tracked function, and no option that is known.
    """
    found, shown = list(words), []
    for name, value in params.items():
        changed = _replaced(found, name, param(run, name), value)
        if changed is None and not _may_be_argument(run, name):
            changed = _added(found, name, value, sources())
        if changed is not None:
            found = changed
            shown.append(name)
        elif "function" not in run.code:
            raise RerunError(_unknown(run, name), "arguments")
    return Words(found, tuple(shown))


def param(run: Run, name: str) -> object:
    """A param of a run, by its path; `_MISSING` where there is none."""
    found: object = run.params
    for part in [name] if name in run.params else name.split("."):
        found = found.get(part, _MISSING) if isinstance(found, Mapping) else _MISSING
    return found


def shows(run: Run, name: str, value: object) -> bool:
    """Whether a run was made with a param, or with data of that name and path."""
    found = param(run, name)
    if found is not _MISSING:
        return is_same(found, value)
    data = run.datasets.get(name)
    return data is not None and (data.path is None or os.path.basename(data.path) == os.path.basename(str(value)))


def _may_be_argument(run: Run, name: str) -> bool:
    return "function" in run.code and (name in run.params or name in run.datasets)


def _replaced(words: list[str], name: str, old: object, value: object) -> list[str] | None:
    """The words with another value of what stands in them; None if it does not."""
    dashed = name.replace("_", "-")
    forms = {f"--{name}", f"--{dashed}", f"-{name}"}
    for place, word in enumerate(words):
        option, equals, _ = word.partition("=")
        if equals and (option in forms or option.lstrip("+") == name):
            given = _text(value, word[len(option) + 1 :])
            return [*words[:place], f"{option}={given}", *words[place + 1 :]]
        if word in forms:
            return _behind(words, place, value)
        if word == f"--no-{dashed}" and isinstance(value, bool):
            return [*words[:place], *([f"--{dashed}"] if value else [word]), *words[place + 1 :]]
    places = [place for place, word in enumerate(words) if old is not _MISSING and word == _text(old)]
    if len(places) == 1 and not (places[0] and words[places[0] - 1].startswith("-")):
        return [*words[: places[0]], _text(value), *words[places[0] + 1 :]]
    return None


def _behind(words: list[str], place: int, value: object) -> list[str]:
    """The words with other values behind the option at a place."""
    end = place + 1
    while end < len(words) and not re.match(r"-+[A-Za-z]", words[end]):
        end += 1
    if end == place + 1:  # a flag
        if isinstance(value, bool):
            return words if value else [*words[:place], *words[end:]]
        return [*words[:end], _text(value), *words[end:]]
    if isinstance(value, (list, tuple)):
        return [*words[: place + 1], *map(_text, value), *words[end:]]
    return [*words[: place + 1], _text(value, words[place + 1]), *words[place + 2 :]]


def _added(words: list[str], name: str, value: object, sources: str) -> list[str] | None:
    """The words with an option that they did not have, where the sources know it; None if they do not."""
    dashed = name.replace("_", "-")
    forms = [form for form in (f"--{name}", f"--{dashed}") if re.search(rf"['\"]{re.escape(form)}['\"]", sources)]
    if not forms and any(re.search(rf"\b{library}\b", sources) for library in _BY_PARAMETERS):
        forms = [f"--{dashed}"]
    if not forms:
        return None
    if value is True:
        more = forms[:1]
    elif value is False:
        more = [f"--no-{dashed}"]
    elif isinstance(value, (list, tuple)):
        more = [forms[0], *map(_text, value)]
    else:
        more = [f"{forms[0]}={_text(value)}"]
    end = words.index("--") if "--" in words else len(words)
    return [*words[:end], *more, *words[end:]]


def _text(value: object, like: str = "") -> str:
    """A value as a word; booleans as the word before was written."""
    return str(value).lower() if isinstance(value, bool) and like.islower() else str(value)


def _unknown(run: Run, name: str) -> str:
    near = suggest(name, run.params)
    hint = f"; did you mean {near[0]!r}?" if near and near[0] != name else ""
    given = "" if near[:1] != [name] else f", which the program sets to {run.params[name]!r} by itself"
    return (
        f"{name!r} is neither an argument of a tracked function nor an option of the command line of run {run.name}"
        f" ({run.short_id}){given}: let the program read it from an option --{name.replace('_', '-')}{hint}"
    )
