"""Tables and queries of SQL databases, by the rows that come out.

Any DB-API connection (PEP 249) serves, one of SQLAlchemy too. Rows are fetched some thousands at a time. SQL promises
no order without `order by`: without it the ordered content is that of the rows as they happened to come, and
`rows_id` is what to compare.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from mlsdk.data.table import Column, Table
from mlsdk.errors import UsageError

_ROWS = 4096
_BYTES = 1 << 20
"""Rows are fetched by so many, or so few as are about so many bytes: a cell may be a document."""


def is_connection(source: Any) -> bool:
    """Whether something is a connection of DB-API or SQLAlchemy, or an engine; SQLAlchemy is not imported for it."""
    return _is_alchemy(source) or (hasattr(source, "cursor") and hasattr(source, "commit"))


def sql_table(source: Any, *, table: str | None = None, query: str | None = None) -> Table:
    """The rows of a table, or of a query.

    Args:
        source: path of a sqlite file, which is opened read-only; a connection; an engine of SQLAlchemy.
        table: name of the table; its rows come in the order in which the database gives them.
        query: a query that gives rows.

    Raises:
        UsageError: neither or both of table and query, no such table, or a query that fails.
    """
    if (table is None) == (query is None):
        raise UsageError(f"table={table!r}, query={query!r}: say which rows, by one of the two")
    own = isinstance(source, str | os.PathLike)
    if not own and not is_connection(source):
        raise UsageError(
            f"table= and query= are for databases, not for a {type(source).__qualname__}: "
            "give a connection, or the path of a sqlite file"
        )
    connection = _open(os.fspath(source)) if own else source
    said = query if query is not None else f"select * from {_quoted(connection, str(table))}"
    what = f"table {table!r}" if query is None else f"query {query!r}"
    try:
        names, rows, close = _run(connection, said)
    except Exception as error:  # each driver has its own errors, without a common base; told in ours
        if own:
            connection.close()
        raise UsageError(f"{what} cannot be read: {error}") from error

    def batches() -> Iterator[Sequence[Any]]:
        count = 16
        try:
            while batch := rows(count):
                yield [list(column) for column in zip(*batch, strict=True)]
                size = sum(len(cell) for row in batch for cell in row if isinstance(cell, str | bytes))
                count = min(count * 2, _ROWS) if size < _BYTES else max(count // 2, 1)
        except Exception as error:  # as above: the rows that come later may fail too
            raise UsageError(f"{what} cannot be read to its end: {error}") from error
        finally:
            close()
            if own:
                connection.close()

    # No driver says the same of its types, so they are what the values are.
    return Table([Column(name, "") for name in names], batches())


def _open(path: str) -> Any:
    """A sqlite file, opened so that nothing of it can change."""
    import sqlite3

    if not os.path.isfile(path):
        raise UsageError(f"there is no file {path!r}; give the path of a sqlite database, or a connection")
    absolute = os.path.abspath(path).replace(os.sep, "/")
    connection = sqlite3.connect(f"file:{quote(absolute)}?mode=ro", uri=True)
    # Text that is not UTF-8 is a value like any other.
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    return connection


def _quoted(connection: Any, table: str) -> str:
    """A table's name as SQL, `schema.table` in two parts, in the quotes of the database."""
    if _is_alchemy(connection):
        return ".".join(connection.dialect.identifier_preparer.quote(part) for part in table.split("."))
    mark = "`" if type(connection).__module__.partition(".")[0] in {"MySQLdb", "mysql", "pymysql"} else '"'
    whole = [table] if type(connection).__module__ == "sqlite3" else table.split(".")
    return ".".join(mark + part.replace(mark, mark * 2) + mark for part in whole)


def _is_alchemy(source: Any) -> bool:
    alchemy = sys.modules.get("sqlalchemy")
    return alchemy is not None and isinstance(source, alchemy.engine.Connection | alchemy.engine.Engine)


def _run(connection: Any, query: str) -> tuple[list[str], Any, Any]:
    """Names, a function that fetches so many rows, one that ends it."""
    if _is_alchemy(connection):
        return _run_alchemy(connection, query)
    cursor = connection.cursor()
    try:
        cursor.execute(query)
        if cursor.description is None:
            raise UsageError("it gives no rows")
        names = [str(part[0]) for part in cursor.description]
    except BaseException:
        cursor.close()
        raise
    return names, cursor.fetchmany, cursor.close


def _run_alchemy(source: Any, query: str) -> tuple[list[str], Any, Any]:
    alchemy = sys.modules["sqlalchemy"]
    own = isinstance(source, alchemy.engine.Engine)
    connection = source.connect() if own else source
    try:
        result = connection.execution_options(stream_results=True).execute(alchemy.text(query))
        names = list(result.keys())
    except BaseException:
        if own:
            connection.close()
        raise

    def close() -> None:
        result.close()
        if own:
            connection.close()

    return names, result.fetchmany, close
