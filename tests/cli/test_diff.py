"""`mlsdk diff`: what changed between runs, in words and as JSON."""

from __future__ import annotations

import mlsdk


def test_diff_says_what_changed(call, ask, runs):
    """`diff` names each value that differs, on both sides, what came of it, and counts the rest."""
    found = ask("diff", "run-0", "run-1")
    _, out, _ = call("diff", "run-0", "run-1")

    assert [(one["kind"], one["what"], one["a"], one["b"]) for one in found["causes"]] == [("param", "lr", 0.1, 0.2)]
    assert found["differs"]["params"] == {"lr": {"a": 0.1, "b": 0.2}}
    assert {one["metric"]: one["step"] for one in found["effects"]} == {"acc": 0, "loss": 0}
    assert found["differs"]["tags"] == {}
    assert found["same"]["tags"] == 1
    assert "+0.1 (+100.0%)" in out
    assert "parts at step 0: 1 → 0.5" in out
    assert "depth" not in out
    assert "same otherwise:" in out
    assert "no cause is known" not in out


def test_only_is_not_said_where_captures_are_missing(call, ask, runs):
    """Where captures were switched off it is not said that only one thing differs, and what is not known is listed."""
    found = ask("diff", "run-0", "run-1")
    _, out, _ = call("diff", "run-0", "run-1")

    assert found["only"] is None
    assert any("the functions that it could reach: not captured" in line for line in found["unknown"])
    assert "1 cause; what is not known is listed below" in out


def test_diff_of_a_run_with_itself(call, runs):
    """A run does not differ from itself, though what was not captured stays unknown."""
    assert "nothing differs; what is not known is listed below" in call("diff", "run-0", "run-0")[1]


def test_diff_tells_close_numbers_apart(call):
    """Two numbers that look alike in four digits are shown in full."""
    for i, lr in enumerate((0.1 + 0.2, 0.3)):
        with mlsdk.run("near", name=f"near-{i}", params={"lr": lr}):
            pass

    assert "0.30000000000000004" in call("diff", "near-0", "near-1")[1]


def test_diff_of_three_runs_is_a_table(call, ask, runs):
    """Of more than two runs there is a table, with a row for each thing that differs and a column for each run."""
    found = ask("diff", "run-0", "run-1", "broken")
    _, out, _ = call("diff", "run-0", "run-1", "broken")

    assert found["runs"] == runs
    assert found["columns"]["param lr"] == [0.1, 0.2, 9]
    assert found["columns"]["metric acc"][2] is None
    assert out.splitlines()[1].split() == ["name", "run-0", "run-1", "broken"]
    assert "param lr" in out


def test_diff_steers_no_terminal(call):
    """Names and values with control characters in them are shown, and steer nothing."""
    for i in range(2):
        with mlsdk.run("odd", name=f"odd-{i}", params={"\x1b[31m": f"\x1b]0;{i}\x07"}):
            pass
    _, out, _ = call("diff", "odd-0", "odd-1")

    assert "\x1b" not in out
    assert "�[31m" in out
