"""The ASGI application: the routes of the table, each behind the same gate of token, role, rate and limits."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mlsdk.errors import AccessError, UnavailableError, UsageError
from mlsdk.server import bodies
from mlsdk.server.accounts import Principal, Role
from mlsdk.server.answers import Send, of_error, send_answer, send_stream, threaded
from mlsdk.server.bodies import Gone, Receive
from mlsdk.server.calls import ANYONE, HTML, Answer, Call, Refused, Row, decoder, forbidden, query_of, unknown_workspace
from mlsdk.server.guard import Guard
from mlsdk.server.journal import Journal
from mlsdk.server.limits import MIB
from mlsdk.server.service import Service
from mlsdk.server.system import check_api
from mlsdk.server.tokens import token_in

if TYPE_CHECKING:
    from starlette.types import ASGIApp

Scope = MutableMapping[str, Any]

_SIGNING = "/auth/"
"""Paths of signing in, for people who have no token yet."""


def make_app(service: Service, journal: Journal | None = None, rows: Sequence[Row] | None = None) -> ASGIApp:
    """The application.

    Args:
        service: what it works with.
        journal: where requests and errors are written; by default nowhere.
        rows: the routes; by default all of `mlsdk.server.routes`.

    Raises:
        UsageError: a package that it needs is not installed.
    """
    needed("starlette", "msgspec")
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    if rows is None:
        from mlsdk.server.routes import ROWS

        rows = ROWS
    journal = journal or Journal(None)
    service.rows = tuple(rows)
    endpoints = [Route(row.path, _Endpoint(row, service, journal), methods=[row.method]) for row in rows]
    app = Starlette(routes=endpoints, exception_handlers={HTTPException: _unrouted})
    app.router.redirect_slashes = False
    return Guard(app, service, journal)


def needed(*packages: str) -> None:
    """See that packages of the extra `server` are there.

    Raises:
        UsageError: one is not.
    """
    import importlib

    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise UsageError(f"the server needs {package}: pip install 'mlsdk[server]'") from error


async def _unrouted(request: Any, error: Any) -> Any:
    """No such path, or not with this method."""
    from starlette.responses import Response

    from mlsdk.server.answers import json_bytes

    status = error.status_code
    allowed = {"Allow": error.headers["Allow"]} if error.headers and "Allow" in error.headers else {}
    said = f"there is nothing at this path for {request.method}; /openapi.json lists what there is"
    kind = "NotFoundError" if status == 404 else "UsageError"
    about = {"error": {"type": kind, "message": said, "request": request.scope.get("mlsdk.request", "")}}
    return Response(json_bytes(about), status, {**allowed, "content-type": "application/json"})


class _Endpoint:
    """One route as an ASGI application."""

    def __init__(self, row: Row, service: Service, journal: Journal) -> None:
        self.row, self.service, self.journal = row, service, journal
        self._threads = service.writes if row.writes else service.reads
        if row.needs == ANYONE:  # never held up by queries, and never holding them up
            self._threads = service.signing if row.path.startswith(_SIGNING) else service.gate
        self._decode = decoder(row)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["mlsdk.route"] = self.row.path
        headers = scope["mlsdk.headers"]
        with contextlib.ExitStack() as stack:
            held = stack.enter_context(bodies.holding(self.service.held))
            try:
                call = await self._call(scope, receive, headers, held, stack)
                answer = await self._work(call)
                if isinstance(answer.body, bytes) and len(answer.body) > MIB and not held.take(len(answer.body)):
                    raise bodies.full()
            except Gone:
                return
            except Exception as error:  # whatever it is, the client gets an answer and the log the reason
                answer = self._failed(error, scope)
            actor = scope.get("mlsdk.actor", "")
            run = partial(self._run, actor=actor)
            if isinstance(answer.body, AsyncIterator):
                scope["mlsdk.slot"].give()  # it may go on for days: streams are counted by themselves
                await send_stream(answer, answer.body, receive, send)
            elif isinstance(answer.body, Iterator):
                await send_stream(answer, threaded(answer.body, run), receive, send)
            else:
                await send_answer(answer, headers.get("accept-encoding", ""), scope["method"], send, run)

    async def _call(
        self, scope: Scope, receive: Receive, headers: Mapping[str, str], held: Any, stack: contextlib.ExitStack
    ) -> Call:
        """The request, checked: what costs least first, so that a stranger's body is never read."""
        row, service = self.row, self.service
        principal = await self._authenticated(scope, headers)
        if principal is not None:
            self._check_rate(service.rates.wait_s(principal.token), "with this token; send fewer, or larger ones")
            if not service.shares.take(principal.actor):
                self._check_rate(1.0, f"of {principal.actor} are under way")
            stack.callback(service.shares.give, principal.actor)
        elif row.path.startswith(_SIGNING):
            self._check_rate(service.strangers.wait_s(scope["mlsdk.address"]), "from this address")
        if row.path.startswith("/v1"):
            check_api(headers)
        if "w" in scope["path_params"]:
            await self._check_role(principal, scope["path_params"]["w"])
        query = query_of(row, scope["query_string"])
        body = await self._body(receive, headers, held)
        return Call(
            service=service,
            row=row,
            method=scope["method"],
            path=scope["path_params"],
            query=query,
            headers=headers,
            body=body,
            principal=principal,
            request=scope["mlsdk.request"],
            secure=service.secure or scope.get("scheme") == "https",
        )

    async def _authenticated(self, scope: Scope, headers: Mapping[str, str]) -> Principal | None:
        if self.row.needs == ANYONE:
            return None
        secret = token_in(headers, cookie=self.row.cookie)
        principal = self.service.access.at_once(secret)
        if principal is None:
            loop = asyncio.get_running_loop()
            strangers, address = self.service.strangers, scope["mlsdk.address"]
            self._check_rate(strangers.wait_s(address, look=True), "without a valid token from this address")
            try:
                principal = await loop.run_in_executor(self.service.gate.pool, self.service.access.authenticate, secret)
            except AccessError as error:
                strangers.wait_s(address)
                raise Refused(401, error) from None
        scope["mlsdk.actor"], scope["mlsdk.token"] = principal.actor, principal.token
        return principal

    def _check_rate(self, wait_s: float, which: str) -> None:
        """Whoever has to wait is told so, and for how long.

        Raises:
            Refused: it is not their turn.
        """
        if wait_s:
            self.service.metrics.add("refused")
            raise Refused(429, UnavailableError(f"too many requests {which}", wait_s))

    async def _check_role(self, principal: Principal | None, workspace: str) -> None:
        needs = self.row.needs
        role = None if principal is None else principal.role(workspace)
        if role is None or not self.service.has(workspace):
            raise unknown_workspace(workspace)
        if isinstance(needs, Role) and role < needs:
            if needs is Role.ADMIN and principal is not None:
                tried = partial(self.service.record_refusal, principal, f"{self.row.method} {self.row.path}")
                await self._run(partial(tried, workspace=workspace))
            raise forbidden(
                f"this needs the role {needs.name.lower()} in {workspace!r}; yours is {role.name.lower()}."
                " An admin of the workspace can change that"
            )

    async def _body(self, receive: Receive, headers: Mapping[str, str], held: Any) -> Any:
        row, limits = self.row, self.service.limits
        if row.body is None:
            return None
        is_raw = row.body is bytes
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        wanted = row.body_type if is_raw else "application/json"
        if kind != wanted:
            raise Refused(415, UsageError(f"Content-Type must be {wanted} here, not {kind[:80]!r}"))
        most = limits.form_bytes if row.needs == ANYONE else limits.body_bytes if is_raw else limits.json_bytes
        pieces = await bodies.read(receive, headers, limits, most, held)
        encoding = headers.get("content-encoding", "").strip().lower()
        largest = limits.inflated_bytes if is_raw else limits.json_bytes
        if not is_raw:
            return self._decode(bodies.inflated(pieces, encoding, largest))
        if not encoding:
            return b"".join(pieces)
        whole = await self._run(lambda: bodies.inflated(pieces, encoding, largest, held))
        pieces.clear()
        return whole

    async def _work(self, call: Call) -> Answer:
        result = await self._run(lambda: self.row.handler(call), actor=call.principal.actor if call.principal else "")
        return result if isinstance(result, Answer) else Answer(result)

    async def _run(self, work: Callable[[], Any], actor: str = "") -> Any:
        """Do blocking work in one of the row's threads; it may take `request_s`, with waiting for the actor's turn."""
        try:
            return await asyncio.wait_for(self._done(work, actor), self.service.limits.request_s)
        except asyncio.TimeoutError:
            busy = f"this took longer than {self.service.limits.request_s:g} s; ask for less, or come again"
            raise Refused(503, UnavailableError(busy, 5.0)) from None

    async def _done(self, work: Callable[[], Any], actor: str) -> Any:
        """Work done in a thread. One actor gets so many threads at once that there are some left for others."""
        loop, turn = asyncio.get_running_loop(), self._threads.turn(actor)
        await turn.acquire()
        try:
            done = loop.run_in_executor(self._threads.pool, self._threads.counted(work))
        except BaseException:
            turn.release()
            raise
        # Also of work that nobody waits for any more: it has the thread until it is done.
        done.add_done_callback(lambda _: turn.release())
        done.add_done_callback(lambda late: late.cancelled() or late.exception())  # if nobody else looks
        return await asyncio.shield(done)

    def _failed(self, error: Exception, scope: Scope) -> Answer:
        answer = of_error(error, scope["mlsdk.request"])
        if answer.status >= 500 and not isinstance(error, Refused):
            self.journal.error(scope["mlsdk.request"], "".join(traceback.format_exception(error)))
        if self.row.answer_type == HTML and self.row.cookie:
            from mlsdk.server.pages import failure

            return failure(answer, scope["path"], elsewhere=self.service.sign_in is not None)
        return answer
