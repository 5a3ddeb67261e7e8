"""`mlsdk.status`: whether what a run was made from is still what is there, and what would change by retraining."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, overload

import attrs

from mlsdk.compare.difference import Difference
from mlsdk.compare.side import Side
from mlsdk.data.statcache import default_folder
from mlsdk.errors import MlsdkError
from mlsdk.records import Dataset, Run
from mlsdk.reproduce.now.choosing import Wanted, chosen, replacements
from mlsdk.reproduce.now.code import CodeNow, Found
from mlsdk.reproduce.now.data import DataNow
from mlsdk.reproduce.now.environment import EnvironmentNow
from mlsdk.reproduce.now.files import FilesNow
from mlsdk.reproduce.now.lineage import Lineage, artifacts_of
from mlsdk.reproduce.now.told import in_short, line
from mlsdk.reproduce.world.held import Held, fetch
from mlsdk.reproduce.world.place import Places
from mlsdk.store import open_store
from mlsdk.store.base import FolderStore, Store

State = Literal["up to date", "stale", "unknown", "replaced"]
STATES: tuple[State, ...] = ("stale", "unknown", "up to date", "replaced")


@attrs.frozen
class Staleness:
    """What became of that which a run was made from.

    Attributes:
        run: the run.
        differences: what is not what it was, in causal order: data, functions, files, runs that made its data,
            packages, the interpreter.
        unknown: what cannot be known, and why, in readable lines.
        others: what has changed and is not known to matter: packages that the run had not imported, configurations
            that it was not seen to read.
        replaced_by: the newest run that was made from this one again, as it is: that one counts instead.
    """

    run: Run
    differences: tuple[Difference, ...] = ()
    unknown: tuple[str, ...] = ()
    others: tuple[Difference, ...] = ()
    replaced_by: Run | None = None

    @property
    def state(self) -> State:
        """`replaced`; or `stale` if anything differs; or `unknown` if something cannot be known; or `up to date`."""
        if self.replaced_by is not None:
            return "replaced"
        return "stale" if self.differences else "unknown" if self.unknown else "up to date"

    @property
    def is_stale(self) -> bool:
        """Whether retraining would start from something else."""
        return self.state == "stale"

    @property
    def lines(self) -> tuple[str, ...]:
        """What would change by retraining, a line for each difference."""
        return tuple(line(one) for one in self.differences)

    def to_dict(self) -> dict[str, object]:
        """Plain values, as `mlsdk status --json` prints them."""
        return {
            "run": self.run.id,
            "name": self.run.name,
            "experiment": self.run.experiment,
            "state": self.state,
            "causes": [_plain(one) for one in self.differences],
            "unknown": list(self.unknown),
            "others": [_plain(one) for one in self.others],
            "replaced_by": None if self.replaced_by is None else self.replaced_by.id,
        }

    def __str__(self) -> str:
        told = [*self.lines, *(f"not known: {why}" for why in self.unknown)]
        if self.replaced_by is not None:
            told = [f"by {self.replaced_by.name} ({self.replaced_by.short_id})"]
        return "\n".join([f"{self.run.name}: {self.state}", *(f"  {one}" for one in told)])


class Status(Sequence[Staleness]):
    """The staleness of runs, in the order in which they were asked for; shows itself as `mlsdk status` does."""

    def __init__(self, found: Sequence[Staleness]) -> None:
        self._found = tuple(found)

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Staleness]:
        return iter(self._found)

    @overload
    def __getitem__(self, index: int) -> Staleness: ...

    @overload
    def __getitem__(self, index: slice) -> Status: ...

    def __getitem__(self, index: int | slice) -> Staleness | Status:
        return Status(self._found[index]) if isinstance(index, slice) else self._found[index]

    def of(self, state: State) -> list[Staleness]:
        """Those in a state."""
        return [one for one in self._found if one.state == state]

    @property
    def exit_code(self) -> int:
        """For CI: 0 all is up to date, 1 something is stale, 2 nothing is, but something cannot be known."""
        return 1 if self.of("stale") else 2 if self.of("unknown") else 0

    def __repr__(self) -> str:
        return "\n".join(map(str, self._found)) or "no runs"


def status(
    runs: Wanted = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    store: str | os.PathLike[str] | None = None,
) -> Status:
    """Whether models are stale: compare what runs were made from with what is there now.

    Data are compared by content, functions by what the sources say: touching, copying or reformatting changes nothing.
    Nothing of the project is imported, executed or changed.

    Args:
        runs: a run; an id, a name, an experiment or a filter; several of them. By default, and for a name or an
            experiment, the newest finished run of each kind: of one experiment, function and script.
        folder: the top of the project; by default where it lay when a run was made, else the repository of the
            working folder.
        store: folder or URI; by default the settings' store.

    Raises:
        NotFoundError: there is no such run.
        QueryError: a filter that cannot be understood.

    >>> import mlsdk
    >>> mlsdk.status(store="memory:nothing")
    no runs
    """
    opened = open_store(store)
    found = chosen(opened, runs)
    return Judge(opened, found, folder).status(found)


class Judge:
    """Judges runs of a store; what they have in common is read, walked and looked at once.

    Args:
        store: where they are.
        runs: those that will be asked about.
        folder: the top of the project; see `status`.
    """

    def __init__(self, store: Store, runs: Sequence[Run], folder: str | os.PathLike[str] | None = None) -> None:
        held = Held(store.blobs)
        root = store.layout.root if isinstance(store, FolderStore) else None
        if root is None:
            fetch(runs)
        self.lineage = Lineage(store, runs)
        self._store = store
        self._places = Places(held, folder)
        self._code = CodeNow(held, root)
        self._data = DataNow(_own_cache() if root is None else os.path.join(root, "cache", "data"))
        self._files = FilesNow(held, self._data.digest)
        self._environments = EnvironmentNow(held)
        self._judged: dict[str, Staleness] = {}

    def status(self, runs: Sequence[Run]) -> Status:
        """The staleness of each; of those that were made again, by what."""
        replaced = replacements(self._store, runs)
        return Status([attrs.evolve(self.judge(run), replaced_by=replaced.get(run.id)) for run in runs])

    def judge(self, run: Run) -> Staleness:
        """The staleness of one, whether or not another has taken its place."""
        if run.id not in self._judged:
            self._judged[run.id] = Staleness(run)  # no circle of runs that made each other's data goes on for ever
            self._judged[run.id] = self._look(run)
        return self._judged[run.id]

    def _look(self, run: Run) -> Staleness:
        place = self._places.of(run)
        self.lineage.add([run])

        def made(one: Dataset, digest: str | None) -> bool:
            maker = self.lineage.maker(run, one)
            return maker is not None and (digest is None or self.lineage.has_made(maker, digest))

        def kept(digest: str) -> bytes | None:
            found = Side(run).contents([digest]).get(digest)
            if found is None:
                with contextlib.suppress(MlsdkError), self._store.blobs.open(digest) as file:
                    return file.read()
            return found

        environment = self._environments.look(run)
        sides = (
            self._data.look(run, place, kept, made),
            self._code.look(run, place),
            self._parents(run),
            environment.found,
        )
        differences = sorted((one for side in sides for one in side.differences), key=lambda one: one.rank)
        unknown = dict.fromkeys(why for side in sides for why in side.unknown)
        others = (*self._files.look(run, place), *environment.others)
        return Staleness(run, tuple(differences), tuple(unknown), others)

    def _parents(self, run: Run) -> Found:
        """Of the runs that made its data, those that would make others now."""
        found = []
        for one, made in self.lineage.parents(run):
            newest = self.lineage.latest(made)
            digest = artifacts_of(newest).get(made.artifact)
            facts = {"run": newest.id, "data": one.name, "digest": {"a": one.digest, "b": digest}}
            if digest not in (None, one.digest):
                a, b = in_short(made.run), in_short(newest)
                found.append(Difference("parent", made.artifact, a, b, _other_params(made.run, newest), True, facts))
                continue
            judged = self.judge(newest)
            if judged.is_stale:
                details = tuple(dict.fromkeys(self._roots(judged)))
                found.append(Difference("parent", made.artifact, in_short(newest), None, details, True, facts))
        return Found(tuple(found))

    def _roots(self, judged: Staleness, of: str = "") -> Iterator[str]:
        """Why a run is stale that made data, in lines; by another one before it, that one's lines, with its name."""
        for one in judged.differences:
            before = self._judged.get(str(one.facts.get("run"))) if one.kind == "parent" and one.b is None else None
            if before is not None:
                yield from self._roots(before, f"{one.a}: ")
            else:
                yield of + line(one)


def _own_cache() -> str:
    """The user's own folder for what is known of files, made if need be."""
    folder = default_folder()
    with contextlib.suppress(OSError):  # without it every file is read each time
        os.makedirs(folder, mode=0o700, exist_ok=True)
    return folder


def _other_params(a: Run, b: Run) -> tuple[str, ...]:
    """The params that a newer run of a kind was given otherwise."""
    names = [name for name in [*a.params, *(set(b.params) - set(a.params))] if a.params.get(name) != b.params.get(name)]
    return tuple(f"{name} = {b.params.get(name)!r} instead of {a.params.get(name)!r}" for name in names)


def _plain(one: Difference) -> dict[str, object]:
    told: Mapping[str, object] = attrs.asdict(one, recurse=False)
    return {**told, "details": list(one.details), "facts": dict(one.facts), "line": line(one)}
