"""Who may do what: the fold of the access log. It is told entries, and answers from memory."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any, NamedTuple

import attrs

from mlsdk.errors import NewerFormatError, UsageError

ALL = "*"
"""Stands for every workspace: a role in it is the operator's way of having a role everywhere."""

ALWAYS_THERE = "default"
"""The workspace that needs no making."""


class Role(enum.IntEnum):
    """What somebody may do in a workspace; each may do what those below may."""

    VIEWER = 1
    WRITER = 2
    APPROVER = 3
    ADMIN = 4

    def __str__(self) -> str:
        return self.name.lower()


def role_named(name: str) -> Role:
    """The role of a name.

    Raises:
        UsageError: there is no such role.

    >>> str(role_named("writer"))
    'writer'
    """
    for role in Role:
        if str(role) == name:
            return role
    raise UsageError(f"there is no role {name!r}; roles are {', '.join(map(str, Role))}")


@attrs.frozen
class Principal:
    """Somebody who has shown a valid token.

    Attributes:
        actor: who it is.
        token: id of the token.
        roles: by workspace, what this token may do now; `*` stands for every workspace.
    """

    actor: str
    token: str
    roles: Mapping[str, Role]

    def role(self, workspace: str) -> Role | None:
        """What may be done in a workspace; None for nothing."""
        found = [self.roles[name] for name in (workspace, ALL) if name in self.roles]
        return max(found, default=None)


@attrs.frozen
class Token:
    """A token, without its secret, which nobody keeps.

    Attributes:
        id: its name.
        actor: who shows it.
        scopes: by workspace, the most that it allows; its actor's own role limits it further.
        made_at: when it was made.
        made_by: who made it.
        expires_at: when it ends; None for never.
        note: what it is for.
        sign_in: whether it came from signing in, and not from a token.
        parent: id of the token with which it was made, if any.
        revoked: whether it was ended before its time.
        digest: SHA-256 of the whole secret, in hexadecimal.
    """

    id: str
    actor: str
    scopes: Mapping[str, Role]
    made_at: datetime
    made_by: str
    expires_at: datetime | None = None
    note: str = ""
    sign_in: bool = False
    parent: str | None = None
    revoked: bool = False
    digest: str = attrs.field(default="", repr=False)

    def expired(self, now_s: float) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at.timestamp() <= now_s


class Held(NamedTuple):
    """A role that somebody has."""

    role: Role
    until_s: float | None = None
    """In seconds since 1970; None for as long as nobody takes it away."""
    sign_in: bool = False
    """Whether it came from signing in, which gives and takes it, and not from an admin."""


class Accounts:
    """Tokens, members and workspaces, as the entries told so far leave them."""

    def __init__(self) -> None:
        self.tokens: dict[str, Token] = {}
        self.members: dict[str, dict[str, Held]] = {}
        """By actor, then by workspace."""
        self.workspaces: frozenset[str] = frozenset({ALWAYS_THERE})
        self._principals: dict[str, tuple[Principal, float]] = {}
        """By token; and until when that holds."""

    def take(self, entry: Mapping[str, Any]) -> None:
        """Take in one entry.

        Raises:
            NewerFormatError: it is of a kind that a newer mlsdk has written.
        """
        act = entry["act"]
        if act == "token":
            self._take_token(entry)
        elif act == "revoke":
            self._revoke(entry["token"], below=entry["below"])
        elif act == "member":
            self._take_member(entry)
        elif act == "workspace":
            self._take_workspace(entry["workspace"], there=entry["there"])
        else:
            raise NewerFormatError(
                f"the access log has an entry {act!r} that this version does not know; upgrade this server"
            )
        # A request that asks meanwhile may keep what held a moment ago in the old dict, which goes.
        self._principals = {}

    def principal(self, token: Token, now_s: float) -> Principal:
        """Who shows a token, and what it allows now."""
        kept = self._principals
        found, until_s = kept.get(token.id, (None, 0.0))
        if found is None or now_s >= until_s:
            found = Principal(token.actor, token.id, MappingProxyType(self._roles(token, now_s)))
            ends = [held.until_s for held in self.members.get(token.actor, {}).values() if held.until_s is not None]
            kept[token.id] = (found, min((end for end in ends if end > now_s), default=float("inf")))
        return found

    def roles(self, actor: str, now_s: float) -> dict[str, Role]:
        """The roles of somebody, by workspace."""
        held = self.members.get(actor, {})
        return {name: one.role for name, one in held.items() if one.until_s is None or now_s < one.until_s}

    def _roles(self, token: Token, now_s: float) -> dict[str, Role]:
        """The lesser of scope and membership, workspace by workspace."""
        own = self.roles(token.actor, now_s)
        found = {}
        for name in {*token.scopes, *own}:
            scope = max((token.scopes[key] for key in (name, ALL) if key in token.scopes), default=None)
            member = max((own[key] for key in (name, ALL) if key in own), default=None)
            if scope is not None and member is not None:
                found[name] = min(scope, member)
        return found

    def operators(self) -> list[str]:
        """Actors who may do everything everywhere, for as long as nobody takes that away."""
        always = Held(Role.ADMIN)
        return sorted(actor for actor, roles in self.members.items() if roles.get(ALL) == always)

    def below(self, token: str) -> list[str]:
        """Ids of the tokens that were made with a token, or with one made with it, and so on."""
        found = [token]
        for one in found:
            found += [other.id for other in self.tokens.values() if other.parent == one and other.id not in found]
        return found[1:]

    def _take_token(self, entry: Mapping[str, Any]) -> None:
        expires = entry["expires"]
        token = Token(
            id=entry["token"],
            actor=entry["actor"],
            scopes=MappingProxyType({name: role_named(role) for name, role in entry["scopes"].items()}),
            made_at=moment(entry["t"]),
            made_by=entry["by"],
            expires_at=None if expires is None else moment(expires),
            note=entry["note"],
            sign_in=entry["sign_in"],
            parent=entry["parent"],
            digest=entry["sha256"],
        )
        self.tokens[token.id] = token

    def _revoke(self, token: str, *, below: bool) -> None:
        for one in [token, *(self.below(token) if below else [])]:
            if one in self.tokens:
                self.tokens[one] = attrs.evolve(self.tokens[one], revoked=True)

    def _take_member(self, entry: Mapping[str, Any]) -> None:
        role = None if entry["role"] is None else role_named(entry["role"])
        held = None if role is None else Held(role, entry.get("until"), bool(entry.get("sign_in")))
        self._hold(entry["actor"], entry["workspace"], held)

    def _hold(self, actor: str, workspace: str, held: Held | None) -> None:
        roles = {name: one for name, one in self.members.get(actor, {}).items() if name != workspace}
        if held is not None:
            roles[workspace] = held
        if roles:
            self.members[actor] = roles
        else:
            self.members.pop(actor, None)

    def _take_workspace(self, workspace: str, *, there: bool) -> None:
        if there:
            self.workspaces |= {workspace}
            return
        self.workspaces -= {workspace}
        for actor in [actor for actor, roles in self.members.items() if workspace in roles]:
            self._hold(actor, workspace, None)


def moment(seconds: float) -> datetime:
    """A time in seconds since 1970 as an aware one."""
    return datetime.fromtimestamp(seconds, timezone.utc)
