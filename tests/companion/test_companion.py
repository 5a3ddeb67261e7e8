"""The companion: there when it is needed, once, and gone when it is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mlsdk
from mlsdk.companion.header import Header
from mlsdk.log.identity import writer_identity
from mlsdk.store.layout import Layout
from tests import programs

STORE = ".mlsdk"
GIT = {"MLSDK_CAPTURE": "git"}
"""Settings of programs of which no other capture is asked."""
FAST = """
from mlsdk.companion import spawn; from mlsdk.tracking import active
spawn._STARTING_S = 0.3; active._CHECK_EVERY_NS = 10**8
"""
"""A program that looks for its companion ten times a second, rather than each five."""


def store() -> Path:
    """The store in the working directory, as a companion's command line names it."""
    return Path.cwd() / STORE


def gone() -> bool:
    """Whether the store has no companion."""
    return not programs.companions(store())


def markers() -> list[str]:
    """What is open in the store."""
    return os.listdir(store() / "open")


def logs(run: mlsdk.Run) -> int:
    """How many logs a run has."""
    return len(list((store() / "runs" / run.id).iterdir()))


def served_by() -> list[object]:
    """The process of each companion's log in the store."""
    headers = [Header(Layout(str(store())), *path.with_suffix("").parts[-2:]) for path in store().glob("runs/*/*.log")]
    return [header.identity["pid"] for header in headers if header.role == "companion"]


def test_a_run_gets_its_captures_and_nobody_stays() -> None:
    """When a program has ended its run has commit and environment, and no companion and no marker stays."""
    subprocess.run(["git", "init", "-q", "."], check=True)
    done = programs.execute("with mlsdk.run(name='it'): mlsdk.log(a=1)")
    run = mlsdk.get_run("it")

    assert done.stderr == ""
    assert (run.code["dirty"], run.code["root"]) == (True, str(Path.cwd()))
    assert run.environment["python"]
    assert run.problems == ()
    assert programs.eventually(gone)
    assert markers() == []
    assert (store() / "companions" / f"{writer_identity()['place']}.err").read_text() == ""


def test_it_stays_for_the_next_run_of_a_loop() -> None:
    """Runs that follow each other are served by one companion, which goes when no more come."""
    programs.execute("for _ in range(3):\n    with mlsdk.run(): pass", **GIT)
    assert programs.eventually(gone)

    assert len(served_by()) == 3
    assert len(set(served_by())) == 1


def test_runs_after_it_has_gone_get_another() -> None:
    """A run that begins right after a companion has ended has one too, also within seconds of that one's start."""
    done = programs.execute(
        """
        import os, time
        from mlsdk.companion.spawn import is_present
        from mlsdk.log.identity import writer_identity
        from mlsdk.tracking import exits
        for number in range(2):
            for _ in range(3):
                with mlsdk.run("again"): pass
            assert exits.wait(30)
            while is_present(os.path.abspath(".mlsdk"), str(writer_identity()["place"])):
                time.sleep(0.01)
        """,
        **GIT,
    )

    assert [run.problems for run in mlsdk.runs()] == [()] * 6, done.stderr


def test_eight_processes_at_once_share_one() -> None:
    """Eight processes that start at once and live at one time are served by one companion."""
    code = "import sys\nwith mlsdk.run():\n    print('ready')\n    sys.stdin.readline()"
    processes = [programs.begin(code, name=f"program{number}.py", **GIT) for number in range(8)]
    for process in processes:
        programs.await_line(process)
    for process in processes:
        assert programs.finish(process) == ("", "")
    assert programs.eventually(gone)

    assert [process.returncode for process in processes] == [0] * 8
    assert len(served_by()) == 8
    assert len(set(served_by())) == 1
    assert all(run.problems == () for run in mlsdk.runs())


def test_ctrl_c_ends_the_training_and_not_the_companion() -> None:
    """Ctrl-C goes to the whole group in the foreground; the companion is not in it and does its work."""
    process = programs.begin(
        "import time\nwith mlsdk.run(name='it'):\n    mlsdk.log(a=1)\n    print('ready')\n    time.sleep(30)",
        **GIT,
    )
    programs.await_line(process)
    assert programs.eventually(lambda: programs.companions(store()))
    os.killpg(process.pid, signal.SIGINT)
    programs.finish(process)
    run = mlsdk.get_run("it")

    assert run.status == "interrupted"
    assert programs.eventually(lambda: markers() == [])
    assert mlsdk.get_run("it").problems == ()


