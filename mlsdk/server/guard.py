"""Around all routes: an id for each request, the headers of each answer, sizes of URLs and headers, the log."""

from __future__ import annotations

import os
import re
import time
import traceback
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from mlsdk.errors import UnavailableError, UsageError
from mlsdk.log.frames import FORMAT_VERSION
from mlsdk.server.answers import Send, of_error, raw, send_answer
from mlsdk.server.bodies import Receive
from mlsdk.server.calls import Refused, secret_in, token_in_url
from mlsdk.server.journal import Journal
from mlsdk.server.limits import Gauge
from mlsdk.server.service import Service
from mlsdk.version import VERSION

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_ALWAYS = raw(
    {
        "Mlsdk-Api": "1",
        "Mlsdk-Format": str(FORMAT_VERSION),
        "Mlsdk-Version": VERSION,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "same-origin",
        "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
        "Cache-Control": "no-store",
    }
)

_CLOSE = {"Connection": "close"}

_TOKEN = re.compile(r"mlsdk_\w+")
"""What looks like a token of ours: somebody may put it where it does not belong."""

_FREE = ("/health", "/ready")
"""Answered also when as many requests are under way as may be."""

_DOORS = ("/auth/", "/static/")
"""What strangers may call: it has slots of its own, so that they do not take those of members."""


class _Slot:
    """The right to be under way, given back once."""

    def __init__(self, gauge: Gauge | None) -> None:
        self._gauge = gauge

    def give(self) -> None:
        gauge, self._gauge = self._gauge, None
        if gauge is not None:
            gauge.give()


class Guard:
    """An ASGI application around another one.

    Args:
        app: the routes.
        service: what the server has.
        journal: where requests are written down.
    """

    def __init__(self, app: ASGIApp, service: Service, journal: Journal) -> None:
        self.app, self.service, self.journal = app, service, journal

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:  # no websockets here
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self.service.stop()
                self.service.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _request(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        begun, request = time.perf_counter(), os.urandom(8).hex()
        scope["mlsdk.request"] = request
        sent = {"status": 0, "bytes": 0}

        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                sent["status"] = message["status"]
                own = {name for name, _ in message["headers"]}
                extra = [pair for pair in _ALWAYS if pair[0] not in own]
                message["headers"] = [*message["headers"], *extra, (b"x-request-id", request.encode())]
            elif message["type"] == "http.response.body":
                sent["bytes"] += len(message.get("body", b""))
            await send(message)

        scope["mlsdk.slot"] = _Slot(None)
        try:
            headers = self._headers(scope)
            scope["mlsdk.headers"] = headers
            self._come_from(scope, headers)
            scope["mlsdk.slot"] = self._slot(scope["path"])
            await self.app(scope, receive, counted)
        except Refused as refused:
            await send_answer(of_error(refused, request), "", scope["method"], counted, _none)
        except Exception as error:  # a mistake of ours, or a client that went away: the server goes on
            self.journal.error(request, "".join(traceback.format_exception(error)))
            if not sent["status"]:
                await send_answer(of_error(error, request), "", scope["method"], counted, _none)
            else:  # the answer has begun: only breaking it off tells the client
                raise
        finally:
            scope["mlsdk.slot"].give()
            self._note(scope, sent, time.perf_counter() - begun)

    def _slot(self, path: str) -> _Slot:
        """The right to be under way.

        Raises:
            Refused: too many are.
        """
        if path in _FREE:
            return _Slot(None)
        gauge = self.service.doors if path.startswith(_DOORS) else self.service.requests
        if not gauge.take():
            self.service.metrics.add("refused")
            raise Refused(503, UnavailableError("as many requests are under way as this server takes", 1.0))
        return _Slot(gauge)

    def _come_from(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> None:
        """From where a request came, and how: behind a proxy, what that one says, and nobody before it."""
        client = scope.get("client")
        address = client[0] if client else ""
        if self.service.proxied:
            address = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()[:60] or address
            scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
            scope["scheme"] = scheme if scheme in ("http", "https") else scope.get("scheme", "http")
        scope["mlsdk.address"] = address

    def _headers(self, scope: MutableMapping[str, Any]) -> dict[str, str]:
        """The headers, by names in lower case.

        Raises:
            Refused: they, or the URL, are too long; or the URL holds a token.
        """
        limits = self.service.limits
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > limits.url_bytes:
            raise Refused(414, UsageError(f"the URL is longer than {limits.url_bytes:,} bytes"))
        if sum(len(name) + len(value) for name, value in scope["headers"]) > limits.header_bytes:
            raise Refused(431, UsageError(f"the headers are longer than {limits.header_bytes:,} bytes"))
        name = secret_in(scope["query_string"])
        if name:
            raise token_in_url(name)
        found: dict[str, str] = {}
        for key, value in scope["headers"]:
            text = key.decode("latin-1").lower()
            if text in ("authorization", "content-length", "content-type", "content-encoding") and text in found:
                raise Refused(400, UsageError(f"the header {text} is given twice"), _CLOSE)
            if text == "transfer-encoding" and (text in found or value.strip().lower() != b"chunked"):
                raise Refused(400, UsageError("Transfer-Encoding may be chunked, and nothing else"), _CLOSE)
            joint = "; " if text == "cookie" else ", "
            found[text] = f"{found[text]}{joint}{value.decode('latin-1')}" if text in found else value.decode("latin-1")
        if "transfer-encoding" in found and "content-length" in found:  # a proxy may have read it in the other way
            raise Refused(400, UsageError("a request has a Content-Length or a Transfer-Encoding, not both"), _CLOSE)
        return found

    def _note(self, scope: MutableMapping[str, Any], sent: dict[str, int], took_s: float) -> None:
        status = sent["status"] or 499
        route = scope.get("mlsdk.route", "other")
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "PUT", "DELETE") else "other"
        self.service.metrics.request(method, route, status, took_s)
        self.journal.request(
            request=scope["mlsdk.request"],
            address=scope.get("mlsdk.address"),
            actor=scope.get("mlsdk.actor"),
            token=scope.get("mlsdk.token"),
            method=scope["method"][:20],
            route=route,
            path=_TOKEN.sub("mlsdk_…", scope["path"][:300]),
            status=status,
            bytes=sent["bytes"],
            ms=round(took_s * 1000, 2),
        )


async def _none(work: Any) -> Any:
    """Errors are short: nothing of them is done in a thread."""
    return work()
