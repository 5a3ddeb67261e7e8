"""Live runs as server-sent events, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlsdk.log import identity
from mlsdk.server.accounts import Role
from mlsdk.server.limits import Limits
from mlsdk.testing import MadeLog
from tests.servers.http import Running, Session, pieces, running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(f"file:{tmp_path_factory.mktemp('events')}/served", Limits(rate_per_s=0, streams=3)) as found:
        yield found


def live(name: str = "a") -> MadeLog:
    """The log of a run whose process, this one, is there."""
    return MadeLog(identity=identity.writer_identity()).facts({"run": {"name": name}})


@contextmanager
def listening(api: Session, path: str, **headers: str) -> Iterator[Iterator[dict[str, Any]]]:
    """The events of a stream, one by one."""
    answer = api.get(path, stream=True, headers=headers)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream")
    try:
        yield events(answer)
    finally:
        answer.close()


def events(answer: Any) -> Iterator[dict[str, Any]]:
    found: dict[str, Any] = {}
    for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
        name, _, value = line.partition(": ")
        if not line and "data" in found:
            yield {**found, "run": json.loads(json.loads(found["data"])["document"])}
            found = {}
        elif line:
            found[name] = value


def send(api: Session, log: MadeLog, workspace: str = "default") -> None:
    assert api.append(pieces((log.name, 0, log.data)), workspace).ok


def test_a_run_is_followed(served: Running) -> None:
    """A listener hears of what is live, of what begins, and of how it ends."""
    api = served.session()
    served.service.access.make_workspace("operator", "followed")
    first, second = live("first"), live("second")
    send(api, first, "followed")
    with listening(api, "/v1/w/followed/events") as stream:
        known = next(stream)
        send(api, second, "followed")
        begun = next(stream)
        send(api, second.facts({"run": {"status": "finished"}}).close(), "followed")
        ended = next(stream)

    assert known["event"] == "run"
    assert (known["run"]["id"], known["run"]["run"]["name"]) == (first.run, "first")
    assert (begun["run"]["id"], json.loads(begun["data"])["status"]) == (second.run, "running")
    assert (ended["run"]["id"], json.loads(ended["data"])["status"]) == (second.run, "finished")
    assert int(ended["id"]) >= int(known["id"])


def test_one_run(served: Running) -> None:
    """Who asks for one run hears of that one alone."""
    api = served.session()
    one, other = live("one"), live("other")
    send(api, one)
    with listening(api, f"/v1/w/default/events?run={one.run}") as stream:
        heard = [next(stream)]
        send(api, other)
        send(api, one.facts({"tags": {"a": 1}}))
        heard.append(next(stream))

    assert [event["run"]["id"] for event in heard] == [one.run, one.run]
    assert heard[1]["run"]["tags"] == {"a": 1}


def test_what_was_missed_is_told_again(served: Running) -> None:
    """Who comes again with the id of the last event hears of what has ended since."""
    served.token_of("missing", "missed", Role.WRITER)
    api = served.session()
    log = live("short").facts({"run": {"status": "finished", "ended_ns": 1_890_000_000_000_000_000}}).close()
    send(api, log, "missed")
    told = {"Last-Event-ID": "1890000000000"}
    with listening(api, "/v1/w/missed/events", **told) as stream:
        missed = next(stream)

    assert missed["run"]["id"] == log.run


def test_what_is_written_beside_the_server_is_seen(served: Running) -> None:
    """A run that comes into the store by another way is heard of, too."""
    api = served.session()
    log = live("beside")
    with listening(api, "/v1/w/default/events") as stream:
        served.service.workspaces.store("default").logs.append(log.name, 0, log.data)
        found = next(event for event in stream if event["run"]["id"] == log.run)

    assert found["run"]["run"]["name"] == "beside"


def test_listeners_are_limited(served: Running) -> None:
    """No more may listen than the limit says; those who go make room."""
    api = served.session()
    answers = [api.get("/v1/w/default/events", stream=True) for _ in range(3)]
    streams = [answer.iter_lines() for answer in answers]
    for stream in streams:
        next(stream)
    refused = api.get("/v1/w/default/events")
    for answer in answers:
        answer.close()

    assert [answer.status_code for answer in answers] == [200] * 3
    assert refused.status_code == 503


def test_a_stop_ends_streams(tmp_path: Path) -> None:
    """When the server stops, streams end by themselves, and nobody waits for them."""
    with running(f"file:{tmp_path}/served") as found:
        answer = found.session().get("/v1/w/default/events", stream=True)
        lines = answer.iter_lines(decode_unicode=True)
        first = next(lines)
        found.service.stop()
        rest = list(lines)

    assert first.startswith("retry:")
    assert not any(line.startswith("data") for line in rest)
