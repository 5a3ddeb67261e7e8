"""One writer's segment: the file that one process appends frames to.

The end of the file is always allocated ahead of the frames: through a memory map where the file system allows (a frame
then costs one copy), by `os.pwrite` elsewhere. Allocating first is what makes a full disk an ordinary answer instead of
a signal.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from collections.abc import Callable
from threading import RLock
from zlib import crc32

from mlsdk.log.frames import CHECKSUM, HEADER

PAGE_BYTES = mmap.ALLOCATIONGRANULARITY
FIRST_STEP_BYTES = 4 * PAGE_BYTES
LARGEST_STEP_BYTES = 256 * PAGE_BYTES
"""Steps double up to here: pre-faulting one page costs microseconds, so that 1 MiB stays near one millisecond."""

RESERVE_BYTES = 8192
"""Kept free at the end of the allocated space for saying that the disk is full, and for the closing."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OPEN = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE, Linux 5.14; not yet named by the mmap module


class Segment:
    """An open, append-only file of frames. Its owner holds `lock` around every call.

    `at` is (offset, sequence number) of the next frame; one attribute, so that an interrupt between two assignments
    cannot part them.

    Args:
        path: the file; it must not exist.
        mapped: whether to write through a memory map.
        clock: monotonic seconds, for the pause between two tries on a full disk.
    """

    __slots__ = (
        "_allocated",
        "_base",
        "_clock",
        "_fd",
        "_file",
        "_limit",
        "_map",
        "_retry_at",
        "_step",
        "at",
        "dropped",
        "lock",
        "path",
    )

    def __init__(self, path: str, *, mapped: bool, clock: Callable[[], float]) -> None:
        self.path = path
        self.lock = RLock()
        self.at = (0, 0)
        self.dropped = 0
        self._clock = clock
        self._map: mmap.mmap | None = None
        self._base = self._allocated = self._limit = 0
        self._step = FIRST_STEP_BYTES
        self._retry_at = 0.0
        self._fd = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o644)
        self._file = _identity(self._fd)
        try:
            self._grow(RESERVE_BYTES, mapped=mapped)
        except OSError:
            self.abandon()
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise

    @property
    def mapped(self) -> bool:
        """Whether frames are copied into a memory map."""
        return self._map is not None

    @property
    def full(self) -> bool:
        """Whether the disk was full when it was last tried."""
        return self._retry_at > 0

    def write(self, kind: int, payload: bytes, *, vital: bool = False) -> bool:
        """Append a frame; see `put`."""
        return self.put(HEADER.pack(len(payload), kind, self.at[1]) + payload, vital=vital)

    def put(self, body: bytes, *, vital: bool = False) -> bool:
        """Append a frame given without its checksum, packed with `self.at[1]` as its number.

        Returns:
            False if the disk is full: the frame is dropped and counted. A vital frame may use the reserve.
        """
        frame = body + CHECKSUM.pack(crc32(body))
        start, sequence = self.at
        end = start + len(frame)
        if end > self._limit and not self._make_room(end, vital=vital):
            self.dropped += 1
            return False
        if self._map is not None:
            self._map[start - self._base : end - self._base] = frame
        elif not self._written(frame, start):
            self.dropped += 1
            return False
        self.at = (end, sequence + 1)
        return True

    def _written(self, frame: bytes, start: int) -> bool:
        """Write a frame where space was made for it; False if there is none after all: copy on write."""
        try:
            _pwrite(self._fd, frame, start)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self._retry_at = self._clock() + 1.0
            return False
        return True

    def _make_room(self, end: int, *, vital: bool) -> bool:
        now = self._clock()
        if now >= self._retry_at:
            try:
                self._grow(end + RESERVE_BYTES, mapped=self._map is not None)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._retry_at = now + 1.0
            else:
                self._retry_at = 0.0
                return True
        return vital and end <= self._allocated

    def _grow(self, needed: int, *, mapped: bool) -> None:
        """Allocate up to `needed` bytes at least: by the next step if it can be had, else by the most that can."""
        least = -(-needed // PAGE_BYTES) * PAGE_BYTES
        wanted = max(least, self._allocated + self._step)
        while True:
            try:
                self._allocate(wanted, mapped=mapped)
                break
            except OSError as error:
                if error.errno not in _FULL or wanted == least:
                    raise
                wanted = max(least, self._allocated + (wanted - self._allocated) // 2 // PAGE_BYTES * PAGE_BYTES)
        self._allocated = wanted
        self._limit = wanted - RESERVE_BYTES
        self._step = min(2 * self._step, LARGEST_STEP_BYTES)

    def _allocate(self, size: int, *, mapped: bool) -> None:
        start = self._allocated
        self._reopen_if_lost()
        if not mapped:
            _pwrite(self._fd, bytes(size - start), start)
            return
        os.posix_fallocate(self._fd, start, size - start)
        base = self.at[0] // PAGE_BYTES * PAGE_BYTES
        try:
            new = mmap.mmap(self._fd, size - base, offset=base)
        except OSError:  # no more maps for this process: the space is there all the same
            self.unmap()
            return
        _prefault(new)
        old, self._map, self._base = self._map, new, base
        if old is not None:
            old.close()

    def _is_lost(self) -> bool:
        """Whether somebody closed the descriptor, as daemons close all; its number may be another file's by now."""
        try:
            return _identity(self._fd) != self._file
        except OSError:
            return True

    def _reopen_if_lost(self) -> None:
        if self._is_lost():
            self._fd = -1
            self._fd = os.open(self.path, _OPEN)

    def unmap(self) -> None:
        """Go on by `os.pwrite`: for tests of that path, and for file systems that turn out not to keep their word."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def close(self) -> None:
        """Cut the file to what was written and let go of it."""
        self.unmap()
        if self._fd >= 0:
            self._reopen_if_lost()
            os.ftruncate(self._fd, self.at[0])
        self.abandon()

    def abandon(self) -> None:
        """Let go of the file as it is: what a forked child does with its parent's segment."""
        self.unmap()
        if self._fd >= 0 and not self._is_lost():
            os.close(self._fd)
        self._fd = -1


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _prefault(area: mmap.mmap) -> None:
    """Let the kernel make all pages writable now, rather than one by one under `put`."""
    try:
        area.madvise(_POPULATE_WRITE)
    except (OSError, ValueError, AttributeError):
        for page in range(0, len(area), PAGE_BYTES):
            area[page] = area[page]


def _pwrite(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        if hasattr(os, "pwrite"):
            written = os.pwrite(fd, view, offset)
        else:  # Windows
            os.lseek(fd, offset, os.SEEK_SET)
            written = os.write(fd, view)
        view = view[written:]
        offset += written
