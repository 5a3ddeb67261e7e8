"""The container that the process lives in, as far as it can be seen from inside, and the system in it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from mlsdk.capture import Context

_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_POD = re.compile(r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})")
_SERVICE_ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"
_MOST_BYTES = 1_000_000


def capture(where: Context) -> Mapping[str, object]:
    """Facts `container` (see `container`; absent outside of one) and `system`, what the system calls itself."""
    known = where.facts.get("env", {}).get("variables")
    variables = known if isinstance(known, Mapping) else {}
    found = {"container": container(variables, process=str(where.pid or "self")), "system": system()}
    return {name: value for name, value in found.items() if value}


def container(variables: Mapping[str, object], *, root: str = "/", process: str = "self") -> dict[str, object]:
    """What can be known of the container from inside; empty outside of one.

    Args:
        variables: environment of the process.
        root: folder of the whole file system.
        process: the process under `/proc`.

    Facts:
        kind: `docker`, `podman`, `apptainer`, `singularity`, `kubernetes`, or what the variable `container` says.
        id, name: of the container; image, image_id: where the engine tells (Podman, Apptainer).
        layers: digest of the names of the image's layers on this host: equal for equal images there, and only there.
        namespace, pod_uid: of Kubernetes. Its token lies beside the namespace and is never opened.
        labels: what Apptainer notes on the making of an image.
    """
    cgroup = _read(root, f"proc/{process}/cgroup")
    mounts = _read(root, f"proc/{process}/mountinfo").splitlines()
    found: dict[str, object] = {"kind": _kind(variables, root, cgroup)}
    if found["kind"] is None:
        return {}
    found["id"] = _identity(cgroup, mounts)
    found["layers"] = _layers(mounts)
    for name, value in _quoted(_read(root, "run/.containerenv")).items():
        if name in ("name", "id", "image", "imageid", "engine"):
            found[{"imageid": "image_id"}.get(name, name)] = value
    image = variables.get("APPTAINER_CONTAINER") or variables.get("SINGULARITY_CONTAINER")
    if image:
        found.update(image=image, name=variables.get("APPTAINER_NAME") or variables.get("SINGULARITY_NAME"))
        found["labels"] = _read(root, ".singularity.d/labels.json").strip()
    found["namespace"] = _read(root, f"{_SERVICE_ACCOUNT}/namespace").strip()
    pod = _POD.search(cgroup)
    found["pod_uid"] = pod[1].replace("_", "-") if pod else None
    return {name: value for name, value in found.items() if value}


def _kind(variables: Mapping[str, object], root: str, cgroup: str) -> str | None:
    def exists(path: str) -> bool:
        return os.path.exists(os.path.join(root, path))

    if variables.get("APPTAINER_CONTAINER"):
        return "apptainer"
    if variables.get("SINGULARITY_CONTAINER") or exists(".singularity.d"):
        return "singularity"
    if "kubepods" in cgroup or variables.get("KUBERNETES_SERVICE_HOST") or exists(_SERVICE_ACCOUNT):
        return "kubernetes"
    if exists("run/.containerenv") or "/libpod-" in cgroup:
        return "podman"
    if exists(".dockerenv") or "/docker" in cgroup:
        return "docker"
    told = variables.get("container")
    return str(told) if told else None


def _identity(cgroup: str, mounts: list[str]) -> str | None:
    """The container's id: in its cgroup, or (in a cgroup namespace) in where its `/etc/hostname` comes from."""
    ids = _ID.findall(cgroup)
    if ids:
        return str(ids[-1])
    for line in mounts:
        fields = line.split(" ")
        if len(fields) > 4 and fields[4] in ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf"):
            ids = _ID.findall(fields[3])
            if ids and "/sandboxes/" not in fields[3]:
                return str(ids[-1])
    return None


def _layers(mounts: list[str]) -> str | None:
    """Digest of what lies under the root's own layer."""
    from hashlib import sha256

    for line in mounts:
        before, _, after = line.partition(" - ")
        if after.startswith("overlay ") and before.split(" ")[4:5] == ["/"]:
            lower = after.partition("lowerdir=")[2].partition(",")[0].split(":")
            if "/docker/" in lower[0]:
                lower = lower[1:]  # Docker's first is made for each container
            return sha256(":".join(lower).encode()).hexdigest()[:32] if lower and lower[0] else None
    return None


def system(root: str = "/") -> str | None:
    """Name and version of the distribution, as os-release(5) has it."""
    for path in ("etc/os-release", "usr/lib/os-release"):
        found = _quoted(_read(root, path))
        if found:
            return found.get("PRETTY_NAME") or found.get("NAME")
    return None


def _quoted(text: str) -> dict[str, str]:
    """Lines of `name="value"`."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def _read(root: str, path: str) -> str:
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            return file.read(_MOST_BYTES)
    except OSError:
        return ""
