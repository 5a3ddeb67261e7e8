"""How processes end, and what their runs say of it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

import mlsdk
from tests import programs

ALONE = {"MLSDK_COMPANION": "0", "MLSDK_CAPTURE": "none"}

STARTED = "run = mlsdk.run(name='it')\nmlsdk.log(a=1)\n"


@pytest.mark.parametrize(
    ("rest", "code", "status", "error"),
    [
        ("", 0, "finished", None),
        ("raise ValueError('gone')", 1, "failed", ("ValueError", "gone")),
        ("import sys; sys.exit(3)", 3, "failed", ("SystemExit", "3")),
        ("import sys; sys.exit('no data')", 1, "failed", ("SystemExit", "no data")),
        ("import sys; sys.exit()", 0, "finished", None),
        ("raise KeyboardInterrupt", None, "interrupted", ("KeyboardInterrupt", "")),
        ("with run: raise SystemExit(4)", 4, "failed", ("SystemExit", "4")),
        (
            "import sys\ntry: sys.exit(3)\nexcept SystemExit: pass\nrun.finish(); mlsdk.run(name='it'); mlsdk.log(a=1)",
            0,
            "finished",
            None,
        ),
        (
            "import sys, threading\nt = threading.Thread(target=lambda: sys.exit(3)); t.start(); t.join()",
            0,
            "finished",
            None,
        ),
        (
            "import atexit, sys\ndef late():\n try: sys.exit(3)\n except SystemExit: pass\natexit.register(late)",
            0,
            "finished",
            None,
        ),
    ],
    ids=["clean", "error", "exit 3", "exit text", "exit", "ctrl-c", "in with", "exit caught", "thread", "too late"],
)
def test_how_an_open_run_ends(rest: str, code: int | None, status: str, error: tuple[str, str] | None) -> None:
    """A run that is open at the process's end ends as the process does, and nothing is printed for it."""
    done = programs.execute(STARTED + rest, code_expected=code, **ALONE)
    run = mlsdk.get_run("latest")

    assert run.status == status
    assert run.metrics["a"].last == 1
    assert (run.error and (run.error["type"], run.error["message"])) == error
    assert "mlsdk" not in done.stderr.replace("import mlsdk", "").replace("mlsdk.run", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=str)
def test_told_to_stop(number: signal.Signals) -> None:
    """SIGTERM and SIGHUP interrupt all live runs, and the process ends by the signal as its parent expects."""
    process = programs.begin(
        """
        import signal
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it
        with mlsdk.run(name="outer"), mlsdk.run(name="inner"):
            mlsdk.log(a=1)
            print("ready")
            while True:
                mlsdk.log(b=1)
        """
    )
    programs.await_line(process)
    programs.finish(process, number)

    assert process.returncode == -number
    for run in map(mlsdk.get_run, ("outer", "inner")):
        assert run.status == "interrupted"
        assert run.error is not None
        assert run.error["type"] == number.name


def test_told_to_stop_when_the_first_run_was_started_in_a_thread() -> None:
    """The signal is seen by a run that the main thread starts, though a thread was first."""
    process = programs.begin(
        """
        import threading
        thread = threading.Thread(target=lambda: mlsdk.run(name="first").finish())
        thread.start(); thread.join()
        with mlsdk.run(name="second"):
            print("ready")
            while True:
                mlsdk.log(b=1)
        """,
        **ALONE,
    )
    programs.await_line(process)
    programs.finish(process, signal.SIGTERM)

    assert mlsdk.get_run("second").status == "interrupted"


def test_killed() -> None:
    """A run whose process was killed reads killed, and never running for ever."""
    process = programs.begin(STARTED + "print('ready'); input()", MLSDK_COMPANION="0")
    programs.await_line(process)
    assert mlsdk.get_run("it").status == "running"
    programs.finish(process, signal.SIGKILL)

    assert mlsdk.get_run("it").status == "killed"
    assert mlsdk.get_run("it").metrics["a"].last == 1


def test_handlers_of_the_user_stay() -> None:
    """A handler that was there before is not touched, and neither is one that is set later."""
    done = programs.execute(
        """
        import os, signal
        heard = []
        signal.signal(signal.SIGTERM, lambda *_: heard.append("mine"))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        run = mlsdk.run(name="it")
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        print(heard, signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, signal.getsignal(signal.SIGINT))
        """,
        **ALONE,
    )

    assert done.stdout.startswith("['mine'] True <built-in function default_int_handler>")
    assert mlsdk.get_run("it").status == "finished"


