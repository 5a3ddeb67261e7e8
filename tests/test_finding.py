"""Finding runs again: filters and orders in the store and in memory, the best, one by its name, frames."""

from __future__ import annotations

import math
import warnings
from datetime import datetime, timezone

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlsdk
from mlsdk.errors import AmbiguousError, NotFoundError, QueryError, UsageError
from mlsdk.finding import Runs, UnknownFieldWarning
from mlsdk.log.values import encode
from mlsdk.query.parse import parse
from mlsdk.query.tree import path_text, text
from mlsdk.store.base import Store
from mlsdk.store.memory import MemoryBlobs, MemoryLogs
from mlsdk.store.sqlite import SQLiteCatalog
from mlsdk.testing import MadeLog
from mlsdk.testing.made import START_NS
from tests.strategies import nested, orders, trees

SECOND = 1_000_000_000


def put(store: Store, name: str = "a", at: int = 0, *, metrics=None, **kinds) -> str:
    """Add a finished run to a store in memory; returns its id."""
    order = START_NS + at * SECOND
    log = MadeLog(f"{order // 1_000_000:012x}7{at:03x}8{at:015x}", order=order)
    log.facts(
        {"run": {"name": name, "experiment": "e", "started_ns": order, "status": "finished", "ended_ns": order + at}}
    )
    encoded = {kind: {key: encode(value) for key, value in values.items()} for kind, values in kinds.items()}
    log.facts({**encoded, "metrics": {key: encode(value) for key, value in (metrics or {}).items()}}).close()
    store.logs.append(log.name, 0, log.data)
    return log.run


def empty_store() -> Store:
    logs, blobs = MemoryLogs(), MemoryBlobs()
    catalog = SQLiteCatalog(":memory:", logs, blobs)
    return Store("memory:test", logs, blobs, catalog, catalog.take_in_all)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    made = empty_store()
    monkeypatch.setattr("mlsdk.finding.open_store", lambda uri: made)
    return made


def fill(store: Store) -> None:
    for at, (acc, latency) in enumerate([(0.5, 3.0), (0.75, 2.0), (0.75, 5.0), (0.25, 1.0), (math.nan, 0.5)]):
        put(store, f"r{at}", at, params={"lr": at / 10, "seed": at}, metrics={"acc": acc, "latency_s": latency})
    put(store, "without", 5)


def shown(found: Runs) -> list[str]:
    return [run.name for run in found]


# what runs() says


def test_newest_first(store: Store) -> None:
    """Without an order the newest run comes first."""
    fill(store)

    assert shown(mlsdk.runs()) == ["without", "r4", "r3", "r2", "r1", "r0"]


def test_where_order_limit(store: Store) -> None:
    """A filter, an order and a limit are the store's work: NaN and missing values come last in both directions."""
    fill(store)

    assert shown(mlsdk.runs("metrics.acc >= 0.5", order_by="-metrics.acc, name")) == ["r1", "r2", "r0"]
    assert shown(mlsdk.runs(order_by="metrics.acc")) == ["r3", "r0", "r1", "r2", "r4", "without"]
    assert shown(mlsdk.runs(order_by="-metrics.acc")) == ["r1", "r2", "r0", "r3", "r4", "without"]
    assert shown(mlsdk.runs(order_by="-metrics.acc", limit=2)) == ["r1", "r2"]
    assert shown(mlsdk.runs(limit=0)) == []


def test_experiment(store: Store) -> None:
    """`experiment=` is one more condition, whatever the filter says."""
    fill(store)

    assert len(mlsdk.runs(experiment="e")) == 6
    assert len(mlsdk.runs("name = 'r1' or name = 'r2'", experiment="e")) == 2
    assert len(mlsdk.runs("name = 'r1' or name = 'r2'", experiment="other")) == 0


def test_a_sequence(store: Store) -> None:
    """Runs are a sequence, read once: what comes later does not change them."""
    fill(store)
    found = mlsdk.runs()
    first = len(found)
    put(store, "late", 9)

    assert (first, len(found), len(mlsdk.runs())) == (6, 6, 7)
    assert found[0].name == "without"
    assert shown(found[1:3]) == ["r4", "r3"]
    assert isinstance(found[1:3], Runs)
    assert found[-1] in found
    assert next(reversed(found)).name == "r0"


@pytest.mark.parametrize("wrong", [{"where": 3}, {"limit": -1}])
def test_wrong_arguments(store: Store, wrong) -> None:
    """Wrong arguments are errors at the call, with the value."""
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        mlsdk.runs(**wrong)


