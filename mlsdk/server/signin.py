"""Routes of signing in by OpenID Connect: the browser is sent to the provider, and comes back with a code."""

from __future__ import annotations

import hmac
import html
import re
import threading
from collections import OrderedDict

import attrs

from mlsdk.errors import AccessError, MlsdkError, NotFoundError, UnavailableError
from mlsdk.server.access import ALL, Role
from mlsdk.server.calls import ANYONE, Answer, Call, Param, Refused, Row
from mlsdk.server.oidc import Attempt, OidcSettings, Provider, new_attempt
from mlsdk.server.tokens import set_cookie

COOKIE = "mlsdk_signin"
_HTML = "text/html; charset=utf-8"
_ATTEMPT_S = 600
_USED = 10_000
_PART = re.compile(r"[A-Za-z0-9_-]{43}")


class SignIn:
    """Signing in at one provider; an attempt counts once.

    Args:
        settings: see `OidcSettings`.
    """

    def __init__(self, settings: OidcSettings) -> None:
        self.settings = settings
        self.provider = Provider(settings)
        self._used: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def use(self, state: str) -> bool:
        """Whether a state comes back for the first time; on another server, the provider refuses its code."""
        with self._lock:
            if state in self._used:
                return False
            self._used[state] = None
            if len(self._used) > _USED:
                self._used.popitem(last=False)
            return True


@attrs.frozen
class _Begun:
    attempt: Attempt
    show: bool
    """Whether the token is to be shown, for another program."""


def login(call: Call) -> Answer:
    """Send the browser to the provider."""
    signing, attempt = _sign_in(call), new_attempt()
    try:
        address = signing.provider.authorize_url(attempt)
    except UnavailableError as error:
        return _page(503, "Not possible at present", str(error))
    kept = ".".join((*attempt, "1" if call.query["show"] else "0"))
    return Answer(b"", 303, _HTML, {"location": _plain(address), "set-cookie": _cookie(call, kept)}, compress=False)


def callback(call: Call) -> Answer:
    """Take the browser back: check what it brings, and give it a token."""
    signing, begun = _sign_in(call), _begun(call.headers.get("cookie", ""))
    state, code = call.query["state"], call.query["code"]
    if begun is None or not hmac.compare_digest(state.encode(), begun.attempt.state.encode()):
        return _page(400, "Begin again", "This browser did not begin to sign in here, or more than ten minutes ago.")
    clear = {"set-cookie": _cookie(call, "")}
    if not signing.use(state):
        return _page(400, "Begin again", "This attempt to sign in was used before.", clear)
    if call.query["error"] or not code:
        said = call.query["error"][:80] or "no code"
        return _page(403, "Not signed in", f"The provider said: {said}.", clear)
    issuer = call.query["iss"]
    if issuer and issuer != signing.settings.issuer:
        return _page(403, "Not signed in", "The answer came from another provider.", clear)
    try:
        person = signing.provider.person(code, begun.attempt)
    except AccessError as error:
        return _page(403, "Not signed in", str(error), clear)
    except UnavailableError as error:
        return _page(503, "Not possible at present", str(error), clear)
    access, audit = call.service.access, call.service.audit("")
    access.signed_in(person.actor, person.roles, signing.settings.roles_s)
    if not access.roles(person.actor):
        audit.record(person.actor, "sign in refused", request=call.request)
        said = f"You are {person.actor}, who has no role in any workspace here. Ask an admin for one."
        return _page(403, "Signed in, but without a role", said, clear)
    lasts_s = signing.settings.roles_s if begun.show else signing.settings.session_s
    note = "shown after signing in" if begun.show else "a browser that signed in"
    token, secret = access.make_token(person.actor, person.actor, {ALL: Role.ADMIN}, lasts_s, note, sign_in=True)
    audit.record(person.actor, "sign in", token=token, request=call.request)
    if begun.show:
        return _page(200, f"Signed in as {person.actor}", _PASTE, clear, secret)
    # Not a redirect: on the way back from another site, browsers hold a strict cookie back until a page of ours asks.
    cookie = set_cookie(secret, secure=call.secure, max_age_s=int(lasts_s))
    return _page(200, f"Signed in as {person.actor}", "", {"set-cookie": cookie}, go_on=True)


