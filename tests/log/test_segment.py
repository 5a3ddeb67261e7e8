"""A writer's segment: the same bytes through a map and by writes; a full disk is an answer, not the end."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsdk.log import frames, segment
from mlsdk.log.filesystem import filesystem_of, may_map
from mlsdk.log.frames import Frame
from mlsdk.log.segment import RESERVE_BYTES, Segment
from tests.conftest import ROOT, require

MODES = [pytest.param(True, id="mapped"), pytest.param(False, id="written")]


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@contextlib.contextmanager
def _opened(path: Path, mapped: bool) -> Iterator[Segment]:
    if mapped:
        require(may_map(filesystem_of(str(path.parent))), "a file system for maps")
    made = Segment(str(path), mapped=mapped, clock=Clock())
    try:
        yield made
    finally:
        made.abandon()
        path.unlink(missing_ok=True)


def _payloads(data: bytes) -> list[bytes]:
    return [bytes(found.payload) for found in frames.frames(data) if isinstance(found, Frame)]


sizes = st.lists(st.integers(0, 300) | st.integers(0, 400_000), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(sizes=sizes, switch=st.integers(0, 12))
def test_map_and_writes_give_the_same_bytes(tmp_path: Path, sizes: list[int], switch: int) -> None:
    """Frames of any size give the same file through a map, by writes, and where the map is given up on the way."""
    expected = b"".join(
        frames.encode(1 + number % 6, number, bytes([number]) * size) for number, size in enumerate(sizes)
    )
    found = []
    for mode in ("mapped", "written", "changed"):
        with _opened(tmp_path / mode, mode != "written") as made:
            assert made.mapped == (mode != "written")
            for number, size in enumerate(sizes):
                if mode == "changed" and number == switch:
                    made.unmap()
                assert made.write(1 + number % 6, bytes([number]) * size)
            assert made.at == (len(expected), len(sizes))
            made.close()
            found.append((tmp_path / mode).read_bytes())

    assert found == [expected] * 3


@pytest.mark.parametrize("mapped", MODES)
def test_seen_by_others_at_once(tmp_path: Path, mapped: bool) -> None:
    """What was put is in the file at once for other readers, with zeros behind; closing cuts the zeros."""
    with _opened(tmp_path / "log", mapped) as made:
        made.write(frames.FACTS, b"one")
        during = (tmp_path / "log").read_bytes()
        made.close()

        assert _payloads(during) == [b"one"]
        assert len(during) % segment.PAGE_BYTES == 0
        assert (tmp_path / "log").read_bytes() == frames.encode(frames.FACTS, 0, b"one")


@pytest.mark.parametrize("mapped", MODES)
def test_abandoned_it_stays_readable(tmp_path: Path, mapped: bool) -> None:
    """A segment that is let go without a close, as at a kill, holds all that was put."""
    with _opened(tmp_path / "log", mapped) as made:
        for number in range(1000):
            made.write(frames.FACTS, b"%d" % number)
        made.abandon()

        assert _payloads((tmp_path / "log").read_bytes()) == [b"%d" % number for number in range(1000)]


@pytest.mark.parametrize("mapped", MODES)
def test_closed_from_outside(tmp_path: Path, mapped: bool) -> None:
    """Where a program closes all descriptors, and opens files that get the numbers, neither side loses a byte."""
    other = tmp_path / "other"
    with _opened(tmp_path / "log", mapped) as made:
        made.write(frames.FACTS, b"before")
        os.close(made._fd)
        with other.open("wb+", buffering=0) as file:
            assert file.fileno() == made._fd
            file.write(b"mine")
            for _ in range(40 if mapped else 0):  # without a map each write would have to look first
                made.write(frames.FACTS, bytes(10_000))
            made.close()
            file.write(b" still")

        assert other.read_bytes() == b"mine still"
        assert _payloads((tmp_path / "log").read_bytes())[0] == b"before"


def test_never_over_another_file(tmp_path: Path) -> None:
    """A segment is not opened where a file is already."""
    (tmp_path / "log").write_bytes(b"mine")

    with pytest.raises(FileExistsError):
        Segment(str(tmp_path / "log"), mapped=False, clock=Clock())

    assert (tmp_path / "log").read_bytes() == b"mine"


def test_without_the_newest_kernel(tmp_path: Path) -> None:
    """Where the kernel cannot pre-fault a map at once, its pages are touched one by one, and keep what is in them."""
    with mock.patch.object(segment, "_POPULATE_WRITE", 9999), _opened(tmp_path / "log", True) as made:
        for number in range(3):
            made.write(frames.FACTS, bytes([number]) * 100_000)

        assert _payloads((tmp_path / "log").read_bytes()) == [bytes([number]) * 100_000 for number in range(3)]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_space_promised_but_not_there(tmp_path: Path, code: int) -> None:
    """Where writing fails although space was made, as with copies on write, the frame is dropped and counted."""
    with _opened(tmp_path / "log", False) as made:
        made.write(frames.FACTS, b"before")
        with mock.patch.object(os, "pwrite", side_effect=OSError(code, "full")):
            assert not made.write(frames.FACTS, b"lost", vital=True)
        assert (made.full, made.dropped) == (True, 1)
        made.write(frames.FACTS, b"after")
        made.close()

        assert _payloads((tmp_path / "log").read_bytes()) == [b"before", b"after"]


def test_other_errors_are_raised(tmp_path: Path) -> None:
    """An error that is not about space is raised, and nothing counts as written."""
    with _opened(tmp_path / "log", False) as made:
        with (
            mock.patch.object(os, "pwrite", side_effect=OSError(errno.EIO, "broken")),
            pytest.raises(OSError, match="broken"),
        ):
            made.write(frames.FACTS, b"lost")

        assert made.at == (0, 0)
        assert made.dropped == 0


FILL = """
import os, sys
from mlsdk.log import frames
from mlsdk.log.segment import RESERVE_BYTES, Segment

