"""What every implementation of `mlsdk.store.seams.Blobs` promises."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mlsdk.errors import DigestError, NotFoundError, StoreError
from mlsdk.store.seams import Blobs
from mlsdk.testing.logs import _error

DATA = bytes(range(256)) * 300
DIGEST = hashlib.sha256(DATA).hexdigest()


class Failing(io.RawIOBase):
    """A source that breaks off in the middle."""

    def __init__(self) -> None:
        self.left = 3

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Some bytes, then an error."""
        self.left -= 1
        if not self.left:
            raise ValueError("the source broke off")
        return DATA[: size if size > 0 else None]


def _read(blobs: Blobs, digest: str) -> bytes:
    with blobs.open(digest) as file:
        return file.read()


class BlobsContract:
    """Subclass it with a fixture `blobs` that gives an empty implementation.

    And a fixture `damage`: a function that changes the kept bytes of a digest, as a broken disk would.

    Attributes:
        resolution_s: how coarse its times are, in seconds.
    """

    resolution_s = 0.0

    def test_any_source(self, blobs: Blobs, tmp_path: Path) -> None:
        """Bytes, the file at a path and an open file give the same blob, named by its SHA-256."""
        path = tmp_path / "file"
        path.write_bytes(DATA)
        with path.open("rb") as file:
            found = [blobs.put(DATA), blobs.put(str(path)), blobs.put(file), blobs.put(io.BytesIO(DATA))]

        assert found == [(DIGEST, len(DATA))] * 4
        assert list(blobs.list()) == [DIGEST]
        assert _read(blobs, DIGEST) == DATA

    def test_nothing_is_a_blob_too(self, blobs: Blobs) -> None:
        """The empty blob is kept like any other."""
        digest, size = blobs.put(b"")

        assert (digest, size) == (hashlib.sha256(b"").hexdigest(), 0)
        assert blobs.exists(digest)
        assert _read(blobs, digest) == b""

    def test_ranges(self, blobs: Blobs) -> None:
        """A part is given without the whole; beyond the end there is nothing."""
        blobs.put(DATA)
        end = len(DATA)
        parts = [(0, 10), (5, 3), (end - 2, 10), (end, 1), (end + 9, 1), (7, None), (0, 0)]

        for start, length in parts:
            with blobs.open(DIGEST, start, length) as file:
                assert file.read() == DATA[start : None if length is None else start + length]

    def test_the_whole_is_checked(self, blobs: Blobs, damage: Callable[[str], None]) -> None:
        """Bytes that are not what was put are never handed out as the whole."""
        blobs.put(DATA)
        damage(DIGEST)

        assert isinstance(_error(lambda: blobs.open(DIGEST)), DigestError)

    def test_an_unknown_blob(self, blobs: Blobs) -> None:
        """What is not there cannot be opened or asked about; deleting it is no error."""
        blobs.delete(DIGEST)
        errors = [
            _error(lambda: blobs.open(DIGEST)),
            _error(lambda: blobs.open(DIGEST, 1, 1)),
            _error(lambda: blobs.info(DIGEST)),
        ]

        assert not blobs.exists(DIGEST)
        assert {type(error) for error in errors} == {NotFoundError}

    def test_digests_are_checked(self, blobs: Blobs) -> None:
        """What is no digest is refused by every method, and leads nowhere."""
        for name in ("", "abc", "../" * 21 + "x", DIGEST.upper(), DIGEST + "0"):
            calls = (blobs.open, blobs.exists, blobs.delete, blobs.info)
            assert {type(_error(lambda call=call, name=name: call(name))) for call in calls} == {StoreError}  # type: ignore[misc]

    def test_listing_by_prefix(self, blobs: Blobs) -> None:
        """Digests that begin with a prefix, in order."""
        digests = sorted(blobs.put(str(number).encode())[0] for number in range(60))

        for prefix in ("", digests[7][:1], digests[7][:2], digests[7][:5], digests[7], "zz"):
            assert list(blobs.list(prefix)) == [digest for digest in digests if digest.startswith(prefix)]

    def test_a_deleted_blob_is_gone(self, blobs: Blobs) -> None:
        """Deleting removes that blob and no other; it may be put again."""
        other, _ = blobs.put(b"other")
        blobs.put(DATA)
        removed = [blobs.delete(DIGEST), blobs.delete(DIGEST)]
        gone = blobs.exists(DIGEST)
        blobs.put(DATA)

        assert removed == [True, False]
        assert not gone
        assert set(blobs.list()) == {other, DIGEST}

    def test_what_is_young_stays(self, blobs: Blobs) -> None:
        """Asked to remove only what is old, it leaves what was put lately, and says which of the two it was."""
        blobs.put(DATA)
        removed = [blobs.delete(DIGEST, 3600), blobs.exists(DIGEST), blobs.delete(DIGEST, 0), blobs.delete(DIGEST, 0)]

        assert removed == [False, True, True, False]
        assert not blobs.exists(DIGEST)

    def test_age_is_renewed(self, blobs: Blobs) -> None:
        """Size and age are told; putting again makes a blob young, so that garbage collection leaves it."""
        blobs.put(DATA)
        time.sleep(0.3 + self.resolution_s)
        asked = time.monotonic()
        size, age = blobs.info(DIGEST)
        blobs.put(DATA)
        later = blobs.info(DIGEST)[1]
        put_between_s = (time.monotonic() - later) - (asked - age)

        assert size == len(DATA)
        assert 0.25 < age < 60
        assert put_between_s > 0.25

    def test_a_failing_source_leaves_nothing(self, blobs: Blobs, tmp_path: Path) -> None:
        """A blob is there whole or not at all: a source that fails in the middle, or is not there, leaves none."""
        broken = _error(lambda: blobs.put(Failing()))  # type: ignore[arg-type]
        missing = _error(lambda: blobs.put(str(tmp_path / "missing")))

        assert isinstance(broken, ValueError)
        assert isinstance(missing, StoreError)
        assert list(blobs.list()) == []

    def test_threads_put_the_same(self, blobs: Blobs) -> None:
        """Eight threads that put the same bytes at once make one whole blob."""
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: blobs.put(DATA), range(40)))

        assert found == {(DIGEST, len(DATA))}
        assert _read(blobs, DIGEST) == DATA
        assert list(blobs.list()) == [DIGEST]
