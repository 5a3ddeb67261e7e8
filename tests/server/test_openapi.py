"""The OpenAPI document: it says what the routes do, and nothing that it allows breaks the server."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import InvalidArgument, Unsatisfiable
from schemathesis import GenerationMode

from mlsdk.server.limits import Limits
from mlsdk.server.openapi import document
from mlsdk.server.routes import ROWS
from tests.servers.http import Running, running


def test_every_route_is_described() -> None:
    """Each row of the table is an operation, with its parameters, its body and its answers."""
    found = document(ROWS)
    operations = [operation for path in found["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]

    assert found["openapi"] == "3.1.0"
    assert len(operations) == len(ROWS)
    assert len(set(names)) == len(names)
    assert json.loads(json.dumps(found)) == found
    for row in ROWS:
        operation = found["paths"][row.path.replace(":path", "")][row.method.lower()]
        described = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}
        assert described == {param.name for param in row.params}, row.path
        assert ("requestBody" in operation) == (row.body is not None), row.path
        assert (operation.get("security") == []) == (row.needs == "anyone"), row.path


def test_the_document_is_served(tmp_path: Path) -> None:
    """Whoever has a token gets the document."""
    with running(f"file:{tmp_path}/served") as served:
        answer, stranger = served.session().get("/openapi.json"), served.session("").get("/openapi.json")

    assert answer.json() == json.loads(json.dumps(document(ROWS)))
    assert stranger.status_code == 401


schemathesis.serializer.alias("application/x-mlsdk-pieces", "application/octet-stream")


@pytest.mark.slow
def test_nothing_that_it_allows_is_a_500(tmp_path: Path) -> None:
    """Requests made up from the document, good ones and bad ones, never make the server fail."""
    found = document(ROWS)
    for path in ("/v1/w/{w}/events", "/auth/login", "/auth/callback"):  # endless, or another server's
        del found["paths"][path]
    statuses: Counter[int] = Counter()
    with running(f"file:{tmp_path}/served", Limits(rate_per_s=0, request_s=10)) as served:
        for operation in schemathesis.openapi.from_dict(found).get_all_operations():
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                _try(operation.ok(), mode, served, statuses)

    assert statuses[200] > 20
    assert statuses[400] > 10
    assert statuses[500] == 0


def _try(operation: Any, mode: GenerationMode, served: Running, statuses: Counter[int]) -> None:
    """Send some requests for one operation."""
    named = {"path_parameters": {"w": "default"}} if "{w}" in operation.path else {}
    if "{run}" in operation.path or "{digest}" in operation.path or "{actor}" in operation.path:
        named = {}
    told = {"Authorization": f"Bearer {served.token}"}

    @settings(max_examples=2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode, **named))
    def requests(case: schemathesis.Case) -> None:
        if "w" in (case.path_parameters or {}) and mode is GenerationMode.POSITIVE:
            case.path_parameters["w"] = "default"
        answer = case.call(base_url=served.url, headers=told, timeout=30)
        statuses[answer.status_code] += 1
        assert answer.status_code != 500, (operation.label, case.as_curl_command(), answer.text)

    with contextlib.suppress(Unsatisfiable, InvalidArgument):  # nothing that could be wrong about it
        requests()
