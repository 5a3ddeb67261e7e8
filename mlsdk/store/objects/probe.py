"""What a store can do, asked once and remembered in it; and the version of its layout."""

from __future__ import annotations

import hashlib
import os
import re

from mlsdk.errors import AccessError, NewerFormatError, NotFoundError
from mlsdk.store.layout import LAYOUT_VERSION
from mlsdk.store.objects.bucket import Bucket, together

_ROUNDS = 2
_AT_ONCE = 8
_YES, _NO = b"conditional put: honoured\n", b"conditional put: ignored\n"


def honours_conditions(bucket: Bucket, server: str) -> bool:
    """Whether the store refuses to put over an object where that is asked for, also of several who ask at once.

    Common servers of the S3 protocol take the condition and overwrite all the same. The answer is remembered in the
    store, for each server by itself: a bucket that was copied to another one is asked again.

    Args:
        bucket: where.
        server: its endpoint.
    """
    remembered = f"probe/{hashlib.sha256(server.encode()).hexdigest()[:16]}"
    try:
        return bucket.get(remembered) == _YES
    except NotFoundError:
        pass
    try:
        found = all(_one_of_all(bucket) for _ in range(_ROUNDS))
        bucket.put(remembered, _YES if found else _NO)
    except AccessError:  # whoever may only read needs no answer
        return False
    return found


def _one_of_all(bucket: Bucket) -> bool:
    key = f"probe/try-{os.urandom(8).hex()}"

    def put(number: int) -> bool:
        return bucket.put(key, b"%d" % number, create=True)

    try:
        first = together(put, range(_AT_ONCE))
        return sum(first) == 1 and not put(_AT_ONCE) and bucket.get(key) == b"%d" % first.index(True)
    finally:
        bucket.delete([key])


def check_layout(bucket: Bucket, *, make: bool) -> None:
    """See that this version can use what is kept here.

    Args:
        bucket: where.
        make: write the version down if there is none.

    Raises:
        NewerFormatError: made by a newer mlsdk.
    """
    try:
        found = re.fullmatch(rb"mlsdk store (\d+)\n", bucket.get("format"))
    except NotFoundError:
        if make:
            bucket.put("format", f"mlsdk store {LAYOUT_VERSION}\n".encode())
        return
    if found and int(found[1]) > LAYOUT_VERSION:
        raise NewerFormatError(
            f"the store {bucket.uri} has layout {int(found[1])}, this mlsdk reads up to {LAYOUT_VERSION}:"
            " pip install -U mlsdk"
        )
