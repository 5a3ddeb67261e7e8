"""`mlsdk token`, `member`, `workspace` and `audit`: who may do what on a server, and who did what."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from itertools import islice
from typing import Any

from mlsdk.cli import stores
from mlsdk.cli.care import seconds
from mlsdk.cli.offices import Office, Row, office
from mlsdk.cli.screen import Screen, clean
from mlsdk.errors import MlsdkError, UsageError
from mlsdk.table import counted

_ROLES = ("viewer", "writer", "approver", "admin")


def token_options(parser: argparse.ArgumentParser) -> None:
    """Options of `token`."""
    parser.add_argument("action", choices=("make", "list", "revoke"), help="what to do")
    parser.add_argument("id", nargs="?", metavar="ID", help="of the token to revoke")
    parser.add_argument(
        "--scope",
        action="append",
        default=[],
        metavar="WORKSPACE=ROLE",
        help="the most that it allows (`*` for all workspaces); by default writer in the store's workspace",
    )
    parser.add_argument("--actor", metavar="NAME", help="who will show it; by default you")
    parser.add_argument("--expires", default="90d", metavar="AGE", help="after 12h, 90d (default), …, or `never`")
    parser.add_argument("--note", default="", metavar="TEXT", help="what it is for")
    parser.add_argument("--all", action="store_true", help="list everybody's, as an operator; ended ones too")
    parser.add_argument("--alone", action="store_true", help="revoke it, but not those that were made with it")


def token(args: argparse.Namespace) -> int:
    """Make, list and revoke tokens of a server.

    The secret of a new token is printed on stdout, this once. On the server's own machine, `--store` may name the
    server's store itself: so an operator makes a token when none is left.
    """
    if (args.action == "revoke") != (args.id is not None):
        raise UsageError("say which: `mlsdk token revoke ID`" if args.id is None else "an ID is for `revoke` only")
    if args.action == "make":
        return _make(args)
    if args.action == "list":
        return _list(args)
    office(args.store).revoke(args.id, below=not args.alone)
    if args.json:
        return stores.emit({"revoked": args.id})
    Screen().line(f"the token {args.id} is revoked")
    return 0


def _make(args: argparse.Namespace) -> int:
    place = office(args.store)
    scopes = dict(map(_scope, args.scope)) or {place.workspace: "writer"}
    expires_s = None if args.expires == "never" else seconds(args.expires)
    made = place.make_token(args.actor, scopes, expires_s, args.note)
    if args.actor is not None:
        _say_what_is_missing(place, args.actor, scopes)
    if args.json:
        return stores.emit(dict(made))
    allows = ", ".join(f"{role} in {'all workspaces' if name == '*' else name}" for name, role in scopes.items())
    until = f"until {made['expires_at']}" if made["expires_at"] else "without an end"
    print(clean(f"token {made['id']}: at most {allows}; {until}; shown this once:"), file=sys.stderr)
    print(made["secret"])
    return 0


def _say_what_is_missing(place: Office, actor: str, scopes: Mapping[str, str]) -> None:
    """A token allows no more than its owner may do: say where that is less than what was asked for."""
    for name, wanted in scopes.items():
        try:
            rows = place.members(name)
        except MlsdkError:  # who may not see the members is told nothing of them
            continue
        held = max((_ROLES.index(row["role"]) for row in rows if row["actor"] == actor), default=-1)
        if held < _ROLES.index(wanted):
            has = f"only the role {_ROLES[held]}" if held >= 0 else "no role"
            todo = f"mlsdk member set {actor} {wanted} --workspace {name!r}"
            print(clean(f"mlsdk: {actor} has {has} in {name!r}, and a token allows no more: `{todo}`"), file=sys.stderr)


def _scope(text: str) -> tuple[str, str]:
    name, equals, role = text.partition("=")
    if not name or not equals or role not in _ROLES:
        raise UsageError(f"--scope {text!r} must be WORKSPACE=ROLE, with a role of {', '.join(_ROLES)}")
    return name, role


def _list(args: argparse.Namespace) -> int:
    now = datetime.now(timezone.utc).isoformat()
    found = office(args.store).tokens(everybody=args.all)
    shown = [one for one in found if args.all or not _ended(one, now)]
    if args.json:
        return stores.emit({"tokens": [dict(one) for one in shown]})
    rows = [
        (
            one["id"],
            one["actor"],
            ", ".join(f"{name}={role}" for name, role in one["scopes"].items()),
            "revoked" if one["revoked"] else str(one["expires_at"] or "never")[:16],
            one["note"],
        )
        for one in shown
    ]
    Screen().table(("id", "actor", "at most", "ends", "note"), rows)
    return 0


def _ended(one: Row, now: str) -> bool:
    return bool(one["revoked"]) or (one["expires_at"] is not None and one["expires_at"] < now)


def member_options(parser: argparse.ArgumentParser) -> None:
    """Options of `member`."""
    parser.add_argument("action", choices=("list", "set", "remove"), help="what to do")
    parser.add_argument("actor", nargs="?", metavar="NAME", help="whom")
    parser.add_argument("role", nargs="?", choices=_ROLES, help="what they may do")
    parser.add_argument("--workspace", metavar="NAME", help="by default the store's; `*` for all")


def member(args: argparse.Namespace) -> int:
    """List the members of a workspace, give somebody a role, or take it away: their tokens stop with it."""
    place = office(args.store)
    workspace = args.workspace or place.workspace
    if args.action == "list":
        found = place.members(workspace)
        if args.json:
            return stores.emit({"members": [dict(one) for one in found]})
        rows = [(one["actor"], one["role"], "everywhere" if one["everywhere"] else "") for one in found]
        Screen().table(("actor", "role", ""), rows)
        return 0
    if args.actor is None or (args.action == "set") != (args.role is not None):
        raise UsageError("write `mlsdk member set NAME ROLE` or `mlsdk member remove NAME`")
    place.set_member(workspace, args.actor, args.role)
    if args.json:
        return stores.emit({"workspace": workspace, "actor": args.actor, "role": args.role})
    where = "all workspaces" if workspace == "*" else workspace
    Screen().line(f"{args.actor} is {args.role} in {where}" if args.role else f"{args.actor} has no role in {where}")
    return 0


def workspace_options(parser: argparse.ArgumentParser) -> None:
    """Options of `workspace`."""
    parser.add_argument("action", choices=("list", "make", "remove"), help="what to do")
    parser.add_argument("name", nargs="?", metavar="NAME", help="of the workspace")


def workspace(args: argparse.Namespace) -> int:
    """List workspaces, make one, or take one away: its runs stay in its store."""
    place = office(args.store)
    if (args.action == "list") != (args.name is None):
        raise UsageError("write `mlsdk workspace list`, `mlsdk workspace make NAME` or `mlsdk workspace remove NAME`")
    if args.action == "list":
        found = place.workspaces()
        if args.json:
            return stores.emit({"workspaces": [dict(one) for one in found]})
        Screen().table(("workspace", "your role"), [(one["name"], one["role"] or "") for one in found])
        return 0
    if args.action == "make":
        place.make_workspace(args.name)
    else:
        place.remove_workspace(args.name)
    if args.json:
        return stores.emit({"workspace": args.name, "there": args.action == "make"})
    Screen().line(f"the workspace {args.name} is {'made' if args.action == 'make' else 'taken away'}")
    return 0


def audit_options(parser: argparse.ArgumentParser) -> None:
    """Options of `audit`."""
    parser.add_argument("--verify", action="store_true", help="walk the whole chain and say where it is broken")
    parser.add_argument("--workspace", metavar="NAME", help="by default the store's; `*` for the server's own chain")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="show the last N entries (50); 0 for all")


def audit(args: argparse.Namespace) -> int:
    """Show who did what on a server, from its audit chain; or check the chain.

    Exit code 0 if all is well, 1 if `--verify` finds the chain broken.
    """
    place = office(args.store)
    name = args.workspace or place.workspace
    if args.verify:
        return _verify(args, place.verify(name))
    entries = sorted(place.audit(name), key=lambda entry: (entry.get("t", 0), entry["chain"], entry["n"]))
    shown = list(islice(entries, max(0, len(entries) - args.limit) if args.limit else 0, None))
    if args.json:
        return stores.emit({"entries": [dict(entry) for entry in shown]})
    Screen().table(("time", "actor", "act", "about"), [_told(entry) for entry in shown])
    return 0


def _verify(args: argparse.Namespace, found: Row) -> int:
    if args.json:
        stores.emit(dict(found))
        return 1 if found["findings"] else 0
    screen = Screen()
    for finding in found["findings"]:
        screen.line(("broken  ", "bold red"), finding)
    walked = f"{found['entries']:,} entries in {counted(found['logs'], 'log')}"
    screen.line(f"{walked}: {'see above' if found['findings'] else 'all is well'}")
    return 1 if found["findings"] else 0


_COLUMNS = frozenset({"chain", "n", "t", "actor", "act", "prev", "token", "request", "seen"})


def _told(entry: Row) -> tuple[Any, ...]:
    moment = datetime.fromtimestamp(entry.get("t", 0), timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    about = ", ".join(f"{name} {value}" for name, value in entry.items() if name not in _COLUMNS)
    return moment, entry.get("actor", ""), entry.get("act", ""), about
