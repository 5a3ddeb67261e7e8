"""The outbox: the local folder where live runs of a remote store are written first. Light: the training uses it.

It is an ordinary embedded store that holds two things more: the file `remote`, whose store it is for, and the folder
`ship/`, with a marker for each log that is not wholly there yet. A marker may hold how much of the log is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from mlsdk import config
from mlsdk.errors import ConfigError, StoreError
from mlsdk.log.segment import Segment
from mlsdk.store.layout import Layout, split_marker
from mlsdk.store.target import FileTarget

STATUS = "status.json"
_SETTINGS = "settings.json"
_TOLD = ("ship_every_s", "outbox_bytes", "request_timeout_s")
_SECRET_WORDS = ("password", "passwd", "token", "secret", "credential", "signature", "access_key", "api_key", "apikey")

GIVE_UP_S = 2.0
"""Where the store has not been reached for so long, nobody waits for it longer than this."""

FRESH_S = 120.0
"""An older status says nothing about now: back-off is shorter."""


class Status(NamedTuple):
    """How shipping goes, as whoever ships last said."""

    at: float = 0.0
    failing_since: float | None = None
    why: str | None = None
    runs: int = 0
    """That are not wholly up."""
    size_bytes: int = 0
    """Of their logs and blobs, as far as not up."""


class OutboxTarget(FileTarget):
    """The local side of a remote store.

    Args:
        uri: of the remote store.
        root: the outbox.
    """

    def __init__(self, uri: str, root: str) -> None:
        super().__init__(uri, root)
        self._budget = config.number("outbox_bytes")

    def segment(self, run: str, writer: str) -> Segment:
        """See `Target.segment`."""
        made = super().segment(run, writer)
        _written.add(f"{run}.{writer}")
        _own.add(f"{run}.{writer}")
        return made

    def announce(self, run: str, writer: str) -> None:
        """See `Target.announce`."""
        super().announce(run, writer)
        mine = _announced.setdefault(self.uri, {})
        mine[f"{run}.{writer}"] = self.layout.root
        if len(mine) % _MANY == 0:
            waiting(self.uri)  # drops what is there

    def retire(self, run: str, writer: str) -> None:
        """See `Target.retire`."""
        super().retire(run, writer)
        _written.discard(f"{run}.{writer}")

    def is_current(self) -> bool:
        """See `FileTarget.is_current`."""
        return super().is_current() and self.layout.root == folder_of(self.uri)

    def check_room(self) -> None:
        """Refuse a new run where what is not shipped takes more than the budget.

        Raises:
            StoreError: it does.
        """
        waiting = status(self.layout.root).size_bytes
        if waiting > self._budget:
            raise StoreError(
                f"{waiting:,} bytes wait in {self.layout.root} to be sent to {self.uri}, more than"
                f" MLSDK_OUTBOX_BYTES={self._budget:,.0f}: send them by `mlsdk sync`, allow more, or track elsewhere"
                " by MLSDK_STORE=folder"
            )


_announced: dict[str, dict[str, str]] = {}
"""By remote store, the logs that this process has announced: marker and outbox."""

_own: set[str] = set()
"""Logs that this process has written itself; the others are its companion's."""

_written: set[str] = set()
"""Logs that this process writes now."""

_MANY = 1000

_here = threading.local()


def open_outbox(uri: str) -> OutboxTarget:
    """The outbox of a remote store, made if it is not there.

    Raises:
        ConfigError: the URI holds a password or a token.
        StoreError: there is no such kind of store, or the outbox cannot be written.
    """
    uri = checked(uri)
    _check_scheme(uri)
    root = folder_of(uri)
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        os.chmod(root, 0o700)
        os.makedirs(os.path.join(root, "ship"), exist_ok=True)
        _write(os.path.join(root, "remote"), uri + "\n")
        told = {name: config.lookup(name).value for name in _TOLD}
        _write(os.path.join(root, "ship", _SETTINGS), json.dumps(told))
    except OSError as error:
        raise StoreError(f"runs for {uri} are written to {root} first, which cannot be made: {error}") from error
    return OutboxTarget(uri, root)


