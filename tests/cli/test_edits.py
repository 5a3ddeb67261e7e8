"""`tag`, `note`, `delete`, `undelete`, `seal`: what changes afterwards."""

from __future__ import annotations

import mlsdk
from mlsdk.store import open_store


def test_tags_keep_their_types(ask, runs):
    """Tags are numbers, booleans or text as typed; a name alone is true; an empty value removes."""
    ask("tag", "run-0", "n=3", "x=0.5", "yes", "no=false", "who=ada", 'text="1"', "eq=a=b")
    first = mlsdk.get_run("run-0").tags
    ask("tag", "run-0", "team=", "n=")

    assert first == {
        "team": "vision",
        "n": 3,
        "x": 0.5,
        "yes": True,
        "no": False,
        "who": "ada",
        "text": "1",
        "eq": "a=b",
    }
    assert set(mlsdk.get_run("run-0").tags) == {"x", "yes", "no", "who", "text", "eq"}


def test_note(call, runs):
    """A note is shown, and the last one counts."""
    call("note", "run-0", "first")
    call("note", "run-0", "second")
    _, out, _ = call("show", "run-0")

    assert "second" in out
    assert "first" not in out


def test_delete_and_restore(call, ask, runs):
    """A deleted run is hidden but for --all, and comes back by undelete."""
    _, said, _ = call("delete", "run-0", "run-1")
    hidden = [run["name"] for run in ask("ls")]
    listed = call("ls", "--all")[1]
    for run in runs[:2]:
        assert call("undelete", run[-8:])[0] == 0

    assert "`mlsdk undelete" in said
    assert hidden == ["broken"]
    assert listed.count("deleted") == 3
    assert len(ask("ls")) == 3


def test_deleted_runs_and_a_filter(ask, call, runs):
    """--all keeps the filter, and a mistake in it is shown as it was typed."""
    call("delete", "run-0")

    assert [run["name"] for run in ask("ls", "params.lr < 0.15 or params.lr > 5", "--all")] == ["broken", "run-0"]
    assert "\n  params.lr <\n" in call("ls", "params.lr <", "--all")[2]


def test_seal_and_back(call, ask, runs):
    """A run's logs are sealed and unsealed; what is read of it stays the same."""
    before = list(mlsdk.get_run("run-0").history("loss").values)
    store = open_store()
    raw = {log: store.logs.read(log) for log in store.logs.list(f"runs/{runs[0]}/")}
    sealed = ask("seal", "run-0")
    during = list(mlsdk.get_run("run-0").history("loss").values)
    undone = ask("seal", "run-0", "--undo")

    assert sealed["logs"] == undone["logs"] == len(raw)
    assert before == during
    assert {log: store.logs.read(log) for log in raw} == raw
    assert call("seal", "--all")[1].startswith("sealed 0 logs")


def test_a_live_log_is_not_sealed(ask):
    """A log that may still be written is left as it is, and counted."""
    with mlsdk.run("live", name="alive") as run:
        run.log(loss=1.0)

        assert ask("seal", "alive")["live"] == 1

    assert len(mlsdk.get_run(run.id).history("loss")) == 1
