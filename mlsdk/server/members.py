"""Routes of members, workspaces and tokens: who one is, who may do what, and changing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from mlsdk.errors import NotFoundError
from mlsdk.server.access import ALL, Principal, Role, Token
from mlsdk.server.accounts import role_named
from mlsdk.server.calls import ANY_TOKEN, Answer, Call, Param, Refused, Row, forbidden, unknown_workspace
from mlsdk.server.workspaces import check_name

_HOME = ""
"""The server's own audit chain."""


@attrs.frozen
class Me:
    """Who calls, and with what."""

    actor: str
    roles: dict[str, str]
    token: str
    expires_at: str | None


@attrs.frozen
class Named:
    """A name."""

    name: str


@attrs.frozen
class Given:
    """A role to give."""

    role: str


@attrs.frozen
class Member:
    """Somebody with a role; `everywhere` if it is one in all workspaces."""

    actor: str
    role: str
    everywhere: bool


@attrs.frozen
class Wanted:
    """A token to make."""

    scopes: dict[str, str]
    actor: str | None = None
    expires_s: float | None = None
    note: str = ""


@attrs.frozen
class Made:
    """A token that was made. Its secret is shown this once."""

    id: str
    secret: str
    expires_at: str | None


@attrs.frozen
class Kept:
    """A token, without its secret."""

    id: str
    actor: str
    scopes: dict[str, str]
    made_at: str
    made_by: str
    expires_at: str | None
    note: str
    sign_in: bool
    revoked: bool


def me(call: Call) -> Any:
    """Who the caller is, and what the token allows now."""
    kept = call.service.access.token(call.who.token)
    return Me(kept.actor, _names(call.who.roles), kept.id, _time(kept))


# Workspaces


def list_workspaces(call: Call) -> Any:
    """The workspaces in which the caller has a role."""
    names = sorted(call.service.access.workspaces())
    held = [(name, call.who.role(name)) for name in names]
    return {"workspaces": [{"name": name, "role": str(role)} for name, role in held if role is not None]}


def make_workspace(call: Call) -> Any:
    """Make a workspace; one that is there already is left as it is."""
    _operator(call, "make workspace", workspace=call.body.name)
    name = check_name(call.body.name)
    call.service.workspaces.store(name)
    if call.service.access.make_workspace(call.who.actor, name):
        _record(call, "make workspace", workspace=name)
    return Named(name)


def remove_workspace(call: Call) -> Any:
    """Take a workspace away, with all roles in it. Its runs stay in its store, and are there again if it is remade."""
    _operator(call, "remove workspace", workspace=call.workspace)
    call.service.access.remove_workspace(call.who.actor, call.workspace)
    _record(call, "remove workspace", workspace=call.workspace)
    return Answer(status=204)


# Members


def list_members(call: Call) -> Any:
    """Who has a role in a workspace."""
    access = call.service.access
    found = [(actor, role, False) for actor, role in access.members(call.workspace).items()]
    found += [(actor, role, True) for actor, role in access.members(ALL).items()]
    return {"members": [Member(actor, str(role), everywhere) for actor, role, everywhere in found]}


def put_member(call: Call) -> Any:
    """Give somebody a role in a workspace, in place of the one they had."""
    role = role_named(call.body.role)
    return _set(call, call.workspace, role)


def remove_member(call: Call) -> Any:
    """Take somebody's role in a workspace away: their tokens stop there at once."""
    return _set(call, call.workspace, None)


def list_operators(call: Call) -> Any:
    """Who has a role in all workspaces."""
    _operator(call, "list operators")
    found = call.service.access.members(ALL).items()
    return {"members": [Member(actor, str(role), everywhere=True) for actor, role in found]}


def put_operator(call: Call) -> Any:
    """Give somebody a role in all workspaces; an admin of all is an operator of the server."""
    _operator(call, "set member", workspace=ALL, member=call.path["actor"][:200])
    return _set(call, ALL, role_named(call.body.role))


def remove_operator(call: Call) -> Any:
    """Take somebody's role in all workspaces away."""
    _operator(call, "set member", workspace=ALL, member=call.path["actor"][:200])
    return _set(call, ALL, None)


def _set(call: Call, workspace: str, role: Role | None) -> Answer:
    actor, access = call.path["actor"], call.service.access
    if role is None and actor not in access.members(workspace):
        raise Refused(404, NotFoundError(f"{actor[:200]!r} has no role in {workspace!r}"))
    access.set_member(call.who.actor, workspace, actor, role)
    _record(call, "set member", workspace=workspace, member=actor, role=None if role is None else str(role))
    return Answer(status=204)


# Tokens


def list_tokens(call: Call) -> Any:
    """The caller's tokens; for operators with `all`, everybody's. Those that have ended stay listed."""
    if call.query["all"]:
        _operator(call, "list all tokens")
    tokens = call.service.access.tokens(None if call.query["all"] else call.who.actor)
    return {"tokens": [kept(token) for token in tokens]}


