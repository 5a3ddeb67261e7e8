"""`mlsdk/capture/cache.py`: what captures find again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlsdk.capture import cache


@pytest.fixture
def root() -> str:
    """A store."""
    Path("store/open").mkdir(parents=True)
    return os.path.abspath("store")


def test_kept_and_found(root: str) -> None:
    """What was kept is found again, the last of it; what was not is None, and so is all without a store."""
    cache.write(root, "a/b", b"1")
    cache.write(root, "a/b", b"2")
    cache.write(None, "a/b", b"3")

    assert (cache.read(root, "a/b"), cache.read(root, "a/c"), cache.read(None, "a/b")) == (b"2", None, None)
    assert [path.name for path in Path("store/cache/a").iterdir()] == ["b"]


def test_a_deleted_store_stays_deleted() -> None:
    """Nothing is written where there is no store any more."""
    cache.write(os.path.abspath("gone"), "a", b"1")

    assert not Path("gone").exists()


def test_what_cannot_be_written(root: str) -> None:
    """Where an entry cannot be put, nothing happens and nothing is left behind."""
    Path("store/cache/a").mkdir(parents=True)
    cache.write(root, "a", b"1")
    Path("store/cache/file").write_text("")
    cache.write(root, "file/below", b"1")

    assert sorted(path.name for path in Path("store/cache").rglob("*")) == ["a", "file"]
