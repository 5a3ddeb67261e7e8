"""What may be why two runs differ, in causal order."""

from __future__ import annotations

import posixpath
from typing import NamedTuple

import attrs

from mlsdk.compare.chance import listing_differences, seed_differences, stdin_differences
from mlsdk.compare.data import data_differences
from mlsdk.compare.difference import Difference
from mlsdk.compare.files import input_differences, inputs, other_files
from mlsdk.compare.functions import function_differences, reach_differences, value_differences
from mlsdk.compare.machine import blas_differences, hardware_differences, thread_differences
from mlsdk.compare.packages import interpreter_differences, package_differences
from mlsdk.compare.params import param_differences
from mlsdk.compare.side import Side
from mlsdk.compare.unknown import unknown_between
from mlsdk.compare.values import listed, same
from mlsdk.compare.variables import of_blas, of_threads, pairs_of_variables, variable_differences
from mlsdk.records import Run

_BRING_BLAS = frozenset(("numpy", "scipy", "torch", "scikit-learn", "jax", "jaxlib", "tensorflow", "mkl", "blas"))
_MAKE_VALUES = frozenset(("function", "file", "data", "package", "interpreter", "variable", "seed"))
"""Kinds of causes that may be why a global held another value; params come later than globals."""


class Found(NamedTuple):
    """What a comparison of causes found."""

    causes: tuple[Difference, ...]
    unknown: tuple[str, ...]
    """What is not known of the two as they stand to each other; `unknown_of` says it of each."""
    other_files: tuple[str, ...]
    """Files of the code that differ, and that nothing is known to have read."""


def causes(a: Run, b: Run) -> tuple[Difference, ...]:
    """What differs between two runs and may be why their results do, by `Difference.rank`.

    What differs between any two runs is left out: ids, times, folders, names of hosts, variables of the terminal and
    the job. Paths below the top of the code are compared as seen from there.

    Example::

        for one in causes(mlsdk.get_run("monday"), mlsdk.get_run("latest")):
            print(one.kind, one.what, one.a, one.b)
    """
    return found_causes(Side(a), Side(b)).causes


def found_causes(then: Side, now: Side) -> Found:
    """The causes, what cannot be known of the two, and files that differ and mean nothing as far as is known."""
    pairs = pairs_of_variables(then, now)
    packages = package_differences(then, now)
    variables = variable_differences(then, now, pairs)
    brings = any(one.what in _BRING_BLAS for one in packages)
    named = {one.what for one in variables}
    hardware = [one for one in hardware_differences(then, now) if _is_told(one, named)]
    read = input_differences(then, now)
    found = [
        *param_differences(then, now),
        *function_differences(then, now),
        *data_differences(then, now),
        *read,
        *packages,
        *interpreter_differences(then, now),
        *hardware,
        *blas_differences(then, now, of_blas(pairs), other_packages=brings),
        *thread_differences(then, now, of_threads(pairs)),
        *variables,
        *seed_differences(then, now),
        *(one for one in listing_differences(then, now) if not _follows(one, read)),
        *stdin_differences(then, now),
    ]
    if not any(one.kind in _MAKE_VALUES or one.facts.get("source") == "argv" for one in found):
        told = [one for one in found if one.kind == "param"]
        found += [one for one in value_differences(then, now) if not any(_is_param(one, param) for param in told)]
    if not any(one.kind in _MAKE_VALUES or one.kind == "param" for one in found):
        found += reach_differences(then, now)
    compared = {place for side in (then, now) for place in inputs(side)} | _declared(then) | _declared(now)
    files = other_files(then, now, compared)
    found = [_with_files(one, then, files) for one in found]
    found.sort(key=lambda one: one.rank)
    return Found(tuple(found), tuple(unknown_between(then, now, files)), files)


def _is_told(one: Difference, variables: set[str]) -> bool:
    """Whether a difference of the machine is one by itself: the visible cards follow from a variable."""
    return one.what != "gpus_visible" or "CUDA_VISIBLE_DEVICES" not in variables


def _with_files(one: Difference, then: Side, files: tuple[str, ...]) -> Difference:
    """Data in memory, with the files that differ too, and that it may have been read from before the run began."""
    data = then.run.datasets.get(one.what) if one.kind == "data" else None
    if data is None or data.path is not None or not files:
        return one
    return attrs.evolve(one, facts={**one.facts, "files": files})


def _is_param(one: Difference, param: Difference) -> bool:
    """Whether a global is what a param was given from: the variable of a loop over runs, say."""
    is_named_so = one.what.rpartition(":")[2] == param.what.rpartition(".")[2]
    return is_named_so and same(one.a, param.a) and same(one.b, param.b)


def _follows(one: Difference, read: list[Difference]) -> bool:
    """Whether a folder was listed otherwise for files alone that differ themselves."""
    x, y = (list(map(str, listed(names))) for names in listed(one.facts["orders"]))
    others = {*x} ^ {*y}
    in_order = [name for name in x if name not in others] == [name for name in y if name not in others]
    named = {found.what for found in read}
    return bool(others) and in_order and all(posixpath.join(one.what, name) in named for name in others)


def _declared(side: Side) -> set[str]:
    """Places that a data set names: files, and folders with all that is in them where it was seen to be read."""
    named = {side.place(one.path) for one in side.run.datasets.values() if one.path is not None}
    return named | {side.place(name) for name, one in side.run.inputs.items() if one.declared}
