"""Routes of blobs: what is there, handing out, taking in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import attrs

from mlsdk.errors import DigestError, NotFoundError, StoreError, UsageError
from mlsdk.server.calls import BYTES, Answer, Call, Refused, checked, wrong
from mlsdk.server.logs import page
from mlsdk.server.uploads import Upload, digest_of
from mlsdk.store.blobs import check_digest

_READ_BYTES = 1 << 20
_PART_BYTES = 4 << 20
"""Of a range that is read at once: each may be a request to an object store."""
_PRESIGNED_S = 900.0

_RANGE = re.compile(r"bytes=(\d{1,18})?-(\d{1,18})?")


@attrs.frozen
class Wanted:
    """A blob that is to be sent."""

    digest: str
    size_bytes: int


def list_blobs(call: Call) -> Any:
    """Digests, a page at a time."""
    names, after = page(call, call.store.blobs.list(call.query["prefix"]))
    return {"blobs": names, "after": after}


def read(call: Call) -> Answer:
    """The bytes of a blob, or a range of them."""
    digest, blobs = checked(check_digest, call.path["digest"]), call.store.blobs
    size, age = blobs.info(digest)
    headers = {"Mlsdk-Age-S": f"{age:.3f}", "Accept-Ranges": "bytes", "ETag": f'"{digest}"'}
    direct = _presigned(call, digest, "GET") if call.query["redirect"] and call.method == "GET" else None
    if direct is not None:
        return Answer(b"", 307, BYTES, {**headers, "Location": direct})
    begin, end = _range(call.headers.get("range", ""), size)
    status = 200
    if (begin, end) != (0, size):
        status = 206
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    if call.method == "HEAD":
        return Answer(b"", status, BYTES, headers, end - begin, compress=False)
    call.service.metrics.add("blob_bytes_out", end - begin)
    pieces = _whole(call, digest) if status == 200 else _part(call, digest, begin, end)
    return Answer(pieces, status, BYTES, headers, end - begin, compress=False)


def _range(header: str, size: int) -> tuple[int, int]:
    """Begin and end of what is asked for. A header that asks for several ranges, or nothing known, means the whole.

    Raises:
        Refused: the range lies behind the end.
    """
    found = _RANGE.fullmatch(header.strip())
    if not found or (found[1] is None and found[2] is None):
        return 0, size
    if found[1] is None:
        return max(0, size - int(found[2])), size
    begin, end = int(found[1]), size if found[2] is None else min(size, int(found[2]) + 1)
    if begin >= end:
        said = UsageError(f"the range {header[:60]!r} does not lie within {size:,} bytes")
        raise Refused(416, said, {"Content-Range": f"bytes */{size}"})
    return begin, end


def _whole(call: Call, digest: str) -> Iterator[bytes]:
    """Opened before the answer begins, so that bytes that are damaged are an error and no cut answer."""
    file = call.store.blobs.open(digest)

    def pieces() -> Iterator[bytes]:
        with file:
            yield b""
            yield from iter(lambda: file.read(_READ_BYTES), b"")

    begun = pieces()
    next(begun)  # from here on closing it closes the file, whether anything was sent or not
    return begun


def _part(call: Call, digest: str, begin: int, end: int) -> Iterator[bytes]:
    blobs = call.store.blobs
    for at in range(begin, end, _PART_BYTES):
        with blobs.open(digest, at, min(_PART_BYTES, end - at)) as file:
            yield file.read()


def delete(call: Call) -> Any:
    """Remove a blob; with an age, unless it is younger."""
    digest, older_than_s = checked(check_digest, call.path["digest"]), call.query["older_than_s"]
    call.record("delete blob", digest=digest, older_than_s=older_than_s)
    return {"removed": call.store.blobs.delete(digest, older_than_s)}


def begin(call: Call) -> Any:
    """Whether a blob is there already; if not, from where to send it, and where a presigned URL takes it."""
    wanted: Wanted = call.body
    digest = checked(check_digest, wanted.digest)
    _check_size(call, wanted.size_bytes)
    if _is_there(call, digest):
        return {"there": True}
    offset = _upload(call, digest).offset()
    return {"there": False, "offset": offset, "url": None if offset else _presigned(call, digest, "PUT")}


def _presigned(call: Call, digest: str, method: str) -> str | None:
    """An address of the object store itself, for a while; None where there is none."""
    blobs = call.store.blobs
    if not hasattr(blobs, "presign"):
        return None
    try:
        return str(blobs.presign(digest, method, _PRESIGNED_S))
    except StoreError:  # no key to sign with, as for a bucket that everybody may use
        return None


def _is_there(call: Call, digest: str) -> bool:
    """Whether a blob is there; then its age is renewed, by putting its bytes again."""
    blobs = call.store.blobs
    try:
        size, age = blobs.info(digest)
        if hasattr(blobs, "renew"):
            return bool(blobs.renew(digest, size))
        if age > _RENEW_S or size <= _SMALL_BYTES:
            with blobs.open(digest) as file:
                blobs.put(file)
    except (NotFoundError, DigestError):  # damaged: it is to be sent again
        return False
    return True


_RENEW_S = 3_600.0
"""Younger blobs are far from being collected: they are not put again."""

_SMALL_BYTES = 1 << 20
"""Smaller ones cost next to nothing, and are put again at any age."""


def part(call: Call) -> Any:
    """Take a part of a blob; the last one makes it whole."""
    digest, offset, size = checked(check_digest, call.path["digest"]), call.query["offset"], call.query["size_bytes"]
    _check_size(call, size)
    data: bytes = call.body
    if offset + len(data) > size:
        raise wrong(f"the part goes to {offset + len(data):,}, beyond the {size:,} bytes of the whole")
    call.service.metrics.add("blob_bytes_in", len(data))
    if offset == 0 and len(data) == size:
        found = digest_of(iter((data,)))
        if found != digest:
            raise DigestError(f"the {size:,} bytes sent hash to {found}, not to {digest}; send them again")
        call.store.blobs.put(data)
        return _kept(call, digest, size)
    upload = _upload(call, digest)
    end = upload.add(offset, data)
    if end < size:
        return {"offset": end, "there": False}
    upload.finish()
    return _kept(call, digest, size)


def _kept(call: Call, digest: str, size: int) -> Any:
    call.record("keep blob", digest=digest, size_bytes=size)
    return {"offset": size, "there": True}


def done(call: Call) -> Any:
    """Check what was sent to a presigned URL.

    Raises:
        DigestError: it is something else; it is removed.
        NotFoundError: nothing was sent.
    """
    digest, blobs, size = checked(check_digest, call.path["digest"]), call.store.blobs, call.query["size_bytes"]
    _check_size(call, size)
    if not hasattr(blobs, "accept"):
        raise wrong("this store gives out no addresses to send blobs to; send them in parts")
    if not blobs.accept(digest, size):
        raise NotFoundError(f"nothing was sent as {digest}")
    return {"there": _kept(call, digest, size)["there"]}


def _upload(call: Call, digest: str) -> Upload:
    return Upload(call.service.workspaces.home, call.store, call.workspace, digest)


def _check_size(call: Call, size: int) -> None:
    most = call.service.limits.blob_bytes
    if not 0 <= size <= most:
        raise Refused(413, UsageError(f"a blob of {size:,} bytes is not taken here: at most {most:,}"))
