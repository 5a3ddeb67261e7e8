"""Connections to PostgreSQL: a pool that survives restarts of the server and forks of the process, and never hangs."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from mlsdk.errors import AccessError, MlsdkError, ReadOnlyError, StoreError, UnavailableError

if TYPE_CHECKING:
    from psycopg_pool import ConnectionPool

T = TypeVar("T")
Connection = Any
"""A `psycopg.Connection`."""

READ = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
"""All statements see the database as it was at the first."""
CONNECTIONS = 16
"""A process holds at most so many."""
WAIT_S = 10.0
"""How long to wait for a connection."""
TRIES = 4
"""Work that a lost connection or a deadlock has undone is done again, as often as this in all."""

_OPTIONS = {
    "application_name": "mlsdk",
    "connect_timeout": "5",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
_SETTINGS = (
    "SET statement_timeout = '60s'",
    "SET lock_timeout = '30s'",
    "SET idle_in_transaction_session_timeout = '120s'",
    "SET client_encoding = 'UTF8'",
    "SET bytea_output = 'hex'",
    "SET jit = off",  # compiling takes longer than any of our statements
    "SET plan_cache_mode = force_custom_plan",  # how many rows a range has depends on its values
)

_inherited: list[object] = []
"""Pools of the parent in a forked child: closing them there would end the parent's connections."""


class Pool:
    """A pool of connections to one schema; any thread may use it.

    Args:
        conninfo: as libpq wants it.
        schema: the search path of each connection.
    """

    def __init__(self, conninfo: str, schema: str) -> None:
        self.schema = schema
        self._conninfo = conninfo
        self._pool: ConnectionPool[Any] | None = None
        self._pid = os.getpid()
        self._lock = Lock()

    def do(self, work: Callable[[Connection], T], *, begin: str | None = "BEGIN") -> T:
        """Do `work` in one transaction, again if the server went away meanwhile or chose it as a deadlock's victim.

        What is done must bear being done twice: the first time may have been committed without a word.

        Args:
            work: gets the connection.
            begin: how the transaction begins; None for none, where `work` is one statement.

        Raises:
            UnavailableError: the server cannot be reached, or does not answer in time.
            AccessError: it lets us not in, or not do this.
            ReadOnlyError: it takes nothing at present.
            StoreError: any other failure of it.
        """
        psycopg = load()
        for attempt in range(1, TRIES + 1):
            try:
                with self._get().connection(WAIT_S) as connection:
                    if begin is None:
                        return work(connection)
                    connection.execute(begin)
                    try:
                        done = work(connection)
                    except BaseException:
                        with contextlib.suppress(psycopg.Error):
                            connection.execute("ROLLBACK")
                        raise
                    connection.execute("COMMIT")
                    return done
            except _timed_out() as error:  # that has been waited for already
                self.connect().close()  # says why there is none
                told = f"all {CONNECTIONS} connections of this process are in use"
                raise UnavailableError(f"PostgreSQL cannot be used at present: {told}", retry_after_s=1.0) from error
            except psycopg.Error as error:
                if attempt == TRIES or not _may_pass(error):
                    raise translated(error) from error
                if not isinstance(error, psycopg.errors.DeadlockDetected):
                    self._mend()
                time.sleep(0.05 * 2**attempt)
        raise AssertionError

    def _get(self) -> ConnectionPool[Any]:
        if self._pid != os.getpid():
            _inherited.append(self._pool)
            self._pool, self._pid, self._lock = None, os.getpid(), Lock()
        with self._lock:
            if self._pool is None:
                from psycopg_pool import ConnectionPool

                # What it warns of comes as our error; without a handler it would be printed.
                if not (logger := logging.getLogger("psycopg.pool")).handlers:
                    logger.addHandler(logging.NullHandler())
                self._pool = ConnectionPool(
                    self._conninfo,
                    kwargs={"autocommit": True, **_OPTIONS},
                    configure=self._configure,
                    min_size=0,
                    max_size=CONNECTIONS,
                    max_idle=120.0,
                    reconnect_timeout=WAIT_S,
                    num_workers=1,
                    open=True,
                )
            return self._pool

    def _configure(self, connection: Connection) -> None:
        for setting in _SETTINGS:
            connection.execute(setting)
        connection.execute(f'SET search_path = "{self.schema}"')

    def _mend(self) -> None:
        """Throw away the connections that a restarted server no longer knows."""
        with contextlib.suppress(load().Error):
            self._get().check()

    def connect(self) -> Connection:
        """A connection beside the pool, in autocommit, for who waits long; the caller closes it.

        Raises:
            UnavailableError: the server cannot be reached.
            AccessError: it lets us not in.
        """
        psycopg = load()
        try:
            connection = psycopg.connect(self._conninfo, autocommit=True, **_OPTIONS)
            try:
                self._configure(connection)
            except BaseException:
                connection.close()
                raise
        except psycopg.Error as error:
            raise translated(error) from error
        return connection

    def close(self) -> None:
        """End the connections; the next use makes new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None and self._pid == os.getpid():
            pool.close()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # whatever is left of it while the interpreter ends
            pass


def load() -> Any:
    """The `psycopg` package.

    Raises:
        StoreError: it is not installed.
    """
    try:
        import psycopg
        import psycopg_pool  # noqa: F401 - both or none
    except ImportError as error:
        raise StoreError(f"stores in PostgreSQL need psycopg ({error}): pip install 'mlsdk[postgres]'") from error
    return psycopg


def translated(error: Exception) -> MlsdkError:
    """The error of ours that an error of PostgreSQL's is."""
    errors = load().errors
    told = " ".join(str(error).split()) or type(error).__name__
    state = getattr(error, "sqlstate", None) or ""
    # A connection that is refused has no code, only words.
    if state.startswith("28") or re.search(
        r"authentication failed|no password supplied|pg_hba|role .* not exist", told
    ):
        return AccessError(
            f"PostgreSQL lets us not in: {told}; set PGPASSWORD or ~/.pgpass, and look at the user's name"
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return AccessError(f"PostgreSQL does not allow this: {told}; ask its owner to GRANT it")
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return ReadOnlyError(f"PostgreSQL takes no writes here: {told}; name the primary server in the URI")
    if state == "3D000" or re.search(r"database .* not exist", told):
        return StoreError(f"PostgreSQL has no such database: {told}; make it with createdb")
    if _may_pass(error) or isinstance(error, errors.QueryCanceled) or state[:2] in {"53", "55"}:
        return UnavailableError(f"PostgreSQL cannot be used at present: {told}", retry_after_s=1.0)
    return StoreError(f"PostgreSQL cannot do this: {told}")


def _may_pass(error: Exception) -> bool:
    """Whether the same may succeed on another connection or a moment later."""
    state = getattr(error, "sqlstate", None) or ""
    passing = state[:2] in {"08", "40", "57"} and state != "57014"  # 57014: a statement took too long
    return passing or (isinstance(error, load().OperationalError) and not state)


def _timed_out() -> type[Exception]:
    """No connection came in time."""
    from psycopg_pool import PoolTimeout

    timeout: type[Exception] = PoolTimeout
    return timeout
