"""Where members and tokens are looked after: a server, asked over HTTP, or its own store, on its own machine."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import quote

import attrs

from mlsdk.config import store_uri
from mlsdk.errors import UsageError
from mlsdk.store.http.session import Session

Row = Mapping[str, Any]


class Office(Protocol):
    """What can be asked and changed. `workspace` is a name; `*` means all of them."""

    workspace: str
    """The one that the store's URI names."""

    def make_token(self, actor: str | None, scopes: Mapping[str, str], expires_s: float | None, note: str) -> Row:
        """Make a token; gives its `id`, its `secret` and `expires_at`."""

    def tokens(self, *, everybody: bool) -> list[Row]:
        """Tokens without their secrets."""

    def revoke(self, token: str, *, below: bool) -> None:
        """End a token, and those that were made with it."""

    def members(self, workspace: str) -> list[Row]:
        """Who has a role."""

    def set_member(self, workspace: str, actor: str, role: str | None) -> None:
        """Give a role, or take it away."""

    def workspaces(self) -> list[Row]:
        """Names, and the own role."""

    def make_workspace(self, name: str) -> None:
        """Make one."""

    def remove_workspace(self, name: str) -> None:
        """Take one away."""

    def audit(self, workspace: str) -> Iterator[Row]:
        """Entries of the audit chain; of the server's own, for `*`."""

    def verify(self, workspace: str) -> Row:
        """How many `logs` and `entries` were looked at, and `findings`."""


def office(store: str | None) -> Office:
    """The office of a store's URI, by default that of the settings."""
    uri = store_uri(store)
    if uri.partition(":")[0] in ("http", "https"):
        from mlsdk.store.http.address import address_of

        return Remote(Session(address_of(uri)))
    return Local(uri)


class Remote:
    """A server; see `Office`.

    Args:
        session: to one of its workspaces.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.workspace = session.address.workspace

    def make_token(self, actor: str | None, scopes: Mapping[str, str], expires_s: float | None, note: str) -> Row:
        """See `Office`."""
        wanted = {"actor": actor, "scopes": dict(scopes), "expires_s": expires_s, "note": note}
        return self._object("POST", "tokens", value=wanted, attempts=1)  # sent twice, it would make two

    def tokens(self, *, everybody: bool) -> list[Row]:
        """See `Office`."""
        return list(self._object("GET", "tokens", params={"all": 1} if everybody else None)["tokens"])

    def revoke(self, token: str, *, below: bool) -> None:
        """See `Office`."""
        self._session.call("DELETE", f"tokens/{quote(token, safe='')}", params={"below": int(below)})

    def members(self, workspace: str) -> list[Row]:
        """See `Office`."""
        return list(self._object("GET", "operators" if workspace == "*" else f"w/{workspace}/members")["members"])

    def set_member(self, workspace: str, actor: str, role: str | None) -> None:
        """See `Office`."""
        place = "operators" if workspace == "*" else f"w/{workspace}/members"
        path = f"{place}/{quote(actor, safe='')}"
        if role is None:
            self._session.call("DELETE", path)
        else:
            self._session.call("PUT", path, value={"role": role})

    def workspaces(self) -> list[Row]:
        """See `Office`."""
        return list(self._object("GET", "workspaces")["workspaces"])

    def make_workspace(self, name: str) -> None:
        """See `Office`."""
        self._session.call("POST", "workspaces", value={"name": name})

    def remove_workspace(self, name: str) -> None:
        """See `Office`."""
        self._session.call("DELETE", f"workspaces/{quote(name, safe='')}")

    def audit(self, workspace: str) -> Iterator[Row]:
        """See `Office`."""
        after = None
        while True:
            part = self._object("GET", _audit(workspace), params={"after": after})
            yield from part["entries"]
            after = part["after"]
            if after is None:
                return

    def verify(self, workspace: str) -> Row:
        """See `Office`."""
        return self._object("GET", f"{_audit(workspace)}/verified")

    def _object(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._session.call(method, path, **options).json()
        return found


def _audit(workspace: str) -> str:
    return "audit" if workspace == "*" else f"w/{workspace}/audit"


class Local:
    """The store of a server, on a machine that may write to it: how a lost operator's token is made anew; see `Office`.

    Args:
        uri: of the workspace `default`.
    """

    def __init__(self, uri: str) -> None:
        from mlsdk.server.access import Access
        from mlsdk.server.workspaces import DEFAULT, Workspaces

        self.workspace = DEFAULT
        self._stores = Workspaces(uri)
        self._access = Access(self._stores.home)
        self._by = f"{getpass.getuser()} on {socket.gethostname()}"

    def _record(self, act: str, **about: Any) -> None:
        from mlsdk.server.audit import Audit

        Audit(self._stores.home, "command-line").record(self._by, act, **about)

    def make_token(self, actor: str | None, scopes: Mapping[str, str], expires_s: float | None, note: str) -> Row:
        """See `Office`."""
        from mlsdk.server.accounts import role_named

        if actor is None:
            raise UsageError("say who will show the token: --actor NAME")
        roles = {name: role_named(role) for name, role in scopes.items()}
        token, secret = self._access.make_token(self._by, actor, roles, expires_s, note)
        self._record("make token", made=token, member=actor, scopes=dict(scopes))
        expires = self._access.token(token).expires_at
        return {"id": token, "secret": secret, "expires_at": None if expires is None else expires.isoformat()}

    def tokens(self, *, everybody: bool) -> list[Row]:  # noqa: ARG002 - on the server's machine one is nobody of its
        """See `Office`; everybody's in any case."""
        from mlsdk.server.members import kept

        return [attrs.asdict(kept(token)) for token in self._access.tokens()]

    def revoke(self, token: str, *, below: bool) -> None:
        """See `Office`."""
        self._access.revoke_token(self._by, token, below=below)
        self._record("revoke token", revoked=token, below=below)

    def members(self, workspace: str) -> list[Row]:
        """See `Office`."""
        found = [(name, self._access.members(name)) for name in dict.fromkeys((workspace, "*"))]
        return [
            {"actor": actor, "role": str(role), "everywhere": name == "*"}
            for name, members in found
            for actor, role in members.items()
        ]

    def set_member(self, workspace: str, actor: str, role: str | None) -> None:
        """See `Office`."""
        from mlsdk.server.accounts import role_named

        self._access.set_member(self._by, workspace, actor, None if role is None else role_named(role))
        self._record("set member", workspace=workspace, member=actor, role=role)

    def workspaces(self) -> list[Row]:
        """See `Office`."""
        self._access.refresh()
        return [{"name": name, "role": None} for name in sorted(self._access.workspaces())]

    def make_workspace(self, name: str) -> None:
        """See `Office`."""
        self._stores.store(name)
        if self._access.make_workspace(self._by, name):
            self._record("make workspace", workspace=name)

    def remove_workspace(self, name: str) -> None:
        """See `Office`."""
        self._access.remove_workspace(self._by, name)
        self._record("remove workspace", workspace=name)

    def audit(self, workspace: str) -> Iterator[Row]:
        """See `Office`."""
        after = None
        while True:
            part, after = self._chain(workspace).entries(after)
            yield from part
            if after is None:
                return

    def verify(self, workspace: str) -> Row:
        """See `Office`."""
        found = self._chain(workspace).verify()
        findings = [finding.message for finding in found.findings]
        return {"logs": found.logs, "entries": found.entries, "findings": findings}

    def _chain(self, workspace: str) -> Any:
        from mlsdk.server.audit import Audit

        store = self._stores.home if workspace == "*" else self._stores.store(workspace)
        return Audit(store, "command-line")
