"""Sending answers: JSON, bytes and pieces of bytes, compressed where the client takes it; and errors."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any

from mlsdk import errors
from mlsdk.errors import ConflictError, MlsdkError, QueryError, UnavailableError
from mlsdk.server.calls import BYTES, JSON, Answer, Refused

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Run = Callable[[Callable[[], Any]], Awaitable[Any]]

_WORTH_BYTES = 1_400
"""What fits into one packet is not compressed."""

_PIECE_BYTES = 1 << 18
"""Large answers are sent in such pieces, so that a client who does not take them shows."""

_INERT = "default-src 'none'; sandbox"

_ECHO = 4_000
"""Of a filter that is refused, so much is sent back."""

_STATUS = (
    (errors.UsageError, 400),
    (errors.QueryError, 400),
    (errors.FormatError, 400),
    (errors.NotFoundError, 404),
    (errors.AccessError, 403),
    (errors.ConflictError, 409),
    (errors.ReadOnlyError, 403),
    (errors.UnavailableError, 503),
)


def json_bytes(value: object) -> bytes:
    """A value as JSON: mappings, lists, text, numbers, attrs classes."""
    import msgspec

    return msgspec.json.encode(value)


def described(error: Exception) -> dict[str, Any]:
    """An error as clients get it: `mlsdk.store.http` makes the same error of it again."""
    about: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, ConflictError):
        about |= {"log": error.log, "end": error.end}
    if isinstance(error, QueryError):
        about |= {"message": str(error).partition("\n")[0], "text": error.text[:_ECHO], "position": error.position}
    if isinstance(error, UnavailableError):
        about["retry_after_s"] = error.retry_after_s
    return about


def of_error(error: Exception, request: str) -> Answer:
    """The answer for an error. What a lower layer says of paths and hosts is not passed on.

    Args:
        error: what was raised.
        request: the id under which the whole is found in the server's log.
    """
    status, headers = 500, {}
    if isinstance(error, Refused):
        status, headers, error = error.status, dict(error.headers), error.error
    elif isinstance(error, MlsdkError):
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
        if status == 503:
            wait = error.retry_after_s if isinstance(error, UnavailableError) else None
            error = UnavailableError(f"the server's store cannot be reached at present; request {request}", wait or 1.0)
    if status == 500:
        error = errors.StoreError(f"the server could not do this; its log says why, under request {request}")
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, UnavailableError) and error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return Answer({"error": {**described(error), "request": request}}, status, JSON, headers)


async def send_answer(answer: Answer, accepted: str, method: str, send: Send, run: Run) -> None:
    """Send an answer that is whole.

    Args:
        answer: the answer.
        accepted: what the client says in `Accept-Encoding`.
        method: of the request; for HEAD only the headers are sent.
        send: of ASGI.
        run: does blocking work in a thread.
    """
    body: Any = answer.body
    headers = _headers(answer)
    encoding = _encoding(accepted) if answer.compress else ""
    if not isinstance(body, bytes):
        body = json_bytes(body)
    if encoding and len(body) > _WORTH_BYTES and method != "HEAD":
        plain = body
        body = await run(lambda: packed(plain, encoding))
        headers["content-encoding"] = encoding
    if answer.compress:
        headers["vary"] = "Accept-Encoding"
    if answer.status not in (204, 304):
        headers["content-length"] = str(len(body) if answer.size is None else answer.size)
    await send({"type": "http.response.start", "status": answer.status, "headers": raw(headers)})
    for at in range(0, 0 if method == "HEAD" else len(body) - _PIECE_BYTES, _PIECE_BYTES):
        await send({"type": "http.response.body", "body": body[at : at + _PIECE_BYTES], "more_body": True})
    last = b"" if method == "HEAD" else body[max(0, (len(body) - 1) // _PIECE_BYTES * _PIECE_BYTES) :]
    await send({"type": "http.response.body", "body": last})


async def threaded(pieces: Iterator[bytes], run: Run) -> AsyncIterator[bytes]:
    """Pieces that are read in a thread, one by one, as they are sent."""
    try:
        while (piece := await run(lambda: next(pieces, None))) is not None:
            yield piece
    finally:
        # A thread may be at a piece still, when the client has gone: then the rest is let go of with the pieces.
        with contextlib.suppress(AttributeError, ValueError):
            pieces.close()  # type: ignore[attr-defined]


async def send_stream(answer: Answer, pieces: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
    """Send pieces as they come, until there are no more or the client has gone."""
    import asyncio

    async def flow() -> None:
        async with contextlib.aclosing(pieces):  # type: ignore[type-var]
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})

    async def departure() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    headers = _headers(answer)
    if answer.size is not None:
        headers["content-length"] = str(answer.size)
    await send({"type": "http.response.start", "status": answer.status, "headers": raw(headers)})
    tasks = [asyncio.ensure_future(flow()), asyncio.ensure_future(departure())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await send({"type": "http.response.body", "body": b""})


def _headers(answer: Answer) -> dict[str, str]:
    """Of one answer. What people have sent is never shown as a page, whatever a browser takes it for."""
    shown = {"content-security-policy": _INERT, "content-disposition": "attachment"} if answer.type == BYTES else {}
    return {"content-type": answer.type, **shown, **answer.headers}


def raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers for ASGI.

    Raises:
        ValueError: one holds what no header may hold: a handler built it from what a user said.
    """
    for name, value in headers.items():
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"the header {name} would hold {value!r}")
    return [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers.items()]


def packed(body: bytes, encoding: str) -> bytes:
    """A body, compressed: quickly rather than well."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    return packer.compress(body) + packer.flush()


def _encoding(accepted: str) -> str:
    offered = {
        part.partition(";")[0].strip().lower() for part in accepted.split(",") if "q=0" not in part.split(";")[1:]
    }
    return next((one for one in ("gzip", "deflate") if one in offered), "")
