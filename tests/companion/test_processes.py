"""What a process and its children use, while they come and go."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mlsdk.companion import processes
from mlsdk.companion.processes import Tree, Usage, children, gpu_files, high_water_bytes, usage
from tests import programs

MIB = 1 << 20

HELPER = """
import os, signal, sys, time

def burn(seconds):
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        sum(range(1000))

def say(*words):
    print(*words, flush=True)

for line in sys.stdin:
    exec(line)
"""


class Helper:
    """A process that does what it is told, a line at a time."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HELPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self.process.pid

    def do(self, code: str) -> str:
        """Let it do something, and wait for what it says."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(code + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """End it, and what it started."""
        for child in psutil.Process(self.pid).children(recursive=True) if self.process.poll() is None else ():
            child.kill()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def helper() -> Iterator[Helper]:
    """A helper that is there for a test."""
    one = Helper()
    one.do("say('ready')")
    yield one
    one.end()


@pytest.fixture(params=["by hand", "by psutil"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look by the kernel's files, and as on systems without them."""
    if request.param == "by psutil":
        monkeypatch.setattr(processes, "_BY_HAND", False)
    elif not processes._BY_HAND:
        pytest.skip("this system has no such files")


@pytest.mark.usefixtures("_both_ways")
def test_one_process(helper: Helper) -> None:
    """Processor time and memory are what the process itself says and was told to take."""
    tree = Tree(helper.pid)
    tree.look()
    before, took = tree.memory_bytes, float(helper.do("import time; a = time.process_time(); burn(0.3); say(a)"))
    held = int(helper.do(f"block = bytearray({100 * MIB}); say(len(block))"))
    took = float(helper.do("say(time.process_time())")) - took
    tree.look()

    assert tree.cpu_s == pytest.approx(took, abs=0.1)
    assert tree.memory_bytes - before == pytest.approx(held, abs=20 * MIB)
    assert tree.own_memory_bytes == tree.memory_bytes
    assert tree.pids == {helper.pid}
    assert tree.threads >= 1


@pytest.mark.usefixtures("_both_ways")
def test_a_child_that_comes_and_goes(helper: Helper) -> None:
    """What a child used is counted once: seen while it lived, and taken over by its parent when it ended."""
    tree = Tree(helper.pid)
    tree.look()
    child = int(helper.do("r, w = os.pipe(); p = os.fork(); p or (burn(0.3), os.read(r, 1), os._exit(0)); say(p)"))
    programs.eventually(lambda: (found := usage(child)) is not None and found.cpu_s >= 0.25)
    tree.look()
    seen, both = tree.cpu_s, tree.pids
    helper.do("os.write(w, b'x'); os.waitpid(p, 0); say('over')")
    tree.look()

    assert both == {helper.pid, child}
    assert seen >= 0.25
    assert tree.pids == {helper.pid}
    assert tree.cpu_s == pytest.approx(seen, abs=0.15)


@pytest.mark.skipif(not processes._BY_HAND, reason="elsewhere nobody takes over what a child used")
def test_a_child_between_two_looks(helper: Helper) -> None:
    """A child that was never seen counts too, once its parent has waited for it."""
    tree = Tree(helper.pid)
    tree.look()
    helper.do("p = os.fork(); p or (burn(0.3), os._exit(0)); os.waitpid(p, 0); say('over')")
    tree.look()

    assert tree.cpu_s == pytest.approx(0.3, abs=0.15)


@pytest.mark.skipif(sys.platform == "win32", reason="knows no signals of children")
def test_a_child_that_nobody_waits_for(helper: Helper) -> None:
    """What a child used stays counted when nobody takes it over, and takes nothing from what others use."""
    tree = Tree(helper.pid)
    helper.do("signal.signal(signal.SIGCHLD, signal.SIG_IGN); say('ignored')")
    tree.look()
    child = int(helper.do("r, w = os.pipe(); p = os.fork(); p or (burn(0.3), os.read(r, 1), os._exit(0)); say(p)"))
    programs.eventually(lambda: (found := usage(child)) is not None and found.cpu_s >= 0.25)
    tree.look()
    seen = tree.cpu_s
    helper.do("os.write(w, b'x'); burn(0.2); say('over')")
    programs.eventually(lambda: usage(child) is None)
    tree.look()

    assert tree.cpu_s - seen == pytest.approx(0.2, abs=0.15)


