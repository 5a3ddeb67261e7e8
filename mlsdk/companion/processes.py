"""What a process and its children use, while they come and go.

On Linux two small files of each process are read by hand, 25 µs; elsewhere psutil is asked. Neither takes a lock of the
process that is looked at (as reading `smaps`, for shares of pages, would).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
MANY_THREADS = 200
"""The kernel lists children thread by thread. With more threads than this all processes are asked for their parents."""

_BY_HAND = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


class Usage(NamedTuple):
    """What one process has used up to now, and holds now."""

    start: float
    """When it began, in the system's own measure: with its number it names the process."""
    cpu_s: float
    reaped_s: float
    """Processor time of its children that have ended and were waited for."""
    memory_bytes: int
    threads: int
    read_bytes: int | None
    """From storage, not from the page cache; on Linux with those of its ended children. None if that is hidden."""
    written_bytes: int | None

    def since(self, before: Usage | None) -> Usage:
        """What was used since another look: all of it, if it is another process."""
        if before is None or before.start != self.start:
            return self
        return self._replace(
            cpu_s=max(0.0, self.cpu_s - before.cpu_s),
            reaped_s=max(0.0, self.reaped_s - before.reaped_s),
            read_bytes=max(0, (self.read_bytes or 0) - (before.read_bytes or 0)),
            written_bytes=max(0, (self.written_bytes or 0) - (before.written_bytes or 0)),
        )


def usage(pid: int) -> Usage | None:
    """What a process uses; None if it is gone. Of a zombie the times are still there.

    >>> usage(os.getpid()).threads >= 1
    True
    """
    return _by_hand(pid) if _BY_HAND else _by_psutil(pid)


def children(pid: int) -> list[int]:
    """The children of a process, those of all its threads; [] if it is gone."""
    if not _BY_HAND:
        import psutil

        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children()]
        return []
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return found


def families() -> dict[int, list[int]]:
    """The children of every process, by one look at each."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):  # it ended meanwhile
                stat = _read(f"/proc/{name}/stat")
                found.setdefault(int(stat[stat.rfind(b")") + 2 :].split(None, 2)[1]), []).append(int(name))
    return found


def high_water_bytes(pid: int) -> int | None:
    """The most memory that a process has ever held (VmHWM of proc(5)); None if that is not told."""
    with contextlib.suppress(OSError):
        for line in _read(f"/proc/{pid}/status").splitlines():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def gpu_files(pids: set[int]) -> set[str]:
    """The device files of GPUs that processes hold open."""
    found: set[str] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    path = os.readlink(f"/proc/{pid}/fd/{name}")
                    if path.startswith("/dev/nvidia") and path[11:].isdigit():
                        found.add(path)
    return found


class Tree:
    """A process with its children and theirs.

    Sums go on when a process ends: what it had used stays counted, whether or not its parent takes it over.

    Args:
        pid: the process.
        start: when it began, if known, lest its number is another's by now.
    """

    def __init__(self, pid: int, start: float | None = None) -> None:
        self.pid = pid
        self.start = start if _BY_HAND else None
        self.alive = True
        self.pids: set[int] = set()
        self.memory_bytes = 0
        """Of all of them. Pages that they share, as forked workers do, are counted for each: it is an upper bound."""
        self.own_memory_bytes = 0
        """Of the process without its children."""
        self.threads = 0
        self.cpu_s = 0.0
        """Since this was made."""
        self.read_bytes = 0
        self.written_bytes = 0
        self.high_water_bytes: int | None = None
        """Of the process itself, in all its life."""
        self._known: dict[int, Usage] = {}
        self._looked = False

    def look(self) -> bool:
        """Look again; False if the process is gone."""
        now = self._find()
        self.alive = self.pid in now
        if not self.alive:
            self.pids = set()
            return False
        if self._looked:
            self._count(now)
        self._looked = True
        self._known = now
        self.pids = set(now)
        self.memory_bytes = sum(one.memory_bytes for one in now.values())
        self.own_memory_bytes = now[self.pid].memory_bytes
        self.threads = sum(one.threads for one in now.values())
        self.high_water_bytes = high_water_bytes(self.pid) or self.high_water_bytes
        return True

    def _find(self) -> dict[int, Usage]:
        root = usage(self.pid)
        if root is None or (self.start is not None and root.start != self.start):
            return {}
        self.start = root.start
        found = {self.pid: root}
        table = families() if _BY_HAND and self.threads > MANY_THREADS else None
        born = children if table is None else lambda pid: list(table.get(pid, ()))
        self._gather(born(self.pid), found, born)
        # A child whose parent has ended is nobody's in the tree, and still works for the run.
        lost = [pid for pid in self._known if pid not in found]
        self._gather([pid for pid in lost if _still(pid, self._known[pid])], found, born)
        return found

    def _gather(self, waiting: list[int], found: dict[int, Usage], born: Callable[[int], list[int]]) -> None:
        while waiting:
            pid = waiting.pop()
            one = None if pid in found or pid == os.getpid() else usage(pid)
            if one is not None:
                known = self._known.get(pid)
                if one.read_bytes is None and known is not None:  # a zombie's are hidden, and not forgotten
                    one = one._replace(read_bytes=known.read_bytes, written_bytes=known.written_bytes)
                found[pid] = one
                waiting += born(pid)

    def _count(self, now: dict[int, Usage]) -> None:
        """Add what was used since the last look; what a process takes over from dead children was counted before."""
        used = [one.since(self._known.get(pid)) for pid, one in now.items()]
        ended = [one for pid, one in self._known.items() if pid not in now or now[pid].start != one.start]
        taken_over = sum(one.reaped_s for one in used) - sum(one.cpu_s + one.reaped_s for one in ended)
        self.cpu_s += sum(one.cpu_s for one in used) + max(0.0, taken_over)
        read, written = sum(one.read_bytes or 0 for one in used), sum(one.written_bytes or 0 for one in used)
        if _BY_HAND:
            read -= sum(one.read_bytes or 0 for one in ended)
            written -= sum(one.written_bytes or 0 for one in ended)
        self.read_bytes += max(0, read)
        self.written_bytes += max(0, written)


def _still(pid: int, known: Usage) -> bool:
    now = usage(pid)
    return now is not None and now.start == known.start


def _by_hand(pid: int) -> Usage | None:
    try:
        stat = _read(f"/proc/{pid}/stat")
    except OSError:
        return None
    fields = stat[stat.rfind(b")") + 2 :].split()
    if len(fields) < 22 or fields[0] == b"X":
        return None
    read = written = None
    with contextlib.suppress(OSError, ValueError, IndexError):  # another user's, or a zombie's
        lines = dict(line.split(b": ") for line in _read(f"/proc/{pid}/io").splitlines())
        read, written = int(lines[b"read_bytes"]), int(lines[b"write_bytes"])
    return Usage(
        int(fields[19]),
        (int(fields[11]) + int(fields[12])) / _TICKS,
        (int(fields[13]) + int(fields[14])) / _TICKS,
        int(fields[21]) * _PAGE,
        int(fields[17]),
        read,
        written,
    )


def _by_psutil(pid: int) -> Usage | None:
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            read = written = None
            with contextlib.suppress(AttributeError, psutil.Error):  # macOS has none
                counters = process.io_counters()
                read, written = counters.read_bytes, counters.write_bytes
            return Usage(
                process.create_time(),
                times.user + times.system,
                getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0),
                process.memory_info().rss,
                process.num_threads(),
                read,
                written,
            )
    except psutil.Error:
        return None


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 65_536)
    finally:
        os.close(descriptor)
