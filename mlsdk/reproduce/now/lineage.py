"""Which runs made the data of other runs: an artifact and a data set with the same bytes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mlsdk.errors import MlsdkError
from mlsdk.query.tree import all_of
from mlsdk.records import Dataset, Run
from mlsdk.reproduce.now.data import used
from mlsdk.reproduce.now.kinds import FINISHED, OUTSIDE, Kind, kind_of
from mlsdk.store.base import Store

_PAGE = 500


class Made(NamedTuple):
    """An artifact that is another run's data."""

    run: Run
    """The run that made it, the newest one that was there before."""
    artifact: str
    """Its name; of a file in a folder `folder/path`."""


class Use(NamedTuple):
    """A data set of a run."""

    run: Run
    data: Dataset


class _Same(NamedTuple):
    """What runs of one kind have made under one name."""

    newest: Run
    digests: set[str]


class Lineage:
    """Finds the runs that made data, in one walk through the store, and none where nothing can have been made there.

    Args:
        store: where they are looked for.
        runs: the runs whose data are asked about.
    """

    def __init__(self, store: Store, runs: Iterable[Run]) -> None:
        self._store = store
        self._done: set[str] = set()
        """Digests of which all makers are known."""
        self._makers: dict[str, list[Made]] = {}
        self._all: dict[tuple[Kind, str], _Same] = {}
        """By kind of run and name of an artifact."""
        self.add(runs)

    def add(self, runs: Iterable[Run]) -> None:
        """Look for what made the data of these runs too, and the data of those, up to the first."""
        waiting = [*runs]
        while waiting:
            users: dict[str, list[Use]] = {}
            for run in waiting:
                for one in used(run):
                    if one.digest and one.digest not in self._done and self.maker(run, one) is None:
                        users.setdefault(one.digest, []).append(Use(run, one))
            wanted = {digest: some for digest, some in users.items() if self._is_kept(digest)}
            self._done |= users.keys() - wanted.keys()
            self._walk(wanted)
            waiting = [made.run for some in wanted.values() for use in some if (made := self.maker(*use))]

    def parents(self, run: Run) -> Iterator[tuple[Dataset, Made]]:
        """What of a run's data other runs have made."""
        for one in used(run):
            made = self.maker(run, one)
            if made is not None:
                yield one, made

    def maker(self, run: Run, one: Dataset) -> Made | None:
        """The run that made a data set of another one: the newest before it, of another kind."""
        kind = kind_of(run)
        for made in self._makers.get(one.digest or "", ()):
            is_before = made.run.started_at < run.started_at and kind_of(made.run) != kind
            if is_before and not _read_as(made.run, one.digest or "") & {_file(one)}:
                return made
        return None

    def has_made(self, made: Made, digest: str | None) -> bool:
        """Whether runs of the kind that made an artifact have made, under that name, something of this digest."""
        return digest in self._same(made).digests

    def latest(self, made: Made) -> Run:
        """The newest run of the kind of the one that made an artifact that has made one of that name."""
        return self._same(made).newest

    def _is_kept(self, digest: str) -> bool:
        """Whether the store has these bytes: what is an artifact of some run lies among its blobs."""
        with contextlib.suppress(MlsdkError):  # a store that cannot say so is looked through
            return self._store.blobs.exists(digest)
        return True

    def _walk(self, users: Mapping[str, Sequence[Use]]) -> None:
        """Go through runs, newest first, for those that made something of these digests, until each use has one.

        Args:
            users: by digest, who uses it.
        """
        kinds = {digest: {kind_of(use.run) for use in some} for digest, some in users.items()}
        oldest = {digest: min(use.run.started_at for use in some) for digest, some in users.items()}
        files = {digest: {_file(use.data) for use in some} for digest, some in users.items()}
        self._makers.update((digest, []) for digest in users)
        open_ones = set(users)
        after: str | None = None
        while open_ones:
            page = self._store.catalog.find(all_of(FINISHED, OUTSIDE), after=after, limit=_PAGE)
            for run in page.runs:
                for name, digest in artifacts_of(run).items():
                    if digest not in users:
                        continue
                    self._makers[digest].append(Made(run, name))
                    is_other = kind_of(run) not in kinds[digest] and not _read_as(run, digest) & files[digest]
                    if is_other and run.started_at < oldest[digest]:
                        open_ones.discard(digest)
            after = page.after
            if after is None:
                self._done |= users.keys()
                break

    def _same(self, made: Made) -> _Same:
        kind = kind_of(made.run)
        if (kind, made.artifact) in self._all:
            return self._all[kind, made.artifact]
        newest, digests = made.run, set()
        after: str | None = None
        while True:
            page = self._store.catalog.find(all_of(kind.filter, FINISHED), after=after, limit=_PAGE)
            for run in page.runs:
                digest = artifacts_of(run).get(made.artifact)
                if digest is not None:
                    digests.add(digest)
                    newest = max(newest, run, key=lambda one: one.started_at)
            after = page.after
            if after is None:
                found = self._all[kind, made.artifact] = _Same(newest, digests)
                return found


def _read_as(run: Run, digest: str) -> set[str]:
    """Names of the files in which a run found these bytes: what it read there, and logged, it has not made there."""
    return {_file(one) for one in used(run) if one.digest == digest}


def _file(one: Dataset) -> str:
    return os.path.basename(one.path or one.name)


def artifacts_of(run: Run) -> dict[str, str]:
    """Digests of a run's artifacts by name, of folders file by file."""
    found = {}
    for name, artifact in run.artifacts.items():
        if artifact.files:
            found.update({f"{name}/{path}": digest for path, digest in artifact.files.items()})
        else:
            found[name] = artifact.digest
    return found
