"""Pairs of runs with one known difference: that is what is found, in its place, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest

import mlsdk
from tests.compare.project import FILES, Bench, edited

HELPERS, MODEL, TRAIN = "pkg/helpers.py", "pkg/model.py", "train.py"

FORMATTED = '''
"""A module may say what it is for."""
FACTOR = (3)  # how much larger


def scale( x ) :
    # once it was said otherwise
    """Make it much larger."""

    return (
        x *
        FACTOR
    )


def shift(x): return x + 1
def unused(x): return x
'''
"""Written otherwise, and a function that nobody reaches is another one."""
WRITTEN_OTHERWISE = {
    HELPERS: FORMATTED,
    "conf.json": '{\r\n\t"bias": 1, "unit": "m"}',
    "tables/train.csv": '"name","value"\r\n"a",1.50\r\n"b",2.50\r\n"c",3.50\r\n',
}
UNREAD = {
    "pkg/alone.py": None,
    "pkg/lonely.py": FILES["pkg/alone.py"],
    "notes.md": "as it is\n",
    "todo.txt": "more\n",
    "tables/unread.csv": "a\n1\n",
}


@attrs.frozen
class Pair:
    """How the second run differs from the first, and what must be found."""

    found: tuple[str, ...] = ()
    files: dict[str, str | None] = attrs.field(factory=dict)
    words: tuple[str, ...] = ()
    variables: dict[str, str] = attrs.field(factory=dict)
    flags: tuple[str, ...] = ()
    versions: dict[str, str] | None = None
    stdin: str = ""
    first: dict[str, str | None] | None = None
    """Files of the first run, where it is not that of the project as it is."""
    other_files: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    """Texts that must be among the details."""


def seeded(number: int | None, *, draws: bool = True) -> dict[str, str | None]:
    """The program with a global generator that is loaded, perhaps seeded before the run, and perhaps drawn from."""
    seed = "" if number is None else f"random.seed({number})\n    "
    draw = "random.random() + " if draws else ""
    return edited(
        TRAIN,
        ("import os\n", "import os, random\n"),
        ("given = p", f"{seed}given = p"),
        ("net.total +", f"{draw}net.total +"),
    )


PAIRS = {
    # nothing that means anything
    "the same in another folder": Pair(),
    "formatting, comments, docstrings; a function that nobody reaches": Pair(files=WRITTEN_OTHERWISE),
    "a module that nobody reaches, renamed; notes; an unread table; a generator that nobody draws from": Pair(
        first=seeded(None, draws=False),
        files={**seeded(None, draws=False), **UNREAD},
        other_files=("notes.md", "pkg/alone.py", "pkg/lonely.py", "tables/unread.csv", "todo.txt"),
    ),
    "the data copied elsewhere; variables of a terminal and a job": Pair(
        files={"tables/train.csv": None, "other/copy.csv": FILES["tables/train.csv"]},
        words=("--data", "other/copy.csv"),
        variables={"TERM": "vt100", "SLURM_JOB_ID": "77", "OLDPWD": "/", "_": "x"},
    ),
    # params
    "a param; an option that is none": Pair(("param --out", "param lr"), words=("--lr", "0.3", "--out", "elsewhere")),
    "the default of a param": Pair(
        ("param momentum", "function __main__:train"),
        files=edited(TRAIN, ("momentum: float = 0.5", "momentum: float = 0.9")),
    ),
    # functions
    "the body of a helper": Pair(
        ("function pkg.helpers:scale",),
        files=edited(HELPERS, ("x * FACTOR", "x * FACTOR + 1")),
        also=(
            "reached by train > fit > Model.step > scale",
            "-     return x * FACTOR",
            "+     return x * FACTOR + 1",
        ),
    ),
    "a constant; a method": Pair(
        ("function pkg.helpers:FACTOR", "function pkg.model:Model.step"),
        files={**edited(HELPERS, ("FACTOR = 3", "FACTOR = 4")), **edited(MODEL, ("* lr * self", "/ lr * self"))},
        also=("+     self.total += scale(row) / lr * self.rate",),
    ),
    "an attribute of a class; what a module does when it is imported": Pair(
        ("function pkg.helpers:<module>", "function pkg.model:Model"),
        files={
            **edited(MODEL, ("rate = 2", "rate = 5")),
            **edited(HELPERS, ("FACTOR = 3", 'FACTOR = 3\nprint("hello")')),
        },
    ),
    "the tracked function": Pair(("function __main__:train",), files=edited(TRAIN, ("net.total +", "net.total -"))),
    "a call of another function that was there": Pair(
        ("function pkg.model:Model.step",), files=edited(MODEL, ("scale(row)", "helpers.shift(scale(row))"))
    ),
    "a new module that is not committed": Pair(
        ("function pkg.extra:bonus", "function pkg.helpers:scale"),
        files={
            **edited(HELPERS, ("return x * FACTOR", "from pkg.extra import bonus\n    return bonus(x)")),
            "pkg/extra.py": "def bonus(x):\n    return x + 7\n",
        },
    ),
    "another import of the same name": Pair(
        ("function pkg.model:Model.step",),
        files=edited(MODEL, ("from pkg.helpers import scale", "from pkg.helpers import shift as scale")),
        also=("- from pkg.helpers import scale", "+ from pkg.helpers import shift as scale"),
    ),
    "a function that was replaced in memory": Pair(
        ("function pkg.model:scale",),
        files=edited(
            TRAIN, ("given = parser", "model.helpers.scale = model.scale = model.helpers.shift\n    given = parser")
        ),
    ),
    "a value that was set in memory": Pair(
        ("function pkg.helpers:FACTOR",),
        files=edited(TRAIN, ("given = parser", "model.helpers.FACTOR = 9\n    given = parser")),
    ),
    # files and data
    "a configuration; a table that nobody declared": Pair(
        ("file conf.json", "data tables/extra.csv"),
        files={"conf.json": '{"bias": 2,\n "unit": "m"}\n', **edited("tables/extra.csv", ("3,4", "3,5"))},
        also=('- {"bias": 1,', '+ {"bias": 2,'),
    ),
    "a configuration that was not there": Pair(("file override.json",), files={"override.json": '{"bias": 5}'}),
    "a cell of the data": Pair(
        ("data data",),
        files=edited("tables/train.csv", ("b,2.5", "b,2.25")),
        also=("rows: 1 changed", "changed columns: value"),
    ),
    "a cell emptied; a row more": Pair(
        ("data data", "data tables/extra.csv"),
        files={**edited("tables/train.csv", ("b,2.5", ",2.5")), **edited("tables/extra.csv", ("3,4\n", "3,4\n5,6\n"))},
        also=("changed columns: name", "missing values: name: 0 → 1", "rows: 1 added"),
    ),
    "a row moved": Pair(
        ("data data",),
        files=edited("tables/train.csv", ("a,1.5\nb,2.5", "b,2.5\na,1.5")),
        also=("same rows in another order",),
    ),
    "a column more": Pair(
        ("data data",),
        files={"tables/train.csv": "name,value,k\na,1.5,1\nb,2.5,2\nc,3.5,3\n"},
        also=("added columns: k",),
    ),
    "files in another folder": Pair(
        ("function __main__:train",),
        files={
            **edited("train.py", ("tables/extra.csv", "more/extra.csv"), ('"conf.json"', '"more/conf.json"')),
            "more/extra.csv": FILES["tables/extra.csv"],
            "more/conf.json": FILES["conf.json"],
            "tables/extra.csv": None,
            "conf.json": None,
        },
    ),
    # what it ran with, and on
    "a package, and one that is not imported": Pair(
        ("package acme", "package quiet"), versions={"acme": "1.1", "quiet": "3.0"}
    ),
    "a flag of the interpreter": Pair(("interpreter flag optimize",), flags=("-O",)),
    "a variable, and the time zone": Pair(
        ("variable ACME_MODE", "variable TZ"), variables={"ACME_MODE": "fast", "TZ": "Asia/Tokyo"}
    ),
    "threads": Pair(("threads OMP_NUM_THREADS",), variables={"OMP_NUM_THREADS": "1"}),
    "another kernel of linear algebra": Pair(("blas OPENBLAS_CORETYPE",), variables={"OPENBLAS_CORETYPE": "Haswell"}),
    # chance
    "the seed of hashes": Pair(("seed PYTHONHASHSEED",), variables={"PYTHONHASHSEED": "1"}),
    "a seed": Pair(("seed random",), files=seeded(8), first=seeded(7)),
    "a generator that nobody seeds": Pair(("seed random",), files=seeded(None), first=seeded(None)),
    "the standard input": Pair(("stdin stdin",), stdin="notes.md"),
    # several at once
    "three things": Pair(
        ("param lr", "function pkg.helpers:scale", "data data"),
        words=("--lr", "0.3"),
        files={**edited(HELPERS, ("x * FACTOR", "x + FACTOR")), **edited("tables/train.csv", ("b,2.5", "b,2.25"))},
    ),
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("pairs"))
    yield made
    made.clear()


@pytest.mark.parametrize("name", PAIRS)
def test_exactly_what_differs_is_found(bench: Bench, name: str) -> None:
    """Of two runs that differ in a known way exactly that is found, in causal order, and one alone is said to be so."""
    pair = PAIRS[name]
    first = bench.first if pair.first is None else bench.run(bench.copy(pair.first))
    project = bench.copy(pair.files)
    second = bench.run(
        project,
        *pair.words,
        variables=pair.variables,
        flags=pair.flags,
        versions=pair.versions,
        stdin=project / pair.stdin if pair.stdin else None,
    )
    found = mlsdk.diff(first, second)

    assert [f"{one.kind} {one.what}" for one in found.causes] == [*pair.found]
    assert found.unknown == ()
    assert (found.only is not None) == (len(pair.found) == 1)
    assert found.other_files == pair.other_files
    assert set(pair.also) <= {line for one in found.causes for line in one.details}
