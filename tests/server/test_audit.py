"""The audit chain: what is acknowledged stands in it, and a change of it shows."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.errors import ConflictError, StoreError, UnavailableError, UsageError
from mlsdk.server import audit as module
from mlsdk.server.access import Role
from mlsdk.server.audit import AUDIT, Audit, is_private
from mlsdk.server.chain import BrokenError, line
from mlsdk.store import open_store
from mlsdk.store.base import Store
from mlsdk.store.layout import Layout
from mlsdk.store.memory import MemoryLogs
from tests.servers.http import running


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store."""
    if request.param == "memory":
        return open_store(f"memory:{tmp_path}")
    Layout(str(tmp_path / "kept")).make()
    return open_store(f"file:{tmp_path}/kept")


def _over(logs: MemoryLogs) -> Store:
    kept = open_store("memory:audit")
    return Store("memory:audit", logs, kept.blobs, kept.catalog, lambda: None)


def _acts(audit: Audit) -> list[str]:
    return [entry["act"] for entry in audit.entries(limit=100_000)[0] if entry["act"] != "begin"]


def test_what_was_recorded_is_there(store: Store) -> None:
    """An act stands in the chain when `record` returns: who, with which token, what, and about what."""
    audit = Audit(store, "one")
    audit.record("ann", "append", token="t1", log="shared/models/m", digest="d")
    entries, after = audit.entries()
    begin, entry = entries

    assert after is None
    assert begin["act"] == "begin"
    assert (entry["actor"], entry["token"], entry["act"], entry["log"]) == ("ann", "t1", "append", "shared/models/m")
    assert (entry["n"], entry["digest"]) == (1, "d")
    assert entry["chain"].startswith(AUDIT)
    assert audit.verify() == (1, 2, [])


def test_many_record_at_once(store: Store) -> None:
    """What many threads of several servers record at once is there, each once, in whole chains."""
    audits = [Audit(store, name) for name in ("one", "two", "b-one")]

    def work(audit: Audit, name: str) -> None:
        for number in range(25):
            audit.record("ann", f"{name}-{number}")

    threads = [
        threading.Thread(target=work, args=(audit, f"{place}/{number}"))
        for place, audit in enumerate(audits)
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {f"{place}/{number}-{step}" for place in range(3) for number in range(4) for step in range(25)}

    assert sorted(_acts(audits[0])) == sorted(expected)
    assert audits[0].verify().findings == []


def test_logs_are_short_and_name_each_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long chain goes on in another log that names the end of the one before; so does one after a restart."""
    monkeypatch.setattr(module, "LONGEST", 4)
    audit = Audit(store, "one")
    for number in range(10):
        audit.record("ann", str(number))
    again = Audit(store, "one")
    again.record("ann", "10")
    begins = [entry for entry in again.entries()[0] if entry["act"] == "begin"]

    assert _acts(again) == [str(number) for number in range(11)]
    assert len(begins) == len(again.logs()) == 5
    assert [begin["after"] for begin in begins] == [None, *again.logs()[:-1]]
    assert again.verify() == (5, 16, [])


def test_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, all entries come once and in order, whatever the size of a page."""
    monkeypatch.setattr(module, "LONGEST", 4)
    audit = Audit(store, "one")
    for number in range(9):
        audit.record("ann", str(number))
    whole = audit.entries()[0]
    for limit in (1, 2, 3, 5, 100):
        found, after = audit.entries(limit=limit)
        while after is not None:
            more, after = audit.entries(after, limit)
            found += more

        assert found == whole
    with pytest.raises(UsageError, match="no place"):
        audit.entries("nonsense")


def _chain(store: Store) -> tuple[Audit, str, list[bytes]]:
    audit = Audit(store, "one")
    for number in range(6):
        audit.record("ann", str(number))
    (log,) = audit.logs()
    return audit, log, store.logs.read(log).splitlines(keepends=True)


def _rewritten(store: Store, log: str, lines: list[bytes]) -> None:
    store.logs.delete(log)
    if lines:
        store.logs.append(log, 0, b"".join(lines))


def _forged(lines: list[bytes], place: int, actor: str) -> list[bytes]:
    entry = json.loads(lines[place])
    return [*lines[:place], json.dumps({**entry, "actor": actor}).encode() + b"\n", *lines[place + 1 :]]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda lines: _forged(lines, 3, "eve"), 4),
        (lambda lines: lines[:2] + lines[3:], 2),
        (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], 2),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], 3),
        (lambda lines: [*lines[:3], b"nonsense\n", *lines[3:]], 3),
        (lambda lines: [*lines, b'{"cut'], 7),
        (lambda lines: lines[1:], 0),
    ],
)
def test_where_it_is_broken(store: Store, change, place: int) -> None:
    """An entry altered, taken out, moved, doubled, put in or cut shows, with its log, its number and its place."""
    audit, log, lines = _chain(store)
    changed = change(lines)
    _rewritten(store, log, changed)
    (finding,) = audit.verify().findings

    assert (finding.log, finding.number) == (log, place)
    assert f"{log} is broken at entry {place} (byte {sum(map(len, changed[:place])):,})" in finding.message
    with pytest.raises(BrokenError):
        audit.entries()


