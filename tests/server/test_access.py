"""Members, roles and workspaces, followed by several servers over one home store."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlsdk.errors import AccessError, NotFoundError, StoreError, UnavailableError, UsageError
from mlsdk.server import follower
from mlsdk.server.access import ACCESS, ALL, Access, Role
from mlsdk.server.audit import Audit
from mlsdk.store import open_store
from mlsdk.store.base import Store
from mlsdk.store.layout import Layout
from mlsdk.store.memory import MemoryLogs


@pytest.fixture(params=["file", "memory"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A home store."""
    if request.param == "memory":
        return open_store(f"memory:{tmp_path}")
    Layout(str(tmp_path / "home")).make()
    return open_store(f"file:{tmp_path}/home")


@pytest.fixture
def access(home: Store) -> Iterator[Access]:
    """What one server knows."""
    found = Access(home)
    yield found
    found.close()


@pytest.fixture
def other(home: Store) -> Iterator[Access]:
    """What another server over the same store knows."""
    found = Access(home)
    yield found
    found.close()


def _within_a_second(done) -> bool:
    """Whether something comes to hold; the machine is given time beyond the second that is promised."""
    deadline = time.monotonic() + 20
    while not done() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(done())


def _refused(access: Access, secret: str) -> bool:
    try:
        access.authenticate(secret)
    except AccessError:
        return True
    return False


def test_roles_rise() -> None:
    """A role may do what those below it may, and has a name."""
    assert Role.VIEWER < Role.WRITER < Role.APPROVER < Role.ADMIN
    assert [str(role) for role in Role] == ["viewer", "writer", "approver", "admin"]


def test_first_operator_is_made_once(access: Access, other: Access) -> None:
    """The first start makes an operator with a token; a second start, or another server, makes none."""
    made = access.first_operator("ann")

    assert made is not None
    assert other.first_operator("bob") is None
    assert other.authenticate(made[1]).role("anything") is Role.ADMIN
    assert other.members(ALL) == {"ann": Role.ADMIN}


@pytest.mark.parametrize(
    ("scopes", "members", "expected"),
    [
        ({"a": 2}, {"a": 4}, {"a": 2}),
        ({"a": 4}, {"a": 1}, {"a": 1}),
        ({ALL: 4}, {"a": 2}, {"a": 2}),
        ({"a": 3}, {ALL: 4}, {"a": 3}),
        ({ALL: 1}, {ALL: 4, "a": 2}, {ALL: 1, "a": 1}),
        ({ALL: 2, "a": 4}, {"a": 3, "b": 4}, {"a": 3, "b": 2}),
        ({"a": 4}, {"b": 4}, {}),
        ({"a": 4}, {}, {}),
    ],
)
def test_role_is_the_lesser(access: Access, scopes: dict, members: dict, expected: dict) -> None:
    """What a token allows in a workspace is the lesser of its scope and its actor's own role there."""
    for name in ("a", "b"):
        access.make_workspace("op", name)
    for name, role in members.items():
        access.set_member("op", name, "ann", Role(role))
    secret = access.make_token("op", "ann", {name: Role(role) for name, role in scopes.items()})[1]
    principal = access.authenticate(secret)

    assert dict(principal.roles) == {name: Role(role) for name, role in expected.items()}
    assert principal.role("c") is (Role(expected[ALL]) if ALL in expected else None)


def test_removed_member_stops_everywhere(access: Access, other: Access) -> None:
    """Who loses a role loses it with every token, on every server, within a second."""
    access.set_member("op", "default", "ann", Role.WRITER)
    secrets = [access.make_token("op", "ann", {"default": Role.WRITER})[1] for _ in range(2)]
    before = [other.authenticate(secret).role("default") for secret in secrets]
    access.set_member("op", "default", "ann", None)

    assert before == [Role.WRITER, Role.WRITER]
    assert [access.authenticate(secret).role("default") for secret in secrets] == [None, None]
    assert _within_a_second(lambda: all(other.authenticate(secret).role("default") is None for secret in secrets))
    assert follower.FRESH_S <= 1


def test_workspace_goes_with_its_roles(access: Access) -> None:
    """A workspace that was removed and made anew has no members."""
    access.make_workspace("op", "team")
    access.set_member("op", "team", "ann", Role.ADMIN)
    access.remove_workspace("op", "team")
    gone = access.workspaces()
    access.make_workspace("op", "team")

    assert "team" not in gone
    assert access.workspaces() == {"default", "team"}
    assert access.members("team") == {}
    assert access.make_workspace("op", "team") is False
    with pytest.raises(UsageError, match="always there"):
        access.remove_workspace("op", "default")
    with pytest.raises(NotFoundError):
        access.set_member("op", "nowhere", "ann", Role.VIEWER)


def test_last_operator_stays(access: Access) -> None:
    """Nobody takes the last operator's role away, while a second one may go."""
    access.first_operator("ann")
    for role in (None, Role.APPROVER):
        with pytest.raises(UsageError, match="only operator"):
            access.set_member("ann", ALL, "ann", role)
    access.set_member("ann", ALL, "bob", Role.ADMIN)
    access.set_member("ann", ALL, "ann", None)

    assert access.members(ALL) == {"bob": Role.ADMIN}


