"""The SQL of filters and orderings has the meaning of `evaluate`, and finds its way."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsdk.errors import QueryError
from mlsdk.query import find as finding
from mlsdk.query import sql
from mlsdk.query.evaluate import matches
from mlsdk.query.fields import Fields, fields
from mlsdk.query.names import Path
from mlsdk.query.parse import parse, parse_order
from mlsdk.query.table import SCHEMA, SQLITE, SQLite, register, write_fields
from mlsdk.query.tree import Order, Tree, text
from mlsdk.records import Run
from tests.query.answers import all_pages, every_condition, expected, one_of_each
from tests.strategies import (
    deep_and_wide,
    dense_fields,
    dense_orders,
    dense_trees,
    orders,
    runs,
    trees,
)


def catalog(records: Iterable[Fields]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript("CREATE TABLE runs (run INTEGER PRIMARY KEY, id TEXT UNIQUE, deleted INTEGER);" + SCHEMA)
    for row, record in enumerate(records, 1):
        connection.execute("INSERT INTO runs VALUES (?, ?, ?)", (row, record["id"], record["deleted"]))
        write_fields(connection, row, record)
    register(connection)
    return connection


def find(connection, *arguments) -> finding.Found:
    return finding.find(connection, SQLITE, *arguments)


def count(connection, tree: Tree | None = None) -> int:
    return finding.count(connection, SQLITE, tree)


def answers_like_records(records: list[Fields], tree: Tree | None, order: Order, limit: int | None) -> None:
    connection = catalog(records)
    right = expected(records, tree, order)
    for few, patience in ((2_000, 60_000), (0, 60_000), (0, 1)):
        dialect = SQLite(few, patience)
        found = all_pages(lambda after, dialect=dialect: finding.find(connection, dialect, tree, order, limit, after))

        assert found == right
        assert count(connection, tree) == len(right)
    connection.close()


several = st.lists(runs, max_size=6, unique_by=lambda run: run.id)
limits = st.none() | st.integers(1, 3)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(several, st.none() | trees, orders, limits)
def test_sql_equals_evaluation(records: list[Run], tree: Tree | None, order: Order, limit: int | None) -> None:
    """Any filter and ordering over any runs: the SQL answers like the record, whichever way it takes, page by page."""
    answers_like_records([fields(record) for record in records], tree, order, limit)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(dense_fields, max_size=12), st.none() | dense_trees, dense_orders, limits, st.randoms())
def test_sql_equals_evaluation_among_alike(
    records: list[Fields], tree: Tree | None, order: Order, limit: int | None, random: Random
) -> None:
    """The same over many runs that share few values, where orderings have ties and pages end on NaN and on nothing."""
    ids = [f"{i:02}" for i in range(len(records))]
    random.shuffle(ids)
    answers_like_records([{**record, "id": id} for id, record in zip(ids, records, strict=True)], tree, order, limit)


@pytest.mark.parametrize("path", [("params", "x"), ("metrics", "x"), ("metrics", "x", "mean")])
def test_every_value_by_every_literal(path: Path) -> None:
    """Each kind of value against each operator and literal, in order both ways: the SQL answers like the record."""
    records = one_of_each(path)
    connection = catalog(records)
    for tree in every_condition(path):
        for descending in (False, True):
            order: Order = ((path, descending),)
            walked = finding.walk(connection, SQLITE, tree, order, 100, None)

            assert [row[0] for row in walked] == expected(records, tree, order), text(tree)
    connection.close()


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(several, several)
def test_fields_replace_what_was(before: list[Run], after: list[Run]) -> None:
    """Writing the fields of a run leaves what a new catalog would have, whatever was there."""
    old = [fields(record) for record in before]
    new = [fields(record) for record in after]
    connection, fresh = catalog(old), catalog(new)
    for row in range(1, max(len(old), len(new)) + 1):
        write_fields(connection, row, new[row - 1] if row <= len(new) else {})

    def content(of: sqlite3.Connection) -> list[tuple[object, ...]]:
        rows = of.execute("SELECT name, run, value FROM vals JOIN keys USING (key)").fetchall()
        rows += of.execute(
            "SELECT name, run, min, max, mean, count, min_step, max_step FROM metrics JOIN keys USING (key)"
        )
        return sorted(rows, key=repr)

    assert content(connection) == content(fresh)
    connection.close()
    fresh.close()


@pytest.fixture
def ten() -> Iterable[sqlite3.Connection]:
    records: list[Fields] = [
        {
            "id": f"{i:02}",
            "deleted": i == 9,
            "name": f"run-{i}",
            "params.n": i,
            "metrics.acc": i / 10,
            "metrics.acc.min": -i,
        }
        for i in range(10)
    ]
    connection = catalog(records)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "literal",
    [
        "' OR 1=1 --",
        "'; DROP TABLE vals; --",
        '" OR ""="',
        "%",
        ":p0",
        "?",
        "\\",
        "{column}",
        "x')",
        "\0",
        "\ud800",
        "%s",
    ],
)
def test_injection(ten: sqlite3.Connection, literal: str) -> None:
    """Whatever stands in a name or a value is only ever a name or a value."""
    quoted = "'" + literal.replace("\\", "\\\\").replace("'", "\\'") + "'"
    name = "`" + literal.replace("`", "``") + "`"
    for op in ("=", "<", "like", "in"):
        tree = parse(f"name {op} ({quoted})" if op == "in" else f"name {op} {quoted}")
        found = find(ten, tree, parse_order(f"params.{name}, metrics.{name}.min"), 5)
        assert len(found.runs) in ({5} if (op, literal) == ("like", "%") else {0, 5} if op == "<" else {0})
    assert find(ten, parse(f"params.{name} = {quoted} or metrics.{name}.max > 1")).runs == []
    assert find(ten, parse(f"params.{name} is null")).runs == list(range(9, 0, -1))

    assert count(ten) == 9


def test_deep_and_wide(ten: sqlite3.Connection) -> None:
    """A filter as deep or as long as the language allows is answered: SQLite's own limits are lower."""
    for written in deep_and_wide():
        tree = parse(written)
        flat = [{"params.n": n, "name": f"run-{n}", "id": f"{n:02}"} for n in range(9)]
        right = [n + 1 for n in reversed(range(9)) if matches(tree, flat[n])]
        assert finding.find(ten, SQLite(patience=1), tree, (), 5).runs == right[:5]
        assert find(ten, tree).runs == right
        assert count(ten, tree) == len(right)


