"""Filters and orderings mean the same in PostgreSQL as on a record."""

from __future__ import annotations

import atexit
import contextlib
import functools
from collections.abc import Iterator
from itertools import pairwise
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsdk.errors import QueryError
from mlsdk.query.evaluate import type_rank
from mlsdk.query.fields import Fields, fields, scalar
from mlsdk.query.names import Path
from mlsdk.query.ordered import decoded, encoded
from mlsdk.query.parse import parse, parse_order
from mlsdk.query.postgres import CUT_BYTES, Postgres
from mlsdk.query.tree import Order, Tree, is_nan, paths, text
from mlsdk.records import Run
from mlsdk.store.postgres.address import address
from mlsdk.store.postgres.blobs import PostgresBlobs
from mlsdk.store.postgres.catalog import PostgresCatalog
from mlsdk.store.postgres.fields import Written, write_fields
from mlsdk.store.postgres.logs import PostgresLogs
from mlsdk.store.postgres.migrate import migrate
from mlsdk.store.postgres.pool import Connection, Pool
from tests.query.answers import all_pages, every_condition, expected, one_of_each
from tests.servers.postgres import shared_server
from tests.strategies import (
    MOMENTS,
    NUMBERS,
    TEXTS,
    deep_and_wide,
    dense_fields,
    dense_orders,
    dense_trees,
    orders,
    runs,
    trees,
)

several = st.lists(runs, max_size=6, unique_by=lambda run: run.id)
limits = st.none() | st.integers(1, 3)
quick = settings(suppress_health_check=[HealthCheck.too_slow], max_examples=settings().max_examples // 2)


class Impatient(Postgres):
    """Goes no way but the last."""

    def __init__(self, keys):
        super().__init__(keys, few=0)

    def patiently(self, connection, ask, wanted):
        return None


@functools.cache
def store() -> tuple[PostgresCatalog, Connection]:
    """A catalog, and a connection in whose transactions rows are written that nobody else sees."""
    found = address(shared_server().uri())
    pool = Pool(found.conninfo, found.schema)
    migrate(pool)
    connection = pool.connect()
    atexit.register(connection.close)
    return PostgresCatalog(pool, PostgresLogs(pool), PostgresBlobs(pool)), connection


@contextlib.contextmanager
def filled(records: list[Fields]) -> Iterator[tuple[PostgresCatalog, Connection]]:
    """The catalog with these runs, numbered from 1."""
    catalog, connection = store()
    with connection.transaction(force_rollback=True):
        for row, record in enumerate(records, 1):
            connection.execute(
                "INSERT INTO runs (run, id, deleted, live, state, life) OVERRIDING SYSTEM VALUE"
                " VALUES (%s, %s, %s, false, '', '')",
                (row, record["id"], record["deleted"]),
            )
        write_fields(connection, [Written(row, record, []) for row, record in enumerate(records, 1)], {})
        yield catalog, connection


def answers_like_records(records: list[Fields], tree: Tree | None, order: Order, limit: int | None) -> None:
    right = expected(records, tree, order)
    with filled(records) as (catalog, connection):
        for dialect in (Postgres, functools.partial(Postgres, few=0, patience_ms=5_000), Impatient):
            find = functools.partial(answer, catalog, connection, dialect, tree, order, limit)

            assert all_pages(find) == right


def answer(catalog, connection, dialect, tree, order=(), limit=None, after=None):
    """What the catalog finds, asked in a dialect."""
    found = Postgres.asked(connection, {*paths(tree), *(path for path, _ in order)})
    return catalog.find_rows(connection, dialect(found.keys), tree, order, after, limit)


@pytest.mark.slow
@quick
@given(several, st.none() | trees, orders, limits)
def test_sql_equals_evaluation(records: list[Run], tree: Tree | None, order: Order, limit: int | None) -> None:
    """Any filter and ordering over any runs: the SQL answers like the record, whichever way it takes, page by page."""
    answers_like_records([fields(record) for record in records], tree, order, limit)


@pytest.mark.slow
@quick
@given(st.lists(dense_fields, max_size=12), st.none() | dense_trees, dense_orders, limits, st.randoms())
def test_sql_equals_evaluation_among_alike(
    records: list[Fields], tree: Tree | None, order: Order, limit: int | None, random: Random
) -> None:
    """The same over many runs that share few values, where orderings have ties and pages end on NaN and on nothing."""
    ids = [f"{i:02}" for i in range(len(records))]
    random.shuffle(ids)
    answers_like_records([{**record, "id": id} for id, record in zip(ids, records, strict=True)], tree, order, limit)


@pytest.mark.slow
@pytest.mark.parametrize("path", [("params", "x"), ("metrics", "x", "mean")])
def test_every_value_by_every_literal(path: Path) -> None:
    """Each kind of value against each operator and literal, in order: the SQL answers like the record."""
    records = one_of_each(path)
    with filled(records) as (catalog, connection):
        for number, tree in enumerate(every_condition(path)):
            order: Order = ((path, bool(number % 2)),)
            found = answer(catalog, connection, Postgres, tree, order)

            assert found.runs == expected(records, tree, order), text(tree)


LONG = ["x" * CUT_BYTES + end for end in ("", "a", "b", "é")] + ["x" * (CUT_BYTES - 2), "ü" * CUT_BYTES, "x", "y"]


def test_long_text() -> None:
    """Text that is too long for an index is compared, matched and ordered like any other."""
    records: list[Fields] = [
        {"id": f"{i:02}", "deleted": False, "tags.t": value, "params.n": i % 2} for i, value in enumerate(LONG)
    ]
    asked = [f"tags.t {op} '{value}'" for op in ("=", "!=", "<", "<=", ">", ">=", "like") for value in LONG]
    asked += ["tags.t like '%a'", "tags.t like 'x%'", "tags.t like '%é'", "tags.t ~ 'b$'", "not tags.t ~ 'b$'"]
    asked += [f"tags.t like '{'x' * CUT_BYTES}_'", f"tags.t in ('{LONG[1]}', 'y')", f"tags.t not in ('{LONG[1]}')"]
    for written in asked:
        order = parse_order(("tags.t", "-tags.t", "params.n, -tags.t")[len(written) % 3])
        answers_like_records(records, parse(written), order, 3)


def test_bytes_are_in_the_order_of_values() -> None:
    """Encoded scalars compare as scalars do, whatever their types, and come back."""
    values = [scalar(value) for value in (*NUMBERS, *TEXTS, *MOMENTS, True, False)]
    values += [scalar(sign * number) for sign in (1, -1) for number in (3, 255, 256, 1e308, 5e-324, 2**62 + 1, 0.1)]
    in_order = sorted((value for value in values if not is_nan(value)), key=lambda value: (type_rank(value), value))

    assert all((encoded(a) < encoded(b)) == (type_rank(a) < type_rank(b) or a < b) for a, b in pairwise(in_order))
    assert all(decoded(encoded(value)) == value for value in in_order)
    assert max(map(encoded, values)) == encoded(float("nan"))


@given(
    st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False),
    st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False),
)
def test_numbers_compare_exactly(one: float, other: float) -> None:
    """Integers of 64 bits and floats compare as bytes as they do as numbers."""
    assert (encoded(one) < encoded(other)) == (one < other)
    assert (encoded(one) == encoded(other)) == (one == other)


