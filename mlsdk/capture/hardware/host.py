"""The machine: its name, how many cores and how much memory this process may really use."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from mlsdk.capture import Context
from mlsdk.log.identity import read_text, writer_identity

_UNLIMITED_BYTES = 1 << 60
"""Version 1 of cgroups says "no limit" by a number near 2**63."""

_limits: dict[str, float] | None = None


def capture(where: Context) -> Mapping[str, object]:
    """Facts `host`, `cores`, `usable_cores`, `memory_bytes`; `cpu_quota_cores` and `memory_limit_bytes` if limited.

    `cores` are the machine's logical ones. `usable_cores` is what the run's process can keep busy at once: the smaller
    of its affinity and the quota of its cgroups, which may be a fraction. The companion is in the same cgroups.
    """
    global _limits
    if _limits is None:
        _limits = cgroup_limits()
    found: dict[str, object] = {"host": writer_identity()["host"], "cores": os.cpu_count(), "memory_bytes": _memory()}
    usable: float | None = _affinity(where.pid)
    quota = _limits.get("cpu_quota_cores")
    if usable is not None:
        found["usable_cores"] = usable if quota is None else _whole(min(usable, quota))
    return {**found, **_limits}


def _affinity(pid: int) -> int | None:
    """Cores that a process may run on; when it has gone, those that this one may."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count()
    try:
        return len(os.sched_getaffinity(pid))
    except ProcessLookupError:
        return len(os.sched_getaffinity(0))


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def cgroup_limits(root: str = "") -> dict[str, float]:
    """What the control groups of this process allow: `cpu_quota_cores`, `memory_limit_bytes`; {} if nothing is limited.

    Groups are nested and each may have a limit: the smallest holds. Both versions are read, as both may be mounted.

    Args:
        root: folder under which `/proc` and `/sys` are looked for.

    See the kernel's admin-guide/cgroup-v2 (`cpu.max`, `memory.max`) and sched-bwc (`cpu.cfs_quota_us`).
    """
    found: dict[str, float] = {}
    mounts = _mounts(read_text(f"{root}/proc/self/mountinfo"))
    for line in read_text(f"{root}/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            if name in mounts:
                for folder in _upwards(*mounts[name], path):
                    for key, limit in _limits_of(root + folder, name):
                        found[key] = min(limit, found.get(key, limit))
    return {key: _whole(value) for key, value in found.items()}


def _limits_of(folder: str, controller: str) -> Iterator[tuple[str, float]]:
    if controller == "":  # version 2
        quota, _, period = read_text(f"{folder}/cpu.max").partition(" ")
        memory = read_text(f"{folder}/memory.max")
    elif controller == "cpu":
        quota, period, memory = read_text(f"{folder}/cpu.cfs_quota_us"), read_text(f"{folder}/cpu.cfs_period_us"), ""
    else:
        quota, period, memory = "", "", read_text(f"{folder}/memory.limit_in_bytes")
    if _is_number(quota) and _is_number(period):  # `max` and -1 mean no quota
        yield "cpu_quota_cores", int(quota) / int(period)
    if _is_number(memory) and int(memory) < _UNLIMITED_BYTES:
        yield "memory_limit_bytes", int(memory)


def _is_number(text: str) -> bool:
    return text.strip().isdigit() and int(text) > 0


def _mounts(mountinfo: str) -> dict[str, tuple[str, str]]:
    """By controller ("" for version 2): where it is mounted, and which group that is (proc(5), mountinfo)."""
    found: dict[str, tuple[str, str]] = {}
    for line in mountinfo.splitlines():
        if " - cgroup" in line:
            before, _, after = line.partition(" - ")
            fields, (kind, _, options) = before.split(" "), after.split(" ", 2)
            names = [""] if kind == "cgroup2" else [name for name in options.split(",") if name in {"cpu", "memory"}]
            for name in names:
                found.setdefault(name, (fields[4], fields[3]))
    return found


def _upwards(mount: str, group: str, path: str) -> Iterator[str]:
    """Folders of a group and of those around it, as far as they can be seen from here."""
    inner = path[len(group) :] if group != "/" and (path + "/").startswith(group + "/") else path
    parts = [part for part in inner.split("/") if part]
    if ".." in parts:  # the process was moved out of what its container sees
        parts = []
    for count in range(len(parts), -1, -1):
        yield "/".join((mount, *parts[:count]))


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value
