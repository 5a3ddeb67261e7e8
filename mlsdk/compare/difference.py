"""What differs between two runs: one difference, and the order in which differences cause each other."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

KINDS = (
    "param",
    "function",
    "file",
    "data",
    "parent",
    "package",
    "interpreter",
    "hardware",
    "blas",
    "threads",
    "variable",
    "seed",
    "listing",
    "clock",
    "stdin",
)
"""Kinds of causes in causal order: what a person has set, code, data and the runs that made it, what it ran with and
on, chance."""


@attrs.frozen
class Difference:
    """Something that is not the same in two runs, and may be why their results are not.

    Attributes:
        kind: one of `KINDS`.
        what: its name within that kind: `lr`, `helpers:scale`, `train`, `numpy`, `OMP_NUM_THREADS`.
        a: what it is in the first run, small and readable; None where the run does not have it.
        b: the same of the second run.
        details: readable lines: a diff of a function, which rows changed, who calls it.
        direct: for packages, whether the run's own code imports it.
        facts: what a program may want to know further, by name.
    """

    kind: str
    what: str
    a: object = None
    b: object = None
    details: tuple[str, ...] = ()
    direct: bool = True
    facts: Mapping[str, object] = attrs.field(factory=dict)

    @property
    def rank(self) -> tuple[int, bool, str]:
        """The place in an order of causes: by kind, direct before indirect, by name."""
        return (KINDS.index(self.kind), not self.direct, self.what)
