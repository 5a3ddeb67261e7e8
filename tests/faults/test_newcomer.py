"""The way of a newcomer: from nothing to the page of a first run, with the commands that the documentation tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT, require
from tests.faults.newcomer import can_make_hosts, walk


@pytest.mark.slow
def test_from_nothing_to_the_page_of_a_run(tmp_path: Path) -> None:
    """A server, a token, a first run from another host and its page come about by the documented commands alone."""
    require(can_make_hosts(), "the right to make network namespaces (`ip netns`, of iproute2)")
    found = walk(tmp_path)

    assert found.run in found.page
    assert "acc" in found.page
    assert "0.93" in found.page
    assert found.host == "workstation"


def test_the_documentation_says_the_same() -> None:
    """The commands of this test are those of the page on hosting."""
    page = (ROOT / "docs" / "hosting.md").read_text("utf-8")

    for command in ("mlsdk serve ", "mlsdk member set ", "mlsdk token make --actor", "mlsdk login "):
        assert command in page
