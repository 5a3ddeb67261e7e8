"""What a route is, what its handler is given and may return, and what a route says applied to a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import attrs

from mlsdk.errors import AccessError, NotFoundError, StoreError, UsageError
from mlsdk.server.accounts import Principal, Role
from mlsdk.store.base import Store

if TYPE_CHECKING:
    from mlsdk.server.service import Service


JSON = "application/json"
BYTES = "application/octet-stream"
HTML = "text/html; charset=utf-8"

ANYONE, ANY_TOKEN = "anyone", "any token"
"""What a route needs where it needs no role: nothing, or any token that is valid."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


@attrs.frozen
class Param:
    """A parameter in the query of a URL."""

    name: str
    type: type = str
    """`str`, `int` or `bool`."""
    default: Any = None
    meaning: str = ""
    least: int = 0
    """Of a number."""


@attrs.frozen
class Row:
    """One route.

    Attributes:
        method: `GET` (which answers HEAD too), `POST`, `PUT` or `DELETE`.
        path: with parameters in braces; `{w}` is the workspace, `{name:path}` may hold slashes.
        handler: a plain function, called in a thread; what it returns is an `Answer`, or a value for JSON.
        needs: the least role in the workspace, `ANYONE` or `ANY_TOKEN`.
        summary: one line, for the OpenAPI document.
        body: what the body is: None for none, `bytes` for raw bytes, else a class that JSON is read into.
        answer: what the handler returns: a class, `bytes`, or None for nothing.
        params: what may stand in the query; anything else is refused.
        writes: whether it belongs to the threads that take in data, which slow queries never use up.
        cookie: whether a browser's cookie serves as its token.
        body_type: the media type of a raw body.
        answer_type: the media type of a raw answer.
        also: further statuses of good answers, with what they mean; for the OpenAPI document.
    """

    method: str
    path: str
    handler: Callable[[Call], Any]
    needs: Role | str
    summary: str
    body: type | None = None
    answer: Any = None
    params: tuple[Param, ...] = ()
    writes: bool = False
    cookie: bool = False
    body_type: str = BYTES
    answer_type: str = JSON
    also: Mapping[str, str] = _NOTHING


@attrs.frozen
class Call:
    """One request, checked: its token and role are good, its body is read.

    Attributes:
        service: what the server has.
        row: the route.
        method: as sent; HEAD where only the headers are wanted.
        path: the parameters in the path.
        query: the parameters in the query, with their types and defaults.
        headers: by names in lower case.
        body: raw bytes, the object that the row names, or None.
        principal: who calls; None where the route needs no token.
        request: the id of the request, which stands in the answer and in the log.
        secure: whether the request came by TLS, here or at the proxy.
    """

    service: Service
    row: Row
    method: str
    path: Mapping[str, str]
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    body: Any = None
    principal: Principal | None = None
    request: str = ""
    secure: bool = False

    @property
    def who(self) -> Principal:
        """Who calls, on a route that needs a token."""
        assert self.principal is not None
        return self.principal

    @property
    def workspace(self) -> str:
        """The name of the workspace."""
        return self.path["w"]

    @property
    def store(self) -> Store:
        """The store of the workspace."""
        return self.service.workspaces.store(self.workspace)

    @property
    def run(self) -> str:
        """The id of the run in the path.

        Raises:
            Refused: it is none.
        """
        return run_id(self.path["run"])

    def record(self, act: str, **about: Any) -> None:
        """Write what was done into the workspace's audit chain."""
        self.service.audit(self.workspace).record(self.who.actor, act, token=self.who.token, **about)


@attrs.frozen
class Answer:
    """What goes back, where it is not simply JSON.

    Attributes:
        body: bytes, pieces of bytes, or a value for JSON.
        status: of HTTP.
        type: media type.
        headers: further ones; their values must be plain ASCII without line breaks.
        size: of pieces, where it is known.
        compress: whether it may be compressed.
    """

    body: bytes | Iterator[bytes] | Any = b""
    status: int = 200
    type: str = JSON
    headers: Mapping[str, str] = _NOTHING
    size: int | None = None
    compress: bool = True


