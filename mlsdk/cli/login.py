"""`mlsdk login`, `mlsdk logout` and `mlsdk whoami`: tokens of servers."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from mlsdk import config as settings
from mlsdk.cli.screen import Screen, clean
from mlsdk.errors import AccessError, UsageError
from mlsdk.store import credentials
from mlsdk.store.http.address import Address, address_of
from mlsdk.store.http.session import Session

_LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")


def login_options(parser: argparse.ArgumentParser) -> None:
    """Options of `login`."""
    parser.add_argument("url", nargs="?", metavar="URL", help="the server's address; by default the settings' store")
    parser.add_argument("--token-stdin", action="store_true", help="read the token from stdin instead of asking for it")


def login(args: argparse.Namespace) -> int:
    """Keep a token for a server, after trying it out there.

    It is asked for without being shown, and kept in a file that only you may read.
    """
    address = _address(args, "login")
    token = _asked(address, from_stdin=args.token_stdin)
    found = _me(Session(address, token=token))
    path = credentials.save(address.origin, token)
    _warn(address)
    if args.json:
        return _emit({"server": address.base, **found, "kept_in": path})
    _show(address, found)
    Screen().line((f"the token is kept in {path}", "dim"))
    return 0


def logout_options(parser: argparse.ArgumentParser) -> None:
    """Options of `logout`."""
    parser.add_argument("url", nargs="?", metavar="URL", help="the server's address; by default the settings' store")


def logout(args: argparse.Namespace) -> int:
    """Forget the token of a server. It stays valid there until it is revoked: `mlsdk token revoke`."""
    address = _address(args, "logout")
    was_there = credentials.forget(address.origin)
    if args.json:
        return _emit({"server": address.base, "forgotten": was_there})
    said = "the token is forgotten" if was_there else "no token was kept"
    Screen().line(f"{said} for {address.origin}")
    return 0


def whoami_options(parser: argparse.ArgumentParser) -> None:
    """Options of `whoami`."""
    parser.add_argument("url", nargs="?", metavar="URL", help="the server's address; by default the settings' store")


def whoami(args: argparse.Namespace) -> int:
    """Show who one is on a server: the name, the roles in workspaces, and when the token ends."""
    address = _address(args, "whoami")
    found = _me(Session(address))
    if args.json:
        return _emit({"server": address.base, **found})
    _show(address, found)
    return 0


def _address(args: argparse.Namespace, command: str) -> Address:
    """The server that is meant."""
    url = args.url or settings.store_uri(args.store)
    if url.partition(":")[0] not in ("http", "https"):
        kept = ", ".join(credentials.origins())
        known = f"; tokens are kept for: {kept}" if kept else ""
        raise UsageError(f"say which server: `mlsdk {command} https://host[/workspace]`{known}")
    return address_of(url)


def _asked(address: Address, *, from_stdin: bool) -> str:
    """The token that somebody gives."""
    if from_stdin:
        token = sys.stdin.readline().strip()
    elif sys.stdin.isatty():
        import getpass

        print(f"Sign in at {clean(address.base)}/ or ask whoever runs it for a token.", file=sys.stderr)
        token = getpass.getpass("Token (it is not shown): ").strip()
    else:
        raise UsageError("there is no terminal to ask for the token: give it by `mlsdk login URL --token-stdin < FILE`")
    if not token:
        raise AccessError("no token was given; nothing is kept")
    return token


def _me(session: Session) -> dict[str, Any]:
    found = session.call("GET", "me").json()
    return {name: found.get(name) for name in ("actor", "roles", "token", "expires_at")}


def _warn(address: Address) -> None:
    if address.base.startswith("http:") and not address.base.startswith(_LOOPBACK):
        print(
            f"mlsdk: {address.origin} is without encryption: whoever is on the way can read the token; use https",
            file=sys.stderr,
        )
    if credentials.token_for(address.origin) != credentials.kept(address.origin):
        print(f"mlsdk: {credentials.TOKEN_VARIABLE} is set, and goes before the token that is kept", file=sys.stderr)


def _show(address: Address, found: dict[str, Any]) -> None:
    screen = Screen()
    screen.line((str(found["actor"]), "bold"), f" on {address.base}")
    rows = [(name if name != "*" else "all workspaces", str(role)) for name, role in dict(found["roles"] or {}).items()]
    screen.table(("workspace", "role"), sorted(rows), indent="  ")
    screen.line(("  " + (f"until {found['expires_at']}" if found["expires_at"] else "without an end"), "dim"))


def _emit(value: object) -> int:
    from mlsdk.cli.stores import emit

    return emit(value)