@pytest.mark.parametrize("where", ["metrics.acc >", "acc > 1", "params.lr = = 1"])
def test_wrong_filters(store: Store, where: str) -> None:
    """A filter that cannot be understood is an error at the call, before anything is read."""
    with pytest.raises(QueryError):
        mlsdk.runs(where)


@pytest.mark.parametrize(
    ("where", "order", "near"),
    [
        ("metrics.ac > 1", None, "metrics.acc"),
        ("params.learning_rate > 1", None, None),
        (None, "-params.sed", "params.seed"),
    ],
)
def test_unknown_fields_warn(store: Store, where, order, near) -> None:
    """A field that no run has is most likely a slip: a warning at the caller's line names the nearest."""
    fill(store)
    with pytest.warns(UnknownFieldWarning) as caught:
        mlsdk.runs(where, order_by=order)

    assert len(caught) == 1
    assert (f"did you mean {near!r}" in str(caught[0].message)) == (near is not None)
    assert caught[0].filename == __file__


def test_known_fields_do_not_warn(store: Store) -> None:
    """Fields that a single run has, and statistics of metrics, are known."""
    fill(store)
    put(store, "odd", 7, tags={"only here": 1}, params={"a.b": {"c": 2}})

    assert shown(mlsdk.runs("tags.`only here` = 1 and params.`a.b`.c = 2")) == ["odd"]
    assert shown(mlsdk.runs("metrics.acc.last > 0.6 and metrics.acc.count = 0", order_by="name")) == ["r1", "r2"]


# in the store and in memory


@given(st.lists(st.tuples(nested, nested), max_size=6), trees, orders)
def test_store_and_memory_agree(content, tree, order) -> None:
    """`where` and `sort` give the same runs in the same order, asked of the store or of runs that were read."""
    store = empty_store()
    for at, (params, tags) in enumerate(content):
        put(store, f"r{at}", at, params=params, tags=tags)
    order_by = ", ".join(("-" if down else "") + path_text(path) for path, down in order)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownFieldWarning)
        asked = Runs(store).where(text(tree))
        read = Runs(store, tree=parse("deleted or not deleted") if "deleted" in text(tree) else None)
        len(read)
        assert [run.id for run in asked] == [run.id for run in read.where(text(tree))]
        if order:
            assert [run.id for run in asked.sort(order_by)] == [run.id for run in Runs(store, tree).sort(order_by)]
            assert [run.id for run in Runs(store).sort(order_by)] == [run.id for run in Runs(store)[:].sort(order_by)]
    store.catalog.close()


def test_a_limit_is_not_asked_again(store: Store) -> None:
    """What comes after a limit stays within what the limit left: the best of the newest two is not the best of all."""
    fill(store)

    assert shown(mlsdk.runs(limit=3).where("metrics.acc > 0")) == ["r3"]
    assert mlsdk.runs(limit=3).best("acc").name == "r3"
    assert mlsdk.runs().best("acc").name == "r1"


# the best


def test_best(store: Store) -> None:
    """The highest or lowest number; of equal ones the oldest; NaN never."""
    fill(store)
    for found in (mlsdk.runs(), mlsdk.runs()[:]):
        assert found.best("acc").name == "r1"
        assert found.best("acc", "min").name == "r3"
        assert found.best("latency_s", mode="min").name == "r4"
        assert found.best("params.seed").name == "r4"
        assert found.best("duration_s").name == "without"
        assert found.best("metrics.acc.last").name == "r1"


def test_best_of_nothing(store: Store) -> None:
    """Where no run has a number there is no best; the message names the nearest metric."""
    fill(store)
    put(store, "text", 8, params={"kind": "x"})
    for found in (mlsdk.runs(), mlsdk.runs()[:]):
        with pytest.raises(NotFoundError, match="did you mean 'acc'"):
            found.best("accc")
        with pytest.raises(NotFoundError):
            found.best("params.kind")
        with pytest.raises(UsageError, match="median"):
            found.best("acc", "median")
    with pytest.raises(NotFoundError):
        mlsdk.runs("name = 'r4'").best("acc")


