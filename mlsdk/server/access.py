"""Members, roles and tokens of a server: a shared log in its home store, which every server of the place follows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from mlsdk.errors import AccessError, NotFoundError, UnavailableError, UsageError
from mlsdk.server.accounts import ALL, ALWAYS_THERE, Accounts, Principal, Role, Token
from mlsdk.server.chain import Ledger
from mlsdk.server.follower import Follower
from mlsdk.server.tokens import check_actor, check_note, digest_of, id_in, is_it, new_secret
from mlsdk.store.base import Store

__all__ = ["ACCESS", "ALL", "Access", "Principal", "Role", "Token"]

ACCESS = "shared/access"
"""The log of all this."""


class Access:
    """Who may do what, on any number of servers over one home store.

    Asking takes microseconds and never the store: a thread reads what is new twice a second while somebody asks.

    Args:
        home: the server's own store.

    Raises:
        StoreError: the store offers no shared logs.
    """

    def __init__(self, home: Store) -> None:
        self._ledger = Ledger(home, ACCESS)
        self._known = Accounts()
        self._lock = threading.RLock()
        self._follower = Follower(self._take_news)
        self.refresh = self._follower.look

    def close(self) -> None:
        """End the thread that looks."""
        self._follower.close()

    def _take_news(self) -> None:
        with self._lock:
            for entry in self._ledger.news():
                self._known.take(entry)

    # Who calls

    def authenticate(self, secret: str) -> Principal:
        """Who shows this secret, and what it allows now.

        Raises:
            AccessError: no token has it, or the token was revoked or has expired.
            UnavailableError: the home store could not be read for a minute.
        """
        self._follower.see_to()
        token = self._shown(secret)
        named = id_in(secret)
        if token is None and named and named not in self._known.tokens:  # made a moment ago, on another server?
            self._follower.see_to_now()
            token = self._shown(secret)
        if token is None:
            raise AccessError("the token is not valid: nobody has it, or it was revoked")
        now_s = time.time()
        if token.expired(now_s):
            raise AccessError(f"the token {token.id} expired at {token.expires_at}")
        return self._known.principal(token, now_s)

    def at_once(self, secret: str) -> Principal | None:
        """The same, if it can be told without waiting, and None otherwise: then `authenticate` knows or says why."""
        if not self._follower.fresh():
            return None
        token, now_s = self._shown(secret), time.time()
        return None if token is None or token.expired(now_s) else self._known.principal(token, now_s)

    def still(self, token: str, workspace: str) -> bool:
        """Whether a token gives a role in a workspace, as far as is known here: for what goes on after the answer."""
        if not self._follower.keep_on():
            return False
        known, now_s = self._known.tokens.get(token), time.time()
        if known is None or known.revoked or known.expired(now_s):
            return False
        return self._known.principal(known, now_s).role(workspace) is not None

    def allowed(self, token: str) -> Mapping[str, Role]:
        """What a token allows now, by workspace; see `token`."""
        with self._lock:
            return self._known.principal(self._token(token), time.time()).roles

    def _shown(self, secret: str) -> Token | None:
        """The token with this secret that was not revoked; what is wrong and what is unknown take the same path."""
        token = self._known.tokens.get(id_in(secret))
        same = is_it(secret, None if token is None else token.digest)
        return token if token is not None and same and not token.revoked else None

    # Tokens

    def make_token(
        self,
        by: str,
        actor: str,
        scopes: Mapping[str, Role],
        expires_s: float | None = None,
        note: str = "",
        *,
        parent: str | None = None,
        sign_in: bool = False,
    ) -> tuple[str, str]:
        """Make a token.

        Args:
            by: who makes it.
            actor: who will show it.
            scopes: by workspace (`*` for all), the most that it allows; its actor's own roles limit it further.
            expires_s: for so many seconds; None for ever.
            note: what it is for.
            parent: id of the token with which it is made: revoking that one can revoke this one too.
            sign_in: whether it comes from signing in.

        Returns:
            Its id, and its secret, which is kept nowhere.
        """
        check_actor(actor)
        check_note(note)
        if not scopes:
            raise UsageError("a token needs a scope: a workspace and a role, such as default=writer")
        if expires_s is not None and not 0 < expires_s < 100 * 366 * 86_400:
            raise UsageError(f"a token lasts for some seconds, at most a century, not {expires_s!r}")
        token, secret = new_secret()
        made = {
            "act": "token",
            "token": token,
            "sha256": digest_of(secret),
            "actor": actor,
            "scopes": {name: str(Role(role)) for name, role in scopes.items()},
            "expires": None if expires_s is None else round(time.time() + expires_s, 3),
            "note": note,
            "sign_in": sign_in,
            "parent": parent,
        }
        self._write(by, lambda: made)
        return token, secret

    def revoke_token(self, by: str, token: str, *, below: bool = True) -> None:
        """End a token, and by default all that were made with it.

        Raises:
            NotFoundError: there is none.
        """

        def entry() -> dict[str, Any]:
            self._token(token)
            return {"act": "revoke", "token": token, "below": below}

        self._write(by, entry)

    def token(self, token: str) -> Token:
        """A token by its id.

        Raises:
            NotFoundError: there is none.
        """
        self.refresh()
        with self._lock:
            return self._token(token)

    def tokens(self, actor: str | None = None) -> list[Token]:
        """Tokens, of everybody or of one actor, ended ones too; the oldest first."""
        self.refresh()
        with self._lock:
            found = [token for token in self._known.tokens.values() if actor is None or token.actor == actor]
        return sorted(found, key=lambda token: (token.made_at, token.id))

    def _token(self, token: str) -> Token:
        if token not in self._known.tokens:
            raise NotFoundError(f"there is no token {token!r}; `mlsdk token list` shows yours")
        return self._known.tokens[token]

    # Members

    def set_member(self, by: str, workspace: str, actor: str, role: Role | None) -> None:
        """Give somebody a role in a workspace (`*`: in all), or take it away: their tokens stop with it.

        Raises:
            NotFoundError: there is no such workspace.
            UsageError: nobody would be left who may do everything.
        """
        check_actor(actor)

        def entry() -> dict[str, Any]:
            if workspace != ALL:
                self._workspace(workspace)
            elif role is not Role.ADMIN and self._known.operators() == [actor]:
                raise UsageError(f"{actor} is the only operator; make another one first")
            name = None if role is None else str(Role(role))
            return {"act": "member", "workspace": workspace, "actor": actor, "role": name}

        self._write(by, entry)

    def signed_in(self, actor: str, roles: Mapping[str, Role | None], lasts_s: float) -> None:
        """Give somebody who has just signed in the roles that this brings, and take away those that it no longer does.

        Roles that an admin gave stay as they are. Tokens of somebody who signs in no more stop when these roles end.

        Args:
            actor: who.
            roles: for each workspace that signing in can give a role in: the role, or None.
            lasts_s: for so many seconds they hold without signing in again.
        """
        until_s = round(time.time() + lasts_s, 3)
        for workspace, role in roles.items():
            self._write("sign-in", partial(self._by_sign_in, workspace, actor, role, until_s, lasts_s))

    def _by_sign_in(
        self, workspace: str, actor: str, role: Role | None, until_s: float, lasts_s: float
    ) -> dict[str, Any] | None:
        held = self._known.members.get(actor, {}).get(workspace)
        if held is None and role is None:
            return None
        if held is not None and not held.sign_in:  # an admin's word counts
            return None
        if held is not None and held.role == role and (held.until_s or 0.0) > until_s - lasts_s / 10:
            return None
        if role is not None and workspace != ALL and workspace not in self._known.workspaces:
            return None
        name = None if role is None else str(role)
        return {
            "act": "member",
            "workspace": workspace,
            "actor": actor,
            "role": name,
            "until": until_s,
            "sign_in": True,
        }

    def members(self, workspace: str) -> dict[str, Role]:
        """Who has which role in a workspace; for `*`, in all. Operators are members of `*` alone."""
        self.refresh()
        now_s = time.time()
        with self._lock:
            held = {actor: self._known.roles(actor, now_s).get(workspace) for actor in self._known.members}
        return {actor: role for actor, role in sorted(held.items()) if role is not None}

    def roles(self, actor: str) -> dict[str, Role]:
        """The roles of one actor, by workspace."""
        self.refresh()
        with self._lock:
            return self._known.roles(actor, time.time())

    def first_operator(self, actor: str, note: str = "made by the first start of the server") -> tuple[str, str] | None:
        """Make somebody the operator, with a token, if there is no operator yet; returns its id and secret, or None."""
        check_actor(actor)

        def entry() -> dict[str, Any] | None:
            if self._known.operators():
                return None
            return {"act": "member", "workspace": ALL, "actor": actor, "role": str(Role.ADMIN)}

        if self._write("server", entry) is None:
            return None
        return self.make_token("server", actor, {ALL: Role.ADMIN}, note=note)

    # Workspaces

    def make_workspace(self, by: str, workspace: str) -> bool:
        """Note that there is a workspace; False if it is there already. Whether its name is good the caller knows."""

        def entry() -> dict[str, Any] | None:
            if workspace in self._known.workspaces:
                return None
            return {"act": "workspace", "workspace": workspace, "there": True}

        return self._write(by, entry) is not None

    def remove_workspace(self, by: str, workspace: str) -> None:
        """Note that a workspace is gone, with all roles in it; its store is left as it is.

        Raises:
            NotFoundError: there is none.
            UsageError: it is the one that is always there.
        """

        def entry() -> dict[str, Any]:
            self._workspace(workspace)
            if workspace == ALWAYS_THERE:
                raise UsageError(f"the workspace {ALWAYS_THERE} is always there")
            return {"act": "workspace", "workspace": workspace, "there": False}

        self._write(by, entry)

    def workspaces(self) -> frozenset[str]:
        """Names of all workspaces, as they were at the last look."""
        return self._known.workspaces

    def _workspace(self, workspace: str) -> None:
        if workspace not in self._known.workspaces:
            raise NotFoundError(f"there is no workspace {workspace!r}")

    def _write(self, by: str, entry: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
        """Append what `entry` says in view of all that is known; it is asked again when others came before."""
        check_actor(by)
        with self._lock:
            for _ in range(100):
                self.refresh()
                wanted = entry()
                if wanted is None:
                    return None
                written = self._ledger.add({"by": by, **wanted})
                if written is not None:
                    self._known.take(written)
                    return written
        raise UnavailableError(f"{ACCESS} is written to by others all the time; try again", 1.0)
