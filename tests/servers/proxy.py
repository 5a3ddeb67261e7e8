"""A bad network: a proxy before a server that drops, delays, doubles, cuts and answers by itself, as a test tells it.

    with Proxy(port) as proxy:
        proxy.next(cut_answer(100), answer(503))  # for the next two requests; the others pass
        proxy.always(delay(0.05))                 # until told otherwise
        proxy.down(); proxy.up()                  # connections are refused, and taken again on the same port
        proxy.sometimes({drop(): 0.1, duplicate(): 0.1}, seed=7)
        open_store(f"http://127.0.0.1:{proxy.port}/default")

It reads whole requests of HTTP/1.1 (a body by its length or in chunks) and passes answers on as they come, those
without an end too. It works with threads and plain sockets, for any server on loopback.
"""

from __future__ import annotations

import contextlib
import random
import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

CHUNK = 1 << 16


class Fault(NamedTuple):
    """What is done to one request."""

    kind: str
    seconds: float = 0.0
    size: int = 0
    data: bytes = b""


class Request(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    head: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header."""
        found = re.search(rb"\r\n" + re.escape(name.encode()) + rb":[ \t]*([^\r\n]*)", self.head, re.IGNORECASE)
        return found[1].decode("latin-1") if found else None


def drop() -> Fault:
    """The connection breaks before the server hears of the request."""
    return Fault("drop")


def lose_answer() -> Fault:
    """The server does what is asked, and the client never hears of it."""
    return Fault("cut answer", size=-1)


def cut_answer(size: int = 0) -> Fault:
    """The answer breaks off after so many bytes of its body."""
    return Fault("cut answer", size=size)


def cut_request(size: int = 0) -> Fault:
    """The request breaks off after so many bytes of its body."""
    return Fault("cut request", size=size)


def delay(seconds: float) -> Fault:
    """The request arrives later."""
    return Fault("delay", seconds=seconds)


def hang(seconds: float = 3600.0) -> Fault:
    """Nothing comes back for so long, then the connection breaks."""
    return Fault("hang", seconds=seconds)


def duplicate() -> Fault:
    """The server gets the request twice; the client gets the second answer."""
    return Fault("duplicate")


def alter_request(at: int = 40) -> Fault:
    """Something on the way turns a bit of the request's body around."""
    return Fault("alter request", size=at)


def alter_answer(at: int = 10) -> Fault:
    """Something on the way turns a bit of the answer's body around."""
    return Fault("alter answer", size=at)


def answer(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Fault:
    """The proxy answers by itself."""
    lines = [f"HTTP/1.1 {status} Proxy", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return Fault("answer", data="\r\n".join([*lines, "", ""]).encode("latin-1") + body)


class Proxy:
    """See above. All methods may be called from any thread.

    Args:
        port: of the server, on loopback. None for none: then it can only answer by itself.
        at: its own port; by default any free one.

    Attributes:
        port: of the proxy.
        requests: all that came, in order.
        only: says which requests faults are for; by default all.
    """

    def __init__(self, port: int | None = None, at: int = 0) -> None:
        self._server = port
        self.requests: list[Request] = []
        self.connections = 0
        self.only: Callable[[Request], bool] = lambda _: True
        self._next: deque[Fault] = deque()
        self._always: Fault | None = None
        self._chances: dict[Fault, float] = {}
        self._random = random.Random(0)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = at
        self.up()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # what tests say

    def next(self, *faults: Fault) -> None:
        """Do these to the next requests, one each."""
        self._next.extend(faults)

    def always(self, fault: Fault | None) -> None:
        """Do this to every request from now on; None for nothing."""
        self._always = fault

    def sometimes(self, chances: Mapping[Fault, float], seed: int = 0) -> None:
        """Do each of these to so large a part of the requests; nothing for none."""
        self._chances, self._random = dict(chances), random.Random(seed)

    def calm(self) -> None:
        """Let everything pass."""
        self._next.clear()
        self._always, self._chances = None, {}

    def down(self) -> None:
        """Refuse connections, and break those that there are."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
            listener.close()
        with self._lock:
            sockets = list(self._sockets)
        for one in sockets:
            _break(one)

    def up(self) -> None:
        """Take connections, on the same port as before."""
        if self._listener is not None:
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        self.port, self._listener = listener.getsockname()[1], listener
        self._start(self._accept, listener)

    def close(self) -> None:
        """End, with all connections and threads."""
        self._ended.set()
        self.down()
        for thread in self._threads:
            thread.join(5)

    # what it does

    def _start(self, work: Callable[..., None], *about: object) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=work, args=about, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.connections += 1
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        server = _Lazy(self._server)
        try:
            with self._kept(client):
                reader = client.makefile("rb")
                while (request := _read(reader)) is not None:
                    self.requests.append(request)
                    if not self._pass(request, client, server):
                        break
                client.shutdown(socket.SHUT_RDWR)
        except Cut:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)  # what was passed on arrives; a connection that breaks may lose it
        except (Broken, OSError, ValueError):
            _break(client)
        finally:
            client.close()
            server.close()

    @contextlib.contextmanager
    def _kept(self, one: socket.socket):
        with self._lock:
            self._sockets.add(one)
        try:
            yield
        finally:
            with self._lock:
                self._sockets.discard(one)

    def _fault(self, request: Request) -> Fault:
        with self._lock:
            if not self.only(request):
                return Fault("pass")
            if self._next:
                return self._next.popleft()
            drawn = self._random.random()
            for fault, chance in self._chances.items():
                if drawn < chance:
                    return fault
                drawn -= chance
            return self._always or Fault("pass")

    def _pass(self, request: Request, client: socket.socket, server: _Lazy) -> bool:
        """Pass one request on; False if the connection is not to be used any more."""
        fault = self._fault(request)
        match fault.kind:
            case "drop":
                raise Broken
            case "delay":
                self._ended.wait(fault.seconds)
            case "hang":
                self._ended.wait(fault.seconds)
                raise Broken
            case "answer":
                client.sendall(fault.data)
                return True
            case "cut request":
                server.open().sendall(request.head + request.body[: fault.size])
                raise Broken
            case "duplicate":
                other = _Lazy(self._server)
                other.open().sendall(request.head + request.body)
                _answered(other.open(), None, request.method)
                other.close()
        body = _altered(request.body, fault.size) if fault.kind == "alter request" else request.body
        server.open().sendall(request.head + body)
        most = fault.size if fault.kind == "cut answer" else None
        altered = fault.size if fault.kind == "alter answer" else None
        return _answered(server.open(), client, request.method, most, altered)


class Broken(Exception):  # noqa: N818 - it is what was asked for
    """A connection is to break."""


class Cut(Broken):
    """A connection is to end in the middle of an answer."""


class _Lazy:
    """The connection to the server, opened when it is needed."""

    def __init__(self, port: int | None) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def open(self) -> socket.socket:
        if self._socket is None:
            if self._port is None:
                raise OSError("there is no server behind this proxy")
            self._socket = socket.create_connection(("127.0.0.1", self._port))
        return self._socket

    def close(self) -> None:
        if self._socket is not None:
            _break(self._socket)


def _read(reader) -> Request | None:
    """The next request of a connection; None at its end."""
    lines = [reader.readline()]
    while lines[-1] not in (b"\r\n", b""):
        lines.append(reader.readline())
    head = b"".join(lines)
    if not lines[-1]:
        return None
    method, path, _ = head.split(b" ", 2)
    body = b""
    if length := re.search(rb"\r\ncontent-length:\s*(\d+)", head, re.IGNORECASE):
        body = reader.read(int(length[1]))
        if len(body) < int(length[1]):
            return None
    elif re.search(rb"\r\ntransfer-encoding:\s*chunked", head, re.IGNORECASE):
        while True:
            line = reader.readline()
            body += line + reader.read(int(line, 16) + 2)
            if int(line, 16) == 0:
                break
    return Request(method.decode(), path.decode("latin-1"), head, body)


def _altered(body: bytes, at: int) -> bytes:
    """A body with one bit turned around, the last one's if it is shorter."""
    at = min(at, len(body) - 1)
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :] if body else body


def _answered(
    server: socket.socket,
    client: socket.socket | None,
    method: str,
    most: int | None = None,
    altered: int | None = None,
) -> bool:
    """Pass an answer on as it comes; False if it was the last of its connection. `most` cuts its body, -1 its head.

    `altered` says where a bit of the body is turned around, within its first piece.

    Raises:
        Broken: it was cut.
    """
    head = b""
    while b"\r\n\r\n" not in head:
        data = server.recv(CHUNK)
        if not data:
            return False
        head += data
    head, _, body = head.partition(b"\r\n\r\n")
    head += b"\r\n\r\n"
    if most == -1:
        raise Broken
    if client is not None:
        client.sendall(head)
    status = int(head.split(b" ", 2)[1])
    length = re.search(rb"\r\ncontent-length:\s*(\d+)", head, re.IGNORECASE)
    chunked = re.search(rb"\r\ntransfer-encoding:\s*chunked", head, re.IGNORECASE)
    left = 0 if method == "HEAD" or status in (204, 304) else int(length[1]) if length else None
    sent, end = 0, b"\r\n"
    while True:
        if altered is not None and body:
            body, altered = _altered(body, altered), None
        if client is not None and body:
            client.sendall(body if most is None else body[: max(0, most - sent)])
        sent += len(body)
        end = (end + body)[-7:]
        if most is not None and sent >= most:
            raise Cut
        if (left is not None and sent >= left) or (left is None and chunked and end.endswith(b"\r\n0\r\n\r\n")):
            return b"connection: close" not in head.lower()
        body = server.recv(CHUNK)
        if not body:
            return False


def _break(one: socket.socket) -> None:
    """Close so that the other side sees a connection that broke, not one that ended."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RDWR)
    one.close()
