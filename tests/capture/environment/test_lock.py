"""A lock of the environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mlsdk import config
from mlsdk.capture import Context
from mlsdk.capture.environment import installed, lock
from mlsdk.capture.environment.lock import capture, find_uv, pylock_entry, requirements
from tests.capture.environment.distributions import install
from tests.conftest import require

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

UV = shutil.which("uv", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]))


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    installed._scans.clear()


class Bench:
    """An environment to lock, a store, a program uv made for the test, and what that was asked."""

    def __init__(self, folder: Path) -> None:
        self.site, self.root, self.bin = folder / "site", folder / "store", folder / "bin"
        self.asked = folder / "asked"
        self.blobs: dict[str, str] = {}
        for made in (self.site, self.root / "open", self.bin):
            made.mkdir(parents=True)

    def uv(self, body: str) -> None:
        """Put a program `uv` there: Python code with `args` and `given`."""
        program = f"""#!{sys.executable} -IS
import sys, time
args, given = sys.argv[1:], "" if sys.argv[1:] == ["--version"] else sys.stdin.read()
open({str(self.asked)!r}, "a").write(repr(args) + "\\n")
if args == ["--version"]:
    print("uv 9.9.9 (somewhere)")
    sys.exit()
{body}
"""
        (self.bin / "uv").write_text(program)
        (self.bin / "uv").chmod(0o755)

    def put(self, data: bytes | str) -> tuple[str, int]:
        """A store of blobs."""
        assert isinstance(data, bytes)
        digest = sha256(data).hexdigest()
        self.blobs[digest] = data.decode()
        return digest, len(data)

    def look(self, python: str = "3.11.7") -> dict[str, Any]:
        """What is found for a version of Python."""
        env = {
            "path": [str(self.site)],
            "python": python,
            "executable": sys.executable,
            "prefix": "/nowhere",
            "variables": {"PATH": f"relative{os.pathsep}{self.bin}"},
        }
        where = Context(str(self.site), facts={"env": env}, root=str(self.root), put_blob=self.put)
        return dict(capture(where))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An environment with two distributions from an index."""
    require(os.name == "posix", "programs with a first line that says who runs them")
    made = Bench(tmp_path)
    install(made.site, "alpha", "1.0")
    install(made.site, "beta", "2.0+cpu")
    return made


PRINTS = """
print('lock-version = "1.0"')
for line in given.split():
    name, version = line.split("==")
    print(f'[[packages]]\\nname = "{name}"\\nversion = "{version}"')
"""


def test_without_uv(bench: Bench) -> None:
    """Without uv there is a list of exact versions with digests of what is installed, and the reason for no more."""
    found = bench.look()
    text = bench.blobs[found["lock"]["digest"]]

    assert {name: found["lock"][name] for name in ("format", "by", "python", "packages")} == {
        "format": "requirements",
        "by": "mlsdk",
        "python": "3.11",
        "packages": 2,
    }
    assert found["lock"]["requirements"] == found["lock"]["digest"]
    assert [line.partition("  # content ")[0] for line in text.splitlines()[2:]] == ["alpha==1.0", "beta==2.0+cpu"]
    assert all(len(line.partition("  # content ")[2]) == 64 for line in text.splitlines()[2:])
    assert "uv" in found["lock_missing"]["pylock.toml"]


def test_a_version_that_is_not_known(bench: Bench) -> None:
    """What has no version cannot be asked for: it is not in the list, and that is said."""
    odd = bench.site / "odd.dist-info"
    odd.mkdir()
    (odd / "METADATA").write_text("Name: odd\n")
    found = bench.look()

    assert "odd" not in bench.blobs[found["lock"]["requirements"]]
    assert found["lock"]["packages"] == 2
    assert found["lock_missing"]["odd"] == "its version is not known"


