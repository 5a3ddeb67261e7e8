"""The data of runs as they lie at their paths now: by content, each path looked at once.

A file whose bytes are the recorded ones is not read as a table, and one that has not been touched is not read at all
(`mlsdk.data.statcache`).
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from mlsdk.compare.difference import Difference
from mlsdk.compare.meaning import LARGEST_BYTES, says_the_same
from mlsdk.data.compare import DataDiff, Level, compare
from mlsdk.data.files import READERS, fingerprint_path
from mlsdk.data.listing import digest_of_listing, listing, note_of
from mlsdk.data.record import Fingerprint
from mlsdk.data.statcache import StatCache
from mlsdk.data.stored import load
from mlsdk.errors import MlsdkError
from mlsdk.records import Dataset, Run
from mlsdk.reproduce.now.code import Found
from mlsdk.reproduce.now.told import some
from mlsdk.reproduce.world.place import Place

_SHOWN = 5
_OF_FILES = ("path", "size_bytes", "sha256")
"""Columns of the table that a folder, or a pattern, is."""


class Answer(NamedTuple):
    """What became of one data set; with neither, it is what it was."""

    difference: Difference | None = None
    unknown: str | None = None
    digest: str | None = None
    """SHA-256 of what lies there now, where it is a file that differs."""


class DataNow:
    """Looks at data.

    Args:
        cache: folder with what is known of files read before.
    """

    def __init__(self, cache: str | None) -> None:
        self._cache = cache
        self._digests: dict[str, str | None] = {}
        self._fingerprints: dict[str, Fingerprint] = {}
        self._answers: dict[tuple[object, ...], Answer] = {}

    def look(
        self,
        run: Run,
        place: Place,
        kept: Callable[[str], bytes | None],
        made: Callable[[Dataset, str | None], bool],
    ) -> Found:
        """Which data are not what they were.

        Args:
            run: whose.
            place: of its project.
            kept: bytes by their SHA-256, as the run or its store has them; None where they do not.
            made: whether a data set was made by another run, and what lies there now, of which the digest is given
                (None for nothing), is of that kind's making too: then lineage speaks for it.
        """
        differences, unknown = [], []
        for one in used(run):
            answer = self._known(one, place, kept, run.inputs)
            if (answer.difference or answer.unknown) and made(one, answer.digest):
                continue
            if answer.difference is not None:
                differences.append(answer.difference)
            if answer.unknown is not None:
                unknown.append(answer.unknown)
        return Found(tuple(sorted(differences, key=lambda one: one.rank)), tuple(unknown))

    def _known(
        self, one: Dataset, place: Place, kept: Callable[[str], bytes | None], inputs: Mapping[str, Dataset]
    ) -> Answer:
        path = None if one.path is None else place.of(one.path)
        read = () if one.description == "file" else tuple(inputs.values())
        seen = frozenset((file.path, file.fingerprint) for file in read)
        key = (one.name, one.declared, path, one.digest, one.fingerprint, one.note, one.description, seen)
        if key not in self._answers:
            try:
                self._answers[key] = self._answer(one, path, place, kept, read)
            except (MlsdkError, OSError) as error:
                self._answers[key] = Answer(unknown=f"{_label(one, place)}: {error}")
        return self._answers[key]

    def _answer(
        self,
        one: Dataset,
        path: str | None,
        place: Place,
        kept: Callable[[str], bytes | None],
        read: Iterable[Dataset],
    ) -> Answer:
        """What became of one data set."""
        name, label = _name(one, place), _label(one, place)
        if one.description == "address":
            return Answer(unknown=f"{label}: what an address gives now was not asked")
        if path is None:
            how = "was in memory, and where it came from is not known; hand over a path, or name it by use_data(path)"
            return Answer(unknown=f"{label}: {one.note or how}")
        if one.digest is None and one.fingerprint is None:
            return Answer(unknown=f"{label}: what it was then is not known: {one.note or 'it was not read yet'}")
        if not os.path.exists(path) and not (glob.has_magic(path) and glob.glob(path, recursive=True)):
            return Answer(unknown=f"{label}: {path} is missing")
        digest = self.digest(path)
        if digest is not None and digest == one.digest:
            return Answer()
        if digest is not None and one.digest is not None and one.rows is None and _is_rewritten(path, kept(one.digest)):
            return Answer()
        if one.fingerprint is None:
            return Answer(_of_bytes(one, _kind(one, place), name, path, digest), None, digest)
        now = self._fingerprint(path)
        if now.id == one.fingerprint or (_is_of_files(now) and self._hold_the_same(one, path, place, read)):
            return Answer()
        return Answer(_of_content(one, _kind(one, place), name, now), None, digest)

    def _fingerprint(self, path: str) -> Fingerprint:
        if path not in self._fingerprints:
            self._fingerprints[path] = fingerprint_path(path, cache=self._cache)
        return self._fingerprints[path]

    def _hold_the_same(self, one: Dataset, path: str, place: Place, read: Iterable[Dataset]) -> bool:
        """Whether tables among the files say what they said when the run read them; the others must be the same."""
        tables = {place.of(file.path): file for file in read if file.path and file.digest and file.fingerprint}
        root = path if os.path.isdir(path) else _above(path)
        before, others = [], {}
        for file in listing(path, StatCache(self._cache)):
            whole = os.path.join(root, *file.path.split("/"))
            then = tables.get(whole)
            if then is not None and then.digest != file.sha256:
                others[whole] = then.fingerprint
                file = file._replace(size_bytes=then.size_bytes or 0, sha256=str(then.digest))
            before.append(file)
        return digest_of_listing(before) == one.digest and all(
            self._fingerprint(whole).id == then for whole, then in others.items()
        )

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file's bytes; None of folders and patterns."""
        if path not in self._digests:
            self._digests[path] = note_of(path, StatCache(self._cache)).sha256 if os.path.isfile(path) else None
        return self._digests[path]


