"""Tests of live runs do without the companion and its captures, unless they are about them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _alone(_own_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSDK_COMPANION", "0")
    monkeypatch.setenv("MLSDK_CAPTURE", "none")
