"""Logs on a server."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlsdk.errors import ConflictError, MlsdkError, NewerFormatError, NotFoundError, StoreError
from mlsdk.log.frames import OPEN, Frame, frames
from mlsdk.log.sealed import Sealed
from mlsdk.log.values import loads
from mlsdk.store.http.address import in_path
from mlsdk.store.http.answers import Answer, made
from mlsdk.store.http.session import Server, Session
from mlsdk.store.layout import check_log_name
from mlsdk.store.seams import Piece

PIECES = "application/x-mlsdk-pieces"
_HEAD = struct.Struct("<HQI")
"""Of a piece: length of the log's name, offset, length of the data; name and data follow."""

CHECKSUM_HEADER = "Mlsdk-Crc32"
"""Of the pieces, before they are compressed: what something on the way has altered is not taken."""

_WORTH_BYTES = 512
"""Fewer bytes are not compressed."""
_READ_BYTES = 16 << 20
"""Of a log so much is read by one request."""


class HttpLogs:
    """Logs of a workspace; see `mlsdk.store.seams.Logs` and `BatchLogs`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen = False
        """Whether the workspace is known to be there."""

    @property
    def capabilities(self) -> frozenset[str]:
        """See `Logs.capabilities`. While the server cannot be asked, what servers usually have."""
        with contextlib.suppress(MlsdkError):
            return self._session.server().capabilities
        return Server().capabilities

    def append(self, log: str, offset: int, data: bytes) -> int:
        """See `Logs.append`."""
        end = self.append_all([Piece(log, offset, data)])[0]
        if isinstance(end, ConflictError):
            raise end
        return end

    def append_all(self, pieces: Sequence[Piece]) -> list[int | ConflictError]:
        """See `BatchLogs.append_all`. Goes in as few requests as the server takes."""
        for piece in pieces:
            check_log_name(piece.log)
        most = self._session.server().part_bytes
        for piece in pieces:
            self._check_format(piece)
        ends: dict[int, int | ConflictError] = {}
        batch: list[tuple[int, Piece]] = []
        size = 0
        for number, part in _parts(pieces, most):
            if batch and size + len(part.data) > most:
                self._send(batch, ends)
                batch, size = [], 0
            batch.append((number, part))
            size += len(part.data) + len(part.log) + _HEAD.size
        self._send(batch, ends)
        return [ends[number] for number in range(len(pieces))]

    def _send(self, batch: list[tuple[int, Piece]], ends: dict[int, int | ConflictError]) -> None:
        """Send parts of pieces, and note how far each piece got."""
        if not batch:
            return
        body = _body([piece for _, piece in batch])
        headers = {"Content-Type": PIECES, CHECKSUM_HEADER: f"{zlib.crc32(body):08x}"}
        if len(body) >= _WORTH_BYTES:
            body, headers["Content-Encoding"] = zlib.compress(body, 1), "deflate"
        answer = self._session.call("POST", "/append", body=body, headers=headers)
        found = answer.json().get("ends")
        if not isinstance(found, list) or len(found) != len(batch):
            raise StoreError(f"{self._session.address.origin} did not say for each piece whether it was taken")
        for (number, _), end in zip(batch, found, strict=True):
            if not isinstance(ends.get(number), ConflictError):  # what comes behind one has no place either
                ends[number] = end if isinstance(end, int) else self._conflict(end)

    def _conflict(self, said: Mapping[str, Any]) -> ConflictError:
        error = made(self._session.address.origin, 409, said.get("error") or {}, {})
        if isinstance(error, ConflictError):
            return error
        raise error

    def _check_format(self, piece: Piece) -> None:
        """Refuse a log that the server could not read."""
        known = self._session.format
        if known is None or piece.offset or not piece.log.startswith("runs/"):
            return
        first = next(frames(piece.data, live=True), None)
        if isinstance(first, Frame) and first.type == OPEN:
            header = loads(bytes(first.payload))
            version = header.get("format") if isinstance(header, dict) else None
            if isinstance(version, int) and version > known:
                raise NewerFormatError(
                    f"{piece.log} is written in format {version}, and the server {self._session.address.origin} reads"
                    f" formats up to {known}: upgrade mlsdk on the server"
                )

    def read(self, log: str, offset: int = 0, limit: int | None = None) -> bytes:
        """See `Logs.read`."""
        path = _path(log)
        found: list[bytes] = []
        got, wanted = 0, limit
        while True:
            part = _READ_BYTES if wanted is None else min(_READ_BYTES, wanted - got)
            answer = self._session.call("GET", path, params={"offset": offset + got, "limit": part})
            found.append(answer.body)
            got += len(answer.body)
            if not answer.body or got == wanted or offset + got >= answer.number("Mlsdk-Size"):
                return b"".join(found)

    def size(self, log: str) -> int:
        """See `Logs.size`."""
        head = self._head(log)
        return 0 if head is None else int(head.number("Mlsdk-Size"))

    def _head(self, log: str) -> Answer | None:
        """What the server says of a log without its bytes; None where there is none.

        Raises:
            NotFoundError: there is no such workspace, or none that one may see.
        """
        try:
            return self._session.call("HEAD", _path(log))
        except NotFoundError:
            if not self._seen:  # an answer without a body does not say what was not found
                self._session.call("GET", "/logs", params={"limit": 1})
                self._seen = True
            return None

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Logs.list`."""
        return names(self._session, "logs", prefix)

    def delete(self, log: str) -> None:
        """See `Logs.delete`."""
        self._session.call("DELETE", _path(log))

    def seal(self, log: str) -> bool:
        """Let the server keep a log that has ended as column blocks; False if it does already, or has no such log."""
        path = f"/seal/{in_path(check_log_name(log), safe='/')}"
        return bool(self._session.call("POST", path).json().get("sealed"))

    def is_sealed(self, log: str) -> bool:
        """Whether the server keeps a log as column blocks."""
        head = self._head(log)
        return head is not None and head.headers.get("Mlsdk-Sealed") == "1"

    def open_sealed(self, log: str) -> Sealed:
        """The column blocks of a log, made here of what the server sends raw."""
        from mlsdk.log.seal import seal

        return Sealed(seal(self.read(log), log))


def names(session: Session, kind: str, prefix: str) -> Iterator[str]:
    """Names of `logs` or `blobs` that begin with a prefix, asked for page by page."""
    after: str | None = None
    while True:
        page = session.call("GET", f"/{kind}", params={"prefix": prefix, "after": after}).json()
        yield from page[kind]
        after = page.get("after")
        if after is None:
            return


def _path(log: str) -> str:
    return f"/logs/{in_path(check_log_name(log), safe='/')}"


def _parts(pieces: Sequence[Piece], most: int) -> Iterator[tuple[int, Piece]]:
    """The pieces by number, large ones in parts; an entry of a shared log stays whole."""
    for number, (log, offset, data) in enumerate(pieces):
        if len(data) <= most or not log.startswith("runs/"):
            yield number, Piece(log, offset, data)
            continue
        for start in range(0, len(data), most):
            yield number, Piece(log, offset + start, data[start : start + most])


def _body(pieces: Sequence[Piece]) -> bytes:
    """Pieces as they are sent."""
    found: list[bytes] = []
    for log, offset, data in pieces:
        name = log.encode()
        found += [_HEAD.pack(len(name), offset, len(data)), name, data]
    return b"".join(found)