_PASTE = "Paste this token where `mlsdk login` asks for it. It is shown this once; who has it can do what you can."


def _sign_in(call: Call) -> SignIn:
    found: SignIn | None = call.service.sign_in
    if found is None:
        raise Refused(404, NotFoundError("this server has no provider to sign in at; sign in with a token"))
    return found


def _begun(cookies: str) -> _Begun | None:
    """What the browser kept since it was sent away."""
    pairs = (part.strip().partition("=") for part in cookies.split(";"))
    found = [value.split(".") for name, _, value in pairs if name == COOKIE]
    if len(found) != 1 or len(found[0]) != 4 or not all(map(_PART.fullmatch, found[0][:3])):
        return None
    return _Begun(Attempt(*found[0][:3]), show=found[0][3] == "1")


def _cookie(call: Call, kept: str) -> str:
    """Lax, not strict: the browser comes back from another site, and has to bring it."""
    age = _ATTEMPT_S if kept else 0
    return f"{COOKIE}={kept}; Path=/auth; HttpOnly; SameSite=Lax; Max-Age={age}" + ("; Secure" if call.secure else "")


def _plain(address: str) -> str:
    if not address.isascii() or not address.isprintable() or " " in address:
        raise MlsdkError("the provider's address cannot stand in a header")
    return address


def _page(
    status: int, title: str, text: str, headers: dict[str, str] | None = None, secret: str = "", *, go_on: bool = False
) -> Answer:
    onward = '<meta http-equiv="refresh" content="0;url=/">' if go_on else ""
    shown = f"<pre>{html.escape(secret)}</pre>" if secret else ""
    link = '<a href="/">Go on</a>' if status == 200 else '<a href="/">Back</a>'
    body = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{onward}<title>{html.escape(title)}</title></head>'
        f"<body><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p>{shown}<p>{link}</p></body></html>"
    )
    return Answer(body.encode(), status, _HTML, headers or {}, compress=False)


def _ignored(*names: str) -> tuple[Param, ...]:
    """What providers add to the address they send a browser back to, and is not looked at."""
    return tuple(Param(name, str, "", "ignored") for name in names)


ROWS: tuple[Row, ...] = (
    Row(
        "GET",
        "/auth/login",
        login,
        ANYONE,
        "go to the provider to sign in",
        answer=bytes,
        answer_type=_HTML,
        params=(Param("show", bool, default=False, meaning="show the token, for another program"),),
    ),
    Row(
        "GET",
        "/auth/callback",
        callback,
        ANYONE,
        "come back from the provider",
        answer=bytes,
        answer_type=_HTML,
        params=(
            Param("code", str, "", "what the provider gave"),
            Param("state", str, "", "of the attempt"),
            Param("error", str, "", "why not"),
            Param("iss", str, "", "the provider"),
            *_ignored("error_description", "error_uri", "session_state", "scope", "authuser", "prompt", "hd"),
        ),
    ),
)
"""Rows of the route table."""


def settings_from(
    issuer: str | None, client_id: str | None, public_url: str, rules: list[str], client_secret: str | None
) -> OidcSettings | None:
    """Settings from the options of `mlsdk serve`; None if signing in is not asked for.

    Raises:
        ConfigError: they do not fit together.
    """
    from mlsdk.errors import ConfigError
    from mlsdk.server.oidc import rule

    if issuer is None and client_id is None and not rules:
        return None
    if not issuer or not client_id:
        raise ConfigError("signing in needs both --oidc-issuer and --oidc-client-id")
    if not rules:
        raise ConfigError("nobody would have a role: say who by --oidc-members, such as groups=ml:default=writer")
    return OidcSettings(
        issuer=issuer,
        client_id=client_id,
        redirect_uri=f"{public_url.rstrip('/')}/auth/callback",
        client_secret=client_secret,
        rules=tuple(map(rule, rules)),
    )