def test_pages_stay_in_place(ten: sqlite3.Connection) -> None:
    """Going on after a page, no run comes twice or is left out because another one came in between."""
    first = find(ten, None, (), 3)
    ten.execute("INSERT INTO runs VALUES (99, '99', 0)")
    second = find(ten, None, (), 3, first.after)

    assert first.runs == [9, 8, 7]
    assert second.runs == [6, 5, 4]


@pytest.mark.parametrize(
    "after",
    [
        "",
        "x",
        "{}",
        "[]",
        "[1]",
        '["01"]',
        '["01", [1]]',
        '["01", {"blob": 3}]',
        '["01", true]',
        "[" * 9999,
        '["01", NaN]x',
        '["01", "a", 1]',
    ],
)
def test_wrong_page(ten: sqlite3.Connection, after: str) -> None:
    """A place to go on from that is none raises QueryError."""
    with pytest.raises(QueryError, match="ask again"):
        find(ten, None, parse_order("name"), 3, after)


def test_the_way_it_takes(ten: sqlite3.Connection) -> None:
    """The first runs in an order come from the index in that order, without sorting all."""
    statement, params = sql.select(
        SQLITE,
        parse("metrics.acc > 0.1 and params.n < 5"),
        parse_order("-metrics.acc"),
        10,
        walk=("metrics", "acc"),
        part="values",
    )
    plan = " ".join(row[3] for row in ten.execute(f"EXPLAIN QUERY PLAN {statement}", params))

    assert "SEARCH o USING COVERING INDEX vals_value (key=? AND value>? AND value<?)" in plan
    assert "FOR ORDER BY" not in plan