@given(st.integers(0, 100_000), st.integers(1, 255))
def test_any_byte(place: int, change: int) -> None:
    """Whichever byte of a chain is altered, it shows, save in the last entry, which only a later log can hold."""
    store = _over(MemoryLogs())
    audit, log, lines = _chain(store)
    raw = bytearray(b"".join(lines))
    raw[place % (len(raw) - len(lines[-1]))] ^= change
    _rewritten(store, log, [bytes(raw)])

    assert audit.verify().findings


@pytest.mark.parametrize("change", ["gone", "cut", "made anew"])
def test_what_others_saw(store: Store, change: str) -> None:
    """A whole log taken away, cut or made anew is missed by the logs that began after it."""
    _, log, lines = _chain(store)
    later = Audit(store, "two")
    later.record("bob", "later")
    entry = json.loads(lines[-1])
    forged = line({**entry, "actor": "eve"}, entry["prev"])
    kept = {"gone": [], "cut": lines[:-2], "made anew": [*lines[:-1], forged]}[change]
    _rewritten(store, log, kept)
    said = {"gone": "is gone", "cut": "was cut to 5 entries", "made anew": "has another entry 6"}[change]
    (finding,) = later.verify().findings

    assert finding.log == log
    assert said in finding.message


class _Failing(MemoryLogs):
    """Logs that fail, before or after they have kept what was given."""

    how = ""

    def append(self, log: str, offset: int, data: bytes) -> int:
        """See `Logs.append`."""
        if self.how == "before":
            raise UnavailableError("cut off")
        end = super().append(log, offset, data)
        if self.how == "after":
            raise UnavailableError("cut off")
        return end


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("begun", [True, False])
def test_failing_store(how: str, begun: bool) -> None:
    """What could not be written is said so; the chain goes on whole, and what was acknowledged is in it once."""
    logs = _Failing()
    audit = Audit(_over(logs), "one")
    if begun:
        audit.record("ann", "first")
    logs.how = how
    for _ in range(2):
        with pytest.raises(UnavailableError):
            audit.record("ann", "unsure")
    logs.how = ""
    audit.record("ann", "last")
    acts = _acts(audit)

    assert acts.count("last") == 1
    assert acts.count("unsure") <= 1
    assert acts[0] == ("first" if begun else acts[0])
    assert audit.verify().findings == []


