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
from typing import NamedTuple

from mlsdk import config
from mlsdk.errors import ConfigError, StoreError
from mlsdk.store.layout import Layout, split_marker

STATUS = "status.json"
_SETTINGS = "settings.json"
_TOLD = ("ship_every_s", "outbox_bytes", "request_timeout_s")
_SECRET_WORDS = (
    *("password", "passwd", "token", "secret", "credential", "signature"),
    *("access_key", "accesskey", "account_key", "accountkey", "api_key", "apikey"),
)
_SECRET_NAMES = ("sig", "sas")

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


def checked(uri: str) -> str:
    """A URI as it is kept.

    Raises:
        ConfigError: it holds a password or a token.
    """
    scheme, _, rest = uri.partition("://")
    place, _, query = rest.partition("?")
    user, at, _ = place.partition("/")[0].rpartition("@")
    if (at and (":" in user or scheme in ("http", "https"))) or any(map(_is_secret, query.split("&"))):
        where = {
            "http": "MLSDK_TOKEN, or `mlsdk login`",
            "https": "MLSDK_TOKEN, or `mlsdk login`",
            "postgresql": "PGPASSWORD, or ~/.pgpass",
        }.get(scheme, "the environment variables that its programs read, such as AWS_SECRET_ACCESS_KEY")
        host = place.rpartition("@")[2]
        raise ConfigError(f"the URI of the store {scheme}://{host} holds a password or token: put it into {where}")
    return f"{scheme}://{place.rstrip('/')}" + (f"?{query}" if query else "")


def _is_secret(word: str) -> bool:
    """Whether a part of a query, `name=value`, is a secret, or an address that holds one."""
    from urllib.parse import unquote_plus

    name, _, value = unquote_plus(word).partition("=")
    host = value.partition("://")[2].partition("/")[0]
    named = any(secret in name.lower() for secret in _SECRET_WORDS) or name.lower() in _SECRET_NAMES
    return named or ("@" in host and ":" in host.rpartition("@")[0])


def check_scheme(uri: str) -> None:
    """See that there is such a kind of store.

    Raises:
        StoreError: there is none.
    """
    from mlsdk.store import SCHEMES

    scheme = uri.partition(":")[0]
    if scheme not in SCHEMES:
        from importlib.metadata import entry_points

        offered = {point.name for point in entry_points(group="mlsdk.stores")}
        if scheme not in offered:
            known = ", ".join(sorted({*SCHEMES, *offered}))
            raise StoreError(f"there is no store for {scheme!r} URIs; known: {known}")


def base_folder() -> str:
    """Where outboxes lie: the setting `outbox`, else the user's folder for state.

    Raises:
        ConfigError: there is none: the user has no home.
    """
    named = config.text("outbox")
    if named:
        return os.path.abspath(os.path.expanduser(named))
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    if not os.path.isabs(state):  # neither HOME nor an entry among the users: usual in containers
        raise ConfigError(
            "runs of a remote store are written to this machine first, and this user has no home folder: name a folder"
            " that stays by MLSDK_OUTBOX"
        )
    return os.path.join(state, "mlsdk")


def folder_of(uri: str) -> str:
    """The outbox of a remote store, whether or not it is there."""
    from zlib import crc32

    uri = checked(uri)
    place = uri.partition("://")[2].partition("?")[0].rpartition("@")[2]
    readable = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in place)[-60:].strip(".-")
    return os.path.join(base_folder(), f"{readable or 'store'}-{crc32(uri.encode()):08x}")


def is_remote(uri: str) -> bool:
    """Whether live runs of a store go through an outbox."""
    return uri.partition(":")[0] not in ("file", "memory")


def outboxes() -> list[str]:
    """The outboxes of this user."""
    with contextlib.suppress(OSError, ConfigError):
        base = base_folder()
        folders = (os.path.join(base, name) for name in sorted(os.listdir(base)))
        return [folder for folder in folders if remote_of(folder)]
    return []


def remote_of(root: str) -> str | None:
    """The URI of the store that a folder is the outbox of; None if it is none."""
    return _read(os.path.join(root, "remote")).strip() or None


def claim(root: str, uri: str) -> None:
    """Write down whose outbox a folder is, and the settings that this process has for shipping.

    Raises:
        OSError: it cannot be written.
    """
    _write(os.path.join(root, "remote"), uri + "\n")
    told = {name: config.lookup(name).value for name in _TOLD}
    _write(os.path.join(root, "ship", _SETTINGS), json.dumps(told))


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


def has_begun(root: str, marker: str) -> bool:
    """Whether something of a log is in the remote store."""
    return _read(os.path.join(root, "ship", marker)).strip() not in ("", "0")


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