def test_with_uv(bench: Bench) -> None:
    """With uv there is a lock for all platforms, which nothing is built or asked of the network for."""
    bench.uv(PRINTS)
    install(bench.site, "edited", files={}, direct_url={"url": "file:///src/e", "dir_info": {"editable": True}})
    found = bench.look()
    read = tomllib.loads(bench.blobs[found["lock"]["digest"]])
    asked = bench.asked.read_text().splitlines()

    assert (found["lock"]["format"], found["lock"]["by"], found["lock"]["packages"]) == ("pylock.toml", "uv 9.9.9", 3)
    assert [one["name"] for one in read["packages"]] == ["alpha", "beta", "edited"]
    assert read["packages"][2]["directory"] == {"path": "/src/e", "editable": True}
    assert found["lock"]["to_build"] == ["edited"]
    assert found["lock"]["requirements"] in bench.blobs
    assert "lock_missing" not in found
    for option in ("--universal", "--no-build", "--no-deps", "--offline", "--no-config"):
        assert option in asked[1]


def test_on_request_an_index_is_asked(bench: Bench) -> None:
    """Only the setting makes uv ask an index."""
    bench.uv(PRINTS)
    config.configure(lock="uv")
    bench.look()

    assert "--offline" not in bench.asked.read_text()


def test_what_uv_does_not_know(bench: Bench) -> None:
    """A distribution that uv does not know is left out, with the reason; the others are locked."""
    bench.uv(
        """
if "beta" in given:
    sys.exit("error: No solution found\\n  cause: Because there is no version of beta==2.0+cpu, none.\\n")
"""
        + PRINTS
    )
    found = bench.look()

    assert (found["lock"]["format"], found["lock"]["packages"]) == ("pylock.toml", 1)
    assert found["lock_missing"] == {"beta": "Because there is no version of beta==2.0+cpu, none."}


def test_uv_that_fails(bench: Bench) -> None:
    """Where uv has no answer at all, the list is there, with the reason."""
    bench.uv("sys.exit('error: the sky is falling on https://me:hunter2@host/simple')")
    found = bench.look()

    assert found["lock"]["format"] == "requirements"
    assert "the sky is falling" in found["lock_missing"]["pylock.toml"]
    assert "hunter2" not in str(found)


def test_uv_that_hangs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A uv that hangs is stopped, with all that it started; the list is there."""
    monkeypatch.setattr(lock, "CACHE_LIMIT_S", 1.0)
    bench.uv(f"import subprocess\nsubprocess.run([{shutil.which('sleep')!r}, '611'])")
    found = bench.look()
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]

    assert found["lock"]["format"] == "requirements"
    assert "too long" in found["lock_missing"]["pylock.toml"]
    assert not [command for command in running if command.endswith(b"sleep\x00611\x00")]


def test_once_for_each_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of an unchanged environment is made once; a failure is tried again after a while, a change at once."""
    bench.uv(PRINTS)
    first, second = bench.look(), bench.look()
    calls = len(bench.asked.read_text().splitlines())
    install(bench.site, "gamma", "3.0")
    third = bench.look()
    bench.uv("sys.exit('error')")
    install(bench.site, "delta", "4.0")
    fourth, fifth = bench.look(), bench.look()
    failures = len(bench.asked.read_text().splitlines()) - 2 * calls
    monkeypatch.setattr(lock, "TRY_AGAIN_S", -1.0)
    bench.uv(PRINTS)
    sixth = bench.look()

    assert first == second
    assert (calls, failures) == (2, 2)
    assert third["lock"]["packages"] == 3
    assert fourth == fifth
    assert (fifth["lock"]["format"], sixth["lock"]["format"]) == ("requirements", "pylock.toml")


