"""Where the token of a request stands: in the header, or for a browser in a cookie; and how that cookie is set."""

from __future__ import annotations

from collections.abc import Mapping

from mlsdk.errors import AccessError
from mlsdk.server.calls import Refused

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
