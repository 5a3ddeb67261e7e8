"""What a server writes of its work: one line of JSON for each request, and the reasons of errors. No secrets."""

from __future__ import annotations

import json
import sys
import time
from threading import Lock
from typing import Any, BinaryIO

from mlsdk.capture.secrets.redaction import redact_text


class Journal:
    """Where lines go.

    A line tells of a request: time, id, actor, id of the token, method, route, path, status, bytes, milliseconds.
    Never headers, bodies, nor what stands in the query of a URL.

    Args:
        out: a file's path, `-` for stdout, None for nothing. A file is appended to; when it was renamed (as `logrotate`
            does), a new one is begun.
        errors: whether reasons of errors go to stderr.
    """

    def __init__(self, out: str | None, *, errors: bool = False) -> None:
        self._path = out
        self._errors = errors
        self._lock = Lock()
        self._file: BinaryIO | None = None
        self._looked = self._complained = 0.0

    def request(self, **about: Any) -> None:
        """Write one line."""
        if self._path is None:
            return
        now = time.time()
        line = json.dumps({"t": _utc(now), **about}, separators=(",", ":"))
        with self._lock:
            try:
                file = self._opened(now)
                file.write(line.encode() + b"\n")
                file.flush()
            except (OSError, ValueError) as error:  # a full disk stops no request; a closed file neither
                self._complain(error, now)

    def _complain(self, error: Exception, now: float) -> None:
        """Say once a minute that lines are lost."""
        if now - self._complained > 60:
            self._complained = now
            print(f"mlsdk: {self._path} cannot be written: {error}", file=sys.stderr)

    def error(self, request: str, trace: str) -> None:
        """Write why a request failed; what looks like a secret is replaced."""
        if self._errors:
            clean, _ = redact_text(trace)
            with self._lock:
                sys.stderr.write(f"request {request} failed:\n{clean}\n")
                sys.stderr.flush()

    def _opened(self, now: float) -> BinaryIO:
        if self._path == "-":
            return sys.stdout.buffer
        assert self._path is not None
        if self._file is not None and now - self._looked > 1.0:
            import os

            self._looked = now
            try:
                same = os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))
            except FileNotFoundError:
                same = False
            if not same:
                self._file.close()
                self._file = None
        if self._file is None:
            self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115 - open as long as the server runs
        return self._file

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
