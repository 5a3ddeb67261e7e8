"""`mlsdk sync`, and what `mlsdk ls` says of runs that are not in a remote store yet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mlsdk
from mlsdk.cli import main
from mlsdk.store import posting
from tests import far


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A far store, its outbox in the test's own folder, and no companion."""
    monkeypatch.syspath_prepend(str(far.install(tmp_path)))
    monkeypatch.setenv("MLSDK_COMPANION", "0")
    monkeypatch.setattr(posting, "_announced", {})
    mlsdk.configure(outbox=str(tmp_path / "outbox"), ship_wait_s=0.2)
    return far.uri(tmp_path)


def test_all_that_waits_is_sent(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without arguments all outboxes are sent: exit code 1 and the reason while something is left, 0 when all is up."""
    assert main(["sync"]) == 0
    far.mood(uri, down=True)
    with mlsdk.run("far", store=uri, capture=()) as run:
        run.log(loss=0.5)
    codes = [main(["sync"])]
    far.mood(uri)
    codes += [main(["sync", "--store", uri]), main(["sync"])]
    shown = capsys.readouterr().out

    assert codes == [1, 0, 0]
    assert shown.startswith("nothing waits for a remote store")
    assert "left: runs/" in shown
    assert "connection refused" in shown
    assert "2 logs and 0 blobs sent" in shown
    assert mlsdk.get_run(run.id, store=uri).metrics["loss"].last == 0.5


def test_ls_says_what_waits(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The last line of `ls` says how many runs are not up and why, as long as there are any."""
    far.mood(uri, refuse=True)
    with mlsdk.run("far", store=uri, capture=()):
        pass
    main(["ls", "--store", uri])
    before = capsys.readouterr().out.splitlines()
    far.mood(uri)
    main(["sync"])
    capsys.readouterr()
    main(["ls", "--store", uri])
    after = capsys.readouterr().out

    assert before[-1].startswith("1 run is not yet up")
    assert "the token is not valid" in before[-1]
    assert before[-1].endswith("`mlsdk sync` sends them now")
    assert "not yet up" not in after


def test_between_two_stores(capsys: pytest.CaptureFixture[str]) -> None:
    """Two stores get each other's runs; `--one-way` brings nothing back; `--json` gives what was done."""
    for name in ("one", "two"):
        with mlsdk.run(name, store=f"memory:cli-{name}"):
            pass
    codes = [main(["sync", "memory:cli-one", "memory:cli-two", "--one-way"])]
    one_way = len(mlsdk.runs(store="memory:cli-one")), len(mlsdk.runs(store="memory:cli-two"))
    capsys.readouterr()
    codes += [main(["sync", "memory:cli-one", "memory:cli-two", "--json"])]
    told = json.loads(capsys.readouterr().out)

    assert codes == [0, 0]
    assert one_way == (1, 2)
    assert [part["logs"] for part in told] == [0, 1]
    assert len(mlsdk.runs(store="memory:cli-one")) == 2


def test_one_way_needs_a_source(capsys: pytest.CaptureFixture[str]) -> None:
    """`--one-way` without a store is a mistake that is said."""
    assert main(["sync", "--one-way"]) == 2
    assert "FROM" in capsys.readouterr().err
