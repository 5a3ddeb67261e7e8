"""Members, roles and tokens of a server: a shared log in its home store, which every server of the place follows."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from mlsdk.errors import AccessError, MlsdkError, NotFoundError, StoreError, UnavailableError, UsageError
from mlsdk.server.accounts import ALL, ALWAYS_THERE, Accounts, Principal, Role, Token
from mlsdk.server.ledger import Ledger
from mlsdk.store.base import Store

__all__ = ["ACCESS", "ALL", "Access", "Principal", "Role", "Token"]

ACCESS = "shared/access"
"""The log of all this."""

FRESH_S = 1.0
"""What is known may be so old without another look: a revoked token stops everywhere within this time."""

KEPT_S = 60.0
"""While the home store cannot be read, what is known is good for so long; then nobody is let in."""

_LOOK_S = 0.5
_IDLE_S = 30.0
"""Nobody asked for so long: nobody looks until somebody does."""

_LONGEST_SECRET = 200
_NOBODY = hashlib.sha256(b"").hexdigest()
"""What the secret of an unknown token is compared with; no secret has this digest and the form of one."""


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
        self._changed = threading.Condition()
        """Guards the times below; told after each look."""
        self._looked_at = self._tried_at = self._asked_at = -KEPT_S * 10
        self._error: MlsdkError | None = None
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    def close(self) -> None:
        """End the thread that looks."""
        self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(5)

    # Who calls

    def authenticate(self, secret: str) -> Principal:
        """Who shows this secret, and what it allows now.

        Raises:
            AccessError: no token has it, or the token was revoked or has expired.
            UnavailableError: the home store could not be read for a minute.
        """
        now = time.monotonic()
        self._asked_at = now
        if now - self._looked_at > FRESH_S:
            self._wait_for_a_look(now)
        token = self._known.tokens.get(_id_in(secret))
        # An unknown token takes the same path as a known one.
        kept = _NOBODY if token is None else token.digest
        same = hmac.compare_digest(kept, digest_of(secret))
        if token is None or not same or token.revoked:
            raise AccessError("the token is not valid: nobody has it, or it was revoked; sign in with `mlsdk login`")
        if token.expired(time.time()):
            raise AccessError(f"the token {token.id} expired at {token.expires_at}; sign in with `mlsdk login`")
        return self._known.principal(token)

    def fresh(self) -> bool:
        """Whether `authenticate` will answer from memory; if not, it may wait for a second."""
        return time.monotonic() - self._looked_at < 0.9 * FRESH_S

    def _wait_for_a_look(self, now: float) -> None:
        """Have the thread look; go on with what is known if it takes long or fails, but not for ever."""
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._look_on, name="mlsdk-access", daemon=True)
                self._thread.start()
            self._wanted.set()
            failing = self._error is not None and now - self._looked_at <= KEPT_S
            if not failing and not self._changed.wait_for(lambda: self._tried_at >= now, FRESH_S):
                self._error = self._error or UnavailableError("the store is slow")
            if time.monotonic() - self._looked_at <= KEPT_S:
                return
            error = self._error
        if error is not None and not isinstance(error, UnavailableError):
            raise error
        raise UnavailableError(f"who may do what cannot be read at present: {error}", 1.0)

    def _look_on(self) -> None:
        """What the thread does, for as long as somebody asks."""
        while not self._closed:
            self._wanted.clear()
            try:
                self.refresh()
            except Exception:  # kept in `_error`, for those who ask; the thread has to go on
                pass
            asked_lately = time.monotonic() - self._asked_at < _IDLE_S
            self._wanted.wait(_LOOK_S if asked_lately else None)

    def refresh(self) -> None:
        """Read what other servers have written."""
        begun = time.monotonic()
        error: MlsdkError | None = None
        try:
            with self._lock:
                for entry in self._ledger.news():
                    self._known.take(entry)
        except MlsdkError as found:
            error = found
            raise
        except Exception as found:  # a store that lets a foreign error through: nobody is let in for it
            error = StoreError(f"{ACCESS} cannot be read: {type(found).__name__}")
            raise error from found
        finally:
            with self._changed:
                self._error = error
                self._tried_at = begun
                if error is None:
                    self._looked_at = begun
                self._changed.notify_all()

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

    def members(self, workspace: str) -> dict[str, Role]:
        """Who has which role in a workspace; for `*`, in all. Operators are members of `*` alone."""
        self.refresh()
        with self._lock:
            held = {actor: roles.get(workspace) for actor, roles in self._known.members.items()}
        return {actor: role for actor, role in sorted(held.items()) if role is not None}

    def roles(self, actor: str) -> dict[str, Role]:
        """The roles of one actor, by workspace."""
        self.refresh()
        with self._lock:
            return dict(self._known.members.get(actor, {}))

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


def new_secret() -> tuple[str, str]:
    """A new id of a token, and its secret, of 256 random bits."""
    token = secrets.token_hex(8)
    return token, f"mlsdk_{token}_{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> str:
    """What is kept of a secret. It is random, and long: it needs no slow function."""
    return hashlib.sha256(secret[:_LONGEST_SECRET].encode("utf-8", "replace")).hexdigest()


def _id_in(secret: str) -> str:
    """The id of a token that a secret names; empty if it has not the form of one."""
    parts = secret.split("_", 2) if len(secret) <= _LONGEST_SECRET else []
    return parts[1] if len(parts) == 3 and parts[0] == "mlsdk" else ""


def check_actor(actor: str) -> str:
    """The name itself.

    Raises:
        UsageError: it cannot be the name of somebody.
    """
    if not 0 < len(actor) <= 200 or actor.strip() != actor or not actor.isprintable() or actor == ALL:
        raise UsageError(f"{actor[:80]!r} cannot name anybody: 1 to 200 printable characters, such as an address")
    return actor


def check_note(note: str) -> str:
    """The note itself.

    Raises:
        UsageError: it is too long.
    """
    if len(note) > 500 or not note.isprintable():
        raise UsageError("a note has at most 500 characters, in one line")
    return note
