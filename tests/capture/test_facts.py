"""Values become facts without their secrets, and so do the names that they stand under."""

from __future__ import annotations

import random

import pytest

from mlsdk.capture.facts import ByName, encode_facts
from mlsdk.capture.secrets.redaction import REDACTED
from tests import canaries

TOKENS = list(canaries.tokens(random.Random(3)).values())


def no_blobs(_: bytes | str) -> tuple[str, int]:
    """Where nothing is long."""
    raise AssertionError


@pytest.mark.parametrize("kind", ["datasets", "params", "tags"])
def test_names_lose_their_secrets(kind: str) -> None:
    """A name with a token in it loses the token, and two such names stay two."""
    values = {f"a-{TOKENS[0]}": 1, f"a-{TOKENS[1]}": 2, "learning_rate_of_the_first_layer": 3, "x/y=z": 4}
    encoded, _ = encode_facts(kind, values, no_blobs)
    names = list(encoded)

    assert list(encoded.values()) == [1, 2, 3, 4]
    assert names[0] == f"a-{REDACTED}"
    assert names[1].startswith(names[0])
    assert names[2:] == list(values)[2:]


def test_names_of_artifacts_stay() -> None:
    """What is kept as an artifact is opened by its name, which is kept as it is."""
    encoded, notes = encode_facts("artifacts", {TOKENS[0]: {"digest": "0"}}, no_blobs)

    assert encoded == {TOKENS[0]: {"digest": "0"}}
    assert notes == {}


def test_values_lose_theirs_with_a_note() -> None:
    """What was left out is said by the name that it stood under."""
    encoded, notes = encode_facts("params", {"api_key": "hunter2", "lr": 0.1}, no_blobs)

    assert encoded == {"api_key": REDACTED, "lr": 0.1}
    assert list(notes) == ["secret params.api_key"]


def test_cells_are_code_and_packages_are_names() -> None:
    """A digest in a cell stays, a version under the name of a secret too; a token goes from both."""
    cell = f"x = '{canaries.noise(random.Random(1), 44)}'"
    values = {"cells": [cell, f"y = '{TOKENS[0]}'"], "packages": ByName({"detect-secrets": "1.5.0", "x": TOKENS[1]})}
    encoded, _ = encode_facts("code", values, no_blobs)

    assert encoded["cells"] == [cell, f"y = '{REDACTED}'"]
    assert encoded["packages"] == {"detect-secrets": "1.5.0", "x": REDACTED}
