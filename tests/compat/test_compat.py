"""Logs that released versions wrote are read for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlsdk.log import frames
from mlsdk.log.seal import Sealed
from tests.compat import make_logs
from tests.log import reader_from_docs
from tests.log.made import end_of, numpy_is

HERE = Path(__file__).parent
SEALED = sorted(HERE.glob("v*/*.seal"))
RAW = sorted(HERE.glob("v*/*.log"))


def _name(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def _expected(path: Path) -> dict[str, object]:
    return json.loads(path.with_suffix(".json").read_text("utf-8"))


def _described(raw: bytes) -> dict[str, object]:
    return json.loads(json.dumps(make_logs.described(raw)))


@pytest.mark.parametrize("numpy", [True, False], ids=["numpy", "bare"])
@pytest.mark.parametrize("path", RAW, ids=_name)
def test_raw_logs_are_read(path: Path, numpy: bool) -> None:
    """A raw log that was written once means the same to this version, with numpy and without."""
    with numpy_is(numpy):
        found = _described(path.read_bytes())

    assert found == _expected(path)


@pytest.mark.parametrize("numpy", [True, False], ids=["numpy", "bare"])
@pytest.mark.parametrize("path", SEALED, ids=_name)
def test_sealed_logs_are_read(path: Path, numpy: bool) -> None:
    """A log that was sealed once gives back its raw bytes, and the same series, with numpy and without."""
    expected = _expected(path)
    with numpy_is(numpy), Sealed(path) as sealed:
        sealed.check()
        raw = sealed.raw()
        found = _described(raw)

        assert (sealed.log, sealed.raw_length, sealed.sha256) == (expected["log"], expected["end"], expected["sha256"])
    assert found == expected
    assert reader_from_docs.Seal(path.read_bytes()).raw() == raw


def test_some_are_kept_for_each_version() -> None:
    """There are samples of every version up to the present one."""
    kept = {path.parent.name for path in SEALED}

    assert kept == {f"v{version}" for version in range(1, frames.FORMAT_VERSION + 1)}


@pytest.mark.parametrize("name", make_logs.SAMPLES)
def test_present_version_writes_the_same(name: str) -> None:
    """As long as the version is the same, the same raw logs are written; a change of the format needs a new version."""
    raw = make_logs.SAMPLES[name]()
    kept = Sealed(HERE / f"v{frames.FORMAT_VERSION}" / f"{name}.seal")

    assert kept.raw() == raw[: end_of(raw)]
