"""A real PostgreSQL for the tests: started once in a process, on a free port, in a folder of its own, ended with it."""

from __future__ import annotations

import atexit
import contextlib
import functools
import glob
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.conftest import require
from tests.servers.ports import free_port

_numbers = itertools.count()


class PostgresServer:
    """A server of one's own: it can be stopped, killed and started again.

    Args:
        binaries: the folder of `initdb` and `postgres`.
        settings: more settings, as `name=value`.
    """

    def __init__(self, binaries: str, settings: tuple[str, ...] = ("fsync=off",)) -> None:
        self._binaries = binaries
        self._settings = settings
        # as root it refuses to run: another user owns the folder then
        self._user = next((name for name in ("postgres", "nobody") if _has_user(name)), None) if _is_root() else None
        self.folder = tempfile.mkdtemp(prefix="mlsdk-postgres-")
        os.chmod(self.folder, 0o755)
        if self._user:
            shutil.chown(self.folder, self._user)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        data = os.path.join(self.folder, "data")
        self._run("initdb", "-D", data, "-A", "trust", "-U", "mlsdk", "-E", "UTF8", "--locale=C", "--no-sync")
        atexit.register(self.remove)
        self.start()

    def uri(self, schema: str | None = None, **more: str) -> str:
        """The URI of a store in a schema; by default in one that nobody has used."""
        name = schema or f"t{os.getpid()}_{next(_numbers)}"
        rest = "".join(f"&{key}={value}" for key, value in more.items())
        return f"postgresql://mlsdk@127.0.0.1:{self.port}/postgres?schema={name}{rest}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [f"--{setting}" for setting in (*self._settings, "log_min_messages=fatal", "max_connections=200")]
        command = [os.path.join(self._binaries, "postgres"), "-D", os.path.join(self.folder, "data")]
        command += ["-p", str(self.port), "-h", "127.0.0.1", "-k", self.folder, *options]
        log = os.path.join(self.folder, "log")
        with open(log, "ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, cwd="/", user=self._user)
        until = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, Path(log).read_text(errors="replace")
            assert time.monotonic() < until, "PostgreSQL does not answer"
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: by default at once and in order; SIGQUIT ends all its processes without a word."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def processes(self) -> list[int]:
        """The postmaster and its children, in this order."""
        assert self._process is not None
        parent = str(self._process.pid)
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and (folder / "stat").read_text().rpartition(")")[2].split()[1] == parent:
                    found.append(int(folder.name))
        return [self._process.pid, *found]

    def remove(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        import psycopg

        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(f"postgresql://mlsdk@127.0.0.1:{self.port}/postgres", connect_timeout=5).close()
            return True
        return False

    def _run(self, name: str, *arguments: str) -> None:
        command = [os.path.join(self._binaries, name), *arguments]
        done = subprocess.run(command, cwd="/", user=self._user, capture_output=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")


@functools.cache
def shared_server() -> PostgresServer:
    """The server that all tests of a process share; a test takes a schema of its own."""
    return own_server()


def own_server(*settings: str) -> PostgresServer:
    """A server that is stopped or killed by its test."""
    found = _binaries()
    require(found, "PostgreSQL (`initdb` on the PATH or under /usr/lib/postgresql)")
    require(importlib.util.find_spec("psycopg"), "psycopg")
    assert found is not None
    return PostgresServer(found, settings or ("fsync=off",))


def _binaries() -> str | None:
    """The folder of PostgreSQL's programs, or None."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda folder: int(folder.split("/")[4]))
    on_path = shutil.which("initdb")
    if on_path:
        folders.append(os.path.dirname(os.path.realpath(on_path)))
    whole = [folder for folder in folders if os.path.exists(os.path.join(folder, "postgres"))]
    return whole[-1] if whole else None


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _has_user(name: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
