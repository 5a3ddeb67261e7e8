"""Environment variables: some by value, all others by a keyed digest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlsdk
from mlsdk.capture import Context
from mlsdk.capture.environment import variables
from mlsdk.capture.environment.variables import allowed, capture
from mlsdk.capture.facts import encode_facts
from mlsdk.capture.secrets.redaction import is_secret_name
from tests import programs

VALUE = "-".join(reversed(["northropi", "Quetzalcoatlus"]))
"""Looks like nothing that a redactor knows; not written as one word, because this file is source that runs keep."""


def look(root: str | None = None) -> tuple[dict[str, str], dict[str, str]]:
    """What is found here: values, digests."""
    found = capture(Context(".", root=root))
    return dict(found["variables"]), dict(found["variable_hashes"])  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "name",
    "OMP_NUM_THREADS CUDA_VISIBLE_DEVICES CUBLAS_WORKSPACE_CONFIG PYTHONHASHSEED NCCL_DEBUG LANG LC_ALL TZ RANK "
    "SLURM_JOB_ID WORLD_SIZE HF_HOME TOKENIZERS_PARALLELISM TF_DETERMINISTIC_OPS XLA_FLAGS JAX_ENABLE_X64 VIRTUAL_ENV "
    "CONDA_PREFIX PYTORCH_CUDA_ALLOC_CONF MLSDK_EXPERIMENT OPENBLAS_NUM_THREADS".split(),
)
def test_allowed(name: str) -> None:
    """What matters to a result is recorded by value."""
    assert allowed(name)


@pytest.mark.parametrize(
    "name",
    "HOME USER HF_TOKEN SLURM_JWT MLSDK_TOKEN PYTHON_KEYRING_BACKEND TF_VAR_db TF_TOKEN_app_terraform_io LC_ANYTHING "
    "TORCH_SECRET_THING CUDA_API_KEY_OF_MINE AWS_SECRET_ACCESS_KEY DATABASE_URL CONDA_TOKEN ANYTHING_ELSE".split(),
)
def test_not_allowed(name: str) -> None:
    """What may hold a secret, or matters to nobody, is not, whatever family its name is of."""
    assert not allowed(name)


@given(
    st.sampled_from(["TOKEN", "my_password", "API_KEY", "JWT", "SECRET_X", "db_pass"]),
    st.sampled_from(variables.PREFIXES),
)
def test_a_secret_name_is_never_allowed(name: str, prefix: str) -> None:
    """A name that promises a secret is never allowed: not by its family, nor by the setting."""
    for one in (name, prefix + name):
        assert not is_secret_name(one) or not allowed(one, further=f"{one},{one[:3]}*,*")


def test_values_and_digests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A value on the list is there to be read; of another one there is a digest that changes with it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("FAVOURITE_ANIMAL", VALUE)
    monkeypatch.setenv("SECOND_ANIMAL", VALUE)
    shown, hidden = look(str(tmp_path))
    monkeypatch.setenv("FAVOURITE_ANIMAL", VALUE + "!")
    _, changed = look(str(tmp_path))
    monkeypatch.setenv("FAVOURITE_ANIMAL", VALUE)
    _, back = look(str(tmp_path))

    assert shown["OMP_NUM_THREADS"] == "3"
    assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in hidden.values())
    assert {name for name in hidden if hidden[name] != changed[name]} == {"FAVOURITE_ANIMAL"}
    assert back == hidden
    assert hidden["FAVOURITE_ANIMAL"] != hidden["SECOND_ANIMAL"], "equal values of two names would be seen"
    assert VALUE not in str((shown, hidden))
    assert set(shown) | set(hidden) == set(os.environ) - {"MLSDK_INHERITED_RUN"}
    assert not set(shown) & set(hidden)


def test_digests_are_keyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one store digests are equal in all processes, in another they are others: the key is not the same."""
    monkeypatch.setenv("FAVOURITE_ANIMAL", VALUE)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    _, one = look(str(tmp_path / "one"))
    _, two = look(str(tmp_path / "two"))
    code = f"""
import json
from mlsdk.capture import Context
from mlsdk.capture.environment import variables
print(json.dumps(variables.capture(Context(".", root={str(tmp_path / "one")!r}))["variable_hashes"]))
"""
    done = subprocess.run([sys.executable, "-c", code], env=programs.environment(), capture_output=True, check=True)
    there = json.loads(done.stdout)

    assert one["FAVOURITE_ANIMAL"] != two["FAVOURITE_ANIMAL"]
    assert there["FAVOURITE_ANIMAL"] == one["FAVOURITE_ANIMAL"]


def test_a_secret_within_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value on the list that has a secret in it is kept without it, and a digest under a secret's name is kept."""
    monkeypatch.setenv("MLSDK_STORE", "https://ann:hunter2hunter2@example.com/x")
    monkeypatch.setenv("GITHUB_TOKEN", "abc")
    found = capture(Context("."))
    encoded, notes = encode_facts("env", found, lambda _: ("0" * 64, 1))

    assert "hunter2" not in str(encoded)
    assert "example.com" in found["variables"]["MLSDK_STORE"]  # type: ignore[index]
    assert re.fullmatch("[0-9a-f]{16}", found["variable_hashes"]["GITHUB_TOKEN"])  # type: ignore[index]
    assert notes == {}


def test_further_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting adds names and families; a secret stays one."""
    for name in ("SEED_OF_MINE", "ACME_QUEUE", "ACME_PASSWORD"):
        monkeypatch.setenv(name, VALUE)
    before, _ = look()
    monkeypatch.setenv("MLSDK_ENVIRONMENT", "SEED_OF_MINE, ACME_*")
    after, hidden = look()

    assert not {"SEED_OF_MINE", "ACME_QUEUE"} & set(before)
    assert {"SEED_OF_MINE", "ACME_QUEUE"} <= set(after)
    assert "ACME_PASSWORD" in hidden


def test_the_same_object_until_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look at one environment costs next to nothing; what mlsdk hands down to children is no part of it."""
    first = capture(Context("."))
    monkeypatch.setenv("MLSDK_INHERITED_RUN", "0" * 32)
    again = capture(Context("."))
    monkeypatch.setenv("FAVOURITE_ANIMAL", VALUE)

    assert again is first
    assert "MLSDK_INHERITED_RUN" not in str(first)
    assert capture(Context(".")) is not first


def test_no_value_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """No byte of the store holds the value of a variable that is not on the list."""
    value = f"otter-{os.urandom(8).hex()}"  # not VALUE: a constant of this module belongs to the code
    monkeypatch.setenv("MLSDK_COMPANION", "0")
    monkeypatch.setenv("FAVOURITE_ANIMAL", value)
    monkeypatch.setenv("GITHUB_TOKEN", f"{value}-2")
    with mlsdk.run(capture=[*mlsdk.capture.BUILT_IN, capture]) as run:
        run.log(a=1)
    stored = {path: path.read_bytes() for path in Path(".mlsdk").rglob("*") if path.is_file()}

    assert any(b"FAVOURITE_ANIMAL" in data for data in stored.values())
    assert [path for path, data in stored.items() if value.encode() in data] == []
