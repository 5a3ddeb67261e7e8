"""Secrets of tokens: making and checking them, and where a request bears one: in the header, or in a cookie."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping

from mlsdk.errors import AccessError, UsageError
from mlsdk.server.calls import Refused

_LONGEST_SECRET = 200

_NOBODY = hashlib.sha256(b"").hexdigest()
"""What the secret of an unknown token is compared with; no secret of the right form has this digest."""


def new_secret() -> tuple[str, str]:
    """A new id of a token, and its secret, of 256 random bits."""
    token = secrets.token_hex(8)
    return token, f"mlsdk_{token}_{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> str:
    """What is kept of a secret. It is random, and long: it needs no slow function."""
    return hashlib.sha256(secret[:_LONGEST_SECRET].encode("utf-8", "replace")).hexdigest()


def is_it(secret: str, kept: str | None) -> bool:
    """Whether a secret is the one whose digest is kept; an unknown token, None, takes the same path as a known one."""
    return hmac.compare_digest(_NOBODY if kept is None else kept, digest_of(secret)) and kept is not None


def id_in(secret: str) -> str:
    """The id of a token that a secret names; empty if it has not the form of one."""
    parts = secret.split("_", 2) if len(secret) <= _LONGEST_SECRET else []
    return parts[1] if len(parts) == 3 and parts[0] == "mlsdk" and len(parts[1]) == 16 else ""


def check_actor(actor: str) -> str:
    """The name itself.

    Raises:
        UsageError: it cannot be the name of somebody.
    """
    if not 0 < len(actor) <= 200 or actor.strip() != actor or not actor.isprintable() or actor == "*":
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


NAME = "mlsdk_token"

_LONGEST = 500


def token_in(headers: Mapping[str, str], *, cookie: bool = False) -> str:
    """The token that a request bears.

    Args:
        headers: of the request.
        cookie: whether a cookie serves as well.

    Raises:
        Refused: none, or something else than a token.
    """
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() == "bearer" and secret and len(secret) <= _LONGEST:
        return secret
    if scheme:
        raise Refused(401, AccessError("the header Authorization must be `Bearer <token>`"))
    found = cookie_in(headers) if cookie else ""
    if found:
        return found
    raise Refused(
        401, AccessError("no token: send `Authorization: Bearer <token>`; `mlsdk login URL` keeps one for you")
    )


def cookie_in(headers: Mapping[str, str]) -> str:
    """The token in a browser's cookie; empty if there is none."""
    parts = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    found = [value for name, _, value in parts if name == NAME]
    return found[0] if len(found) == 1 and 0 < len(found[0]) <= _LONGEST else ""


def set_cookie(token: str, *, secure: bool, max_age_s: int = 30 * 86_400) -> str:
    """The value of `Set-Cookie` that keeps a token in a browser: no script sees it, no other site sends it.

    An empty token takes it away.

    Raises:
        AccessError: it is no token.
    """
    if len(token) > _LONGEST or not token.isascii() or not set(token).isdisjoint(' ",;\\\r\n\t\0'):
        raise AccessError("this is no token")
    age = max_age_s if token else 0
    return f"{NAME}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}" + ("; Secure" if secure else "")


def same_site(headers: Mapping[str, str]) -> bool:
    """Whether a form was sent from a page of this server: browsers say from where."""
    site = headers.get("sec-fetch-site", "")
    if site:
        return site in ("same-origin", "none")
    origin = headers.get("origin", "")
    return not origin or origin.partition("://")[2] == headers.get("host", "")
