"""Requests to a server: connections that are kept, the token, time-outs, trying again, and errors of ours."""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from random import SystemRandom
from typing import Any, BinaryIO, NamedTuple, TypeVar

from mlsdk.config import number
from mlsdk.errors import StoreError, UnavailableError
from mlsdk.log.frames import FORMAT_VERSION
from mlsdk.store.credentials import kept, token_for
from mlsdk.store.http.address import Address
from mlsdk.store.http.answers import API, Answer, check
from mlsdk.version import VERSION

T = TypeVar("T")

ATTEMPTS = 4
"""How often a call is tried while the server cannot be reached."""

PART_BYTES = 4 << 20
"""The most that one request carries, if the server does not take less."""

_chance = SystemRandom()
"""Not the generator that the user's program draws from."""

_FIRST_PAUSE_S = 0.25
_KEPT = 16
"""Connections that wait for the next call; more are closed after use."""
_LARGE_BYTES = 1 << 18
"""Larger bodies are sent in small pieces."""
_CHUNK_BYTES = 1 << 16
"""Of an answer so much is read at once: what is lost when it breaks off."""


class Server(NamedTuple):
    """What a server says of itself."""

    part_bytes: int = PART_BYTES
    capabilities: frozenset[str] = frozenset({"shared", "processes", "seal", "batch"})


