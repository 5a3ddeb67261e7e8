"""Signing in by OpenID Connect, at a real small provider over HTTP; and what is refused."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from mlsdk.errors import AccessError, ConfigError, UnavailableError
from mlsdk.server import oidc
from mlsdk.server.access import ALL, Role
from mlsdk.server.oidc import Attempt, OidcSettings, new_attempt, rule
from mlsdk.server.signin import SignIn, settings_from
from tests.servers import oidc as fake
from tests.servers.http import Running, running
from tests.servers.oidc import CLIENT, CLIENT_SECRET

RULES = ("groups=ml:default=writer", "email=boss@example.org:*=admin", "groups=leads:default=approver")


@pytest.fixture(scope="module")
def provider() -> Iterator[fake.Provider]:
    """A provider."""
    with fake.provider() as found:
        yield found


@pytest.fixture(scope="module")
def served(provider: fake.Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that people sign in to there."""
    with running(f"file:{tmp_path_factory.mktemp('oidc')}/served") as found:
        settings = settings_from(provider.url, CLIENT, found.url, list(RULES), CLIENT_SECRET)
        found.service.sign_in = SignIn(settings)
        yield found


@pytest.fixture(autouse=True)
def _honest(provider: fake.Provider) -> None:
    """Each test begins with an honest provider and the same person."""
    provider.lies = {}
    provider.status = 200
    provider.issuer = provider.url
    provider.person = {"sub": "1234", "email": "Ann@Example.org", "email_verified": True, "groups": ["ml", "x"]}


