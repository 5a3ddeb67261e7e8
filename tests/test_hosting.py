"""The files of the hosting guide: they can be read, and the commands in them are ones that mlsdk takes."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlsdk.cli.commands import parser
from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "hosting"
VALUES = {"MLSDK_BUCKET": "s3://bucket/prefix", "MLSDK_HOST": "runs.example.org", "MLSDK_SERVED": "postgresql://db/x"}


def filled(text: str) -> str:
    """Text with the variables that compose and Kubernetes put in."""
    return re.sub(r"\$[{(](\w+)(?::[?-][^})]*)?[)}]", lambda found: VALUES.get(found[1], "x"), text)


def check_serve(arguments: list[str]) -> Any:
    """The options of a `serve` command, taken by the real parser, and allowed to listen on the network."""
    from mlsdk.cli.serve import _check_host, _limits

    args = parser().parse_args([filled(argument) for argument in arguments])
    _check_host(args.host, args, safe=False)
    _limits(args)
    return args


def test_compose() -> None:
    """The compose file serves PostgreSQL and a bucket by a command that is taken; what needs a secret asks for it."""
    file = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
    args = check_serve(file["services"]["server"]["command"])
    secrets = [value for service in file["services"].values() for value in service.get("environment", {}).values()]

    assert (args.place, args.behind_proxy) == ("postgresql://mlsdk@database/mlsdk?blobs=s3://bucket/prefix", True)
    assert (FOLDER / file["services"]["server"]["build"]["context"]).resolve() == ROOT
    assert not [value for value in secrets if "PASSWORD" in value.upper() and not value.startswith("${")]
    assert set(file["volumes"]) == {"database", "certificates"}


def test_kubernetes() -> None:
    """The manifest's server is started by a command that is taken; service, budget and ingress lead to it."""
    objects = list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text("utf-8")))
    by_kind = {found["kind"]: found for found in objects}
    pod = by_kind["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    args = check_serve(container["args"])

    assert args.drain_s + args.stop_s < pod["spec"]["terminationGracePeriodSeconds"]
    assert by_kind["Service"]["spec"]["selector"] == pod["metadata"]["labels"]
    assert by_kind["PodDisruptionBudget"]["spec"]["minAvailable"] < by_kind["Deployment"]["spec"]["replicas"]
    assert {probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")} == {
        "/ready",
        "/health",
    }


def test_image() -> None:
    """The image copies what the build needs, and installs extras that are there."""
    text = (FOLDER / "Dockerfile").read_text("utf-8")
    extras = re.search(r"'\.\[([\w,]+)\]'", text)
    copied = [name for line in re.findall(r"^COPY (.*) \./?\S*$", text, re.MULTILINE) for name in line.split()]
    declared = (ROOT / "pyproject.toml").read_text("utf-8")

    assert extras is not None
    assert all(f"\n{extra} = [" in declared for extra in extras[1].split(","))
    assert {"pyproject.toml", "README.md", "LICENSE", "mlsdk"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)


def commands(page: Path) -> list[str]:
    """The commands of mlsdk in a page's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    lines = [line.partition("   #")[0].strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = (re.search(r"(?:bin/|^(?:\w+=\S+ )*|run --rm )(?:mlsdk |server )(.*)", line) for line in lines)
    return [match[1] for match in found if match and not match[1].startswith("[")]


@pytest.mark.parametrize("page", ["hosting", "server", "access", "sync", "remote", "postgres", "objects"])
def test_commands_of_the_pages(page: str) -> None:
    """Every command of mlsdk in the pages of the team store is one that the command line takes."""
    wrong = []
    for command in commands(ROOT / "docs" / f"{page}.md"):
        try:
            parser().parse_args(shlex.split(os.path.expandvars(command), comments=True))
        except SystemExit:
            wrong.append(command)

    assert wrong == []
