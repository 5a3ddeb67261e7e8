"""Saying more about a run, whenever: each edit is a log of its own."""

from __future__ import annotations

import os

import pytest

import mlsdk
from mlsdk.errors import UsageError
from mlsdk.store.base import open_file


@pytest.fixture(autouse=True)
def _alone(_own_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSDK_COMPANION", "0")


@pytest.fixture(params=["store", "memory:editing"])
def place(request: pytest.FixtureRequest) -> str:
    return request.param if request.param == "store" else f"{request.param}-{os.getcwd()}"


def finished(place: str) -> str:
    with mlsdk.run("e", name="before", params={"lr": 1}, tags={"team": "x"}, capture=(), store=place) as run:
        run.log(acc=0.5)
    return run.id


def test_every_edit(place: str) -> None:
    """Tags, note and name are changed; what was recorded stays as it was."""
    run = finished(place)
    edit = mlsdk.edit(run, store=place)
    edit.set_tags({"team": "y", "rank": 3})
    edit.set_tags(["checked"])
    edit.note("first")
    edit.note("second")
    edit.rename("after")
    found = mlsdk.get_run("after", store=place)

    assert found.id == run
    assert found.tags == {"team": "y", "rank": 3, "checked": True}
    assert (found.note, found.status, found.params) == ("second", "finished", {"lr": 1})
    assert found.metrics["acc"].count == 1


def test_none_removes_a_tag(place: str) -> None:
    """A tag whose value is None is no longer there; it may be set again."""
    run = finished(place)
    mlsdk.edit(run, store=place).set_tags({"team": None})
    removed = mlsdk.get_run(run, store=place).tags
    mlsdk.edit(run, store=place).set_tags({"team": "z"})

    assert removed == {}
    assert mlsdk.get_run(run, store=place).tags == {"team": "z"}


def test_delete_and_restore(place: str) -> None:
    """A deleted run is found by its id and by `deleted` only; a restored one like any other. Both may be done again."""
    run = finished(place)
    edit = mlsdk.edit(run, store=place)
    seen = []
    for _ in range(2):
        edit.delete()
        seen.append(
            (
                len(mlsdk.runs(store=place)),
                len(mlsdk.runs("deleted", store=place)),
                mlsdk.get_run(run, store=place).deleted,
            )
        )
        edit.restore()
        seen.append(
            (
                len(mlsdk.runs(store=place)),
                len(mlsdk.runs("deleted", store=place)),
                mlsdk.get_run(run, store=place).deleted,
            )
        )

    assert seen == [(0, 1, True), (1, 0, False)] * 2


def test_by_run_name_or_part(place: str) -> None:
    """The run to edit is named like for `get_run`, or is the record itself."""
    run = mlsdk.get_run(finished(place), store=place)
    for number, which in enumerate((run, run.id, run.short_id, "before", "latest")):
        mlsdk.edit(which, store=place).set_tags({f"t{number}": True})

    assert len(mlsdk.get_run(run.id, store=place).tags) == 6


def test_edited_while_it_lives(place: str) -> None:
    """A run may be edited while it is being recorded: both say their part, the later one counts, nobody waits."""
    with mlsdk.run("live", name="live", tags={"a": 1, "b": 1}, capture=(), store=place) as run:
        mlsdk.edit(run.id, store=place).set_tags({"a": 2, "c": 2})
        mlsdk.edit(run.id, store=place).rename("better")
        run.set_tags({"b": 3})
        run.log(acc=0.5)
        inside = mlsdk.get_run(run.id, store=place)
        mlsdk.edit(run.id, store=place).delete()
        run.set_tags({"d": 4})
    found = mlsdk.get_run(run.id, store=place)

    assert (inside.name, inside.status, inside.tags) == ("better", "running", {"a": 2, "b": 3, "c": 2})
    assert (found.name, found.status, found.deleted) == ("better", "finished", True)
    assert found.tags == {"a": 2, "b": 3, "c": 2, "d": 4}


def test_two_edits_from_one_record(place: str) -> None:
    """Of edits that were begun from the same record, the one that was written later counts."""
    run = mlsdk.get_run(finished(place), store=place)
    first, second = mlsdk.edit(run, store=place), mlsdk.edit(run, store=place)
    second.rename("second")
    first.rename("first")

    assert mlsdk.get_run(run.id, store=place).name == "first"


def test_a_name_is_text() -> None:
    """A name that is no text, or none at all, is refused with the value."""
    edit = mlsdk.edit(finished("store"), store="store")
    for name in ("", None, 3):
        with pytest.raises(UsageError, match=repr(name)):
            edit.rename(name)

    assert mlsdk.get_run("latest", store="store").name == "before"


def test_tags_are_checked() -> None:
    """Tags that are none are refused before anything is written."""
    run = finished("store")
    for tags in ("one", 3, {1: 2}, [""]):
        with pytest.raises(UsageError):
            mlsdk.edit(run, store="store").set_tags(tags)

    assert mlsdk.get_run(run, store="store").tags == {"team": "x"}


def test_secrets_are_left_out(place: str) -> None:
    """What looks like a secret in a tag or a note is not written, as in a live run."""
    run = finished(place)
    secret = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6"
    mlsdk.edit(run, store=place).set_tags({"api_token": secret})
    mlsdk.edit(run, store=place).note(f"used {secret}")
    found = mlsdk.get_run(run, store=place)

    assert secret not in str(found.tags)
    assert secret not in str(found.note)


def test_each_edit_is_closed_and_found_by_others() -> None:
    """An edit leaves no open log behind, and other readers see it at once."""
    run = finished("store")
    other = open_file("file:store", catalog=os.path.abspath("other.db"))
    before = other.find_one(run).name
    mlsdk.edit(run, store="store").rename("after")

    assert (before, other.find_one(run).name) == ("before", "after")
    assert os.listdir("store/open") == []


def test_long_values_become_blobs(place: str) -> None:
    """A tag too long for a fact is put away as a blob, as in a live run; the run says so."""
    run = finished(place)
    mlsdk.edit(run, store=place).set_tags({"long": "x" * 100_000})
    tag = mlsdk.get_run(run, store=place).tags["long"]

    assert tag.size_bytes > 100_000
    assert tag.start.startswith('"xxx')


def test_a_run_of_another_store() -> None:
    """A run that is not in the store is refused; nothing is written about it there."""
    with mlsdk.run("edit", capture=(), store="memory:elsewhere") as run:
        pass
    with mlsdk.run("edit", capture=()):
        pass
    found = mlsdk.get_run(run.id, store="memory:elsewhere")
    with pytest.raises(mlsdk.NotFoundError, match=run.id):
        mlsdk.edit(found)
    mlsdk.edit(found, store="memory:elsewhere").note("here")

    assert mlsdk.get_run(run.id, store="memory:elsewhere").note == "here"
