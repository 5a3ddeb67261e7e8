"""How a run is made again: what is taken from its record, and what from here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from mlsdk.errors import UsageError

Source = Literal["run", "here"]
"""From the record of the run, or as it lies here now."""

Kind = Literal["lock", "fresh", "same"]
"""Of an environment."""


@attrs.frozen
class Recipe:
    """What a rerun takes from the run's record, and what from here. By default everything is as it was.

    Attributes:
        params: arguments, or options of the command line, that are to be others than the run's.
        code: the captured tree, or the files that lie now where the run's lay. Either way a copy in a new folder.
        files: with the code from here, paths (below the top of the tree) that are taken from the run all the same.
        pieces: with the code from here, functions that are, as `path:name`; what else is in the file stays.
        data: the data sets by fingerprint, or whatever lies at their paths.
        datasets: with the data from here, names of data sets that are taken from the run all the same.
        contents: by path of the run's record, the SHA-256 of a blob in the store that is put in the place of the data.
        env: `lock`: an environment that is as the lock says, built unless the present one is equal to it; `fresh`:
            built in any case; `same`: the present one as it is.
        packages: versions by name that differ from what `env` says.
        variables: the environment variables that the run has kept, or this process's.
        variable_values: variables by name that are set on top of that; None for one that is taken away.
        seed: seed every generator with this just before the body; None for leaving them alone.
        clock_s: the time, in seconds since 1970, at which every clock of the program stands; None for the true one.
        listings: by path relative to the working folder, the order in which a folder is listed.
        timeout_s: after so long the rerun is stopped; None for ten times what the run took, at least a minute.
    """

    params: Mapping[str, object] = attrs.field(factory=dict)
    code: Source = "run"
    files: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()
    data: Source = "run"
    datasets: tuple[str, ...] = ()
    contents: Mapping[str, str] = attrs.field(factory=dict)
    env: Kind = "lock"
    packages: Mapping[str, str] = attrs.field(factory=dict)
    variables: Source = "run"
    variable_values: Mapping[str, str | None] = attrs.field(factory=dict)
    seed: int | None = None
    clock_s: float | None = None
    listings: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    timeout_s: float | None = None

    @property
    def places(self) -> frozenset[str]:
        """Paths, below the top of the tree, of files that are not as they lie here."""
        return frozenset((*self.files, *(piece.rpartition(":")[0] for piece in self.pieces)))


def recipe_of(*, env: Kind, here: bool, timeout_s: float | None, params: Mapping[str, object] | None = None) -> Recipe:
    """The recipe that a caller asks for, by the arguments that `rerun` and `verify` share.

    Raises:
        UsageError: one of them means nothing, or two do not fit together.
    """
    if env not in ("lock", "fresh", "same"):
        raise UsageError(f"env must be 'lock', 'fresh' or 'same', not {env!r}")
    if here and env == "fresh":
        raise UsageError("here=True takes the environment as it is, not env='fresh'; leave one of them out")
    if timeout_s is not None and not timeout_s > 0:
        raise UsageError(
            f"timeout_s must be seconds above 0, not {timeout_s!r}; without it, ten times what the run took"
        )
    known = Recipe(params=dict(params or {}), env="same" if here else env, timeout_s=timeout_s)
    return attrs.evolve(known, code="here", data="here", variables="here") if here else known