def test_pareto(store: Store) -> None:
    """The runs that no other beats in every goal; equal ones stay, those without a number are left out."""
    fill(store)
    put(store, "same as r1", 6, metrics={"acc": 0.75, "latency_s": 2.0})
    found = mlsdk.runs().pareto({"acc": "max", "latency_s": "min"})

    assert sorted(shown(found)) == ["r1", "r3", "same as r1"]
    assert shown(mlsdk.runs("metrics.acc < 0.6").pareto({"acc": "max"})) == ["r0"]
    for wrong in ({}, {"acc": "best"}):
        with pytest.raises(UsageError):
            mlsdk.runs().pareto(wrong)


# one run


def test_get_run(store: Store) -> None:
    """A run by its id, a beginning or an end of it, its name, or `latest`."""
    fill(store)
    run = mlsdk.runs()[2]
    ways = [run.id, run.short_id, run.id[-4:], run.id[:15], run.name]

    assert {mlsdk.get_run(way).id for way in ways} == {run.id}
    assert mlsdk.get_run("latest").name == "without"


def test_a_name_like_an_id(store: Store) -> None:
    """A whole name counts more than a part of an id, also one made of hexadecimal digits, or of 32 characters."""
    fill(store)
    names = ["3", "beef", "x" * 32]
    for at, name in enumerate(names):
        put(store, name, 20 + at)

    assert [mlsdk.get_run(name).name for name in names] == names


def test_ambiguous(store: Store) -> None:
    """Where several runs fit, the error lists them and their ids."""
    fill(store)
    put(store, "r1", 30)
    with pytest.raises(AmbiguousError, match=r"'r1' fits several runs: r1 \(\w{8}\), r1 \(\w{8}\); type more") as same:
        mlsdk.get_run("r1")
    with pytest.raises(AmbiguousError, match="…") as beginning:
        mlsdk.get_run(mlsdk.runs()[0].id[:4])

    assert len(same.value.candidates) == 2
    assert len(beginning.value.candidates) == 7


@pytest.mark.parametrize("which", ["r11", "nothing like it", "", "ffff", "f" * 32, "%", "_" * 8])
def test_not_found(store: Store, which: str) -> None:
    """What is not there is an error that helps on."""
    fill(store)
    with pytest.raises(NotFoundError) as caught:
        mlsdk.get_run(which)

    assert type(caught.value) is NotFoundError
    assert which != "r11" or "did you mean 'r1'" in str(caught.value)


def test_latest_of_nothing(store: Store) -> None:
    """In an empty store there is no latest run, and no run at all."""
    assert len(mlsdk.runs()) == 0
    with pytest.raises(NotFoundError, match="no runs yet"):
        mlsdk.get_run("latest")
    with pytest.raises(UsageError, match="7"):
        mlsdk.get_run(7)


def test_reruns_of_verify_stay_apart(store: Store) -> None:
    """What `verify` made is in no list that does not ask for it, and is never the latest."""
    own = put(store, "own", 0, metrics={"acc": 0.5})
    rerun = put(store, "own again", 1, metrics={"acc": 0.9}, run={"experiment": "verify", "parent": own})
    asked = ["experiment = 'verify'", f"parent = '{own}'", f"id = '{rerun}'", "name = 'own again'"]

    assert [run.id for run in mlsdk.runs()] == [run.id for run in mlsdk.runs("metrics.acc > 0.1")] == [own]
    assert mlsdk.runs().best("acc").id == own
    assert [[run.id for run in mlsdk.runs(where)] for where in asked] == [[rerun]] * 4
    assert [run.id for run in mlsdk.runs(experiment="verify")] == [rerun]
    assert len(mlsdk.runs("deleted in (true, false)")) == 2
    assert mlsdk.get_run("latest").id == own


# frames

BIG = 2**60 + 1


def mixed(store: Store) -> Runs:
    put(store, "a", 0, params={"lr": 0.1, "n": BIG, "model": {"depth": 3, "kind": "cnn"}, "mix": 1, "flag": True})
    put(
        store,
        "b",
        1,
        params={"lr": 1, "model": {"depth": 4}, "mix": "text", "layers": [1, 2]},
        metrics={"acc": math.nan},
    )
    put(
        store,
        "c",
        2,
        params={"lr": None, "n": 10**30, "huge": 2**63},
        metrics={"acc": 0.5, "steps": 7},
        tags={"t.u": 1},
    )
    return mlsdk.runs(order_by="name")


def test_dicts(store: Store) -> None:
    """A flat dictionary for each run: nested params by path, other values as they are or as text."""
    first, second, third = mixed(store).to_dicts()

    assert list(first)[:8] == ["id", "name", "experiment", "status", "started_at", "ended_at", "duration_s", "parent"]
    assert (first["params.model.depth"], first["params.n"], first["status"]) == (3, BIG, "finished")
    assert second["params.layers"] == "[1, 2]"
    assert third["tags.t.u"] == 1
    assert third["params.lr"] is None


