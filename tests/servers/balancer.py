"""A small TCP load balancer before several servers on loopback: each connection goes to the next one that takes it."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading


class Balancer:
    """Takes connections on `port`.

    Args:
        *ports: of the servers.
    """

    def __init__(self, *ports: int) -> None:
        self._next = itertools.cycle(ports)
        self._count = len(ports)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._start(self._accept)

    def __enter__(self) -> Balancer:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            open_ones = list(self._open)
        for one in open_ones:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _start(self, work, *arguments) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, self._server() or contextlib.nullcontext() as server:
            if server is None:
                return
            with self._lock:
                self._open |= {client, server}
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join(60)
            with self._lock:
                self._open -= {client, server}

    def _server(self) -> socket.socket | None:
        for _ in range(self._count):
            with self._lock:
                port = next(self._next)
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", port), timeout=None)
        return None


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until one side ends; then both do."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
