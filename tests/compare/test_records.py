"""What two runs need not be made for: records of one run, changed as another machine or another day would have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pytest

import mlsdk
from mlsdk.compare import causes
from mlsdk.compare.shown import lines_of
from mlsdk.compare.side import Side
from mlsdk.compare.table import text_of_table
from mlsdk.log.standins import Described
from tests.compare.project import Bench, edited

CPU = {"model": "AMD EPYC", "flags": ["avx", "avx2"]}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("records"))
    yield made
    made.clear()


def _with(run: mlsdk.Run, **kinds: Mapping[str, object]) -> mlsdk.Run:
    """A run of which some facts are others; None takes one away."""
    changed: dict[str, Any] = {}
    for kind, facts in kinds.items():
        whole = {**getattr(run, kind), **facts}
        changed[kind] = {name: value for name, value in whole.items() if value is not None}
    return attrs.evolve(run, **changed)


def _found(a: mlsdk.Run, b: mlsdk.Run) -> list[tuple[str, str, object, object]]:
    return [(one.kind, one.what, one.a, one.b) for one in causes(a, b)]


def test_another_machine(bench: Bench) -> None:
    """Processor, its instructions, cores and cards are causes; the name of the host, memory and microcode are not."""
    here = _with(bench.first, hardware={"cpu": CPU, "usable_cores": 2, "gpu_count": 1, "gpus": [{"name": "A100"}]})
    there = _with(
        here,
        hardware={
            "cpu": {"model": "Xeon", "flags": ["avx"], "microcode": "0x7"},
            "usable_cores": 8,
            "gpus": [{"name": "H200"}],
            "host": "other",
            "memory_bytes": 7,
        },
        environment={"kernel": "7.0"},
    )

    assert [(kind, what) for kind, what, _, _ in _found(here, there)] == [
        ("interpreter", "kernel"),
        ("hardware", "cpu"),
        ("hardware", "cpu flags"),
        ("hardware", "gpus"),
        ("hardware", "usable_cores"),
    ]


def test_libraries_that_calculate(bench: Bench) -> None:
    """Kernels and threads are causes by library; a version that follows from a package's is not."""
    library = {"kind": "blas", "name": "openblas", "version": "0.3.30", "kernel": "Haswell", "threads": 2}
    here = _with(bench.first, hardware={"libraries": [library]})
    other = {**library, "version": "0.3.31", "kernel": "SkylakeX", "threads": 1}
    there = _with(here, hardware={"libraries": [other]})
    packages = {**bench.first.environment["distributions"], "numpy": "0.1"}
    with_package = _with(there, environment={"distributions": packages})

    assert _found(here, there) == [
        ("blas", "openblas", "Haswell", "SkylakeX"),
        ("blas", "openblas version", "0.3.30", "0.3.31"),
        ("threads", "openblas", 2, 1),
    ]
    assert [kind for kind, *_ in _found(here, with_package)] == ["package", "blas", "threads"]


def test_generators_and_listings(bench: Bench) -> None:
    """Generators among the arguments, and the order of listed folders, are compared; other names are told apart."""
    chance = dict(bench.first.code["chance"])
    here = _with(
        bench.first,
        code={
            "chance": {**chance, "arguments": {"rng": {"kind": "numpy.Generator(PCG64)", "state": "aa", "entropy": 5}}},
            "listings": {"parts": ["a", "b"], "more": ["a", "b"], "big": "300 names, sha256 aa"},
        },
    )
    there = _with(
        here,
        code={
            "chance": {**chance, "arguments": {"rng": {"kind": "numpy.Generator(PCG64)", "state": "bb", "entropy": 6}}},
            "listings": {"parts": ["b", "a"], "more": ["a", "b", "c"], "big": "300 names, sha256 bb"},
        },
    )
    details = {one.what: one.details for one in causes(here, there)}

    assert [(kind, what) for kind, what, _, _ in _found(here, there)] == [
        ("seed", "rng"),
        ("listing", "big"),
        ("listing", "more"),
        ("listing", "parts"),
    ]
    assert details["parts"] == ("the same 2 names in another order",)
    assert details["more"] == ("added: c",)


def test_global_generators_are_beside_the_one_cause(bench: Bench) -> None:
    """Where a param differs and generators that nobody seeded, it is said that chance is beside it."""
    chance = dict(bench.first.code["chance"])
    here = _with(bench.first, code={"chance": {**chance, "random": "aa"}})
    there = _with(here, code={"chance": {**chance, "random": "bb"}}, params={"lr": 0.7})
    found = mlsdk.diff(here, there)

    assert found.only is None
    assert found.but_for_chance is not None
    assert "only param lr differs, but for random generators" in str(found)


