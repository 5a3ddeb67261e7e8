"""The machine: its name, and what of it this process may use."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mlsdk.capture import Context
from mlsdk.capture.hardware import host
from mlsdk.capture.hardware.host import capture, cgroup_limits

V2 = "31 23 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)


def _files(root: Path, mountinfo: str, cgroup: str, **limits: str) -> str:
    """A folder with `/proc/self` and the files of control groups; in their names `__` stands for a slash."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text(mountinfo)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in limits.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("cpu_cfs", "cpu.cfs").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return str(root)


def test_host() -> None:
    """Name, cores and memory are those of this machine."""
    found = capture(Context("."))

    assert found["host"] == socket.gethostname()
    assert found["cores"] == os.cpu_count()
    assert 0 < float(str(found["usable_cores"])) <= int(str(found["cores"]))
    assert int(str(found["memory_bytes"])) > 2**27


def test_nested_groups(tmp_path: Path) -> None:
    """Of nested groups the smallest limit holds, wherever it stands."""
    root = _files(
        tmp_path,
        V2,
        "0::/job/step/task\n",
        cpu_dot_max="max 100000",
        job__cpu_dot_max="250000 100000",
        job__step__cpu_dot_max="max 100000",
        job__step__task__cpu_dot_max="400000 100000",
        job__memory_dot_max="max",
        job__step__memory_dot_max="8589934592",
        job__step__task__memory_dot_max="17179869184",
    )

    assert cgroup_limits(root) == {"cpu_quota_cores": 2.5, "memory_limit_bytes": 8_589_934_592}


def test_version_1(tmp_path: Path) -> None:
    """Version 1 has a hierarchy for each controller; a number near 2**63 is no limit."""
    root = _files(
        tmp_path,
        V1,
        "9:memory:/a/b\n8:cpu,cpuacct:/a\n1:name=systemd:/\n0::/\n",
        **{
            "cpu,cpuacct__a__cpu_cfs_quota_us": "50000",
            "cpu,cpuacct__a__cpu_cfs_period_us": "100000",
            "cpu,cpuacct__cpu_cfs_quota_us": "-1",
            "cpu,cpuacct__cpu_cfs_period_us": "100000",
            "memory__a__memory_dot_limit_in_bytes": "1073741824",
            "memory__a__b__memory_dot_limit_in_bytes": "9223372036854771712",
        },
    )

    assert cgroup_limits(root) == {"cpu_quota_cores": 0.5, "memory_limit_bytes": 1 << 30}


def test_in_a_container(tmp_path: Path) -> None:
    """In a container that shares the names of groups with its host, the mount shows the container's own part."""
    mount = V2.replace(" / /sys", " /docker/4f1e /sys")
    root = _files(tmp_path, mount, "0::/docker/4f1e\n", cpu_dot_max="100000 100000", memory_dot_max="4096")

    assert cgroup_limits(root) == {"cpu_quota_cores": 1, "memory_limit_bytes": 4096}


@pytest.mark.parametrize("cgroup", ["0::/\n", "0::/../../elsewhere\n", "0::/gone\n", ""])
def test_nothing_limited(tmp_path: Path, cgroup: str) -> None:
    """Where no group limits anything, or none is to be seen, there is no limit."""
    assert cgroup_limits(_files(tmp_path, V2, cgroup, cpu_dot_max="max 100000", memory_dot_max="max")) == {}
    assert cgroup_limits(str(tmp_path / "nowhere")) == {}


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="knows affinity by the scheduler's calls")
def test_usable_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be used is the smaller of affinity and quota; the affinity may change between two runs."""
    found = []
    for cores, limits in (({0, 1, 2}, {}), ({0, 1, 2}, {"cpu_quota_cores": 1.5}), ({0}, {"cpu_quota_cores": 4})):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: cores)
        monkeypatch.setattr(host, "_limits", limits)
        found.append(capture(Context("."))["usable_cores"])

    assert found == [3, 1.5, 1]