def test_secrets_stay_out(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password in an address, of an index or of a repository, is in no blob, cache or fact."""
    bench.uv(PRINTS + "print('index = \"https://me:hunter2@host/simple\"')")
    url = {"url": "https://me:hunter2@host/x.git", "vcs_info": {"vcs": "git", "commit_id": "a" * 40}}
    install(bench.site, "cloned", direct_url=url)
    caches = tmp_path / "caches"
    monkeypatch.setenv("XDG_CACHE_HOME", str(caches))
    found = bench.look()
    kept = [path.read_text() for path in caches.rglob("*") if path.is_file()]

    assert len(kept) == 1
    assert "host/simple" in kept[0]
    assert "hunter2" not in str([found, bench.blobs, kept])


def test_direct_references(tmp_path: Path) -> None:
    """What comes from no index is in the list and in the lock as what it is: repository, archive, folder."""
    vcs = {"vcs": "git", "commit_id": "a" * 40, "requested_revision": "main"}
    install(tmp_path, "cloned", direct_url={"url": "https://h/x.git", "vcs_info": vcs, "subdirectory": "sub"})
    archive = {"url": "https://h/x.whl", "archive_info": {"hashes": {"sha256": "ff"}}}
    install(tmp_path, "fetched", direct_url=archive)
    install(tmp_path, "local", direct_url={"url": "file:///src/l", "dir_info": {}})
    install(tmp_path, "wheel", direct_url={"url": "file:///src/w.whl", "archive_info": {"hash": "sha256=ee"}})
    install(tmp_path, "edited", direct_url={"url": "file:///src/e", "dir_info": {"editable": True}})
    found = installed.scan([str(tmp_path)]).distributions
    listed = [line.partition("  #")[0] for line in requirements(found.values(), "3.11.7").splitlines()[2:]]
    read = tomllib.loads("".join(pylock_entry(found[name]) for name in sorted(found)))["packages"]

    assert listed == [
        f"cloned @ git+https://h/x.git@{'a' * 40}#subdirectory=sub",
        "-e file:///src/e",
        "fetched @ https://h/x.whl#sha256=ff",
        "local @ file:///src/l",
        "wheel @ file:///src/w.whl#sha256=ee",
    ]
    assert read == [
        {
            "name": "cloned",
            "version": "1.0",
            "vcs": {
                "type": "git",
                "url": "https://h/x.git",
                "commit-id": "a" * 40,
                "requested-revision": "main",
                "subdirectory": "sub",
            },
        },
        {"name": "edited", "version": "1.0", "directory": {"path": "/src/e", "editable": True}},
        {"name": "fetched", "version": "1.0", "archive": {"url": "https://h/x.whl", "hashes": {"sha256": "ff"}}},
        {"name": "local", "version": "1.0", "directory": {"path": "/src/l", "editable": False}},
        {"name": "wheel", "version": "1.0", "archive": {"url": "file:///src/w.whl", "hashes": {"sha256": "ee"}}},
    ]


def test_find_uv(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The uv of the interpreter's own environment comes first; a relative entry of PATH is no place to look."""
    bench.uv("")
    own = tmp_path / "env" / "bin"
    own.mkdir(parents=True)
    shutil.copy(bench.bin / "uv", own / "uv")
    monkeypatch.chdir(bench.bin)

    assert find_uv(str(own.parent), str(bench.bin)) == str(own / "uv")
    assert find_uv("", str(bench.bin)) == str(bench.bin / "uv")
    assert find_uv("", f".{os.pathsep}") is None


def test_without_the_path() -> None:
    """Without the capture that knows the path nothing is made up: the reason is noted."""
    assert "python" in str(capture(Context("."))["lock_missing"])


def test_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the real uv locked from its cache installs again, offline, with the same content."""
    require(UV, "uv")
    bench = Bench(tmp_path)
    about = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {"tiny_thing.py": "x = 1\n", "tiny_thing-1.0.dist-info/WHEEL": about}
    info = install(bench.site, "tiny_thing", files=files)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "tiny_thing-1.0-py3-none-any.whl", "w") as archive:
        for path in bench.site.rglob("*"):
            archive.write(path, path.relative_to(bench.site))
    shutil.copy(str(UV), bench.bin / "uv")
    for name, value in {"UV_CACHE_DIR": tmp_path / "cache", "UV_FIND_LINKS": wheels}.items():
        monkeypatch.setenv(name, str(value))
    found = bench.look(".".join(map(str, sys.version_info[:3])))
    Path("pylock.toml").write_text(bench.blobs[found["lock"]["digest"]])
    command = [str(UV), "pip", "install", "--quiet", "--offline", "--no-build", "--python", sys.executable]
    subprocess.run([*command, "--target", "again", "-r", "pylock.toml"], check=True, timeout=60, capture_output=True)
    read = tomllib.loads(Path("pylock.toml").read_text())

    assert found["lock"]["format"] == "pylock.toml", json.dumps(found["lock_missing"])
    assert read["packages"][0]["wheels"][0]["hashes"]["sha256"]
    again = lock.content_digest(str(Path("again") / info.name))
    assert again == lock.content_digest(str(info))
    assert f"content {again}" in bench.blobs[found["lock"]["requirements"]]