def test_a_generator_that_the_program_seeds_itself(bench: Bench) -> None:
    """Where both runs seeded torch with the same number while they went on, its state before means nothing."""
    chance = dict(bench.first.code["chance"])
    before = [{"cpu": "aa", "initial_seed": 77}, {"cpu": "bb", "initial_seed": 88}]
    seeded = [{"cpu": "cc", "initial_seed": 0}, {"cpu": "dd", "initial_seed": 0}]
    drawn = [{"cpu": "ee", "initial_seed": 77}, {"cpu": "ff", "initial_seed": 88}]

    def found(after: list[dict[str, object]]) -> list[tuple[str, str]]:
        runs = [
            _with(bench.first, code={"chance": {**chance, "torch": start}, "chance_after": {"torch": end}})
            for start, end in zip(before, after, strict=True)
        ]
        return [(one.kind, one.what) for one in causes(*runs)]

    assert found(seeded) == []
    assert found(before) == []
    assert found(drawn) == [("seed", "torch")]


def test_switches_and_origins_of_packages(bench: Bench) -> None:
    """A switch of a framework, another commit of a package and edited files are differences of packages."""
    versions = {**bench.first.environment["distributions"], "tool": "1.0"}
    here = _with(
        bench.first,
        environment={
            "distributions": versions,
            "installed_from": {"tool": {"url": "https://example.org/tool", "vcs": "git", "commit": "a" * 40}},
            "frameworks": {"torch": {"version": "2.9", "cudnn_benchmark": False, "threads": 4}},
            "modified": {},
        },
    )
    there = _with(
        here,
        environment={
            "installed_from": {"tool": {"url": "https://example.org/tool", "vcs": "git", "commit": "b" * 40}},
            "frameworks": {"torch": {"version": "2.9", "cudnn_benchmark": True, "threads": 1}},
            "modified": {"acme": {"changed": ["acme.py"], "missing": []}},
        },
    )

    assert _found(here, there) == [
        ("package", "acme (edited)", None, "acme.py"),
        ("package", "torch.cudnn_benchmark", False, True),
        ("package", "tool", f"1.0 ({'a' * 12})", f"1.0 ({'b' * 12})"),
        ("threads", "torch", 4, 1),
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"code": {"functions": None}}, "B: the functions that it could reach: not captured, or not yet"),
        ({"code": {"functions_missing": {"x": "no source"}}}, "B: functions: x: no source"),
        (
            {"code": {"redacted": {"pkg/model.py": 1}}},
            "B: a secret was taken out of pkg/model.py: a change of it cannot be seen",
        ),
        ({"environment": {"distributions": None}}, "B: its packages: not captured, or not yet"),
        (
            {"environment": {"variables": {"MLSDK_OBSERVE": "0"}}},
            "B: the files that it read: observing was switched off",
        ),
        ({"params": {"key": "[redacted]"}}, "B: param key is known only as [redacted]"),
    ],
)
def test_what_is_not_known_forbids_only(bench: Bench, change: dict[str, Any], line: str) -> None:
    """Where a run's record lacks something, a line says so, and nothing is said to be the only difference."""
    other = _with(_with(bench.first, params={"lr": 0.9}), **change)
    found = mlsdk.diff(bench.first, other)

    assert line in found.unknown
    assert found.only is None
    assert "not known" in str(found)


def test_what_would_not_have_been_seen(bench: Bench) -> None:
    """Files that may have been executed or read unseen, and functions called by a name made at run time, are told."""
    program = edited(
        "train.py",
        ("import os\n", "import os, runpy\n"),
        ("net.total +", "getattr(model.helpers, f'{chr(117)}nused')(1) + net.total +"),
    )
    first = bench.run(bench.copy({**program, "tables/big.parquet": "1\n", "settings.py": "1\n"}))
    other = edited("pkg/helpers.py", ("return -x", "return 2 - x"))
    second = bench.run(bench.copy({**program, **other, "tables/big.parquet": "2\n", "settings.py": "2\n"}))
    found = mlsdk.diff(first, second)

    assert (found.causes, found.other_files) == ((), ("settings.py", "tables/big.parquet"))
    assert found.unknown == (
        "whether pkg.helpers:unused, which differs, was called by a name that was made at run time",
        "whether settings.py was executed, which is not seen",
        "whether tables/big.parquet was read, which is not seen below Python",
    )


