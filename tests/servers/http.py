"""A server of ours over a store, on a free loopback port: in a thread of the tests' process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from mlsdk.server.accounts import Role
from mlsdk.server.journal import Journal
from mlsdk.server.limits import Limits
from mlsdk.server.listen import bind, server
from mlsdk.server.logs import HEAD, PIECES
from mlsdk.server.service import Service
from mlsdk.server.workspaces import Workspaces


class Running:
    """A server that runs.

    Attributes:
        url: its origin, `http://127.0.0.1:<port>`.
        service: what it works with; its stores are at hand in the tests' process.
        token: of the operator.
    """

    def __init__(self, url: str, service: Service, token: str) -> None:
        self.url, self.service, self.token = url, service, token

    def session(self, token: str | None = None) -> Session:
        """Calls with a token, by default the operator's; the empty text for none."""
        return Session(self.url, self.token if token is None else token)

    def token_of(self, actor: str, workspace: str, role: Role, **options: Any) -> str:
        """Somebody with a role in a workspace, which is made; returns a token of theirs."""
        self.service.access.make_workspace("operator", workspace)
        self.service.access.set_member("operator", workspace, actor, role)
        return self.service.access.make_token("operator", actor, {workspace: role}, **options)[1]


class Session(requests.Session):
    """Requests to one server, by path."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__()
        self.trust_env = False
        self.url = url
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def append(self, body: bytes, workspace: str = "default", **headers: str) -> requests.Response:
        """Append pieces of logs."""
        told = {"Content-Type": PIECES, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.post(f"/v1/w/{workspace}/append", data=body, headers=told)

    def request(self, method: str, path: str, *args: Any, **options: Any) -> requests.Response:  # type: ignore[override]
        """See `requests.Session.request`; a path is one of this server."""
        options.setdefault("timeout", 30)
        return super().request(method, self.url + path if path.startswith("/") else path, *args, **options)


@contextmanager
def running(
    uri: str, limits: Limits | None = None, journal: Journal | None = None, **options: Any
) -> Iterator[Running]:
    """A server over the store of a URI."""
    service = Service(Workspaces(uri), limits or Limits(rate_per_s=0))
    made = service.access.first_operator("operator")
    token = made[1] if made else service.access.make_token("operator", "operator", {"*": Role.ADMIN})[1]
    socket = bind("127.0.0.1", 0)
    one = server(service, journal, **options)
    thread = threading.Thread(target=one.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not one.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    try:
        scheme = "https" if options.get("tls") else "http"
        yield Running(f"{scheme}://127.0.0.1:{socket.getsockname()[1]}", service, token)
    finally:
        service.stop()
        one.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server did not stop"


def pieces(*parts: tuple[str, int, bytes]) -> bytes:
    """The body of an append."""
    names = [(name.encode("utf-8", "surrogatepass"), offset, data) for name, offset, data in parts]
    return b"".join(HEAD.pack(len(name), offset, len(data)) + name + data for name, offset, data in names)
