"""A small OpenID Connect provider over HTTP on loopback, with real keys; it can be told to lie."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

CLIENT, CLIENT_SECRET = "mlsdk-tests", "provider-client-secret-canary"


class Provider:
    """What the provider knows, and how it lies.

    Attributes:
        url: its issuer.
        person: claims about whoever signs in.
        lies: changes of the next ID token: `claims`, `header`, `key`, `token` (the text itself).
        keys: private keys, by their ids; the last one signs.
        asked: paths that were asked for.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.person: dict[str, Any] = {"sub": "1234", "email": "Ann@Example.org", "email_verified": True}
        self.lies: dict[str, Any] = {}
        self.keys: dict[str, Any] = {}
        self.issuer = url
        self.asked: list[str] = []
        self.status = 200
        self._codes: dict[str, dict[str, str]] = {}
        self.new_key("RS256")

    def new_key(self, algorithm: str) -> str:
        """Sign with a new key from now on; older ones stay published until they are taken out of `keys`."""
        from joserfc.jwk import ECKey, RSAKey

        kid = secrets.token_hex(4)
        about = {"kid": kid, "use": "sig", "alg": algorithm}
        if algorithm.startswith("ES"):
            self.keys[kid] = ECKey.generate_key("P-256", about)
        else:
            self.keys[kid] = RSAKey.generate_key(2048, about)
        return kid

    def id_token(self, nonce: str, lies: dict[str, Any]) -> str:
        """An ID token, with lies."""
        from joserfc import jwt

        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce, **self.person}
        claims |= lies.get("claims", {})
        kid = list(self.keys)[-1]
        key = lies.get("key", self.keys[kid])
        header = {"alg": "RS256" if "key" in lies else self.keys[kid].get("alg"), "kid": kid, **lies.get("header", {})}
        if lies.get("token") == "unsigned":
            return f"{_b64({**header, 'alg': 'none'})}.{_b64(claims)}."
        if lies.get("token") == "public key as secret":
            import hmac

            pem = self.keys[kid].as_pem(private=False)
            body = f"{_b64({**header, 'alg': 'HS256'})}.{_b64(claims)}"
            return f"{body}.{_raw(hmac.new(pem, body.encode(), hashlib.sha256).digest())}"
        made = jwt.encode(
            {name: part for name, part in header.items() if part is not None},
            {name: part for name, part in claims.items() if part is not None},
            key,
            algorithms=["RS256", "ES256", "PS256", "HS256"],
        )
        if lies.get("token") == "altered":
            head, body, signature = made.split(".")
            other = json.loads(base64.urlsafe_b64decode(body + "==")) | {"email": "eve@example.org"}
            return f"{head}.{_b64(other)}.{signature}"
        return str(lies.get("token") or made)

    def begin(self, query: dict[str, str]) -> str:
        """The person agrees; returns where the browser is sent back to."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state'], 'iss': self.issuer})}"

    def redeem(self, form: dict[str, str]) -> dict[str, Any] | None:
        """The ID token of a code, once; None if something does not fit."""
        query = self._codes.pop(form.get("code", ""), None)
        challenge = _raw(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        fits = (
            query is not None
            and challenge == query["code_challenge"]
            and form.get("redirect_uri") == query["redirect_uri"]
            and form.get("client_secret") == CLIENT_SECRET
        )
        if not fits:
            return None
        lies, self.lies = self.lies, {}
        return {"access_token": "x", "token_type": "Bearer", "id_token": self.id_token(query["nonce"], lies)}


def _raw(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _b64(value: object) -> str:
    return _raw(json.dumps(value).encode())


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """The description, the keys, the page where people agree."""
        path, provider = urlsplit(self.path), self.provider
        provider.asked.append(path.path)
        if path.path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            self._answer({"issuer": provider.issuer, **{name: f"{provider.url}/{at}" for name, at in names.items()}})
        elif path.path == "/keys":
            self._answer({"keys": [key.as_dict(private=False) for key in provider.keys.values()]})
        elif path.path == "/authorize":
            query = {name: values[0] for name, values in parse_qs(path.query).items()}
            self.send_response(302)
            self.send_header("Location", provider.begin(query))
            self.send_header("Content-Length", "0")
            self.end_headers()

    def do_POST(self) -> None:
        """The exchange of a code."""
        self.provider.asked.append(self.path)
        data = self.rfile.read(int(self.headers["Content-Length"])).decode()
        answer = self.provider.redeem({name: values[0] for name, values in parse_qs(data).items()})
        self._answer(answer or {"error": "invalid_grant"}, self.provider.status if answer else 400)

    def _answer(self, value: object, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def provider() -> Iterator[Provider]:
    """A provider on a free port."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    handler.provider = found = Provider(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
