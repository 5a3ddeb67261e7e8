"""Values of two runs side by side: what counts as the same, and how it is shown."""

from __future__ import annotations

import math

from mlsdk.compare.values import both_shown, change, differing, leaves, plain_line, shown


def test_differences_mind_types():
    """1, 1.0, True and "1" are four values; NaN is the same as NaN; what one side lacks is absent."""
    a = {"i": 1, "f": 1, "t": "1", "n": math.nan, "only": 0, "same": (1, 2)}
    b = {"i": 1.0, "f": True, "t": 1, "n": math.nan, "same": (1, 2)}
    found = differing(a, b)

    assert [name for name, _, _ in found] == ["i", "f", "t", "only"]
    assert str(found[-1][2]) == "—"


def test_a_change_is_told_in_numbers_only():
    """How far a number moved is told with its share of the first; of what is no number nothing is."""
    assert change(2, 3) == "+1 (+50.0%)"
    assert change(-2.0, -3.0) == "-1 (-50.0%)"
    assert change(0, 5) == "+5"
    assert change(10**400, 1.0) == ""
    assert change("a", 1) == change(True, 2) == change(math.nan, 1.0) == ""


def test_two_values_are_shown_so_that_they_differ():
    """Values that look alike when they are short are shown in full, or with their types."""
    assert both_shown(0.1 + 0.2, 0.3) == ("0.30000000000000004", "0.3")
    assert both_shown(1, "1") == ("1 (int)", "1 (str)")
    assert shown(None) == "—"
    assert len(shown("x" * 500)) == 60
    assert plain_line("a\tb\x1b[0m") == "a b�[0m"


def test_leaves_go_to_the_bottom():
    """Nested mappings are compared leaf by leaf, empty ones as they are."""
    assert dict(leaves({"a": {"b": {"c": 1}, "d": {}}, "e": [1]})) == {"a.b.c": 1, "a.d": {}, "e": [1]}
