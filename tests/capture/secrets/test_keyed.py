"""Keyed digests are the same in a store, differ between stores, and their key is made once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path

import pytest

from mlsdk.capture.secrets import keyed
from mlsdk.capture.secrets.keyed import keyed_digest
from tests.programs import environment, execute


@pytest.fixture(autouse=True)
def _no_keys_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not read a key yet."""
    monkeypatch.setattr(keyed, "_keys", {})


def test_digests(tmp_path: Path) -> None:
    """Equal values have equal digests in one store, other values and other stores other ones."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    found = keyed_digest(str(one), b"a")

    assert len(found) == 32
    assert int(found, 16)
    assert found == keyed_digest(str(one), b"a")
    assert found[:16] == keyed_digest(str(one), b"a", digits=16)
    assert len({found, keyed_digest(str(one), b"b"), keyed_digest(str(two), b"a"), keyed_digest(None, b"a")}) == 4


def test_key_is_kept_for_its_owner(tmp_path: Path) -> None:
    """The key is a file of 32 bytes that nobody else may read, and nothing else stays in the folder."""
    keyed_digest(str(tmp_path), b"a")
    path = tmp_path / keyed.FILE

    assert os.listdir(tmp_path) == [keyed.FILE]
    assert len(path.read_bytes()) == 32
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_process_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is digested later by another process compares."""
    found = keyed_digest(str(tmp_path), b"a")
    monkeypatch.setattr(keyed, "_keys", {})

    assert keyed_digest(str(tmp_path), b"a") == found


def test_whoever_loses_reads_the_winners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that appears while one is being made counts."""
    winner = os.urandom(32)

    def late(_: str, target: str) -> None:
        Path(target).write_bytes(winner)
        raise FileExistsError

    monkeypatch.setattr(os, "link", late)
    found = keyed_digest(str(tmp_path), b"a")

    assert (tmp_path / keyed.FILE).read_bytes() == winner
    assert os.listdir(tmp_path) == [keyed.FILE]
    assert found == blake2b(b"a", digest_size=16, key=winner).hexdigest()


def test_processes_at_once_agree(tmp_path: Path) -> None:
    """Processes that all find no key end up with the same."""
    code = "import sys; from mlsdk.capture.secrets.keyed import keyed_digest\n"
    code += "sys.stdin.read(1); print(keyed_digest(sys.argv[1], b''))"
    command = [sys.executable, "-S", "-c", code, str(tmp_path)]
    with ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started = [stack.enter_context(subprocess.Popen(command, env=environment(), **pipes)) for _ in range(6)]
        for process in started:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        found = {process.communicate()[0] for process in started}

    assert found == {f"{keyed_digest(str(tmp_path), b'')}\n".encode()}


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that knows no links keeps a key as well."""

    def fail(*_: str) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", fail)
    found = keyed_digest(str(tmp_path), b"a")
    monkeypatch.setattr(keyed, "_keys", {})

    assert keyed_digest(str(tmp_path), b"a") == found
    assert os.listdir(tmp_path) == [keyed.FILE]


@pytest.mark.parametrize("content", [b"", b"short"])
def test_half_a_key_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """What a power cut left is no key: digests under it could be undone."""
    (tmp_path / keyed.FILE).write_bytes(content)
    found = keyed_digest(str(tmp_path), b"a")
    monkeypatch.setattr(keyed, "_keys", {})

    assert len((tmp_path / keyed.FILE).read_bytes()) == 32
    assert keyed_digest(str(tmp_path), b"a") == found != blake2b(b"a", digest_size=16, key=content).hexdigest()


def test_no_place_for_a_key(tmp_path: Path) -> None:
    """Where no key can be kept, one of this process serves; it is never the plain digest."""
    nowhere = str(tmp_path / "gone")
    found = keyed_digest(nowhere, b"a")

    assert found == keyed_digest(nowhere, b"a") == keyed_digest(None, b"a")
    assert found != blake2b(b"a", digest_size=16).hexdigest()
    assert not os.path.exists(nowhere)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forked_child_agrees(tmp_path: Path) -> None:
    """A forked child has the key of its parent, kept or not."""
    code = f"""
        import os
        from mlsdk.capture.secrets.keyed import keyed_digest
        keyed_digest(None, b"a")
        child = os.fork()
        line = keyed_digest({str(tmp_path)!r}, b"a") + keyed_digest(None, b"a") + chr(10)
        os.write(1, line.encode())
        if child:
            os.waitpid(child, 0)
        os._exit(0)
    """
    one, other = execute(code).stdout.splitlines()

    assert one == other