def test_killed_again_and_again() -> None:
    """A companion that is killed five times during a run is followed by another each time; nothing is lost."""
    subprocess.run(["git", "init", "-q", "."], check=True)
    process = programs.begin(
        FAST
        + """
import select, sys, time
count = 0
with mlsdk.run(name="it"):
    print("ready")
    while not select.select([sys.stdin], [], [], 0)[0]:
        mlsdk.log(a=count); count += 1; time.sleep(0.001)
print(count)
""",
        **GIT,
    )
    programs.await_line(process)
    killed: set[int] = set()
    while len(killed) < 5:
        assert programs.eventually(lambda: set(programs.companions(store())) - killed)
        for pid in set(programs.companions(store())) - killed:
            time.sleep(0.04 * len(killed))  # at another moment of its life each time
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    assert process.stdin is not None
    process.stdin.write("\n")
    count, errors = programs.finish(process)
    run = mlsdk.get_run("it")

    assert errors == ""
    assert run.status == "finished"
    assert list(run.history("a").values) == list(range(int(count)))
    assert run.code["dirty"] is True
    assert programs.eventually(lambda: gone() and markers() == [])


@pytest.mark.parametrize("how", ["setting", "no shell", "unwritable"])
def test_where_there_can_be_none(how: str) -> None:
    """Where no companion can be started its work is done at the end of the run, which says so if one was wanted."""
    subprocess.run(["git", "init", "-q", "."], check=True)
    prepared = {
        "setting": "",
        "no shell": "from mlsdk.companion import spawn; spawn._SHELL = '/bin/no-such-shell'\n",
        "unwritable": "import os; os.makedirs('.mlsdk'); open('.mlsdk/companions', 'w').close()\n",
    }[how]
    done = programs.execute(
        prepared + "with mlsdk.run(name='it') as run: mlsdk.log(a=1)\nprint(mlsdk.get_run(run.id).code['dirty'])",
        MLSDK_COMPANION="0" if how == "setting" else "1",
        **GIT,
    )
    run = mlsdk.get_run("it")

    assert (done.stdout, done.stderr) == ("True\n", "")
    assert ["no companion" in problem.message for problem in run.problems] == [True] * (how != "setting")
    assert markers() == []
    assert gone()


def test_a_death_is_noticed_and_written_down() -> None:
    """The death of a training process is written into the store though nobody asks, with its time."""
    process = programs.begin("with mlsdk.run(name='it'):\n    mlsdk.log(a=1)\n    print('ready')\n    input()", **GIT)
    programs.await_line(process)
    assert programs.eventually(lambda: programs.companions(store()))
    programs.finish(process, signal.SIGKILL)
    assert programs.eventually(lambda: gone() and markers() == [])
    written = b"".join(path.read_bytes() for path in (store() / "runs").rglob("*.log"))
    run = mlsdk.get_run("it")

    assert b'"gone"' in written
    assert run.status == "killed"
    assert run.ended_at is not None
    assert run.metrics["a"].last == 1


def test_what_was_left_open_is_taken_on() -> None:
    """A run whose process and companion were both killed is looked after by the next companion of the store."""
    process = programs.begin("with mlsdk.run(name='it'):\n    mlsdk.log(a=1)\n    print('ready')\n    input()", **GIT)
    programs.await_line(process)
    assert programs.eventually(lambda: programs.companions(store()))
    os.kill(process.pid, signal.SIGSTOP)
    for pid in programs.companions(store()):
        os.kill(pid, signal.SIGKILL)
    programs.finish(process, signal.SIGKILL)
    assert markers() != []
    programs.execute("with mlsdk.run(name='next'): pass", **GIT)

    assert programs.eventually(lambda: gone() and markers() == [])
    assert mlsdk.get_run("it").status == "killed"


def test_a_late_companion_takes_no_captures() -> None:
    """What a companion finds an hour after a run has died is not said of that run."""
    programs.execute(
        """
        import os
        mlsdk.configure(companion=False)
        mlsdk.run(name="lost").log(a=1)
        os._exit(1)
        """,
        code_expected=1,
        **GIT,
    )
    for log in store().glob("runs/*/*.log"):
        os.utime(log, (time.time() - 3600, time.time() - 3600))
    programs.execute("with mlsdk.run(name='next'): pass", **GIT)
    run = mlsdk.get_run("lost")

    assert programs.eventually(gone)
    assert markers() == []
    assert ["git" in problem.message for problem in mlsdk.get_run(run.id).problems] == [True]