class Browser(requests.Session):
    """Keeps cookies, and follows redirects only when it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def get(self, url: str, **options) -> requests.Response:
        """One page."""
        return super().get(url, allow_redirects=False, timeout=10, **options)

    def agree(self, served: Running, query: str = "") -> str:
        """Begin to sign in, and agree at the provider; returns where the browser is sent back to."""
        begun = self.get(f"{served.url}/auth/login{query}")
        assert begun.status_code == 303, begun.text
        return self.get(begun.headers["Location"]).headers["Location"]

    def sign_in(self, served: Running, query: str = "") -> requests.Response:
        """All of it."""
        return self.get(self.agree(served, query))


def _page(served: Running, browser: Browser) -> int:
    return requests.get(
        f"{served.url}/v1/me", headers={"Authorization": f"Bearer {browser.cookies.get('mlsdk_token')}"}, timeout=10
    ).status_code


def test_signing_in(served: Running, provider: fake.Provider) -> None:
    """Who signs in gets a token of limited time, in a cookie that no script and no other site gets at."""
    browser = Browser()
    done = browser.sign_in(served)
    secret = browser.cookies.get("mlsdk_token")
    principal = served.service.access.authenticate(secret)
    token = served.service.access.token(principal.token)
    recorded = served.service.audit("").entries()[0][-1]

    assert done.status_code == 200
    assert "Signed in as ann@example.org" in done.text
    assert secret not in done.text
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(done.headers["Set-Cookie"].split("; "))
    assert (principal.actor, dict(principal.roles)) == ("ann@example.org", {"default": Role.WRITER})
    assert token.sign_in
    assert 0 < token.expires_at.timestamp() - time.time() <= 12 * 3600
    assert (recorded["act"], recorded["actor"], recorded["token"]) == ("sign in", "ann@example.org", token.id)


def test_token_for_another_program(served: Running) -> None:
    """With `show`, the token is shown once instead, for `mlsdk login` to be pasted into."""
    browser = Browser()
    done = browser.sign_in(served, "?show=1")
    (secret,) = re.findall(r"<pre>(mlsdk_[^<]+)</pre>", done.text)

    assert browser.cookies.get("mlsdk_token") is None
    assert done.headers["Cache-Control"] == "no-store"
    assert served.session(secret).get("/v1/me").json()["actor"] == "ann@example.org"


def test_where_the_browser_is_sent(served: Running) -> None:
    """The provider gets a challenge and never the verifier, which stays in a cookie that lasts ten minutes."""
    browser = Browser()
    begun = browser.get(f"{served.url}/auth/login")
    query = {name: values[0] for name, values in parse_qs(urlsplit(begun.headers["Location"]).query).items()}
    state, nonce, verifier, _ = browser.cookies.get("mlsdk_signin").split(".")

    assert (query["state"], query["nonce"]) == (state, nonce)
    assert query["code_challenge_method"] == "S256"
    assert verifier not in begun.headers["Location"]
    assert len({state, nonce, verifier}) == 3
    assert {"HttpOnly", "SameSite=Lax", "Path=/auth", "Max-Age=600"} <= set(begun.headers["Set-Cookie"].split("; "))


def test_attempts_count_once(served: Running) -> None:
    """The way back works once, in the browser that began, with the state that it was given."""
    browser, other = Browser(), Browser()
    back = browser.agree(served)
    cookie = browser.cookies.get("mlsdk_signin")
    elsewhere = other.get(back)
    first = browser.get(back)
    again = browser.get(back)
    with_cookie = other.get(back, headers={"Cookie": f"mlsdk_signin={cookie}"})
    swapped = other.agree(served)
    state = parse_qs(urlsplit(back).query)["state"][0]
    mixed = other.get(re.sub(r"state=[^&]+", f"state={state}", swapped))

    assert first.status_code == 200
    assert [one.status_code for one in (elsewhere, again, with_cookie, mixed)] == [400] * 4
    assert all(
        "mlsdk_token=" not in one.headers.get("Set-Cookie", "") for one in (elsewhere, again, with_cookie, mixed)
    )


def test_code_of_another_attempt(served: Running) -> None:
    """A code that was given for another attempt is refused: the verifier does not fit."""
    victim, attacker = Browser(), Browser()
    code = parse_qs(urlsplit(attacker.agree(served)).query)["code"][0]
    back = victim.agree(served)
    done = victim.get(re.sub(r"code=[^&]+", f"code={code}", back))

    assert done.status_code == 403
    assert "does not take this code" in done.text


def _old(seconds: int) -> dict:
    return {"claims": {"iat": int(time.time()) - seconds - 300, "exp": int(time.time()) - seconds}}


def _stranger():
    from joserfc.jwk import RSAKey

    return RSAKey.generate_key(2048)


LIES = {
    "altered": lambda: {"token": "altered"},
    "unsigned": lambda: {"token": "unsigned"},
    "public key as secret": lambda: {"token": "public key as secret"},
    "no token": lambda: {"token": "no.token.at all"},
    "empty": lambda: {"token": "."},
    "another key": lambda: {"key": _stranger()},
    "unknown key": lambda: {"key": _stranger(), "header": {"kid": "other"}},
    "unpublished": lambda: {"key": _stranger(), "header": {"kid": None}},
    "another audience": lambda: {"claims": {"aud": "somebody-else"}},
    "audiences without party": lambda: {"claims": {"aud": [CLIENT, "somebody-else"]}},
    "another party": lambda: {"claims": {"azp": "somebody-else"}},
    "another issuer": lambda: {"claims": {"iss": "https://evil.example"}},
    "another nonce": lambda: {"claims": {"nonce": "x" * 43}},
    "no nonce": lambda: {"claims": {"nonce": None}},
    "expired": lambda: _old(120),
    "from the future": lambda: {"claims": {"iat": int(time.time()) + 3600}},
    "not yet": lambda: {"claims": {"nbf": int(time.time()) + 3600}},
    "no end": lambda: {"claims": {"exp": None}},
    "no subject": lambda: {"claims": {"sub": None}},
    "strange subject": lambda: {"claims": {"sub": "a\r\nb", "email_verified": False}},
    "strange address": lambda: {"claims": {"email": "a@b\r\nSet-Cookie: x=1"}},
}


@pytest.mark.parametrize("lie", LIES)
def test_what_is_refused(served: Running, provider: fake.Provider, lie: str) -> None:
    """No token comes of an ID token that is altered, unsigned, signed by others, for others, or out of its time."""
    browser = Browser()
    back = browser.agree(served)
    provider.lies = LIES[lie]()
    before = len(served.service.access.tokens())
    done = browser.get(back)

    assert done.status_code == 403, done.text
    assert "mlsdk_token" not in browser.cookies
    assert len(served.service.access.tokens()) == before


def test_clocks_may_differ_a_little(served: Running, provider: fake.Provider) -> None:
    """An ID token half a minute out of its time is taken: clocks differ."""
    browser = Browser()
    back = browser.agree(served)
    provider.lies = _old(30)

    assert browser.get(back).status_code == 200


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "PS256"])
def test_keys_change(served: Running, provider: fake.Provider, monkeypatch: pytest.MonkeyPatch, algorithm: str) -> None:
    """A provider that signs with a new key is asked for its keys again, but not at every unknown key."""
    monkeypatch.setattr(oidc, "_KEYS_AGAIN_S", 0.0)
    kid = provider.new_key(algorithm)
    first = Browser().sign_in(served).status_code
    monkeypatch.setattr(oidc, "_KEYS_AGAIN_S", 3600.0)
    asked = provider.asked.count("/keys")
    browser = Browser()
    back = browser.agree(served)
    provider.lies = LIES["unknown key"]()
    refused = browser.get(back).status_code

    assert (first, refused) == (200, 403)
    assert provider.asked.count("/keys") == asked
    assert kid in provider.keys


def test_key_without_a_name(served: Running, provider: fake.Provider) -> None:
    """A provider need not say which of its keys has signed."""
    browser = Browser()
    back = browser.agree(served)
    provider.lies = {"header": {"kid": None}}

    assert browser.get(back).status_code == 200


def test_addresses_that_are_not_verified(served: Running, provider: fake.Provider) -> None:
    """An address that the provider has not verified names nobody and gives nothing; the person is the provider's id."""
    provider.person |= {"email": "boss@example.org", "email_verified": False}
    browser = Browser()
    browser.sign_in(served)
    unverified = served.service.access.authenticate(browser.cookies.get("mlsdk_token"))
    provider.person |= {"email_verified": True}
    browser = Browser()
    browser.sign_in(served)
    boss = served.service.access.authenticate(browser.cookies.get("mlsdk_token"))

    assert (unverified.actor, dict(unverified.roles)) == ("oidc:1234", {"default": Role.WRITER})
    assert (boss.actor, boss.role("anything")) == ("boss@example.org", Role.ADMIN)
    assert ALL in boss.roles


