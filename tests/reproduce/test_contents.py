"""What two runs came to, compared by content: numbers, arrays, whole runs."""

from __future__ import annotations

import contextlib
import json
import math
import struct
from array import array
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import mlsdk
from mlsdk.records import Run, RunStatus, Series
from mlsdk.reproduce.outcome import outputs
from mlsdk.reproduce.outcome.contents import BYTES, TIME, compare, is_of_time, settled
from mlsdk.reproduce.outcome.gap import array_gap, gap, number_gap, series_gap, text_gap

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
    assert text_gap("loss 1", "loss 1.0").relative == 0.0  # type: ignore[union-attr]
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


def test_an_artifact_that_is_damaged_or_gone() -> None:
    """Of an artifact whose bytes the store has no more, or no more as they were, nothing can be said."""
    one, other = (made([1.0], files={"a.csv": data}) for data in (b"1,2", b"1,3"))
    digest = one.artifacts["a.csv"].digest
    (blob,) = (path for path in Path(".mlsdk/blobs").rglob("*") if path.is_file() and path.name in digest)
    blob.chmod(0o644)
    blob.write_bytes(b"1")
    damaged = compare(one, other)
    blob.unlink()
    gone = compare(one, other)

    assert "damaged in the store" in damaged.skipped["artifact a.csv"]
    assert "not in the store" in gone.skipped["artifact a.csv"]
    assert gone.unlike == damaged.unlike == ()


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
