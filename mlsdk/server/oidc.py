"""Signing in by OpenID Connect: the authorization code flow with PKCE. What comes back is checked here, whole.

The provider is asked by HTTP for its description and keys, which are kept for a while, and for the ID token of a code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import attrs

from mlsdk.errors import AccessError, ConfigError, UnavailableError
from mlsdk.server.access import Role
from mlsdk.server.accounts import role_named
from mlsdk.server.tokens import check_actor

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures by a private key. Never `none`, and no HS…, for which a public key would do as the secret."""

SECRET_VARIABLE = "MLSDK_OIDC_CLIENT_SECRET"  # noqa: S105 - the name of a variable

_LEEWAY_S = 60
"""Clocks may differ by so much."""

_DESCRIPTION_S = 3600.0
_KEYS_AGAIN_S = 10.0
"""An unknown key makes the server ask for the keys anew, but not more often than this."""

_TIMEOUT_S = 10.0
_LARGEST_BYTES = 1 << 20


class Rule(NamedTuple):
    """Who gets which role by signing in."""

    claim: str
    """Name of a claim; `*` for everybody who can sign in."""
    value: str
    workspace: str
    role: Role


def rule(text: str) -> Rule:
    """A rule from its text: `claim=value:workspace=role`, or `*:workspace=role` for everybody.

    Raises:
        ConfigError: it is none.

    >>> rule("groups=ml:default=writer").workspace
    'default'
    """
    who, colon, what = text.rpartition(":")
    claim, equals, value = who.partition("=")
    workspace, both, role = what.partition("=")
    if not colon or not both or not workspace or (not (equals and value) and who != "*"):
        raise ConfigError(f"{text!r} is no rule: write claim=value:workspace=role, or *:workspace=role for everybody")
    try:
        return Rule(claim, value, workspace, role_named(role))
    except ValueError as error:
        raise ConfigError(f"{text!r}: {error}") from None


@attrs.frozen
class OidcSettings:
    """What a server needs to know of its provider.

    Attributes:
        issuer: its address, as it names itself in its tokens.
        client_id: under which this server is known there.
        redirect_uri: where it sends browsers back to: `https://<this server>/auth/callback`.
        client_secret: of the client, if it has one; from the environment.
        rules: who gets which role.
        session_s: how long a browser stays signed in.
        roles_s: how long roles last without signing in again; tokens of the person end with them.
    """

    issuer: str
    client_id: str
    redirect_uri: str
    client_secret: str | None = attrs.field(default=None, repr=False)
    rules: tuple[Rule, ...] = ()
    session_s: float = 12 * 3600.0
    roles_s: float = 30 * 86_400.0


class Attempt(NamedTuple):
    """One attempt to sign in: what the browser keeps in a cookie until it comes back."""

    state: str
    nonce: str
    verifier: str


class Person(NamedTuple):
    """Somebody whom the provider vouches for."""

    actor: str
    """The address, if the provider has verified it; else `oidc:` and the provider's own id."""
    roles: dict[str, Role | None]
    """By workspace, for each that the rules name."""


def new_attempt() -> Attempt:
    """State, nonce and PKCE verifier, of 256 random bits each."""
    return Attempt(*(secrets.token_urlsafe(32) for _ in range(3)))


