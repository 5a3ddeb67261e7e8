"""Reading the body of a request: never more than the limits, never slower than is bearable."""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any

from mlsdk.errors import FormatError, UnavailableError, UsageError
from mlsdk.server.calls import Refused
from mlsdk.server.limits import Gauge, Limits

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


_OUT_BYTES = 1 << 20
"""Unpacked at once: each part is counted before the next."""


class Gone(Exception):  # noqa: N818 - nobody is left who could be told of an error
    """The client went away."""


async def read(receive: Receive, headers: Mapping[str, str], limits: Limits, most: int, held: Gauge) -> list[bytes]:
    """The pieces of a body as they came.

    Args:
        receive: of ASGI.
        headers: of the request.
        limits: how slow it may be.
        most: bytes that it may have.
        held: takes the bytes; whoever calls gives them back, also after an error.

    Raises:
        Refused: too much, too slow, or too many at once.
        Gone: the client went away.
    """
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise too_large(most)
    pieces: list[bytes] = []
    size, begun = 0, time.monotonic()
    while True:
        try:
            message = await asyncio.wait_for(receive(), limits.idle_s)
        except asyncio.TimeoutError:
            raise _too_slow(limits) from None
        if message["type"] == "http.disconnect":
            raise Gone
        piece = message.get("body", b"")
        if piece:
            size += len(piece)
            if size > most:
                raise too_large(most)
            if not held.take(len(piece)):
                raise full()
            pieces.append(piece)
        if not message.get("more_body"):
            return pieces
        took = time.monotonic() - begun - limits.settle_s
        if took > 0 and size < took * limits.least_bytes_per_s:
            raise _too_slow(limits)


def too_large(most: int) -> Refused:
    """The answer to a body that is too large; the rest of it is not read."""
    error = UsageError(f"the body is larger than {most:,} bytes, which is what this server takes; send less at once")
    return Refused(413, error, {"Connection": "close"})


def _too_slow(limits: Limits) -> Refused:
    error = UnavailableError(
        f"the body came too slowly: the server waits {limits.idle_s:g} s for a byte, and wants"
        f" {limits.least_bytes_per_s:,} bytes a second in the long run",
        1.0,
    )
    return Refused(408, error, {"Connection": "close"})


def inflated(pieces: list[bytes], encoding: str, most: int, held: Gauge | None = None) -> bytes:
    """The body itself.

    Args:
        pieces: as they came.
        encoding: `Content-Encoding`: `deflate` (zlib), `gzip`, or nothing.
        most: bytes that it may have in the end; a bomb stops there.
        held: takes the bytes as they come; whoever calls gives them back.

    Raises:
        Refused: an encoding that the server does not know, too much, or too much at once.
        FormatError: it is not what it says.
    """
    if encoding in ("", "identity"):
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if encoding not in ("deflate", "gzip"):
        error = UsageError(f"Content-Encoding {encoding[:40]!r} is not known here; use deflate, gzip or none")
        raise Refused(415, error)
    return b"".join(_taken(_unpacked(pieces, encoding, most), held))


def _taken(parts: Iterator[bytes], held: Gauge | None) -> Iterator[bytes]:
    for part in parts:
        if held is not None and not held.take(len(part)):
            raise full()
        yield part


def full() -> Refused:
    """The answer where there is no memory for more at present."""
    busy = UnavailableError("the server holds as many requests as it can; come again", 2.0)
    return Refused(503, busy, {"Connection": "close"})


def _unpacked(pieces: list[bytes], encoding: str, most: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(31 if encoding == "gzip" else 15)
    size = 0
    for piece in pieces:
        left = piece
        while left and not inflater.eof:
            try:
                out = inflater.decompress(left, min(most - size + 1, _OUT_BYTES))
            except zlib.error as error:
                raise FormatError(f"the body is not {encoding}: {error}") from None
            left, size = inflater.unconsumed_tail, size + len(out)
            if size > most:
                raise too_large(most)
            yield out
    if not inflater.eof or inflater.unused_data:
        raise FormatError(f"the body is not one whole {encoding} stream")


@contextlib.contextmanager
def holding(held: Gauge) -> Iterator[Gauge]:
    """Count what one request takes, and give it back when the request is done."""
    own = _Counted(held)
    try:
        yield own
    finally:
        held.give(own.used)


class _Counted(Gauge):
    """What one request has taken of a gauge of all."""

    def __init__(self, whole: Gauge) -> None:
        super().__init__(whole.limit)
        self._whole = whole

    def take(self, amount: int = 1) -> bool:
        """See `Gauge.take`."""
        taken = self._whole.take(amount)
        self.used += amount if taken else 0
        return taken
