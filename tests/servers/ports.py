"""Ports of loopback for servers."""

from __future__ import annotations

import contextlib
import random
import socket

_FIRST, _END = 10_000, 30_000
_chance = random.SystemRandom()  # the processes of a test run have one seed in common


def free_port() -> int:
    """A port that nobody uses.

    It lies below those that the system gives to clients: one of these may be a client's by the time at which the
    server starts, or starts again.
    """
    while True:
        port = _chance.randrange(_FIRST, _END)
        with contextlib.suppress(OSError), socket.socket() as found:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            found.bind(("127.0.0.1", port))
            return port