TEN: list[Fields] = [
    {"id": f"{i:02}", "deleted": i == 9, "name": f"run-{i}", "params.n": i, "metrics.acc": i / 10} for i in range(10)
]


@pytest.fixture
def ten():
    with filled(TEN) as (catalog, connection):
        yield functools.partial(answer, catalog, connection, Postgres)


@pytest.mark.parametrize(
    "literal", ["' OR 1=1 --", "'; DROP TABLE vals; --", "%", ":p0", "%s", "%(p0)s", "\\", "\0", "\ud800"]
)
def test_injection(ten, literal: str) -> None:
    """Whatever stands in a name or a value is only ever a name or a value."""
    quoted = "'" + literal.replace("\\", "\\\\").replace("'", "\\'") + "'"
    name = "`" + literal.replace("`", "``") + "`"
    for op in ("=", "<", "like", "in"):
        tree = parse(f"name {op} ({quoted})" if op == "in" else f"name {op} {quoted}")
        found = ten(tree, parse_order(f"params.{name}, metrics.{name}.min"), 5)
        assert len(found.runs) in ({5} if (op, literal) == ("like", "%") else {0, 5} if op == "<" else {0})

    assert ten(parse(f"params.{name} = {quoted} or metrics.{name}.max > 1")).runs == []
    assert len(ten(parse(f"params.{name} is null")).runs) == 9


def test_deep_and_wide(ten) -> None:
    """A filter as deep or as long as the language allows is answered."""
    for written in deep_and_wide():
        tree = parse(written)

        assert ten(tree).runs == expected(TEN, tree, ())


@pytest.mark.parametrize("after", ["", "x", "{}", "[1]", '["01"]', '["01", {"blob": 3}]', '["01", "a"]', '["01", 1]'])
def test_wrong_page(ten, after: str) -> None:
    """A place to go on from that is none raises QueryError."""
    with pytest.raises(QueryError, match="ask again"):
        ten(None, parse_order("name"), 3, after)