path, mapped = sys.argv[1], sys.argv[2] == "mapped"
now = [0.0]
made = Segment(path, mapped=mapped, clock=lambda: now[0])
assert made.mapped == mapped
limit()
written = 0
while made.write(frames.FACTS, b"%06d" % written + bytes(294)):
    written += 1
assert made.full and made.dropped == 1, (made.full, made.dropped)
assert not made.write(frames.FACTS, bytes(300)) and made.dropped == 2
room = RESERVE_BYTES
vital = 0
while room >= 313:
    assert made.write(frames.FACTS, b"vital!" + bytes(294), vital=True), room
    room -= 313
    vital += 1
assert not made.write(frames.FACTS, bytes(RESERVE_BYTES), vital=True)
raise_limit()
assert not made.write(frames.FACTS, bytes(500_000)), "tried again before a second has passed"
dropped = made.dropped
now[0] = 1.5
assert made.write(frames.FACTS, bytes(50_000)) and not made.full
assert made.dropped == dropped
made.close()
found = [bytes(frame.payload) for frame in frames.frames(open(path, "rb").read())]
assert [payload[:6] for payload in found[:written]] == [b"%06d" % number for number in range(written)]
assert [payload[:6] for payload in found[written:-1]] == [b"vital!"] * vital
assert len(found) == written + vital + 1 and len(found[-1]) == 50_000
print("all is well", written)
"""

BY_LIMIT = """
import resource
def limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
def raise_limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""

BY_DISK = """
def limit():
    left = os.statvfs(os.path.dirname(path))
    with open(path + ".other", "wb") as other:
        other.write(bytes(left.f_bavail * left.f_frsize - 200 * 1024))
def raise_limit():
    os.unlink(path + ".other")
"""


def _fill(path: Path, mode: str, how: str) -> None:
    head, rest = textwrap.dedent(FILL).split("limit()\n", 1)
    done = subprocess.run(
        [sys.executable, "-c", how + head + "limit()\n" + rest, str(path), mode],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("all is well")
    assert int(done.stdout.split()[-1]) > 400


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes here")
@pytest.mark.parametrize("mode", ["mapped", "written"])
def test_file_size_limit(tmp_path: Path, mode: str) -> None:
    """At a file size limit frames are dropped and counted, vital ones fit the reserve, and all goes on later."""
    if mode == "mapped":
        require(may_map(filesystem_of(str(tmp_path))), "a file system for maps")
    _fill(tmp_path / "log", mode, BY_LIMIT)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts as on Linux")
@pytest.mark.parametrize("mode", ["mapped", "written"])
def test_full_disk(tmp_path: Path, mode: str) -> None:
    """On a full disk frames are dropped and counted, vital ones fit the reserve, and all goes on later."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)]
    mounted = shutil.which("mount") and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    if not mounted:
        pytest.skip("no right to mount a small disk; the limit of file sizes is tested in its place")
    try:
        _fill(disk / "log", mode, BY_DISK)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_no_room_to_begin(tmp_path: Path) -> None:
    """Where there is no space for a first page, opening fails and leaves no file behind."""
    full = OSError(errno.ENOSPC, "full")
    with mock.patch.object(os, "pwrite", side_effect=full), pytest.raises(OSError, match="full"):
        Segment(str(tmp_path / "log"), mapped=False, clock=Clock())

    assert list(tmp_path.iterdir()) == []


def test_reserve_is_what_is_promised() -> None:
    """8 KiB are kept for saying that the disk is full."""
    assert RESERVE_BYTES == 8192