@pytest.mark.skipif(sys.platform == "win32", reason="knows no orphans")
def test_an_orphan(helper: Helper) -> None:
    """A grandchild whose parent has ended still works for the run."""
    tree = Tree(helper.pid)
    helper.do("r, w = os.pipe(); r2, w2 = os.pipe(); say('ready')")
    middle = int(helper.do("p = os.fork(); p or (os.fork() and os.read(r, 1), os.read(r2, 1), os._exit(0)); say(p)"))
    programs.eventually(lambda: children(middle))
    (orphan,) = children(middle)
    tree.look()
    psutil.Process(middle).kill()
    helper.do("os.waitpid(p, 0); say('over')")
    tree.look()
    left = tree.pids
    psutil.Process(orphan).kill()

    assert left == {helper.pid, orphan}


@pytest.mark.skipif(not processes._BY_HAND, reason="reads the kernel's files")
def test_children_of_threads(helper: Helper) -> None:
    """A child that a thread started is a child of the process."""
    code = (
        "import subprocess, threading; done = threading.Event();"
        "threading.Thread(target=lambda: (globals().update(c=subprocess.Popen(['sleep', '60'])), done.wait())).start();"
        "[time.sleep(0.01) for _ in range(1000) if 'c' not in globals()]; say(c.pid)"
    )
    child = int(helper.do(code))
    found = children(helper.pid)
    helper.do("done.set(); say('over')")

    assert found == [child]


@pytest.mark.skipif(not processes._BY_HAND, reason="reads the kernel's files")
def test_many_threads(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree with a great many threads is found by another way, and is the same tree."""
    child = int(helper.do("p = os.fork(); p or (os.fork(), time.sleep(60)); say(p)"))
    programs.eventually(lambda: children(child))
    tree = Tree(helper.pid)
    tree.look()
    before = tree.pids
    monkeypatch.setattr(processes, "MANY_THREADS", 0)
    tree.look()

    assert len(before) == 3
    assert tree.pids == before


def test_gone() -> None:
    """A process that is gone uses nothing, and what it had used is kept."""
    one = Helper()
    tree = Tree(one.pid)
    tree.look()
    one.do("burn(0.1); say('ready')")
    tree.look()
    seen = tree.cpu_s
    one.end()

    assert not tree.look()
    assert not tree.alive
    assert (tree.cpu_s, tree.pids) == (seen, set())
    assert usage(one.pid) is None
    assert children(one.pid) == []
    assert high_water_bytes(one.pid) is None


@pytest.mark.skipif(not processes._BY_HAND, reason="reads the kernel's files")
def test_a_zombie_has_its_times() -> None:
    """A process that has ended and was not waited for still shows what it used."""
    with subprocess.Popen([sys.executable, "-c", HELPER + "\nburn(0.2)"], stdin=subprocess.DEVNULL) as process:
        tree = Tree(process.pid)
        tree.look()
        programs.eventually(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
        tree.look()

    assert tree.alive
    assert tree.cpu_s >= 0.15
    assert tree.memory_bytes == 0


def test_another_of_the_same_number() -> None:
    """A number that belongs to another process by now is not mistaken for it."""
    found = usage(os.getpid())
    assert found is not None
    tree = Tree(os.getpid(), found.start - 1 if processes._BY_HAND else None)

    assert tree.look() is not processes._BY_HAND
    assert Usage(2, 5.0, 0, 0, 1, 9, 9).since(Usage(1, 50.0, 0, 0, 1, 90, 90)) == Usage(2, 5.0, 0, 0, 1, 9, 9)
    assert Usage(1, 5.0, 0, 0, 1, 9, None).since(Usage(1, 6.0, 0, 0, 1, 90, 90)) == Usage(1, 0, 0, 0, 1, 0, 0)


@pytest.mark.skipif(not processes._BY_HAND, reason="reads the kernel's files")
def test_what_is_written(helper: Helper, tmp_path: Path) -> None:
    """Bytes that a process and its children write to storage are counted once."""
    tree = Tree(helper.pid)
    tree.look()
    write = f"f = open({str(tmp_path / 'x')!r}, 'wb'); f.write(bytes({4 * MIB})); f.flush(); os.fsync(f.fileno())"
    helper.do(f"{write}; say('written')")
    tree.look()
    lines = dict(line.split(": ") for line in Path(f"/proc/{helper.pid}/io").read_text().splitlines())

    assert int(lines["write_bytes"]) - tree.written_bytes < MIB
    assert tree.written_bytes <= int(lines["write_bytes"])


@pytest.mark.skipif(sys.platform != "linux", reason="looks at open files by the kernel's list")
def test_device_files() -> None:
    """Only GPUs' own files count, not what controls them all."""
    assert gpu_files({os.getpid(), 1 << 30}) == set()


def test_high_water() -> None:
    """The most memory ever held is at least what is held now."""
    most, now = high_water_bytes(os.getpid()), usage(os.getpid())
    assert now is not None

    assert most is None or most >= now.memory_bytes // 2
