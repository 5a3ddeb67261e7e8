"""Tables and queries of SQL databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlsdk.data import sql
from mlsdk.data.digest import digest_table
from mlsdk.data.files import fingerprint_path
from mlsdk.data.record import Fingerprint
from mlsdk.data.rows import rows_table
from mlsdk.errors import UsageError

ROWS = [(1, "a", 0.5, None), (2, "é", 1e300, b"\x00\xff"), (3, None, -0.0, 2**62)]


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect("data.db")) as opened:
        opened.execute('create table "odd ""name" (id integer, t text, r real, anything)')
        opened.execute("create table t (id integer, t text, r real, anything)")
        opened.executemany("insert into t values (?, ?, ?, ?)", ROWS)
        opened.executemany('insert into "odd ""name" values (?, ?, ?, ?)', ROWS)
        opened.commit()
        yield opened


def of(source: Any, **which: str) -> Fingerprint:
    return digest_table(sql.sql_table(source, **which))


def test_table_query_and_rows_are_one_content(connection: sqlite3.Connection) -> None:
    """A table by path, by connection, by query and the same rows in memory have one content."""
    names = ("id", "t", "r", "anything")
    wanted = digest_table(rows_table([dict(zip(names, row, strict=True)) for row in ROWS])).id

    assert fingerprint_path("data.db", table="t", cache=False).id == wanted
    assert fingerprint_path("data.db", query="select * from t", cache=False).id == wanted
    assert of(connection, table="t").id == wanted
    assert of(connection, query="select * from t order by id").id == wanted
    assert of(connection, table='odd "name').id == wanted


def test_values_keep_their_own_types(connection: sqlite3.Connection) -> None:
    """sqlite's values are what they are, whatever the column declares: text is no number."""
    connection.execute("insert into t values ('x', 1, 2, 3)")
    connection.execute("create table other as select id, cast(id as text) as t from t")
    found = of(connection, table="t")
    kinds = {column.name: column.kind for column in of(connection, table="other").columns}

    assert found.columns[0].kind == "number|text"
    assert kinds == {"id": "number|text", "t": "text"}


def test_order_of_a_query_counts(connection: sqlite3.Connection) -> None:
    """The same rows in another order are the same rows, not the same content."""
    up, down = (of(connection, query=f"select * from t order by id {way}") for way in ("asc", "desc"))

    assert str(up.compare(down)) == "same rows in another order"


def test_what_changed(connection: sqlite3.Connection) -> None:
    """With a key the changed, added and removed rows of a table are named."""
    before = fingerprint_path("data.db", table="t", key="id", cache=False)
    connection.execute("update t set t = 'b' where id = 1")
    connection.execute("delete from t where id = 2")
    connection.execute("insert into t values (9, 'n', 0, 0)")
    connection.commit()
    diff = before.compare(fingerprint_path("data.db", table="t", key="id", cache=False))

    assert (diff.changed_keys, diff.added_keys, diff.removed_keys) == ((1,), (9,), (2,))


def test_a_journal_is_read_and_nothing_written(connection: sqlite3.Connection) -> None:
    """What lies in the write-ahead log counts, although the file itself is as before; nothing is changed by us."""
    connection.execute("pragma journal_mode=wal")
    connection.commit()
    before, data = fingerprint_path("data.db", table="t", cache=False), Path("data.db").read_bytes()
    connection.execute("insert into t values (4, 'new', 0, 0)")
    connection.commit()
    after = fingerprint_path("data.db", table="t", cache=False)

    assert Path("data.db").read_bytes() == data
    assert before.compare(after).added_rows == 1
    assert before.bytes_id is None


def test_the_file_itself_is_its_bytes(connection: sqlite3.Connection) -> None:
    """A database without a table or query is a file like any other."""
    assert fingerprint_path("data.db", cache=False).id.startswith("mlfp1-bytes:")


def test_text_that_is_no_utf8(connection: sqlite3.Connection) -> None:
    """Text that is not UTF-8 is told apart too."""
    connection.execute("create table bad as select cast(x'ff' as text) as x")
    connection.commit()
    one = fingerprint_path("data.db", table="bad", cache=False)
    connection.execute("update bad set x = cast(x'fe' as text)")
    connection.commit()

    assert one != fingerprint_path("data.db", table="bad", cache=False)


@pytest.mark.parametrize(
    ("which", "why"),
    [
        ({"table": "none"}, "table 'none' cannot be read: no such table"),
        ({"query": "select none"}, "query 'select none' cannot be read: no such column"),
        ({"query": "create table x (y)"}, "readonly|gives no rows"),
        ({"query": "begin"}, "gives no rows"),
        ({}, "by one of the two"),
        ({"table": "t", "query": "select 1"}, "by one of the two"),
    ],
)
def test_what_cannot_be_read(which: dict[str, str], why: str, connection: sqlite3.Connection) -> None:
    """A table or query that is not there, or gives no rows, is an error that says so."""
    with pytest.raises(UsageError, match=why):
        of("data.db", **which)


def test_no_such_database() -> None:
    """A database that is not there is an error, and is not made."""
    with pytest.raises(UsageError, match=r"no file 'none\.db'"):
        of("none.db", table="t")

    assert list(Path.cwd().iterdir()) == []


def test_failure_in_the_middle(connection: sqlite3.Connection) -> None:
    """A query that fails after some rows is an error, not the rows so far."""
    connection.create_function("fail", 1, lambda value: 1 / (3 - value))

    with pytest.raises(UsageError, match="cannot be read"):
        of(connection, query="select fail(id) from t")


def test_rows_are_fetched_some_at_a_time() -> None:
    """Rows are fetched in growing batches, and in small ones where the cells are large."""
    with closing(sqlite3.connect(":memory:")) as opened:
        opened.execute(
            "create table t as with r(x) as (select 1 union all select x + 1 from r limit 20000) select x from r"
        )
        opened.execute("create table large as select zeroblob(400000) as x from t limit 50")
        small = [len(batch[0]) for batch in sql.sql_table(opened, table="t").batches]
        large = [len(batch[0]) for batch in sql.sql_table(opened, table="large").batches]

    assert sum(small) == 20_000
    assert max(small) <= 4096 <= 2 * max(small)
    assert sum(large) == 50
    assert large[:3] == [16, 8, 4]


def test_sqlalchemy() -> None:
    """Engines and connections of SQLAlchemy give the same content."""
    try:
        import sqlalchemy
    except ImportError:
        pytest.skip("SQLAlchemy is not installed")
    engine = sqlalchemy.create_engine("sqlite:///data.db")
    with engine.begin() as opened:
        opened.execute(sqlalchemy.text("create table t (x integer, y text)"))
        opened.execute(sqlalchemy.text("insert into t values (1, 'a'), (2, 'b')"))
        inside = of(opened, query="select * from t").id
    found = {inside, of(engine, table="t").id, of("data.db", table="t").id}
    engine.dispose()

    assert len(found) == 1
    assert sql.is_connection(engine)


def test_what_is_a_connection(connection: sqlite3.Connection) -> None:
    """A DB-API connection is known by its methods; a cursor or a path is none."""
    assert sql.is_connection(connection)
    assert not sql.is_connection("data.db")
    assert not sql.is_connection(connection.cursor())


def test_what_is_no_database() -> None:
    """A table of something that is no connection is refused by what it is."""
    with pytest.raises(UsageError, match="databases, not for a dict: give a connection"):
        of({"a": [1]}, table="a")
