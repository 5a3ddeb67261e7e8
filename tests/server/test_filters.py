"""Filters of strangers: what is taken, and what could keep a server busy for ever."""

from __future__ import annotations

import pytest

from mlsdk.errors import QueryError
from mlsdk.server.filters import filter_of


@pytest.mark.parametrize(
    "pattern",
    ["^a.*b$", "resnet-[0-9]+", "a.*b.*c", "(foo|bar)-x", "[a-z]{3}-[0-9]{2}", "((a)){1,10}", "(a*)?", "", r"\d+\.\d+"],
)
def test_patterns_that_are_taken(pattern: str) -> None:
    """What people search for is searched for."""
    assert filter_of(f"name ~ '{pattern}'") is not None


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|aa)+$",
        "(a?){50}",
        "(.*)*x",
        "x.*y.*z.*w",
        "(a{1,9}){1,9}",
        "(?=a)b",
        r"(a)\\1",
        "(?:ab?)+",
        "(?:(?:a|aa)b){20,}",
        "a" * 201,
    ],
)
def test_patterns_that_are_not(pattern: str) -> None:
    """A pattern whose search can take for ever is refused, wherever it stands in a filter."""
    for text in (f"name ~ '{pattern}'", f"not (metrics.a > 1 or name ~ '{pattern}')"):
        with pytest.raises(QueryError):
            filter_of(text)


def test_many_comparisons() -> None:
    """Many values go in one comparison; many comparisons are refused before a database meets them."""
    names = ", ".join(f"'{number}'" for number in range(5_000))

    assert filter_of(f"name in ({names})") is not None
    assert filter_of(" and ".join(["metrics.a > 1"] * 100)) is not None
    assert filter_of("  ") is None
    with pytest.raises(QueryError, match="more than 100 comparisons"):
        filter_of(" and ".join(["metrics.a > 1"] * 101))
