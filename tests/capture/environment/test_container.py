"""The container, as seen from inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlsdk.capture import Context
from mlsdk.capture.environment.container import capture, container, system

ID, SANDBOX = "ab" * 32, "cd" * 32
POD = "0f1e2d3c-1111-2222-3333-444455556666"
OVERLAY = "1 2 0:3 / / rw - overlay overlay rw,lowerdir={lower},upperdir=/u,workdir=/w"
HOSTNAME = "9 1 8:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/sda1 rw"


def made(root: Path, files: dict[str, str]) -> str:
    """A file system with these files."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return str(root)


def test_outside(tmp_path: Path) -> None:
    """Outside of containers there is nothing to say."""
    root = made(tmp_path, {"proc/self/cgroup": "0::/user.slice/session-1.scope\n"})

    assert container({}, root=root) == {}


def test_docker(tmp_path: Path) -> None:
    """Docker is known by its mark, the container by its cgroup or, where that is hidden, where its hostname lies."""
    new = made(
        tmp_path / "new",
        {".dockerenv": "", "proc/7/cgroup": "0::/\n", "proc/7/mountinfo": HOSTNAME.format(id=ID)},
    )
    old = made(tmp_path / "old", {"proc/7/cgroup": f"4:memory:/docker/{ID}\n3:cpu:/docker/{ID}\n"})

    assert container({}, root=new, process="7") == {"kind": "docker", "id": ID}
    assert container({}, root=old, process="7") == {"kind": "docker", "id": ID}


def test_layers(tmp_path: Path) -> None:
    """Two containers of one image on one host have equal layers, whatever Docker made for each of them."""
    layers = []
    for number, lower in enumerate(("l/INIT1:/l/A:/l/B", "l/INIT2:/l/A:/l/B", "l/INIT3:/l/A:/l/C")):
        files = {".dockerenv": "", "proc/self/mountinfo": OVERLAY.format(lower=f"/var/lib/docker/overlay2/{lower}")}
        layers.append(container({}, root=made(tmp_path / str(number), files))["layers"])

    assert layers[0] == layers[1] != layers[2]


def test_podman(tmp_path: Path) -> None:
    """Podman tells the image by itself."""
    told = (
        f'engine="podman-4.9"\nname="busy_bee"\nid="{ID}"\nimage="docker.io/library/python:3.11"\nimageid="{SANDBOX}"\n'
    )
    root = made(tmp_path, {"run/.containerenv": told + "rootless=1\n"})

    assert container({}, root=root) == {
        "kind": "podman",
        "engine": "podman-4.9",
        "name": "busy_bee",
        "id": ID,
        "image": "docker.io/library/python:3.11",
        "image_id": SANDBOX,
    }


@pytest.mark.parametrize("kind", ["apptainer", "singularity"])
def test_apptainer(tmp_path: Path, kind: str) -> None:
    """Apptainer and Singularity are known by their variables, with the labels of the image."""
    labels = '{"org.label-schema.usage.singularity.deffile.from": "python:3.11"}'
    root = made(tmp_path, {".singularity.d/labels.json": labels})
    variables = {f"{kind.upper()}_CONTAINER": "/images/train.sif", f"{kind.upper()}_NAME": "train.sif"}

    assert container(variables, root=root) == {
        "kind": kind,
        "image": "/images/train.sif",
        "name": "train.sif",
        "labels": labels,
    }


def test_kubernetes(tmp_path: Path) -> None:
    """In a pod its namespace and ids are known; its token is not even opened."""
    account = "var/run/secrets/kubernetes.io/serviceaccount"
    scope = f"0::/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-{ID}.scope\n"
    root = made(tmp_path, {f"{account}/namespace": "ml-team\n", "proc/self/cgroup": scope})
    (tmp_path / account / "token").mkdir()

    assert container({}, root=root) == {"kind": "kubernetes", "id": ID, "namespace": "ml-team", "pod_uid": POD}


def test_a_sandbox_is_no_container(tmp_path: Path) -> None:
    """The id of a pod's sandbox is not taken for the container's; what systemd says of containers is believed."""
    mount = f"9 1 8:1 /var/lib/containerd/sandboxes/{SANDBOX}/hostname /etc/hostname rw - ext4 /dev/sda1 rw"
    root = made(tmp_path, {"proc/self/mountinfo": mount})

    assert container({"container": "lxc"}, root=root) == {"kind": "lxc"}


def test_system(tmp_path: Path) -> None:
    """The distribution is known by its own file, where there is one."""
    first = made(tmp_path / "a", {"etc/os-release": '# x\nNAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12"\n'})
    second = made(tmp_path / "b", {"usr/lib/os-release": "NAME=Alpine\n"})

    assert [system(first), system(second), system(str(tmp_path))] == ["Debian GNU/Linux 12", "Alpine", None]


def test_here() -> None:
    """Whatever these tests run in, the answer has the published form, and comes from facts, not from this process."""
    told = {"env": {"variables": {"APPTAINER_CONTAINER": "/x.sif"}}}
    found = capture(Context(".", facts=told))

    assert set(found) <= {"container", "system"}
    assert set(capture(Context("."))) <= {"container", "system"}
    assert found["container"]["kind"] == "apptainer"  # type: ignore[index]
