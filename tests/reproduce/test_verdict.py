"""A verdict as a record: kept, read back, shown, attested."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from hypothesis import given
from hypothesis import strategies as st

import mlsdk
from mlsdk.cli.screen import Screen
from mlsdk.cli.verify import EXIT_CODES, show
from mlsdk.compare.difference import KINDS, Difference
from mlsdk.records import Run
from mlsdk.reproduce.attest import PREDICATE_TYPE, STATEMENT_TYPE, attach
from mlsdk.reproduce.verdict import LEVELS, Cause, Divergence, Verdict, from_dict, lines_of, verdict_of, verdicts_of
from mlsdk.store import open_store

if TYPE_CHECKING:
    import pytest

shown = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5)
texts = st.lists(st.text(max_size=5), max_size=2)
divergences = st.builds(
    Divergence,
    st.sampled_from(["metric", "artifact"]),
    st.text(max_size=5),
    st.none() | st.integers(0, 9),
    shown,
    shown,
)
verdicts = st.builds(
    Verdict,
    run=st.just("0" * 32),
    level=st.sampled_from(list(LEVELS)),
    reason=st.text(max_size=9),
    deterministic=st.none() | st.booleans(),
    reruns=texts,
    first_divergence=st.none() | divergences,
    causes=st.lists(
        st.builds(Cause, st.sampled_from(KINDS), st.text(max_size=5), st.booleans(), shown, shown, texts, st.text()),
        max_size=2,
    ),
    others=texts,
    why=st.none() | st.text(max_size=5),
    relative=st.none() | st.floats(0, 1),
    compared=st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=2),
    skipped=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    at=st.none() | st.datetimes(timezones=st.just(timezone.utc)),
    by=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    id=st.text(max_size=5),
)


@given(verdicts)
def test_a_verdict_comes_back_from_json(verdict: Verdict) -> None:
    """What JSON says of a verdict makes the same verdict again, whatever a newer version says besides."""
    told = json.loads(json.dumps(verdict.to_dict()))

    assert from_dict({**told, "newer": 1}) == verdict


def one(level: str = "X", **more: object) -> Verdict:
    divergence = Divergence("metric", "loss", 3, 0.5, math.inf, None, None)
    cause = Cause("param", "lr", True, 0.1, 0.2, ("a detail",), "a reason")
    values: dict[str, object] = {
        "deterministic": True,
        "first_divergence": divergence,
        "causes": [cause],
        "others": ["function a:b"],
        "skipped": {"artifact m.pkl": "a pickle"},
        "aside": ["metric step_s, a measure of time"],
        "at": datetime(2026, 11, 21, tzinfo=timezone.utc),
        "by": {"mlsdk": "1", "user": "ann", "host": "h"},
        "took_s": 1.5,
        "id": "v1",
        **more,
    }
    return Verdict("0" * 32, level, "it differs", **values)  # type: ignore[arg-type]


def judged(uri: str, capture: list[str]) -> tuple[str, Run]:
    """The URI of a store, and a run in it."""
    with mlsdk.run("judged", store=uri, capture=capture) as started:
        started.log(loss=0.5)
        started.log_artifact(b"x", name="a.txt")
        Path("out").mkdir()
        Path("out/b.txt").write_bytes(b"y")
        started.log_artifact("out")
        started.use_data(Path("out/b.txt"), name="text")
    return uri, mlsdk.get_run(started.id, store=uri)


def test_verdicts_of_a_run(tmp_path: Path) -> None:
    """The last verdict counts as the run's; earlier ones stay in their order, with values that JSON lacks."""
    uri, found = judged(f"memory:verdicts-{tmp_path}", [])
    store = open_store(uri)
    kept = [attach(store, store.find_one(found.id), one(level, id=f"v{place}")) for place, level in enumerate("BX")]
    again = mlsdk.get_run(found.id, store=uri)

    assert again.reproduced == "X"
    assert verdict_of(again) == kept[1]
    assert verdicts_of(again) == tuple(kept)
    assert verdict_of(found) is None
    assert [one.id for one in mlsdk.runs("reproduced = 'X'", store=uri)] == [found.id]
    assert len(mlsdk.runs("reproduced = 'B' or reproduced is null", store=uri)) == 0
    assert (again.metrics["loss"].last, again.problems) == (0.5, found.problems)


def test_the_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement names log and artifacts by what their bytes hash to, and is itself kept by its hash."""
    monkeypatch.setenv("MLSDK_COMPANION", "0")
    uri, found = judged("store", ["tree"])
    store = open_store(uri)
    kept = attach(store, found, one())
    with store.blobs.open(str(kept.statement)) as file:
        data = file.read()
    statement = json.loads(data)
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    (main,) = [name for name in subjects if name.startswith("runs/")]

    assert hashlib.sha256(data).hexdigest() == kept.statement
    assert (statement["_type"], statement["predicateType"]) == (STATEMENT_TYPE, PREDICATE_TYPE)
    assert subjects[main] == hashlib.sha256(store.logs.read(main)).hexdigest()
    assert subjects["artifacts/a.txt"] == hashlib.sha256(b"x").hexdigest()
    assert subjects["artifacts/out/b.txt"] == hashlib.sha256(b"y").hexdigest()
    assert len(subjects) == 3
    used = statement["predicate"]["rerunDefinition"]["resolvedDependencies"]
    assert [one["name"] for one in used if one.get("digest") or one.get("uri")] == ["code", "data/text"]
    assert statement["predicate"]["verdict"]["causes"][0]["what"] == "lr"
    assert statement["predicate"]["runDetails"]["metadata"]["user"] == "ann"


def test_a_cause_is_of_a_difference() -> None:
    """A difference becomes a cause with all that is known of it."""
    difference = Difference("data", "train", "3 rows", "2 rows", ("rows: 1 removed",))

    assert Cause.of(difference, confirmed=False, reason="why") == Cause(
        "data", "train", False, "3 rows", "2 rows", ("rows: 1 removed",), "why"
    )


def test_how_it_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """People see the level, the reason, where it parts, each cause with its details, and what does not count."""
    verdict = one()
    show(Screen(), verdict, "train-1234")
    printed = capsys.readouterr().out

    for words in ("X", "train-1234: differs", "it differs", "metric loss at step 3: 0.5 in the run, inf in the rerun"):
        assert words in printed
    for words in ("confirmed", "param lr: 0.1, now 0.2", "a detail", "function a:b", "step_s", "m.pkl: a pickle"):
        assert words in printed
        assert words in "\n".join(lines_of(verdict)) or words == "confirmed"
    assert str(attrs.evolve(verdict, first_divergence=None, causes=[])).startswith("X: differs\nit differs")
    assert EXIT_CODES.keys() == LEVELS.keys()
