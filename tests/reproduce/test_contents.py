"""What two runs came to, compared by content: numbers, arrays, files, whole runs."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import math
import struct
import zipfile
from array import array
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import feather, parquet

import mlsdk
from mlsdk.records import Run, RunStatus, Series
from mlsdk.reproduce import artifacts, outputs
from mlsdk.reproduce.artifacts import NotLookedIntoError, file_gap
from mlsdk.reproduce.contents import BYTES, TIME, compare, is_of_time, settled
from mlsdk.reproduce.gap import array_gap, gap, number_gap, series_gap, text_gap

numbers = st.integers(-(2**70), 2**70) | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=20) | st.from_regex(r"loss [0-9]{1,3}\.[0-9]{2} at \d"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def same_bits(a: object, b: object) -> bool:
    """By the definition: type and bits, NaN being NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack("d", a) == struct.pack("d", b) or (math.isnan(a) and math.isnan(b))
    return a == b


# values


@given(values)
def test_a_value_is_like_itself(value: object) -> None:
    """Whatever it is made of, a value does not differ from a copy of itself: NaN neither."""
    copy = json.loads(json.dumps(value)) if not isinstance(value, float) else float(value)

    assert gap(value, copy) is None


@given(numbers, numbers)
@example(0, math.nan)
@example(0.0, math.nan)
def test_numbers_differ_as_they_are_defined_to(a: float, b: float) -> None:
    """Two numbers differ unless type and bits are the same; whole ones are never near; the order does not matter."""
    found, back = number_gap(a, b), number_gap(b, a)

    assert (found is None) == same_bits(a, b)
    assert (back and (back.relative, back.ulps)) == (found and (found.relative, found.ulps))
    if found is not None:
        assert found.relative >= 0
        assert found.relative == math.inf or not (type(a) is int and type(b) is int)
        assert found.ulps is None or found.ulps > 0


@given(st.floats(-1e300, 1e300), st.integers(1, 50))
def test_ulps_count_floats(value: float, steps: int) -> None:
    """The distance in ulps is the number of floats from one to the other."""
    other = value
    for _ in range(steps):
        other = math.nextafter(other, math.inf) if hasattr(math, "nextafter") else float(np.nextafter(other, np.inf))
    crosses = value <= 0 <= other  # zero has two floats, and a walk passes one of them

    found = number_gap(value, other)

    assert found is not None
    assert found.ulps is not None
    assert abs(found.ulps - steps) <= crosses


@given(
    st.lists(st.floats(width=32), max_size=20),
    st.lists(st.floats(width=32), max_size=20),
    st.sampled_from(["f4", "f8"]),
)
def test_arrays_are_like_their_numbers(a: list[float], b: list[float], kind: str) -> None:
    """Arrays differ where their elements do, by as much, and nowhere else; one of another shape differs as a whole."""
    length = min(len(a), len(b))
    x, y = np.array(a[:length], kind), np.array(b[:length], kind)
    apart = [number_gap(float(one), float(other)) for one, other in zip(x, y, strict=True)]
    found = array_gap(x, y)

    assert (found is None) == (not any(apart))
    if found is not None:
        assert found.count == sum(one is not None for one in apart)
        assert found.where == f"[{next(place for place, one in enumerate(apart) if one)}]"
        if kind == "f8":
            assert found.relative == pytest.approx(max(one.relative for one in apart if one))
    assert array_gap(x, np.append(y, np.float32(0)).astype(kind)).relative == math.inf  # type: ignore[union-attr]


def test_long_doubles_are_compared_by_value() -> None:
    """What lies between two numbers of extended precision in memory does not count."""
    one, other = np.array([1.5, np.nan], np.longdouble), np.array([1.5, np.nan], np.longdouble)
    if one.dtype.itemsize == 16:
        other.view("u1")[12] = 1

    assert array_gap(one, other) is None
    assert array_gap(one, other + 1).count == 1  # type: ignore[union-attr]


def test_where_values_differ() -> None:
    """The place of the first difference is told, with both values, and how many there are."""
    found = gap({"a": [1, {"b": 2.0}], "c": "x"}, {"a": [1, {"b": 3.0}], "c": "y"})

    assert found is not None
    assert (found.where, found.a, found.b, found.count) == (".a[1].b", 2.0, 3.0, 2)
    assert found.relative == math.inf
    assert gap([1], [1, 2]) is not None
    assert gap({"a": None}, {}) is not None
    assert gap(True, 1) is not None


