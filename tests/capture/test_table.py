"""The table of captures, and strangers in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import mlsdk
from mlsdk import capture
from mlsdk.capture import BUILT_IN, Context, chosen
from mlsdk.errors import UsageError


@pytest.fixture(autouse=True)
def _alone(_own_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSDK_COMPANION", "0")


def test_choosing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All by default; names, functions, both, or none."""

    def mine(where: Context) -> None:
        """Nothing."""

    assert [one.name for one in chosen(None)] == list(BUILT_IN)
    assert chosen(()) == chosen("none") == []
    assert [one.name for one in chosen("git, python")] == ["git", "python"]
    assert [one.name for one in chosen([mine, "host"])] == ["mine", "host"]
    for wrong in ("gitt", [3], 3):
        with pytest.raises(UsageError, match="python"):
            chosen(wrong)


@pytest.mark.parametrize("one", BUILT_IN.values(), ids=BUILT_IN)
def test_each_line_works(one: capture.Capture) -> None:
    """Each capture of the table can be imported and answers with facts or with nothing."""
    found = one(Context("."))

    assert found is None or isinstance(found, Mapping)


def test_a_capture_of_the_users() -> None:
    """A function given as a capture is called before the body, and its facts stand under its name."""
    called: list[str] = []

    def weather(where: Context) -> dict[str, object]:
        called.append(where.folder)
        return {"sunny": True, "place": {"lat": 50.1}}

    with mlsdk.run(capture=weather) as run:
        assert len(called) == 1

    assert mlsdk.get_run(run.id).environment["weather"] == {"sunny": True, "place": {"lat": 50.1}}
    assert set(mlsdk.get_run(run.id).hardware) == {"overhead_s", "user_s"}


@pytest.mark.parametrize("answer", [ZeroDivisionError("x"), 7, ["a"]], ids=repr)
def test_a_capture_that_fails(answer: Any) -> None:
    """A capture that fails, or answers nonsense, is a problem of the run and no harm to it."""

    def broken(where: Context) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.warns(RuntimeWarning, match="capture|failed"), mlsdk.run(capture=[broken, "python"]) as run:
        run.log(a=1)
    found = mlsdk.get_run(run.id)

    assert any(problem.kind == "capture broken" for problem in found.problems)
    assert found.environment["python"]
    assert found.status == "finished"


def test_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captures that come after the time is used up are not taken, and the run says so."""
    monkeypatch.setenv("MLSDK_CAPTURE_LIMIT_S", "0.01")

    def slow(where: Context) -> dict[str, object]:
        import time

        time.sleep(0.02)
        return {"a": 1}

    with pytest.warns(RuntimeWarning, match=r"more than 0\.01 s"), mlsdk.run(capture=[slow, "python"]) as run:
        pass
    found = mlsdk.get_run(run.id)

    assert found.environment["slow"] == {"a": 1}
    assert "python" not in found.environment
    assert any(problem.kind == "capture python" for problem in found.problems)


def test_captures_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other packages offer by entry point is taken beside the run, without its secrets."""
    import sys
    import types

    module = types.ModuleType("stranger")
    secret = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ"
    module.look = lambda where: {"found": 1, "token": secret, "long": "x" * 100_000}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stranger", module)
    one = capture.Capture("theirs", "env", True, "stranger:look")
    monkeypatch.setattr(capture, "_offered", lambda: {"theirs": one})
    with mlsdk.run() as run:
        pass
    found = mlsdk.get_run(run.id)

    assert "theirs" in found.environment
    assert secret not in str(found.environment)
    assert any("theirs" in problem.kind for problem in found.problems)


def test_every_capture_is_on_the_page(root: Path) -> None:
    """The page on captures has a row for each, with its kind and where it runs, and no other."""
    page = (root / "docs" / "captures.md").read_text("utf-8")
    rows = [line.split(" | ")[:3] for line in page.splitlines() if line.startswith("| `")]
    told = [f"| `{one.name}` `{one.kind}.` {'beside' if one.beside else 'before'}" for one in capture.BUILT_IN.values()]

    assert [" ".join(row) for row in rows] == told
