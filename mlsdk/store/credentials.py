"""Tokens of HTTP stores: `MLSDK_TOKEN`, or a file that only its owner may read. One token for each origin.

An origin is `scheme://host[:port]`, as browsers mean it. A token goes to the origin that it was given for and to no
other: the one in the environment to the server that `MLSDK_STORE` names, a saved one to the server that it was saved
for.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from urllib.parse import urlsplit

from mlsdk.errors import AccessError, ConfigError

TOKEN_VARIABLE = "MLSDK_TOKEN"  # noqa: S105 - the name of a variable
_STORE_VARIABLE = "MLSDK_STORE"
_PORTS = {"http": 80, "https": 443}


def origin_of(uri: str) -> str:
    """The origin of an HTTP URI: scheme, host, and the port where it is not the usual one; in lower case.

    Raises:
        ConfigError: it names no host, or holds a password.

    >>> origin_of("https://Runs.example:443/team")
    'https://runs.example'
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"an address of a server cannot be read: {error}; write https://host/workspace") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"the address of {host} holds a user or a password, and addresses are kept and shown; put the token"
            f" where it stays secret: `mlsdk login {parts.scheme}://{host}`, or {TOKEN_VARIABLE}"
        )
    if parts.scheme not in _PORTS or not host:
        raise ConfigError(f"{uri!r} is no address of a server: write http://host[:port]/workspace, or https://…")
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" if port in (None, _PORTS[parts.scheme]) else f"{parts.scheme}://{host}:{port}"


def token_for(origin: str) -> str | None:
    """The token for a server, by its origin or any address on it; None if there is none.

    Raises:
        AccessError: the file of tokens may be read by others, or cannot be read.
    """
    origin = origin_of(origin)
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if token and _environment_means(origin):
        return _checked(token, TOKEN_VARIABLE)
    return kept(origin)


def kept(origin: str) -> str | None:
    """The token that was saved for a server."""
    saved = _load().get(origin_of(origin))
    return None if saved is None else _checked(saved, path())


def why_none(origin: str) -> str:
    """What a caller without a valid token is told to do."""
    hint = f"sign in by `mlsdk login {origin}`, or set {TOKEN_VARIABLE} and {_STORE_VARIABLE}"
    if os.environ.get(TOKEN_VARIABLE, "").strip() and not _environment_means(origin):
        hint += f" ({TOKEN_VARIABLE} is set, but is only sent to the server that {_STORE_VARIABLE} names)"
    return hint


def save(origin: str, token: str) -> str:
    """Keep a token for a server; returns the file's path.

    Raises:
        AccessError: the file may be read by others, or cannot be written.
    """
    tokens = _load()
    tokens[origin_of(origin)] = _checked(token.strip(), "the token")
    return _store(tokens)


def forget(origin: str) -> bool:
    """Remove the token of a server; False if there was none."""
    tokens = _load()
    if tokens.pop(origin_of(origin), None) is None:
        return False
    _store(tokens)
    return True


def origins() -> list[str]:
    """The servers that tokens are kept for."""
    return sorted(_load())


def path() -> str:
    """The file of tokens: `mlsdk/credentials.json` in `$XDG_CONFIG_HOME`, else in `~/.config`."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "mlsdk", "credentials.json")


def _environment_means(origin: str) -> bool:
    """Whether the token in the environment is for this server."""
    store = os.environ.get(_STORE_VARIABLE, "")
    with contextlib.suppress(ConfigError):
        return store.startswith(("http:", "https:")) and origin_of(store) == origin
    return False


def _checked(token: str, place: str) -> str:
    """The token; one that no header can carry is refused, without being shown."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise AccessError(f"{place} holds no token: it is empty, or has blanks or characters that no token has")
    return token


def _load() -> dict[str, str]:
    file_path = path()
    try:
        with open(file_path, encoding="utf-8") as file:
            _check_private(file.fileno(), file_path)
            found = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not the JSON that was written"
        raise AccessError(
            f"the tokens in {file_path} cannot be read: {reason}; mend or delete it, then `mlsdk login`"
        ) from None  # what stands in it shall not get into a message
    tokens = found.get("tokens") if isinstance(found, dict) else None
    if not isinstance(tokens, dict):
        return {}
    return {origin: token for origin, token in tokens.items() if isinstance(token, str)}


def _check_private(descriptor: int, file_path: str) -> None:
    if not hasattr(os, "getuid"):
        return  # without owners and modes, a user's folder is as private as it gets
    found = os.fstat(descriptor)
    if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid not in (os.getuid(), 0):
        raise AccessError(
            f"the tokens in {file_path} can be read by others (mode {stat.S_IMODE(found.st_mode):o}); they may be known"
            f" already: revoke them, then `chmod 600 {file_path}`"
        )


def _store(tokens: dict[str, str]) -> str:
    file_path = path()
    folder = os.path.dirname(file_path)
    temporary = f"{file_path}.{os.getpid()}-{os.urandom(4).hex()}.part"
    try:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        os.chmod(folder, 0o700)
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump({"version": 1, "tokens": tokens}, file, indent=2, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, file_path)
    except OSError as error:
        raise AccessError(f"tokens cannot be kept in {file_path}: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    return file_path