def make_token(call: Call) -> Any:
    """Make a token: for oneself with at most what the calling token allows, or as an operator for anybody."""
    wanted: Wanted = call.body
    scopes = {name: role_named(role) for name, role in wanted.scopes.items()}
    actor = call.who.actor if wanted.actor is None else wanted.actor
    if actor != call.who.actor:
        _operator(call, "make token", member=actor[:200])
    _check_scopes(call, scopes)
    access = call.service.access
    expires_s, own = wanted.expires_s, access.token(call.who.token)
    if own.expires_at is not None and not own.sign_in:  # none that it makes lasts longer
        left = own.expires_at.timestamp() - _now()
        expires_s = left if expires_s is None else min(expires_s, left)
    token, secret = access.make_token(call.who.actor, actor, scopes, expires_s, wanted.note, parent=call.who.token)
    _record(call, "make token", made=token, member=actor, scopes=_names(scopes))
    return Answer(Made(token, secret, _time(access.token(token))), 201, compress=False)


def _check_scopes(call: Call, scopes: Mapping[str, Role]) -> None:
    """See that a token gives nobody more than the caller has."""
    for name, role in scopes.items():
        held = call.who.roles.get(ALL) if name == ALL else call.who.role(name)
        if held is None or (name != ALL and not call.service.has(name)):
            raise unknown_workspace(name)
        if held < role:
            raise forbidden(f"you have the role {held} in {name!r}: you cannot make a token with the role {role}")


def revoke_token(call: Call) -> Any:
    """End a token, and by default those that were made with it."""
    token, access = call.path["id"], call.service.access
    known = next((one for one in access.tokens() if one.id == token), None)
    if known is None or (known.actor != call.who.actor and not is_operator(call.who)):
        raise Refused(404, NotFoundError(f"no token {token[:80]!r} of yours"))
    if token != call.who.token and not is_operator(call.who):
        _check_covers(call.who, access.allowed(token))
    access.revoke_token(call.who.actor, token, below=call.query["below"])
    _record(call, "revoke token", revoked=token, below=call.query["below"])
    return Answer(status=204)


def _check_covers(who: Principal, allowed: Mapping[str, Role]) -> None:
    """See that a token of little power does not end one of more: a leaked one must not lock its owner out."""
    for name, role in allowed.items():
        held = who.roles.get(ALL) if name == ALL else who.role(name)
        if held is None or held < role:
            raise forbidden("your token allows less than the one that it shall end: use one that allows as much")


def is_operator(who: Principal) -> bool:
    """Whether somebody may do everything everywhere."""
    return who.roles.get(ALL) is Role.ADMIN


def _operator(call: Call, act: str, **about: Any) -> None:
    """See that the caller is an operator; write down that somebody else tried."""
    if not is_operator(call.who):
        call.service.record_refusal(call.who, act, **about)
        raise forbidden("only an operator of the server may do this: the role admin in all workspaces")


def _record(call: Call, act: str, **about: Any) -> None:
    call.service.audit(_HOME).record(call.who.actor, act, token=call.who.token, request=call.request, **about)


def kept(token: Token) -> Kept:
    """What is told of a token."""
    return Kept(
        id=token.id,
        actor=token.actor,
        scopes=_names(token.scopes),
        made_at=token.made_at.isoformat(),
        made_by=token.made_by,
        expires_at=_time(token),
        note=token.note,
        sign_in=token.sign_in,
        revoked=token.revoked,
    )


def _names(roles: Mapping[str, Role]) -> dict[str, str]:
    return {name: str(role) for name, role in roles.items()}


def _time(token: Token) -> str | None:
    return None if token.expires_at is None else token.expires_at.isoformat()


def _now() -> float:
    import time

    return time.time()


ROWS: tuple[Row, ...] = (
    Row("GET", "/v1/me", me, ANY_TOKEN, "Who one is", answer=Me),
    Row("GET", "/v1/workspaces", list_workspaces, ANY_TOKEN, "Own workspaces", answer=dict),
    Row("POST", "/v1/workspaces", make_workspace, ANY_TOKEN, "Make a workspace (operators)", Named, Named),
    Row("DELETE", "/v1/workspaces/{w}", remove_workspace, ANY_TOKEN, "Take a workspace away (operators)"),
    Row("GET", "/v1/w/{w}/members", list_members, Role.VIEWER, "Who has a role", answer=dict),
    Row("PUT", "/v1/w/{w}/members/{actor:path}", put_member, Role.ADMIN, "Give a role", Given),
    Row("DELETE", "/v1/w/{w}/members/{actor:path}", remove_member, Role.ADMIN, "Take a role away"),
    Row("GET", "/v1/operators", list_operators, ANY_TOKEN, "Who has a role everywhere (operators)", answer=dict),
    Row("PUT", "/v1/operators/{actor:path}", put_operator, ANY_TOKEN, "Give a role everywhere (operators)", Given),
    Row("DELETE", "/v1/operators/{actor:path}", remove_operator, ANY_TOKEN, "Take it away (operators)"),
    Row(
        "GET",
        "/v1/tokens",
        list_tokens,
        ANY_TOKEN,
        "Own tokens, without secrets",
        answer=dict,
        params=(Param("all", bool, default=False, meaning="everybody's (operators)"),),
    ),
    Row("POST", "/v1/tokens", make_token, ANY_TOKEN, "Make a token", Wanted, Made),
    Row(
        "DELETE",
        "/v1/tokens/{id}",
        revoke_token,
        ANY_TOKEN,
        "End a token",
        params=(Param("below", bool, default=True, meaning="those made with it too"),),
    ),
)
"""Rows of the route table."""
