"""Whatever is killed, whenever: nothing that was acknowledged is lost, nothing is there twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.kills import VICTIMS, Rounds
from tests.servers.postgres import own_server


@pytest.mark.slow
def test_one_after_the_other(tmp_path: Path) -> None:
    """Client, companion, server, postmaster and backend killed at random moments lose and double nothing."""
    database = own_server("fsync=on")
    try:
        found = Rounds(tmp_path, database, seed=1).run(len(VICTIMS))
    finally:
        database.remove()

    assert found.wrong == []
    assert (found.lost, found.doubled) == (0, 0)
    assert found.acknowledged > 1000
    assert found.taken > 10_000
