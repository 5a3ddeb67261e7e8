"""Seeing that a companion is there, from the training process.

It takes microseconds when one is there, a few milliseconds when it must be started.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time

from mlsdk import config
from mlsdk.log.identity import writer_identity

_START = """
import os, sys
os.nice(5)
os.closerange(3, 65536)
sys.path.insert(0, {here!r})
import mlsdk
sys.path[:1] = []
sys.path += {path!r}
from mlsdk.companion.serve import main
main({root!r}, {place!r})
"""

HELD = (errno.EACCES, errno.EAGAIN)
"""How a lock fails that another process holds."""

_SHELL = "/bin/sh"
_STARTING_S = 5.0
"""A companion that was started less than this ago may not have its lock yet."""

_started: dict[str, float] = {}
_shells: list[int] = []


def lock_path(root: str, place: str) -> str:
    """The file that a place's companion holds locked."""
    return os.path.join(root, "companions", f"{place}.lock")


def is_present(root: str, place: str) -> bool:
    """Whether a companion serves this store for a place on this host."""
    try:
        import fcntl

        descriptor = os.open(lock_path(root, place), os.O_RDONLY | os.O_CLOEXEC)
    except (ImportError, OSError):
        return False
    try:
        # Shared, so that two who look at once do not take each other for the companion. A POSIX lock: those are
        # not handed on by fork, so that a child made in this very moment cannot keep it.
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in HELD  # else there are no locks there, as on some network file systems
    finally:
        os.close(descriptor)
    return False


def ensure(root: str, *, settle: bool = True) -> bool:
    """See that a companion is there or on its way; False if there can be none.

    Args:
        root: folder of the store.
        settle: wait until the shell that starts it has gone, some milliseconds; if not, the next call does.
    """
    if settle:
        _settle()
    place = str(writer_identity()["place"])
    if is_present(root, place):
        _started.pop(root, None)  # it has come: where there is none from now on, it has gone
        return True
    now = time.monotonic()
    if now - _started.get(root, -_STARTING_S) < _STARTING_S:
        return True
    if not _spawn(root, place):
        return False
    _started[root] = now
    if settle:
        _settle()
    return True


def is_missing(root: str) -> bool:
    """Whether no companion serves this process, though there was time for one to come.

    One that looks for new work before it ends has no lock for a moment: hence two looks.
    """
    place = str(writer_identity()["place"])
    if is_present(root, place):
        _started.pop(root, None)
        return False
    if time.monotonic() - _started.get(root, -_STARTING_S) < _STARTING_S:
        return False
    time.sleep(0.02)
    return not is_present(root, place)


def start_again(root: str) -> bool:
    """Start a companion in the place of one that came and went; False if none has ever come, or there can be none."""
    return root not in _started and ensure(root)


def _spawn(root: str, place: str) -> bool:
    """Start a companion that is no child of this process.

    A shell puts it into the background and ends at once: it survives Ctrl-C, and `os.wait` of the training never
    meets it.
    """
    if not hasattr(os, "posix_spawn") or not os.access(_SHELL, os.X_OK) or not sys.executable:
        return False
    folder = os.path.join(root, "companions")
    # The same mlsdk as here, whatever is installed; but nothing else from its folder before the standard library.
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = _START.format(here=here, path=_import_path(), root=root, place=place)
    command = 'exec 2>/dev/null; "$@" </dev/null >/dev/null 2>>"$0" &'
    arguments = [_SHELL, "-c", command, os.path.join(folder, f"{place}.err"), sys.executable, "-I", "-c", code]
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK) or not _can_lock(lock_path(root, place)):
            return False
        try:
            pid = os.posix_spawn(_SHELL, arguments, dict(os.environ), setsid=True)
        except NotImplementedError:
            pid = os.posix_spawn(_SHELL, arguments, dict(os.environ))
    except OSError:
        return False
    _shells.append(pid)
    return True


def _can_lock(path: str) -> bool:
    """Whether there are locks in a folder: without them there would be several companions."""
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in HELD
    finally:
        os.close(descriptor)
    return True


def _settle() -> None:
    """Wait for shells that have done their work, so that `os.wait` of the training never meets one."""
    while _shells:
        with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored here; the shell ends all the same
            os.waitpid(_shells.pop(), 0)


def _import_path() -> list[str]:
    """What the companion, started without the user's environment, needs to find the packages that mlsdk uses."""
    entries: list[object] = [*sys.path]
    texts = [entry for entry in entries if isinstance(entry, str)]  # Python passes over others, too
    return [path for path in texts if path.rstrip(os.sep).endswith(("site-packages", "dist-packages"))]


def work_here(root: str, run: str, writer: str, owed: str) -> bool:
    """Do a companion's work for one log in this process, because there is none; False if that was not possible.

    The markers stay then, and the next companion of this store does the work.
    """
    if not os.path.isdir(os.path.join(root, "open")):  # the store was deleted
        return False
    try:
        from mlsdk.companion.charge import serve_here

        serve_here(root, run, writer, owed)
    except Exception:  # captures are anybody's code, and the disk may be full
        return False
    send_here(root, config.number("ship_wait_s"))
    return True


def send_here(root: str, seconds: float) -> None:
    """Send what an outbox holds from this process, because there is no companion; at most so many seconds."""
    if os.path.exists(os.path.join(root, "remote")):
        with contextlib.suppress(Exception):  # a store may be anybody's code; what is left is said at exit
            from mlsdk.companion.ship import ship_here

            ship_here(root, seconds)