def test_groups_come_and_go(served: Running, provider: fake.Provider) -> None:
    """The highest role of a person's groups counts; who leaves them all loses the role, and is not let in."""
    provider.person |= {"sub": "55", "email": "cy@example.org", "groups": ["ml", "leads"]}
    browser = Browser()
    browser.sign_in(served)
    secret = browser.cookies.get("mlsdk_token")
    before = served.service.access.authenticate(secret).role("default")
    provider.person["groups"] = []
    done = Browser().sign_in(served)

    assert before is Role.APPROVER
    assert done.status_code == 403
    assert "no role in any workspace" in done.text
    assert served.service.access.authenticate(secret).role("default") is None


def test_provider_says_no(served: Running) -> None:
    """What the provider says instead of a code is shown, as text; what it adds to the address is no trouble."""
    browser = Browser()
    back = browser.agree(served)
    state = parse_qs(urlsplit(back).query)["state"][0]
    address = f"{served.url}/auth/callback?error=%3Cscript%3E&error_description=x&session_state=y&state={state}"
    done = browser.get(address)
    other = Browser()
    mixed = other.get(re.sub(r"iss=[^&]+", "iss=https://evil.example", other.agree(served)))

    assert done.status_code == 403
    assert "<script>" not in done.text
    assert "&lt;script&gt;" in done.text
    assert (mixed.status_code, "another provider" in mixed.text) == (403, True)