def test_a_handler_that_finishes_the_run() -> None:
    """A user's handler may finish the run and exit in the middle of logging."""
    process = programs.begin(
        """
        import signal, sys
        def stop(*_):
            run.finish("interrupted")
            sys.exit(5)
        signal.signal(signal.SIGTERM, stop)
        run = mlsdk.run(name="it")
        run.log(a=-1)
        print("ready")
        count = 0
        while True:
            run.log(a=count)
            count += 1
        """,
        **ALONE,
    )
    programs.await_line(process)
    _, errors = programs.finish(process, signal.SIGTERM)
    run = mlsdk.get_run("it")

    assert (process.returncode, errors) == (5, "")
    assert run.status == "interrupted"
    assert list(run.history("a").values) == list(range(-1, run.metrics["a"].count - 1))


def test_a_worker_that_leaves_at_once() -> None:
    """A forked worker that ends by `os._exit` has recorded what it logged, and does not end the run."""
    programs.execute(
        """
        import os
        with mlsdk.run(name="it"):
            mlsdk.log(a=1)
            child = os.fork()
            if not child:
                mlsdk.log(w=2)
                mlsdk.log(w=3)
                os._exit(0)
            os.waitpid(child, 0)
            mlsdk.log(a=2)
        """,
        **ALONE,
    )
    run = mlsdk.get_run("it")

    assert run.status == "finished"
    assert list(run.history("a").values) == [1, 2]
    assert list(run.history("w", rank="worker").values) == [2, 3]


def test_a_worker_that_leaves_a_block() -> None:
    """A forked child that leaves the `with` block, or ends as programs do, does not end its parent's run."""
    programs.execute(
        """
        import os, sys
        with mlsdk.run(name="it"):
            for logs in (False, True):
                child = os.fork()
                if not child:
                    if logs: mlsdk.log(w=2)
                    sys.exit(7)
                os.waitpid(child, 0)
            mlsdk.log(a=2)
        """,
        **ALONE,
    )
    run = mlsdk.get_run("it")

    assert (run.status, run.error) == ("finished", None)
    assert run.metrics["a"].last == 2
    assert run.ranks["worker"]["w"].last == 2


def test_the_wait_at_exit_is_bounded() -> None:
    """A companion that hangs keeps no process from its end: it is waited for as long as the setting says."""
    done = programs.execute(
        """
        import os, signal, time, glob
        with mlsdk.run(name="it") as run:
            from mlsdk.log.identity import writer_identity
            from mlsdk.companion.spawn import is_present
            root = os.path.abspath(".mlsdk")
            while not is_present(root, writer_identity()["place"]): time.sleep(0.01)
            for folder in glob.glob("/proc/[0-9]*/cmdline"):
                try: command = open(folder, "rb").read()
                except OSError: continue
                if f"main('{root}'".encode() in command and b"-I" in command.split(b"\\0"):
                    pid = int(folder.split("/")[2]); os.kill(pid, signal.SIGSTOP)
        print(pid, time.time())
        """,
        MLSDK_EXIT_WAIT_S="0.5",
    )
    pid, left_at = done.stdout.split()
    waited = time.time() - float(left_at)
    os.kill(int(pid), signal.SIGKILL)

    assert waited > 0.4


def test_ctrl_c_during_the_wait_is_quiet() -> None:
    """Ctrl-C while the process waits for its companion ends the wait without a word."""
    process = programs.begin(
        """
        import atexit
        from mlsdk.tracking import exits
        with mlsdk.run(name="it"): pass
        exits.is_missing = lambda root: print("ready")
        exits._owed[__file__] = ("", "", "", "")
        """,
        **ALONE,
        MLSDK_EXIT_WAIT_S="1000",
    )
    programs.await_line(process)
    _, errors = programs.finish(process, signal.SIGINT)

    assert errors == ""


def test_pipes_are_not_held_open() -> None:
    """Who reads a program's output to its end does not wait for the companion: it holds none of the program's pipes."""
    process = programs.begin(
        """
        import os, time
        from mlsdk.log.identity import writer_identity
        from mlsdk.companion.spawn import is_present
        with mlsdk.run(name="it"):
            while not is_present(os.path.abspath(".mlsdk"), writer_identity()["place"]): time.sleep(0.01)
            print("ready")
            input()
        """
    )
    programs.await_line(process)
    pipes = {os.fstat(pipe.fileno()).st_ino for pipe in (process.stdin, process.stdout, process.stderr) if pipe}
    (companion,) = programs.companions(Path(".mlsdk").resolve())
    held = set()
    for name in os.listdir(f"/proc/{companion}/fd"):
        with contextlib.suppress(FileNotFoundError):
            held.add(os.stat(f"/proc/{companion}/fd/{name}").st_ino)
    process.kill()
    programs.finish(process)

    assert held
    assert not held & pipes