class Session:
    """One workspace of one server. All methods may be called from any thread, and after a fork.

    Args:
        address: of the workspace.
        attempts: how often a call is tried while the server cannot be reached.
        token: instead of the one that is kept for the server.

    Attributes:
        format: the newest format of logs that the server reads; None before its first answer.
    """

    def __init__(self, address: Address, attempts: int = ATTEMPTS, token: str | None = None) -> None:
        self.address = address
        self.attempts = attempts
        self.format: int | None = None
        self._server: Server | None = None
        self._given = self._token = token
        self._free: deque[Any] = deque()
        self._process = os.getpid()

    def __repr__(self) -> str:
        return f"<Session {self.address.base} {self.address.workspace}>"

    def url(self, path: str) -> str:
        """The address of a route; `path` is quoted already. One that begins with `/` is below the workspace."""
        inside = f"w/{self.address.workspace}{path}" if path.startswith("/") else path
        return f"{self.address.base}/v1/{inside}" if inside else f"{self.address.base}/v1"

    def server(self) -> Server:
        """What the server says of itself, asked once.

        Raises:
            UnavailableError: it cannot be reached.
        """
        if self._server is None:
            said = self.call("GET", "").json()
            limits, offered = said.get("limits") or {}, said.get("capabilities")
            most = min(PART_BYTES, int(limits.get("body_bytes") or PART_BYTES))
            self._server = Server(most) if offered is None else Server(most, frozenset(offered) | {"batch"})
        return self._server

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        value: object = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        attempts: int | None = None,
    ) -> Answer:
        """Send a request and take in the answer; tried again while the server cannot be reached.

        Args:
            method: of HTTP. What is sent twice must have the effect of once.
            path: see `url`.
            params: of the query; None leaves one out.
            value: a body in JSON.
            body: or bytes.
            headers: beside the usual ones.
            attempts: instead of the session's.

        Raises:
            MlsdkError: what the server told.
            UnavailableError: it cannot be reached.
        """
        sent = dict(headers or {})
        if value is not None:
            body, sent["Content-Type"] = json.dumps(value).encode(), "application/json"
        elif body is not None:
            sent.setdefault("Content-Type", "application/octet-stream")

        def once(left_s: float) -> Answer:
            with self.opened(method, self.url(path), params, body, sent, left_s) as (head, pieces):
                answer = Answer(head.status, head.headers, b"".join(pieces))
            check(self.address.origin, answer)
            return answer

        return patiently(once, self.attempts if attempts is None else attempts)

    @contextlib.contextmanager
    def opened(
        self,
        method: str,
        url: str,
        params: Mapping[str, object] | None = None,
        body: bytes | BinaryIO | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """Send one request, once; gives the answer without its body, and the body in pieces, whatever its status.

        The token goes along only to the server's own address, and no redirect is followed.
        """
        own = url.startswith(self.address.base + "/")
        sent = {**(self._own_headers() if own else {}), **(headers or {})}
        token = self._current_token() if own else None
        query = {name: _text(given) for name, given in (params or {}).items() if given is not None}
        waits = timeout_s or number("request_timeout_s")
        with self._connection() as connection:
            with _translated(_origin(url), waits):
                response = self._requested(connection, method, url, query, body, sent, token, waits)
                if response.status_code == 401 and own and (newer := self._newer_token(token)) is not None:
                    response.close()
                    self._token = token = newer
                    response = self._requested(connection, method, url, query, body, sent, token, waits)
            with contextlib.closing(response):
                if own:
                    self._note(response.headers)
                pieces = _pieces(response, method, _origin(url), waits)
                yield Answer(response.status_code, response.headers, b""), pieces

    def _requested(
        self,
        connection: Any,
        method: str,
        url: str,
        query: Mapping[str, str],
        body: bytes | BinaryIO | None,
        headers: Mapping[str, str],
        token: str | None,
        waits: float,
    ) -> Any:
        # From a file it is sent in small pieces, each with the whole time-out: a slow line is no dead one.
        if isinstance(body, bytes) and len(body) > _LARGE_BYTES:
            body = io.BytesIO(body)
        elif body is not None and not isinstance(body, bytes):
            body.seek(0)
        return connection.request(
            method,
            url,
            params=query,
            data=body,
            headers=headers,
            auth=_Bearer(token),
            timeout=waits,
            allow_redirects=False,
            stream=True,
            cert=os.environ.get("MLSDK_CLIENT_CERT") or None,
        )

    def _own_headers(self) -> dict[str, str]:
        return {"Mlsdk-Api": str(API), "Mlsdk-Format": str(FORMAT_VERSION)}

    def _current_token(self) -> str | None:
        if self._token is None:
            self._token = self._kept_token()
        return self._token

    def _kept_token(self) -> str | None:
        return self._given or token_for(self.address.origin)

    def _newer_token(self, refused: str | None) -> str | None:
        """Another token than the one that was refused: somebody may have signed in meanwhile."""
        if self._given:
            return None
        # A companion has the variable of the program that started it, maybe days ago: what is saved can be newer.
        tokens = (token_for(self.address.origin), kept(self.address.origin))
        return next((token for token in tokens if token not in (None, refused)), None)

    def _note(self, headers: Mapping[str, str]) -> None:
        said = headers.get("Mlsdk-Format", "")
        if said.isdigit():
            self.format = int(said)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        """A session of requests for one call at a time, which keeps its connection."""
        if self._process != os.getpid():
            # The parent goes on using its connections: nothing is said on them here.
            self._free, self._process = deque(), os.getpid()
        try:
            connection = self._free.pop()
        except IndexError:
            import requests

            connection = requests.Session()
            connection.headers["User-Agent"] = f"mlsdk/{VERSION}"
        free = self._free
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if len(free) < _KEPT and free is self._free:
            free.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close what is kept open; the next call opens anew."""
        while self._free:
            self._free.pop().close()


class _Bearer:
    """Puts the token into a request, or nothing: without it requests would look for a password in ~/.netrc."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Patience:
    """How long to go on with what fails for a while: a number of times in a row, and `request_timeout_s` of pauses.

    Args:
        attempts: how often it is tried while nothing gets through.
    """

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts
        self._reached = 0
        self._begin()

    def _begin(self) -> None:
        self._failures = 0
        self._end = time.monotonic() + number("request_timeout_s")

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return max(self._end - time.monotonic(), 0.1)

    def pause(self, error: UnavailableError, reached: int = 0) -> None:
        """Wait before the next time, as long as the server asks for, else a random while that grows.

        Args:
            error: how it failed.
            reached: how far it is: who got on begins to count anew.

        Raises:
            UnavailableError: the error itself, where it is time to give up.
        """
        if reached > self._reached:
            self._reached = reached
            self._begin()
        self._failures += 1
        wait = max(_chance.uniform(0, _FIRST_PAUSE_S * 2**self._failures), error.retry_after_s or 0.0)
        if self._failures >= self._attempts or time.monotonic() + wait >= self._end:
            raise error
        time.sleep(wait)


def patiently(work: Callable[[float], T], attempts: int) -> T:
    """Do what may fail for a while, as `Patience` says; `work` is told how many seconds are left."""
    patience = Patience(attempts)
    while True:
        try:
            return work(patience.left_s)
        except UnavailableError as error:
            patience.pause(error)


def _pieces(response: Any, method: str, origin: str, waits: float) -> Iterator[bytes]:
    """The body; one that is shorter than it should be is an error."""
    with _translated(origin, waits):
        yield from response.iter_content(_CHUNK_BYTES)
        expected = response.headers.get("Content-Length", "")
        got = response.raw.tell()
        if expected.isdigit() and method != "HEAD" and got < int(expected):
            raise UnavailableError(f"the answer of {origin} was cut off after {got:,} of {int(expected):,} bytes")


@contextlib.contextmanager
def _translated(origin: str, waits: float) -> Iterator[None]:
    import requests

    try:
        yield
    except requests.exceptions.SSLError as error:
        if "certificate" in str(error).lower():
            raise StoreError(
                f"the certificate of {origin} cannot be trusted: {_reason(error)}; if it is of your own authority, name"
                " its file by REQUESTS_CA_BUNDLE"
            ) from None
        raise UnavailableError(f"{origin} cannot be reached: {_reason(error)}") from None
    except requests.exceptions.Timeout:
        raise UnavailableError(f"{origin} did not answer within {waits:.3g} s") from None
    except (
        requests.exceptions.ConnectionError,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
    ) as error:
        raise UnavailableError(f"{origin} cannot be reached: {_reason(error)}") from None
    except (requests.exceptions.RequestException, OSError) as error:  # OSError: a file of certificates is not there
        raise StoreError(f"no request can be sent to {origin}: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    """What is at the bottom of an error of requests, in its own words."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = [getattr(error, "reason", None), *error.args, error.__cause__]
        error = next((one for one in inner if isinstance(one, BaseException)), error)
    return str(error).rpartition(": ")[2] or type(error).__name__


def _origin(url: str) -> str:
    """The part of an address that may be shown: a presigned one is secret further on."""
    return "/".join(url.split("/", 3)[:3])


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