def test_what_one_run_has_not_captured_is_no_cause(bench: Bench) -> None:
    """Where one run has captured nothing, what the other knows is not known to differ."""
    found = mlsdk.diff(bench.first, bench.run(bench.copy(), variables={"MLSDK_CAPTURE": "git"}))
    bare = attrs.evolve(bench.first, code={}, environment={}, hardware={}, inputs={})

    assert found.causes == ()
    assert causes(bench.first, bare) == ()
    assert "B: its environment variables: not captured, or not yet" in found.unknown


def test_files_read_by_a_run_that_was_not_observed(bench: Bench) -> None:
    """Files from elsewhere that one run was seen to read are no cause where nobody watched the other."""
    elsewhere = mlsdk.Dataset("/data/more.bin", "file", digest="aa", path="/data/more.bin", declared=False)
    first = attrs.evolve(bench.first, inputs={**bench.first.inputs, elsewhere.name: elsewhere})
    known = bench.first.environment["variables"]
    unseen = _with(bench.first, environment={"variables": {**known, "MLSDK_OBSERVE": "0"}})

    assert [(one.kind, one.what) for one in causes(first, bench.first)] == [("data", "/data/more.bin")]
    assert causes(first, attrs.evolve(unseen, inputs={})) == ()


@pytest.mark.parametrize(
    ("tops", "path", "place"),
    [
        (("/app", "/app", "/app"), "/app/conf.json", "conf.json"),
        (("/app", "/app", "/app"), "/data/app/conf.json", "/data/app/conf.json"),
        (("/home/x/proj", None, "/home/x"), "/home/x/proj/pkg/a.py", "pkg/a.py"),
        (("/home/x/proj", None, "/home/x"), "/home/x/data.csv", "../data.csv"),
        (("/home/x/proj", "/home/x/proj/src", "/home/x/proj/src"), "/home/x/proj/src/a.py", "src/a.py"),
        (("/", "/", "/"), "/etc/hosts", "/etc/hosts"),
    ],
)
def test_places(bench: Bench, tops: tuple[str | None, ...], path: str, place: str) -> None:
    """Paths are seen from the top of the code tree, be it below the root, or below the working folder."""
    root, package, folder = tops
    side = Side(attrs.evolve(bench.first, code={"tree": {"root": root}, "root": package, "folder": folder}))

    assert side.place(path) == place
    assert side.within(path) == place


def test_instructions_of_the_processor(bench: Bench) -> None:
    """Of two processors those instructions are shown that only one has."""
    here = _with(bench.first, hardware={"cpu": CPU})
    there = _with(bench.first, hardware={"cpu": {**CPU, "flags": ["avx", "fma"]}})

    assert [one.details for one in causes(here, there)] == [("A only: avx2", "B only: fma")]


def test_a_variable_kept_as_a_digest(bench: Bench) -> None:
    """Of a variable of which only digests are kept it is said that it was set to another value."""
    hashes = dict(bench.first.environment["variable_hashes"])
    first, second = (
        _with(bench.first, environment={"variable_hashes": {**hashes, "ACME_PLACE": digest}}) for digest in ("aa", "bb")
    )

    assert _found(first, second) == [("variable", "ACME_PLACE", "set", "set to another")]


def test_code_that_is_nested_too_deeply(bench: Bench) -> None:
    """What is nested too deeply to be walked through is neither explained nor taken for the same."""
    deep = "def table(x):\n    return " + "x + " * 700 + "{}\n"
    functions = {"deep:table": "01", "pkg.helpers:scale": "02"}
    then = _with(bench.first, code={"functions": functions, "sources_kept": {"deep": deep.format("getattr(x, x)")}})
    now = _with(
        then,
        code={"functions": {**functions, "deep:table": "03"}, "sources_kept": {"deep": deep.format("getattr(x, 1)")}},
    )
    unreached = [
        _with(run, code={"functions": {"pkg.helpers:scale": "02"}, "sources": {"deep": run.code["sources_kept"]}})
        for run in (then, now)
    ]
    (cause,) = causes(then, now)

    assert (cause.what, cause.details) == ("deep:table", ("its source is not with the run, or is nested too deeply",))
    assert "deep:table, which differs," in mlsdk.diff(*unreached).unknown[-1]


