"""Tokens: secrets, what is kept of them, expiry, revocation, making one with another."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from mlsdk.errors import AccessError, NotFoundError, UsageError
from mlsdk.server import tokens
from mlsdk.server.access import ACCESS, Access, Role
from mlsdk.store import open_store
from tests.servers.http import Running, running


@pytest.fixture
def access(tmp_path: Path) -> Iterator[Access]:
    """What a server knows."""
    found = Access(open_store(f"memory:{tmp_path}"))
    found.set_member("op", "default", "ann", Role.ADMIN)
    yield found
    found.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server over a folder, with people in it."""
    with running(f"file:{tmp_path_factory.mktemp('tokens')}/served") as found:
        yield found


def _why(access: Access, secret: str) -> str:
    with pytest.raises(AccessError) as caught:
        access.authenticate(secret)
    return str(caught.value)


def test_secret_is_random_and_kept_as_a_digest(access: Access) -> None:
    """A secret holds 256 random bits; the store keeps its SHA-256 and nothing of it."""
    made = [access.make_token("op", "ann", {"default": Role.WRITER}) for _ in range(50)]
    raw = access._ledger._logs.read(ACCESS)

    assert len({secret for _, secret in made}) == 50
    assert all(secret.startswith(f"mlsdk_{token}_") and len(secret.split("_", 2)[2]) == 43 for token, secret in made)
    assert all(secret.split("_", 2)[2].encode() not in raw for _, secret in made)
    assert all(hashlib.sha256(secret.encode()).hexdigest().encode() in raw for _, secret in made)