def _above(pattern: str) -> str:
    """The folder above the first name with a wildcard."""
    while glob.has_magic(pattern):
        pattern = os.path.dirname(pattern)
    return pattern


def _is_of_files(one: Fingerprint) -> bool:
    return tuple(column.name for column in one.columns) == _OF_FILES and one.key == ("path",)


def _is_rewritten(path: str, then: bytes | None) -> bool:
    """Whether a file says what it said, in another way."""
    if then is None or os.path.getsize(path) > LARGEST_BYTES:
        return False
    with open(path, "rb") as file:
        return says_the_same(path, then, file.read())


def used(run: Run) -> list[Dataset]:
    """What a run used: its data sets, and what it was seen to read that none of them names."""
    return [*run.datasets.values(), *(one for one in run.inputs.values() if not one.declared)]


def _name(one: Dataset, place: Place) -> str:
    """A data set by its name, a file that was seen to be read by its path, within the project from its top."""
    if one.declared or one.path is None:
        return one.name
    return place.name(one.path)


def _label(one: Dataset, place: Place) -> str:
    """The same, as lines begin with it: `data.train`."""
    return f"data.{_name(one, place)}" if one.declared else _name(one, place)


def _kind(one: Dataset, place: Place) -> str:
    """Data, unless it is a file of the project that is no table and that no data set names: a configuration, say."""
    path = one.path or ""
    is_table = path.lower().endswith(tuple(READERS))
    return "data" if one.declared or is_table or place.name(path) == path else "file"


def _of_bytes(one: Dataset, kind: str, name: str, path: str, digest: str | None) -> Difference:
    facts: Mapping[str, object] = {"path": path, "declared": one.declared, "digest": {"a": one.digest, "b": digest}}
    if not os.path.isfile(path):
        return Difference(kind, name, _size(one.size_bytes), None, ("it is no file any more",), True, facts)
    return Difference(kind, name, _size(one.size_bytes), _size(os.path.getsize(path)), ("other bytes",), True, facts)


def _of_content(one: Dataset, kind: str, name: str, now: Fingerprint) -> Difference:
    a = _rows(one.rows, one.size_bytes, "row" if one.description == "file" else "file")
    b = _rows(now.rows, now.size_bytes, "file" if _is_of_files(now) else "row")
    facts: dict[str, object] = {"path": now.name, "declared": one.declared}
    facts["fingerprint"] = {"a": one.fingerprint, "b": now.id}
    if now.rows is None and one.rows is not None:
        return Difference(kind, name, a, b, ("it can no longer be read as a table",), True, facts)
    then = None
    with contextlib.suppress(MlsdkError):  # erased, or not brought along by a sync: that it differs is known even so
        stored = one.stored()
        then = None if stored is None else load(stored)
    if then is None:
        details: tuple[str, ...] = ("what changed cannot be said: its fingerprint is not in the store",)
    else:
        diff = compare(then, now)
        details = _files_told(diff) if _is_of_files(then) and _is_of_files(now) else _told(diff)
    return Difference(kind, name, a, b, details, True, facts)


def _told(diff: DataDiff) -> tuple[str, ...]:
    """What changed, in lines: rows, then columns."""
    lines = []
    counts = {"added": diff.added_rows, "removed": diff.removed_rows, "changed": diff.changed_rows}
    about = "about " if diff.about else ""
    if diff.level is Level.ROWS:
        lines.append(
            "the same columns in another order" if diff.reordered_columns else "the same rows in another order"
        )
    elif None in counts.values():
        lines.append("other content")
    elif any(counts.values()):
        told = [(number, how) for how, number in counts.items() if number]
        first = f"row{'s' * (told[0][0] != 1)} "
        lines.append(", ".join(f"{about}{number:,} {first * (not at)}{how}" for at, (number, how) in enumerate(told)))
    columns = {"changed": diff.changed_columns, "added": diff.added_columns, "removed": diff.removed_columns}
    for how, names in columns.items():
        called = f"{how} column" if how != "changed" or diff.columns_exact else "differing column"
        if names:
            lines.append(f"{called}{'s' * (len(names) > 1)}: {some(names, _SHOWN)}")
    return tuple(lines) or ("other content",)


def _files_told(diff: DataDiff) -> tuple[str, ...]:
    """What became of the files of a folder, by name."""
    told = {"added": diff.added_keys, "removed": diff.removed_keys, "changed": diff.changed_keys}
    lines = [f"{how}: {some([*map(str, sorted(names))], _SHOWN)}" for how, names in told.items() if names]
    return tuple(lines) or _told(diff)


def _rows(rows: int | None, size: int | None, unit: str) -> str | None:
    return _size(size) if rows is None else f"{rows:,} {unit}{'s' * (rows != 1)}"


def _size(size: int | None) -> str | None:
    return None if size is None else f"{size:,} bytes"
