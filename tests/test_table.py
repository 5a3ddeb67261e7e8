"""Runs as a table: in a terminal of any width, in a notebook, cell by cell."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from unicodedata import combining, east_asian_width

import pytest

from mlsdk.finding import Runs
from mlsdk.store.base import Store
from mlsdk.table import ago, as_objects, duration, number, of_one_type, text, text_table
from tests.test_finding import empty_store, put

NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)


def filled() -> tuple[Store, Runs]:
    store = empty_store()
    names = ["baseline", "a rather long name of a run that goes on and on", "größe 漢字", "x\ny\x1b[31m", "<b>bold</b>"]
    for at, name in enumerate(names):
        params = {"lr": 10**-at, "model": {"depth": at, "kind": "cnn"}, "opt": "adam" if at % 2 else "sgd", "same": 1}
        metrics = {"acc": at / 8, "val/loss": math.nan if at == 2 else 1e-5 * (at + 1)}
        put(store, name, at, params=params, metrics=metrics)
    return store, Runs(store)


def cells_wide(line: str) -> int:
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in line)


def test_as_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who and when, params that differ, metrics; numbers to the right, text to the left, one line each."""
    monkeypatch.setattr("mlsdk.table.ago", lambda moment: "2 d")

    assert text_table(filled()[1], 120).splitlines() == [
        "run       name                          status      took    ago      lr  model.depth  opt     acc  val/loss",
        "────────  ────────────────────────────  ──────────  ──────  ───  ──────  ───────────  ────  ─────  ────────",
        "00000004  <b>bold</b>                   ✓ finished  0.00 s  2 d  0.0001            4  sgd     0.5     5e-05",
        "00000003  x y�[31m                      ✓ finished  0.00 s  2 d   0.001            3  adam  0.375     4e-05",
        "00000002  größe 漢字                    ✓ finished  0.00 s  2 d    0.01            2  sgd    0.25       nan",
        "00000001  a rather long …oes on and on  ✓ finished  0.00 s  2 d     0.1            1  adam  0.125     2e-05",
        "00000000  baseline                      ✓ finished  0.00 s  2 d       1            0  sgd       0     1e-05",
    ]


@pytest.mark.parametrize("width", [300, 120, 100, 80, 60, 50, 30])
def test_any_width(width: int) -> None:
    """No line is wider than the terminal; what has no room is counted, names and metrics are kept longest."""
    table = text_table(filled()[1], width).splitlines()
    head = table[0].split()

    assert all(cells_wide(line) <= width for line in table)
    assert "name" in head
    assert ("acc" in head) == (width >= 80)
    assert ("more columns" in table[-1]) == (width < 120)


def test_more_runs_than_rows() -> None:
    """Runs beyond the most rows are counted in the last line."""
    store = empty_store()
    for at in range(45):
        put(store, f"r{at}", at)

    assert text_table(Runs(store), 100).splitlines()[-1] == "… and 5 more runs"
    assert "… and 5 more runs" in Runs(store)._repr_html_()


def test_without_runs() -> None:
    """No runs are said in words."""
    found = Runs(empty_store())

    assert (repr(found), found._repr_html_()) == ("no runs", "<p>no runs</p>")


def test_several_experiments_are_named() -> None:
    """The experiment is a column where it differs."""
    store, runs = filled()
    alone = text_table(runs, 200).splitlines()[0]
    put(store, "other", 9)
    store.logs.append(*_edit(store, "other"))

    assert "experiment" not in alone
    assert "experiment" in text_table(Runs(store), 200).splitlines()[0]


def _edit(store: Store, name: str) -> tuple[str, int, bytes]:
    from mlsdk.testing import MadeLog

    run = next(run for run in Runs(store) if run.name == name)
    log = MadeLog(run.id, "edit", order=run.order + 1).facts({"run": {"experiment": "second"}}, order=run.order + 2)
    return log.name, 0, log.data


def test_html_is_escaped_and_well_formed() -> None:
    """Names and values cannot break out of their cells; every row has a cell for each column."""
    store, _ = filled()
    put(store, "a", 8, params={"<script>": "</td><script>alert(1)</script>", "&": "&amp;", '"': "'"})
    page = Runs(store)._repr_html_()
    seen: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append(tag)

    Parser().feed(page)

    assert set(seen) == {"table", "thead", "tbody", "tr", "th", "td"}
    assert seen.count("td") == 6 * seen.count("th")
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.123456, "0.1235"),
        (1e-12, "1e-12"),
        (123456789.0, "1.235e+08"),
        (1234567, "1234567"),
        (123456789, "1.235e+08"),
        pytest.param(10**400, "1.000e+400", id="huge"),
        pytest.param(-(10**5000), "-1.000e+5000", id="beyond printing"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (True, "True"),
        (None, ""),
        ("text", "text"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_numbers(value, shown: str) -> None:
    """Numbers in at most four significant digits, everything else as text."""
    assert number(value) == shown


def test_text() -> None:
    """A value on one line, without control characters, shortened in the middle."""
    assert text("a\n b\tc") == "a b c"
    assert text("\x1b[31mred\x00") == "�[31mred�"
    assert text("x" * 100, 9) == "xxxx…xxxx"
    assert len(text("y" * 100)) == 24
    assert text(None) == ""


def test_times() -> None:
    """A time and a length of time in one unit."""
    ages = {0: "0 s", 59: "59 s", 60: "1 min", 3600: "1 h", 86_400: "1 d", 86_400 * 60: "60 d", -5: "0 s"}

    assert {seconds: ago(NOW - timedelta(seconds=seconds), NOW) for seconds in ages} == ages
    assert [duration(seconds) for seconds in (None, 0.423, 12, 186, 7200)] == ["", "0.42 s", "12 s", "3.1 min", "2.0 h"]


def test_columns_of_one_type() -> None:
    """Integers beside floats become floats where that is exact; what fits no type is text."""
    assert of_one_type([1, None, 0.5]) == [1.0, None, 0.5]
    assert of_one_type([2**53 + 1, 0.5]) == ["9007199254740993", "0.5"]
    assert of_one_type([1, None]) == [1, None]
    assert of_one_type([2**63]) == ["9223372036854775808"]
    assert of_one_type([True, 1, None]) == ["True", "1", None]
    assert of_one_type(["a\udc80"]) == ["a\ufffd"]
    assert not as_objects([1, 0.5, None])
    assert as_objects([2**53 + 1, None])
