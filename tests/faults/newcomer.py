"""The way of a newcomer, by the commands of `docs/hosting.md`, over two hosts: namespaces with a cable between them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests import programs

FIRST_RUN = """
import mlsdk

@mlsdk.track(experiment="first")
def train(lr: float = 0.1, epochs: int = 20):
    for epoch in range(epochs):
        mlsdk.log(loss=1.0 / (1 + lr * epoch))
    return {"acc": 0.93}

train(lr=0.3)
"""

PAGE = """
import sys
import requests

url, token, run = sys.argv[1:]
with requests.Session() as browser:
    browser.trust_env = False
    browser.post(f"{url}/auth/token", data={"key": token}, timeout=10).raise_for_status()
    answer = browser.get(f"{url}/default/runs/{run}", timeout=10)
    answer.raise_for_status()
    print(answer.text)
"""


class Host(NamedTuple):
    """A network namespace that stands for a machine."""

    space: str
    name: str
    address: str
    home: Path

    def command(self, *words: str) -> list[str]:
        """A command as it is run there."""
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        return ["ip", "netns", "exec", self.space, *named, *words]

    def environment(self, **settings: str) -> dict[str, str]:
        """Its user's environment."""
        folders = {"HOME": str(self.home), "XDG_CONFIG_HOME": f"{self.home}/.config"}
        folders |= {"XDG_STATE_HOME": f"{self.home}/.local/state", "XDG_CACHE_HOME": f"{self.home}/.cache"}
        return programs.environment(**folders, USER=self.name, **settings)

    def run(self, *words: str, stdin: str = "", **settings: str) -> str:
        """What a command prints there; an error if it fails."""
        done = subprocess.run(
            self.command(*words),
            env=self.environment(**settings),
            cwd=self.home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout} {done.stderr}"
        return done.stdout

    def mlsdk(self, *words: str, stdin: str = "", **settings: str) -> str:
        """What a command of mlsdk prints there."""
        return self.run(sys.executable, "-m", "mlsdk", *words, stdin=stdin, **settings)


def can_make_hosts() -> bool:
    """Whether namespaces with a cable between them can be made here."""
    if not shutil.which("ip") or not shutil.which("unshare"):
        return False
    try:
        with hosts(Path("/"), Path("/")):
            return True
    except AssertionError:
        return False


@contextmanager
def hosts(*homes: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts, and the cable between them."""
    mark = f"{os.getpid() % 100_000}"
    spaces = (f"mlsdk-a{mark}", f"mlsdk-b{mark}")
    one, other = (
        Host(space, name, f"10.213.47.{number}", home)
        for space, name, number, home in zip(spaces, ("server", "workstation"), (1, 2), homes, strict=True)
    )
    try:
        for space in spaces:
            _ip("netns", "add", space)
        ends = f"ma{mark}", f"mb{mark}"
        _ip("link", "add", ends[0], "netns", spaces[0], "type", "veth", "peer", "name", ends[1], "netns", spaces[1])
        for host, end in zip((one, other), ends, strict=True):
            _ip("-n", host.space, "addr", "add", f"{host.address}/24", "dev", end)
            _ip("-n", host.space, "link", "set", end, "up")
            _ip("-n", host.space, "link", "set", "lo", "up")
        yield one, other
    finally:
        for space in spaces:
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


def cable(host: Host, *, plugged: bool) -> None:
    """Pull the cable of a host, or plug it in again."""
    end = f"m{host.space[len('mlsdk-') :]}"
    _ip("-n", host.space, "link", "set", end, "up" if plugged else "down")


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@contextmanager
def serving(host: Host, port: int = 8383) -> Iterator[str]:
    """`mlsdk serve` on a host, bound to its address; gives the server's URL when it answers."""
    command = [sys.executable, "-m", "mlsdk", "serve", f"{host.home}/team", "--host", host.address, "--insecure"]
    with open(host.home / "output", "wb") as output:
        process = subprocess.Popen(
            host.command(*command, "--port", str(port)), env=host.environment(), stdout=output, stderr=output
        )
    try:
        look = f"import socket; socket.create_connection(('{host.address}', {port}), 2).close()"
        ask = [*host.command(sys.executable, "-c", look)]
        answers = programs.eventually(
            lambda: subprocess.run(ask, capture_output=True, check=False).returncode == 0, within_s=60
        )
        assert answers, (host.home / "output").read_text("utf-8")
        yield f"http://{host.address}:{port}"
    finally:
        process.terminate()
        process.wait(30)


class Walked(NamedTuple):
    """How it went."""

    steps: dict[str, float]
    """Seconds after the beginning at which each was done."""
    page: str
    """HTML of the run."""
    run: str
    host: str
    """On which the server says that the run was made."""


def walk(home: Path) -> Walked:
    """Serve on one host, make a token, record the first run from another, look at its page."""
    homes = home / "server", home / "workstation"
    for folder in homes:
        folder.mkdir()
    (homes[1] / "train.py").write_text(FIRST_RUN, "utf-8")
    (homes[1] / "page.py").write_text(PAGE, "utf-8")
    steps: dict[str, float] = {}
    begun = time.monotonic()

    def done(step: str) -> None:
        steps[step] = time.monotonic() - begun

    with hosts(*homes) as (server, workstation):
        done("two hosts")
        with serving(server) as url:
            done("served")
            server.mlsdk("member", "set", "ann", "writer", MLSDK_STORE=url)
            made = server.mlsdk("token", "make", "--actor", "ann", "--scope", "default=writer", MLSDK_STORE=url)
            token = made.strip().splitlines()[-1]
            done("token")
            workstation.mlsdk("login", url, "--token-stdin", stdin=token + "\n")
            done("signed in")
            store = f"{url}/default"
            workstation.run(sys.executable, "train.py", MLSDK_STORE=store)
            done("first run")
            told = workstation.mlsdk("show", "latest", "--json", MLSDK_STORE=store)
            (run,) = set(re.findall(r'"id": ?"([0-9a-f]{32})"', told))
            page = workstation.run(sys.executable, "page.py", url, token, run)
            done("page")
            host = "workstation" if '"workstation"' in told else told
            return Walked(steps, page, run, host)
