"""Routes of logs: appending, the hot path of a server, and reading; and counting the points in what is appended."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from mlsdk.errors import AccessError, ConflictError, DigestError, FormatError
from mlsdk.log.frames import CHECKSUM, HEADER, POINTS, POINTS_HEAD, TYPES
from mlsdk.server.answers import described
from mlsdk.server.audit import is_private
from mlsdk.server.calls import BYTES, Answer, Call, Refused, checked, wrong
from mlsdk.server.system import check_format
from mlsdk.store.layout import check_log_name
from mlsdk.store.seams import Piece

PIECES = "application/x-mlsdk-pieces"

HEAD = struct.Struct("<HQI")
"""Before each piece of a body: length of the name, offset, length of the data; name and data follow."""

_MOST_PIECES = 100_000
_READ_BYTES = 4 << 20


def pieces_in(body: bytes) -> list[Piece]:
    """The pieces of a body.

    Raises:
        FormatError: it is cut, or holds something else.
    """
    pieces: list[Piece] = []
    view, at, end = memoryview(body), 0, len(body)
    while at < end:
        if at + HEAD.size > end:
            raise FormatError(f"the body ends within the head of a piece, at {at:,}")
        name_length, offset, length = HEAD.unpack_from(view, at)
        start = at + HEAD.size + name_length
        if start + length > end:
            raise FormatError(f"the body ends at {end:,}, within a piece that goes to {start + length:,}")
        if len(pieces) == _MOST_PIECES:
            raise FormatError(f"more than {_MOST_PIECES:,} pieces; send fewer at once")
        try:
            name = str(view[at + HEAD.size : start], "utf-8")
        except UnicodeDecodeError:
            raise FormatError(f"the name of the piece at {at:,} is not UTF-8") from None
        pieces.append(Piece(checked(check_log_name, name), offset, bytes(view[start : start + length])))
        at = start + length
    return pieces


def _check_sum(said: str, body: bytes) -> None:
    """The body is what the client sent, as far as it says what that was.

    Raises:
        DigestError: something on the way has altered it.
    """
    import zlib

    found = f"{zlib.crc32(body):08x}"
    if said and said.lower() != found:
        raise DigestError(
            f"the {len(body):,} bytes that came have the checksum {found}, not {said[:20]!r}: something on the way"
            " alters what is sent; send it again, and over https"
        )


def append(call: Call) -> Any:
    """Append pieces of logs; for each the end of its log, or why it could not be appended."""
    check_format(call.headers)
    _check_sum(call.headers.get("mlsdk-crc32", ""), call.body)
    pieces = pieces_in(call.body)
    for piece in pieces:
        _public(piece.log)
    ends = _append(call, pieces)
    metrics = call.service.metrics
    metrics.add("append_pieces", len(pieces))
    metrics.add("append_bytes", sum(len(piece.data) for piece in pieces))
    metrics.add("append_conflicts", sum(not isinstance(end, int) for end in ends))
    metrics.add("append_points", sum(count_points(piece.data) for piece in pieces if piece.log.startswith("runs/")))
    call.service.events.touch(call.workspace, {log.split("/")[1] for log, _, _ in pieces if log.startswith("runs/")})
    return {"ends": [end if isinstance(end, int) else {"error": described(end)} for end in ends]}


def _append(call: Call, pieces: list[Piece]) -> list[int | ConflictError]:
    """Append, and write into the audit chain what begins a log, and what is appended to a shared one."""
    logs = call.store.logs
    if "batch" in logs.capabilities:
        ends: list[int | ConflictError] = list(logs.append_all(pieces))  # type: ignore[attr-defined]
    else:
        ends = [_append_one(call, piece) for piece in pieces]
    for piece, end in zip(pieces, ends, strict=True):
        if isinstance(end, int) and piece.data:
            if piece.log.startswith("shared/"):
                import hashlib

                digest = hashlib.sha256(piece.data).hexdigest()
                call.record("append", log=piece.log, offset=piece.offset, digest=digest)
            elif not piece.offset:
                call.record("begin", log=piece.log)
    return ends


def _append_one(call: Call, piece: Piece) -> int | ConflictError:
    try:
        return call.store.logs.append(*piece)
    except ConflictError as error:
        return error


def list_logs(call: Call) -> Any:
    """Names of logs, a page at a time."""
    public = (name for name in call.store.logs.list(call.query["prefix"]) if not is_private(name))
    names, after = page(call, public)
    return {"logs": names, "after": after}


def page(call: Call, names: Iterator[str]) -> tuple[list[str], str | None]:
    """Those of some names, in order, that come after the one that the query says; and the last, if there are more."""
    limit, after = min(call.query["limit"] or call.service.limits.page, call.service.limits.page), call.query["after"]
    found: list[str] = []
    for name in names:
        if after and name <= after:
            continue
        if len(found) == limit:
            return found, found[-1]
        found.append(name)
    return found, None


def read(call: Call) -> Answer:
    """Raw bytes of a log; the header says how long it is."""
    log = _public(checked(check_log_name, call.path["log"]))
    logs, offset, limit = call.store.logs, call.query["offset"], call.query["limit"]
    size = logs.size(log)
    if not size:
        logs.read(log, 0, 1)  # says that it is not there
    length = max(0, size - offset) if limit is None else min(limit, max(0, size - offset))
    headers = {"Mlsdk-Size": str(size)}
    if call.method == "HEAD":
        if "seal" in logs.capabilities and logs.is_sealed(log):  # type: ignore[attr-defined]
            headers["Mlsdk-Sealed"] = "1"
        return Answer(b"", 200, BYTES, headers, length, compress=False)
    if length <= _READ_BYTES:
        return Answer(logs.read(log, offset, length) if length else b"", 200, BYTES, headers)
    if "seal" in logs.capabilities and logs.is_sealed(log):  # type: ignore[attr-defined]
        whole = logs.read(log, offset, length)  # once: each read would unpack all of it
        return Answer(_cut(whole), 200, BYTES, headers, length, compress=False)
    parts = (
        logs.read(log, at, min(_READ_BYTES, offset + length - at)) for at in range(offset, offset + length, _READ_BYTES)
    )
    return Answer(parts, 200, BYTES, headers, length, compress=False)


def _public(log: str) -> str:
    """The log itself, which must not be one of the server's own.

    Raises:
        Refused: it is.
    """
    if is_private(log):
        raise Refused(403, AccessError(f"{log} belongs to the server; `mlsdk audit` shows what is in it"))
    return log


def _cut(whole: bytes) -> Iterator[bytes]:
    return (whole[at : at + _READ_BYTES] for at in range(0, len(whole), _READ_BYTES))


def delete(call: Call) -> Answer:
    """Remove a log."""
    log = _public(checked(check_log_name, call.path["log"]))
    call.record("delete log", log=log)
    call.store.logs.delete(log)
    return Answer(status=204)


def seal(call: Call) -> Any:
    """Keep a log that has ended as column blocks, where the store can."""
    log = checked(check_log_name, call.path["log"])
    if not log.startswith("runs/"):
        raise wrong(f"{log} is a shared log; only logs of runs are sealed")
    logs = call.store.logs
    return {"sealed": "seal" in logs.capabilities and bool(logs.seal(log))}  # type: ignore[attr-defined]


_FEW = 8
"""Frames that are alike before it is tried whether more are."""


def count_points(data: bytes) -> int:
    """Values in the points frames of a piece that begins at a frame; 0 from where it is something else.

    Frames that follow each other are mostly of one length: they are looked at together, by the bytes of their lengths.

    >>> from mlsdk.testing import MadeLog
    >>> log = MadeLog().points(["a", "b"], [(step, 1.0, 2.0) for step in range(100)])
    >>> count_points(log.data)
    200
    """
    view, at, end, found = memoryview(data), 0, len(data), 0
    while at + HEADER.size <= end:
        length, kind, _ = HEADER.unpack_from(view, at)
        size = HEADER.size + length + CHECKSUM.size
        if kind not in TYPES or at + size > end:
            break
        if kind != POINTS:
            at += size
            continue
        count = _alike(data, at, size)
        found += count * max(0, (length - POINTS_HEAD.size) // 8)
        at += count * size
    return found


def _alike(data: bytes, at: int, size: int) -> int:
    """How many frames from `at` on have its length and type: of those that a doubling look finds."""
    count, most = 1, (len(data) - at) // size
    head = data[at : at + 5]
    while count < most:
        step = min(max(count, _FEW), most - count)
        start = at + count * size
        stop = start + step * size
        if any(data[start + place : stop : size] != head[place : place + 1] * step for place in range(5)):
            return count if step == 1 else count + _one_by_one(data, start, step, size, head)
        count += step
    return count


def _one_by_one(data: bytes, start: int, most: int, size: int, head: bytes) -> int:
    count = 0
    while count < most and data[start + count * size : start + count * size + 5] == head:
        count += 1
    return count