def test_log_of_another(store: Store) -> None:
    """Where somebody else writes into this server's log, it begins another one, and loses nothing."""
    audit, log, lines = _chain(store)
    store.logs.append(log, sum(map(len, lines)), b"foreign\n")
    audit.record("ann", "after")

    assert len(audit.logs()) == 2
    assert [finding.log for finding in audit.verify().findings] == [log]
    assert b'"act":"after"' in store.logs.read(audit.logs()[1])


class _Hostile(MemoryLogs):
    """Logs into which another writes first, always."""

    def append(self, log: str, offset: int, data: bytes) -> int:
        """See `Logs.append`."""
        raise ConflictError("not at the end", log, 1)


def test_no_endless_retries() -> None:
    """Where no log can be kept, recording fails, with the reason."""
    with pytest.raises(StoreError, match="others write to each one"):
        Audit(_over(_Hostile()), "one").record("ann", "act")


def test_what_an_entry_may_hold(store: Store) -> None:
    """An entry's own members cannot be overwritten, and what is no JSON fails in the caller's thread."""
    audit = Audit(store, "one")

    with pytest.raises(UsageError, match="its own prev"):
        audit.record("ann", "act", prev="x")
    with pytest.raises((TypeError, ValueError)):
        audit.record("ann", "act", what=object())
    assert _acts(audit) == []


def test_store_without_shared_logs() -> None:
    """A store without shared logs keeps no chain, and says so."""
    logs = MemoryLogs()
    logs.capabilities = frozenset()

    with pytest.raises(StoreError, match="has no shared logs"):
        Audit(_over(logs), "one")


def test_private_logs() -> None:
    """The server's own logs are told from those that people may write."""
    assert all(
        map(is_private, ["shared/access", "shared/audit/x", "shared/audit", "shared/audit/x/y", "shared/access/x"])
    )
    assert not any(map(is_private, ["shared/models/access", "shared/accessory", "shared/audits/x", "runs/a/b"]))


def test_acts_over_http(tmp_path: Path) -> None:
    """What is done over HTTP stands in the chain with its actor and token; the chain itself is out of reach."""
    with running(f"file:{tmp_path}/served") as served:
        secret = served.token_of("ann", "default", Role.ADMIN)
        ann = served.session(secret)
        name, data = b"shared/models/m", b"entry\n"
        body = len(name).to_bytes(2, "little") + bytes(8) + len(data).to_bytes(4, "little") + name + data
        kind = {"Content-Type": "application/x-mlsdk-pieces"}
        sent = ann.post("/v1/w/default/append", data=body, headers=kind).json()
        ann.put("/v1/w/default/members/bob", json={"role": "viewer"})
        refused = ann.post("/v1/workspaces", json={"name": "mine"}).status_code
        entries = ann.get("/v1/w/default/audit").json()["entries"]
        chain = entries[0]["chain"]
        reached = {
            "read": ann.get(f"/v1/w/default/logs/{chain}").status_code,
            "delete": ann.delete(f"/v1/w/default/logs/{chain}").status_code,
            "listed": chain in ann.get("/v1/w/default/logs?prefix=shared/").text,
        }
        foreign = body.replace(name, b"shared/audit/mm").replace(b"\x0f\x00", b"\x0f\x00", 1)
        written = ann.post("/v1/w/default/append", data=foreign, headers=kind).status_code
        operator = served.session()
        home = operator.get("/v1/audit").json()["entries"]
        verified = operator.get("/v1/audit/verified").json(), operator.get("/v1/w/default/audit/verified").json()

    appended = next(entry for entry in entries if entry["act"] == "append")
    assert sent == {"ends": [len(data)]}
    assert (appended["actor"], appended["token"], appended["log"]) == ("ann", secret.split("_")[1], "shared/models/m")
    assert reached == {"read": 403, "delete": 403, "listed": False}
    assert written == 403
    assert refused == 403
    assert [(entry["act"], entry["actor"]) for entry in home[1:]] == [("set member", "ann"), ("refused", "ann")]
    assert [found["findings"] for found in verified] == [[], []]
