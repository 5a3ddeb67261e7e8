"""What is PostgreSQL's own in finding runs: how it is asked.

Values are bytes (`ordered`). Of long text the column holds the beginning, so that an index takes it; where a key has
such values, their whole text is looked at too, through a view. `~` is Python's: it is never asked here.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from mlsdk.query.dialect import Binder, Connection, Place, SqlValue, place
from mlsdk.query.evaluate import like_tokens
from mlsdk.query.names import Path, clean_text
from mlsdk.query.ordered import AFTER_TEXT, NAN, TEXT, encoded
from mlsdk.query.tree import Scalar, is_nan

T = TypeVar("T")

CUT_BYTES = 1000
"""A row of an index has less than 2,700 bytes."""

_WALK = {"seqscan": False, "bitmapscan": False, "hashjoin": False, "mergejoin": False, "sort": False}
_NARROW = {"seqscan": False, "bitmapscan": True, "hashjoin": False, "mergejoin": False, "sort": True}
_SETS = {"seqscan": True, "bitmapscan": True, "hashjoin": True, "mergejoin": True, "sort": True}
_WAYS = {"walk": _WALK, "narrow": _NARROW, "sets": _SETS}


def key_digest(name: str) -> bytes:
    """What the name of a field is looked up by: it may be longer than an index takes."""
    return hashlib.sha256(name.encode()).digest()


def split(value: Scalar) -> tuple[bytes, bytes | None]:
    """A scalar as the table holds it: the beginning, and the rest if there is one."""
    data = encoded(value)
    return data[:CUT_BYTES], data[CUT_BYTES:] or None


class Postgres:
    """How PostgreSQL is asked; see `mlsdk.query.dialect.Dialect`. One for each question, as keys come and grow.

    Args:
        keys: for each field that the question names and that is known: its number, and whether it has long text.
        few: testing and sorting so many rows takes some milliseconds.
        patience_ms: after which few runs are taken to fit.
    """

    joins_sets = True
    deepest = 1_000
    by_index = ""
    crossed = "JOIN"
    probe_end = " OFFSET 0"  # else it becomes a join, and with many of them planning takes for ever
    visible = "NOT r.deleted"
    false = "FALSE"
    nan: SqlValue = NAN
    nan_text = r"'\x50'::bytea"

    def __init__(self, keys: Mapping[str, tuple[int, bool]], few: int = 2_000, patience_ms: int = 30) -> None:
        self.keys = keys
        self.few = few
        self._patience_ms = patience_ms

    @classmethod
    def asked(cls, connection: Connection, paths: Iterable[Path], **limits: int) -> Postgres:
        """For a question that looks at `paths`."""
        names = sorted({place(path).key for path in paths})
        statement = (
            "SELECT name, key, EXISTS (SELECT 1 FROM vals WHERE vals.key = keys.key AND rest IS NOT NULL) FROM keys"
            " WHERE digest = ANY(%b)"
        )
        rows = connection.execute(statement, ([key_digest(name) for name in names],)).fetchall() if names else []
        return cls({name: (key, long) for name, key, long in rows}, **limits)

    def binder(self) -> Binder:
        """See `Dialect.binder`."""
        return Binder("%({})s")

    def place(self, path: Path) -> Place:
        """See `Dialect.place`."""
        at = place(path)
        return Place("whole", "whole", at.key) if at.table == "vals" and self.keys.get(at.key, (0, False))[1] else at

    def key(self, path: Path, bind: Binder) -> str:  # noqa: ARG002 - the planner knows how many a number has
        """See `Dialect.key`."""
        return str(self.keys.get(place(path).key, (-1, False))[0])

    def read_back(self, value: SqlValue) -> SqlValue:
        """See `Dialect.read_back`."""
        if not isinstance(value, bytes):
            raise TypeError("values are bytes here")
        return value

    def compares(self, column: str, op: str, value: Scalar, rank: int, bind: Binder) -> str:
        """See `Dialect.compares`."""
        if is_nan(value):
            return f"{column} IS NOT NULL" if op == "!=" else "FALSE"
        if op in ("like", "not like"):
            like = _like(column, str(value), bind)
            return like if op == "like" else f"{column} IS NOT NULL AND NOT ({like})"
        if op in ("=", "!="):
            return _whole(column, op, encoded(value), bind)
        low, high = _literal(bytes([16 + 16 * rank])), _literal(bytes([32 + 16 * rank]))
        within = f"{column} >= {low}" if op in ("<", "<=") else f"{column} < {high}"
        return f"{_whole(column, op, encoded(value), bind)} AND {within}"

    def among(self, column: str, values: Sequence[Scalar], bind: Binder) -> str:
        """See `Dialect.among`."""
        if not values:
            return "FALSE"
        return "(" + " OR ".join(_whole(column, "=", encoded(value), bind) for value in values) + ")"

    def walked(self, column: str, *, descending: bool) -> str:
        """See `Dialect.walked`. The beginnings of long text come first, as the index has them in order."""
        way = "DESC" if descending else "ASC"
        beginning = f"{_indexed(column)} {way}, " if column.endswith(".whole") else ""
        return f"{beginning}{column} {way}"

    def begin(self, connection: Connection, way: str) -> None:
        """Tell the planner what it cannot know: for how many runs a condition holds."""
        settings = {f"enable_{name}": "on" if on else "off" for name, on in _WAYS[way].items()}
        settings |= {"join_collapse_limit": "8" if way == "sets" else "1", "work_mem": "256MB"}
        # Shared among workers, a long index looks cheaper than the short range of another one.
        settings["max_parallel_workers_per_gather"] = "2" if way == "sets" else "0"
        changes = ", ".join(f"set_config('{name}', '{to}', true)" for name, to in settings.items())
        connection.execute(f"SELECT {changes}")

    def patiently(self, connection: Connection, ask: Callable[[], T], wanted: int) -> T | None:
        """See `Dialect.patiently`."""
        import psycopg

        (before,) = connection.execute("SHOW statement_timeout").fetchone()
        patience = self._patience_ms + wanted // 10
        try:
            with connection.transaction():
                connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(patience),))
                found = ask()
                connection.execute("SELECT set_config('statement_timeout', %s, true)", (before,))
                return found
        except psycopg.errors.QueryCanceled:
            return None


def _indexed(column: str) -> str:
    return f"{column.partition('.')[0]}.value"


def _whole(column: str, op: str, value: bytes, bind: Binder) -> str:
    """A comparison; with a column that is put together, one of the column that an index has, too."""
    plain = f"{column} {op} {bind(value)}"
    if not column.endswith(".whole") or op == "!=":
        return plain
    return f"({_indexed(column)} {op if op == '=' else op[0] + '='} {bind(value[:CUT_BYTES])} AND {plain})"


def _like(column: str, pattern: str, bind: Binder) -> str:
    """Within the range of what begins with the same plain text; the rest by PostgreSQL's own, which minds case too."""
    tokens = list(like_tokens(pattern))
    plain = list(itertools.takewhile(lambda token: not token[1], tokens))
    prefix = encoded("".join(char for char, _ in plain))
    if len(plain) == len(tokens):
        return _whole(column, "=", prefix, bind)
    above = f"{_whole(column, '>=', prefix, bind)} AND {_whole(column, '<', _after(prefix), bind)}"
    if all(token == ("%", True) for token in tokens[len(plain) :]):
        return above
    # First by bytes, where `_` may be several of them: a fifth of the cost of making text of each value.
    bytewise = "".join("%" if token == ("_", True) else _escaped(*token) for token in tokens)
    likely = f"{above} AND {column} LIKE {bind(TEXT + clean_text(bytewise).encode())}"
    if ("_", True) not in tokens:
        return likely
    # CASE: only text may be read as text, and the order of other conditions is not ours to say.
    is_text = f"{column} >= {_literal(TEXT)} AND {column} < {_literal(AFTER_TEXT)}"
    text = f"convert_from(substring({column} FROM 2), 'UTF8')"
    pattern = clean_text("".join(_escaped(*token) for token in tokens))
    return f"{likely} AND CASE WHEN {is_text} THEN {text} LIKE {bind(pattern)} ELSE FALSE END"


def _escaped(char: str, wild: bool) -> str:
    return char if wild or char not in "%_\\" else f"\\{char}"


def _after(prefix: bytes) -> bytes:
    """The first bytes after all that begin so."""
    return prefix[:-1] + bytes([prefix[-1] + 1])  # in UTF-8 no byte is FF


def _literal(value: bytes) -> str:
    return rf"'\x{value.hex()}'::bytea"
