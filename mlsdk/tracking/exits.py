"""How processes end: at exit, by signal, by fork. Installed by the first run; nothing of `os` is replaced."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType, ModuleType

from mlsdk import config
from mlsdk.companion.spawn import ensure, is_missing, send_here, start_again, work_here
from mlsdk.log import frames
from mlsdk.log.ids import new_id
from mlsdk.log.values import dumps
from mlsdk.store.layout import Layout
from mlsdk.store.writer import LogWriter, opening
from mlsdk.tracking import context

_installed = False
_signals_installed = False
_exit_code: object = None
_wait_s = 0.0
_ship_wait_s = 0.0
_owed: dict[str, tuple[str, str, str, str]] = {}
"""By marker, the companion's work that this process has asked for and that may still be going on: store, run, log,
its own log.
"""

_MANY = 1000


def install() -> None:
    """Be there when the process forks, is told to stop, or ends."""
    global _installed, _signals_installed, _exit_code, _wait_s, _ship_wait_s
    _exit_code = None  # of a `sys.exit` before: somebody caught it, the process goes on
    _wait_s = config.number("exit_wait_s")
    _ship_wait_s = config.number("ship_wait_s")
    if (posting := _posting()) is not None:
        posting.shipped_by(_see_to_it)
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and not _signals_installed:
        _signals_installed = True
        _install_signals()
    if _installed:
        return
    _installed = True
    atexit.register(at_exit)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_child)
    _wrap_exit()


def owe(writer: LogWriter) -> None:
    """Remember that a companion's work was asked for, so that the end of the process waits for it."""
    if writer.owed and writer.target.root:
        marker = os.path.join(writer.target.root, "open", f"{writer.run}.{writer.owed}")
        _owed[marker] = (writer.target.root, writer.run, writer.id, writer.owed)
        if len(_owed) % _MANY == 0:
            _drop_done()


def _drop_done() -> None:
    for marker in [marker for marker in _owed if not os.path.exists(marker)]:
        del _owed[marker]


def _in_child() -> None:
    """A forked child keeps the current run but not its log; it makes its own when it logs."""
    _owed.clear()
    for name in ("mlsdk.store.posting", "mlsdk.companion.ship"):
        if name in sys.modules:
            sys.modules[name].forget()
    for run in context.live.values():
        run.forget_parent()


def _wrap_exit() -> None:
    """Remember the code that `sys.exit` was called with: nothing tells it to an `atexit` function."""
    original = sys.exit

    def exit_(code: object = None, /) -> None:
        global _exit_code
        main = threading.main_thread()
        if threading.current_thread() is main and main.is_alive():  # elsewhere it ends a thread; in `atexit`, nothing
            _exit_code = code
        original(code)  # type: ignore[arg-type]

    exit_.__doc__ = original.__doc__
    sys.exit = exit_  # type: ignore[assignment]


def at_exit() -> None:
    """End the runs that are still open, and wait for what is to be done for them."""
    for run in tuple(context.live.values()):
        run._finish(*_ending())
    with contextlib.suppress(KeyboardInterrupt):  # who is in a hurry need not wait; the companion goes on by itself
        wait(_wait_s)
        wait_for_shipping(_ship_wait_s)


def _posting() -> ModuleType | None:
    """The module that writes into outboxes, if a run of a remote store has loaded it."""
    return sys.modules.get("mlsdk.store.posting")


def _see_to_it(root: str) -> bool:
    """See that somebody ships an outbox: a companion, else this process, now; False if nobody goes on."""
    if config.flag("companion") and ensure(root):
        return True
    send_here(root, config.number("ship_wait_s"))
    return False


def wait_for_shipping(seconds: float) -> None:
    """Wait until this process's runs are in their remote stores; say what is left. Never raises."""
    posting = _posting()
    if posting is None:
        return
    deadline = time.monotonic() + seconds
    for uri in posting.remotes():
        try:
            _wait_for(posting, uri, max(0.0, deadline - time.monotonic()))
        except Exception as error:  # it must not be the end of the process that fails
            print(f"mlsdk: whether all runs are in {uri} is not known: {error}", file=sys.stderr)


def _wait_for(posting: ModuleType, uri: str, seconds: float) -> None:
    left = posting.waiting(uri)
    if not left:
        return
    root, deadline = next(iter(left.values())), time.monotonic() + seconds
    if is_missing(root) and not (config.flag("companion") and ensure(root)):
        send_here(root, seconds)
        deadline = time.monotonic()
    if not posting.await_shipped(uri, deadline - time.monotonic()):
        from mlsdk.store.outbox import backlog

        print(f"mlsdk: {backlog(root)}; `mlsdk sync` sends them now", file=sys.stderr)


def _ending() -> tuple[str, dict[str, object] | None]:
    """Status of a run that is open when the interpreter ends, and the exception if one ended it."""
    error = getattr(sys, "last_value", None)
    if error is not None and not hasattr(sys, "ps1"):
        from mlsdk.tracking.facts import outcome

        return outcome(error)
    if _exit_code not in (None, 0):
        return "failed", {"type": "SystemExit", "message": str(_exit_code)[:1000], "traceback": ""}
    return "finished", None


def wait(seconds: float) -> bool:
    """Wait until the companion has done what this process's runs asked for; False if it took longer than `seconds`.

    Where the companion has died, another is started, once; where that one does not come, its work is done here.
    """
    deadline, pause = time.monotonic() + seconds, 0.002
    called: set[str] = set()
    while True:
        _drop_done()
        if not _owed:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
        for marker, (root, *names) in tuple(_owed.items()):
            if time.monotonic() > deadline:
                return False
            if not is_missing(root):
                continue
            if root not in called and config.flag("companion"):
                called.add(root)
                if start_again(root):
                    continue
            if not work_here(root, *names):
                del _owed[marker]


def _install_signals() -> None:
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _on_signal)


def _on_signal(number: int, _: FrameType | None) -> None:
    """Say on each run that it was interrupted, each in a new log and so without any lock, and give the signal on."""
    for run in tuple(context.live.values()):
        writer = run._writer
        told = writer.role == "main" or writer.role.startswith("rank ")
        if told and writer.pid == os.getpid() and writer.target.root is not None:
            _write_interrupted(writer, writer.target.root, signal.Signals(number).name)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _write_interrupted(writer: LogWriter, root: str, name: str) -> None:
    run, now, log = writer.run, time.time_ns(), new_id()
    order = max(now, writer.order + 1)
    error = {"type": name, "message": f"the process was told to stop by {name}", "traceback": ""}
    ended = {"t": now, "o": order + 1, "set": {"run": {"status": "interrupted", "ended_ns": now, "error": error}}}
    payloads = (opening(run, log, writer.role, order, now), ended, {"t": now})
    kinds = (frames.OPEN, frames.FACTS, frames.CLOSE)
    whole = b"".join(
        frames.encode(kind, number, dumps(payload))
        for number, (kind, payload) in enumerate(zip(kinds, payloads, strict=True))
    )
    try:
        descriptor = os.open(os.path.join(root, "runs", run, f"{log}.log"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(descriptor, whole)
        os.close(descriptor)
        Layout(root).mark_open(run, log)
    except OSError:  # the disk is gone; the run will read `killed`, which is true as well
        return
