"""Who writes a log: enough about a process to tell later whether it is still there."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from zlib import crc32

_host: dict[str, object] = {}


def writer_identity() -> dict[str, object]:
    """Identity of this process, as the open frame of its logs holds it.

    `pid` and `start` (clock ticks since boot) name a process within a `boot` (kernel's boot id) and a `pidns` (pid
    namespace). `place` stands for user, boot, namespace and job (cgroup) together: one companion serves one place.
    """
    if not _host:
        _host.update(_host_identity())
    pid = os.getpid()
    if _host.get("pid") != pid:  # the first time, and in a forked child
        _host.update(pid=pid, start=start_ticks(pid))
    return dict(_host)


def _host_identity() -> dict[str, object]:
    boot = read_text("/proc/sys/kernel/random/boot_id").strip()
    try:
        pidns = os.readlink("/proc/self/ns/pid")
    except OSError:
        pidns = ""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    job = f"{user}|{host}|{boot}|{pidns}|{read_text('/proc/self/cgroup')}"
    return {"host": host, "boot": boot, "pidns": pidns, "place": f"{user}-{crc32(job.encode()):08x}"}


def read_text(path: str) -> str:
    """What a file of the kernel says; empty if it says nothing."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """When a process began, in clock ticks since boot (proc(5) stat, field 22); None if unknown, a zombie or gone."""
    text = read_text(f"/proc/{pid}/stat")
    fields = text[text.rfind(")") + 2 :].split()
    return int(fields[19]) if len(fields) > 19 and fields[0] not in "ZX" else None


def is_alive(identity: Mapping[str, object]) -> bool | None:
    """Whether the process with this identity still runs; None if that cannot be known from here.

    Known only on the same host: a different boot id of the same host means that it was restarted since.
    """
    here = writer_identity()
    if identity.get("host") != here["host"]:
        return None
    if identity.get("boot") != here["boot"]:
        return False if identity.get("boot") and here["boot"] else None
    if identity.get("pidns") != here["pidns"]:
        return None
    pid = identity.get("pid")
    if not isinstance(pid, int):
        return None
    if here["boot"]:
        return start_ticks(pid) is not None and start_ticks(pid) == identity.get("start")
    return _exists(pid)


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        import psutil

        return bool(psutil.pid_exists(pid))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