def test_a_folder_with_a_file_more(bench: Bench) -> None:
    """That a folder was listed with other names follows from the files that were read there."""
    part = mlsdk.Dataset("parts/c", "file", digest="cc", path="parts/c", declared=False)
    here = _with(bench.first, code={"listings": {"parts": ["b", "a"]}})
    there = _with(bench.first, code={"listings": {"parts": ["b", "c", "a"]}})
    read = attrs.evolve(there, inputs={**there.inputs, "parts/c": part})

    assert [(one.kind, one.what) for one in causes(here, there)] == [("listing", "parts")]
    assert [(one.kind, one.what) for one in causes(here, read)] == [("data", "parts/c")]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["0.9"], ["lr"]),
        (["0.8"], ["argument 1", "lr"]),
        (["--rate", "0.9"], ["--rate", "lr"]),
        (["--lr", "0.9"], ["lr"]),
    ],
)
def test_words_of_the_command_line_that_a_param_tells(bench: Bench, words: list[str], found: list[str]) -> None:
    """A word that is a param's value is told by the param; an option of another name may be more than that."""
    other = _with(bench.first, params={"lr": 0.9}, code={"argv": [*bench.first.code["argv"], *words]})

    assert [one.what for one in causes(bench.first, other)] == found


def test_a_loop_over_runs_in_a_script(bench: Bench) -> None:
    """The variable of a loop from which a param is given is told by the param; a global of another value is not."""

    def found(rate: float) -> list[str]:
        here, there = (
            _with(bench.first, params={"lr": lr}, code={"constants": {"__main__:lr": lr, "__main__:rate": by}})
            for lr, by in ((0.1, 0.1), (0.2, rate))
        )
        return [f"{one.kind} {one.what}" for one in causes(here, there)]

    assert found(0.1) == ["param lr"]
    assert found(0.5) == ["param lr", "function __main__:rate"]


def test_another_function_of_the_same_code(bench: Bench) -> None:
    """Of two runs of different functions in the same code it is said which function each is of."""
    functions = {"__main__:a": "1", "__main__:b": "1"}
    runs = [
        _with(bench.first, code={"function": name, "functions": {name: functions[name]}}) for name in sorted(functions)
    ]
    found = mlsdk.diff(*runs)

    assert (found.causes[0].what, found.causes[0].a, found.causes[0].b) == ("tracked function", *sorted(functions))


def test_data_without_a_fingerprint_is_unknown(bench: Bench) -> None:
    """Of data that one of the runs could not claim it is said that they may differ, with the reason."""
    data = bench.first.datasets["data"]
    unclaimed = attrs.evolve(data, fingerprint=None, digest=None, note="changed while it was read")
    found = mlsdk.diff(bench.first, attrs.evolve(bench.first, datasets={"data": unclaimed}))

    assert found.causes == ()
    assert found.unknown == ("whether the data set data is the same: changed while it was read",)


@pytest.mark.parametrize("other", ["aa", "bb"])
def test_files_in_temporary_folders(bench: Bench, other: str) -> None:
    """Files of temporary folders are known by their content: of the same nothing is said, others are not known."""
    runs = []
    for path, digest in (("/var/tmp/x1/part", "aa"), ("/var/tmp/x2/part", other)):
        one = mlsdk.Dataset(path, "file", digest=digest, path=path, declared=False)
        runs.append(attrs.evolve(bench.first, inputs={**bench.first.inputs, path: one}))
    found = mlsdk.diff(*runs)

    assert found.causes == ()
    assert bool(found.unknown) == (other != "aa")


def test_digests_of_variables_from_two_stores(bench: Bench) -> None:
    """Digests of variables that were made with other keys are not compared, and that is said."""
    hashes = {name: value[::-1] for name, value in bench.first.environment["variable_hashes"].items()}
    found = mlsdk.diff(bench.first, _with(bench.first, environment={"variable_hashes": hashes}))

    assert found.causes == ()
    assert any("made with two keys" in line for line in found.unknown)


def test_variables_that_a_library_sets_itself(bench: Bench) -> None:
    """What scikit-learn sets when it is imported tells two runs apart by nothing but who imported it before."""
    known = bench.first.environment["variables"]
    found = mlsdk.diff(
        bench.first, _with(bench.first, environment={"variables": {**known, "KMP_INIT_AT_FORK": "FALSE"}})
    )

    assert found.causes == ()


def test_a_comparison_shows_itself(bench: Bench) -> None:
    """The tree names kinds in causal order, what is the same is counted, and a notebook gets it escaped."""
    other = _with(bench.first, params={"lr": 0.9, "tag": "<b>"}, tags={"team": "x"})
    found = mlsdk.diff(bench.first, other)
    page = found._repr_html_()

    assert [one.what for one in found.causes] == ["lr", "tag"]
    assert "2 causes" in str(found)
    assert "tags.team" in str(found)
    assert "1 data set," in str(found).splitlines()[-1]
    assert "&lt;b&gt;" in page
    assert "<b>causes</b>" in page
    assert found.to_dict()["only"] is None