def test_texts_are_like_their_numbers() -> None:
    """Texts that are alike but for numbers differ by these; an integer in a text is exact."""
    assert text_gap("loss 0.50", "loss 5e-1") is None
    assert text_gap("loss 0.5", "loss 0.6").relative == pytest.approx(1 / 6)  # type: ignore[union-attr]
    assert text_gap("epoch 3", "epoch 4").relative == math.inf  # type: ignore[union-attr]
    assert text_gap("a 1", "b 1").relative == math.inf  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("a", "b"),
    [("v1.10", "v1.1"), ("1.2.30", "1.2.3"), ("007", "7"), ("1e400", "1e500"), ("9" * 1200, "8" * 1200)],
)
def test_what_looks_like_a_number_and_is_none(a: str, b: str) -> None:
    """Versions, names with zeros before them and numbers that no float holds are never near each other."""
    found = text_gap(a, b)

    assert found is not None
    assert found.relative == math.inf


def test_a_text_that_was_returned_is_exact() -> None:
    """A text among values is no writing down of numbers; digits beyond a float's are never the same bits."""
    long = text_gap("0.12345678901234567890", "0.12345678901234567891")

    assert gap({"version": "1.10"}, {"version": "1.1"}).relative == math.inf  # type: ignore[union-attr]
    assert gap("loss 0.5", "loss 0.50") is not None
    assert long is not None
    assert long.relative == 0.0


def series(steps: list[int], points: list[float], *, plain: bool = False) -> Series:
    if plain:
        return Series("m", array("q", steps), array("d", points), list)
    return Series("m", np.array(steps), np.array(points), list)


@pytest.mark.parametrize("plain", [False, True])
def test_series_part_at_a_point(plain: bool) -> None:
    """Two series part at the first point whose step or value is another, or that only one has; NaN is no parting."""
    one = series([0, 1, 2], [1.0, math.nan, 3.0], plain=plain)

    assert series_gap(one, series([0, 1, 2], [1.0, math.nan, 3.0], plain=plain)) is None
    for other, place in (
        (series([0, 1, 2], [1.0, 2.0, 4.0], plain=plain), 1),
        (series([0, 1, 3], [1.0, math.nan, 3.0], plain=plain), 2),
        (series([0, 1], [1.0, math.nan], plain=plain), 2),
        (series([0, 1, 2], [1.0, math.nan, -3.0], plain=plain), 2),
        (series([0, 1, 2], [-1.0, math.nan, 3.0], plain=plain), 0),
    ):
        assert series_gap(one, other)[1] == place  # type: ignore[index]


def test_a_zero_with_another_sign_is_another_bit() -> None:
    """0.0 and -0.0 are equal and not the same, in a series as in an array; so are 1 and 1.0."""
    zero = series_gap(series([0], [0.0]), series([0], [-0.0]))
    whole = series_gap(series([0], [1]), series([0], [1.0]))

    assert zero is not None
    assert zero[0].relative == 0.0
    assert whole is not None
    assert whole[0].relative == 0.0
    assert array_gap(np.array([0.0]), np.array([-0.0])) is not None


# files


def saved(save: Callable[..., Any], *arguments: Any, **named: Any) -> bytes:
    file = io.BytesIO()
    save(file, *arguments, **named)
    return file.getvalue()


def tensors(values: np.ndarray[Any, Any], kind: str, **metadata: str) -> bytes:
    data = values.tobytes()
    about = {
        "w": {"dtype": kind, "shape": list(values.shape), "data_offsets": [0, len(data)]},
        "__metadata__": metadata,
    }
    head = json.dumps(about).encode()
    return struct.pack("<Q", len(head)) + head + data


def table(values: list[float], **named: Any) -> bytes:
    return saved(lambda file: parquet.write_table(pa.table({"x": values, "name": ["a", None, "c"]}), file, **named))


def packed(values: list[float], year: int) -> bytes:
    def write(file: io.BytesIO) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(
                zipfile.ZipInfo(f"model{year}/data/0", (year, 1, 1, 0, 0, 0)), array("d", values).tobytes()
            )

    return saved(write)


NEAR, FAR = [1.0, 2.0, 3.0], [1.0, 2.0, 3.0000000003]

