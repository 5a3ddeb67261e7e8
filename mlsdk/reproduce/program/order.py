"""The order: what a rerun tells the program that it starts, and what that answers. See `mlsdk.tracking.again`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from mlsdk.errors import RerunError
from mlsdk.log.ids import new_id
from mlsdk.log.values import encode
from mlsdk.records import Run
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.world.world import World

_NEEDLESS = ("git", "tree")
"""Captures of what a world is made from: it is known, and a copy outside of its repository does not tell."""


def write_order(
    run: Run,
    recipe: Recipe,
    world: World,
    *,
    store: str,
    experiment: str | None,
    name: str | None,
    rerun: Any,
    shown: Sequence[str],
) -> tuple[str, str]:
    """Write the order of a rerun.

    Args:
        run: the run that is made again.
        recipe: how.
        world: where.
        store: URI of the store that the new run goes to.
        experiment: of the new run; None for that of the old one.
        name: of the new run; None for what the program says.
        rerun: the fact `code.rerun`.
        shown: params that the command line shows already.

    Returns:
        The id of the run to be made, and the path of the order.

    Raises:
        RerunError: a param is no value that another process can be given.
    """
    for param, value in recipe.params.items():
        if not _is_plain(encode(value)):
            raise RerunError(
                f"{param}={value!r} cannot be handed to another process: give numbers, texts, paths, dates, or lists"
                " and mappings of them",
                "arguments",
            )
    identity, path = new_id(), os.path.join(world.base, "order.json")
    number = run.code.get("ordinal", 0)
    values = {
        "parent": os.getpid(),
        "id": identity,
        "of": run.id,
        "number": number if isinstance(number, int) else 0,
        "store": store,
        "experiment": experiment or run.experiment,
        "name": name,
        "params": encode(dict(recipe.params)),
        "shown": list(shown),
        "seed": recipe.seed,
        "code": encode({**world.code, "rerun": rerun}),
        "without": list(_NEEDLESS),
        "answer": _answer(world),
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(values, file)
    return identity, path


def check_answer(world: World) -> None:
    """See whether the program had something against the order.

    Raises:
        RerunError: it had.
    """
    try:
        with open(_answer(world), encoding="utf-8") as file:
            told = json.load(file)
    except FileNotFoundError:
        return
    raise RerunError(told["message"], told["why"])


def _answer(world: World) -> str:
    return os.path.join(world.base, "answer.json")


def _is_plain(coded: Any) -> bool:
    """Whether a value comes back as what it was: classes are never imported when one is read."""
    if isinstance(coded, dict):
        if coded.get("$") in ("object", "described", "enum", "blob"):
            return False
        return all(map(_is_plain, coded.values()))
    return all(map(_is_plain, coded)) if isinstance(coded, list) else True