def test_comparing_takes_one_path(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right, wrong, unknown and malformed secrets take one path: `hmac.compare_digest`, at equal length."""
    token, secret = access.make_token("op", "ann", {"default": Role.WRITER})
    asked: list[tuple[int, int]] = []

    compare = hmac.compare_digest

    def seen(left: str, right: str) -> bool:
        asked.append((len(left), len(right)))
        return compare(left, right)

    monkeypatch.setattr(tokens.hmac, "compare_digest", seen)
    access.authenticate(secret)
    wrong = {
        _why(access, other) for other in (secret[:-1] + "!", f"mlsdk_{'0' * 16}_{'x' * 43}", "", "x" * 5000, "é\0")
    }

    assert asked == [(64, 64)] * 7  # an unknown one is looked for once more
    assert len(wrong) == 1
    assert token not in wrong.pop()


@pytest.mark.parametrize(
    "secret", ["", "mlsdk_", "mlsdk__", "Bearer x", "mlsdk_\0_\0", "x" * 10_000, "\ud800", "mlsdk_" * 50]
)
def test_malformed_secrets(access: Access, secret: str) -> None:
    """Whatever is shown instead of a token is refused, and never repeated."""
    why = _why(access, secret)

    assert "not valid" in why
    assert not secret or secret not in why


def test_expiry(access: Access) -> None:
    """A token ends when its time is over; only who shows its secret is told that it had one."""
    token, secret = access.make_token("op", "ann", {"default": Role.WRITER}, expires_s=0.05)
    before = access.token(token).expired(time.time())
    deadline = time.monotonic() + 10
    while not access.token(token).expired(time.time()):
        assert time.monotonic() < deadline

    assert not before
    assert f"the token {token} expired at" in _why(access, secret)
    assert "not valid" in _why(access, f"mlsdk_{token}_{'x' * 43}")


def test_revocation_goes_down(access: Access) -> None:
    """Revoking a token revokes what was made with it, at any depth, unless it is asked not to."""
    scopes = {"default": Role.WRITER}
    first, first_secret = access.make_token("op", "ann", scopes)
    second, second_secret = access.make_token("ann", "ann", scopes, parent=first)
    third_secret = access.make_token("ann", "ann", scopes, parent=second)[1]
    alone, alone_secret = access.make_token("op", "ann", scopes)
    child_secret = access.make_token("ann", "ann", scopes, parent=alone)[1]
    access.revoke_token("ann", first)
    access.revoke_token("ann", alone, below=False)

    assert all("not valid" in _why(access, one) for one in (first_secret, second_secret, third_secret, alone_secret))
    assert access.authenticate(child_secret).actor == "ann"
    with pytest.raises(NotFoundError, match="no token"):
        access.revoke_token("ann", "0" * 16)


@pytest.mark.parametrize(
    "wrong", [{"scopes": {}}, {"expires_s": 0}, {"expires_s": -1}, {"expires_s": float("nan")}, {"note": "a\nb"}]
)
def test_wrong_wishes(access: Access, wrong: dict) -> None:
    """A token without a scope, with an impossible time or a note of two lines is refused."""
    with pytest.raises(UsageError):
        access.make_token("op", "ann", **{"scopes": {"default": Role.VIEWER}, **wrong})


def test_listing_hides_secrets(access: Access) -> None:
    """Tokens are listed with all but their secrets, and do not show them when they are printed."""
    token, secret = access.make_token("op", "ann", {"default": Role.WRITER}, 60, "for CI")
    access.make_token("op", "bob", {"default": Role.VIEWER})
    shown = access.tokens("ann")

    assert [(one.id, one.note, one.actor) for one in shown] == [(token, "for CI", "ann")]
    assert len(access.tokens()) == 2
    assert secret not in repr(shown)
    assert tokens.digest_of(secret) not in repr(shown)


# Over HTTP


def test_token_over_http(served: Running) -> None:
    """A token made over HTTP works, is listed without its secret, and stops at once when it is revoked."""
    ann = served.session(served.token_of("ann", "default", Role.WRITER))
    made = ann.post("/v1/tokens", json={"scopes": {"default": "viewer"}, "expires_s": 60, "note": "a note"})
    small = served.session(made.json()["secret"])
    me = small.get("/v1/me").json()
    listed = ann.get("/v1/tokens")
    revoked = ann.delete(f"/v1/tokens/{made.json()['id']}").status_code
    after = small.get("/v1/me")

    assert made.status_code == 201
    assert (me["actor"], me["roles"], me["token"]) == ("ann", {"default": "viewer"}, made.json()["id"])
    assert me["expires_at"] == made.json()["expires_at"]
    assert made.json()["secret"] not in listed.text
    assert "a note" in listed.text
    assert (revoked, after.status_code, after.headers["WWW-Authenticate"]) == (204, 401, "Bearer")


def test_no_token_makes_a_stronger_one(served: Running) -> None:
    """Nobody makes a token that allows more, or is somebody else's, with what they have."""
    ann = served.session(served.token_of("ann", "default", Role.WRITER, expires_s=1000))
    wishes = {
        "more": {"scopes": {"default": "approver"}, "expires_s": 10},
        "everywhere": {"scopes": {"*": "viewer"}, "expires_s": 10},
        "elsewhere": {"scopes": {"other": "viewer"}, "expires_s": 10},
        "another's": {"scopes": {"default": "viewer"}, "actor": "bob", "expires_s": 10},
        "no role": {"scopes": {"default": "king"}, "expires_s": 10},
        "no scope": {"scopes": {}, "expires_s": 10},
    }
    found = {name: ann.post("/v1/tokens", json=wish).status_code for name, wish in wishes.items()}

    assert found == {
        "more": 403,
        "everywhere": 404,
        "elsewhere": 404,
        "another's": 403,
        "no role": 400,
        "no scope": 400,
    }


@pytest.mark.parametrize("wish", [{"expires_s": 2000}, {}], ids=["longer", "for ever"])
def test_no_token_makes_one_that_lasts_longer(served: Running, wish: dict[str, float]) -> None:
    """A token that is asked for longer than the one that asks for it ends with that, and the answer says so."""
    secret = served.token_of("ann", "default", Role.WRITER, expires_s=1000)
    made = served.session(secret).post("/v1/tokens", json={"scopes": {"default": "viewer"}, **wish}).json()
    own = served.service.access.token(secret.split("_")[1]).expires_at
    assert own is not None

    assert abs((datetime.fromisoformat(made["expires_at"]) - own).total_seconds()) < 1


def test_own_tokens_only(served: Running) -> None:
    """Nobody sees or revokes another's token; a weak token does not end a strong one; an operator may do all."""
    strong_secret = served.token_of("cy", "default", Role.ADMIN)
    strong = strong_secret.split("_")[1]
    weak = served.session(served.service.access.make_token("op", "cy", {"default": Role.VIEWER})[1])
    dee = served.session(served.token_of("dee", "default", Role.ADMIN))
    by_dee = dee.delete(f"/v1/tokens/{strong}")
    by_weak = weak.delete(f"/v1/tokens/{strong}")
    unknown = dee.delete(f"/v1/tokens/{'0' * 16}")
    own = {one["actor"] for one in dee.get("/v1/tokens").json()["tokens"]}
    everybody = dee.get("/v1/tokens?all=1").status_code
    operator = served.session()
    seen = {one["actor"] for one in operator.get("/v1/tokens?all=1").json()["tokens"]}

    assert (by_dee.status_code, by_weak.status_code, everybody) == (404, 403, 403)
    assert by_dee.json()["error"]["message"].replace(strong, "") == unknown.json()["error"]["message"].replace(
        "0" * 16, ""
    )
    assert own == {"dee"}
    assert {"cy", "dee"} <= seen
    assert operator.delete(f"/v1/tokens/{strong}").status_code == 204
    assert served.session(strong_secret).get("/v1/me").status_code == 401


def test_members_over_http(served: Running) -> None:
    """An admin gives and takes roles in the own workspace; a role everywhere is an operator's to give."""
    admin = served.session(served.token_of("eve", "team", Role.ADMIN))
    given = admin.put("/v1/w/team/members/fay@example.org", json={"role": "writer"}).status_code
    listed = admin.get("/v1/w/team/members").json()["members"]
    taken = [admin.delete("/v1/w/team/members/fay@example.org").status_code for _ in range(2)]
    upward = admin.put("/v1/operators/eve", json={"role": "admin"}).status_code
    made = admin.post("/v1/workspaces", json={"name": "mine"}).status_code
    operator = served.session()
    wrong = operator.post("/v1/workspaces", json={"name": "../x"}).status_code
    new = operator.post("/v1/workspaces", json={"name": "new"}).status_code
    gone = operator.delete("/v1/workspaces/new").status_code

    assert (given, taken, upward, made) == (204, [204, 404], 403, 403)
    assert {"actor": "fay@example.org", "role": "writer", "everywhere": False} in listed
    assert {"actor": "operator", "role": "admin", "everywhere": True} in listed
    assert (wrong, new, gone) == (400, 200, 204)
    assert operator.get("/v1/w/new/members").status_code == 404