FORMATS: dict[str, Callable[[list[float], int], bytes]] = {
    "a.npy": lambda x, _: saved(np.save, np.array(x)),
    "a.npz": lambda x, way: saved(np.savez if way else np.savez_compressed, w=np.array(x)),
    "a.safetensors": lambda x, way: tensors(np.array(x), "F64", made=str(way)),
    "a.csv": lambda x, way: ("\r\n" if way else "\n").join(["x,name", *(f'{v!r},"é"' for v in x)]).encode("utf-8-sig"),
    "a.tsv": lambda x, way: "\n".join(f"{v!r}\t{'0.50' if way else '0.5'}" for v in x).encode(),
    "a.json": lambda x, way: json.dumps({"w": x, "n": 1}, indent=way or None).encode(),
    "a.jsonl": lambda x, way: b"\n".join(json.dumps({"v": v}).encode() for v in x) + b"\n" * way,
    "a.parquet": lambda x, way: table(x, compression="gzip" if way else "snappy"),
    "a.feather": lambda x, way: saved(
        lambda file: feather.write_feather(pa.table({"x": x}), file, compression="zstd" if way else "uncompressed")
    ),
    "a.yaml": lambda x, way: "".join(f"- {v!r}{'0' * way}\n" for v in x).encode(),
    "notes": lambda x, way: "".join(f"loss {v!r}{'0' * way}\n" for v in x).encode(),
    "a.csv.gz": lambda x, way: gzip.compress("\n".join(map(repr, x)).encode(), mtime=way),
}


@pytest.mark.parametrize("name", FORMATS)
def test_files_are_compared_by_what_they_say(name: str) -> None:
    """Bytes that say the same in another way are the same; a number that moved is told by how much."""
    write = FORMATS[name]
    one, same, other = write(NEAR, 0), write(NEAR, 1), write(FAR, 0)
    found = file_gap(name, one, other)

    assert name == "a.npy" or one != same  # it is a test only then
    assert file_gap(name, one, same) is None
    assert found is not None
    assert found.relative == pytest.approx(1e-10, rel=1e-3)


def test_half_precision_tensors() -> None:
    """bfloat16 is compared by its numbers; a type that nobody has here, byte by byte."""
    one, other = np.array([0x3F80, 0x4000], "<u2"), np.array([0x3F80, 0x4001], "<u2")

    assert file_gap("w.safetensors", tensors(one, "BF16"), tensors(one, "BF16", a="b")) is None
    assert file_gap("w.safetensors", tensors(one, "BF16"), tensors(other, "BF16")).relative == pytest.approx(2**-7, 0.1)  # type: ignore[union-attr]
    assert file_gap("w.safetensors", tensors(one, "F8_E4M3"), tensors(other, "F8_E4M3")).relative == math.inf  # type: ignore[union-attr]


def test_an_archive_is_what_lies_in_it() -> None:
    """When a file was packed, and under which folder, says nothing; other members are not looked into."""
    assert file_gap("model.pt", packed(NEAR, 2020), packed(NEAR, 2021)) is None
    with pytest.raises(NotLookedIntoError, match="not looked into"):
        file_gap("model.pt", packed(NEAR, 2020), packed(FAR, 2020))


def test_all_of_a_file_is_compared() -> None:
    """Arrays saved one after the other, columns of one name, and a column called `columns` are all looked at."""
    ones = np.array([1.0])

    def several(*arrays: Any) -> bytes:
        return b"".join(saved(np.save, one) for one in arrays)

    def twice(name: str, *values: float) -> bytes:
        columns = pa.table([pa.array([value]) for value in values], names=[name] * len(values))
        return saved(lambda file: parquet.write_table(columns, file))

    assert file_gap("a.npy", several(ones, ones), several(ones, ones * 2)).where == "[1][0]"  # type: ignore[union-attr]
    assert file_gap("a.npy", several(ones), several(ones, ones)) is not None
    assert file_gap("a.parquet", twice("x", 1.0, 3.0), twice("x", 2.0, 3.0)).relative == 0.5  # type: ignore[union-attr]
    assert file_gap("a.parquet", twice("columns", 1.0), twice("columns", 2.0)) is not None