def test_a_table_with_a_run_of_which_nothing_was_captured(bench: Bench) -> None:
    """A first run without captures hides no differences of the others, and no value is said to be its own."""
    first = bench.first
    bare = attrs.evolve(first, id="1" * 32, name="bare", code={}, environment={}, hardware={}, inputs={})
    other = attrs.evolve(_with(first, environment={"python": "3.99"}), id="2" * 32, name="other")
    found = mlsdk.diff(bare, first, other)

    assert found.columns == {"interpreter python": (None, first.environment["python"], "3.99")}
    assert "bare: its interpreter: not captured, or not yet" in found.unknown


def test_a_table_is_as_wide_as_it_must_be(bench: Bench) -> None:
    """A few runs are columns, many are rows; numbers that are close are told apart; a line tells of whom it is said."""
    some = [
        attrs.evolve(_with(bench.first, params={"lr": 0.1 + at / 1e9}, hardware={"cpu": None}), name=f"run-{at}")
        for at in range(20)
    ]
    few, many = str(mlsdk.diff(*some[:3])).split("\n"), str(mlsdk.diff(*some)).split("\n")

    assert few[3].split() == ["param", "lr", "0.1", "0.100000001", "0.100000002"]
    assert many[0].split() == ["run", "name", "param", "lr"]
    assert max(map(len, text_of_table(mlsdk.diff(*some[:6]), 80).split("\n")[:4])) <= 80
    assert "  run-0, run-1 and run-2: its processor: not captured, or not yet" in few
    assert "  all 20 runs: its processor: not captured, or not yet" in many


@pytest.mark.parametrize("width", [80, 140])
def test_a_comparison_fits_its_terminal(bench: Bench, width: int) -> None:
    """Long values are shortened to the width, from where they differ on, so that it is seen that they do."""
    here, there = (_with(bench.first, params={"words": "x" * 99 + end, "all": end * 99}) for end in "yz")
    found = mlsdk.diff(here, there)
    lines = ["".join(text for text, _ in line) for line in lines_of(found, width)]

    assert max(map(len, lines)) <= width
    assert any("xxxxxxxy → …xxxxxxx" in line for line in lines)


def test_params_that_are_compared_otherwise(bench: Bench) -> None:
    """Generators and functions among the arguments are known though they are only described; a lambda is not."""
    chance = {**bench.first.code["chance"], "arguments": {"rng": {"kind": "random.Random", "state": "aa"}}}
    told = {"rng": Described("Random", "Random()"), "by": Described("function", "pkg.helpers.scale")}
    known = _with(bench.first, code={"chance": chance}, params=told)
    vague = _with(known, params={"by": Described("function", "pkg.helpers.<lambda>")})

    assert mlsdk.diff(known, known).unknown == ()
    assert mlsdk.diff(vague, vague).unknown == ("A and B: param by is known only as pkg.helpers.<lambda>",)


def test_linear_algebra_that_was_not_captured(bench: Bench) -> None:
    """Where numpy was imported, and nobody asked which library calculates for it, that is not known."""
    packages = {**bench.first.environment["packages"], "numpy": "2.0"}
    run = _with(bench.first, environment={"packages": packages})

    assert mlsdk.diff(run, run).unknown == ("A and B: its linear algebra, and its threads: not captured, or not yet",)


def test_several_runs_make_a_table(bench: Bench) -> None:
    """Of several runs there are columns for what differs among them, in causal order, and none for the rest."""
    first = bench.first
    second = attrs.evolve(_with(first, params={"lr": 0.9}), id="1" * 32)
    third = attrs.evolve(_with(first, params={"momentum": 0.1}, environment={"python": "3.99"}), id="2" * 32)
    found = mlsdk.diff(first, second, third)

    assert {name: values for name, values in found.columns.items() if name.startswith("param")} == {
        "param lr": (0.1, 0.9, 0.1),
        "param momentum": (0.5, 0.5, 0.1),
    }
    assert list(found.columns) == ["param lr", "param momentum", "interpreter python"]
    assert "param momentum" in str(found)
    assert "<th>param lr</th>" in found._repr_html_()
    assert found.to_dict()["runs"] == [first.id, second.id, third.id]


def test_a_run_in_a_global_is_no_difference(bench: Bench) -> None:
    """A global that holds a run holds another one each time, and in a rerun one that is switched off."""
    live = _with(bench.first, code={"constants": {"__main__:run": {"type": "mlsdk.tracking.active.ActiveRun"}}})
    off = _with(bench.first, code={"constants": {"__main__:run": {"type": "mlsdk.tracking.disabled.DisabledRun"}}})
    other = _with(bench.first, code={"constants": {"__main__:run": 3}})

    assert _found(live, off) == []
    assert [what for _, what, _, _ in _found(live, other)] == ["__main__:run"]