def test_many_change_at_once(home: Store) -> None:
    """Changes made by several servers at the same time are all there, in one order that all see."""
    servers = [Access(home) for _ in range(4)]

    def work(server: Access, number: int) -> None:
        for step in range(10):
            server.set_member(f"server {number}", "default", f"actor {number}-{step}", Role.VIEWER)

    threads = [threading.Thread(target=work, args=(one, number)) for number, one in enumerate(servers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = [one.members("default") for one in servers]

    assert len(seen[0]) == 40
    assert all(one == seen[0] for one in seen)


def test_sign_in_gives_and_takes(access: Access) -> None:
    """Roles from signing in come and go with it, end by themselves, and never touch what an admin gave."""
    access.set_member("op", ALL, "ann", Role.ADMIN)
    access.set_member("op", "default", "bob", Role.VIEWER)
    for actor in ("ann", "bob", "cy"):
        access.signed_in(actor, {"default": Role.WRITER, ALL: None, "unknown": Role.ADMIN}, 3600)
    given = [access.roles(actor) for actor in ("ann", "bob", "cy")]
    access.signed_in("cy", {"default": None}, 3600)
    access.signed_in("dee", {"default": Role.WRITER}, 0.05)
    secret = access.make_token("op", "dee", {"default": Role.WRITER})[1]

    assert given == [
        {ALL: Role.ADMIN, "default": Role.WRITER},
        {"default": Role.VIEWER},
        {"default": Role.WRITER},
    ]
    assert access.roles("cy") == {}
    assert _within_a_second(lambda: access.authenticate(secret).role("default") is None)


@pytest.mark.parametrize("actor", ["", " ann", "ann\n", "a\0b", ALL, "x" * 201, "a\u202eb"])
def test_names_of_actors(access: Access, actor: str) -> None:
    """What cannot be told apart when it is shown, or would break a line, names nobody."""
    with pytest.raises(UsageError, match="cannot name anybody"):
        access.set_member("op", "default", actor, Role.VIEWER)


class _Unreachable(MemoryLogs):
    """Logs of a store that can be cut off."""

    cut = False

    def size(self, log: str) -> int:
        """See `Logs.size`."""
        if self.cut:
            raise UnavailableError("cut off")
        return super().size(log)


def test_store_cut_off_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the home store cannot be read, what is known is good for a minute, and then nobody is let in."""
    kept = open_store("memory:cut")
    logs = _Unreachable()
    access = Access(Store("memory:cut", logs, kept.blobs, kept.catalog, lambda: None))
    secret = access.first_operator("ann")[1]
    access.authenticate(secret)
    logs.cut = True
    now, real = [0.0], time.monotonic
    monkeypatch.setattr(follower.time, "monotonic", lambda: real() + now[0])
    now[0] = follower.KEPT_S / 2
    within = access.authenticate(secret).actor
    with pytest.raises(UnavailableError):
        access.set_member("ann", "default", "bob", Role.VIEWER)
    now[0] = follower.KEPT_S * 2
    with pytest.raises(UnavailableError, match="cannot be read at present"):
        access.authenticate(secret)
    logs.cut = False

    assert within == "ann"
    assert access.authenticate(secret).actor == "ann"
    access.close()


def test_no_store_call_while_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for a token that is known reads nothing from the store: it is answered from memory."""
    kept = open_store("memory:calls")
    logs = _Unreachable()
    access = Access(Store("memory:calls", logs, kept.blobs, kept.catalog, lambda: None))
    secret = access.first_operator("ann")[1]
    access.authenticate(secret)
    here = threading.get_ident()
    asked: list[int] = []
    size = logs.size
    monkeypatch.setattr(logs, "size", lambda log: (asked.append(threading.get_ident()), size(log))[1])
    found = {access.authenticate(secret).actor for _ in range(1000)}

    assert found == {"ann"}
    assert here not in asked
    access.close()


def test_changed_log_lets_nobody_in(home: Store) -> None:
    """An entry that somebody else wrote into the access log, or altered, ends all access, and says where."""
    access = Access(home)
    secret = access.first_operator("ann")[1]
    raw = home.logs.read(ACCESS)
    home.logs.append(ACCESS, len(raw), raw.splitlines(keepends=True)[0])
    forged = Access(home)

    with pytest.raises(StoreError, match=r"shared/access is broken at entry 2 \(byte"):
        forged.authenticate(secret)
    access.close()
    forged.close()


def test_store_without_shared_logs_is_refused() -> None:
    """A store without shared logs cannot hold members and tokens, and says so."""
    kept = open_store("memory:least")
    logs = MemoryLogs()
    logs.capabilities = frozenset()

    with pytest.raises(StoreError, match="has no shared logs"):
        Access(Store("memory:least", logs, kept.blobs, kept.catalog, lambda: None))


@pytest.fixture(params=["postgresql", "s3"])
def remote_home(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A home store that servers on many machines share."""
    if request.param == "postgresql":
        from tests.servers.postgres import shared_server

        return open_store(shared_server().uri())
    from tests.servers.s3 import KEY, SECRET, moto

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return open_store(moto().uri())


@pytest.mark.slow
def test_home_in_a_database_or_bucket(remote_home: Store) -> None:
    """Over PostgreSQL and a bucket, changes of several servers at once are all there, and a revoked token stops."""
    servers = [Access(remote_home) for _ in range(3)]

    def work(server: Access, number: int) -> None:
        for step in range(4):
            server.set_member(f"server {number}", "default", f"actor {number}-{step}", Role.WRITER)

    threads = [threading.Thread(target=work, args=(one, number)) for number, one in enumerate(servers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second, _ = servers
    token, secret = first.make_token("op", "actor 1-1", {"default": Role.WRITER})
    seen = second.authenticate(secret).role("default")
    first.revoke_token("op", token)
    chains = [Audit(remote_home, name) for name in ("one", "two")]
    for audit in chains:
        audit.record("op", "act")
    stopped = _within_a_second(lambda: _refused(second, secret))
    for one in servers:
        one.close()

    assert len(first.members("default")) == 12
    assert second.members("default") == first.members("default")
    assert (seen, stopped) == (Role.WRITER, True)
    assert chains[0].verify() == (2, 4, [])