def test_what_is_too_large_is_not_taken_for_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only the beginning of a file is read, equal beginnings are no match."""
    monkeypatch.setattr(artifacts, "LARGEST_BYTES", 100)
    one, other = (gzip.compress(b"0" * 200 + end) for end in (b"1", b"2"))

    for name, a, b in (("a.txt", b"0" * 101, b"0" * 101), ("a.txt.gz", one, other)):
        with pytest.raises(NotLookedIntoError, match="larger than"):
            file_gap(name, a, b)


class Exploding:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was read",))


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.pt", "model.pkl.gz", "model.npy", "model.npz"])
def test_a_pickle_is_never_read(name: str) -> None:
    """Whatever a file is called, what a pickle in it would run is not run."""
    import pickle

    one, other = pickle.dumps(Exploding()), pickle.dumps([Exploding()])
    if name.endswith(".gz"):
        one, other = gzip.compress(one), gzip.compress(other)
    if name.endswith(".npy"):
        one, other = (saved(np.save, np.array([Exploding()] * n, object), allow_pickle=True) for n in (1, 2))

    with pytest.raises(NotLookedIntoError, match="other bytes"):
        file_gap(name, one, other)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.safetensors", "a.parquet", "a.json", "a.csv.gz", "a.feather"])
def test_a_damaged_file_is_not_known(name: str) -> None:
    """Bytes that are not what the name says are of a format that is not known, and no error."""
    with pytest.raises(NotLookedIntoError) as caught:
        file_gap(name, b"\xff\x00broken", b"\xff\x00other")

    assert caught.value.unknown


# runs


@pytest.fixture(autouse=True)
def _alone(_own_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSDK_COMPANION", "0")
    monkeypatch.setenv("MLSDK_CAPTURE", "returned")


def made(losses: list[float], **more: Any) -> Run:
    """A run with a curve, and more: final metrics, `files` by name."""
    files = more.pop("files", {})
    with mlsdk.run("contents") as run:
        for step, loss in enumerate(losses):
            run.log({"loss": loss, "system/process/cpu": step * 0.1 + id(run)})
        for name, data in files.items():
            run.log_artifact(data, name=name)
        run.log(**more) if more else None
    return mlsdk.get_run(run.id)


def test_runs_that_came_to_the_same() -> None:
    """Two runs of the same content match bit by bit; what the machine did meanwhile is not content."""
    found = compare(
        made([1.0, math.nan], acc=3, files={"p.csv": b"1,2"}), made([1.0, math.nan], acc=3, files={"p.csv": b"1,2"})
    )

    assert found.level(0.0) == "B"
    assert found.compared == {"metric": 2, "artifact": 1}
    assert found.unlike == ()


def test_what_differs_first_in_time_comes_first() -> None:
    """The first thing unlike is the earliest point of any metric, and artifacts come after all points."""
    one, other = (
        made([1.0, 2.0, 3.0], a=1.0, files={"p.csv": b"1"}),
        made([1.0, 2.5, 3.0], a=2.0, files={"p.csv": b"2"}),
    )
    found = compare(one, other)

    assert [(u.kind, u.what, u.step) for u in found.unlike] == [
        ("metric", "loss", 1),
        ("metric", "a", 0),
        ("artifact", "p.csv", None),
    ]
    assert (found.unlike[0].gap.a, found.unlike[0].gap.b) == (2.0, 2.5)
    assert found.level(0.5) == "X"  # the file holds a whole number


def test_levels() -> None:
    """Within the tolerance is T, beyond is X; a missing point or metric is beyond any."""
    one = made([1.0, 2.0])

    assert compare(one, made([1.0, 2.0 + 1e-9])).level(1e-6) == "T"
    assert compare(one, made([1.0, 2.0 + 1e-3])).level(1e-6) == "X"
    assert compare(one, made([1.0])).level(1.0) == "X"
    assert compare(one, made([1.0, 2.0], extra=1.0)).level(1.0) == "X"
    assert compare(made([1.0, 2.0], extra=1.0), one).level(1.0) == "X"


def test_measures_of_time_do_not_count() -> None:
    """A metric that is called as a measure of time does not count where it varies, and counts where it does not."""
    run, one, other = made([1.0], step_s=0.1234567), made([1.0], step_s=0.2345678), made([1.0], step_s=0.3456789)
    varies = settled(compare(run, one), compare(one, other))
    steady = settled(compare(run, one), compare(one, one))
    short = [made([1.0], step_s=took) for took in (0.1, 0.2)]
    rounded = settled(compare(*short), compare(short[0], short[0]))

    assert varies.level(0.0) == "B"
    assert [(u.what, u.doubt) for u in varies.aside] == [("step_s", TIME)]
    assert "step_s" in [u.what for u in steady.unlike]
    assert rounded.level(0.0) == "B"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(
            (name, True)
            for name in "epoch_s train/time fitTime duration elapsed_ms fps samples_per_s eta wall_time".split()
        ),
        *((name, False) for name in "loss acc timestep times2 overtime f1s lifetime_value seconded".split()),
    ],
)
def test_names_of_measures_of_time(name: str, expected: bool) -> None:
    """Names that mean time are known by whole words."""
    assert is_of_time(name) is expected


def test_unknown_bytes_count_where_reruns_agree() -> None:
    """Bytes of an unknown format count only where two reruns agree on them; a pickle's never do."""
    files = [{"w.weights": bytes([0, 255, n]), "m.pkl": bytes([n])} for n in range(3)]
    run, one, other = (made([1.0], files=one) for one in files)
    varies = settled(compare(run, one), compare(one, other))
    steady = settled(compare(run, one), compare(one, one))

    assert varies.level(0.0) == "B"
    assert [u.doubt for u in varies.aside] == [BYTES]
    assert [u.what for u in steady.unlike] == ["w.weights"]
    assert "artifact m.pkl" in varies.skipped
    assert "artifact m.pkl" in steady.skipped