def checked(uri: str) -> str:
    """A URI as it is kept.

    Raises:
        ConfigError: it holds a password or a token.
    """
    scheme, _, rest = uri.partition("://")
    place, _, query = rest.partition("?")
    user, at, _ = place.partition("/")[0].rpartition("@")
    inside = at and (":" in user or scheme in ("http", "https"))
    named = [word.partition("=")[0] for word in query.split("&")]
    inside = inside or any(secret in name.lower() for name in named for secret in _SECRET_WORDS)
    if inside:
        where = {
            "http": "MLSDK_TOKEN, or `mlsdk login`",
            "https": "MLSDK_TOKEN, or `mlsdk login`",
            "postgresql": "PGPASSWORD, or ~/.pgpass",
        }.get(scheme, "the environment variables that its programs read, such as AWS_SECRET_ACCESS_KEY")
        host = place.rpartition("@")[2]
        raise ConfigError(f"the URI of the store {scheme}://{host} holds a password or token: put it into {where}")
    return f"{scheme}://{place.rstrip('/')}" + (f"?{query}" if query else "")


def _check_scheme(uri: str) -> None:
    from mlsdk.store import SCHEMES

    scheme = uri.partition(":")[0]
    if scheme not in SCHEMES:
        from importlib.metadata import entry_points

        offered = {point.name for point in entry_points(group="mlsdk.stores")}
        if scheme not in offered:
            known = ", ".join(sorted({*SCHEMES, *offered}))
            raise StoreError(f"there is no store for {scheme!r} URIs; known: {known}")


def base_folder() -> str:
    """Where outboxes lie: the setting `outbox`, else the user's folder for state."""
    named = config.text("outbox")
    if named:
        return os.path.abspath(os.path.expanduser(named))
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "mlsdk")


def folder_of(uri: str) -> str:
    """The outbox of a remote store, whether or not it is there."""
    from zlib import crc32

    uri = checked(uri)
    place = uri.partition("://")[2].partition("?")[0].rpartition("@")[2]
    readable = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in place).strip(".-")[:60]
    return os.path.join(base_folder(), f"{readable or 'store'}-{crc32(uri.encode()):08x}")


def is_remote(uri: str) -> bool:
    """Whether live runs of a store go through an outbox."""
    return uri.partition(":")[0] not in ("file", "memory")


def outboxes() -> list[str]:
    """The outboxes of this user."""
    base = base_folder()
    with contextlib.suppress(OSError):
        folders = (os.path.join(base, name) for name in sorted(os.listdir(base)))
        return [folder for folder in folders if remote_of(folder)]
    return []


def remote_of(root: str) -> str | None:
    """The URI of the store that a folder is the outbox of; None if it is none."""
    return _read(os.path.join(root, "remote")).strip() or None


def settings(root: str) -> dict[str, float]:
    """The settings that the last run's process had for shipping."""
    try:
        found = json.loads(_read(os.path.join(root, "ship", _SETTINGS)) or "{}")
    except ValueError:
        found = {}
    told = found if isinstance(found, dict) else {}
    return {name: told.get(name) or config.number(name) for name in _TOLD}


def markers(root: str) -> list[str]:
    """Logs that are not wholly shipped, as `<run>.<writer>`, oldest run first."""
    try:
        return sorted(name for name in os.listdir(Layout(root).ship) if split_marker(name))
    except OSError:
        return []


def status(root: str) -> Status:
    """How shipping goes; nothing if nobody has said."""
    try:
        found = json.loads(_read(os.path.join(root, "ship", STATUS)) or "{}")
        return Status(**found)
    except (ValueError, TypeError):
        return Status()


def write_status(root: str, said: Status) -> None:
    """Say how shipping goes."""
    with contextlib.suppress(OSError):  # a full disk; the next time
        _write(os.path.join(root, "ship", STATUS), json.dumps(said._asdict()))


def failing_s(root: str) -> float:
    """For how long the store could not be reached, as far as is known; 0 if it can."""
    said = status(root)
    return time.time() - said.failing_since if said.failing_since and time.time() - said.at < FRESH_S else 0.0