def test_a_dead_worker_is_retired() -> None:
    """The log of a forked worker that was killed does not stay open, and the run goes on."""
    process = programs.begin(
        """
        import os, signal, sys
        with mlsdk.run(name="it"):
            child = os.fork()
            if not child:
                mlsdk.log(w=1)
                os.kill(os.getpid(), signal.SIGKILL)
            os.waitpid(child, 0)
            print("ready")
            sys.stdin.readline()
        """,
        **GIT,
    )
    programs.await_line(process)
    assert programs.eventually(lambda: len(markers()) == 2)
    assert mlsdk.get_run("it").status == "running"
    assert process.stdin is not None
    process.stdin.write("\n")
    programs.finish(process)
    run = mlsdk.get_run("it")

    assert run.status == "finished"
    assert run.ranks["worker"]["w"].last == 1


def test_large_logs_are_sealed() -> None:
    """When a run with many points has ended its log is packed, reads the same, and small ones stay as they are."""
    programs.execute(
        """
        with mlsdk.run(name="large"):
            for i in range(5000): mlsdk.log(a=i)
        with mlsdk.run(name="small"): mlsdk.log(a=1)
        """,
        **GIT,
    )
    assert programs.eventually(gone)
    large, small = (list((store() / "runs" / mlsdk.get_run(name).id).iterdir()) for name in ("large", "small"))

    assert [path.suffix for path in sorted(large, key=lambda path: path.suffix)] == [".log", ".seal"]
    assert {path.suffix for path in small} == {".log"}
    assert list(mlsdk.get_run("large").history("a").values) == list(range(5000))
    assert mlsdk.get_run("large").status == "finished"


def test_the_store_is_deleted() -> None:
    """When the store is deleted while a program runs, nobody complains and nothing of it comes back."""
    process = programs.begin(
        "with mlsdk.run(name='it'):\n    mlsdk.log(a=1)\n    print('ready')\n    input()\n    mlsdk.log(a=2)",
        **GIT,
    )
    programs.await_line(process)
    assert programs.eventually(lambda: programs.companions(store()) and len(markers()) == 2)
    time.sleep(0.5)
    store().rename(Path.cwd() / "moved")
    subprocess.run(["rm", "-rf", "moved"], check=True)
    assert programs.eventually(gone)
    assert process.stdin is not None
    process.stdin.write("\n")
    _, errors = programs.finish(process)
    time.sleep(0.5)

    assert (process.returncode, errors) == (0, "")
    assert not store().exists()


def test_nothing_is_left_in_the_training_process() -> None:
    """Runs leave no child, no thread, no zombie and no open file in the process that makes them."""
    done = programs.execute(
        """
        import os, threading
        def look():
            children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
            return sorted(os.listdir("/proc/self/fd")), children, threading.active_count()
        with mlsdk.run(): pass
        before = look()
        for _ in range(20):
            with mlsdk.run() as run:
                run.log(a=1)
                run.log_artifact(b"x", name="y")
        print(look() == before, before[1:])
        """,
        **GIT,
    )

    assert done.stdout == "True ([], 1)\n"


def test_it_does_not_see_the_users_modules() -> None:
    """A file beside the program that is named as a module of the standard library is not loaded by the companion."""
    for name in ("signal.py", "attrs.py", "json.py"):
        Path(name).write_text("open('loaded', 'a').write(__file__)\n")
    path = Path.cwd() / "below"
    path.mkdir()
    (path / "p.py").write_text("import mlsdk\nwith mlsdk.run(name='it', store='.mlsdk'): pass\n")
    subprocess.run(
        [sys.executable, str(path / "p.py")], env=programs.environment(**GIT), check=True, timeout=60, cwd=Path.cwd()
    )
    assert programs.eventually(gone)

    assert not Path("loaded").exists()


def test_one_failing_capture_is_the_runs_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture that is not there for the companion is a problem of the run; the others are taken."""
    from mlsdk.companion.charge import Charge
    from mlsdk.companion.looks import Looks
    from mlsdk.store.target import FileTarget

    monkeypatch.setenv("MLSDK_COMPANION", "0")
    subprocess.run(["git", "init", "-q", "."], check=True)
    Path("new").touch()
    run = mlsdk.run(name="it")
    header = Header(Layout(str(store())), run.id, run._writer.id)
    header.facts["captures"] = {"absent": "beside", "git": "beside", "folder": str(Path.cwd())}
    Charge(
        FileTarget(f"file:{store()}", str(store())), header, Looks(FileTarget(f"file:{store()}", str(store())).put_blob)
    ).capture()
    run.finish()
    found = mlsdk.get_run("it")

    assert any(problem.kind == "capture absent" and "UsageError" in problem.message for problem in found.problems)
    assert found.code["dirty"] is True