@mlsdk.track(experiment="contents")
def returning(value: object, fail: bool = False) -> object:
    if fail:
        raise ValueError(value)
    return value


def test_returned_values_are_content() -> None:
    """What a tracked function returns is compared: texts, numbers in nested mappings, arrays."""
    found = []
    for shift in (0.0, 0.0, 1e-9, 1.0):
        returning({"label": "a", "deep": {"x": [1.0 + shift, 2.0]}, "w": np.arange(1.0, 5.0) + shift})
        found.append(mlsdk.get_run("latest"))
    first, same, near, far = found

    assert compare(first, same).level(0.0) == "B"
    assert compare(first, same).compared["returned"] >= 3
    assert compare(first, near).level(1e-6) == "T"
    assert compare(first, far).level(1e-6) == "X"


def test_a_failure_is_an_end_like_another() -> None:
    """That a run failed, and by which error, is compared; that both finished is nothing to go by."""
    runs = []
    for fail in (True, True, False):
        try:
            returning("x", fail=fail)
        except ValueError:
            pass
        runs.append(mlsdk.get_run("latest"))

    assert compare(runs[0], runs[1]).compared == {"end": 1}
    assert [u.what for u in compare(runs[2], runs[0]).unlike if u.kind == "end"] == ["status"]


def test_another_message_is_another_end() -> None:
    """Another message of the same error counts where reruns agree on it, and does not where they say it differently."""
    runs = []
    for message in ("loss is nan", "no column", "no column in /a", "no column in /b"):
        with contextlib.suppress(ValueError):
            returning(message, fail=True)
        runs.append(mlsdk.get_run("latest"))
    run, other, here, there = runs

    assert settled(compare(run, other), compare(other, other)).level(1e-6) == "X"
    assert settled(compare(run, here), compare(here, there)).level(1e-6) == "B"
    assert settled(compare(run, here), compare(here, there)).compared == {"end": 1}


def test_what_was_left_out_as_a_secret_is_no_match() -> None:
    """Of a returned value that is not kept nothing can be said."""
    for secret in ("ab12cd34ef56gh78", "zz12cd34ef56gh99"):
        returning({"password": secret, "label": "a"})
    one, other = list(mlsdk.runs(experiment="contents"))[:2]

    assert compare(one, other).compared == {"returned": 1}
    assert "returned password" in compare(one, other).skipped


def test_a_run_that_was_cut_short() -> None:
    """Of a run that was killed, what it has is compared; that a rerun goes on is no difference."""
    whole = made([1.0, 2.0, 3.0], acc=1.0, files={"a.txt": b"x"})
    cut = attrs.evolve(made([1.0, 2.0]), status=RunStatus.KILLED)

    assert compare(cut, whole).level(0.0) == "B"
    assert compare(cut, made([1.0, 2.5, 3.0])).unlike[0].step == 1
    assert compare(cut, made([1.0])).level(0.0) == "X"


# what was printed


def test_lines_that_vary_or_hold_times_are_left_out() -> None:
    """Of the output the lines count that two reruns have alike and that hold no times."""
    one = ["acc 0.50", "took 3.2 s", "in /tmp/a", "done at 12:00:01"]
    by = outputs.steady(one, ["acc 0.50", "took 3.3 s", "in /tmp/b", "done at 12:00:02"])
    same = outputs.compare(["acc 0.50", "took 9 s", "in /home", "done at 11:00:00"], one, by)

    assert by.kept == (0,)
    assert [u.what for u in by.unlike] == ["line 3"]
    assert (same.level(0.0), same.compared, list(same.skipped)) == ("B", {"output": 1}, ["output"])
    assert outputs.compare(["acc 0.51", "", "", ""], one, by).level(1e-6) == "X"
    assert outputs.compare(["acc 0.50"], one, by).level(1e-6) == "X"