class Provider:
    """An OpenID Connect provider. Calls may come from any thread.

    Args:
        settings: see `OidcSettings`.

    Raises:
        ConfigError: an address that is neither HTTPS nor on this machine, or a package is missing.
    """

    def __init__(self, settings: OidcSettings) -> None:
        for address in (settings.issuer, settings.redirect_uri):
            _check_address(address)
        try:
            import joserfc  # noqa: F401 - whether it is there is to be known at the start
        except ImportError as error:
            raise ConfigError("signing in by OpenID Connect needs joserfc: pip install 'mlsdk[server]'") from error
        self.settings = settings
        self._describing, self._asking = threading.Lock(), threading.Lock()
        self._description: dict[str, Any] = {}
        self._described_at = self._keys_at = float("-inf")
        self._keys: list[dict[str, Any]] = []

    def authorize_url(self, attempt: Attempt) -> str:
        """Where a browser is sent to sign in."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.settings.redirect_uri,
            "scope": "openid email profile",
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        address = self._endpoint("authorization_endpoint")
        return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"

    def person(self, code: str, attempt: Attempt) -> Person:
        """Who has signed in.

        Args:
            code: that the browser brought back.
            attempt: the one that it began with.

        Raises:
            AccessError: the provider does not vouch for anybody by this code, or its token is not good.
            UnavailableError: the provider cannot be reached.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.settings.redirect_uri,
            "client_id": self.settings.client_id,
            "code_verifier": attempt.verifier,
        }
        if self.settings.client_secret:
            form["client_secret"] = self.settings.client_secret
        answer = self._ask("POST", self._endpoint("token_endpoint"), form)
        token = answer.get("id_token")
        if not isinstance(token, str) or len(token) > _LARGEST_BYTES:
            raise AccessError("the provider answered without an ID token")
        return self._known(self.claims(token, attempt.nonce))

    def claims(self, token: str, nonce: str) -> dict[str, Any]:
        """What an ID token says, once its signature, issuer, audience, times and nonce are found good.

        Raises:
            AccessError: something is not.
        """
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            header = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))
            keys = self._keys_for(str(header["alg"]), header.get("kid"))
            claims = _signed_by_one(keys, token)
            registry = jwt.JWTClaimsRegistry(
                leeway=_LEEWAY_S,
                iss={"essential": True, "value": self.settings.issuer},
                aud={"essential": True, "value": self.settings.client_id},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
            )
            registry.validate(claims)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise AccessError(f"the provider's ID token is not good: {type(error).__name__}") from None
        audience = claims["aud"]
        others = isinstance(audience, list) and len(audience) > 1
        if (others or "azp" in claims) and claims.get("azp") != self.settings.client_id:
            raise AccessError("the provider's ID token was made for another client")
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise AccessError("the provider's ID token was made for another attempt to sign in; begin again")
        return claims

    def _known(self, claims: Mapping[str, Any]) -> Person:
        verified = claims.get("email_verified") is True
        email = claims.get("email")
        subject = f"oidc:{claims['sub']}"
        actor = email.lower() if verified and isinstance(email, str) and "@" in email else subject
        roles: dict[str, Role | None] = {}
        for one in self.settings.rules:
            before = roles.setdefault(one.workspace, None)
            if _fits(one, claims, verified=verified) and (before is None or one.role > before):
                roles[one.workspace] = one.role
        try:
            return Person(check_actor(actor), roles)
        except ValueError as error:
            raise AccessError(f"the provider names somebody in a way that cannot be kept: {error}") from None

    def _keys_for(self, algorithm: str, kid: object) -> list[dict[str, Any]]:
        """The provider's keys that may have signed; asked for anew if none is known, since providers change them."""
        if algorithm not in ALGORITHMS:
            raise AccessError(f"the provider's ID token is signed by {algorithm[:20]!r}, which is not taken here")
        found = _fitting(self._keys, algorithm, kid)
        if found:
            return found
        with self._asking:
            if time.monotonic() - self._keys_at > _KEYS_AGAIN_S or not self._keys:
                keys = self._ask("GET", self._endpoint("jwks_uri")).get("keys")
                self._keys_at = time.monotonic()
                self._keys = [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
        found = _fitting(self._keys, algorithm, kid)
        if not found:
            raise AccessError("the provider's ID token is signed by a key that the provider does not publish")
        return found

    def _endpoint(self, name: str) -> str:
        with self._describing:
            if time.monotonic() - self._described_at > _DESCRIPTION_S:
                address = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
                description = self._ask("GET", address)
                if description.get("issuer") != self.settings.issuer:
                    raise UnavailableError(f"the provider at {self.settings.issuer} calls itself by another name")
                self._description, self._described_at = description, time.monotonic()
        address = str(self._description.get(name, ""))
        try:
            _check_address(address)
        except ConfigError as error:
            raise UnavailableError(f"the provider's {name} cannot be used: {error}") from None
        return address

    def _ask(self, method: str, address: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What the provider answers: a JSON object."""
        import requests

        try:
            with requests.request(
                method, address, data=form, timeout=_TIMEOUT_S, allow_redirects=False, stream=True
            ) as answer:
                data = answer.raw.read(_LARGEST_BYTES + 1, decode_content=True)
                status = answer.status_code
        except (requests.RequestException, OSError) as error:
            raise UnavailableError(f"the provider cannot be reached: {type(error).__name__}") from None
        if 400 <= status < 500 and form is not None:
            raise AccessError("the provider does not take this code: it is wrong, used before or too old; begin again")
        if status != 200 or len(data) > _LARGEST_BYTES:
            raise UnavailableError(f"the provider answers with status {status}")
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise UnavailableError("the provider's answer is no JSON object")
        return found


def _signed_by_one(keys: list[dict[str, Any]], token: str) -> dict[str, Any]:
    """The claims of a token that one of these keys has signed; a provider with several need not say which."""
    from joserfc import jwt
    from joserfc.errors import BadSignatureError
    from joserfc.jwk import import_key

    for key in keys:
        try:
            return dict(jwt.decode(token, import_key(key), algorithms=list(ALGORITHMS)).claims)
        except BadSignatureError:
            continue
    raise BadSignatureError


def _check_address(address: str) -> None:
    """See that what passes there cannot be read or changed on the way."""
    parts = urlsplit(address)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise ConfigError(
            f"{address!r} must be an https:// address: whoever listens on the way could sign in as anybody"
        )


def _fitting(keys: list[dict[str, Any]], algorithm: str, kid: object) -> list[dict[str, Any]]:
    """Those of some keys with which a signature may have been made."""
    kind = {"R": "RSA", "P": "RSA", "ES": "EC", "Ed": "OKP"}[algorithm[:1] if algorithm[0] in "RP" else algorithm[:2]]
    fit = [key for key in keys if key.get("kty") == kind and key.get("use", "sig") == "sig"]
    fit = [key for key in fit if key.get("alg", algorithm) == algorithm]
    return fit if kid is None else [key for key in fit if key.get("kid") == kid]


def _fits(one: Rule, claims: Mapping[str, Any], *, verified: bool) -> bool:
    """Whether a rule is about somebody with these claims."""
    if one.claim == "*":
        return True
    if one.claim == "email" and not verified:
        return False
    value = claims.get(one.claim)
    values = value if isinstance(value, list) else [value]
    return any(isinstance(other, str) and other == one.value for other in values)