class Trouble(NamedTuple):
    """What keeps runs from being shipped."""

    message: str
    since: float
    """In seconds since 1970."""


def trouble(root: str) -> Trouble | None:
    """What keeps runs from being shipped at present; None if nothing does."""
    said = status(root)
    over = said.size_bytes - settings(root)["outbox_bytes"]
    if over > 0:
        message = (
            f"{said.size_bytes:,} bytes wait in {root} to be sent to {remote_of(root)}, {over:,.0f} more than"
            f" MLSDK_OUTBOX_BYTES allows: {said.why or 'they are being sent'}; new runs are refused until there is room"
        )
        return Trouble(message, said.failing_since or said.at)
    if said.failing_since is None or time.time() - said.at > FRESH_S:
        return None
    kept = f"what is recorded is kept in {root} and sent later"
    return Trouble(f"{remote_of(root)} does not take what is recorded: {said.why}; {kept}", said.failing_since)


def backlog(root: str) -> str:
    """In words, what of an outbox is not up, why, and since when; empty if all is, as far as is known."""
    said, marked = status(root), markers(root)
    opened = os.path.join(root, "open")
    ended = {marker.partition(".")[0] for marker in marked if not os.path.exists(os.path.join(opened, marker))}
    count = max(said.runs, len(ended)) if marked else 0
    if not count:
        return ""
    what = "1 run is" if count == 1 else f"{count:,} runs are"
    size = f" ({size_text(said.size_bytes)})" if said.size_bytes else ""
    reason = f": {said.why}" if said.why else ""
    since = time.strftime(", since %H:%M", time.localtime(said.failing_since)) if said.failing_since else ""
    return f"{what} not yet up{size}{reason}{since}"


def size_text(size: float) -> str:
    """A number of bytes for people."""
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.1f} {unit}" if unit != "bytes" else f"{size:.0f} bytes"
        size /= 1000
    return f"{size:.1f} GB"


# what this process waits for


def waiting(uri: str, *, finished: bool = False) -> dict[str, str]:
    """Logs of this process's runs that are not wholly shipped: marker and outbox.

    Args:
        uri: of the remote store.
        finished: only those that it wrote itself and that will not grow any more.
    """
    mine = _announced.get(uri, {})
    for marker, root in tuple(mine.items()):
        if not os.path.exists(os.path.join(root, "ship", marker)):
            mine.pop(marker, None)
            _own.discard(marker)
    if not finished:
        return dict(mine)
    return {marker: root for marker, root in mine.items() if marker in _own and marker not in _written}


def remotes() -> list[str]:
    """Remote stores that this process has written for."""
    return list(_announced)


def forget() -> None:
    """In a forked child: the parent waits for its own logs."""
    _announced.clear()
    _own.clear()
    _written.clear()


def await_shipped(uri: str, seconds: float, *, finished: bool = False, patience_s: float = GIVE_UP_S) -> bool:
    """Wait until this process's logs are up; False if that took longer than `seconds`.

    Where the store has not been reached for a while already, `patience_s` is all that is waited.
    """
    begun, pause = time.monotonic(), 0.005
    deadline = begun + seconds
    while left := waiting(uri, finished=finished):
        now = time.monotonic()
        root = next(iter(left.values()))
        if now > deadline or (now - begun >= patience_s and failing_s(root) > GIVE_UP_S):
            return False
        time.sleep(min(pause, max(0.0, deadline - now)))
        pause = min(pause * 1.5, 0.05)
    return True


def settle(uri: str) -> None:
    """Before a remote store is read: let it have the runs that this process has finished."""
    if _announced and not getattr(_here, "shipping", False):
        await_shipped(checked(uri), config.number("ship_wait_s"), finished=True, patience_s=0.0)


@contextlib.contextmanager
def shipping() -> Iterator[None]:
    """In this thread, do not wait for what it is about to ship itself."""
    _here.shipping = True
    try:
        yield
    finally:
        _here.shipping = False


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""


def _write(path: str, text: str) -> None:
    """Write a small file whole, unless it says so already."""
    if _read(path) == text:
        return
    temporary = f"{path}.{os.getpid()}-{threading.get_ident()}.part"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