def test_a_path_and_a_name_with_a_dot(store: Store) -> None:
    """A nested param and a flat one whose name is the same path are two columns: nothing is lost."""
    put(store, "a", params={"model": {"depth": 3}, "model.depth": 4})
    (row,) = mlsdk.runs().to_dicts()

    assert (row["params.model.depth"], row["params.model\\.depth"]) == (3, 4)


def test_pandas(store: Store) -> None:
    """Types are kept and numbers stay exact, missing ones or mixed types beside them or not; dates are dates."""
    frame = mixed(store).to_pandas()

    assert list(frame["name"]) == ["a", "b", "c"]
    assert isinstance(frame["started_at"].dtype, pd.DatetimeTZDtype)
    assert frame["started_at"][0] == datetime.fromtimestamp(START_NS / 1e9, timezone.utc)
    assert frame["params.n"][0] == BIG
    assert frame["params.n"][2] == 10**30
    assert list(frame["params.mix"][:2]) == [1, "text"]
    assert frame["metrics.acc"].dtype == np.float64
    assert frame["metrics.acc"].isna().tolist() == [True, True, False]
    assert frame["params.huge"][2] == 2**63
    assert frame["params.model.depth"].tolist()[:2] == [3, 4]


def test_polars(store: Store) -> None:
    """Missing is null and NaN is NaN; integers beyond 64 bits and mixed types are text; dates are dates."""
    frame = mixed(store).to_polars()

    assert frame["metrics.acc"].is_null().to_list() == [True, False, False]
    assert frame["metrics.acc"].dtype == pl.Float64
    assert frame["params.n"].to_list() == [str(BIG), None, str(10**30)]
    assert frame["params.lr"].to_list() == [0.1, 1.0, None]
    assert frame["params.mix"].to_list() == ["1", "text", None]
    assert frame["params.flag"].dtype == pl.Boolean
    assert frame["started_at"].dtype == pl.Datetime("us", "UTC")


def test_arrow(store: Store) -> None:
    """As in polars."""
    table = mixed(store).to_arrow()

    assert table["params.n"].to_pylist() == [str(BIG), None, str(10**30)]
    assert table["metrics.acc"].null_count == 1
    assert table["metrics.steps"].to_pylist() == [None, None, 7]
    assert table["params.model.kind"].to_pylist() == ["cnn", None, None]
    assert pa.types.is_timestamp(table["started_at"].type)


@settings(max_examples=25)
@given(st.lists(st.tuples(nested, nested), max_size=4))
def test_anything_fits_into_frames(content) -> None:
    """Whatever was logged, frames of it can be made, with a row for each run and the same columns."""
    store = empty_store()
    for at, (params, tags) in enumerate(content):
        put(store, f"r{at}", at, params=params, tags=tags, metrics={"acc": at / 2})
    found = Runs(store)
    rows = found.to_dicts()
    names = {name for row in rows for name in row}
    for columns in (list(found.to_pandas().columns), found.to_polars().columns, found.to_arrow().column_names):
        assert names <= set(columns)
        assert len(columns) == len(set(columns))
    assert len(found.to_pandas()) == found.to_polars().height == found.to_arrow().num_rows == len(content)
    store.catalog.close()


def test_names_that_are_no_unicode(store: Store) -> None:
    """Names with lone surrogates are columns whose names can be printed, each its own."""
    params = {chr(0xDC80): 1, chr(0xDC81): "x\udc80"}
    put(store, "a", params=params, metrics={"\udc82": 0.5})
    found = mlsdk.runs()

    assert {"params.\\udc80", "params.\\udc81", "metrics.\\udc82"} <= set(found.to_arrow().column_names)
    assert found.to_polars()["params.\\udc81"].to_list() == ["x\ufffd"]


def test_no_runs_make_empty_frames(store: Store) -> None:
    """Without runs a frame has the plain columns and no row."""
    found = mlsdk.runs()

    assert found.to_pandas().shape == (0, 8)
    assert found.to_polars().height == found.to_arrow().num_rows == 0
    assert found.to_dicts() == []


def test_a_frame_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for a frame of a library that is not there says how to get it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(mlsdk.UsageError, match="pip install polars"):
        mlsdk.runs().to_polars()
