"""Serving: uvicorn with the limits that it lacks, a stop that finishes what is under way, one process or several."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from threading import Timer
from typing import TYPE_CHECKING, Any

from mlsdk.errors import UsageError
from mlsdk.server.app import make_app, needed
from mlsdk.server.journal import Journal
from mlsdk.server.service import Service

if TYPE_CHECKING:
    import uvicorn


_DEAF_MS = 60_000
_SPARE_FILES = 256
"""Descriptors that are no connections: stores, logs, what is sent."""


def bind(host: str, port: int) -> socket.socket:
    """A socket to listen on.

    Raises:
        UsageError: the port is taken, or the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # who takes nothing is let go by the system, too
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAF_MS)
            listening.bind(address)
            listening.listen(1024)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        taken = "another program listens there" if error.errno == 98 else error.strerror or str(error)
        raise UsageError(
            f"cannot listen on {host}:{port}: {taken}; choose another by --port (0: any free one)"
        ) from None
    listening.set_inheritable(True)
    return listening


def server(service: Service, journal: Journal | None = None, *, tls: tuple[str, str] | None = None) -> uvicorn.Server:
    """A server that is ready to run.

    Args:
        service: what it works with.
        journal: where requests are written.
        tls: the files of certificate chain and key.

    Example: `server(service).run(sockets=[bind("127.0.0.1", 8383)])`.
    """
    needed("uvicorn")
    import uvicorn

    app = make_app(service, journal)

    class Server(uvicorn.Server):
        """Says first that it is not ready any more, then stops listening, then finishes."""

        def handle_exit(self, sig: int, frame: Any) -> None:
            drain_s = 0 if service.stopping else service.limits.drain_s
            service.stop()
            if drain_s:
                Timer(drain_s, super().handle_exit, (sig, frame)).start()
            else:
                super().handle_exit(sig, frame)

    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="error",  # a warning for each strange request would let strangers fill the disk
        access_log=False,
        server_header=False,
        lifespan="on",
        http=_patient(service),
        ws="none",
        backlog=1024,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(service.limits.stop_s),
        h11_max_incomplete_event_size=service.limits.header_bytes + service.limits.url_bytes,
        proxy_headers=False,  # see `mlsdk.server.guard`: only what the nearest proxy says counts
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )
    return Server(config)


def _patient(service: Service) -> Any:
    """uvicorn's protocol, which gives up on headers that are too long or do not come, and on who takes no answer."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Protocol
    except ImportError:
        from uvicorn.protocols.http.h11_impl import H11Protocol as Protocol  # type: ignore[assignment]

    limits = service.limits
    connections = min(limits.connections, _files() - _SPARE_FILES)
    most = limits.header_bytes + limits.url_bytes + 65_536  # one read may hold the beginning of a body, too

    class Patient(Protocol):
        """Until the headers are there, and while answers are not taken, the connection is on a clock."""

        _waits: asyncio.TimerHandle | None = None
        _head_bytes = 0
        _stalls: asyncio.TimerHandle | None = None
        _untaken = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > connections:
                service.metrics.add("refused")
                transport.abort()
                return
            self._waits = self.loop.call_later(limits.headers_s, self._give_up)

        def data_received(self, data: bytes) -> None:
            if not self._is_busy():
                self._head_bytes += len(data)
                if self._waits is None:
                    self._waits = self.loop.call_later(limits.headers_s, self._give_up)
            super().data_received(data)
            if self._is_busy():
                self._settled()
            elif self._head_bytes > most:
                self._give_up()

        def connection_lost(self, exc: Exception | None) -> None:
            self._settled()
            self._is_taken()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._untaken = self.transport.get_write_buffer_size()
            self._stalls = self.loop.call_later(limits.idle_s, self._look)

        def resume_writing(self) -> None:
            self._is_taken()
            super().resume_writing()

        def _is_taken(self) -> None:
            if self._stalls is not None:
                self._stalls.cancel()
                self._stalls = None

        def _look(self) -> None:
            left = self.transport.get_write_buffer_size()
            if self._untaken - left < limits.idle_s * limits.least_bytes_per_s:
                service.metrics.add("refused")
                self.transport.abort()
                return
            self._untaken = left
            self._stalls = self.loop.call_later(limits.idle_s, self._look)

        def _is_busy(self) -> bool:
            cycle: Any = self.cycle
            return cycle is not None and not cycle.response_complete

        def _settled(self) -> None:
            self._head_bytes = 0
            if self._waits is not None:
                self._waits.cancel()
                self._waits = None

        def _give_up(self) -> None:
            self._waits = None
            if not (self._is_busy() or self.transport.is_closing()):
                service.metrics.add("refused")
                self.transport.close()

    return Patient


def _files() -> int:
    """How many descriptors this process may have, raised as far as it may raise that."""
    try:
        import resource
    except ImportError:  # Windows
        return 4 * _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1 << 16 if hard == resource.RLIM_INFINITY else min(hard, 1 << 16)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return 1 << 16 if soft == resource.RLIM_INFINITY else max(soft, 2 * _SPARE_FILES)


_PAUSE_S = 1.0
"""Before a process that ended by itself is started again."""


def run_workers(count: int, work: Callable[..., None]) -> int:
    """Run `work` in `count` processes until a signal says stop; one that ends by itself is started again.

    Nothing of a store may be open yet: connections do not survive a fork.

    Args:
        count: how many.
        work: called with `first=True` in the very first process, else with `first=False`.
    """
    living: set[int] = set()
    asked: list[int] = []

    def stop(number: int, _: Any) -> None:
        asked.append(number)
        for pid in living:
            _tell(pid, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    started = 0
    while not asked or living:
        while not asked and len(living) < count:
            living.add(_start(work, first=not started))
            started += 1
        if asked:  # a process may have been started while the signal came
            for pid in living:
                _tell(pid, signal.SIGTERM)
        try:
            pid, _ = os.wait()
        except (ChildProcessError, InterruptedError):
            living.clear()
            continue
        living.discard(pid)
        if not asked:
            print(f"mlsdk: worker {pid} ended; another is started", file=sys.stderr)
            time.sleep(_PAUSE_S)
    return 0


def _start(work: Callable[..., None], *, first: bool) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        work(first=first)
        code = 0
    except Exception:  # the parent has to hear of it, and this process must not go on as the parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _tell(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