def test_provider_is_away(served: Running, provider: fake.Provider) -> None:
    """A provider that fails, or calls itself by another name, is said to be the reason: 503, and no token."""
    browser = Browser()
    back = browser.agree(served)
    provider.status = 500
    failed = browser.get(back)
    settings = served.service.sign_in.settings
    provider.issuer = "https://other.example"
    fresh = oidc.Provider(settings)
    with pytest.raises(UnavailableError, match="another name"):
        fresh.authorize_url(new_attempt())
    away = oidc.Provider(OidcSettings("http://127.0.0.1:9", CLIENT, f"{served.url}/auth/callback"))
    with pytest.raises(UnavailableError, match="cannot be reached"):
        away.authorize_url(new_attempt())

    assert failed.status_code == 503
    assert "status 500" in failed.text


def test_server_without_a_provider(served: Running) -> None:
    """A server that nobody told of a provider has no sign-in."""
    kept, served.service.sign_in = served.service.sign_in, None
    try:
        found = [requests.get(f"{served.url}/auth/{at}", timeout=10).status_code for at in ("login", "callback")]
    finally:
        served.service.sign_in = kept

    assert found == [404, 404]


def test_client_secret_is_not_shown(served: Running, provider: fake.Provider) -> None:
    """The client's secret stands in no record of settings, and in nothing that the server keeps."""
    settings = served.service.sign_in.settings
    home = served.service.workspaces.home
    kept = b"".join(home.logs.read(log) for log in home.logs.list())

    assert CLIENT_SECRET not in repr(settings)
    assert settings.client_secret == CLIENT_SECRET
    assert CLIENT_SECRET.encode() not in kept


@pytest.mark.parametrize(
    "text", ["", "x", "groups=ml", "groups=ml:default", "groups:default=writer", "groups=ml:default=king", "*:=writer"]
)
def test_rules_that_are_none(text: str) -> None:
    """A rule that cannot be read is refused, with how one is written."""
    with pytest.raises(ConfigError):
        rule(text)


def test_rules() -> None:
    """A rule names a claim, its value, a workspace and a role; or everybody."""
    assert rule("urn:x:groups=a:b=c:team=viewer") == ("urn:x:groups", "a:b=c", "team", Role.VIEWER)
    assert rule("*:default=viewer") == ("*", "", "default", Role.VIEWER)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ((None, "id", "http://127.0.0.1", ["*:a=viewer"], None), "needs both"),
        (("https://p.example", "id", "http://127.0.0.1", [], None), "nobody would have a role"),
    ],
)
def test_settings_that_do_not_fit(given: tuple, reason: str) -> None:
    """Half of the settings are refused at the start, with what is missing."""
    with pytest.raises(ConfigError, match=reason):
        settings_from(*given)


@pytest.mark.parametrize("issuer", ["http://p.example", "ftp://p.example", "p.example", ""])
def test_provider_over_plain_http(issuer: str) -> None:
    """A provider elsewhere is asked over HTTPS only."""
    with pytest.raises(ConfigError, match="https://"):
        oidc.Provider(OidcSettings(issuer, CLIENT, "https://here.example/auth/callback"))


def test_claims_are_checked_by_themselves(provider: fake.Provider) -> None:
    """An ID token is good for the nonce it was made for, and for no other."""
    settings = OidcSettings(provider.url, CLIENT, "http://127.0.0.1/auth/callback", CLIENT_SECRET)
    asked = oidc.Provider(settings)
    attempt = Attempt("s", "n", "v")
    token = provider.id_token("n", {})

    assert asked.claims(token, attempt.nonce)["sub"] == "1234"
    with pytest.raises(AccessError, match="another attempt"):
        asked.claims(token, "m")