class Refused(Exception):  # noqa: N818 - it carries an error, it is none that gets out
    """A request that is answered by an error.

    Attributes:
        status: of HTTP.
        error: what was wrong.
        headers: further ones of the answer.
    """

    def __init__(self, status: int, error: Exception, headers: Mapping[str, str] = _NOTHING) -> None:
        self.status = status
        self.error = error
        self.headers = headers
        super().__init__(str(error))


def wrong(message: str) -> Refused:
    """A mistake in the request."""
    return Refused(400, UsageError(message))


def forbidden(message: str) -> Refused:
    """A role that does not allow it."""
    return Refused(403, AccessError(message))


def unknown_workspace(name: str) -> Refused:
    """The answer for a workspace that is not there, and for one in which the caller has no role."""
    return Refused(404, NotFoundError(f"no workspace {name[:80]!r}, or no role in it; `mlsdk whoami` shows yours"))


def run_id(text: str) -> str:
    """The id of a run.

    Raises:
        Refused: it is none: 32 lowercase hexadecimal digits.
    """
    if len(text) != 32 or not set(text) <= set("0123456789abcdef"):
        raise Refused(404, NotFoundError(f"no run {text[:80]!r}: an id has 32 hexadecimal digits"))
    return text


def checked(check: Callable[[str], str], value: str) -> str:
    """A name that a check of the store lets pass.

    Raises:
        Refused: it does not.
    """
    try:
        if any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in value) or len(value) > 500:
            raise StoreError(f"{value[:80]!r} is no name: it holds control characters, or is longer than 500")
        return check(value)
    except StoreError as error:
        raise Refused(400, error) from None


SECRETS = frozenset(["access_token", "api_key", "apikey", "auth", "authorization", "password", "secret", "token"])
"""Names under which people put tokens into URLs, where logs and proxies keep them."""

_MOST_PARAMS = 20
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no", "")


def decoder(row: Row) -> Callable[[bytes], Any]:
    """Reads the JSON of a row's bodies.

    Raises (the function it returns):
        Refused: it is no JSON, or not of that shape.
    """
    if row.body in (None, bytes):
        return bytes
    import msgspec

    reader: Any = msgspec.json.Decoder(row.body)

    def decode(data: bytes) -> Any:
        try:
            return reader.decode(data or b"{}")
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise wrong(f"the body is not what this route takes: {str(error)[:300]}") from None

    return decode


def query_of(row: Row, raw: bytes) -> dict[str, Any]:
    """The parameters of a query, with types and defaults.

    Raises:
        Refused: an unknown one, one given twice, or a value of another type.
    """
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=False,
            errors="strict",
            max_num_fields=_MOST_PARAMS,
        )
    except ValueError as error:
        raise wrong(f"the query of the URL cannot be read: {str(error)[:100]}") from None
    known = {param.name: param for param in row.params}
    found = {param.name: param.default for param in row.params}
    seen: set[str] = set()
    for name, value in pairs:
        if name not in known or name in seen:
            few = ", ".join(known) or "none"
            raise wrong(
                f"the parameter {name[:60]!r} is {'given twice' if name in seen else f'unknown here; known: {few}'}"
            )
        seen.add(name)
        found[name] = _typed(known[name], value)
    return found


def _typed(param: Param, value: str) -> Any:
    if param.type is int:
        if value.isascii() and value.isdigit() and len(value) < 19 and int(value) >= param.least:
            return int(value)
        raise wrong(f"{param.name} must be a whole number from {param.least} on, not {value[:40]!r}")
    if param.type is bool:
        if value.lower() in _TRUE or value.lower() in _FALSE:
            return value.lower() in _TRUE
        raise wrong(f"{param.name} must be 0 or 1, not {value[:40]!r}")
    return value


def secret_in(raw: bytes) -> str:
    """The name of a parameter in a query under which people put tokens; empty if there is none."""
    names = (pair.partition(b"=")[0].decode("latin-1").lower() for pair in raw.split(b"&"))
    return next((name for name in names if name.replace("-", "_") in SECRETS), "")


def token_in_url(name: str) -> Refused:
    """The answer to a token in a URL."""
    said = f"a token does not belong into a URL ({name}=…), where logs keep it: send `Authorization: Bearer <token>`."
    return Refused(400, UsageError(f"{said} Revoke that one, if it is real"))
