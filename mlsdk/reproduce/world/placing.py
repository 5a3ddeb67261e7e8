"""The data of a rerun: what the run used, put where its program looks for it, if it is what it was.

A data set is found by what it is, not by where it lies: at its place, in the code tree, among the blobs of the store.
What is nowhere is not replaced by something else.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import PurePath
from typing import NamedTuple

from mlsdk.data.files import fingerprint_path
from mlsdk.data.fingerprint import fingerprint
from mlsdk.data.listing import hash_file, note_of
from mlsdk.data.statcache import StatCache, default_folder
from mlsdk.errors import MlsdkError, NotFoundError, RerunError
from mlsdk.records import Dataset, Run
from mlsdk.reproduce.recipe import Recipe
from mlsdk.reproduce.restore import tree_of
from mlsdk.reproduce.world.carrier import Carrier, files_at
from mlsdk.reproduce.world.world import World
from mlsdk.store.base import Store

_REMEMBERED_BYTES = 1 << 20


class Placed(NamedTuple):
    """What is to be said of the data."""

    notes: tuple[str, ...]
    lacking: tuple[str, ...]
    """What was seen to be read, is nowhere, and may be made by the program itself before it reads it."""


class _LackingError(Exception):
    """Something is not what it was."""


def place_data(run: Run, recipe: Recipe, world: World, store: Store) -> Placed:
    """Put the data of a run into its world.

    Raises:
        RerunError: a data set is missing, or is not what it was.
    """
    notes: list[str] = []
    lacking: list[str] = []
    placing = _Placing(run, world, store, notes)
    for name, value in recipe.params.items():
        placing.named(name, value)
    for one in used(run):
        if one.declared and one.name in recipe.params:
            continue
        now = world.inside(str(one.path))
        if now is not None and os.path.relpath(now, world.top) in recipe.places:
            continue
        try:
            if given := recipe.contents.get(str(one.path)):
                placing.give(one, given)
            elif recipe.data == "run" or one.name in recipe.datasets:
                placing.restore(one, strict=recipe.data == "here")
            else:
                placing.take(one)
        except _LackingError as error:
            if one.declared or now is None:
                raise RerunError(str(error), "data") from None
            lacking.append(str(error))
        except RerunError:
            raise
        except (OSError, MlsdkError) as error:
            raise RerunError(f"data set {one.name!r}: {error}", "data") from error
    if any(problem.kind == "inputs" for problem in run.problems) and recipe.data == "run":
        placing.take_beside()
    return Placed((*notes, *lacking), tuple(lacking))


def used(run: Run) -> list[Dataset]:
    """The files that a run used: its data sets, and what it was seen to read that none of them names."""
    seen = [one for one in run.inputs.values() if not one.declared and one.description != "address"]
    return [one for one in (*run.datasets.values(), *seen) if one.path is not None and os.path.isabs(one.path)]


class _Placing:
    def __init__(self, run: Run, world: World, store: Store, notes: list[str]) -> None:
        self._run, self._world, self._store, self._notes = run, world, store, notes
        self._carrier = Carrier(world.base, run.started_at.timestamp())

    def named(self, name: str, value: object) -> None:
        """Bring a file that is named in the place of another."""
        is_path = isinstance(value, PurePath) or name in self._run.datasets
        if not is_path or not isinstance(value, (str, PurePath)):
            return
        was = os.path.join(str(self._run.code.get("folder") or ""), value)
        now = self._world.inside(was)
        for lies in (self._world.place.of(was), os.path.abspath(value)):
            if now is not None and files_at(lies) and not os.path.lexists(now):
                self._carrier.bring(lies, now)

    def restore(self, one: Dataset, *, strict: bool) -> None:
        """Put what the run used where its program finds it."""
        path = str(one.path)
        now, lies = self._world.inside(path), self._world.place.of(path)
        if one.digest is None and one.fingerprint is None:
            if now is None or not os.path.isfile(now):  # what the tree has is nearer to what was read
                self._take(one, now, lies)
            self._notes.append(f"what {one.name} was is not known: {one.note or 'it was not read'}")
            return
        if now is not None and _is_same_bytes(now, one):
            return
        found = _what_is(lies, one)
        if now is None:
            if found is None:
                raise _LackingError(self._told(one, lies))
            self._say(one, found, lies)
        elif found == "bytes":
            self._carrier.bring(lies, now)
        elif (data := self._kept(one)) is not None:
            self._carrier.write(now, data)
        elif found == "content" and not strict:
            self._carrier.bring(lies, now)
            self._say(one, found, lies)
        elif os.path.lexists(now) and _what_is(now, one) == "content":
            self._say(one, "content", now)
        else:
            raise _LackingError(self._told(one, lies))

    def take(self, one: Dataset) -> None:
        """Put what lies there now where the program finds it."""
        path = str(one.path)
        self._take(one, self._world.inside(path), self._world.place.of(path))

    def _take(self, one: Dataset, now: str | None, lies: str) -> None:
        if not files_at(lies) and one.declared:
            raise _LackingError(f"data set {one.name!r} of {_named(self._run)} is missing: there is nothing at {lies}")
        if now is not None and files_at(lies):
            self._carrier.bring(lies, now)

    def take_beside(self) -> None:
        """Bring what lies beside inputs, where there were too many to name all of them."""
        folders = dict.fromkeys(os.path.dirname(str(one.path)) for one in used(self._run) if not one.declared)
        for folder in folders:
            now, lies = self._world.inside(os.path.join(folder, "any")), self._world.place.of(folder)
            for name in os.listdir(lies) if now is not None and os.path.isdir(lies) else ():
                there = os.path.join(os.path.dirname(str(now)), name)
                if not os.path.lexists(there) and os.path.isfile(os.path.join(lies, name)):
                    self._carrier.bring(os.path.join(lies, name), there)
        self._notes.append("more was read than was named: what lies beside it was taken as it lies")

    def give(self, one: Dataset, digest: str) -> None:
        """Put a blob in the place of the data."""
        now = self._world.inside(str(one.path))
        if now is None:
            raise _LackingError(
                f"data set {one.name!r} of {_named(self._run)} lies outside of the project, at {one.path}: it is not"
                " replaced there; put it below the project's folder"
            )
        with self._store.blobs.open(digest) as file:
            self._carrier.write(now, file)

    def _kept(self, one: Dataset) -> bytes | None:
        """The bytes, from the code tree or the blobs."""
        if one.digest is None:
            return None
        with contextlib.suppress(NotFoundError):  # it has no tree, or that was erased
            found = tree_of(self._run).contents([one.digest]).get(one.digest)
            if found is not None:
                return found
        with contextlib.suppress(NotFoundError), self._store.blobs.open(one.digest) as file:
            return file.read()
        return None

    def _say(self, one: Dataset, found: str, lies: str) -> None:
        if found == "content":
            self._notes.append(f"{one.name}: {lies} has other bytes, and the same content")

    def _told(self, one: Dataset, lies: str) -> str:
        """What is wrong with a data set, and what to do."""
        what = f"data set {one.name!r}" if one.declared else f"the input {one.path}"
        known = f"sha256 {one.digest[:16]}…" if one.digest else str(one.fingerprint)
        if not files_at(lies):
            return (
                f"{what} of {_named(self._run)} is missing: there is nothing at {lies} ({known}"
                f"{'' if one.size_bytes is None else f', {one.size_bytes:,} bytes'}); put it back there, or go on"
                " with other data in its place by --here"
            )
        return (
            f"{what} of {_named(self._run)} has changed: {lies} is not what it was ({_change(one, lies)}); put the"
            " old data back, or rerun with what there is now by --here"
        )


def _named(run: Run) -> str:
    return f"run {run.name} ({run.short_id})"


def _change(one: Dataset, lies: str) -> str:
    """What changed in some data, as far as their fingerprints tell."""
    try:
        diff = str(fingerprint(one).compare(fingerprint_path(lies))).splitlines()
        return "; ".join(diff[1:] or diff)
    except MlsdkError:
        if not os.path.isfile(lies) or one.digest is None:
            return "other content"
        return f"sha256 {one.digest[:16]}… then, {hash_file(lies).sha256[:16]}… now"


def _is_same_bytes(path: str, one: Dataset) -> bool:
    if one.digest is None or not os.path.isfile(path):
        return False
    if one.size_bytes is not None and os.path.getsize(path) != one.size_bytes:
        return False
    return _digest(path) == one.digest


def _digest(path: str) -> str:
    """The SHA-256 of a file; of a large one that is as it was when it was last read, without reading it."""
    if os.path.getsize(path) < _REMEMBERED_BYTES:
        return hash_file(path).sha256
    return note_of(path, StatCache(default_folder())).sha256


def _what_is(path: str, one: Dataset) -> str | None:
    """Whether a path has the `bytes` of a data set, or the same `content` in others; None: neither."""
    if _is_same_bytes(path, one):
        return "bytes"
    if one.fingerprint is None or not files_at(path):
        return None
    found = fingerprint_path(path)
    if found.id != one.fingerprint:
        return None
    return "bytes" if found.bytes_id == one.digest or not os.path.isfile(path) else "content"
